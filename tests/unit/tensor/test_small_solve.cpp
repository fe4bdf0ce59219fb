// Small systems side by side: solutions, gradients against central differences, what is refused.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/tensor/small_solve.hpp"

namespace rankine {
namespace {

constexpr int systems = 3, n = 4;

/// Positive definite, of very different sizes along the diagonal.
std::vector<double> matrices() {
  std::vector<double> a(systems * n * n);
  for (int s = 0; s < systems; ++s)
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j)
        a[(s * n + i) * n + j] =
            std::pow(10.0, 2 * (i + j)) * ((i == j ? 1.5 : 0) + 0.2 * std::cos(s + i * j + i + j));
  return a;
}
std::vector<double> right() {
  std::vector<double> b;
  for (int i = 0; i < systems * n; ++i) b.push_back(std::sin(1.0 + i) * std::pow(100.0, i % n));
  return b;
}

TEST(SmallSolve, SolvesEachSystem) {
  const std::vector<double> a = matrices(), b = right();
  const std::vector<double> x =
      solve_spd(Tensor::from(a, {systems, n, n}), Tensor::from(b, {systems, n})).to_vector();
  for (int s = 0; s < systems; ++s)
    for (int i = 0; i < n; ++i) {
      double sum = 0;
      for (int j = 0; j < n; ++j) sum += a[(s * n + i) * n + j] * x[s * n + j];
      EXPECT_NEAR(sum / b[s * n + i], 1, 1e-12);
    }
}

TEST(SmallSolve, GradientsAgreeWithDifferences) {
  const Tensor a = variable(Tensor::from(matrices(), {systems, n, n})),
               b = variable(Tensor::from(right(), {systems, n}));
  const Tensor bar = Tensor::from(std::vector<double>(systems * n, 0.7), {systems, n});
  const std::vector<Tensor> found = grad({solve_spd(a, b)}, {bar}, {a, b});
  const auto loss = [&](const std::vector<double>& matrix, const std::vector<double>& rhs) {
    double sum = 0;
    for (const double x :
         solve_spd(Tensor::from(matrix, {systems, n, n}), Tensor::from(rhs, {systems, n})).to_vector())
      sum += 0.7 * x;
    return sum;
  };
  const auto near = [](double value, double expected) {
    EXPECT_NEAR(value, expected, 1e-6 * std::abs(expected) + 1e-12);
  };
  const std::vector<double> by_a = found[0].to_vector(), by_b = found[1].to_vector();
  for (int s = 0; s < systems; ++s)
    for (int i = 0; i < n; ++i)
      for (int j = 0; j <= i; ++j) {
        std::vector<double> plus = matrices(), minus = plus;
        const double h = 1e-4 * std::pow(10.0, 2 * (i + j));
        // Both places of a symmetric matrix at once.
        plus[(s * n + i) * n + j] += h;
        minus[(s * n + i) * n + j] -= h;
        if (i != j) plus[(s * n + j) * n + i] += h, minus[(s * n + j) * n + i] -= h;
        const double sum = by_a[(s * n + i) * n + j] + (i != j ? by_a[(s * n + j) * n + i] : 0);
        near(sum, (loss(plus, right()) - loss(minus, right())) / (2 * h));
      }
  for (int k = 0; k < systems * n; ++k) {
    std::vector<double> plus = right(), minus = plus;
    const double h = 1e-3 * std::abs(plus[k]);
    plus[k] += h;
    minus[k] -= h;
    near(by_b[k], (loss(matrices(), plus) - loss(matrices(), minus)) / (2 * h));
  }
}

TEST(SmallSolve, RefusesWhatHasNoSolution) {
  std::vector<double> a = matrices();
  const Tensor b = Tensor::from(right(), {systems, n});
  for (int j = 0; j < n; ++j) a[(n + 2) * n + j] = a[n * n + j * n + 2] = 0;
  const std::vector<double> x = solve_spd(Tensor::from(a, {systems, n, n}), b).to_vector();
  EXPECT_EQ(x[n + 2], 0);  // an empty row
  a = matrices();
  a[2 * n * n + 1] = a[2 * n * n + n] = 1e6;
  try {
    solve_spd(Tensor::from(a, {systems, n, n}), b);
    FAIL() << "an indefinite system was solved";
  } catch (const NumericalError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("small system 2 of 3"));
  }
}

}  // namespace
}  // namespace rankine
