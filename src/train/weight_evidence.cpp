#include "src/train/weight_evidence.hpp"

#include "src/rules/gradient_transforms.hpp"

namespace rankine {

Tensor summed_gradient(const ParameterSet& parameters, const SharedTileSum& tiles, int batches,
                       const NumberedLoss& loss, const Tensor& along) {
  const bool twice = along.defined();
  Tensor sum;
  for (int b = 0; b < batches; ++b) {
    const BoundParameters bound = parameters.bind(tiles);
    const TapeLoss made = loss(b, bound);
    Tensor one = grad(made.outputs, made.seeds, {bound.flat()}, {.create_graph = twice}).front();
    // Of a loss that is linear in the parameters the gradient is off the tape, and its derivative zero.
    if (twice) one = one.on_tape() ? grad({one}, {along}, {bound.flat()}).front() : scale(along, 0);
    sum = sum.defined() ? add(sum, one) : one.clone();
  }
  return sum;
}

Tensor gradient_rise(const ParameterSet& parameters, const SharedTileSum& tiles, int batches,
                     const NumberedLoss& loss) {
  const Tensor slope = summed_gradient(parameters, tiles, batches, loss);
  keep_trained(slope, parameters);
  return summed_gradient(parameters, tiles, batches, loss, slope);
}

Tensor mean_square(std::int64_t count, const std::function<Tensor(std::int64_t i)>& gradient) {
  Tensor sum;
  for (std::int64_t i = 0; i < count; ++i) {
    const Tensor one = square(gradient(i));
    sum = sum.defined() ? add(sum, one) : one;
  }
  return scale(sum, 1 / static_cast<double>(count));
}

}  // namespace rankine
