// A network cut into modules that learn from losses of their own: each runs forward and backward through its
// blocks and an auxiliary network that judges its output, and hands that output on without a tape. No
// gradient crosses the edge between two modules, so modules on different ranks never wait for each other's
// backward pass, unless one follows() the next: then they are at most a step apart.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/rules/stages.hpp"

namespace rankine {

struct LocalModulesOptions {
  int classifier = 2;
  int window = 24;
  void options(OptionVisitor& o);
};

/// The network's last `classifier` blocks are the classifier, the ones before are hidden. The last module
/// ends with the classifier and backpropagates through its blocks; the others have auxiliary networks, which
/// are no part of predictions.
class LocalModules : public StagedRule {
 public:
  /// InputError where the network has too few hidden blocks, or there are more ranks than modules.
  void check(const RuleSetup& setup) const override;
  void begin(const RuleSetup& setup, const ParameterSet& parameters) override;
  StepOutcome step(RuleContext& context) override;
  std::int64_t window() const override { return local_.window; }
  std::vector<StepOutcome> steps(std::int64_t first, std::int64_t count, const StepMaker& make) override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;

 protected:
  LocalModules(std::string name, const LocalModulesOptions& options)
      : StagedRule(std::move(name)), local_(options) {}

  static std::unique_ptr<Network> network_of(const std::string& name, const std::vector<std::string>& blocks,
                                             const Shape& input, DType type);
  int hidden(const Network& network) const { return network.size() - local_.classifier; }
  /// Hidden blocks of the last module.
  virtual int last_blocks() const = 0;
  /// The auxiliary network of the module that ends before block `end`.
  virtual std::unique_ptr<Network> auxiliary_network(const Network& network, int end,
                                                     std::int64_t classes) const = 0;
  /// Passes through copies of block `end` that lie between the module's output and its auxiliary network.
  virtual int copies() const { return 0; }
  /// Appends the copies' parameters to the auxiliary network's; `parameters` are those of the network.
  virtual void add_copies(const Network& network, const ParameterSet& parameters, int end,
                          ParameterSet& auxiliary) const {
    static_cast<void>(network), static_cast<void>(parameters), static_cast<void>(end),
        static_cast<void>(auxiliary);
  }
  /// What the auxiliary network sees of the module's output `h` [L, B, ...].
  virtual Tensor through_copies(const Network& network, int end, const ParameterSet& names,
                                const BoundParameters& auxiliary, const Tensor& h, Pass& pass) const {
    static_cast<void>(network), static_cast<void>(end), static_cast<void>(names),
        static_cast<void>(auxiliary), static_cast<void>(pass);
    return h;
  }
  /// Whether follow() is called after each update of a module but the last, with the parameters that block
  /// `end` has before its own update of that step.
  virtual bool follows() const { return false; }
  virtual void follow(const ParameterSet& next, ParameterSet& auxiliary) const {
    static_cast<void>(next), static_cast<void>(auxiliary);
  }

 private:
  struct Outcome {
    double loss = 0, squares = 0;
    bool finite = true;
  };
  struct Passed {
    Tensor output;
    double loss;
    std::vector<Tensor> gradients;  // of the module, of its auxiliary parameters
  };
  /// First blocks of the modules.
  std::vector<int> modules(const Network& network) const;
  /// Parameters of a module's first block, sharing memory.
  ParameterSet first_block(int module) const;
  /// Forward and backward. `repeated`: of a step that failed.
  Passed pass_module(int module, RuleContext& context, const Tensor& x, bool repeated) const;
  /// One module's step on its input; returns its output, detached, for the next.
  Tensor train_module(int module, RuleContext& context, const Tensor& x, Outcome& outcome);
  /// Repeats a module's step, of which nothing has been changed, with every op watched.
  std::shared_ptr<RuleFault> look_into(int module, RuleContext& context, const Tensor& x) const;

  LocalModulesOptions local_;
  std::vector<std::unique_ptr<Network>> auxiliary_;
  double auxiliary_cost_ = 0;
  std::map<std::pair<std::int64_t, int>, std::shared_ptr<const RuleFault>> faults_;  // by step and module
};

}  // namespace rankine
