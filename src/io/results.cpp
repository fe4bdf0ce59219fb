#include "src/io/results.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/safe_file.hpp"

namespace rankine {
namespace {

using nlohmann::json;

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

template <class T>
StateValue array(std::span<const T> values, std::vector<std::int64_t> shape) {
  const auto bytes = std::as_bytes(values);
  return {dtype_of<T>, std::move(shape), {bytes.begin(), bytes.end()}};
}

template <class T>
StateValue array(const std::vector<T>& values) {
  return array(std::span<const T>(values), {static_cast<std::int64_t>(values.size())});
}

/// DamagedFile where the checkpoint, whole as it may be, does not hold what its layout says.
template <class T>
std::vector<T> values_of(const CheckpointContent& content, const std::string& name) {
  const auto found = content.state.find(name);
  if (found == content.state.end() || found->second.type != dtype_of<T>) {
    throw DamagedFile("the checkpoint has no '" + name +
                      "'; it was written by another version of the program");
  }
  std::vector<T> values(found->second.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), found->second.bytes.data(), values.size() * sizeof(T));
  return values;
}

json json_of(const Label& label) { return {label.unit, label.long_name}; }
Label label_of(const json& text) { return {text.at(0), text.at(1)}; }

void set_label(hdf5::Object& object, const Label& label) {
  object.attribute("units", label.unit);
  if (!label.long_name.empty()) object.attribute("long_name", label.long_name);
}

/// Columns that grow row by row. A row is `width` values; cells that nobody filled are NaN.
class Table {
 public:
  void start_row(std::int64_t step) {
    steps_.push_back(step);
    for (auto& [name, values] : columns_) values.resize(steps_.size() * width_, missing);
  }
  void start_row_unless_current(std::int64_t step) {
    if (steps_.empty() || steps_.back() != step) start_row(step);
  }
  void set(const std::string& name, std::span<const double> row) {
    if (columns_.empty()) width_ = row.size();
    RANKINE_ASSERT(row.size() == width_,
                   fmt::format("'{}' has {} values a row, others have {}", name, row.size(), width_));
    auto& values = column(name);
    std::copy(row.begin(), row.end(), values.end() - static_cast<std::ptrdiff_t>(width_));
  }

  bool empty() const { return steps_.empty(); }

  /// Step and value of the rows that have one in this column of width 1.
  std::vector<std::pair<std::int64_t, double>> series(const std::string& name) const {
    std::vector<std::pair<std::int64_t, double>> rows;
    for (const auto& [column, values] : columns_) {
      for (std::size_t i = 0; column == name && width_ == 1 && i < steps_.size(); ++i)
        if (!std::isnan(values[i])) rows.emplace_back(steps_[i], values[i]);
    }
    return rows;
  }

  void drop_last(std::int64_t step) {
    if (steps_.empty() || steps_.back() != step) return;
    steps_.pop_back();
    for (auto& [name, values] : columns_) values.resize(steps_.size() * width_);
  }

  json save(const std::string& at, CheckpointContent& content) const {
    json columns = json::array();
    content.state.emplace(at + "/step", array(steps_));
    for (const auto& [name, values] : columns_) {
      content.state.emplace(at + "/columns/" + name, array(values));
      columns.push_back(name);
    }
    return {{"width", width_}, {"columns", columns}};
  }

  void load(const std::string& at, const CheckpointContent& content, const json& layout) {
    RANKINE_ASSERT(empty(), "a table with rows is restored");
    width_ = layout.at("width");
    steps_ = values_of<std::int64_t>(content, at + "/step");
    for (const json& name : layout.at("columns")) {
      columns_.emplace_back(name, values_of<double>(content, at + "/columns/" + name.get<std::string>()));
      if (columns_.back().second.size() != steps_.size() * width_) throw DamagedFile("a table has gaps");
    }
  }

  /// Columns of shape [step], or [step, second] where `second` names a second dimension.
  void write(hdf5::Group& group, const std::string& second = {}) const {
    hdf5::Dataset step = group.write("step", {steps_.size()}, steps_);
    set_label(step, {"1", "training steps done"});
    step.make_scale("step");
    std::optional<hdf5::Dataset> other;
    if (!second.empty()) {
      std::vector<std::int64_t> index(width_);
      for (std::size_t i = 0; i < width_; ++i) index[i] = static_cast<std::int64_t>(i);
      other.emplace(group.write(second, {width_}, index));
      other->make_scale(second);
    }
    for (const auto& [name, values] : columns_) {
      hdf5::Dataset dataset =
          group.write(name, other ? hdf5::Shape{steps_.size(), width_} : hdf5::Shape{steps_.size()}, values);
      dataset.attach_scale(0, step);
      if (other) dataset.attach_scale(1, *other);
    }
  }

 private:
  std::vector<double>& column(const std::string& name) {
    for (auto& [known, values] : columns_) {
      if (known == name) return values;
    }
    RANKINE_ASSERT(name != "step", "'step' is the name of a coordinate");
    return columns_.emplace_back(name, std::vector<double>(steps_.size() * width_, missing)).second;
  }

  std::size_t width_ = 1;
  std::vector<std::int64_t> steps_;
  std::vector<std::pair<std::string, std::vector<double>>> columns_;
};

struct Named {
  std::string name;
  std::vector<double> values;
  bool scalar;
  Label label;
};

/// Replaces the entry of that name or appends one.
void put(std::vector<Named>& list, Named entry) {
  for (auto& known : list) {
    if (known.name == entry.name) {
      known = std::move(entry);
      return;
    }
  }
  list.push_back(std::move(entry));
}

void write_named(hdf5::Group& group, const Named& entry) {
  hdf5::Dataset dataset = entry.scalar ? group.write(entry.name, entry.values.front())
                                       : group.write(entry.name, {entry.values.size()}, entry.values);
  set_label(dataset, entry.label);
}

/// A field or a parameter as it was given, for checkpoints.
struct Kept {
  std::string name;
  StateValue values;
  std::vector<Coordinate> coordinates;
  Label label;
};

json save_named(const std::vector<Named>& list, const std::string& at, CheckpointContent& content) {
  json out = json::array();
  for (const Named& entry : list) {
    content.state.emplace(at + "/" + entry.name, array(entry.values));
    out.push_back({entry.name, entry.scalar, json_of(entry.label)});
  }
  return out;
}

std::vector<Named> load_named(const std::string& at, const CheckpointContent& content, const json& layout) {
  std::vector<Named> list;
  for (const json& entry : layout) {
    const std::string name = entry.at(0);
    list.push_back({name, values_of<double>(content, at + "/" + name), entry.at(1), label_of(entry.at(2))});
    if (list.back().scalar && list.back().values.size() != 1)
      throw DamagedFile("'" + name + "' is no scalar");
  }
  return list;
}

}  // namespace

namespace io_detail {

struct NamedTable {
  std::string name;
  TableAxis axis;
  Table rows = {};
};

struct Run {
  std::string variant;
  std::int64_t seed;
  Table steps, evaluations;
  std::vector<NamedTable> tables;
  std::vector<Named> summary, per_sample, timing;
  std::vector<Coordinate> coordinates;  // of the fields written so far
  std::vector<Kept> fields, weights;    // empty unless they are kept for checkpoints
  std::vector<std::pair<std::string, std::vector<double>>> edges;
  std::string path() const { return fmt::format("{}/seed_{}", variant, seed); }
};

class ResultsState {
 public:
  /// Without a file.
  ResultsState() : keep_(true) {}

  ResultsState(const std::string& path, const std::string& title, std::uint64_t bytes_needed)
      : safe_(std::in_place, path, FileContent::results, bytes_needed),
        file_(hdf5::File::create(safe_->temporary(), path)) {
    hdf5::Group& root = file_->root();
    root.attribute("format", "rankine-results");
    root.attribute("format_version", 1);
    root.attribute("title", title);
    root.attribute("Conventions", "CF-1.8");
    root.require_group("runs");
  }

  Run& run(std::size_t index) { return *runs_[index]; }

  std::size_t find_run(const std::string& variant, std::int64_t seed) {
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      if (runs_[i]->variant == variant && runs_[i]->seed == seed) return i;
    }
    if (variant.empty() || variant.find('/') != std::string::npos) {
      throw InputError(
          fmt::format("'{}' cannot be the name of a variant: it becomes the name of a group in the "
                      "results; use letters, digits, '-', '_' and '.'",
                      variant));
    }
    runs_.push_back(std::make_unique<Run>(Run{.variant = variant,
                                              .seed = seed,
                                              .steps = {},
                                              .evaluations = {},
                                              .tables = {},
                                              .summary = {},
                                              .per_sample = {},
                                              .timing = {},
                                              .coordinates = {},
                                              .fields = {},
                                              .weights = {},
                                              .edges = {}}));
    if (file_) {
      hdf5::Group group = run_group(*runs_.back());
      group.attribute("variant", variant);
      group.attribute("seed", seed);
    }
    return runs_.size() - 1;
  }

  hdf5::Group run_group(const Run& run) {
    return file_->root().require_group(fmt::format("runs/{}", run.path()));
  }

  template <class T>
  void write_field(Run& run, const std::string& name, std::span<const T> values,
                   const std::vector<Coordinate>& coordinates, const Label& label) {
    if (keep_)
      run.fields.push_back(
          {name, array(values, {static_cast<std::int64_t>(values.size())}), coordinates, label});
    if (!file_) return;
    hdf5::Group group = run_group(run).require_group("fields");
    hdf5::Shape shape;
    for (const auto& coordinate : coordinates) shape.push_back(coordinate.values.size());
    hdf5::Dataset dataset = group.write(name, shape, values);
    set_label(dataset, label);
    for (unsigned i = 0; i < coordinates.size(); ++i) {
      const Coordinate& coordinate = coordinates[i];
      const auto known = std::find_if(run.coordinates.begin(), run.coordinates.end(),
                                      [&](const Coordinate& other) { return other.name == coordinate.name; });
      if (known != run.coordinates.end()) {
        RANKINE_ASSERT(known->values == coordinate.values,
                       fmt::format("fields of {} differ in '{}'", run.path(), coordinate.name));
        dataset.attach_scale(i, group.open_dataset(coordinate.name));
        continue;
      }
      run.coordinates.push_back(coordinate);
      hdf5::Dataset scale = group.write(coordinate.name, {coordinate.values.size()}, coordinate.values);
      set_label(scale, {coordinate.unit, coordinate.long_name});
      scale.make_scale(coordinate.name);
      dataset.attach_scale(i, scale);
    }
    // HDF5 keeps small data back and loses a failure to write them in closing the dataset: ask for it now.
    file_->flush();
  }

  template <class T>
  void write_weights(Run& run, const std::string& name, std::span<const T> values,
                     const std::vector<std::uint64_t>& shape) {
    if (keep_) run.weights.push_back({name, array(values, {shape.begin(), shape.end()}), {}, {}});
    RANKINE_ASSERT(name.find('/') == std::string::npos, name);
    if (!file_) return;
    run_group(run).require_group("weights").write(name, shape, values);
    file_->flush();
  }

  void write_edges(Run& run, const std::string& name, std::span<const double> edges) {
    if (keep_) run.edges.emplace_back(name, std::vector<double>(edges.begin(), edges.end()));
    if (file_) run_group(run).require_group("fields").attribute(name, edges);
  }

  /// The table of that name, made if there is none.
  NamedTable& table(Run& run, const std::string& name, const TableAxis& axis) {
    for (NamedTable& known : run.tables) {
      if (known.name != name) continue;
      RANKINE_ASSERT(known.axis.dimension == axis.dimension && known.axis.labels == axis.labels,
                     fmt::format("the table '{}' is along '{}' now, and was along '{}'", name, axis.dimension,
                                 known.axis.dimension));
      return known;
    }
    constexpr std::array<std::string_view, 6> taken{"steps",      "evaluations", "summary",
                                                    "per_sample", "fields",      "weights"};
    RANKINE_ASSERT(std::find(taken.begin(), taken.end(), name) == taken.end(), name + " is no free name");
    if (file_ && !axis.labels.empty()) {
      std::string text;
      for (const std::string& label : axis.labels) text += (text.empty() ? "" : " ") + label;
      run_group(run).require_group(name).attribute("names", text);
    }
    return run.tables.emplace_back(NamedTable{name, axis});
  }

  void mark_incomplete(const std::vector<std::string>& missing) {
    file_->root().attribute("complete", 0);
    file_->root().attribute("missing", join(missing));
  }

  void keep() { keep_ = true; }
  static void forget(Run& run) {
    run.fields.clear();
    run.weights.clear();
    run.edges.clear();
  }

  static void save(const Run& run, CheckpointContent& content) {
    json layout;
    layout["steps"] = run.steps.save("results/steps", content);
    layout["evaluations"] = run.evaluations.save("results/evaluations", content);
    layout["tables"] = json::array();
    for (const NamedTable& table : run.tables)
      layout["tables"].push_back({{"name", table.name},
                                  {"dimension", table.axis.dimension},
                                  {"labels", table.axis.labels},
                                  {"rows", table.rows.save("results/tables/" + table.name, content)}});
    layout["summary"] = save_named(run.summary, "results/summary", content);
    layout["per_sample"] = save_named(run.per_sample, "results/per_sample", content);
    layout["timing"] = save_named(run.timing, "results/timing", content);
    const auto keep = [&](const char* what, const std::vector<Kept>& list) {
      layout[what] = json::array();
      for (const Kept& entry : list) {
        json coordinates = json::array();
        for (const Coordinate& c : entry.coordinates) {
          coordinates.push_back({c.name, c.unit, c.long_name});
          content.state.emplace("results/coordinates/" + entry.name + "/" + c.name, array(c.values));
        }
        content.state.emplace(std::string("results/") + what + "/" + entry.name, entry.values);
        layout[what].push_back({entry.name, json_of(entry.label), coordinates});
      }
    };
    keep("fields", run.fields);
    keep("weights", run.weights);
    layout["edges"] = json::array();
    for (const auto& [name, edges] : run.edges) {
      content.state.emplace("results/edges/" + name, array(edges));
      layout["edges"].push_back(name);
    }
    content.texts["results_layout"] = layout.dump();
  }

  void load(Run& run, const CheckpointContent& content, bool tables_only) {
    const auto text = content.texts.find("results_layout");
    if (text == content.texts.end()) throw DamagedFile("the checkpoint holds no results");
    const json layout = json::parse(text->second);
    run.steps.load("results/steps", content, layout.at("steps"));
    run.evaluations.load("results/evaluations", content, layout.at("evaluations"));
    if (!layout.contains("tables"))
      throw DamagedFile("the checkpoint's results were written by another version of the program");
    for (const json& entry : layout.at("tables")) {
      const std::string name = entry.at("name");
      NamedTable& to = table(run, name, {entry.at("dimension"), entry.at("labels")});
      to.rows.load("results/tables/" + name, content, entry.at("rows"));
    }
    if (tables_only) return;
    run.timing = load_named("results/timing", content, layout.at("timing"));
    run.summary = load_named("results/summary", content, layout.at("summary"));
    run.per_sample = load_named("results/per_sample", content, layout.at("per_sample"));
    for (const json& entry : layout.at("fields")) {
      const std::string name = entry.at(0);
      std::vector<Coordinate> coordinates;
      for (const json& c : entry.at(2)) {
        const std::string axis = c.at(0);
        coordinates.push_back(
            {axis, values_of<double>(content, "results/coordinates/" + name + "/" + axis), c.at(1), c.at(2)});
      }
      with_values(content, "results/fields/" + name, [&](const auto& values, const auto&) {
        write_field(run, name, std::span(values), coordinates, label_of(entry.at(1)));
      });
    }
    for (const json& entry : layout.at("weights")) {
      const std::string name = entry.at(0);
      with_values(content, "results/weights/" + name, [&](const auto& values, const hdf5::Shape& shape) {
        write_weights(run, name, std::span(values), shape);
      });
    }
    for (const json& name : layout.at("edges")) {
      write_edges(run, name, values_of<double>(content, "results/edges/" + name.get<std::string>()));
    }
  }

  void copy(const std::string& to, const hdf5::Group& root, const std::string& from) {
    if (root.has_group(from)) file_->root().require_group(to).copy_from(root.open_group(from));
  }

  void finish() {
    RANKINE_ASSERT(file_, "results without a file are finished");
    hdf5::Group& root = file_->root();
    for (const auto& run : runs_) {
      hdf5::Group group = run_group(*run);
      const auto write_table = [&](const std::string& name, const Table& table,
                                   const std::string& second = {}) {
        if (table.empty()) return;
        hdf5::Group target = group.require_group(name);
        table.write(target, second);
      };
      write_table("steps", run->steps);
      write_table("evaluations", run->evaluations);
      for (const NamedTable& table : run->tables) write_table(table.name, table.rows, table.axis.dimension);
      if (!run->summary.empty()) {
        hdf5::Group target = group.require_group("summary");
        for (const auto& entry : run->summary) write_named(target, entry);
      }
      if (!run->per_sample.empty()) write_per_sample(group, *run);
    }
    write_expectations();
    for (const auto& run : runs_) {
      hdf5::Group target = root.require_group(fmt::format("timing/{}", run->path()));
      for (const auto& entry : run->timing) write_named(target, entry);
    }
    hdf5::Group provenance = root.require_group("provenance");
    const auto below = [&](const std::string& name) {
      const auto slash = name.rfind('/');
      return slash == std::string::npos
                 ? std::pair(provenance.require_group(""), name)
                 : std::pair(provenance.require_group(name.substr(0, slash)), name.substr(slash + 1));
    };
    for (const auto& [name, text] : texts_) {
      auto [group, leaf] = below(name);
      group.write_text(leaf, text);
    }
    for (const auto& entry : numbers_) {
      auto [group, leaf] = below(entry.name);
      group.write(leaf, {entry.values.size()}, entry.values);
    }
    file_->close();
    safe_->commit();
  }

  /// Drops the temporary file. The state must not be used for writing any more.
  void abandon() {
    if (file_) file_->discard();
    safe_.reset();
  }

  void set_text(const std::string& name, const std::string& text) {
    for (auto& [known, value] : texts_) {
      if (known == name) {
        value = text;
        return;
      }
    }
    texts_.emplace_back(name, text);
  }
  void set_numbers(const std::string& name, std::span<const double> values) {
    put(numbers_, {name, {values.begin(), values.end()}, false, {}});
  }
  void set_expectations(const std::vector<ExpectationResult>& results) { expectations_ = results; }

 private:
  /// Calls use(values, shape) with floats or doubles.
  template <class Use>
  static void with_values(const CheckpointContent& content, const std::string& name, Use use) {
    const auto found = content.state.find(name);
    const hdf5::Shape shape = found == content.state.end()
                                  ? hdf5::Shape{}
                                  : hdf5::Shape(found->second.shape.begin(), found->second.shape.end());
    if (found != content.state.end() && found->second.type == DType::f32) {
      const std::vector<float> values = values_of<float>(content, name);
      use(std::as_const(values), shape);
    } else {
      const std::vector<double> values = values_of<double>(content, name);
      use(std::as_const(values), shape);
    }
  }

  void write_per_sample(hdf5::Group& run_group, const Run& run) {
    hdf5::Group target = run_group.require_group("per_sample");
    std::vector<std::int64_t> ids(run.per_sample.front().values.size());
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i);
    hdf5::Dataset scale = target.write("sample_id", {ids.size()}, ids);
    scale.make_scale("sample_id");
    for (const auto& entry : run.per_sample) {
      RANKINE_ASSERT(
          entry.values.size() == ids.size(),
          fmt::format("'{}' has {} values for {} samples", entry.name, entry.values.size(), ids.size()));
      hdf5::Dataset dataset = target.write(entry.name, {entry.values.size()}, entry.values);
      set_label(dataset, entry.label);
      dataset.attach_scale(0, scale);
    }
  }

  void write_expectations() {
    hdf5::Group group = file_->root().require_group("expectations");
    std::vector<std::string> expressions, outcomes;
    std::vector<std::int8_t> verdicts;
    std::vector<double> left, right, error;
    for (const auto& result : expectations_) {
      expressions.push_back(result.expression);
      verdicts.push_back(result.verdict ? 1 : 0);
      left.push_back(result.left);
      right.push_back(result.right);
      error.push_back(result.standard_error);
      outcomes.push_back(!result.outcome.empty() ? result.outcome : result.verdict ? "pass" : "fail");
    }
    group.write_texts("expression", expressions);
    group.write("verdict", {verdicts.size()}, verdicts);
    group.write("value_left", {left.size()}, left);
    group.write("value_right", {right.size()}, right);
    group.write("standard_error", {error.size()}, error);
    if (!outcomes.empty()) group.write_texts("outcome", outcomes);
  }

  std::optional<SafeFile> safe_;
  std::optional<hdf5::File> file_;
  std::vector<std::unique_ptr<Run>> runs_;
  std::vector<ExpectationResult> expectations_;
  std::vector<std::pair<std::string, std::string>> texts_;
  std::vector<Named> numbers_;
  bool keep_ = false;
};

}  // namespace io_detail

// -------------------------------------------------------------------------------------------------------
// RunWriter

void RunWriter::append_step(std::int64_t step, const Metrics& metrics) {
  if (!state_) return;
  Table& table = state_->run(run_).steps;
  table.start_row(step);
  for (const auto& [name, value] : metrics) table.set(name, {&value, 1});
}

void RunWriter::append_evaluation(std::int64_t step, const Metrics& metrics) {
  if (!state_) return;
  Table& table = state_->run(run_).evaluations;
  table.start_row(step);
  for (const auto& [name, value] : metrics) table.set(name, {&value, 1});
}

TableWriter RunWriter::table(const std::string& name, const TableAxis& axis) const {
  TableWriter out;
  if (!state_) return out;
  state_->table(state_->run(run_), name, axis);
  out.state_ = state_;
  out.run_ = run_;
  out.name_ = name;
  return out;
}

void TableWriter::row(std::int64_t step, const std::string& metric, std::span<const double> values) {
  if (!state_) return;
  for (io_detail::NamedTable& table : state_->run(run_).tables) {
    if (table.name != name_) continue;
    RANKINE_ASSERT(metric != table.axis.dimension, "'" + metric + "' is the name of a coordinate");
    RANKINE_ASSERT(
        table.axis.labels.empty() || table.axis.labels.size() == values.size(),
        fmt::format("{} values of '{}' for {} labels", values.size(), metric, table.axis.labels.size()));
    table.rows.start_row_unless_current(step);
    table.rows.set(metric, values);
  }
}

void RunWriter::summary(const std::string& metric, double value, const Label& label) {
  if (state_) put(state_->run(run_).summary, {metric, {value}, true, label});
}

void RunWriter::per_sample(const std::string& name, std::span<const double> values, const Label& label) {
  if (state_) put(state_->run(run_).per_sample, {name, {values.begin(), values.end()}, false, label});
}

void RunWriter::fields(const std::string& name, std::span<const double> values,
                       const std::vector<Coordinate>& coordinates, const Label& label) {
  if (state_) state_->write_field(state_->run(run_), name, values, coordinates, label);
}

void RunWriter::fields(const std::string& name, std::span<const float> values,
                       const std::vector<Coordinate>& coordinates, const Label& label) {
  if (state_) state_->write_field(state_->run(run_), name, values, coordinates, label);
}

void RunWriter::field_edges(const std::string& name, std::span<const double> edges) {
  if (state_) state_->write_edges(state_->run(run_), name, edges);
}

void RunWriter::weights(const std::string& name, std::span<const double> values,
                        const std::vector<std::uint64_t>& shape) {
  if (state_) state_->write_weights(state_->run(run_), name, values, shape);
}

void RunWriter::weights(const std::string& name, std::span<const float> values,
                        const std::vector<std::uint64_t>& shape) {
  if (state_) state_->write_weights(state_->run(run_), name, values, shape);
}

void RunWriter::timing(const std::string& name, double value, const Label& label) {
  if (state_) put(state_->run(run_).timing, {name, {value}, true, label});
}

void RunWriter::timing(const std::string& name, std::span<const double> values, const Label& label) {
  if (state_) put(state_->run(run_).timing, {name, {values.begin(), values.end()}, false, label});
}

std::vector<std::pair<std::int64_t, double>> RunWriter::evaluations(const std::string& metric) const {
  if (!state_) return {};
  return state_->run(run_).evaluations.series(metric);
}

void RunWriter::drop_evaluation(std::int64_t step) {
  if (state_) state_->run(run_).evaluations.drop_last(step);
}

void RunWriter::clear_tables() {
  if (!state_) return;
  io_detail::Run& run = state_->run(run_);
  run.steps = run.evaluations = Table();
  for (io_detail::NamedTable& table : run.tables) table.rows = Table();
}

void RunWriter::save(CheckpointContent& content) const {
  if (state_) io_detail::ResultsState::save(state_->run(run_), content);
}

void RunWriter::load(const CheckpointContent& content, bool tables_only) {
  if (state_) state_->load(state_->run(run_), content, tables_only);
}

// ---------------------------------------------------------------------------------------------------
// ResultsWriter

ResultsWriter::ResultsWriter() = default;
ResultsWriter::ResultsWriter(ResultsWriter&&) noexcept = default;
ResultsWriter& ResultsWriter::operator=(ResultsWriter&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}

ResultsWriter::~ResultsWriter() {
  // RunWriters may live on and must not keep the temporary file alive.
  if (state_) state_->abandon();
}

ResultsWriter::ResultsWriter(const std::string& path, const std::string& title, bool active,
                             std::uint64_t bytes_needed) {
  if (active) state_ = std::make_shared<io_detail::ResultsState>(path, title, bytes_needed);
}

ResultsWriter ResultsWriter::in_memory(bool active) {
  ResultsWriter writer;
  if (active) writer.state_ = std::make_shared<io_detail::ResultsState>();
  return writer;
}

RunWriter ResultsWriter::run(const std::string& variant, std::int64_t seed) {
  return state_ ? RunWriter(state_, state_->find_run(variant, seed)) : RunWriter();
}

void ResultsWriter::keep_for_checkpoints() {
  if (state_) state_->keep();
}

void ResultsWriter::forget(const std::string& variant, std::int64_t seed) {
  if (state_) io_detail::ResultsState::forget(state_->run(state_->find_run(variant, seed)));
}

void ResultsWriter::expectations(const std::vector<ExpectationResult>& results) {
  if (state_) state_->set_expectations(results);
}

void ResultsWriter::provenance(const std::string& name, const std::string& text) {
  if (state_) state_->set_text(name, text);
}

void ResultsWriter::provenance(const std::vector<std::pair<std::string, std::string>>& texts) {
  for (const auto& [name, text] : texts) provenance(name, text);
}

void ResultsWriter::provenance_numbers(const std::string& name, std::span<const double> values) {
  if (state_) state_->set_numbers(name, values);
}

void ResultsWriter::copy_run(const std::string& variant, std::int64_t seed, const hdf5::Group& from) {
  for (const char* part : {"runs", "timing"}) {
    const std::string path = fmt::format("{}/{}/seed_{}", part, variant, seed);
    if (state_) state_->copy(path, from, path);
  }
}

void ResultsWriter::copy_provenance(const std::string& to, const hdf5::Group& from) {
  if (state_) state_->copy("provenance/" + to, from, "provenance");
}

void ResultsWriter::mark_incomplete(const std::vector<std::string>& missing) {
  if (state_) state_->mark_incomplete(missing);
}

bool ResultsWriter::may_be_incomplete(const std::string& path) {
  if (!std::filesystem::exists(std::filesystem::symlink_status(path))) return true;
  try {
    return hdf5::File::open(path).root().has_attribute("complete");
  } catch (const InputError&) {
    return false;
  }
}

void ResultsWriter::finish() {
  if (!state_) return;
  // Whatever happens, the state goes: a second attempt on a file that failed to close would only fail again.
  const auto state = std::exchange(state_, nullptr);
  try {
    state->finish();
  } catch (...) {
    state->abandon();
    throw;
  }
}

}  // namespace rankine
