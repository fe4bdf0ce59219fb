// The course of one run through its phases: what happens to the parameters before which step. Start from
// another variant's snapshot, pruning, the beginnings of phases, snapshots.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/optim/optimizer.hpp"
#include "src/run/experiment.hpp"
#include "src/sparse/sparsifier.hpp"
#include "src/train/loop.hpp"
#include "src/train/movement.hpp"
#include "src/train/phases.hpp"

namespace rankine {

class Course {
 public:
  /// All that is referred to outlives the course.
  struct Setup {
    RunContext& context;
    const Phases& phases;
    const Sparsifier* sparsifier = nullptr;  ///< null: all weights stay
    std::string start = {};                  ///< VARIANT@SNAPSHOT to begin from; empty: as the parameters are
    ParameterSet& parameters;
    Optimizer& optimizer;
    std::function<ParameterSet(std::uint64_t seed)> initial;  ///< fresh parameters
    /// What a criterion needs, but for inputs and movement, over so many batches from the one of step `first` on:
    /// [count]; collective.
    std::function<Tensor(Evidence needs, int batches, std::int64_t first)> evidence;
    std::function<double(int batches)> loss = {};                     ///< over the first batches; collective
    std::function<InputStatistics(int batches)> inputs = {};          ///< of the network's weights
    std::function<void(const NetworkTransform& how)> transform = {};  ///< applies it to the parameters
  };
  /// Gives the parameters that the sparsifier names their masks.
  explicit Course(Setup setup);

  /// Registers masks and snapshots, and tells the loop what happens when.
  void plan(TrainingLoop& loop);
  /// To be called before each step: freezes the parameters that the step's phase freezes, and no others.
  const Phase& turn_to(std::int64_t step);
  /// "weights/<part>" and "masks/<part>" of a snapshot: SNAPSHOT of this run, which it has left by now, or
  /// VARIANT@SNAPSHOT.
  StateSnapshot snapshot(const std::string& name) const;
  /// After the last step: leaves the snapshots for other variants, also that of the average, if there is one.
  void leave_snapshots(const ParameterSet* average) const;

 private:
  /// Parameters, and masks by the name of the part.
  struct Snapshot {
    ParameterSet parameters;
    std::map<std::string, Tensor> masks;
  };
  Snapshot take_snapshot(const ParameterSet& parameters) const;
  /// "weights/<part>" and "masks/<part>" with their tensors.
  static std::vector<std::pair<std::string, Tensor>> entries(const Snapshot& snapshot);
  /// Sets the weights, and the masks if `masks`, to those of a snapshot of this run or another variant's.
  /// Parameters that parametrisations add and the snapshot lacks are drawn afresh.
  void load(const std::string& name, bool masks);
  void load_mean(const std::vector<std::string>& names);
  /// The norm ("l1" or "l2") of the weights that are trained, of a snapshot or (empty) as they are.
  double norm(const std::string& kind, const std::string& snapshot) const;
  void begin_phase(const Phase& phase);
  Sparsifier::Event pruning(std::int64_t first_batch = 0);

  Setup s_;
  std::uint64_t seed_;
  std::vector<bool> frozen_;  // by part, in every phase
  const Phase* phase_ = nullptr;
  std::map<std::string, Snapshot> snapshots_;
  std::optional<Movement> movement_;     // where the sparsifier asks for it
  std::int64_t pruned_ = 0, drawn_ = 0;  // how often: keys of random numbers
};

/// InputError where a course cannot prune as the deck says: `variant` is the whole variant.
void check_course(const DeckNode& variant, const Phases& phases, const Sparsifier* sparsifier);

}  // namespace rankine
