// Data sets that hold all examples in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/data/dataset.hpp"
#include "src/data/splits.hpp"

namespace rankine {

/// The constructors of derived classes fill the members.
class StoredDataset : public Dataset {
 public:
  Shape input_shape() const override { return input_shape_; }
  std::int64_t classes() const override { return classes_; }
  Shape target_shape() const override { return target_shape_; }
  std::int64_t size(Split split) const override {
    return static_cast<std::int64_t>(parts_[split].ids.size());
  }
  Examples examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t seed,
                    std::int64_t step) const override;
  std::vector<std::pair<std::string, std::string>> sources() const override { return sources_; }

 protected:
  struct Part {
    std::vector<double> inputs;        ///< [n, input shape]; empty if the inputs are tokens
    std::vector<std::int32_t> tokens;  ///< [n, input shape]; empty if the inputs are real
    std::vector<double> targets;       ///< [n, target shape]; empty if there are classes
    std::vector<std::int32_t> labels;  ///< [n]; empty if the targets are real
    std::vector<std::int64_t> ids;
  };
  Shape input_shape_, target_shape_;
  std::int64_t classes_ = 0;
  PerSplit<Part> parts_;
  std::vector<std::pair<std::string, std::string>> sources_;
};

/// The number of examples of each split of a generated data set.
struct GeneratedSizes {
  int train = 1000, validation = 200, test = 1000;
  long seed = 0;
  void options(OptionVisitor& o);
  int of(Split split) const;
};

/// The id of example `number` of a split of a generated data set. The ids of the splits lie so far apart that
/// they never overlap.
std::int64_t generated_id(Split split, std::int64_t number);

}  // namespace rankine
