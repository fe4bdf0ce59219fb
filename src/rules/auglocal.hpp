// AugLocal: supervised local learning with augmented auxiliary networks (Ma et al., "Scaling supervised local
// learning with augmented auxiliary networks", ICLR 2024, arXiv 2402.17318). Each hidden block learns from a
// loss of its own, through a small auxiliary network that mirrors blocks sampled evenly from those above it.
#pragma once

#include <memory>
#include <vector>

#include "src/rules/local_modules.hpp"

namespace rankine {

/// Depth of the auxiliary network of hidden block `l` (from 0) of `hidden` under budget `depth`: with L =
/// hidden - depth local modules, max(1, round(depth (1 - taper l / (L - 2)) + taper l / (L - 2))).
int auxiliary_depth(int l, int hidden, int depth, double taper);
/// Blocks that it mirrors: round_half_up(l + (hidden - l - 1) / d * j), j = 1 .. d; all remaining ones if
/// there are no more than d.
std::vector<int> auxiliary_blocks(int l, int hidden, int d);

struct AugLocalOptions : LocalModulesOptions {
  int depth = 2;
  double taper = 0.5;
  bool mirror = true;
  void options(OptionVisitor& o);
};

/// The last depth + 1 hidden blocks and the classifier are one module that backpropagates; each hidden block
/// before is a module with an auxiliary network. `mirror: false` is greedy local learning: every auxiliary
/// network is global pooling and a linear classifier.
class AugLocal final : public LocalModules {
 public:
  using Options = AugLocalOptions;
  explicit AugLocal(const Options& options) : LocalModules("auglocal", options), options_(options) {}

 private:
  int last_blocks() const override { return options_.depth + 1; }
  std::unique_ptr<Network> auxiliary_network(const Network& network, int end,
                                             std::int64_t classes) const override;

  Options options_;
};

}  // namespace rankine
