// Gradients against central differences in double.
#pragma once

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "src/tensor/ops.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine::testing {

inline Tensor random_tensor(const Shape& shape, std::mt19937& rng, double low = -1, double high = 1) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (double& value : values) value = uniform(rng);
  return Tensor::from(values, shape);
}

/// Checks d <fn(inputs), weights> / d inputs, for random weights, along every coordinate. The error of a
/// central difference with step h is h^2 f'''/6 + eps f/h; h = 1e-5 leaves about 1e-10 of the size of f.
inline void expect_gradient(const Function& fn, const std::vector<Tensor>& at, double tolerance = 2e-8) {
  std::mt19937 rng(11);
  std::vector<Tensor> inputs;
  for (const Tensor& x : at) inputs.push_back(variable(x.clone()));
  const std::vector<Tensor> outputs = fn(inputs);
  std::vector<Tensor> seeds;
  for (const Tensor& y : outputs) seeds.push_back(random_tensor(y.shape(), rng));
  const std::vector<Tensor> gradients = grad(outputs, seeds, inputs);
  const auto value = [&](const std::vector<Tensor>& x) {
    const NoGrad off;
    const std::vector<Tensor> y = fn(x);
    double total = 0;
    for (std::size_t k = 0; k < y.size(); ++k) total += dot(y[k], seeds[k]).item();
    return total;
  };
  const double h = 1e-5;
  for (std::size_t k = 0; k < at.size(); ++k) {
    const std::vector<double> found = gradients[k].to_vector();
    std::vector<Tensor> moved;
    for (const Tensor& x : at) moved.push_back(x.clone());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double centre = host_read<double>(moved[k])[i];
      host_update<double>(moved[k])[i] = centre + h;
      const double up = value(moved);
      host_update<double>(moved[k])[i] = centre - h;
      const double down = value(moved);
      host_update<double>(moved[k])[i] = centre;
      const double expected = (up - down) / (2 * h);
      EXPECT_NEAR(found[i], expected, tolerance * std::max(1.0, std::abs(expected)))
          << "input " << k << ", element " << i;
    }
  }
}

/// The same for the gradient itself: d <grad fn, weights>.
inline void expect_second_gradient(const Function& fn, const std::vector<Tensor>& at,
                                   double tolerance = 2e-8) {
  expect_gradient(
      [&fn](const std::vector<Tensor>& x) {
        std::vector<Tensor> here;
        for (const Tensor& t : x) here.push_back(t.on_tape() ? identity(t) : variable(t));
        const WithTape
            on;  // expect_gradient evaluates off the tape; the first derivative needs one all the same
        const std::vector<Tensor> y = fn(here);
        std::vector<Tensor> seeds;
        std::mt19937 rng(5);
        for (const Tensor& t : y) seeds.push_back(random_tensor(t.shape(), rng));
        return grad(y, seeds, here, {.create_graph = true});
      },
      at, tolerance);
}

}  // namespace rankine::testing
