// Probes: measurements of a network in training, which a deck's `probes:` lists. They change nothing: a run
// with probes has the bits of the run without.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "src/core/metric_info.hpp"
#include "src/data/dataset.hpp"
#include "src/io/results.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/tensor/state_registry.hpp"

namespace rankine {

/// What a probe looks at, as far as it is known before work starts.
struct ProbeSetup {
  const Network& network;
  const Dataset& data;
  const Loss& loss;
  std::int64_t batch = 100;  ///< examples that are passed at once
  /// Snapshots that the run leaves, and the numbers of steps after which it does.
  std::map<std::string, std::int64_t> snapshots = {};
};

/// One run; all of it outlives the probes.
struct ProbeRun {
  const ProbeSetup& setup;
  const Communicator& communicator;
  const ParameterSet& parameters;  ///< the same on all ranks while a probe measures
  LearningRule& rule;
  RunWriter results;
  /// "weights/<part>" of a snapshot: SNAPSHOT of the run, which it has left by now, or VARIANT@SNAPSHOT.
  std::function<StateSnapshot(const std::string& name)> snapshot = {};
  const Optimizer* optimizer = nullptr;  ///< null: there is none to look at

  /// What an evaluation judges: x [1, n, input] to [1, n, output].
  Tensor predict(const BoundParameters& bound, const Tensor& x, Pass& pass) const {
    return predict_mean(rule, setup.network, bound, x, pass, setup.data.classes() > 0);
  }
};

/// What the name of a probe in a deck stands for: a StepProbe or an ExampleProbe.
class Probe {
 public:
  virtual ~Probe() = default;
  /// Throws InputError where it cannot measure this; called before any work.
  virtual void check(const ProbeSetup& setup) const { static_cast<void>(setup); }
  /// Numbers that the run ends with, and their values then, in that order.
  virtual std::vector<MetricInfo> metrics() const { return {}; }
  virtual std::vector<double> measured() const { return {}; }
};

/// Looks at the parameters between two steps.
class StepProbe : public Probe {
 public:
  /// The numbers of steps after which it measures, of `total`, in ascending order.
  virtual std::vector<std::int64_t> steps(std::int64_t total) const = 0;
  /// Before training: registers, below `prefix`, what it keeps of measurements.
  virtual void begin(const ProbeRun& run, StateRegistry& state, const std::string& prefix) = 0;
  /// After `done` steps; `done` = 0 is after the parameters were loaded from elsewhere or pruned, if they
  /// are. Collective; the same bits on any number of ranks.
  virtual void measure(const ProbeRun& run, std::int64_t done) = 0;
};

/// A batch that an evaluation has passed through the network: [1, n, ...].
struct EvaluatedBatch {
  const Tensor &inputs, &targets, &outputs;
  const std::vector<std::int64_t>& ids;  ///< of the examples, [n]
};

/// Looks at the examples of a split while the evaluation at the end of training passes them.
class ExampleProbe : public Probe {
 public:
  virtual Split split() const = 0;
  /// Appends numbers about the examples of a batch, in their order. Called without a tape by the rank that
  /// has the batch.
  virtual void see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const = 0;
  /// Takes the numbers of all examples of the split, in their order.
  virtual void conclude(const std::vector<double>& numbers) = 0;
};

/// The table of probes.
const Registry<Probe>& probes();

}  // namespace rankine
