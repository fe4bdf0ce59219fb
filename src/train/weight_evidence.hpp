// What sparsifiers judge weights by (Evidence, src/sparse/criterion.hpp), from the losses of batches.
#pragma once

#include <cstdint>
#include <functional>

#include "src/rules/learning_rule.hpp"

namespace rankine {

/// The loss of a batch, from 0, on the tape. Collective.
using NumberedLoss = std::function<TapeLoss(std::int64_t batch, const BoundParameters&)>;

/// The gradient [count] of the sum of the losses of `batches` batches; with `along` [count] the product of its
/// Hessian with that. Collective.
Tensor summed_gradient(const ParameterSet& parameters, const SharedTileSum& tiles, int batches,
                       const NumberedLoss& loss, const Tensor& along = {});

/// H g [count] of that sum, with its gradient g by the parameters that are neither frozen nor masked. Collective.
Tensor gradient_rise(const ParameterSet& parameters, const SharedTileSum& tiles, int batches,
                     const NumberedLoss& loss);

/// The mean of the squares, element by element, of `count` gradients.
Tensor mean_square(std::int64_t count, const std::function<Tensor(std::int64_t i)>& gradient);

}  // namespace rankine
