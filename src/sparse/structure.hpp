// Which weights stay or go together, and which are compared with each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

/// A parameter's weights in units of equal size, and these in groups of equal size.
struct UnitLayout {
  std::int64_t unit = 1;  ///< weights that stay or go together
  /// Units that are compared with each other, each group of which keeps the same share; 0: all of the part.
  std::int64_t group = 0;
  /// The weights in an order in which those of a unit, and the units of a group, are side by side; empty: as
  /// they lie.
  std::vector<std::int64_t> order = {};
};

class Structure {
 public:
  virtual ~Structure() = default;
  /// Of weights [outputs, inputs, kernel...]. InputError, without the part's name, where it has none.
  virtual UnitLayout layout(const Shape& shape) const = 0;
  /// Whether each group keeps its share, so that layers and groups cannot be compared.
  virtual bool local() const { return false; }
  /// Whether each weight stays or goes alone, and is compared with all of the part.
  virtual bool single() const { return false; }
  /// Whether the bias of an output goes with its weights.
  virtual bool with_bias() const { return false; }
  /// InputError where no mask has this density.
  virtual void check(double density) const { (void)density; }
};

/// Each weight for itself.
class SingleWeights final : public Structure {
 public:
  void options(OptionVisitor&) {}
  UnitLayout layout(const Shape&) const override { return {}; }
  bool single() const override { return true; }
};

/// All weights of an output stay or go together.
class Filters : public Structure {
 public:
  void options(OptionVisitor&) {}
  UnitLayout layout(const Shape& shape) const override { return {shape.count() / shape[0]}; }
};

/// The same together with the output's bias: what is removed gives act(0), whatever comes in.
class Units final : public Filters {
 public:
  bool with_bias() const override { return true; }
};

/// The weights of `outputs` neighbouring outputs for one input (and one place of the kernel) stay or go
/// together (G x 1 blocks: Elsen et al., "Fast sparse convnets", CVPR 2020).
class OutputBlocks final : public Structure {
 public:
  void options(OptionVisitor& o) {
    o("outputs", outputs_, {.help = "outputs of a block; divides the layer's", .min = 1});
  }
  UnitLayout layout(const Shape& shape) const override;

 private:
  int outputs_ = 4;
};

/// Of m weights of an output for neighbouring inputs as many remain as of any others: N:M sparsity, N being
/// the density times m (Mishra et al., "Accelerating sparse deep neural networks", arXiv 2104.08378).
class OfEachFew final : public Structure {
 public:
  void options(OptionVisitor& o) {
    o("m", m_, {.help = "weights that are compared; divides the layer's inputs", .min = 2});
  }
  UnitLayout layout(const Shape& shape) const override;
  bool local() const override { return true; }
  void check(double density) const override;

 private:
  int m_ = 4;
};

/// The table of structures.
const Registry<Structure>& structures();

}  // namespace rankine
