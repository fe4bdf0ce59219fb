// A mixture of experts as one block.
#pragma once

#include "src/nn/gate.hpp"
#include "src/nn/network.hpp"

namespace rankine {

/// sum_e g_e(x) f_e(x): experts that are the same list of blocks with parameters of their own, and a gate
/// that weighs them. All experts see all samples, as one batch: their parameters are stacked as [experts,
/// shape], and the blocks take shard times expert for their shards. With one expert it is the chain of its
/// blocks.
class Mixture final : public Layer {
 public:
  Mixture(const DeckNode& node, const LayerContext& context);
  static void describe(OptionVisitor& o);

  Shape output() const override { return expert_->output(); }
  SideLayout sides() const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  std::int64_t experts_ = 1;
  std::unique_ptr<Network> expert_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<GateSearch> search_;                // null: each weight stays with its expert
  std::vector<std::pair<std::string, Shape>> parts_;  // of one expert
};

}  // namespace rankine
