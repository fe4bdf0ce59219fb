// Groups: what is in them, and what is read and written through them.
#include "src/io/hdf5_calls.hpp"

namespace rankine::hdf5 {

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
                  "file is damaged, or compressed so well that it must be repacked without compression "
                  "(h5repack -f NONE)",
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

}  // namespace rankine::hdf5
