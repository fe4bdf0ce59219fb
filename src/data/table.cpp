#include "src/data/table.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "src/core/random.hpp"
#include "src/core/strings.hpp"
#include "src/data/csv.hpp"
#include "src/io/data_file.hpp"

namespace rankine {
namespace {

const char* const installed = "/usr/lib/python3/dist-packages/sklearn/datasets/data";

/// The files of a table of scikit-learn.
struct KnownTable {
  const char* name;
  std::vector<const char*> files;  ///< names; the first file that exists is read
  const char* targets;             ///< the file of the targets; null if they are the last column
  bool counts_in_first_line;       ///< whether it holds numbers of rows and columns, and names of the classes
  std::int64_t classes;            ///< 0: regression
};

const std::vector<KnownTable>& known_tables() {
  static const std::vector<KnownTable> tables{
      {"breast_cancer", {"breast_cancer.csv"}, nullptr, true, 2},
      {"wine", {"wine_data.csv"}, nullptr, true, 3},
      {"iris", {"iris.csv"}, nullptr, true, 3},
      {"digits", {"digits.csv.gz"}, nullptr, false, 10},
      // Older releases hold features that are scaled already. Scaling them again gives the same values.
      {"diabetes", {"diabetes_data_raw.csv.gz", "diabetes_data.csv.gz"}, "diabetes_target.csv.gz", false, 0},
  };
  return tables;
}

Csv read_csv(const std::string& path, std::vector<std::pair<std::string, std::string>>& sources) {
  const DataFile data = read_data_file(path);
  sources.emplace_back(path, data.hash);
  return parse_csv(data.bytes, path);
}

void expect_columns(const Csv& csv, const CsvRow& row, std::size_t columns) {
  if (row.fields.size() != columns)
    throw InputError(fmt::format("{}:{}: has {} fields, but the rows before have {}; every row needs as many",
                                 csv.name, row.line, row.fields.size(), columns));
}

std::int64_t class_of(const Csv& csv, const CsvRow& row, std::size_t column, std::int64_t classes) {
  const double value = csv.number(row, column);
  if (value != std::floor(value) || value < 0 || value >= static_cast<double>(classes))
    throw InputError(fmt::format("{} is {}; classes are the whole numbers 0 to {}", csv.where(row, column),
                                 row.fields[column], classes - 1));
  return static_cast<std::int64_t>(value);
}

}  // namespace

void TableOptions::options(OptionVisitor& o) {
  std::vector<std::string> names{"file"};
  for (const KnownTable& known : known_tables()) names.emplace_back(known.name);
  o("table", table,
    {.help = "one of scikit-learn's tables, or file: the table that path names", .choices = names});
  o("path", path,
    {.help = "the table (table: file), as text with comma, semicolon, tab or blanks between the fields "
             "(lines that begin with # are comments), or the folder with scikit-learn's",
     .file = FileUse::input});
  o("target", target,
    {.help = "name or number, from 1, of the column to predict (table: file); default: the last"});
  o("task", task, {.help = "what the target is (table: file)", .choices = {"classification", "regression"}});
  o("classes", classes,
    {.help = "the target is one of the numbers 0 to classes - 1 (table: file); otherwise classes are the "
             "different texts of the column, in order",
     .min = 2});
  o("train", train, {.help = "training rows (0: all that the other splits leave)", .min = 0});
  o("validation", validation, {.help = "rows to choose hyper-parameters on", .min = 0});
  o("test", test, {.help = "rows to measure on (0: a fifth)", .min = 0});
  o("fold", fold,
    {.help = "which part of the permuted rows is the test split: 0, 1, ...; one after the other for "
             "cross-validation",
     .min = 0});
  o.group("rows", rows, "rows of each split by their numbers, instead of train, validation, test and fold");
  o("seed", seed, {.help = "seed of the permutation of the rows", .min = 0});
  o("scaling", scaling,
    {.help = "of the features, by the training rows: standard: mean 0 and deviation 1; range: from 0 to 1",
     .choices = {"standard", "range", "none"}});
  o("scale_target", scale_target,
    {.help = "scale the target of a regression to mean 0 and deviation 1, by the training rows"});
  o("shape", shape,
    {.help = "shape of an example, such as [1, 8, 8]; []: one axis", .min = 1, .max_size = 4});
}

void TableOptions::validate(const DeckNode& node) const {
  const bool is_file = table == "file";
  if (is_file && path.empty())
    node.error("table: file needs path; or give table: breast_cancer, wine, iris, digits or diabetes");
  for (const char* key : {"target", "task", "classes"})
    if (!is_file && node.has(key))
      node.error_at(key, fmt::format("{} is for table: file; of {} it is known", key, table));
  if (task == "regression" && classes) node.error_at("classes", "a regression has no classes; leave it out");
  for (const char* key : {"train", "validation", "test", "fold"})
    if (rows && node.has(key))
      node.error_at(key,
                    fmt::format("{} and rows both divide the rows into splits; give only one of them", key));
}

Table::Content Table::read_known(const DeckNode& node) {
  const auto& tables = known_tables();
  const KnownTable& known = *std::find_if(tables.begin(), tables.end(),
                                          [&](const KnownTable& k) { return options_.table == k.name; });
  const std::string folder = options_.path.empty() ? installed : options_.path;
  const auto place = [&](const std::vector<const char*>& names) {
    for (const char* name : names)
      if (std::filesystem::exists(folder + "/" + name)) return folder + "/" + name;
    node.error_at(options_.path.empty() ? "table" : "path",
                  fmt::format("{}/{} is missing; install the Debian package python3-sklearn, or give "
                              "data.path, the folder of scikit-learn's tables (sklearn/datasets/data)",
                              folder, names.front()));
  };
  Csv csv = read_csv(place(known.files), sources_);
  Content content;
  content.classes = known.classes;
  if (known.counts_in_first_line) {
    const CsvRow header = csv.rows.front();
    csv.rows.erase(csv.rows.begin());
    if (header.fields.size() < 2 || csv.rows.empty())
      throw InputError(fmt::format(
          "{}:1: the first line must hold the numbers of rows and features; is this scikit-learn's file?",
          csv.name));
    const double rows = csv.number(header, 0), columns = csv.number(header, 1);
    if (rows != static_cast<double>(csv.rows.size()))
      throw InputError(
          fmt::format("{}: the first line says {} rows, but {} follow; the file is cut short or changed",
                      csv.name, rows, csv.rows.size()));
    if (columns + 1 != static_cast<double>(csv.rows.empty() ? 0 : csv.rows.front().fields.size()))
      throw InputError(
          fmt::format("{}: the first line says {} features, but the rows have {} fields; the file is changed",
                      csv.name, columns, csv.rows.front().fields.size()));
  }
  const std::size_t fields = csv.rows.front().fields.size(), columns = fields - (known.targets ? 0 : 1);
  content.columns = static_cast<std::int64_t>(columns);
  for (const CsvRow& row : csv.rows) {
    expect_columns(csv, row, fields);
    for (std::size_t c = 0; c < columns; ++c) content.features.push_back(csv.number(row, c));
    if (!known.targets)
      content.target.push_back(static_cast<double>(class_of(csv, row, columns, known.classes)));
  }
  if (known.targets) {
    const Csv targets = read_csv(place({known.targets}), sources_);
    for (const CsvRow& row : targets.rows) {
      expect_columns(targets, row, 1);
      content.target.push_back(targets.number(row, 0));
    }
    if (targets.rows.size() != csv.rows.size())
      throw InputError(fmt::format("{}: has {} rows, but {} has {}; the files do not belong together",
                                   targets.name, targets.rows.size(), csv.name, csv.rows.size()));
  }
  return content;
}

Table::Content Table::read_file(const DeckNode& node) {
  if (!std::filesystem::exists(options_.path))
    node.error_at("path", options_.path + " is missing; give an existing file");
  Csv csv = read_csv(options_.path, sources_);
  csv.make_rectangular();
  const std::size_t fields = csv.rows.front().fields.size();
  if (fields < 2)
    throw InputError(fmt::format("{}:{}: has one column between {}; a table needs a feature and a target",
                                 csv.name, csv.rows.front().line, "blanks, commas, semicolons or tabs"));
  std::vector<std::string> names;
  if (csv.has_header()) {
    names = csv.rows.front().fields;
    csv.rows.erase(csv.rows.begin());
    if (csv.rows.empty())
      throw InputError(csv.name + ": contains a header and no rows; is the file cut short?");
  }
  std::size_t target = fields - 1;
  if (!options_.target.empty()) {
    const auto named = std::find(names.begin(), names.end(), options_.target);
    std::size_t number = 0;
    const char* end = options_.target.data() + options_.target.size();
    const auto parsed = std::from_chars(options_.target.data(), end, number);
    if (std::count(names.begin(), names.end(), options_.target) > 1)
      node.error_at("target", fmt::format("{} has more than one column '{}'; give the number of the column",
                                          csv.name, printable(options_.target)));
    if (named != names.end())
      target = static_cast<std::size_t>(named - names.begin());
    else if (parsed.ec == std::errc() && parsed.ptr == end && number >= 1 && number <= fields)
      target = number - 1;
    else
      node.error_at("target", fmt::format("{} has no column '{}'{}; it has the columns {}", csv.name,
                                          printable(options_.target), did_you_mean(options_.target, names),
                                          names.empty() ? fmt::format("1 to {}", fields) : join(names)));
  }

  Content content;
  content.columns = static_cast<std::int64_t>(fields) - 1;
  std::map<std::string, std::int64_t> classes;
  const bool regression = options_.task == "regression";
  if (!regression && !options_.classes) {
    std::vector<std::string> texts;
    for (const CsvRow& row : csv.rows) {
      if (is_missing(row.fields[target]))
        throw InputError(fmt::format("{} is '{}', which is not a class; give a class, or leave the row out",
                                     csv.where(row, target), row.fields[target]));
      texts.push_back(row.fields[target]);
    }
    const bool numbers = std::all_of(texts.begin(), texts.end(),
                                     [](const std::string& text) { return finite_number(text).has_value(); });
    std::sort(texts.begin(), texts.end(), [&](const std::string& a, const std::string& b) {
      if (!numbers || finite_number(a) == finite_number(b)) return a < b;
      return finite_number(a) < finite_number(b);
    });
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    if (texts.size() < 2 || 2 * texts.size() > csv.rows.size())
      node.error_at("target",
                    fmt::format("{}: the target column has {} different values in {} rows, which are no "
                                "classes; choose another target, or task: regression",
                                csv.name, texts.size(), csv.rows.size()));
    for (const std::string& text : texts) classes.emplace(text, static_cast<std::int64_t>(classes.size()));
    content.classes = static_cast<std::int64_t>(texts.size());
  } else if (!regression) {
    content.classes = *options_.classes;
  }
  for (const CsvRow& row : csv.rows) {
    for (std::size_t c = 0; c < fields; ++c)
      if (c != target) content.features.push_back(csv.number(row, c));
    if (regression)
      content.target.push_back(csv.number(row, target));
    else if (options_.classes)
      content.target.push_back(static_cast<double>(class_of(csv, row, target, content.classes)));
    else
      content.target.push_back(static_cast<double>(classes.at(row.fields[target])));
  }
  return content;
}

SplitIds Table::deal(std::int64_t rows, const DeckNode& node) const {
  if (options_.rows) {
    const SplitIds ids = rows_of(*options_.rows, rows, node.child("rows"));
    if (ids[Split::training].empty()) node.child("rows").error("no training rows are given; add rows.train");
    return ids;
  }
  const std::int64_t test = options_.test > 0 ? options_.test : rows / 5, validation = options_.validation;
  const std::int64_t rest = rows - test - validation, train = options_.train > 0 ? options_.train : rest;
  if (rest < 1 || train > rest)
    node.error_at(
        options_.train > 0 ? "train" : "test",
        fmt::format("train = {}, validation = {} and test = {} rows, but the table has {}; make them smaller",
                    options_.train, validation, test, rows));
  if ((options_.fold + 1) * test > rows)
    node.error_at(
        "fold",
        fmt::format("fold {} of {} test rows would end beyond the {} rows of the table; folds are 0 to {}",
                    options_.fold, test, rows, rows / test - 1));
  std::vector<std::int64_t> order =
      RandomStream(static_cast<std::uint64_t>(options_.seed), "data/split").permutation(rows, 0);
  std::rotate(order.begin(), order.begin() + options_.fold * test, order.end());
  SplitIds ids;
  const auto at = [&](std::int64_t i) { return order.begin() + i; };
  ids[Split::test].assign(at(0), at(test));
  ids[Split::validation].assign(at(test), at(test + validation));
  ids[Split::training].assign(at(test + validation), at(test + validation + train));
  check_disjoint(ids, node);
  return ids;
}

Table::Table(const DeckNode& node, const DatasetContext& context) {
  node.read(options_);
  const Communicator& communicator = context.communicator;
  Content content;
  communicator.on_root([&] { content = options_.table == "file" ? read_file(node) : read_known(node); });
  communicator.broadcast(content.features);
  communicator.broadcast(content.target);
  communicator.broadcast(content.columns);
  communicator.broadcast(content.classes);
  std::int64_t sources = static_cast<std::int64_t>(sources_.size());
  communicator.broadcast(sources);
  sources_.resize(static_cast<std::size_t>(sources));
  for (auto& [name, hash] : sources_) {
    communicator.broadcast(name);
    communicator.broadcast(hash);
  }

  const std::int64_t columns = content.columns;
  input_shape_ = {columns};
  if (!options_.shape.empty()) {
    input_shape_ = Shape(std::vector<std::int64_t>(options_.shape.begin(), options_.shape.end()));
    if (input_shape_.count() != columns)
      node.error_at(
          "shape",
          fmt::format("shape {} has {} numbers, but a row has {} features; choose a shape with as many",
                      input_shape_.text(), input_shape_.count(), columns));
  }
  classes_ = content.classes;
  target_shape_ = classes_ > 0 ? Shape{} : Shape{1};
  const SplitIds ids = deal(content.rows(), node);
  const std::vector<std::int64_t>& training = ids[Split::training];

  /// Maps a value to (value - shift) / width.
  struct Scale {
    double shift = 0, width = 1;
  };
  const auto scale_of = [&](const std::string& what, const std::string& scaling, const auto& value) {
    Scale scale;
    if (scaling == "none") return scale;
    double sum = 0, least = value(training[0]), most = least;
    for (const std::int64_t row : training) {
      sum += value(row);
      least = std::min(least, value(row));
      most = std::max(most, value(row));
    }
    const auto n = static_cast<double>(training.size());
    scale = scaling == "range" ? Scale{least, most - least} : Scale{sum / n, 0};
    if (scaling == "standard") {
      double squares = 0;
      for (const std::int64_t row : training) squares += std::pow(value(row) - scale.shift, 2);
      scale.width = std::sqrt(squares / n);
      // If squares of differences underflow or overflow, the differences are scaled first.
      const double span = std::max(most - scale.shift, scale.shift - least);
      if (!(scale.width > 0) || !std::isfinite(scale.width)) {
        squares = 0;
        for (const std::int64_t row : training) squares += std::pow((value(row) - scale.shift) / span, 2);
        scale.width = span * std::sqrt(squares / n);
      }
    }
    // A column that is constant in the training rows carries no information. Its mean may differ by rounding.
    if (most == least) scale = {least, 1};
    if (!std::isfinite(scale.shift) || !std::isfinite(scale.width) || !(scale.width > 0))
      node.error_at("path",
                    fmt::format("{} holds numbers from {} to {}, which no double can scale; write them in "
                                "another unit, or give scaling: none",
                                what, least, most));
    return scale;
  };
  std::vector<Scale> scales;
  for (std::int64_t c = 0; c < columns; ++c)
    scales.push_back(scale_of(fmt::format("feature {}", c + 1), options_.scaling, [&](std::int64_t row) {
      return content.features[static_cast<std::size_t>(row * columns + c)];
    }));
  const Scale target =
      scale_of("the target", classes_ == 0 && options_.scale_target ? "standard" : "none",
               [&](std::int64_t row) { return content.target[static_cast<std::size_t>(row)]; });
  for (Split split : all_splits) {
    Part& part = parts_[split];
    part.ids = ids[split];
    for (const std::int64_t row : part.ids) {
      for (std::int64_t c = 0; c < columns; ++c) {
        const Scale& s = scales[static_cast<std::size_t>(c)];
        part.inputs.push_back((content.features[static_cast<std::size_t>(row * columns + c)] - s.shift) /
                              s.width);
      }
      const double value = content.target[static_cast<std::size_t>(row)];
      if (classes_ > 0)
        part.labels.push_back(static_cast<std::int32_t>(value));
      else
        part.targets.push_back((value - target.shift) / target.width);
    }
  }
}

}  // namespace rankine
