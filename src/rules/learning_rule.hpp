// A learning rule owns the training step: how often the loss is evaluated, which gradients cross which edge
// of the network, how they become an update. Backpropagation is one rule among others.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "src/comm/communicator.hpp"
#include "src/core/metric_info.hpp"
#include "src/deck/node.hpp"
#include "src/deck/registry.hpp"
#include "src/nn/loss.hpp"
#include "src/nn/network.hpp"
#include "src/optim/optimizer.hpp"
#include "src/optim/update_guard.hpp"
#include "src/tensor/fault_probe.hpp"
#include "src/tensor/parameters.hpp"
#include "src/tensor/state_registry.hpp"
#include "src/tensor/step_report.hpp"

namespace rankine {

class AfterStep;
class GradientTransforms;
class Party;

/// A batch of a network: the local shards [L, B, ...].
struct NetworkBatch {
  Tensor inputs, targets;
  std::vector<std::int64_t> ids;  ///< [L * B]
};

/// What a rule trains; all of it outlives the rule.
struct RuleSetup {
  const Communicator& communicator;
  SharedTileSum shards;
  std::int64_t shard_count = 1;  ///< of all ranks
  std::int64_t batch = 1;        ///< samples of all shards
  std::uint64_t seed = 0;
  std::int64_t steps = 0;
  const Network* network = nullptr;              ///< null: what is trained is no list of blocks
  DType inputs = DType::f32;                     ///< of the network: its own type, or i32 for tokens
  const Loss* loss = nullptr;                    ///< of the network
  std::shared_ptr<const Graph> graph = nullptr;  ///< that all samples are on
  /// For what the rule trains beside the network.
  std::function<std::unique_ptr<Optimizer>()> make_optimizer = {};
};

/// What a rule may use in a step.
struct RuleContext {
  /// The loss of this step's batch for the parameters given, on the tape. Collective.
  std::function<TapeLoss(const BoundParameters&)> loss;
  ParameterSet& parameters;
  Optimizer& optimizer;
  SharedTileSum tiles;
  double learning_rate = 0;
  double clip = 0;  ///< bound of the gradient's norm; 0: none
  std::int64_t step = 0;
  // Of a network; `loss` above is what backpropagation through all of it would minimise.
  const NetworkBatch* batch = nullptr;
  Pass* pass = nullptr;
  /// Where set, apply_gradient() steps through it instead of the optimiser alone, with a finite gradient.
  UpdateGuard* guard = nullptr;
  /// Where set, apply_gradient() calls it instead of both.
  std::function<void(const Tensor& gradient)> update = {};
  /// What take_step() does to the gradient, and to the parameters after a step; null: nothing.
  const GradientTransforms* gradient = nullptr;
  const AfterStep* after_step = nullptr;
  std::uint64_t seed = 0;  ///< of their random numbers
  /// What take_step() trains in turns with the parameters; null: nothing.
  Party* party = nullptr;
  double rate_factor = 1;  ///< that rewinds have put on learning_rate, and put on the party's
};

/// What a rule whose ranks share the blocks found of a step without an update, by looking itself: the others
/// are repeated whole with every op watched.
struct RuleFault {
  int owner = 0;      ///< the rank that found it, and has finding or complaint
  std::string block;  ///< the first of those that it was at work on
  std::optional<FaultProbe::Finding> finding = std::nullopt;
  bool in_step = true;  ///< the finding arose in the step, and was not there before
  std::optional<UpdateGuard::Complaint> complaint = std::nullopt;
  /// Of the batch: shards that were looked at, and the first of them.
  std::int64_t shards = 1, first_shard = 0;
};

struct StepOutcome {
  double loss = 0;
  double gradient_norm = 0;  ///< before clipping
  bool updated = true;       ///< false where something was not finite, and the parameters were left alone
  Tensor gradient = {};      ///< [count], after clipping, where the rule formed one for the parameters
  /// Where ranks share the blocks and there was no update: what is known of it, on all ranks.
  std::shared_ptr<const RuleFault> fault = nullptr;
};

/// What a step may use, by its number.
using StepMaker = std::function<std::shared_ptr<RuleContext>(std::int64_t step)>;

/// Another network, with an optimiser of its own, that is trained in turns with the parameters.
class Party {
 public:
  virtual ~Party() = default;
  /// Registers everything that a restart needs.
  virtual void register_state(StateRegistry& registry) = 0;
  /// Called where its state was set from outside, as by a restart.
  virtual void state_changed() = 0;
  /// Its steps before a step of the parameters. Not updated: one of them failed, and none was made; the
  /// outcome is that of the failed one, without its gradient. Collective.
  virtual StepOutcome turn(const RuleContext& context) = 0;
  /// Undoes the latest turn.
  virtual void take_back() = 0;
  /// What the latest turn's update would not have left finite, and the learning rate of that update.
  virtual const std::optional<UpdateGuard::Complaint>& complaint() const = 0;
  virtual double learning_rate(const RuleContext& context) const = 0;
};

class LearningRule;
/// A step of the rule with what the context adds to it, after the party's turn. The turn is undone where the
/// parameters are not updated. Collective.
StepOutcome take_step(LearningRule& rule, RuleContext& context);

class LearningRule {
 public:
  virtual ~LearningRule() = default;
  /// Whether ranks share the blocks of the network (all have the whole batch) instead of the shards of the
  /// batch.
  virtual bool spreads_blocks() const { return false; }
  /// The shape of what the network sees at once of a sample of this shape. Throws InputError where the rule
  /// cannot take it apart.
  virtual Shape network_input(const Shape& sample) const { return sample; }
  /// Keys of a deck's `train` that play no part in the rule's steps; a deck that gives one is refused.
  virtual std::vector<std::string> unused_options() const { return {}; }
  /// Throws InputError where the rule cannot train this; called before any work.
  virtual void check(const RuleSetup& setup) const { static_cast<void>(setup); }
  /// Once, before the first step and before state is restored. `parameters` are the network's fresh ones.
  virtual void begin(const RuleSetup& setup, const ParameterSet& parameters) {
    static_cast<void>(setup);
    static_cast<void>(parameters);
  }
  /// One training step. Collective; the same bits on all ranks.
  virtual StepOutcome step(RuleContext& context) = 0;
  /// Whether a step evaluates RuleContext::loss: what it sees and what is added to it plays its part.
  virtual bool evaluates_loss() const { return false; }
  /// Steps that the rule would like to take at once, so that its ranks can work on different ones.
  virtual std::int64_t window() const { return 1; }
  /// Steps first .. first + count - 1; the outcome does not depend on how steps are put together.
  virtual std::vector<StepOutcome> steps(std::int64_t first, std::int64_t count, const StepMaker& make) {
    std::vector<StepOutcome> outcomes;
    for (std::int64_t i = first; i < first + count; ++i) outcomes.push_back(take_step(*this, *make(i)));
    return outcomes;
  }
  /// The rank that trains a block, where ranks share the blocks.
  virtual int owner_of_block(int block) const {
    static_cast<void>(block);
    return 0;
  }
  /// Of one sample, what predict() gives.
  virtual Shape prediction(const Network& network, std::int64_t classes) const {
    static_cast<void>(classes);
    return network.output();
  }
  /// The outputs that an evaluation judges, for one draw of random weights: x [L, B, input] to
  /// [L, B, prediction()].
  virtual Tensor predict(const Network& network, const BoundParameters& parameters, const Tensor& x,
                         Pass& pass) {
    return network.forward(parameters, x, pass);
  }
  /// Makes parameters and state the same on all ranks, where the rule trains each part on one rank only.
  /// Called before evaluations and checkpoints. Collective.
  virtual void synchronise() {}
  /// Called where parameters or state were set from outside, as by a restart.
  virtual void state_changed() {}
  /// Numbers of its own that the run ends with, and their values then, in that order. Collective.
  virtual std::vector<MetricInfo> metrics() const { return {}; }
  virtual std::vector<double> measured() const { return {}; }
  /// Registers everything that a restart needs, below `prefix`.
  virtual void register_state(StateRegistry& registry, const std::string& prefix) {
    static_cast<void>(registry);
    static_cast<void>(prefix);
  }
};

/// The outputs that an evaluation judges: predict(), or its mean over the network's draws of random weights,
/// which are the same for all examples; of `classes` the logarithm of the mean probabilities.
Tensor predict_mean(LearningRule& rule, const Network& network, const BoundParameters& parameters,
                    const Tensor& x, Pass& pass, bool classes);

/// The mean loss of a batch of all ranks, from the outputs [L, B, ...] for its local shards; `added` [L], if
/// defined, is added to each shard's. Collective.
TapeLoss mean_loss(const RuleSetup& setup, const Tensor& outputs, const NetworkBatch& batch,
                   const Tensor& added = {});

/// The mean of losses [L, B] over the samples of all ranks. Collective.
TapeLoss mean_over_batch(const RuleSetup& setup, const Tensor& losses, const Tensor& added = {});

/// Clips the gradient, and steps if it and the loss are finite. Reads `report`, the step's, once.
StepOutcome apply_gradient(RuleContext& context, StepReport& report, const LossValue& loss,
                           const Tensor& gradient);

/// Throws InputError where the deck's `train` gives an option that the rule makes no use of.
void reject_unused_options(const LearningRule& rule, const DeckNode& train);

/// Names of the rules that, with their defaults, can train this.
std::vector<std::string> rules_for(const RuleSetup& setup);

/// The table of rules that a deck's `train.rule` can name.
const Registry<LearningRule>& rules();

}  // namespace rankine
