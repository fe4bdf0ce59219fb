// What is done to the examples of a training batch between the data set and the network, anew in every step:
// a deck's `data.transforms`. All draws are keyed by the seed, the step and the place in the list, and by the
// example's id where each example has its own: a batch is the same on any number of ranks and after any
// restart.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/core/random.hpp"
#include "src/data/dataset.hpp"
#include "src/data/transforms/past_outputs.hpp"

namespace rankine {

/// Examples on their way through the transforms.
struct TransformBatch {
  Shape input;                  ///< of one example
  std::vector<double> inputs;   ///< where a transform asks for them: [n, input]
  std::int64_t classes = 0;     ///< 0: the targets are real
  std::vector<double> targets;  ///< where a transform asks for them: [n, ..., classes] probabilities, or real
  std::vector<std::int64_t> ids, numbers;  ///< numbers: in the training split

  std::int64_t size() const { return static_cast<std::int64_t>(ids.size()); }
};

/// When a batch is made, and what is known of the examples.
struct TransformTime {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t epoch = 1, epochs = 1;  ///< epoch: from 1
  const PastOutputs* past = nullptr;   ///< for transforms that ask for them
};

class Transform {
 public:
  virtual ~Transform() = default;
  /// Throws InputError where examples of this set cannot be transformed.
  virtual void check(const Dataset& data) const { (void)data; }
  /// Whether it leaves all as it is.
  virtual bool off() const { return false; }
  /// Whether the examples of a batch change each other: then it sees the whole batch on every rank.
  virtual bool mixes() const { return false; }
  /// Whether it asks for the inputs, which must then be real, and for the targets.
  virtual bool changes_inputs() const { return true; }
  virtual bool changes_targets() const { return mixes(); }
  virtual bool needs_past() const { return false; }
  virtual void apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const = 0;
};

/// The table of transforms.
const Registry<Transform>& transforms();

/// The transforms of a deck, one after the other.
class Transforms {
 public:
  Transforms() = default;
  /// `data.transforms`, if it is given, for what `examples` gives.
  Transforms(const DeckNode& data, const Dataset& examples);

  bool none() const { return list_.empty(); }
  /// Whether the whole batch is needed where a part of it is asked for.
  bool mix() const { return any(&Transform::mixes); }
  bool need_past() const { return any(&Transform::needs_past); }
  /// `numbers`: those of the examples in the training split. Class targets become probabilities
  /// [n, ..., classes] of type `real` where a transform changes them.
  Examples apply(const Examples& examples, const std::vector<std::int64_t>& numbers, std::int64_t classes,
                 DType real, const TransformTime& time) const;

 private:
  /// Whether one of them is or does so.
  bool any(bool (Transform::*question)() const) const;
  struct Item {
    std::string stream;  ///< of its random numbers
    std::shared_ptr<const Transform> transform;
  };
  std::vector<Item> list_;
};

}  // namespace rankine
