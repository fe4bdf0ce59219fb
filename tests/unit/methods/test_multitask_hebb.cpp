#include <cmath>

#include <gtest/gtest.h>

#include "src/methods/theory/multitask_hebb.hpp"

namespace rankine {
namespace {

TEST(MultitaskHebb, OverlapsAreHierarchicalOrEqual) {
  // At T = 0 the hierarchy m_k = (1 - d) d^(k-1) holds while the first beats the sum of the others.
  const std::vector<double> weak = diluted_overlaps({0.8, 0.02, 0.01}, 0.2, 1e-3);
  for (std::size_t k = 0; k < 3; ++k) EXPECT_NEAR(weak[k], 0.8 * std::pow(0.2, k), 1e-9) << k;
  // Strong dilution: one equation, m = E[p_1 tanh((p_1 + p_2 + p_3) m / T)].
  double m = 0.1;
  for (int step = 0; step < 2000; ++step) {
    double next = 0;
    for (int a = -1; a <= 1; ++a)
      for (int b = -1; b <= 1; ++b)
        next += 0.1 * (a == 0 ? 0.9 : 0.05) * (b == 0 ? 0.9 : 0.05) * std::tanh((1 + a + b) * m / 0.05);
    m = next;
  }
  EXPECT_NEAR(m, 0.085, 1e-3);
  for (const double strong : diluted_overlaps({0.1, 0.02, 0.01}, 0.9, 0.05)) EXPECT_NEAR(strong, m, 1e-9);
}

TEST(MultitaskHebb, OnePatternIsAMagnetOfTheSpinsThatItHas) {
  double m = 1;
  for (int i = 0; i < 5000; ++i) m = 0.7 * std::tanh(m / 0.5);
  EXPECT_NEAR(diluted_overlaps({1}, 0.3, 0.5)[0], m, 1e-12);
}

TEST(MultitaskHebb, FieldsAreDifferencesOfTheEnergy) {
  for (const char* learning : {"patterns", "supervised", "unsupervised"}) {
    MultitaskHebbTarget::Options options;
    options.spins = 20;
    options.temperature = 0.7;
    options.learning = learning;
    options.examples = 4;
    const auto problem = MultitaskHebbTarget(options).make(3, 1);
    std::vector<double> x = problem->start();
    problem->begin(x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double field = problem->conditional(x, i).value, before = problem->energy(x), old = x[i];
      x[i] = -old;
      problem->changed(x, i, old);
      EXPECT_NEAR(problem->energy(x) - before, 2 * old * field, 1e-11) << learning;
    }
  }
}

TEST(MultitaskHebb, ManyGoodExamplesAreThePatterns) {
  MultitaskHebbTarget::Options options;
  options.spins = 50;
  options.quality = 1;
  options.examples = 3;
  const auto plain = MultitaskHebbTarget(options).make(3, 0);
  for (const char* learning : {"supervised", "unsupervised"}) {
    options.learning = learning;
    const auto learned = MultitaskHebbTarget(options).make(3, 0);
    EXPECT_NEAR(learned->energy(plain->start()), plain->energy(plain->start()), 1e-9) << learning;
  }
}

TEST(MultitaskHebb, TheEnergyIsThatOfTwoSquaredErrors) {
  const MultitaskHebbTarget target({});
  const auto problem = target.make(3, 0);
  std::vector<double> values(target.observables().size());
  problem->measure(problem->start(), values);
  EXPECT_LT(values.back(), 1e-12);
  EXPECT_NEAR(values[0], 0.8, 0.05);  // the start is the first pattern where it is not 0
}

}  // namespace
}  // namespace rankine
