// The phases of a training run: pretrain, prune, go back to a snapshot, fine-tune, in one plan of steps.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/node.hpp"
#include "src/nn/transforms.hpp"
#include "src/optim/schedule.hpp"

namespace rankine {

/// One item of a deck's `train.phases`, beside its `schedule`, `sparsify`, `transform` and `save`.
struct PhaseOptions {
  int steps = 0, epochs = 0;
  std::optional<double> learning_rate{};
  std::optional<int> from_step{};
  int data_seed = 0;
  bool reset_optimizer = true;
  std::string weights;
  std::vector<std::string> mean_of{};
  bool reinitialise = false;
  std::string norm_of, norm = "l2";
  std::vector<std::string> freeze{};
  void options(OptionVisitor& o);
  /// Whether it begins with other weights than the phase before has left.
  bool other_weights() const {
    return !weights.empty() || !mean_of.empty() || reinitialise || !norm_of.empty();
  }
};

/// A phase's `sparsify`: one pruning before its first step, and before it takes other weights.
struct PhasePruning {
  std::optional<double> density{}, rate{};
  bool permute = false;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
};

struct Phase {
  PhaseOptions options;
  std::optional<PhasePruning> sparsify;
  std::shared_ptr<const NetworkTransform> transform = nullptr;  ///< of its weights, after that; or null
  std::shared_ptr<const Schedule> schedule = nullptr;
  std::int64_t begin = 0, steps = 0;
  /// Names of snapshots, and the steps of the whole run before which they are taken.
  std::vector<std::pair<std::string, std::int64_t>> saves;

  std::int64_t end() const { return begin + steps; }
  /// The step by which batches and random numbers are keyed, and its schedule's position: the step of the
  /// whole run, or with `from_step` the step that the phase repeats.
  std::int64_t key(std::int64_t step) const {
    return options.from_step ? *options.from_step + (step - begin) : step;
  }
  /// The learning rate at a step of the whole run.
  double learning_rate(std::int64_t step) const;
};

/// All phases of a run, one after the other.
class Phases {
 public:
  /// One phase.
  Phases(std::int64_t steps, double learning_rate, std::shared_ptr<const Schedule> schedule);
  /// `train.phases`, `repeat` times. `learning_rate` and `train.schedule` are those of phases that give none.
  /// `longest` (0: none) bounds the steps of a phase.
  Phases(const DeckNode& train, int repeat, std::int64_t steps_per_epoch, double learning_rate,
         std::int64_t longest = 0);
  /// What a phase may give, for `rankine describe`.
  static void describe(OptionVisitor& o);

  const std::vector<Phase>& all() const { return phases_; }
  std::int64_t steps() const { return phases_.back().end(); }
  /// The phase that makes a step.
  const Phase& at(std::int64_t step) const;
  /// Whether the deck gives phases.
  bool given() const { return given_; }
  /// Names of the snapshots that the run takes, in their order.
  std::vector<std::string> snapshots() const;

 private:
  std::vector<Phase> phases_;
  bool given_ = false;
};

}  // namespace rankine
