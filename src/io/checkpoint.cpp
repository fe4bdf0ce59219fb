#include "src/io/checkpoint.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <xxhash.h>

#include "src/core/clock.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/safe_file.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view magic = "\nRANKINE CHECKPOINT SEAL";
constexpr std::size_t seal_bytes = 64;
constexpr std::uint64_t seal_version = 1;
static_assert(magic.size() == 24);

std::uint64_t hash(const void* data, std::size_t size) { return XXH3_64bits(data, size); }

/// magic, version, length, hash of what stands before, 0, hash of the seal up to here; little-endian.
std::string make_seal(std::string_view payload) {
  std::string seal(magic);
  const auto put = [&](std::uint64_t value) {
    for (int i = 0; i < 8; ++i) seal += static_cast<char>(value >> (8 * i) & 0xff);
  };
  put(seal_version);
  put(payload.size());
  put(hash(payload.data(), payload.size()));
  put(0);
  put(hash(seal.data(), seal.size()));
  return seal;
}

/// How HDF5 stores a type: complex numbers as pairs, in a last dimension of 2.
struct Stored {
  hdf5::Type type;
  bool pairs = false;
};

Stored stored(DType type) {
  switch (type) {
    case DType::f32:
      return {hdf5::Type::f32};
    case DType::f64:
      return {hdf5::Type::f64};
    case DType::c64:
      return {hdf5::Type::f32, true};
    case DType::c128:
      return {hdf5::Type::f64, true};
    case DType::i32:
      return {hdf5::Type::i32};
    case DType::i64:
      return {hdf5::Type::i64};
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      break;
  }
  return {hdf5::Type::i8};
}

DType dtype_named(const std::string& name, const std::string& where) {
  for (const DType type : {DType::f32, DType::f64, DType::c64, DType::c128, DType::i32, DType::i64, DType::i8,
                           DType::u8, DType::boolean}) {
    if (name == name_of(type)) return type;
  }
  throw DamagedFile(where + ": '" + name + "' is no type of an array");
}

std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

void write_value(hdf5::Group& state, const std::string& name, const StateValue& value) {
  const std::size_t slash = name.rfind('/');
  hdf5::Group parent = state.require_group(slash == std::string::npos ? "" : name.substr(0, slash));
  const Stored as = stored(value.type);
  hdf5::Shape extents(value.shape.begin(), value.shape.end());
  if (as.pairs) extents.push_back(2);
  if (extents.empty()) extents.push_back(1);
  hdf5::Dataset dataset = parent.write_checksummed(slash == std::string::npos ? name : name.substr(slash + 1),
                                                   extents, as.type, value.bytes);
  dataset.attribute("dtype", name_of(value.type));
  dataset.attribute("scalar", value.shape.empty() ? 1 : 0);
  dataset.attribute("xxh3_64", hex(hash(value.bytes.data(), value.bytes.size())));
}

void read_values(const hdf5::Group& group, const std::string& prefix, StateSnapshot& out) {
  for (const std::string& name : group.names()) {
    if (group.has_group(name)) {
      read_values(group.open_group(name), prefix + name + "/", out);
      continue;
    }
    const hdf5::Dataset dataset = group.open_dataset(name);
    const std::string where = dataset.file() + ":" + dataset.path();
    StateValue value;
    value.type = dtype_named(dataset.text_attribute("dtype"), where);
    const Stored as = stored(value.type);
    const hdf5::DatasetInfo info = group.info(name);
    if (info.type != as.type) throw DamagedFile(where + ": holds " + hdf5::type_name(info.type));
    value.shape.assign(info.shape.begin(), info.shape.end());
    if (as.pairs && !value.shape.empty()) value.shape.pop_back();
    if (dataset.number_attribute("scalar").front() == 1) value.shape.clear();
    value.bytes = group.read_bytes(name, as.type);
    if (hex(hash(value.bytes.data(), value.bytes.size())) != dataset.text_attribute("xxh3_64")) {
      throw DamagedFile(where + ": its hash is not the one that it was written with");
    }
    out.emplace(prefix + name, std::move(value));
  }
}

/// The number in "checkpoint-00000012.h5<ending>".
std::optional<std::int64_t> number_of(const std::string& name, std::string_view ending) {
  constexpr std::string_view start = "checkpoint-";
  if (!name.starts_with(start) || !name.ends_with(ending) || name.size() <= start.size() + ending.size()) {
    return std::nullopt;
  }
  const std::string digits = name.substr(start.size(), name.size() - start.size() - ending.size());
  const bool number = digits.size() <= 18 && std::all_of(digits.begin(), digits.end(), [](unsigned char c) {
                        return std::isdigit(c) != 0;
                      });
  return number ? std::optional(std::stoll(digits)) : std::nullopt;
}

std::vector<fs::path> files_in(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string encode_checkpoint(const CheckpointContent& content, const std::string& called) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : content.state) bytes += value.bytes.size();
  // HDF5 takes memory in steps and copies what it has at each: few steps for large contents.
  hdf5::File file = hdf5::File::create_in_memory(called, std::max<std::size_t>(1U << 18U, bytes / 8));
  hdf5::Group& root = file.root();
  root.attribute("format", "rankine-checkpoint");
  root.attribute("format_version", 1);
  hdf5::Group texts = root.require_group("texts");
  for (const auto& [name, text] : content.texts) {
    texts.write_checksummed(name, {text.size()}, hdf5::Type::i8,
                            std::as_bytes(std::span(text.data(), text.size())));
  }
  hdf5::Group state = root.require_group("state");
  for (const auto& [name, value] : content.state) write_value(state, name, value);
  std::string image = file.image();
  file.discard();
  image += make_seal(image);
  return image;
}

CheckpointContent decode_checkpoint(std::string_view bytes, const std::string& called) {
  if (bytes.size() < seal_bytes) {
    throw DamagedFile(fmt::format("{}: has {} bytes, too few for a checkpoint", called, bytes.size()));
  }
  const std::string_view payload = bytes.substr(0, bytes.size() - seal_bytes);
  const std::string_view seal = bytes.substr(payload.size());
  if (seal.substr(0, magic.size()) != magic) {
    throw DamagedFile(called + ": does not end as a checkpoint does; it is truncated, or no checkpoint");
  }
  if (seal != make_seal(payload)) {
    throw DamagedFile(called + ": its bytes are not those that were written (the hash differs)");
  }
  CheckpointContent content;
  try {
    const hdf5::File file = hdf5::File::open_image(payload, called);
    if (file.root().text_attribute("format") != "rankine-checkpoint" ||
        file.root().number_attribute("format_version").front() != 1) {
      throw DamagedFile(called + ": is written in a format that this version does not read");
    }
    const hdf5::Group texts = file.root().open_group("texts");
    for (const std::string& name : texts.names()) {
      const std::vector<std::byte> text = texts.read_bytes(name, hdf5::Type::i8);
      content.texts.emplace(name, std::string(reinterpret_cast<const char*>(text.data()), text.size()));
    }
    read_values(file.root().open_group("state"), "", content.state);
  } catch (const DamagedFile&) {
    throw;
  } catch (const std::exception& error) {
    throw DamagedFile(error.what());
  }
  return content;
}

CheckpointCost write_checkpoint(const std::string& path, const CheckpointContent& content) {
  CheckpointCost cost;
  Stopwatch watch;
  const std::string bytes = encode_checkpoint(content, path);
  cost.bytes = bytes.size();
  try {
    write_file(path, bytes);
  } catch (const InputError& error) {
    throw IoError(error.what());  // the folder was there when the run began
  }
  cost.write_seconds = watch.lap();
  try {
    // What is read is what was written, or the hash differs.
    decode_checkpoint(read_file(path), path);
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove(path, ignored);
    throw IoError(std::string(error.what()) + "; it was written just now and is removed again");
  }
  cost.verify_seconds = watch.seconds();
  return cost;
}

CheckpointContent read_checkpoint(const std::string& path) {
  return decode_checkpoint(read_file(path), path);
}

std::vector<CheckpointFolder::Item> CheckpointFolder::list() const {
  std::vector<Item> items;
  for (const fs::path& file : files_in(path_)) {
    if (const auto number = number_of(file.filename().string(), ".h5"))
      items.push_back({*number, file.string()});
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.number > b.number; });
  return items;
}

std::int64_t CheckpointFolder::next_number() const {
  std::int64_t next = 1;
  for (const fs::path& file : files_in(path_)) {
    for (const char* ending : {".h5", ".h5.damaged"}) {
      if (const auto number = number_of(file.filename().string(), ending)) next = std::max(next, *number + 1);
    }
  }
  return next;
}

std::string CheckpointFolder::path_of(std::int64_t number) const {
  return fmt::format("{}/checkpoint-{:08d}.h5", path_, number);
}

std::string CheckpointFolder::finished_path(const std::string& variant, std::int64_t seed) const {
  return fmt::format("{}/finished-{}-seed_{}.h5", path_, variant, seed);
}

void CheckpointFolder::create() const {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) {
    throw IoError(
        fmt::format("{}: cannot make the folder for checkpoints: {}; choose another "
                    "checkpoint.directory",
                    path_, error.message()));
  }
}

bool CheckpointFolder::archive() const {
  const fs::path previous = fs::path(path_) / "previous";
  bool any = false;
  std::error_code error;
  for (const fs::path& file : files_in(path_)) {
    if (file.extension() != ".h5") continue;
    if (!any) {
      fs::remove_all(previous, error);
      fs::create_directories(previous, error);
      any = true;
    }
    fs::rename(file, previous / file.filename(), error);
    if (error) {
      throw IoError(
          fmt::format("{}: cannot be moved to {}: {}", file.string(), previous.string(), error.message()));
    }
  }
  return any;
}

void CheckpointFolder::set_aside(const std::string& path) {
  std::error_code ignored;
  fs::rename(path, path + ".damaged", ignored);
}

void CheckpointFolder::remove_temporaries() const {
  std::error_code ignored;
  for (const fs::path& file : files_in(path_)) {
    if (file.filename().string().find(".h5.tmp.") != std::string::npos) fs::remove(file, ignored);
  }
}

void CheckpointFolder::prune(int keep_last, int keep_every) const {
  std::error_code ignored;
  int kept = 0;
  for (const Item& item : list()) {
    if (kept++ < keep_last || (keep_every > 0 && item.number % keep_every == 0)) continue;
    fs::remove(item.path, ignored);
  }
  for (const fs::path& file : files_in(path_)) {
    if (file.extension() == ".damaged") fs::remove(file, ignored);
  }
}

}  // namespace rankine
