#include "src/io/hdf5.hpp"

#include <utility>

#include <fmt/format.h>
#include <hdf5.h>

#include "src/io/hdf5_calls.hpp"

namespace rankine::hdf5 {

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

}  // namespace rankine::hdf5
