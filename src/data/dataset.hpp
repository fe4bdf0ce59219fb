// Data sets: the examples of experiments that learn from data, which the section `data` of a deck names. A
// data set has three splits without common examples. Every example has an id, which keys random numbers and
// records.
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
/// The split with this name.
Split split_of(const std::string& name);

/// Several examples, stacked along the first axis.
struct Examples {
  Tensor inputs;  ///< [n, input shape]: real numbers of the requested type, or i32 tokens
  /// One of: classes [n], i32; tokens [n, T], i32; real targets [n, target shape]; weights of the classes
  /// [n, target shape, classes], real.
  Tensor targets;
  std::vector<std::int64_t> ids;
};

/// A rectangle in an image: rows top .. bottom - 1, columns left .. right - 1.
struct ImageBox {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;
  bool holds(std::int64_t row, std::int64_t column) const {
    return top <= row && row < bottom && left <= column && column < right;
  }
};

/// What the constructor of a data set may use beside its section of the deck.
struct DatasetContext {
  const Communicator& communicator;
  bool smoke = false;
};

/// Constructors check all that can be checked before work starts: that files exist and are complete, sizes,
/// labels, splits. They throw the same InputError on all ranks. The root alone reads files, once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  /// The shape of one example's input.
  virtual Shape input_shape() const = 0;
  /// The number of classes of the targets; for targets that are tokens the size of the vocabulary; 0 for real
  /// targets.
  virtual std::int64_t classes() const = 0;
  /// The shape of one example's target; {} for a class.
  virtual Shape target_shape() const = 0;
  virtual std::int64_t size(Split split) const = 0;
  /// The examples `which` of a split, in that order; they count from 0. Real inputs have the type `type`.
  /// `step` and `seed` key the augmentation of training examples; examples of other splits are never
  /// augmented.
  virtual Examples examples(Split split, std::span<const std::int64_t> which, DType type,
                            std::uint64_t seed = 0, std::int64_t step = 0) const = 0;
  /// For layers on graphs: the graph whose nodes the examples of a run describe; null if there is none.
  /// `seed` is that of examples().
  virtual std::shared_ptr<const Graph> graph(std::uint64_t seed, DType type) const {
    static_cast<void>(seed), static_cast<void>(type);
    return nullptr;
  }
  /// The place of the object in the image of an example, by the example's id; nothing if the data set does
  /// not know it.
  virtual std::optional<ImageBox> box(std::int64_t id) const {
    static_cast<void>(id);
    return std::nullopt;
  }
  /// For the provenance: the name of each file that was read, and its hash.
  virtual std::vector<std::pair<std::string, std::string>> sources() const { return {}; }
};

/// The table of data sets.
const Registry<Dataset, const DatasetContext&>& datasets();

}  // namespace rankine
