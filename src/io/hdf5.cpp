#include "src/io/hdf5.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <optional>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <hdf5.h>
#include <hdf5_hl.h>

#include "kernels/error.hpp"
#include "src/io/files.hpp"

namespace rankine::hdf5 {
namespace {

static_assert(sizeof(hid_t) == sizeof(std::int64_t), "HDF5 1.10 and later");

/// Keeps HDF5 from printing its error stack on its own: we put the gist of it into our messages.
void prepare_library() {
  static std::once_flag once;
  std::call_once(once, [] { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); });
}

/// The innermost entry of HDF5's error stack, which names the cause; the outer ones only say who called whom.
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

[[noreturn]] void fail(const std::string& file, const std::string& path, const char* doing) {
  const std::string cause = last_error();
  throw IoError(fmt::format("{}{}{}: cannot {}: HDF5: {}{}", file, path.empty() ? "" : ":", path, doing,
                            cause, remedy(cause)));
}

/// The same of a file that is only read: what cannot be read is somebody's wrong input.
template <class Result>
Result readable(Result result, const std::string& file, const std::string& path, const char* doing) {
  if (result >= 0) return result;
  throw InputError(fmt::format("{}{}{}: cannot {}, the file may be damaged: HDF5: {}", file,
                               path.empty() ? "" : ":", path, doing, last_error()));
}

template <class Result>
Result checked(Result result, const std::string& file, const std::string& path, const char* doing) {
  if (result < 0) fail(file, path, doing);
  return result;
}

/// An identifier owned for the length of a scope, from a call that is checked.
Handle owned(hid_t id, const std::string& file, const std::string& path, const char* doing) {
  return Handle(checked(id, file, path, doing));
}

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

bool is_number(Type type) { return type != Type::text && type != Type::other; }

/// Whether values stored as `stored` may be read as `wanted` without a surprise.
bool readable_as(Type stored, Type wanted) {
  if (!is_number(stored)) return false;
  if (wanted == Type::f32 || wanted == Type::f64) return true;
  return width(stored) <= width(wanted);
}

// For what HDF5 writes beside an array in a file in memory: headers, attributes, names, and a page's rest.
constexpr rlim_t memory_margin = 4 * 4096;

/// Makes sure that the disk has room for all that HDF5 holds of the file, and for `bytes` more, before it
/// tries to write them: HDF5 1.10 cannot close a file any more after a failed flush, and crashes at the end
/// of MPI.
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

/// Texts of a dataset or attribute, whether stored with fixed or variable length. `read` is H5Dread or
/// H5Aread bound to the object.
template <class Read>
std::vector<std::string> read_all_texts(hid_t stored, std::uint64_t count, Read read) {
  std::vector<std::string> texts;
  texts.reserve(count);
  if (H5Tis_variable_str(stored) > 0) {
    const Handle type(H5Tcopy(stored));
    std::vector<char*> pointers(count, nullptr);
    if (count > 0 && read(type.get(), pointers.data()) < 0) throw std::runtime_error(last_error());
    for (char* pointer : pointers) {
      texts.emplace_back(pointer ? pointer : "");
      if (pointer) H5free_memory(pointer);
    }
  } else {
    const std::size_t size = H5Tget_size(stored);
    std::vector<char> bytes(size * count);
    if (count > 0 && read(stored, bytes.data()) < 0) throw std::runtime_error(last_error());
    for (std::uint64_t i = 0; i < count; ++i) {
      const char* begin = bytes.data() + i * size;
      texts.emplace_back(begin, strnlen(begin, size));
    }
  }
  return texts;
}

}  // namespace

const char* type_name(Type type) {
  switch (type) {
    case Type::i8:
      return "int8";
    case Type::i32:
      return "int32";
    case Type::i64:
      return "int64";
    case Type::f32:
      return "float32";
    case Type::f64:
      return "float64";
    case Type::boolean:
      return "bool";
    case Type::text:
      return "text";
    case Type::other:
      break;
  }
  return "a type that Rankine does not read";
}

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += shape[i] == Group::any ? "any" : fmt::format("{}", shape[i]);
  }
  text += ')';
  return text;
}

std::uint64_t element_count(const Shape& shape) {
  std::uint64_t count = 1;
  for (const auto extent : shape) count *= extent;
  return count;
}

std::string library_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

bool parallel_library() {
#ifdef H5_HAVE_PARALLEL
  return true;
#else
  return false;
#endif
}

// ----------------------------------------------------------------------------------------------------------
// Handle

Handle::Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}

Handle& Handle::operator=(Handle&& other) noexcept {
  std::swap(id_, other.id_);
  return *this;
}

Handle::~Handle() {
  // A file closes whatever is open in it, so the identifier may be gone already.
  if (id_ < 0 || H5Iis_valid(id_) <= 0) return;
  switch (H5Iget_type(id_)) {
    case H5I_FILE:
      H5Fclose(id_);
      break;
    case H5I_GROUP:
      H5Gclose(id_);
      break;
    case H5I_DATASET:
      H5Dclose(id_);
      break;
    case H5I_DATATYPE:
      H5Tclose(id_);
      break;
    case H5I_DATASPACE:
      H5Sclose(id_);
      break;
    case H5I_ATTR:
      H5Aclose(id_);
      break;
    default:
      H5Pclose(id_);
      break;
  }
}

// ------------------------------------------------------------------------------------------------------
// attributes

namespace {

void write_attribute(hid_t object, const std::string& file, const std::string& path, const std::string& name,
                     Type type, const Shape& shape, const void* values) {
  const std::string where = fmt::format("{}@{}", path, name);
  const Handle space = make_space(shape, file, where);
  const Handle attribute =
      owned(H5Acreate2(object, name.c_str(), file_type(type), space.get(), H5P_DEFAULT, H5P_DEFAULT), file,
            where, "create the attribute");
  checked(H5Awrite(attribute.get(), memory_type(type), values), file, where, "write the attribute");
}

Handle open_attribute(hid_t object, const std::string& file, const std::string& path,
                      const std::string& name) {
  if (H5Aexists(object, name.c_str()) <= 0) {
    throw InputError(fmt::format("{}:{}: the attribute '{}' is missing", file, path, name));
  }
  return Handle(readable(H5Aopen(object, name.c_str(), H5P_DEFAULT), file, fmt::format("{}@{}", path, name),
                         "open the attribute"));
}

}  // namespace

void Object::attribute(const std::string& name, std::string_view text) {
  const std::string copy(text);
  const char* pointer = copy.c_str();
  write_attribute(handle_.get(), file(), path_, name, Type::text, {}, &pointer);
}

void Object::attribute(const std::string& name, double value) {
  write_attribute(handle_.get(), file(), path_, name, Type::f64, {}, &value);
}

void Object::attribute(const std::string& name, std::int64_t value) {
  write_attribute(handle_.get(), file(), path_, name, Type::i64, {}, &value);
}

void Object::attribute(const std::string& name, std::span<const double> values) {
  write_attribute(handle_.get(), file(), path_, name, Type::f64, {values.size()}, values.data());
}

void Object::attribute(const std::string& name, std::span<const std::int64_t> values) {
  write_attribute(handle_.get(), file(), path_, name, Type::i64, {values.size()}, values.data());
}

bool Object::has_attribute(const std::string& name) const {
  return H5Aexists(handle_.get(), name.c_str()) > 0;
}

std::vector<std::string> Object::attribute_names() const {
  std::vector<std::string> names;
  readable(H5Aiterate2(
               handle_.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr,
               [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
                 static_cast<std::vector<std::string>*>(out)->emplace_back(name);
                 return 0;
               },
               &names),
           file(), path_, "list the attributes");
  return names;
}

namespace {
constexpr H5T_class_t variable_parts[] = {H5T_VLEN, H5T_REFERENCE, H5T_STRING};

/// Values of any type as bytes that can be compared.
template <class Read>
std::optional<std::vector<std::byte>> any_bytes(hid_t type, hid_t space, const std::string& file,
                                                const std::string& where, const Read& read) {
  const std::uint64_t count = element_count(shape_of(space));
  std::vector<std::byte> bytes;
  const auto add = [&](const void* from, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), begin, begin + size);
  };
  const auto has_parts = [](hid_t of) {
    return std::any_of(std::begin(variable_parts), std::end(variable_parts),
                       [&](H5T_class_t kind) { return H5Tdetect_class(of, kind) > 0; });
  };
  const auto check = [&](herr_t status) {
    if (status < 0)
      throw InputError(fmt::format("{}: cannot read '{}': HDF5: {}", file, where, last_error()));
  };
  if (count == 0) return bytes;
  if (H5Tget_class(type) == H5T_STRING) {
    for (const std::string& text : read_all_texts(type, count, read)) add(text.c_str(), text.size() + 1);
    return bytes;
  }
  if (H5Tget_class(type) == H5T_VLEN) {
    const Handle base(H5Tget_super(type));
    if (has_parts(base.get())) return std::nullopt;
    std::vector<hvl_t> lists(count);
    check(read(type, lists.data()));
    for (const hvl_t& list : lists) {
      add(&list.len, sizeof list.len);
      if (list.len > 0) add(list.p, list.len * H5Tget_size(base.get()));
    }
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, lists.data());
    return bytes;
  }
  if (has_parts(type)) return std::nullopt;
  bytes.resize(H5Tget_size(type) * count);
  check(read(type, bytes.data()));
  return bytes;
}
}  // namespace

bool Object::attribute_is_text(const std::string& name) const {
  const Handle opened = open_attribute(handle_.get(), file(), path_, name);
  const Handle type(H5Aget_type(opened.get())), space(H5Aget_space(opened.get()));
  return H5Tget_class(type.get()) == H5T_STRING && element_count(shape_of(space.get())) == 1;
}

bool Object::attribute_is_number(const std::string& name) const {
  const Handle opened = open_attribute(handle_.get(), file(), path_, name);
  const Type type = classify(Handle(H5Aget_type(opened.get())).get());
  return is_number(type) && type != Type::boolean;
}

std::optional<std::vector<std::byte>> Object::attribute_bytes(const std::string& name) const {
  const Handle opened = open_attribute(handle_.get(), file(), path_, name);
  const Handle type(H5Aget_type(opened.get())), space(H5Aget_space(opened.get()));
  return any_bytes(type.get(), space.get(), file(), fmt::format("{}@{}", path_, name),
                   [&](hid_t as, void* to) { return H5Aread(opened.get(), as, to); });
}

std::string Object::text_attribute(const std::string& name) const {
  const Handle opened = open_attribute(handle_.get(), file(), path_, name);
  const Handle type(H5Aget_type(opened.get()));
  const Handle space(H5Aget_space(opened.get()));
  if (H5Tget_class(type.get()) != H5T_STRING || element_count(shape_of(space.get())) != 1) {
    throw InputError(fmt::format("{}:{}: the attribute '{}' must be one text", file(), path_, name));
  }
  try {
    return read_all_texts(type.get(), 1, [&](hid_t as, void* to) { return H5Aread(opened.get(), as, to); })
        .front();
  } catch (const std::runtime_error& error) {
    throw InputError(
        fmt::format("{}:{}: cannot read the attribute '{}': {}", file(), path_, name, error.what()));
  }
}

std::vector<double> Object::number_attribute(const std::string& name) const {
  const Handle opened = open_attribute(handle_.get(), file(), path_, name);
  const Handle type(H5Aget_type(opened.get()));
  const Handle space(H5Aget_space(opened.get()));
  if (!is_number(classify(type.get()))) {
    throw InputError(fmt::format("{}:{}: the attribute '{}' must be a number", file(), path_, name));
  }
  std::vector<double> values(element_count(shape_of(space.get())));
  if (values.empty()) return values;
  readable(H5Aread(opened.get(), H5T_NATIVE_DOUBLE, values.data()), file(), fmt::format("{}@{}", path_, name),
           "read the attribute");
  return values;
}

// ---------------------------------------------------------------------------------------------------------
// Dataset

void Object::copy_attributes(const Object& other) {
  for (const std::string& name : other.attribute_names()) {
    if (name == "DIMENSION_LIST" || name == "REFERENCE_LIST" || name == "CLASS" || name == "NAME") continue;
    const char* doing = "copy an attribute";
    const Handle from = open_attribute(other.handle_.get(), other.file(), other.path_, name);
    const Handle type = owned(H5Aget_type(from.get()), other.file(), other.path_, doing);
    const Handle space = owned(H5Aget_space(from.get()), other.file(), other.path_, doing);
    const auto count = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.get()));
    std::vector<std::byte> values(H5Tget_size(type.get()) * std::max<std::size_t>(count, 1));
    checked(H5Aread(from.get(), type.get(), values.data()), other.file(), other.path_, doing);
    const Handle made(
        H5Acreate2(handle_.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT));
    const herr_t written = made.get() < 0 ? -1 : H5Awrite(made.get(), type.get(), values.data());
    H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, values.data());  // texts of variable length
    checked(written, file(), path_, doing);
  }
}

std::optional<std::string> Dataset::scale_name() const {
  if (H5DSis_scale(handle_.get()) <= 0) return std::nullopt;
  std::vector<char> name(256);
  checked(H5DSget_scale_name(handle_.get(), name.data(), name.size()), file(), path_, "read a scale's name");
  return std::string(name.data());
}

std::vector<std::vector<std::string>> Dataset::attached_scales() const {
  const char* doing = "list the dimension scales";
  const Handle space = owned(H5Dget_space(handle_.get()), file(), path_, doing);
  std::vector<std::vector<std::string>> all(
      static_cast<std::size_t>(checked(H5Sget_simple_extent_ndims(space.get()), file(), path_, doing)));
  for (std::size_t dimension = 0; dimension < all.size(); ++dimension) {
    const auto note = [](hid_t, unsigned, hid_t scale, void* out) -> herr_t {
      std::vector<char> name(1024);
      if (H5Iget_name(scale, name.data(), name.size()) <= 0) return -1;
      const std::string path(name.data());
      static_cast<std::vector<std::string>*>(out)->push_back(path.substr(path.rfind('/') + 1));
      return 0;
    };
    if (H5DSget_num_scales(handle_.get(), static_cast<unsigned>(dimension)) <= 0) continue;
    checked(
        H5DSiterate_scales(handle_.get(), static_cast<unsigned>(dimension), nullptr, note, &all[dimension]),
        file(), path_, doing);
  }
  return all;
}

void Dataset::make_scale(const std::string& name) {
  checked(H5DSset_scale(handle_.get(), name.c_str()), file(), path_, "make it a dimension scale");
}

void Dataset::attach_scale(unsigned dimension, const Dataset& scale) {
  checked(H5DSattach_scale(handle_.get(), scale.handle_.get(), dimension), file(), path_,
          "attach a dimension scale");
}

// -----------------------------------------------------------------------------------------------------------
// Group

std::string Group::below(const std::string& name) const {
  if (!name.empty() && name.front() == '/') return name;
  if (name.empty()) return path_;
  return fmt::format("{}/{}", path_ == "/" ? "" : path_, name);
}

void Group::copy_from(const Group& other) {
  copy_attributes(other);
  const Handle bare = owned(H5Pcreate(H5P_OBJECT_COPY), file(), path_, "copy a group");
  checked(H5Pset_copy_object(bare.get(), H5O_COPY_WITHOUT_ATTR_FLAG), file(), path_, "copy a group");
  for (const std::string& name : other.names()) {
    // Links may lead in a circle or nowhere, and types stand with the datasets that have them: Rankine writes
    // neither.
    if (other.is_link(name)) continue;
    if (other.has_group(name)) {
      require_group(name).copy_from(other.open_group(name));
      continue;
    }
    if (!other.has_dataset(name)) continue;
    checked(H5Ocopy(other.handle_.get(), name.c_str(), handle_.get(), name.c_str(), bare.get(), H5P_DEFAULT),
            file(), below(name), "copy a dataset");
    const Dataset from = other.open_dataset(name);
    Dataset made = open_dataset(name);
    made.copy_attributes(from);
    if (const auto scale = from.scale_name()) made.make_scale(*scale);
  }
  for (const std::string& name : other.names()) {
    if (other.is_link(name) || !other.has_dataset(name)) continue;
    const Dataset from = other.open_dataset(name);
    if (from.scale_name()) continue;
    Dataset made = open_dataset(name);
    const auto scales = from.attached_scales();
    for (unsigned dimension = 0; dimension < scales.size(); ++dimension) {
      for (const std::string& scale : scales[dimension])
        if (has_dataset(scale)) made.attach_scale(dimension, open_dataset(scale));
    }
  }
}

bool Group::has(const std::string& path) const {
  // H5Lexists wants every group on the way to exist, so ask for one after the other.
  std::size_t end = path.find_first_not_of('/');
  if (end == std::string::npos) return true;
  while (end != std::string::npos) {
    end = path.find('/', end + 1);
    if (H5Lexists(handle_.get(), path.substr(0, end).c_str(), H5P_DEFAULT) <= 0) {
      H5Eclear2(H5E_DEFAULT);
      return false;
    }
  }
  return true;
}

namespace {
H5I_type_t kind_of(hid_t parent, const std::string& path) {
  const Handle object(H5Oopen(parent, path.c_str(), H5P_DEFAULT));
  H5Eclear2(H5E_DEFAULT);
  return object.get() < 0 ? H5I_BADID : H5Iget_type(object.get());
}
}  // namespace

bool Group::has_group(const std::string& path) const {
  return has(path) && kind_of(handle_.get(), path) == H5I_GROUP;
}

bool Group::has_dataset(const std::string& path) const {
  return has(path) && kind_of(handle_.get(), path) == H5I_DATASET;
}

bool Group::is_link(const std::string& name) const {
  H5L_info_t info{};
  const bool known = H5Lget_info(handle_.get(), name.c_str(), &info, H5P_DEFAULT) >= 0;
  H5Eclear2(H5E_DEFAULT);
  return known && info.type != H5L_TYPE_HARD;
}

Group Group::require_group(const std::string& path) {
  Handle parent = owned(H5Gopen2(handle_.get(), ".", H5P_DEFAULT), file(), path_, "open the group");
  std::size_t begin = 0;
  while (begin < path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    const hid_t from = parent.get();
    if (H5Lexists(from, name.c_str(), H5P_DEFAULT) > 0) {
      parent = owned(H5Gopen2(from, name.c_str(), H5P_DEFAULT), file(), below(path), "open the group");
      continue;
    }
    const Handle plist = owned(H5Pcreate(H5P_GROUP_CREATE), file(), below(path), "make a property list");
    checked(H5Pset_obj_track_times(plist.get(), false), file(), below(path), "leave out time stamps");
    checked(H5Pset_link_creation_order(plist.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), file(),
            below(path), "track creation order");
    checked(H5Pset_attr_creation_order(plist.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), file(),
            below(path), "track creation order");
    parent = owned(H5Gcreate2(from, name.c_str(), H5P_DEFAULT, plist.get(), H5P_DEFAULT), file(), below(path),
                   "create the group");
  }
  return Group(file_, below(path), std::move(parent));
}

Group Group::open_group(const std::string& path) const {
  if (!has(path)) throw InputError(fmt::format("{}: the group '{}' is missing", file(), below(path)));
  if (!has_group(path)) throw InputError(fmt::format("{}: '{}' must be a group", file(), below(path)));
  return Group(file_, below(path),
               Handle(readable(H5Gopen2(handle_.get(), path.c_str(), H5P_DEFAULT), file(), below(path),
                               "open the group")));
}

void Dataset::fixed_text_attribute(const std::string& name, std::string_view text) {
  const std::string where = fmt::format("{}@{}", path_, name);
  const Handle type = owned(H5Tcopy(H5T_C_S1), file(), where, "describe a text");
  checked(H5Tset_size(type.get(), std::max<std::size_t>(text.size(), 1)), file(), where, "describe a text");
  checked(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), file(), where, "describe a text");
  Handle attribute;
  if (has_attribute(name)) {
    attribute = open_attribute(handle_.get(), file(), path_, name);
  } else {
    const Handle space = make_space({}, file(), where);
    attribute =
        owned(H5Acreate2(handle_.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
              file(), where, "create the attribute");
  }
  checked(H5Awrite(attribute.get(), type.get(), text.data()), file(), where, "write the attribute");
}

Place Dataset::place() const {
  const Handle space(H5Dget_space(handle_.get())), type(H5Dget_type(handle_.get()));
  const std::uint64_t size = element_count(shape_of(space.get())) * H5Tget_size(type.get());
  if (size == 0) return {};
  const haddr_t offset = H5Dget_offset(handle_.get());
  RANKINE_ASSERT(offset != HADDR_UNDEF, file() + ":" + path_);
  return {offset, size};
}

Dataset Group::create(const std::string& name, const Shape& shape, Type type, bool at_once) {
  const std::string where = below(name);
  const Handle space = make_space(shape, file(), where);
  const Handle plist = owned(H5Pcreate(H5P_DATASET_CREATE), file(), where, "make a property list");
  checked(H5Pset_obj_track_times(plist.get(), false), file(), where, "leave out time stamps");
  checked(H5Pset_attr_creation_order(plist.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), file(),
          where, "track creation order");
  if (at_once) {
    ::rankine::hdf5::reserve(handle_.get(), element_count(shape) * H5Tget_size(file_type(type)), file(),
                             where);
    checked(H5Pset_layout(plist.get(), H5D_CONTIGUOUS), file(), where, "ask for one contiguous block");
    checked(H5Pset_alloc_time(plist.get(), H5D_ALLOC_TIME_EARLY), file(), where, "ask for its place at once");
    checked(H5Pset_fill_time(plist.get(), H5D_FILL_TIME_NEVER), file(), where, "leave out fill values");
  }
  return Dataset(file_, where,
                 owned(H5Dcreate2(handle_.get(), name.c_str(), file_type(type), space.get(), H5P_DEFAULT,
                                  plist.get(), H5P_DEFAULT),
                       file(), where, "create the dataset"));
}

Dataset Group::write_raw(const std::string& name, const Shape& shape, Type type, const void* values,
                         std::size_t size) {
  const std::string where = below(name);
  RANKINE_ASSERT(size == element_count(shape),
                 fmt::format("{}: {} values given for the shape {}", where, size, shape_text(shape)));
  Dataset dataset = create(name, shape, type, false);
  if (size > 0) {
    ::rankine::hdf5::reserve(dataset.handle_.get(), size * H5Tget_size(file_type(type)), file(), where);
    checked(H5Dwrite(dataset.handle_.get(), memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values), file(),
            where, "write the dataset");
  }
  return dataset;
}

Dataset Group::reserve(const std::string& name, const Shape& shape, Type type) {
  RANKINE_ASSERT(H5Tequal(file_type(type), memory_type(type)) > 0,
                 fmt::format("{}: memory holds {} otherwise than files do", below(name), type_name(type)));
  return create(name, shape, type, true);
}

Dataset Group::write_bytes(const std::string& name, const Shape& shape, Type type,
                           std::span<const std::byte> bytes) {
  RANKINE_ASSERT(bytes.size() == element_count(shape) * H5Tget_size(file_type(type)), below(name));
  Dataset dataset = create(name, shape, type, true);
  if (bytes.empty()) return dataset;
  checked(H5Dwrite(dataset.handle_.get(), file_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()),
          file(), below(name), "write the dataset");
  return dataset;
}

std::vector<std::byte> Group::read_bytes(const std::string& path, Type type) const {
  const Shape shape = check(path, type, {}, false);
  std::vector<std::byte> bytes(element_count(shape) * H5Tget_size(memory_type(type)));
  if (!bytes.empty()) read_raw(path, type, bytes.data());
  return bytes;
}

Dataset Group::write_variable_texts(const std::string& name, const Shape& shape,
                                    const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  for (const auto& text : texts) pointers.push_back(text.c_str());
  return write_raw(name, shape, Type::text, pointers.data(), pointers.size());
}

Dataset Group::write_text(const std::string& name, std::string_view text) {
  return write_variable_texts(name, {}, {std::string(text)});
}

Dataset Group::write_texts(const std::string& name, const std::vector<std::string>& texts) {
  return write_variable_texts(name, {texts.size()}, texts);
}

std::vector<std::string> Group::names() const {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  hsize_t position = 0;
  if (H5Literate(handle_.get(), H5_INDEX_CRT_ORDER, H5_ITER_INC, &position, collect, &names) < 0) {
    H5Eclear2(H5E_DEFAULT);
    names.clear();
    position = 0;
    readable(H5Literate(handle_.get(), H5_INDEX_NAME, H5_ITER_INC, &position, collect, &names), file(), path_,
             "list the group");
  }
  return names;
}

Dataset Group::open_dataset(const std::string& path) const {
  if (!has(path)) throw InputError(fmt::format("{}: the dataset '{}' is missing", file(), below(path)));
  Handle dataset(H5Dopen2(handle_.get(), path.c_str(), H5P_DEFAULT));
  if (dataset.get() < 0) {
    throw InputError(fmt::format("{}: '{}' must be a dataset: HDF5: {}", file(), below(path), last_error()));
  }
  return Dataset(file_, below(path), std::move(dataset));
}

DatasetInfo Group::info(const std::string& path) const {
  const Dataset dataset = open_dataset(path);
  const Handle type(H5Dget_type(dataset.handle_.get()));
  const Handle space(H5Dget_space(dataset.handle_.get()));
  return {classify(type.get()), shape_of(space.get())};
}

void Group::check_size(const std::string& path, const Dataset& dataset) const {
  // A size in a file is a claim, which costs its author nothing. What compression can make of zeros alone is
  // 1000 : 1.
  constexpr std::uint64_t ratio = 64, always = std::uint64_t{1} << 20U;
  const Handle type(H5Dget_type(dataset.handle_.get())), space(H5Dget_space(dataset.handle_.get()));
  const Shape shape = shape_of(space.get());
  const Handle of(H5Iget_file_id(handle_.get()));
  hsize_t size = 0;
  if (H5Fget_filesize(of.get(), &size) < 0) fail(file(), "", "ask for the size of the file");
  std::uint64_t bytes = std::max<std::uint64_t>(H5Tget_size(type.get()), 1);
  bool possible = true;
  for (const std::uint64_t extent : shape)
    possible = possible && !__builtin_mul_overflow(bytes, extent, &bytes);
  if (possible && bytes <= ratio * size + always) return;
  throw InputError(
      fmt::format("{}: the dataset '{}' claims the shape {}, more than {} times the file's {} bytes; the "
                  "file is damaged, or "
                  "compressed so well that it must be repacked without compression (h5repack -f NONE)",
                  file(), below(path), shape_text(shape), ratio, size));
}

Shape Group::check(const std::string& path, Type wanted, const Shape& expected, bool check_shape) const {
  const DatasetInfo found = info(path);
  check_size(path, open_dataset(path));
  if (!readable_as(found.type, wanted)) {
    throw InputError(fmt::format("{}: the dataset '{}' holds {}, needed is {}", file(), below(path),
                                 type_name(found.type), type_name(wanted)));
  }
  if (check_shape) {
    bool fits = found.shape.size() == expected.size();
    for (std::size_t i = 0; fits && i < expected.size(); ++i) {
      fits = expected[i] == any || expected[i] == found.shape[i];
    }
    if (!fits) {
      throw InputError(fmt::format("{}: the dataset '{}' has shape {}, needed is {}", file(), below(path),
                                   shape_text(found.shape), shape_text(expected)));
    }
  }
  return found.shape;
}

void Group::read_raw(const std::string& path, Type type, void* values) const {
  const Dataset dataset = open_dataset(path);
  const Handle stored(H5Dget_type(dataset.handle_.get()));
  // An enumeration converts to no number but its own, so bools are read as what they are and widened here.
  if (classify(stored.get()) == Type::boolean) {
    const Handle space(H5Dget_space(dataset.handle_.get()));
    const std::uint64_t count = element_count(shape_of(space.get()));
    std::vector<std::int8_t> bools(count);
    const Handle native(H5Tget_native_type(stored.get(), H5T_DIR_ASCEND));
    if (H5Dread(dataset.handle_.get(), native.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bools.data()) < 0) {
      throw InputError(
          fmt::format("{}: cannot read the dataset '{}': HDF5: {}", file(), below(path), last_error()));
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      switch (type) {
        case Type::i8:
          static_cast<std::int8_t*>(values)[i] = bools[i];
          break;
        case Type::i32:
          static_cast<std::int32_t*>(values)[i] = bools[i];
          break;
        case Type::i64:
          static_cast<std::int64_t*>(values)[i] = bools[i];
          break;
        case Type::f32:
          static_cast<float*>(values)[i] = bools[i];
          break;
        default:
          static_cast<double*>(values)[i] = bools[i];
          break;
      }
    }
    return;
  }
  if (H5Dread(dataset.handle_.get(), memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    throw InputError(
        fmt::format("{}: cannot read the dataset '{}': HDF5: {}", file(), below(path), last_error()));
  }
}

std::vector<std::string> Group::read_texts(const std::string& path) const {
  const Dataset dataset = open_dataset(path);
  const Handle type(H5Dget_type(dataset.handle_.get()));
  const Handle space(H5Dget_space(dataset.handle_.get()));
  if (H5Tget_class(type.get()) != H5T_STRING) {
    throw InputError(fmt::format("{}: the dataset '{}' holds {}, needed is text", file(), below(path),
                                 type_name(classify(type.get()))));
  }
  check_size(path, dataset);
  try {
    return read_all_texts(type.get(), element_count(shape_of(space.get())), [&](hid_t as, void* to) {
      return H5Dread(dataset.handle_.get(), as, H5S_ALL, H5S_ALL, H5P_DEFAULT, to);
    });
  } catch (const std::runtime_error& error) {
    throw InputError(
        fmt::format("{}: cannot read the dataset '{}': HDF5: {}", file(), below(path), error.what()));
  }
}

std::optional<std::vector<std::byte>> Group::read_any(const std::string& path) const {
  const Dataset dataset = open_dataset(path);
  const Handle type(H5Dget_type(dataset.handle_.get())), space(H5Dget_space(dataset.handle_.get()));
  check_size(path, dataset);
  return any_bytes(type.get(), space.get(), file(), below(path), [&](hid_t as, void* to) {
    return H5Dread(dataset.handle_.get(), as, H5S_ALL, H5S_ALL, H5P_DEFAULT, to);
  });
}

std::string Group::read_text(const std::string& path) const {
  const auto texts = read_texts(path);
  if (texts.size() != 1) {
    throw InputError(
        fmt::format("{}: the dataset '{}' holds {} texts, needed is one", file(), below(path), texts.size()));
  }
  return texts.front();
}

// ------------------------------------------------------------------------------------------------------------
// File

File::File(std::shared_ptr<const std::string> path, Handle handle, Group root)
    : path_(std::move(path)), handle_(std::move(handle)), root_(std::move(root)) {}

namespace {
bool unusable_now = false;

Handle access_properties(const std::string& path) {
  Handle plist = owned(H5Pcreate(H5P_FILE_ACCESS), path, "", "make a property list");
  checked(H5Pset_fclose_degree(plist.get(), H5F_CLOSE_STRONG), path, "", "set how the file is closed");
  // Else values of small datasets are written when these are closed, by destructors, which can tell nobody
  // that it failed.
  checked(H5Pset_sieve_buf_size(plist.get(), 0), path, "", "write values at once");
  return plist;
}
}  // namespace

bool unusable() { return unusable_now; }

File File::create(const std::string& at, const std::string& called) {
  const std::string& path = called.empty() ? at : called;
  prepare_library();
  return create_with(access_properties(path), at, path);
}

struct File::Memory {
  int bytes = -1;
  std::optional<EmptyFile> named;
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    if (bytes >= 0) ::close(bytes);
  }
};

File File::create_in_memory(const std::string& called) {
  prepare_library();
  // The limit holds for files in memory, too, and HDF5 crashes at the end of MPI when it could not write one.
  // So reserve() asks before each array, and the first needs some room.
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < 2 * memory_margin) {
    const std::string cause = std::strerror(EFBIG);
    throw IoError(fmt::format("{}: cannot make a file, of which {} bytes are allowed (ulimit -f): {}{}",
                              called, limit.rlim_cur, cause, remedy(cause)));
  }
  const auto fail_with = [&](const char* doing) {
    throw IoError(fmt::format("{}: cannot {} a file in memory: {}", called, doing, std::strerror(errno)));
  };
  // HDF5's own files in memory take memory for all that is reserved, and it opens no file without a name. So
  // it makes an empty file that has one, and then gets one in memory, with holes, behind its descriptor.
  const auto memory = std::make_shared<Memory>();
  memory->named.emplace(called);
  const Handle access = access_properties(called);
  constexpr hsize_t page = 4096;
  checked(H5Pset_alignment(access.get(), page, page), called, "", "align datasets");
  std::optional<File> file(create_with(access, memory->named->name(), called));
  memory->named->remove_name();
  // HDF5 tells files apart by their numbers, and this one's stays taken for as long as `named` is open.
  void* descriptor = nullptr;
  std::array<char, 1 << 12> begun{};
  memory->bytes = ::memfd_create("rankine", MFD_CLOEXEC);
  if (memory->bytes < 0) fail_with("make");
  checked(H5Fget_vfd_handle(file->handle_.get(), H5P_DEFAULT, &descriptor), called, "", "find the file");
  const ssize_t size = ::pread(memory->named->descriptor(), begun.data(), begun.size(), 0);
  if (size < 0 || ::pwrite(memory->bytes, begun.data(), static_cast<std::size_t>(size), 0) != size ||
      ::dup2(memory->bytes, *static_cast<int*>(descriptor)) < 0) {
    fail_with("make");
  }
  file->memory_ = memory;
  return *std::move(file);
}

std::uint64_t File::memory_size() const {
  RANKINE_ASSERT(memory_ != nullptr, *path_);
  struct stat status {};
  RANKINE_ASSERT(::fstat(memory_->bytes, &status) == 0, *path_);
  return static_cast<std::uint64_t>(status.st_size);
}

void File::read_memory(std::uint64_t offset, std::span<std::byte> to) const {
  RANKINE_ASSERT(memory_ != nullptr, *path_);
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t count =
        ::pread(memory_->bytes, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    RANKINE_ASSERT(count > 0, *path_);
    done += static_cast<std::size_t>(count);
  }
}

File File::create_with(const Handle& access, const std::string& at, const std::string& path) {
  const Handle creation = owned(H5Pcreate(H5P_FILE_CREATE), path, "", "make a property list");
  checked(H5Pset_obj_track_times(creation.get(), false), path, "", "leave out time stamps");
  checked(H5Pset_link_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), path, "",
          "track creation order");
  checked(H5Pset_attr_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), path, "",
          "track creation order");
  Handle file =
      owned(H5Fcreate(at.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), path, "", "create the file");
  Handle root = owned(H5Gopen2(file.get(), "/", H5P_DEFAULT), path, "/", "open the group");
  auto shared_path = std::make_shared<const std::string>(path);
  return File(shared_path, std::move(file), Group(shared_path, "/", std::move(root)));
}

File File::open_image(std::span<const std::byte> bytes, const std::string& called) {
  prepare_library();
  // HDF5 only reads here, so that it may have the bytes themselves.
  Handle file(H5LTopen_file_image(const_cast<std::byte*>(bytes.data()), bytes.size(),
                                  H5LT_FILE_IMAGE_DONT_COPY | H5LT_FILE_IMAGE_DONT_RELEASE));
  if (file.get() < 0)
    throw InputError(fmt::format("{}: is not an HDF5 file: HDF5: {}", called, last_error()));
  return adopt(std::move(file), called);
}

File File::open(const std::string& path) {
  prepare_library();
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw InputError(fmt::format("{}: cannot open the file: {}", path, std::strerror(errno)));
  }
  if (S_ISDIR(status.st_mode)) throw InputError(fmt::format("{}: is a folder; an HDF5 file is needed", path));
  const Handle access = access_properties(path);
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()));
  if (file.get() >= 0) return adopt(std::move(file), path);
  const std::string cause = last_error();
  if (cause.find("file signature not found") != std::string::npos) {
    throw InputError(fmt::format("{}: is not an HDF5 file ({} bytes without its signature)", path,
                                 static_cast<long long>(status.st_size)));
  }
  throw InputError(fmt::format("{}: cannot open the file, which may be truncated or damaged: HDF5: {}{}",
                               path, cause, remedy(cause)));
}

File File::adopt(Handle file, const std::string& path) {
  Handle root(H5Gopen2(file.get(), "/", H5P_DEFAULT));
  if (root.get() < 0) throw InputError(fmt::format("{}: damaged HDF5 file: HDF5: {}", path, last_error()));
  auto shared_path = std::make_shared<const std::string>(path);
  return File(shared_path, std::move(file), Group(shared_path, "/", std::move(root)));
}

File::~File() { discard(); }

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(handle_, other.handle_);
  std::swap(root_, other.root_);
  std::swap(memory_, other.memory_);
  return *this;
}

void File::flush() {
  reserve(handle_.get(), 0, *path_, "");
  checked(H5Fflush(handle_.get(), H5F_SCOPE_GLOBAL), *path_, "", "write the file");
}

bool File::close_once() noexcept {
  // Whether or not it succeeds, HDF5 has freed the file now; its identifiers must not be used again.
  const hid_t file = handle_.release();
  root_.handle_.release();
  if (file < 0 || H5Fclose(file) >= 0) return true;
  unusable_now = true;
  return false;
}

void File::discard() noexcept {
  unsigned intent = 0;
  if (handle_.get() < 0) return;
  if (H5Fget_intent(handle_.get(), &intent) >= 0 && intent == H5F_ACC_RDONLY) {
    close_once();
    return;
  }
  // HDF5 crashes at the end of MPI when a file could not be closed, and on a full disk it cannot write what
  // it still has in mind. So let it write into memory: put another file behind its descriptor.
  void* descriptor = nullptr;
  const int sink = ::memfd_create("rankine-discarded", MFD_CLOEXEC);
  if (sink >= 0 && H5Fget_vfd_handle(handle_.get(), H5P_DEFAULT, &descriptor) >= 0 && descriptor) {
    ::dup2(sink, *static_cast<int*>(descriptor));
  }
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);  // holds for files in memory too
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &raised);
  close_once();
  ::setrlimit(RLIMIT_FSIZE, &limit);
  if (sink >= 0) ::close(sink);
  H5Eclear2(H5E_DEFAULT);
}

void File::close() {
  if (handle_.get() < 0) return;
  flush();
  if (!close_once()) fail(*path_, "", "close the file");
}

}  // namespace rankine::hdf5
