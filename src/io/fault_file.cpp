#include "src/io/fault_file.hpp"

#include "kernels/error.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/safe_file.hpp"

namespace rankine {
namespace {

hdf5::Type stored(DType type) {
  switch (type) {
    case DType::f32:
      return hdf5::Type::f32;
    case DType::f64:
      return hdf5::Type::f64;
    case DType::i32:
      return hdf5::Type::i32;
    case DType::i64:
      return hdf5::Type::i64;
    default:
      return hdf5::Type::i8;
  }
}

DType dtype_of_file(hdf5::Type type) {
  switch (type) {
    case hdf5::Type::f32:
      return DType::f32;
    case hdf5::Type::f64:
      return DType::f64;
    case hdf5::Type::i32:
      return DType::i32;
    case hdf5::Type::i64:
      return DType::i64;
    default:
      return DType::i8;
  }
}

void read_arrays(const hdf5::Group& group, const std::string& prefix, bool values, FaultFile& out) {
  for (const std::string& name : group.names()) {
    if (prefix.empty() && name == "texts") continue;
    if (group.has_group(name)) {
      read_arrays(group.open_group(name), prefix + name + "/", values, out);
      continue;
    }
    const hdf5::DatasetInfo info = group.info(name);
    StateValue value{dtype_of_file(info.type), {info.shape.begin(), info.shape.end()}, {}};
    if (values) value.bytes = group.read_bytes(name, info.type);
    out.arrays.emplace_back(prefix + name, std::move(value));
  }
}

}  // namespace

StateValue value_of(const Tensor& tensor) {
  return {tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()}, tensor.to_bytes()};
}

void write_fault_file(const std::string& path, const FaultFile& content) {
  SafeFile safe(path, FileContent::fault);
  hdf5::File file = hdf5::File::create(safe.temporary(), path);
  hdf5::Group& root = file.root();
  root.attribute("format", "rankine-fault");
  root.attribute("format_version", 1);
  for (const auto& [name, fact] : content.facts)
    std::visit([&, &name = name](const auto& value) { root.attribute(name, value); }, fact);
  hdf5::Group texts = root.require_group("texts");
  for (const auto& [name, text] : content.texts) texts.write_text(name, text);
  for (const auto& [name, value] : content.arrays) {
    const std::size_t slash = name.rfind('/');
    hdf5::Group parent = root.require_group(slash == std::string::npos ? "" : name.substr(0, slash));
    hdf5::Shape extents(value.shape.begin(), value.shape.end());
    if (extents.empty()) extents.push_back(1);
    parent.write_bytes(slash == std::string::npos ? name : name.substr(slash + 1), extents,
                       stored(value.type), value.bytes);
  }
  file.close();
  safe.commit();
}

FaultFile read_fault_file(const std::string& path, bool with_arrays) {
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group& root = file.root();
  if (!root.has_attribute("format") || root.text_attribute("format") != "rankine-fault")
    throw InputError(path + ": is no file about a numerical fault (the attribute 'format' of '/')");
  FaultFile out;
  for (const std::string& name : root.attribute_names()) {
    if (name == "format" || name == "format_version") continue;
    if (root.attribute_is_text(name))
      out.facts.emplace_back(name, root.text_attribute(name));
    else
      out.facts.emplace_back(name, root.number_attribute(name).at(0));
  }
  const hdf5::Group texts = root.open_group("texts");
  for (const std::string& name : texts.names()) out.texts.emplace_back(name, texts.read_text(name));
  read_arrays(root, "", with_arrays, out);
  return out;
}

}  // namespace rankine
