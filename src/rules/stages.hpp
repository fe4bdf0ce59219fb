// A network cut into stages, runs of blocks that ranks share: each stage is trained by one rank, with
// parameters and optimiser of its own. All ranks keep the memory of all stages; synchronise() brings it up to
// date.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/tensor/state_registry.hpp"

namespace rankine {

class Stages {
 public:
  struct Stage {
    int begin = 0, end = 0;   ///< blocks
    int owner = 0;            ///< rank
    ParameterSet parameters;  ///< of these blocks, sharing memory with the network's
    ParameterSet auxiliary;   ///< trained with them, no part of the network
    std::unique_ptr<Optimizer> optimizer, auxiliary_optimizer;
    std::unique_ptr<StateRegistry> state;
    std::unique_ptr<UpdateGuard> guard, auxiliary_guard;  ///< of the optimisers
  };

  /// Stage s covers blocks first[s] .. first[s + 1] - 1 (the last one to the end) and costs costs[s]
  /// (any unit, at least 0; the root's count). Contiguous stages are dealt to ranks so that the dearest rank
  /// is as cheap as can be.
  Stages(const RuleSetup& setup, const ParameterSet& parameters, const std::vector<int>& first,
         const std::vector<double>& costs, std::vector<ParameterSet> auxiliary = {});

  int size() const { return static_cast<int>(stages_.size()); }
  Stage& operator[](int s) { return stages_[static_cast<std::size_t>(s)]; }
  const Stage& operator[](int s) const { return stages_[static_cast<std::size_t>(s)]; }
  int owner_of_block(int block) const;
  /// Copies parameters and state of each stage from its owner to all others. Collective.
  void synchronise();
  void register_state(StateRegistry& registry, const std::string& prefix);
  void state_changed();

 private:
  const Communicator& communicator_;
  std::vector<Stage> stages_;
};

/// A rule whose ranks each train a run of stages and pass tensors to the ranks before and after.
class StagedRule : public LearningRule {
 public:
  bool spreads_blocks() const final { return true; }
  int owner_of_block(int block) const final { return stages_->owner_of_block(block); }
  void synchronise() final { stages_->synchronise(); }
  void register_state(StateRegistry& registry, const std::string& prefix) final {
    stages_->register_state(registry, prefix);
  }
  void state_changed() final { stages_->state_changed(); }
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;

 protected:
  explicit StagedRule(std::string name) : name_(std::move(name)) {}

  /// Throws InputError where the network is no list of blocks, there are more ranks than stages, or the
  /// blocks of a stage use parameters of others. `first` as for Stages.
  void check_stages(const RuleSetup& setup, const std::vector<int>& first) const;
  /// Seconds of the root's processor for a forward and a backward pass of a step's batch through blocks
  /// begin .. end - 1: what stages are dealt by, which is no part of the result. 0 where nothing is dealt.
  double seconds_of(const RuleSetup& setup, const Network& network, const ParameterSet& parameters,
                    DType inputs, int begin, int end) const;
  /// Deals the stages to ranks; for begin(). Collective.
  void deal(const RuleSetup& setup, const ParameterSet& parameters, const std::vector<int>& first,
            const std::vector<double>& costs, std::vector<ParameterSet> auxiliary = {});

  /// A step of one guard's optimiser.
  struct Update {
    UpdateGuard* guard;
    Tensor gradient;  ///< finite
    double norm;
  };
  /// Makes all updates of all ranks of `communicator`, or none; the latter where one of them would make
  /// something not finite, whose guard then has a complaint. Collective.
  static bool update_together(const Communicator& communicator, const std::vector<Update>& updates,
                              double learning_rate);

  /// Starts to send `values`, which are kept until they have arrived.
  void send(const Tensor& values, int to, int tag);
  /// Waits for a tensor [lead, sample] of the network's type.
  Tensor receive(Shape lead, const Shape& sample, int from, int tag);
  /// Waits until at most `left` tensors are on their way.
  void wait_for_sent(std::size_t left = 0);

  std::string name_;
  std::unique_ptr<RuleSetup> setup_;
  std::unique_ptr<Stages> stages_;
  int begin_ = 0, end_ = 0;          // stages of this rank
  int previous_ = -1, next_ = -1;    // ranks; -1: none
  double seconds_ = 0, waited_ = 0;  // in steps, and of those for other ranks

 private:
  struct Sent {
    Tensor values;
    std::unique_ptr<Exchange> exchange;
  };
  std::deque<Sent> sent_;
  double messages_ = 0, bytes_ = 0;
};

/// The parameters of blocks begin .. end - 1, sharing memory; `parameters` are those of the network, or of a
/// run of its blocks that holds these.
ParameterSet block_parameters(const Network& network, const ParameterSet& parameters, int begin, int end);

/// The ends of `parts` contiguous runs of costs whose largest sum is smallest; runs may be empty, at the end.
std::vector<int> balanced_ends(const std::vector<double>& costs, int parts);

/// Multiply-adds of the forward pass of one sample through blocks begin .. end - 1, of whose parameters alone
/// use is made; `parameters` are those of the network, whose inputs have type `inputs`.
double forward_cost(const Network& network, const ParameterSet& parameters, DType inputs, int begin, int end,
                    const std::shared_ptr<const Graph>& graph = nullptr);

}  // namespace rankine
