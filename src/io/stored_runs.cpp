#include "src/io/stored_runs.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "kernels/error.hpp"

namespace rankine {

hdf5::File open_results(const std::string& path) {
  hdf5::File file = hdf5::File::open(path);
  const hdf5::Group& root = file.root();
  if (!root.has_attribute("format") || !root.attribute_is_text("format") ||
      root.text_attribute("format") != "rankine-results") {
    throw InputError(
        fmt::format("{}: is an HDF5 file, but not one of Rankine's results (the attribute 'format' of '/' "
                    "must be 'rankine-results')",
                    path));
  }
  const std::vector<double> version = root.number_attribute("format_version");
  if (version.empty() || version[0] != 1) {
    throw InputError(fmt::format("{}: has format_version {}; this program reads 1", path,
                                 version.empty() ? "of no number" : fmt::format("{}", version[0])));
  }
  return file;
}

namespace {

constexpr std::array<std::string_view, 6> parts{"steps",      "evaluations", "summary",
                                                "per_sample", "fields",      "weights"};

template <class List>
bool contains(const List& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// A table without rows has its labels alone.
bool is_table(const hdf5::Group& run, const std::string& name) {
  if (contains(parts, name) || run.is_link(name) || !run.has_group(name)) return false;
  const hdf5::Group group = run.open_group(name);
  return group.has_attribute("names") || (group.has_dataset("step") && !group.is_link("step"));
}

/// The number in "seed_<number>", written as Rankine writes it.
std::optional<std::int64_t> seed_of(const std::string& name) {
  constexpr std::string_view start = "seed_";
  std::int64_t seed = 0;
  const char* begin = name.data() + std::min(name.size(), start.size());
  const char* end = name.data() + name.size();
  const bool number = name.starts_with(start) && std::from_chars(begin, end, seed).ptr == end;
  return number && name == fmt::format("{}{}", start, seed) ? std::optional(seed) : std::nullopt;
}

}  // namespace

std::vector<std::string> stored_tables(const hdf5::Group& run) {
  std::vector<std::string> out;
  for (const std::string& name : run.names())
    if (is_table(run, name)) out.push_back(name);
  return out;
}

StoredFields stored_fields(const hdf5::Group& run) {
  StoredFields found;
  if (!run.has_group("fields")) return found;
  const hdf5::Group group = run.open_group("fields");
  const auto shape_of = [&](const std::string& name) -> hdf5::Shape {
    if (!group.has_dataset(name)) return {};
    const hdf5::DatasetInfo info = group.info(name);
    return info.type == hdf5::Type::f32 || info.type == hdf5::Type::f64 ? info.shape : hdf5::Shape();
  };
  hdf5::Shape grid;
  found.axes = {"sample_id"};
  for (const char* axis : {"t", "x", "y", "z"}) {
    const hdf5::Shape shape = shape_of(axis);
    if (shape.size() != 1) break;
    grid.push_back(shape[0]);
    found.axes.emplace_back(axis);
  }
  // An array y of somebody's beside fields [sample, t, x] is no axis of theirs.
  for (; grid.size() >= 2; grid.pop_back(), found.axes.pop_back()) {
    for (const std::string& name : group.names()) {
      const hdf5::Shape shape = shape_of(name);
      if (shape.size() != grid.size() + 1 || !std::equal(grid.begin(), grid.end(), shape.begin() + 1))
        continue;
      if (!found.names.empty() && shape != found.shape) continue;
      found.shape = shape;
      found.names.push_back(name);
    }
    if (!found.names.empty()) return found;
  }
  return {};
}

std::vector<StoredRun> stored_runs(const hdf5::Group& root, std::vector<std::string>* others) {
  constexpr std::array<std::string_view, 4> top{"runs", "expectations", "timing", "provenance"};
  const auto note = [&](const std::string& path) {
    if (others != nullptr) others->push_back(path);
  };
  const auto look = [&](const hdf5::Group& group, const std::string& path, const auto& known) {
    for (const std::string& name : group.names())
      if (group.is_link(name) || !group.has_group(name) || !contains(known, name)) note(path + "/" + name);
  };
  look(root, "", top);
  std::vector<StoredRun> found;
  if (!root.has_group("runs")) return found;
  const hdf5::Group runs = root.open_group("runs");
  for (const std::string& variant : runs.names()) {
    if (runs.is_link(variant) || !runs.has_group(variant)) {
      note("/runs/" + variant);
      continue;
    }
    const hdf5::Group seeds = runs.open_group(variant);
    for (const std::string& name : seeds.names()) {
      const std::string path = fmt::format("/runs/{}/{}", variant, name);
      const std::optional<std::int64_t> seed = seed_of(name);
      if (!seed || seeds.is_link(name) || !seeds.has_group(name)) {
        note(path);
        continue;
      }
      found.push_back({variant, *seed, seeds.open_group(name)});
      const hdf5::Group& run = found.back().group;
      std::vector<std::string> known(parts.begin(), parts.end());
      for (const std::string& table : stored_tables(run)) known.push_back(table);
      look(run, path, known);
    }
  }
  return found;
}

}  // namespace rankine
