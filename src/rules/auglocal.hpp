// AugLocal: supervised local learning with augmented auxiliary networks (Ma et al., "Scaling supervised local
// learning with augmented auxiliary networks", ICLR 2024, arXiv 2402.17318). Each hidden block learns from a
// loss of its own, through a small auxiliary network that mirrors blocks sampled evenly from those above it;
// no gradient crosses the edge between two modules, so modules on different ranks never wait for a backward
// pass.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "src/rules/stages.hpp"

namespace rankine {

/// Depth of the auxiliary network of hidden block `l` (from 0) of `hidden` under budget `depth`: with L =
/// hidden - depth local modules, max(1, round(depth (1 - taper l / (L - 2)) + taper l / (L - 2))).
int auxiliary_depth(int l, int hidden, int depth, double taper);
/// Blocks that it mirrors: round_half_up(l + (hidden - l - 1) / d * j), j = 1 .. d; all remaining ones if
/// there are no more than d.
std::vector<int> auxiliary_blocks(int l, int hidden, int d);

struct AugLocalOptions {
  int depth = 2;
  double taper = 0.5;
  bool mirror = true;
  int classifier = 2;
  int window = 24;
  void options(OptionVisitor& o);
};

/// The network's last `classifier` blocks are the classifier, the ones before are hidden. The last depth + 1
/// hidden blocks and the classifier are one module that backpropagates; each hidden block before is a module
/// with an auxiliary network. `mirror: false` is greedy local learning: every auxiliary network is global
/// pooling and a linear classifier. Auxiliary networks are not part of predictions.
class AugLocal final : public StagedRule {
 public:
  using Options = AugLocalOptions;
  explicit AugLocal(const Options& options) : StagedRule("auglocal"), options_(options) {}

  /// InputError where a hidden block's output is neither an image nor a vector (names the edge), where there
  /// are fewer blocks than modules need, or more ranks than modules.
  void check(const RuleSetup& setup) const override;
  void begin(const RuleSetup& setup, const ParameterSet& parameters) override;
  StepOutcome step(RuleContext& context) override;
  std::int64_t window() const override { return options_.window; }
  std::vector<StepOutcome> steps(std::int64_t first, std::int64_t count, const StepMaker& make) override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override;

 private:
  struct Outcome {
    double loss = 0, squares = 0;
    bool finite = true;
  };
  struct Passed {
    Tensor output;
    double loss;
    std::vector<Tensor> gradients;  // of the module, of its auxiliary network
  };
  int hidden(const Network& network) const { return network.size() - options_.classifier; }
  /// First blocks of the modules.
  std::vector<int> modules(const Network& network) const;
  std::unique_ptr<Network> auxiliary_network(const Network& network, int block, std::int64_t classes) const;
  /// Forward and backward. `repeated`: of a step that failed.
  Passed pass_module(int module, RuleContext& context, const Tensor& x, bool repeated) const;
  /// One module's step on its input; returns its output, detached, for the next.
  Tensor train_module(int module, RuleContext& context, const Tensor& x, Outcome& outcome);
  /// Repeats a module's step, of which nothing has been changed, with every op watched.
  std::shared_ptr<RuleFault> look_into(int module, RuleContext& context, const Tensor& x) const;

  Options options_;
  std::vector<std::unique_ptr<Network>> auxiliary_;
  double auxiliary_cost_ = 0;
  std::map<std::pair<std::int64_t, int>, std::shared_ptr<const RuleFault>> faults_;  // by step and module
};

}  // namespace rankine
