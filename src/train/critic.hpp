// A second network that learns to tell the network's outputs from the targets, in turns with the network, which
// learns to be taken for them (generative adversarial training): a deck's `train.critic`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "src/optim/after_step.hpp"
#include "src/optim/schedule.hpp"
#include "src/rules/backprop.hpp"

namespace rankine {

struct CriticOptions {
  double weight = 0, learning_rate = 1e-3, clip = 0;
  int steps = 1;
  bool conditional = false;
  std::string objective = "logistic";
  void options(OptionVisitor& o);
};

/// What the deck says of it, for all seeds. Its scores D [L, B, ...] are high for targets; where a sample has
/// several, as of patches of an image, losses are their mean.
///
/// objective        critic, of targets t and outputs y             network
/// logistic         log(1 + e^-D(t)) + log(1 + e^D(y))             log(1 + e^-D(y))   arXiv 1406.2661, section 3
/// least_squares    ((D(t) - 1)^2 + D(y)^2) / 2                    (D(y) - 1)^2 / 2   arXiv 1611.04076, eq. 9
/// hinge            max(0, 1 - D(t)) + max(0, 1 + D(y))            -D(y)              arXiv 1802.05957, eq. 16, 17
/// wasserstein      D(y) - D(t)                                    -D(y)              arXiv 1701.07875, eq. 2
///
/// At its optimum for densities p of targets and q of outputs, the first critic has D = log(p / q), the second
/// D = p / (p + q). The last needs bounds on its weights (`after_step`).
class Critic {
 public:
  /// `train.critic`, of a network that learns real targets of the shape of its outputs, from inputs of type
  /// `inputs`, in batches of `batch` samples in `shards` parts. InputError where they do not fit.
  Critic(const DeckNode& given, const Network& judged, DType inputs, std::int64_t batch, std::int64_t shards);
  static void describe(OptionVisitor& o);

  const CriticOptions& options() const { return options_; }
  const Network& network() const { return *network_; }
  const AfterStep& after_step() const { return after_step_; }
  std::unique_ptr<Optimizer> make_optimizer() const { return make_optimizer_(); }
  double learning_rate(std::int64_t step, std::int64_t steps) const {
    return options_.learning_rate * schedule_->factor(step, steps);
  }
  /// D of outputs [L, B, ...] for inputs [L, B, ...].
  Tensor scores(const BoundParameters& parameters, const Tensor& inputs, const Tensor& outputs,
                Pass& pass) const;
  /// Losses [L, B] of the critic, from the scores of targets and of outputs.
  Tensor own_loss(const Tensor& of_targets, const Tensor& of_outputs) const;
  /// Losses [L, B] of the network, before the weight.
  Tensor loss_of_network(const Tensor& of_outputs) const;

 private:
  CriticOptions options_;
  std::unique_ptr<Network> network_;
  std::shared_ptr<const Schedule> schedule_;
  std::function<std::unique_ptr<Optimizer>()> make_optimizer_;
  AfterStep after_step_;
};

/// The critic of one seed.
class CriticTurns final : public Party {
 public:
  /// The batch of a number, and the network's outputs for it as training at a step sees them, off the tape.
  using Sample = std::function<std::pair<NetworkBatch, Tensor>(std::int64_t number, std::int64_t step)>;
  /// `critic` and what `setup` refers to outlive it.
  CriticTurns(const Critic& critic, const RuleSetup& setup, Sample sample);

  /// weight times the network's loss [L] of outputs on the tape, mean over the samples of a shard.
  Tensor loss_of_network(const Tensor& inputs, const Tensor& outputs, const Pass& pass) const;
  /// The critic's loss in the latest turn, mean over its steps.
  double loss() const { return loss_; }

  void register_state(StateRegistry& registry) override;
  void state_changed() override { guard_.state_changed(); }
  StepOutcome turn(const RuleContext& context) override;
  void take_back() override;
  const std::optional<UpdateGuard::Complaint>& complaint() const override { return guard_.complaint(); }
  double learning_rate(const RuleContext& context) const override {
    return context.rate_factor * critic_.learning_rate(context.step, setup_.steps);
  }

 private:
  const Critic& critic_;
  RuleSetup setup_;
  Sample sample_;
  Backprop rule_;
  ParameterSet parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  UpdateGuard guard_;
  StateSnapshot before_;  // the latest turn
  double loss_ = 0;
};

}  // namespace rankine
