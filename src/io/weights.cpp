#include "src/io/weights.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <zlib.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/files.hpp"
#include "src/io/inspect.hpp"
#include "src/io/rehearsal.hpp"
#include "src/io/safe_file.hpp"
#include "src/io/stored_runs.hpp"

namespace rankine {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are copied as they stand in memory");

using hdf5::Type;

struct TypeNames {
  Type type;
  const char* numpy;
  const char* safetensors;
  std::uint64_t bytes;
};
constexpr std::array<TypeNames, 6> type_names{{{Type::f32, "<f4", "F32", 4},
                                               {Type::f64, "<f8", "F64", 8},
                                               {Type::i8, "|i1", "I8", 1},
                                               {Type::i32, "<i4", "I32", 4},
                                               {Type::i64, "<i8", "I64", 8},
                                               {Type::boolean, "|b1", "BOOL", 1}}};

const TypeNames& names_of(Type type) {
  for (const auto& names : type_names) {
    if (names.type == type) return names;
  }
  invariant_failed(__FILE__, __LINE__, "names_of", fmt::format("weights of type {}", hdf5::type_name(type)));
}

[[noreturn]] void malformed(const std::string& path, const std::string& what) {
  throw InputError(fmt::format("{}: {}", path, what));
}

/// A size read from a file is a claim: multiply with care.
std::uint64_t checked_bytes(const std::vector<std::uint64_t>& shape, std::uint64_t item,
                            const std::string& path, const std::string& name) {
  std::uint64_t bytes = item;
  for (const auto extent : shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      malformed(path, fmt::format("'{}' claims an impossible size", name));
  }
  return bytes;
}

// --------------------------------------------------------------------------------------------- little-endian
// numbers

template <class T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

template <class T>
T get(std::string_view bytes, std::uint64_t at, const std::string& path) {
  if (at > bytes.size() || bytes.size() - at < sizeof(T)) malformed(path, "the file is truncated");
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

std::string_view slice(std::string_view bytes, std::uint64_t at, std::uint64_t size,
                       const std::string& path) {
  if (at > bytes.size() || bytes.size() - at < size) malformed(path, "the file is truncated");
  return bytes.substr(at, size);
}

// -------------------------------------------------------------------------------------------- .npz: a zip of
// .npy files

std::uint32_t checksum(std::string_view bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string npy_bytes(const WeightArray& array) {
  std::string shape;
  for (const auto extent : array.shape) shape += fmt::format("{},", extent);
  if (array.shape.size() > 1) shape.pop_back();
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                   names_of(array.type).numpy, shape);
  // The array itself starts at a multiple of 64, as NumPy writes it, so that it can be mapped.
  header.append((64 - (10 + header.size() + 1) % 64) % 64, ' ');
  header += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  put(out, static_cast<std::uint16_t>(header.size()));
  return out + header + array.bytes;
}

/// The text behind `'key':` in the Python dictionary at the head of a .npy file, up to `end`.
std::string_view npy_field(std::string_view header, std::string_view key, char end, const std::string& path) {
  const auto at = header.find(fmt::format("'{}':", key));
  if (at == std::string_view::npos) malformed(path, fmt::format("its header lacks '{}'", key));
  const auto begin = header.find_first_not_of(' ', at + key.size() + 3);
  const auto stop = begin == std::string_view::npos ? begin : header.find(end, begin + 1);
  if (stop == std::string_view::npos)
    malformed(path, fmt::format("cannot understand '{}' in its header", key));
  return header.substr(begin, stop - begin);
}

/// Fortran order to row-major order.
std::string transposed(const std::string& bytes, const std::vector<std::uint64_t>& shape,
                       std::uint64_t item) {
  std::string out(bytes.size(), '\0');
  const std::uint64_t count = bytes.size() / item;
  for (std::uint64_t from = 0; from < count; ++from) {
    std::uint64_t rest = from, to = 0, stride = count;
    for (const auto extent : shape) {  // the first index runs fastest in `from`, slowest in `to`
      stride /= extent;
      to += rest % extent * stride;
      rest /= extent;
    }
    std::memcpy(out.data() + to * item, bytes.data() + from * item, item);
  }
  return out;
}

WeightArray parse_npy(std::string_view bytes, const std::string& name, const std::string& file) {
  const std::string path = fmt::format("{}:{}", file, name);
  if (!bytes.starts_with(std::string_view("\x93NUMPY", 6))) malformed(path, "is not a .npy array");
  const int major = get<std::uint8_t>(bytes, 6, path);
  const std::uint64_t start = major == 1 ? 10 : 12;
  const std::uint64_t length =
      major == 1 ? get<std::uint16_t>(bytes, 8, path) : get<std::uint32_t>(bytes, 8, path);
  const std::string_view header = slice(bytes, start, length, path);

  const std::string_view descr = npy_field(header, "descr", ',', path);
  const auto type = std::find_if(type_names.begin(), type_names.end(), [&](const TypeNames& names) {
    return descr == fmt::format("'{}'", names.numpy);
  });
  if (type == type_names.end()) {
    malformed(path, fmt::format("its type is {}; allowed are float32, float64, int8, int32, int64 and bool, "
                                "little-endian",
                                descr));
  }
  WeightArray array{name, type->type, {}, {}};
  std::uint64_t extent = 0;
  bool digits = false;
  for (const char c : npy_field(header, "shape", ')', path)) {
    if (c >= '0' && c <= '9') {
      if (extent > 1'000'000'000'000'000) malformed(path, "its shape claims an impossible size");
      extent = 10 * extent + static_cast<std::uint64_t>(c - '0');
      digits = true;
    } else if (c == ',' && digits) {
      array.shape.push_back(std::exchange(extent, 0));
      digits = false;
    }
  }
  if (digits) array.shape.push_back(extent);
  const std::uint64_t size = checked_bytes(array.shape, type->bytes, file, name);
  const std::string_view data = bytes.substr(start + length);
  if (data.size() != size) {
    malformed(path, fmt::format("holds {} bytes; its shape {} needs {}", data.size(),
                                hdf5::shape_text(array.shape), size));
  }
  array.bytes = data;
  if (npy_field(header, "fortran_order", ',', path) == "True" && size > 0) {
    array.bytes = transposed(array.bytes, array.shape, type->bytes);
  }
  return array;
}

void write_npz(const std::string& path, const WeightArrays& arrays) {
  constexpr std::uint32_t local = 0x04034b50, central = 0x02014b50, end = 0x06054b50;
  std::string out, directory;
  for (const auto& array : arrays) {
    const std::string name = array.name + ".npy", bytes = npy_bytes(array);
    const std::uint64_t offset = out.size();
    if (offset + bytes.size() > 0xFFFFFFF0u || arrays.size() > 0xFFF0u) {
      throw InputError(fmt::format(
          "{}: the weights are too large for .npz without zip64 (4 GB); write .safetensors", path));
    }
    // Common to both headers: version 2.0, no flags, stored, 1980-01-01, crc, sizes, lengths.
    std::string common;
    for (const std::uint16_t field : {20, 0, 0, 0, 0x21}) put(common, field);
    put(common, checksum(bytes));
    put(common, static_cast<std::uint32_t>(bytes.size()));
    put(common, static_cast<std::uint32_t>(bytes.size()));
    put(common, static_cast<std::uint16_t>(name.size()));
    put(common, std::uint16_t{0});
    put(out, local);
    out += common + name + bytes;
    put(directory, central);
    put(directory, std::uint16_t{20});
    directory += common;
    for (int i = 0; i < 3; ++i) put(directory, std::uint16_t{0});  // comment, disk, internal attributes
    put(directory, std::uint32_t{0});
    put(directory, static_cast<std::uint32_t>(offset));
    directory += name;
  }
  const auto directory_offset = static_cast<std::uint32_t>(out.size());
  out += directory;
  put(out, end);
  put(out, std::uint32_t{0});  // disks
  put(out, static_cast<std::uint16_t>(arrays.size()));
  put(out, static_cast<std::uint16_t>(arrays.size()));
  put(out, static_cast<std::uint32_t>(directory.size()));
  put(out, directory_offset);
  put(out, static_cast<std::uint16_t>(npz_comment.size()));
  out += npz_comment;
  write_file(path, FileContent::weights, out);
}

WeightArrays read_npz(const std::string& path) {
  const std::string bytes = read_file(path);
  const auto end = bytes.rfind(std::string_view("PK\x05\x06", 4));
  if (end == std::string::npos) malformed(path, "is not a complete .npz file (no zip directory)");
  slice(bytes, end + 22, get<std::uint16_t>(bytes, end + 20, path), path);  // its comment
  const auto count = get<std::uint16_t>(bytes, end + 10, path);
  std::uint64_t at = get<std::uint32_t>(bytes, end + 16, path);
  WeightArrays arrays;
  for (int i = 0; i < count; ++i) {
    if (slice(bytes, at, 4, path) != std::string_view("PK\x01\x02", 4))
      malformed(path, "its zip directory is damaged");
    const auto method = get<std::uint16_t>(bytes, at + 10, path);
    const auto crc = get<std::uint32_t>(bytes, at + 16, path);
    const std::uint64_t size = get<std::uint32_t>(bytes, at + 24, path);
    const auto name_length = get<std::uint16_t>(bytes, at + 28, path);
    const auto extra_length = get<std::uint16_t>(bytes, at + 30, path);
    const auto comment_length = get<std::uint16_t>(bytes, at + 32, path);
    const std::uint64_t offset = get<std::uint32_t>(bytes, at + 42, path);
    std::string name(slice(bytes, at + 46, name_length, path));
    at += 46u + name_length + extra_length + comment_length;

    if (!name.ends_with(".npy")) malformed(path, fmt::format("holds '{}', which is not a .npy array", name));
    name.resize(name.size() - 4);
    if (method != 0) {
      malformed(path, fmt::format("'{}' is compressed; write it with numpy.savez, not numpy.savez_compressed",
                                  name));
    }
    if (size == 0xFFFFFFFFu || offset == 0xFFFFFFFFu)
      malformed(path, fmt::format("'{}' is larger than 4 GB", name));
    const std::uint64_t data = offset + 30 + get<std::uint16_t>(bytes, offset + 26, path) +
                               get<std::uint16_t>(bytes, offset + 28, path);
    const std::string_view content = slice(bytes, data, size, path);
    if (checksum(content) != crc) malformed(path, fmt::format("'{}' is damaged: its checksum differs", name));
    if (std::any_of(arrays.begin(), arrays.end(), [&](const WeightArray& a) { return a.name == name; }))
      malformed(path, fmt::format("holds '{}' twice", name));
    arrays.push_back(parse_npy(content, name, path));
  }
  return arrays;
}

// ------------------------------------------------------------------------------------------------------
// .safetensors

void write_safetensors(const std::string& path, const WeightArrays& arrays) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "rankine"}};
  std::uint64_t offset = 0;
  for (const auto& array : arrays) {
    header[array.name] = {{"dtype", names_of(array.type).safetensors},
                          {"shape", array.shape},
                          {"data_offsets", {offset, offset + array.bytes.size()}}};
    offset += array.bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the data start aligned
  std::string out;
  put(out, static_cast<std::uint64_t>(text.size()));
  out += text;
  for (const auto& array : arrays) out += array.bytes;
  write_file(path, FileContent::weights, out);
}

/// How deep brackets stand within brackets, texts left out.
int nesting(std::string_view json) {
  int depth = 0, deepest = 0;
  bool in_text = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_text && c == '\\') ++i;
    if (c == '"') in_text = !in_text;
    if (in_text) continue;
    if (c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return deepest;
}

WeightArrays read_safetensors(const std::string& path) {
  constexpr std::uint64_t largest_header = 100'000'000;  // the limit of the format
  const std::string bytes = read_file(path);
  const auto length = get<std::uint64_t>(bytes, 0, path);
  if (length > largest_header) malformed(path, "is not a .safetensors file (its header would be too long)");
  const std::string_view text = slice(bytes, 8, length, path),
                         data = std::string_view(bytes).substr(8 + length);
  // The parser would keep the last of two equal keys.
  std::set<std::string> keys;
  std::string repeated;
  const auto look = [&](int depth, nlohmann::ordered_json::parse_event_t event, nlohmann::ordered_json& key) {
    const bool name = event == nlohmann::ordered_json::parse_event_t::key && depth == 1;
    if (name && !keys.insert(key.get<std::string>()).second) repeated = key.get<std::string>();
    return true;
  };
  // A header is a table of tables that hold lists.
  const bool plausible = text.starts_with('{') && nesting(text) <= 3;
  const auto header = plausible ? nlohmann::ordered_json::parse(text, look, false) : nlohmann::ordered_json();
  if (!header.is_object()) malformed(path, "is not a .safetensors file (its header is no JSON object)");
  if (!repeated.empty()) malformed(path, fmt::format("holds '{}' twice", repeated));

  std::vector<std::pair<std::uint64_t, WeightArray>> found;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      const bool texts = entry.is_object() && std::all_of(entry.begin(), entry.end(), [](const auto& value) {
                           return value.is_string();
                         });
      if (!texts) malformed(path, "its '__metadata__' must be an object of texts");
      continue;
    }
    try {
      const auto dtype = entry.at("dtype").get<std::string>();
      const auto type = std::find_if(type_names.begin(), type_names.end(),
                                     [&](const TypeNames& names) { return dtype == names.safetensors; });
      if (type == type_names.end()) {
        malformed(path,
                  fmt::format("'{}' has type {}; allowed are F32, F64, I8, I32, I64 and BOOL", name, dtype));
      }
      WeightArray array{name, type->type, entry.at("shape").get<std::vector<std::uint64_t>>(), {}};
      const auto range = entry.at("data_offsets").get<std::array<std::uint64_t, 2>>();
      const std::uint64_t size = checked_bytes(array.shape, type->bytes, path, name);
      if (range[0] > range[1] || range[1] > data.size() || range[1] - range[0] != size) {
        malformed(path, fmt::format("'{}': bytes {} to {} do not fit its shape {} or the file's {} bytes",
                                    name, range[0], range[1], hdf5::shape_text(array.shape), data.size()));
      }
      array.bytes = data.substr(range[0], size);
      found.emplace_back(range[0], std::move(array));
    } catch (const nlohmann::json::exception& error) {
      malformed(path, fmt::format("the entry of '{}' is malformed: {}", name, error.what()));
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  WeightArrays arrays;
  std::uint64_t expected = 0;
  for (auto& [offset, array] : found) {
    if (offset != expected) malformed(path, fmt::format("has a hole or an overlap before '{}'", array.name));
    expected += array.bytes.size();
    arrays.push_back(std::move(array));
  }
  if (expected != data.size())
    malformed(path, fmt::format("has {} bytes that belong to no array", data.size() - expected));
  return arrays;
}

// --------------------------------------------------------------------------------------------------------------
// HDF5

std::string find_group(const hdf5::Group& root, const std::string& wanted, const std::string& path) {
  if (!wanted.empty()) {
    if (root.has_group(wanted + "/weights")) return wanted + "/weights";
    if (root.has_group("runs/" + wanted + "/weights")) return "runs/" + wanted + "/weights";
    return wanted;  // open_group() says what is wrong with it
  }
  if (root.has_group("weights")) return "weights";
  std::vector<std::string> found;
  for (const StoredRun& run : stored_runs(root)) {
    if (run.group.has_group("weights")) found.push_back(fmt::format("{}/seed_{}", run.variant, run.seed));
  }
  if (found.size() == 1) return "runs/" + found.front() + "/weights";
  if (found.empty()) malformed(path, "holds no weights");
  malformed(path, fmt::format("holds the weights of {} runs; name one of them: {}", found.size(),
                              fmt::join(found, ", ")));
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

WeightArrays read_hdf5(const std::string& path, const std::string& wanted) {
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group group = file.root().open_group(find_group(file.root(), wanted, path));
  const bool in_results = group.path().starts_with("/runs/");
  WeightArrays arrays;
  for (const auto& name : group.names()) {
    if (!group.has_dataset(name)) continue;
    const hdf5::DatasetInfo info = group.info(name);
    WeightArray array{name, info.type, info.shape, {}};
    switch (info.type) {
      case Type::f32:
        array.bytes = raw(group.read<float>(name));
        break;
      case Type::f64:
        array.bytes = raw(group.read<double>(name));
        break;
      case Type::i32:
        array.bytes = raw(group.read<std::int32_t>(name));
        break;
      case Type::i64:
        array.bytes = raw(group.read<std::int64_t>(name));
        break;
      case Type::i8:
      case Type::boolean:
        array.bytes = raw(group.read<std::int8_t>(name));
        break;
      default:
        // What people put into results for themselves is left aside.
        if (in_results) continue;
        malformed(path, fmt::format("'{}/{}' holds {}, which are no weights", group.path(), name,
                                    hdf5::type_name(info.type)));
    }
    arrays.push_back(std::move(array));
  }
  return arrays;
}

hdf5::Type type_of_weights(DType type, const std::string& path, const std::string& name) {
  switch (type) {
    case DType::f32:
      return Type::f32;
    case DType::f64:
      return Type::f64;
    case DType::i8:
      return Type::i8;
    case DType::i32:
      return Type::i32;
    case DType::i64:
      return Type::i64;
    case DType::boolean:
      return Type::boolean;
    default:
      malformed(path, fmt::format("'{}' holds {}, which are no weights", name, name_of(type)));
  }
}

/// The weights of the state, or of the results where a finished run had no steps.
WeightArrays read_checkpoint_weights(const std::string& path) {
  const CheckpointContent content = read_checkpoint(path);
  for (const std::string start : {"state/weights/", "results/weights/"}) {
    WeightArrays arrays;
    for (const auto& [name, value] : content.state) {
      if (!name.starts_with(start)) continue;
      const std::string own = name.substr(start.size());
      arrays.push_back({own,
                        type_of_weights(value.type, path, own),
                        {value.shape.begin(), value.shape.end()},
                        std::string(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size())});
    }
    if (!arrays.empty()) return arrays;
  }
  malformed(path, "is a checkpoint without weights");
}

template <class T>
void write_array(hdf5::Group& group, const WeightArray& array) {
  const auto* values = reinterpret_cast<const T*>(array.bytes.data());
  group.write(array.name, array.shape, std::span<const T>(values, array.bytes.size() / sizeof(T)));
}

void write_hdf5(const std::string& path, const WeightArrays& arrays) {
  SafeFile safe(path, FileContent::weights);
  hdf5::File file = hdf5::File::create(safe.temporary(), path);
  file.root().attribute("format", "rankine-weights");
  file.root().attribute("format_version", 1);
  hdf5::Group group = file.root().require_group("weights");
  for (const auto& array : arrays) {
    switch (array.type) {
      case Type::f32:
        write_array<float>(group, array);
        break;
      case Type::f64:
        write_array<double>(group, array);
        break;
      case Type::i32:
        write_array<std::int32_t>(group, array);
        break;
      case Type::i64:
        write_array<std::int64_t>(group, array);
        break;
      case Type::boolean:
        write_array<bool>(group, array);
        break;
      default:
        write_array<std::int8_t>(group, array);
        break;
    }
  }
  file.close();
  safe.commit();
}

enum class Format { npz, safetensors, hdf5 };

Format format_of(const std::string& path) {
  const std::string ending = std::filesystem::path(path).extension().string();
  if (ending == ".npz") return Format::npz;
  if (ending == ".safetensors") return Format::safetensors;
  if (ending == ".h5" || ending == ".hdf5") return Format::hdf5;
  throw InputError(
      fmt::format("{}: cannot tell the format of the weights from the ending '{}'; known are .npz, "
                  ".safetensors, .h5 and .hdf5",
                  path, ending));
}

}  // namespace

WeightArrays read_weights(const std::string& path, const std::string& group) {
  const Format format = format_of(path);
  const auto is_checkpoint = [&] { return kind_of_file(path) == FileKind::checkpoint; };
  if (format == Format::hdf5) {
    rehearse(path, [&] {
      if (!is_checkpoint()) read_hdf5(path, group);  // a checkpoint is checked before HDF5 sees it
    });
  }
  const bool checkpoint = format == Format::hdf5 && is_checkpoint();
  if (format == Format::hdf5 && !checkpoint) return read_hdf5(path, group);
  if (!group.empty()) {
    throw InputError(
        fmt::format("{}: holds one set of weights only; '{}' cannot be chosen in it", path, group));
  }
  if (checkpoint) return read_checkpoint_weights(path);
  return format == Format::npz ? read_npz(path) : read_safetensors(path);
}

void write_weights(const std::string& path, const WeightArrays& arrays) {
  const Format format = format_of(path);
  std::set<std::string> seen;
  for (const auto& array : arrays) {
    if (!seen.insert(array.name).second)
      throw InputError(fmt::format("{}: two weights named '{}'", path, array.name));
    if (format == Format::hdf5 && array.name.find('/') != std::string::npos) {
      throw InputError(
          fmt::format("{}: '{}' cannot be the name of a weight in HDF5 ('/')", path, array.name));
    }
  }
  switch (format) {
    case Format::npz:
      return write_npz(path, arrays);
    case Format::safetensors:
      return write_safetensors(path, arrays);
    case Format::hdf5:
      return write_hdf5(path, arrays);
  }
}

void convert_weights(const std::string& from, const std::string& to, const std::string& group) {
  format_of(to);  // a wrong ending, or place, is found before a large file is read
  const OutputFile output{"convert's second file", to, FileContent::weights};
  const InputFile input{"convert's first file", from};
  const OutputClaim claim({&output, 1}, {&input, 1});
  write_weights(to, read_weights(from, group));
}

}  // namespace rankine
