// Spatial learning through time: spiking networks without gradients through time (Meng et al., "Towards
// memory- and time-efficient backpropagation for training spiking neural networks", ICCV 2023, arXiv
// 2302.14311). The membrane potential that a time step starts from is a constant to it, so its graph is
// backpropagated as soon as it is built, and freed.
#pragma once

#include <memory>
#include <vector>

#include "src/rules/learning_rule.hpp"

namespace rankine {

struct SlttOptions {
  std::string mode = "sltt", coding = "direct";
  int time_steps = 6, k = 0;
  double lambda = 0.05;
  int cosine_every = 0;
  void options(OptionVisitor& o);
};

/// The network is called once a time step; layers with state (`lif`) carry it through Pass::state. A time
/// step's loss is [(1 - lambda) loss(out_t, y) + lambda mean (out_t - 1)^2] / T. The prediction is the mean
/// of the outputs over the time steps.
///   mode sltt: a backward pass each time step, nothing flows from one to the next. k > 0: only in k of them,
///              drawn anew each step (SLTT-K); the others run without a graph.
///   mode bptt: one backward pass through all time steps.
/// coding direct: a sample is shown unchanged in all time steps. sequence: the sample's first axis is time,
/// and the network sees one entry of it at a time. Gradient health shows the last time step that has a graph.
class Sltt final : public LearningRule {
 public:
  using Options = SlttOptions;
  explicit Sltt(const Options& options) : options_(options) {}

  Shape network_input(const Shape& sample) const override;
  /// InputError where k is more than the time steps, belongs to no mode, or the samples have another number
  /// of time steps.
  void check(const RuleSetup& setup) const override;
  void begin(const RuleSetup& setup, const ParameterSet& parameters) override;
  StepOutcome step(RuleContext& context) override;
  Tensor predict(const Network& network, const BoundParameters& parameters, const Tensor& x,
                 Pass& pass) override;
  void register_state(StateRegistry& registry, const std::string& prefix) override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;

  struct Gradient {
    Tensor flat;  ///< [count], of the mean over all ranks' batch
    LossValue loss;
    double backward_seconds = 0;
  };
  /// The gradient of a batch with all time steps in `steps` backpropagated (the others without a graph), each
  /// by itself (`through_time` false) or all at once. Collective.
  Gradient gradient(const ParameterSet& parameters, const SharedTileSum& tiles, const NetworkBatch& batch,
                    const Pass& pass, bool through_time, const std::vector<bool>& steps) const;

 private:
  /// What the network sees in time step t.
  Tensor frame(const Tensor& x, std::int64_t t) const;
  /// A time step's share of the loss, one number for each local shard.
  Tensor step_loss(const Tensor& outputs, const NetworkBatch& batch) const;

  Options options_;
  std::unique_ptr<RuleSetup> setup_;
  std::vector<double> backward_seconds_, cosines_;
  std::int64_t timed_ = -1;  // step that the last of backward_seconds_ is of
};

}  // namespace rankine
