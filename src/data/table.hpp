// Small tables: those that come with scikit-learn, or any text table.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/data/stored_dataset.hpp"

namespace rankine {

struct TableOptions {
  std::string table = "file", path;
  std::string target, task = "classification";
  std::optional<int> classes;
  int train = 0, validation = 0, test = 0, fold = 0;
  std::optional<RowRanges> rows;
  long seed = 0;
  std::string scaling = "standard";
  bool scale_target = true;
  std::vector<int> shape;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
};

/// Each row is an example; its id is the number of the row, from 0. A keyed permutation divides the rows into
/// splits, or `rows` does. Inputs are [features], or of the shape `shape`; targets are classes, or [1] for
/// regression. Scaling follows from the training rows alone.
class Table final : public StoredDataset {
 public:
  Table(const DeckNode& node, const DatasetContext& context);
  static void describe(OptionVisitor& o) { TableOptions().options(o); }

 private:
  struct Content {
    std::vector<double> features;  ///< [row][column]
    std::vector<double> target;    ///< the value, or the number of the class
    std::int64_t columns = 0, classes = 0;
    std::int64_t rows() const { return static_cast<std::int64_t>(target.size()); }
  };
  Content read_known(const DeckNode& node);
  Content read_file(const DeckNode& node);
  SplitIds deal(std::int64_t rows, const DeckNode& node) const;

  TableOptions options_;
};

}  // namespace rankine
