#include "src/sparse/structure.hpp"

#include <cmath>

#include <fmt/format.h>

namespace rankine {
namespace {

/// The extent along `axis`, which `size` divides.
std::int64_t divided(const Shape& shape, int axis, std::int64_t size, const char* what) {
  if (shape.rank() < 2) throw InputError(fmt::format("{} is no matrix", shape.text()));
  if (shape[axis] % size != 0)
    throw InputError(
        fmt::format("{} has {} {}, which {} does not divide", shape.text(), shape[axis], what, size));
  return shape[axis];
}

}  // namespace

UnitLayout OutputBlocks::layout(const Shape& shape) const {
  const std::int64_t outputs = divided(shape, 0, outputs_, "outputs"), row = shape.count() / outputs;
  UnitLayout out{outputs_};
  for (std::int64_t first = 0; first < outputs; first += outputs_)
    for (std::int64_t i = 0; i < row; ++i)
      for (std::int64_t o = first; o < first + outputs_; ++o) out.order.push_back(o * row + i);
  return out;
}

UnitLayout OfEachFew::layout(const Shape& shape) const {
  const std::int64_t inputs = divided(shape, 1, m_, "inputs"), kernel = shape.count() / (shape[0] * inputs);
  UnitLayout out{1, m_};
  if (kernel == 1) return out;
  for (std::int64_t o = 0; o < shape[0]; ++o)
    for (std::int64_t k = 0; k < kernel; ++k)
      for (std::int64_t i = 0; i < inputs; ++i) out.order.push_back((o * inputs + i) * kernel + k);
  return out;
}

void OfEachFew::check(double density) const {
  const double n = density * m_, whole = std::nearbyint(n);
  if (whole < 1 || std::abs(n - whole) > 1e-9 * m_)
    throw InputError(fmt::format("density: {} of {} weights are no whole number; choose a multiple of 1/{}",
                                 density, m_, m_));
}

const Registry<Structure>& structures() {
  static const Registry<Structure> table(
      "structure",
      {
          entry<SingleWeights>("weight", "each weight for itself"),
          entry<Filters>("filter", "all weights of an output together"),
          entry<Units>("unit", "all weights of an output, and its bias"),
          entry<OutputBlocks>("block", "the weights of neighbouring outputs for an input together"),
          entry<OfEachFew>("n_m", "N of each M weights for neighbouring inputs"),
      });
  return table;
}

}  // namespace rankine
