#include "src/io/hdf5_calls.hpp"

#include <cerrno>
#include <fcntl.h>
#include <mutex>
#include <sys/resource.h>
#include <sys/stat.h>

namespace rankine::hdf5 {
namespace {

hid_t bool_type() {
  // What h5py reads and writes as numpy.bool_.
  static const hid_t type = [] {
    const hid_t made = H5Tenum_create(H5T_NATIVE_INT8);
    std::int8_t value = 0;
    H5Tenum_insert(made, "FALSE", &value);
    value = 1;
    H5Tenum_insert(made, "TRUE", &value);
    return made;
  }();
  return type;
}

int width(Type type) {
  switch (type) {
    case Type::boolean:
      return 0;
    case Type::i8:
      return 1;
    case Type::i32:
      return 2;
    case Type::i64:
      return 3;
    case Type::f32:
      return 4;
    default:
      return 5;
  }
}

}  // namespace

std::string remedy(const std::string& cause) {
  if (cause.find("unable to lock file") != std::string::npos) {
    return "; another program has it open, or the file system has no locks: then set "
           "HDF5_USE_FILE_LOCKING=FALSE";
  }
  if (cause.find("No space left") != std::string::npos || cause.find("quota") != std::string::npos ||
      cause.find("File too large") != std::string::npos) {
    return "; free some space, raise the limit, or choose another place for the output";
  }
  if (cause.find("Permission denied") != std::string::npos || cause.find("Read-only") != std::string::npos) {
    return "; choose a place that you may write to";
  }
  return "";
}

void prepare_library() {
  static std::once_flag once;
  std::call_once(once, [] { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); });
}

std::string last_error() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned n, const H5E_error2_t* entry, void* out) -> herr_t {
        if (n == 0) *static_cast<std::string*>(out) = fmt::format("{}: {}", entry->func_name, entry->desc);
        return 0;
      },
      &text);
  H5Eclear2(H5E_DEFAULT);
  // "...: file write failed: time = ..., filename = ..., error message = 'No space left on device', buf =
  // ..."
  const std::string key = "error message = '";
  if (const auto begin = text.find(key); begin != std::string::npos) {
    const auto from = begin + key.size();
    const auto system_message = text.substr(from, text.find('\'', from) - from);
    const auto what = text.substr(0, std::min(text.find(": time = "), text.find(": name = ")));
    text = fmt::format("{}: {}", what, system_message);
  }
  return text.empty() ? "no details from HDF5" : text;
}

void fail(const std::string& file, const std::string& path, const char* doing) {
  const std::string cause = last_error();
  throw IoError(fmt::format("{}{}{}: cannot {}: HDF5: {}{}", file, path.empty() ? "" : ":", path, doing,
                            cause, remedy(cause)));
}

Handle owned(hid_t id, const std::string& file, const std::string& path, const char* doing) {
  return Handle(checked(id, file, path, doing));
}

hid_t text_type() {
  static const hid_t type = [] {
    const hid_t made = H5Tcopy(H5T_C_S1);
    H5Tset_size(made, H5T_VARIABLE);
    H5Tset_cset(made, H5T_CSET_UTF8);
    return made;
  }();
  return type;
}

hid_t memory_type(Type type) {
  switch (type) {
    case Type::i8:
      return H5T_NATIVE_INT8;
    case Type::i32:
      return H5T_NATIVE_INT32;
    case Type::i64:
      return H5T_NATIVE_INT64;
    case Type::f32:
      return H5T_NATIVE_FLOAT;
    case Type::f64:
      return H5T_NATIVE_DOUBLE;
    case Type::boolean:
      return bool_type();
    case Type::text:
      return text_type();
    case Type::other:
      break;
  }
  invariant_failed(__FILE__, __LINE__, "memory_type", "a type that cannot be read or written");
}

hid_t file_type(Type type) {
  switch (type) {
    case Type::i8:
      return H5T_STD_I8LE;
    case Type::i32:
      return H5T_STD_I32LE;
    case Type::i64:
      return H5T_STD_I64LE;
    case Type::f32:
      return H5T_IEEE_F32LE;
    case Type::f64:
      return H5T_IEEE_F64LE;
    default:
      return memory_type(type);
  }
}

Type classify(hid_t type) {
  const std::size_t size = H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      if (H5Tget_sign(type) == H5T_SGN_NONE) return size < 4 ? Type::i32 : size < 8 ? Type::i64 : Type::other;
      return size == 1 ? Type::i8 : size <= 4 ? Type::i32 : Type::i64;
    case H5T_FLOAT:
      return size <= 4 ? Type::f32 : Type::f64;
    case H5T_STRING:
      return Type::text;
    case H5T_ENUM:
      return size == 1 && H5Tget_nmembers(type) == 2 ? Type::boolean : Type::other;
    default:
      return Type::other;
  }
}

bool is_number(Type type) { return type != Type::text && type != Type::other; }

bool readable_as(Type stored, Type wanted) {
  if (!is_number(stored)) return false;
  if (wanted == Type::f32 || wanted == Type::f64) return true;
  return width(stored) <= width(wanted);
}

void reserve(hid_t object, std::uint64_t bytes, const std::string& path, const std::string& where) {
  const Handle file = owned(H5Iget_file_id(object), path, where, "find the file");
  void* descriptor = nullptr;
  hsize_t size = 0;
  struct stat status {};
  if (H5Fget_filesize(file.get(), &size) < 0 || H5Fget_vfd_handle(file.get(), H5P_DEFAULT, &descriptor) < 0 ||
      ::fstat(*static_cast<int*>(descriptor), &status) != 0) {
    fail(path, where, "ask for the size of the file");
  }
  const auto begin = status.st_size, end = static_cast<off_t>(size + bytes);
  const bool in_memory = status.st_nlink == 0;  // without a name
  if (end <= begin && !in_memory) return;
  rlimit limit{};
  int error = 0;
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
      static_cast<rlim_t>(end) + (in_memory ? (bytes > 0 ? memory_margin : memory_margin / 4) : 0) >
          limit.rlim_cur) {
    error = EFBIG;
  } else if (in_memory) {
    return;
  } else if (::fallocate(*static_cast<int*>(descriptor), FALLOC_FL_KEEP_SIZE, begin, end - begin) != 0) {
    error = errno;
  }
  if (error == 0 || error == EOPNOTSUPP || error == ENOSYS) return;  // some file systems reserve nothing
  const std::string cause = std::strerror(error);
  throw IoError(fmt::format("{}{}{}: cannot write {} bytes: {}{}", path, where.empty() ? "" : ":", where,
                            end - begin, cause, remedy(cause)));
}

Handle make_space(const Shape& shape, const std::string& file, const std::string& path) {
  static_assert(sizeof(hsize_t) == sizeof(std::uint64_t));
  if (shape.empty()) return owned(H5Screate(H5S_SCALAR), file, path, "describe a scalar");
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  return owned(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), file, path,
               "describe its shape");
}

Shape shape_of(hid_t space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  if (rank <= 0) return H5Sget_simple_extent_type(space) == H5S_NULL ? Shape{0} : Shape{};
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space, extents.data(), nullptr);
  return Shape(extents.begin(), extents.end());
}

Handle open_attribute(hid_t object, const std::string& file, const std::string& path,
                      const std::string& name) {
  if (H5Aexists(object, name.c_str()) <= 0) {
    throw InputError(fmt::format("{}:{}: the attribute '{}' is missing", file, path, name));
  }
  return Handle(readable(H5Aopen(object, name.c_str(), H5P_DEFAULT), file, fmt::format("{}@{}", path, name),
                         "open the attribute"));
}

}  // namespace rankine::hdf5
