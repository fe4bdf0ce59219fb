// Transforms of the examples of a training batch, which a deck lists as `data.transforms`. They act in every
// step anew, between the data set and the network. Random numbers are keyed by the seed, the step and the
// place in the list, and by the id of an example if each example has its own. Therefore a batch is the same
// on any number of ranks and after any restart.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/core/random.hpp"
#include "src/data/dataset.hpp"
#include "src/data/transforms/past_outputs.hpp"

namespace rankine {

/// The examples that transforms change.
struct TransformBatch {
  Shape input;                  ///< shape of one example's input
  std::vector<double> inputs;   ///< [n, input]; empty if no transform needs them
  std::int64_t classes = 0;     ///< 0: the targets are real
  std::vector<double> targets;  ///< [n, ..., classes] probabilities, or real targets; empty likewise
  std::vector<std::int64_t> ids, numbers;  ///< `numbers` count in the training split

  std::int64_t size() const { return static_cast<std::int64_t>(ids.size()); }
};

/// The step that a batch is made for, and what is known by then.
struct TransformTime {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t epoch = 1, epochs = 1;  ///< `epoch` counts from 1
  const PastOutputs* past = nullptr;   ///< for transforms that need them; else null
};

class Transform {
 public:
  virtual ~Transform() = default;
  /// Throws InputError if examples of this data set cannot be transformed.
  virtual void check(const Dataset& data) const { (void)data; }
  /// Whether the transform changes nothing.
  virtual bool off() const { return false; }
  /// Whether the transform mixes the examples of a batch. Every rank gives it the whole batch then.
  virtual bool mixes() const { return false; }
  /// Whether the transform changes inputs, which must be real then; and whether it changes targets.
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
  /// Reads the optional list `data.transforms`, for examples of the data set `examples`.
  Transforms(const DeckNode& data, const Dataset& examples);

  bool none() const { return list_.empty(); }
  /// Whether a transform mixes examples, so that a part of a batch depends on the whole batch.
  bool mix() const { return any(&Transform::mixes); }
  bool need_past() const { return any(&Transform::needs_past); }
  /// Applies all transforms. `numbers` are those of the examples in the training split. If a transform
  /// changes class targets, they become probabilities [n, ..., classes] of type `real`.
  Examples apply(const Examples& examples, const std::vector<std::int64_t>& numbers, std::int64_t classes,
                 DType real, const TransformTime& time) const;

 private:
  /// Whether `question` holds for one of the transforms.
  bool any(bool (Transform::*question)() const) const;
  struct Item {
    std::string stream;  ///< name of the stream of its random numbers
    std::shared_ptr<const Transform> transform;
  };
  std::vector<Item> list_;
};

}  // namespace rankine
