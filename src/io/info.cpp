#include "src/io/info.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/inspect.hpp"
#include "src/io/rehearsal.hpp"

namespace rankine {

namespace {

using Json = nlohmann::ordered_json;

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

std::string attribute_or(const hdf5::Dataset& dataset, const std::string& name,
                         const std::string& otherwise) {
  return dataset.has_attribute(name) && dataset.attribute_is_text(name) ? dataset.text_attribute(name)
                                                                        : otherwise;
}

double median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

Json statistics(const std::vector<double>& values, const std::string& unit) {
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / (static_cast<double>(values.size()) - 1));
  return {{"mean", finite(mean)},
          {"median", finite(median(values))},
          {"min", finite(*std::min_element(values.begin(), values.end()))},
          {"max", finite(*std::max_element(values.begin(), values.end()))},
          {"std", finite(deviation)},
          {"count", values.size()},
          {"unit", unit}};
}

bool is_numeric(hdf5::Type type) { return type != hdf5::Type::text && type != hdf5::Type::other; }

/// Scalars and, of times, the medians of lists.
Json named_values(const hdf5::Group& group, bool with_long_name) {
  Json out = Json::object();
  for (const auto& name : group.names()) {
    if (!group.has_dataset(name)) continue;
    const hdf5::DatasetInfo info = group.info(name);
    if (!is_numeric(info.type) || info.shape.size() > (with_long_name ? 0 : 1)) continue;
    const hdf5::Dataset dataset = group.open_dataset(name);
    Json entry = {{"value", finite(median(group.read<double>(name)))},
                  {"unit", attribute_or(dataset, "units", "1")}};
    if (with_long_name) entry["long_name"] = attribute_or(dataset, "long_name", "");
    out[name] = entry;
  }
  return out;
}

/// What the tables of a run hold.
Json tables_of(const hdf5::Group& run) {
  Json out = Json::object();
  for (const std::string& name : stored_tables(run)) {
    const hdf5::Group group = run.open_group(name);
    const auto shape = [&](const std::string& array) {
      const bool numbers =
          !group.is_link(array) && group.has_dataset(array) && is_numeric(group.info(array).type);
      return numbers ? group.info(array).shape : hdf5::Shape();
    };
    const hdf5::Shape steps = shape("step");
    if (steps.size() != 1) continue;
    // The arrays [step, dimension], or, where there is none, [step].
    std::uint64_t entries = 1;
    std::size_t rank = 1;
    for (const std::string& array : group.names())
      if (const hdf5::Shape s = shape(array); s.size() == 2 && s[0] == steps[0]) {
        rank = 2;
        entries = s[1];
      }
    std::string dimension;
    std::vector<std::string> metrics;
    for (const std::string& array : group.names()) {
      const hdf5::Shape s = shape(array);
      if (array == "step" || s.empty()) continue;
      if (s.size() == rank && s[0] == steps[0] && (rank == 1 || s[1] == entries))
        metrics.push_back(array);
      else if (s == hdf5::Shape{entries})
        dimension = array;
    }
    out[name] = {{"dimension", dimension}, {"entries", entries}, {"rows", steps[0]}, {"metrics", metrics}};
  }
  return out;
}

Json fields_of(const hdf5::Group& run) {
  const StoredFields fields = stored_fields(run);
  if (fields.names.empty()) return Json::object();
  return {{"axes", fields.axes}, {"shape", fields.shape}, {"names", fields.names}};
}

Json provenance_of(const hdf5::Group& group) {
  Json out = Json::object();
  for (const auto& name : group.names()) {
    if (group.is_link(name)) continue;  // it may lead in a circle
    if (group.has_group(name)) {
      out[name] = provenance_of(group.open_group(name));
    } else if (!group.has_dataset(name)) {
      continue;
    } else if (const hdf5::DatasetInfo info = group.info(name); info.type == hdf5::Type::text) {
      if (hdf5::element_count(info.shape) == 1) out[name] = group.read_text(name);
    } else if (is_numeric(info.type)) {
      Json numbers = Json::array();
      for (const double value : group.read<double>(name)) numbers.push_back(finite(value));
      out[name] = numbers;
    }
  }
  return out;
}

Json describe(const std::string& path) {
  const hdf5::File file = open_results(path);
  const hdf5::Group& root = file.root();
  Json runs = Json::array(), variants = Json::object();
  std::vector<std::string> others;
  const std::vector<StoredRun> stored = stored_runs(root, &others);
  for (auto first = stored.begin(); first != stored.end();) {
    const std::string& variant = first->variant;
    const auto end =
        std::find_if(first, stored.end(), [&](const StoredRun& r) { return r.variant != variant; });
    std::vector<std::pair<std::string, std::vector<double>>> by_metric;
    std::vector<std::string> units;
    for (; first != end; ++first) {
      const hdf5::Group& run = first->group;
      Json metrics =
          run.has_group("summary") ? named_values(run.open_group("summary"), true) : Json::object();
      for (const auto& [metric, entry] : metrics.items()) {
        auto known = std::find_if(by_metric.begin(), by_metric.end(),
                                  [&metric = metric](const auto& m) { return m.first == metric; });
        if (known == by_metric.end()) {
          known = by_metric.emplace(by_metric.end(), metric, std::vector<double>());
          units.push_back(entry["unit"]);
        }
        known->second.push_back(entry["value"].is_null() ? std::nan("") : entry["value"].get<double>());
      }
      const std::string timing = fmt::format("timing/{}/seed_{}", variant, first->seed);
      const bool steps = run.has_dataset("steps/step") && run.info("steps/step").shape.size() == 1;
      runs.push_back({{"variant", variant},
                      {"seed", first->seed},
                      {"steps", steps ? run.info("steps/step").shape[0] : 0},
                      {"metrics", metrics},
                      {"tables", tables_of(run)},
                      {"fields", fields_of(run)},
                      {"timing", root.has_group(timing) ? named_values(root.open_group(timing), false)
                                                        : Json::object()}});
    }
    Json table = Json::object();
    for (std::size_t i = 0; i < by_metric.size(); ++i) {
      table[by_metric[i].first] = statistics(by_metric[i].second, units[i]);
    }
    variants[stored[static_cast<std::size_t>(end - stored.begin()) - 1].variant] = table;
  }

  Json expectations = Json::array();
  if (root.has_group("expectations")) {
    const hdf5::Group group = root.open_group("expectations");
    const auto expressions = group.read_texts("expression");
    const auto verdicts = group.read<std::int8_t>("verdict", {expressions.size()});
    const auto left = group.read<double>("value_left", {expressions.size()});
    const auto right = group.read<double>("value_right", {expressions.size()});
    // Files of before have none.
    const auto error =
        group.has_dataset("standard_error")
            ? group.read<double>("standard_error", {expressions.size()})
            : std::vector<double>(expressions.size(), std::numeric_limits<double>::quiet_NaN());
    std::vector<std::string> outcomes;
    if (group.has_dataset("outcome")) outcomes = group.read_texts("outcome");
    for (std::size_t i = outcomes.size(); i < expressions.size(); ++i)
      outcomes.emplace_back(verdicts[i] != 0 ? "pass" : "fail");
    for (std::size_t i = 0; i < expressions.size(); ++i) {
      expectations.push_back({{"expression", expressions[i]},
                              {"verdict", verdicts[i] != 0},
                              {"value_left", finite(left[i])},
                              {"value_right", finite(right[i])},
                              {"standard_error", finite(error[i])},
                              {"outcome", outcomes[i]}});
    }
  }
  return {
      {"file", path},
      {"format_version", 1},
      {"title",
       root.has_attribute("title") && root.attribute_is_text("title") ? root.text_attribute("title") : ""},
      {"missing", root.has_attribute("missing") && root.attribute_is_text("missing")
                      ? root.text_attribute("missing")
                      : ""},
      {"variants", variants},
      {"runs", runs},
      {"expectations", expectations},
      {"provenance",
       root.has_group("provenance") ? provenance_of(root.open_group("provenance")) : Json::object()},
      {"others", others}};
}

std::string number_text(const Json& value) {
  return value.is_null() ? "-" : fmt::format("{:.4g}", value.get<double>());
}

/// Number of characters that a UTF-8 text takes on the screen.
std::size_t screen_width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], screen_width(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line = " ";
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - screen_width(row[i]), ' ');
      line += i == 0 ? fmt::format(" {}{}", row[i], blanks) : fmt::format("  {}{}", blanks, row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

std::string results_json(const std::string& path) {
  return describe(path).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string results_text(const std::string& results_path) {
  const Json info = describe(results_path);
  std::string text = fmt::format("{}: {}\n", results_path, info["title"].get<std::string>());
  const auto out = std::back_inserter(text);
  if (const auto missing = info["missing"].get<std::string>(); !missing.empty())
    fmt::format_to(out, "INCOMPLETE: the run failed before it had {}\n", missing);

  std::vector<std::string> metrics;
  for (const auto& [variant, table] : info["variants"].items()) {
    for (const auto& [metric, entry] : table.items()) {
      if (std::find(metrics.begin(), metrics.end(), metric) == metrics.end()) metrics.push_back(metric);
    }
  }
  std::vector<std::vector<std::string>> rows{{"metric"}};
  for (const auto& [variant, table] : info["variants"].items()) rows.front().push_back(variant);
  for (const auto& metric : metrics) {
    std::vector<std::string> row{metric};
    for (const auto& [variant, table] : info["variants"].items()) {
      if (!table.contains(metric)) {
        row.emplace_back("-");
        continue;
      }
      const Json& entry = table[metric];
      const std::string unit = entry["unit"];
      if (unit != "1" && row.front() == metric) row.front() += fmt::format(" [{}]", unit);
      row.push_back(entry["count"].get<int>() == 1
                        ? number_text(entry["mean"])
                        : fmt::format("{} ± {}", number_text(entry["mean"]), number_text(entry["std"])));
    }
    rows.push_back(row);
  }
  fmt::format_to(out, "\nMetrics (mean ± standard deviation over the seeds; {} runs)\n{}",
                 info["runs"].size(), table_text(rows));

  Json tables = Json::object();
  for (const Json& run : info["runs"])
    for (const auto& [name, table] : run["tables"].items())
      if (!tables.contains(name)) tables[name] = table;
  std::size_t longest = 0;
  for (const auto& [name, table] : tables.items()) longest = std::max(longest, screen_width(name));
  if (!tables.empty()) text += "\nTables\n";
  for (const auto& [name, table] : tables.items()) {
    const std::string dimension = table["dimension"], blanks(longest - screen_width(name), ' ');
    fmt::format_to(out, "  {}{}  {} steps", name, blanks, table["rows"].get<int>());
    if (!dimension.empty()) fmt::format_to(out, " x {} {}s", table["entries"].get<int>(), dimension);
    fmt::format_to(out, ": {}\n", join(table["metrics"].get<std::vector<std::string>>()));
  }

  std::vector<std::string> fields;
  for (const Json& run : info["runs"]) {
    if (run["fields"].empty()) continue;
    std::vector<std::string> axes = run["fields"]["axes"];
    for (std::size_t i = 0; i < axes.size(); ++i)
      axes[i] += fmt::format(" {}", run["fields"]["shape"][i].get<std::uint64_t>());
    const std::string line =
        fmt::format("  [{}]: {}\n", join(axes), join(run["fields"]["names"].get<std::vector<std::string>>()));
    if (std::find(fields.begin(), fields.end(), line) == fields.end()) fields.push_back(line);
  }
  if (!fields.empty()) text += "\nFields\n" + join(fields, "");

  if (!info["others"].empty()) {
    text += "\nLeft aside, since it is not of Rankine's layout:";
    for (const auto& path : info["others"]) text += " " + path.get<std::string>();
    text += '\n';
  }

  if (!info["expectations"].empty()) text += "\nExpectations\n";
  for (const auto& entry : info["expectations"]) {
    fmt::format_to(out, "  {:<9}  {}", entry["outcome"].get<std::string>(),
                   entry["expression"].get<std::string>());
    if (!entry["value_left"].is_null()) {
      fmt::format_to(out, "   ({} against {})", number_text(entry["value_left"]),
                     number_text(entry["value_right"]));
    }
    text += '\n';
  }

  rows.clear();
  for (const auto& [name, value] : info["provenance"].items()) {
    // Long texts are for --json.
    if (name == "deck" || name == "fragments" || name == "resolved_deck" || name == "environment") continue;
    const auto add = [&](const std::string& label, const Json& content) {
      if (!content.is_string()) return;
      std::string line = content.get<std::string>();
      std::replace(line.begin(), line.end(), '\n', ' ');
      if (!line.empty()) text += fmt::format("  {:<16} {}\n", label, line);
    };
    if (rows.empty()) {
      text += "\nProvenance\n";
      rows.emplace_back();
    }
    if (value.is_object()) {
      for (const auto& [inner, content] : value.items()) add(inner, content);
    } else {
      add(name, value);
    }
  }
  return text;
}

/// What is told of a file of each kind.
struct Tellers {
  std::string (*results)(const std::string&);
  std::string (*checkpoint)(const std::string&);
  std::string (*folder)(const std::string&);
  std::string (*fault)(const std::string&);

  std::string operator()(FileKind kind, const std::string& path) const {
    switch (kind) {
      case FileKind::checkpoint:
        return checkpoint(path);
      case FileKind::checkpoint_folder:
        return folder(path);
      case FileKind::fault:
        return fault(path);
      case FileKind::results:
        break;
    }
    return results(path);
  }
};

/// What is told of the file, a damaged one having been read in a child process first.
std::string told(const std::string& path, const Tellers& tell) {
  if (const std::optional<FileKind> known = kind_from_outside(path)) return tell(*known, path);
  const auto work = [&] { return tell(kind_of_file(path), path); };
  rehearse(path, [&] { work(); });
  return work();
}

}  // namespace

std::string info_json(const std::string& path) {
  return told(path, {results_json, checkpoint_json, checkpoint_folder_json, fault_json});
}

std::string info_text(const std::string& path) {
  return told(path, {results_text, checkpoint_text, checkpoint_folder_text, fault_text});
}

// ---------------------------------------------------------------------------------------------------------
// compare

namespace {

/// Dimension scales keep references to each other: their content is compared where it stands.
bool internal(const std::string& attribute) {
  return attribute == "DIMENSION_LIST" || attribute == "REFERENCE_LIST" || attribute == "CLASS";
}

void read_attributes(const hdf5::Object& object) {
  for (const auto& name : object.attribute_names()) {
    if (internal(name)) continue;
    if (object.attribute_is_text(name))
      object.text_attribute(name);
    else if (object.attribute_is_number(name))
      object.number_attribute(name);
    else
      object.attribute_bytes(name);
  }
}

/// All that a comparison may read.
void read_all(const hdf5::Group& group) {
  read_attributes(group);
  for (const auto& name : group.names()) {
    if (group.is_link(name)) continue;
    if (group.has_group(name)) {
      read_all(group.open_group(name));
      continue;
    }
    if (!group.has_dataset(name)) continue;
    read_attributes(group.open_dataset(name));
    const hdf5::Type type = group.info(name).type;
    if (type == hdf5::Type::text)
      group.read_texts(name);
    else if (type == hdf5::Type::i64)
      group.read<std::int64_t>(name);
    else if (type == hdf5::Type::other)
      group.read_any(name);
    else
      group.read<double>(name);
  }
}

class Comparison {
 public:
  Comparison(const hdf5::Group& a, const hdf5::Group& b) { groups(a, b); }
  std::vector<Difference> found;

 private:
  static bool excluded(const std::string& path) { return path == "/provenance" || path == "/timing"; }

  static std::string below(const hdf5::Group& group, const std::string& name) {
    return fmt::format("{}/{}", group.path() == "/" ? "" : group.path(), name);
  }

  void groups(const hdf5::Group& a, const hdf5::Group& b) {
    attributes(a, b);
    for (const auto& name : a.names()) {
      const std::string path = below(a, name);
      if (excluded(path)) continue;
      if (!b.has(name)) {
        found.push_back({path, "only in the first file"});
      } else if (a.is_link(name) || b.is_link(name)) {
        // A soft link may lead in a circle; what it leads to within the file is compared where it stands.
        if (a.is_link(name) != b.is_link(name)) found.push_back({path, "a soft link in one of the files"});
      } else if (a.has_group(name) != b.has_group(name)) {
        found.push_back({path, "a group in one file and a dataset in the other"});
      } else if (a.has_group(name)) {
        groups(a.open_group(name), b.open_group(name));
      } else if (a.has_dataset(name) != b.has_dataset(name)) {
        found.push_back({path, "a dataset in one file and a type in the other"});
      } else if (a.has_dataset(name)) {
        datasets(a, b, name, path);
      }
    }
    for (const auto& name : b.names()) {
      if (!a.has(name) && !excluded(below(b, name)))
        found.push_back({below(b, name), "only in the second file"});
    }
  }

  void attributes(const hdf5::Object& a, const hdf5::Object& b) {
    for (const auto& name : a.attribute_names()) {
      if (internal(name)) continue;
      const std::string path = fmt::format("{}@{}", a.path(), name);
      if (!b.has_attribute(name)) {
        found.push_back({path, "only in the first file"});
      } else if (a.attribute_is_text(name) != b.attribute_is_text(name)) {
        found.push_back({path, "a text in one file and a number in the other"});
      } else if (a.attribute_is_text(name)) {
        if (a.text_attribute(name) != b.text_attribute(name)) {
          found.push_back(
              {path, fmt::format("'{}' against '{}'", a.text_attribute(name), b.text_attribute(name))});
        }
      } else if (!a.attribute_is_number(name) || !b.attribute_is_number(name)) {
        if (a.attribute_bytes(name) != b.attribute_bytes(name)) found.push_back({path, "the bytes differ"});
      } else {
        values(path, a.number_attribute(name), b.number_attribute(name));
      }
    }
    for (const auto& name : b.attribute_names()) {
      if (!internal(name) && !a.has_attribute(name)) {
        found.push_back({fmt::format("{}@{}", b.path(), name), "only in the second file"});
      }
    }
  }

  void datasets(const hdf5::Group& a, const hdf5::Group& b, const std::string& name,
                const std::string& path) {
    attributes(a.open_dataset(name), b.open_dataset(name));
    const hdf5::DatasetInfo in_a = a.info(name), in_b = b.info(name);
    if (in_a.type != in_b.type) {
      found.push_back(
          {path, fmt::format("{} against {}", hdf5::type_name(in_a.type), hdf5::type_name(in_b.type))});
    } else if (in_a.shape != in_b.shape) {
      found.push_back({path, fmt::format("shape {} against {}", hdf5::shape_text(in_a.shape),
                                         hdf5::shape_text(in_b.shape))});
    } else if (in_a.type == hdf5::Type::text) {
      const auto left = a.read_texts(name), right = b.read_texts(name);
      std::size_t count = 0;
      for (std::size_t i = 0; i < left.size(); ++i) count += left[i] != right[i];
      if (count > 0) found.push_back({path, fmt::format("{} of {} texts differ", count, left.size())});
    } else if (in_a.type == hdf5::Type::i64) {
      integers(path, a.read<std::int64_t>(name), b.read<std::int64_t>(name));
    } else if (in_a.type == hdf5::Type::other) {
      const auto left = a.read_any(name), right = b.read_any(name);
      if (!left || !right)
        found.push_back({path, "a type that cannot be compared"});
      else if (*left != *right)
        found.push_back({path, "the bytes differ"});
    } else {
      values(path, a.read<double>(name), b.read<double>(name));
    }
  }

  void integers(const std::string& path, const std::vector<std::int64_t>& a,
                const std::vector<std::int64_t>& b) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
    if (count > 0) found.push_back({path, fmt::format("{} of {} integers differ", count, a.size())});
  }

  void values(const std::string& path, const std::vector<double>& a, const std::vector<double>& b) {
    if (a.size() != b.size()) {
      found.push_back({path, fmt::format("{} values against {}", a.size(), b.size())});
      return;
    }
    std::size_t count = 0;
    double largest = 0, relative = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      // Bit by bit, so that 0 and -0 differ; every NaN is alike.
      const bool same = std::bit_cast<std::uint64_t>(a[i]) == std::bit_cast<std::uint64_t>(b[i]) ||
                        (std::isnan(a[i]) && std::isnan(b[i]));
      if (same) continue;
      ++count;
      const double difference = std::abs(a[i] - b[i]);
      // A NaN against a number, or an infinity, counts as infinitely far.
      largest = std::max(largest, std::isfinite(difference) ? difference : INFINITY);
      const double scale = std::max(std::abs(a[i]), std::abs(b[i]));
      relative =
          std::max(relative, std::isfinite(difference) ? (scale > 0 ? difference / scale : 0.0) : INFINITY);
    }
    if (count > 0) {
      found.push_back({path, fmt::format("{} of {} values differ, by {:.3g} at most (relative {:.3g})", count,
                                         a.size(), largest, relative)});
    }
  }
};

}  // namespace

std::vector<Difference> compare_results(const std::string& a, const std::string& b) {
  for (const std::string& path : {a, b})
    if (!kind_from_outside(path)) rehearse(path, [&] { read_all(hdf5::File::open(path).root()); });
  const bool checkpoints = kind_of_file(a) == FileKind::checkpoint || kind_of_file(b) == FileKind::checkpoint;
  if (checkpoints) return compare_checkpoints(a, b);
  const hdf5::File first = hdf5::File::open(a), second = hdf5::File::open(b);
  return Comparison(first.root(), second.root()).found;
}

std::string compare_text(const std::string& a, const std::string& b,
                         const std::vector<Difference>& differences) {
  if (differences.empty()) return fmt::format("{} and {}: same (/provenance and /timing left out)\n", a, b);
  std::string text =
      fmt::format("{} and {}: {} differences (/provenance and /timing left out)\n", a, b, differences.size());
  for (const auto& difference : differences)
    text += fmt::format("  {}: {}\n", difference.path, difference.what);
  return text;
}

}  // namespace rankine
