// Examples to learn from: what a deck's `data:` names for experiments on data. A data set deals its examples
// to three splits that share none; every example has an id, which random numbers and records are keyed by.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/deck/registry.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

struct Graph;  // src/nn/csr.hpp

enum class Split { training, validation, test };
const char* name_of(Split split);
/// The split of that name.
Split split_of(const std::string& name);

/// Examples side by side.
struct Examples {
  Tensor inputs;  ///< [n, input shape], real of the requested type, or i32 tokens
  /// [n] i32 classes, [n, T] i32 tokens, [n, target shape] real, or [n, target shape, classes] real: weights
  /// of the classes.
  Tensor targets;
  std::vector<std::int64_t> ids;
};

/// Rows top .. bottom - 1 and columns left .. right - 1 of an image.
struct ImageBox {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;
  bool holds(std::int64_t row, std::int64_t column) const {
    return top <= row && row < bottom && left <= column && column < right;
  }
};

/// What is known when a data set is made.
struct DatasetContext {
  const Communicator& communicator;
  bool smoke = false;
};

/// Constructors check everything that can be checked before work starts (the files are there and whole,
/// sizes, labels, splits); they throw InputError on all ranks alike. Everything is read once, by the root.
class Dataset {
 public:
  virtual ~Dataset() = default;
  /// Of one example.
  virtual Shape input_shape() const = 0;
  /// Classes of the targets (vocabulary of token targets); 0 for real targets.
  virtual std::int64_t classes() const = 0;
  /// Of one example's target: {} for a class.
  virtual Shape target_shape() const = 0;
  virtual std::int64_t size(Split split) const = 0;
  /// Examples `which` (0 .. size-1, in that order) of a split; real inputs as `type`. `step` and `seed` key
  /// the augmentation of training examples; others are never augmented.
  virtual Examples examples(Split split, std::span<const std::int64_t> which, DType type,
                            std::uint64_t seed = 0, std::int64_t step = 0) const = 0;
  /// The graph whose nodes all examples of a run are, for layers on graphs; null: there is none. `seed` is
  /// that of examples().
  virtual std::shared_ptr<const Graph> graph(std::uint64_t seed, DType type) const {
    static_cast<void>(seed), static_cast<void>(type);
    return nullptr;
  }
  /// Where in an image the thing is that its class names, if the set knows; by the example's id.
  virtual std::optional<ImageBox> box(std::int64_t id) const {
    static_cast<void>(id);
    return std::nullopt;
  }
  /// Facts for the provenance: file name to hash.
  virtual std::vector<std::pair<std::string, std::string>> sources() const { return {}; }
};

/// The table of data sets.
const Registry<Dataset, const DatasetContext&>& datasets();

}  // namespace rankine
