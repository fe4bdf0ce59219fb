// Objects in general, and data sets.
#include <hdf5_hl.h>

#include "src/io/hdf5_calls.hpp"

namespace rankine::hdf5 {

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

}  // namespace rankine::hdf5
