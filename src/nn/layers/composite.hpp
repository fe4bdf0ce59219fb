// Blocks made of blocks.
#pragma once

#include "src/nn/network.hpp"

namespace rankine {

/// Its blocks in a row, as one block: what learning rules cut between blocks keeps them together.
class Chain : public Layer {
 public:
  Chain(const DeckNode& node, const LayerContext& context);
  static void describe(OptionVisitor& o);

  Shape output() const override { return blocks_.output(); }
  SideLayout sides() const override { return blocks_.sides(); }
  bool needs_graph() const override;
  void check_batch(std::int64_t batch, std::int64_t shards) const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override { return blocks_.products(); }
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Network blocks_;
};

/// x + f(x), f being its blocks in a row.
class Skip final : public Chain {
 public:
  Skip(const DeckNode& node, const LayerContext& context);
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;
};

/// The basic block of residual networks (He et al., arXiv 1512.03385): activation(norm(conv(activation(norm(
/// conv(x))))) + shortcut(x)) with 3x3 convolutions without bias, the first of which has the stride.
class Residual final : public Layer {
 public:
  struct Settings {
    int channels = 0, stride = 1;
    std::string shortcut = "conv", activation = "relu", initialisation = "uniform";
    void options(OptionVisitor& o);
  };
  Residual(const DeckNode& node, const LayerContext& context);
  static void describe(OptionVisitor& o);

  Shape output() const override { return norms_[1]->output(); }
  void check_batch(std::int64_t batch, std::int64_t shards) const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Settings options_;
  std::unique_ptr<Layer> convolutions_[2], norms_[2];
  // The shortcut: a 1x1 convolution and its norm; without, the input, cut down and with channels of zeros.
  std::unique_ptr<Layer> shortcut_, shortcut_norm_;
};

}  // namespace rankine
