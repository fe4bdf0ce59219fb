// How a density is shared among layers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/tensor/tensor.hpp"

namespace rankine {

/// `erdos_renyi`: densities in proportion to (inputs + outputs) / (inputs * outputs) of a layer, whatever the
/// size of its kernels (Mocanu et al., Nature Communications 2018); `erdos_renyi_kernel`: in proportion to
/// the sum over the product of all extents (Evci et al., ICML 2020, appendix A). No layer is denser than 1:
/// what it would have too much goes to the others.
enum class LayerDensity { uniform, erdos_renyi, erdos_renyi_kernel };

/// A density for each of `shapes` ([outputs, inputs, kernel...] or [inputs, outputs]), so that `density` of
/// all weights together remain. `factors` scale the shares of layers before the cap at 1 (empty: all 1).
std::vector<double> layer_densities(LayerDensity kind, double density, std::span<const Shape> shapes,
                                    std::span<const double> factors = {});

}  // namespace rankine
