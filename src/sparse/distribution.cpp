#include "src/sparse/distribution.hpp"

namespace rankine {
namespace {

double share(LayerDensity kind, const Shape& shape) {
  if (kind == LayerDensity::uniform || shape.rank() < 2) return 1;
  double sum = 0, product = 1;
  const int axes = kind == LayerDensity::erdos_renyi ? 2 : shape.rank();
  for (int axis = 0; axis < axes; ++axis) {
    sum += static_cast<double>(shape[axis]);
    product *= static_cast<double>(shape[axis]);
  }
  return sum / product;
}

}  // namespace

std::vector<double> layer_densities(LayerDensity kind, double density, std::span<const Shape> shapes,
                                    std::span<const double> factors) {
  const std::size_t layers = shapes.size();
  std::vector<double> shares, counts, out(layers, 1.0);
  double wanted = 0;
  for (std::size_t l = 0; l < layers; ++l) {
    counts.push_back(static_cast<double>(shapes[l].count()));
    shares.push_back(share(kind, shapes[l]) * (factors.empty() ? 1 : factors[l]));
    wanted += density * counts.back();
  }
  // Each round makes the layers dense that would be denser than that, and shares out the rest again.
  std::vector<bool> dense(layers, false);
  for (bool capped = true; capped;) {
    double rest = wanted, weight = 0;
    for (std::size_t l = 0; l < layers; ++l) {
      if (dense[l])
        rest -= counts[l];
      else
        weight += shares[l] * counts[l];
    }
    capped = false;
    for (std::size_t l = 0; l < layers; ++l) {
      if (dense[l]) continue;
      out[l] = weight > 0 ? rest * shares[l] / weight : 0;
      if (out[l] <= 1) continue;
      out[l] = 1;
      dense[l] = capped = true;
    }
  }
  return out;
}

}  // namespace rankine
