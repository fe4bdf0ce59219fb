// What a deck's `model:` names: a map from input channels to output channels on the tiles of a grid.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "src/comm/tiles.hpp"
#include "src/deck/registry.hpp"
#include "src/tensor/fault_probe.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// What the rest of the run fixes for a model.
struct ModelContext {
  TilePartition partition;  ///< and the grid
  SharedTileSum tiles;
  std::int64_t inputs, outputs;  ///< channels
  bool final_gelu = false;       ///< gelu on the outputs
};

class Model {
 public:
  virtual ~Model() = default;
  /// The type of parameters and activations.
  virtual DType dtype() const = 0;
  /// Fresh parameters; they depend on the seed alone, not on ranks or tiles.
  virtual ParameterSet initial_parameters(std::uint64_t seed) const = 0;
  /// x [L, B, inputs, points of a tile] to [L, B, outputs, points of a tile]. Collective.
  virtual Tensor forward(const BoundParameters& parameters, const Tensor& x) const = 0;

  /// Called with the name and value of each intermediate activation; what it returns takes its place, unless
  /// it is undefined. Gradients are reached with on_gradient() from here.
  using ActivationHook = std::function<Tensor(const std::string& name, const Tensor& value)>;
  void set_hook(ActivationHook hook) { hook_ = std::move(hook); }

 protected:
  Tensor hooked(const std::string& name, const Tensor& value) const {
    const Tensor replaced = hook_ ? hook_(name, value) : Tensor();
    const Tensor& result = replaced.defined() ? replaced : value;
    FaultProbe::layer_done(name, result);
    return result;
  }

 private:
  ActivationHook hook_;
};

/// The table of models.
const Registry<Model, const ModelContext&>& models();

}  // namespace rankine
