// MAN: momentum auxiliary networks for supervised local learning (Su et al., "Momentum Auxiliary Network for
// Supervised Local Learning", ECCV 2024, arXiv 2407.05623; released code: JunhaoSu0/MAN).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/rules/local_modules.hpp"

namespace rankine {

struct MomentumAuxiliaryOptions : LocalModulesOptions {
  double momentum = 0.995;
  bool ahead = true, bias = true;
  int convolution = 0, units = 128;
  void options(OptionVisitor& o);
};

/// Each hidden block is a module. Its output h goes through two copies of the next block, and a head judges
/// their sum: ahead(h) + bias(h). The parameters of `ahead` are a moving average of the next block's, a <-
/// momentum a + (1 - momentum) next, after the module's own update and before that of the next block;
/// gradients pass through it to h. `bias` begins as the same copy and trains with the head. Running
/// statistics of both are their own. Without either the head judges h: greedy local learning.
class MomentumAuxiliary final : public LocalModules {
 public:
  using Options = MomentumAuxiliaryOptions;
  explicit MomentumAuxiliary(const Options& options) : LocalModules("man", options), options_(options) {}

 private:
  /// What the names of the copies' parameters begin with.
  std::vector<std::string> paths() const;
  int last_blocks() const override { return 1; }
  int copies() const override { return static_cast<int>(paths().size()); }
  std::unique_ptr<Network> auxiliary_network(const Network& network, int end,
                                             std::int64_t classes) const override;
  void add_copies(const Network& network, const ParameterSet& parameters, int end,
                  ParameterSet& auxiliary) const override;
  Tensor through_copies(const Network& network, int end, const ParameterSet& names,
                        const BoundParameters& auxiliary, const Tensor& h, Pass& pass) const override;
  bool follows() const override { return options_.ahead && options_.momentum < 1; }
  void follow(const ParameterSet& next, ParameterSet& auxiliary) const override;

  Options options_;
};

}  // namespace rankine
