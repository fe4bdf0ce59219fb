// Operations after steps against their formulas.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/optim/after_step.hpp"

namespace rankine {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

DeckNode train(const std::string& list) {
  return parse_deck_text("train: {after_step: " + list + "}", "test.yaml").child("train");
}

ParameterSet three_parts() {
  ParameterSet set;
  set.add({.name = "a.weight", .shape = {2, 2}});
  set.add({.name = "a.bias", .shape = {2}});
  set.add({.name = "b.weight", .shape = {2, 1}});
  set.add({.name = "b.mean", .shape = {1}, .frozen = true});
  set.flat().assign(Tensor::from(std::vector<double>{3, -4, 0.3, 0.4, 1, -2, 5, -0.25, 9}, {9}));
  return set;
}

std::vector<double> after(const std::string& list, std::int64_t step = 0, double rate = 0.1) {
  const ParameterSet set = three_parts();
  const AfterStep operations(train(list), set);
  operations.apply(set, {7, step, rate});
  return set.flat().to_vector();
}

auto near(const std::vector<double>& values) {
  std::vector<::testing::Matcher<double>> all;
  for (const double v : values) all.emplace_back(DoubleNear(v, 1e-15));
  return ::testing::ElementsAreArray(all);
}

TEST(AfterStep, OperationsAreTheirFormulas) {
  EXPECT_THAT(after("[{name: proximal_l1, weight: 3.5}]"), near({2.65, -3.65, 0, 0.05, 1, -2, 4.65, 0, 9}));
  EXPECT_THAT(after("[{name: proximal_units, weight: 6}]"), near({2.64, -3.52, 0, 0, 1, -2, 4.4, 0, 9}));
  EXPECT_THAT(after("[{name: max_norm, norm: 2.5}]"), near({1.5, -2, 0.3, 0.4, 1, -2, 2.5, -0.25, 9}));
  EXPECT_THAT(after("[{name: max_norm, norm: 0, on: b.weight}]"), near({3, -4, 0.3, 0.4, 1, -2, 0, 0, 9}));
  EXPECT_THAT(after("[{name: clip, low: 0, on: 'a*'}]"), near({3, 0, 0.3, 0.4, 1, 0, 5, -0.25, 9}));
  EXPECT_THAT(after("[{name: clip, low: -1, high: 2, on: 'a*'}]"),
              near({2, -1, 0.3, 0.4, 1, -1, 5, -0.25, 9}));
  EXPECT_THAT(after("[{name: shrink, density: 0.5, factor: 0.5}]"),
              near({3, -4, 0.15, 0.2, 1, -2, 5, -0.125, 9}));
  EXPECT_THAT(after("[{name: shrink, density: 0, factor: 0}]"), near({0, 0, 0, 0, 1, -2, 0, 0, 9}));
}

TEST(AfterStep, NoiseIsAStreamOfEachParameter) {
  const std::vector<double> got =
      after("[{name: shrink_perturb, factor: 0.5, deviation: 0.1, on: '*.bias'}]", 4);
  const RandomStream random(7, "after_step/0/a.bias");
  EXPECT_NEAR(got[4], 0.5 + 0.1 * random.normal(4, 0, 0), 1e-15);
  EXPECT_NEAR(got[5], -1 + 0.1 * random.normal(4, 0, 1), 1e-15);
  EXPECT_EQ(got[0], 3);
}

TEST(AfterStep, ComeAtTheirStepsInTheirOrderAndMasksStay) {
  const std::string list =
      "[{name: max_norm, norm: 1, every: 3}, {name: shrink, density: 0, factor: 0.5, every: 2}]";
  EXPECT_EQ(after(list, 0)[0], 3);
  EXPECT_EQ(after(list, 1)[0], 1.5);
  EXPECT_DOUBLE_EQ(after(list, 2)[0], 0.6);
  EXPECT_DOUBLE_EQ(after(list, 5)[0], 0.3);
  ParameterSet set = three_parts();
  set.parts()[0].mask = Tensor::from(std::vector<double>{1, 0, 1, 1}, {2, 2});
  set.project();
  AfterStep(train("[{name: shrink_perturb, deviation: 1}]"), set).apply(set, {7, 0, 0.1});
  const std::vector<double> weights = set.view("a.weight").to_vector();
  EXPECT_EQ(weights[1], 0);
  EXPECT_NE(weights[0], 3);
}

TEST(AfterStep, SwitchedOffThereAreNoneAndPatternsMustFit) {
  const ParameterSet set = three_parts();
  EXPECT_TRUE(
      AfterStep(
          train(
              "[{name: shrink, factor: 1}, {name: proximal_l1, weight: 0}, {name: proximal_units}, proximal_envelope, "
              "max_norm, clip, shrink_perturb]"),
          set)
          .none());
  const auto refusal = [&](const std::string& list) -> std::string {
    try {
      AfterStep(train(list), set);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal("[{name: clip, low: 0, on: b.mean}]"),
              HasSubstr("'b.mean' fits no parameter that is trained"));
  EXPECT_THAT(refusal("[{name: clip, low: 2, high: 1}]"), HasSubstr("low is above high"));
  EXPECT_THAT(refusal("clip"), HasSubstr("must be a list"));
}

/// S_k of groups with these norms by its definition, sum u_j = k: the least of 1/2 sum t_j^2 / u_j, at u_j = min(1, c t_j).
double envelope(const std::vector<double>& t, double k) {
  double low = 0, high = 1e9, out = 0;
  for (int i = 0; i < 200; ++i) {
    const double c = (low + high) / 2;
    double sum = 0;
    for (const double v : t) sum += std::min(1.0, c * v);
    (sum < k ? low : high) = c;
  }
  for (const double v : t)
    if (v > 0) out += 0.5 * v * v / std::min(1.0, high * v);
  return out;
}

TEST(AfterStep, NothingIsBelowTheProximalPointOfTheEnvelope) {
  const std::vector<double> norms{3, 0.4, 1.7, 0.9, 1.1, 2.2};
  const RandomStream random(3, "envelope");
  for (const double k : {1.0, 2.0, 4.0})
    for (const double m : {0.05, 0.6, 4.0}) {
      const std::vector<double> factors = envelope_factors(norms, k, m);
      const auto value = [&](const std::vector<double>& t) {
        double apart = 0;
        for (std::size_t j = 0; j < t.size(); ++j) apart += 0.5 * (t[j] - norms[j]) * (t[j] - norms[j]);
        return m * envelope(t, k) + apart;
      };
      std::vector<double> best = norms;
      for (std::size_t j = 0; j < norms.size(); ++j) best[j] *= factors[j];
      const double least = value(best);
      for (int i = 0; i < 2000; ++i) {
        std::vector<double> other = best;
        for (std::size_t j = 0; j < other.size(); ++j)
          other[j] = std::abs(other[j] +
                              std::pow(10.0, -1 - i % 4) * random.normal(i, 0, static_cast<std::int64_t>(j)));
        ASSERT_GE(value(other), least - 1e-9) << k << " units, m = " << m;
      }
    }
  // Two units are left where m is t_3 / (t_2 - t_3) at least.
  const auto left = [&](double m) {
    const std::vector<double> f = envelope_factors(norms, 2, m);
    return std::count_if(f.begin(), f.end(), [](double v) { return v > 0; });
  };
  EXPECT_EQ(left(1.7 / 0.5 + 1e-6), 2);
  EXPECT_GT(left(1.7 / 0.5 - 1e-6), 2);
  EXPECT_THAT(after("[{name: proximal_envelope, density: 0.5, weight: 100, on: a.weight}]"),
              near({3 / 11.0, -4 / 11.0, 0, 0, 1, -2, 5, -0.25, 9}));
}

}  // namespace
}  // namespace rankine
