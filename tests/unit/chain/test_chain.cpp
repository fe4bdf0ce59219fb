#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/chain/diagnostics.hpp"
#include "src/chain/kernel.hpp"
#include "src/core/statistics.hpp"

namespace rankine {
namespace {

std::unique_ptr<ChainTarget> target_of(const std::string& text) {
  return chain_targets().make(parse_deck_text(text, "target"));
}
std::unique_ptr<ChainKernel> kernel_of(const std::string& text) {
  return chain_kernels().make(parse_deck_text(text, "kernel"));
}

/// Samples of several chains, without a burn-in worth the name: the targets here mix in a few sweeps.
struct Sampled {
  std::vector<std::vector<double>> draws;  // of each observable, [chains][sweeps]
  int chains;
  double accepted = 0;
  ChainDiagnosis of(std::size_t observable) const { return diagnose(draws[observable], chains); }
};
Sampled sampled(const ChainTarget& target, const ChainKernel& kernel, int chains, int sweeps) {
  kernel.check(target);
  const RandomStream random(5, "test");
  std::vector<double> values(target.observables().size());
  Sampled out{std::vector<std::vector<double>>(values.size()), chains};
  for (int c = 0; c < chains; ++c) {
    const std::unique_ptr<ChainProblem> problem = target.make(5, c);
    std::vector<double> x = problem->start();
    for (int s = 0; s < sweeps + 50; ++s) {
      ChainSweep sweep{s, sweeps + 50, c, random, values};
      out.accepted += kernel.sweep(*problem, x, sweep) / (chains * (sweeps + 50.0));
      if (s < 50) continue;
      problem->measure(x, values);
      for (std::size_t v = 0; v < values.size(); ++v) out.draws[v].push_back(values[v]);
    }
  }
  return out;
}

/// Exact means by `enumerate`, and the logarithm of the partition function.
struct Exact {
  std::vector<double> means;
  double log_partition = 0;
};
Exact enumerated(const ChainTarget& target, int parts) {
  const std::unique_ptr<ChainKernel> kernel = kernel_of("name: enumerate");
  kernel->check(target);
  const RandomStream random(5, "test");
  std::vector<double> values(target.observables().size()), x(target.size());
  Exact out{std::vector<double>(values.size(), 0.0)};
  double total = 0;
  for (int s = 0; s < parts; ++s) {
    const std::unique_ptr<ChainProblem> problem = target.make(5, 0);
    ChainSweep sweep{s, parts, 0, random, values};
    kernel->sweep(*problem, x, sweep);
    total += std::exp(sweep.log_weight);
    for (std::size_t v = 0; v < values.size(); ++v) out.means[v] += std::exp(sweep.log_weight) * values[v];
  }
  for (double& m : out.means) m /= total;
  out.log_partition = std::log(total);
  return out;
}

TEST(Enumerate, AChainOfSpinsHasThePartitionFunctionOfItsTransferMatrix) {
  const double j = 0.7, h = 0.2, t = 1.3;
  const Exact exact = enumerated(
      *target_of("{name: ising, rows: 1, columns: 9, coupling: 0.7, field: 0.2, temperature: 1.3}"), 1);
  // Eigenvalues of [[e^(J+H), e^-J], [e^-J, e^(J-H)]].
  const double middle = std::exp(j / t) * std::cosh(h / t),
               root = std::sqrt(std::pow(std::exp(j / t) * std::sinh(h / t), 2) + std::exp(-2 * j / t));
  EXPECT_NEAR(exact.log_partition, std::log(std::pow(middle + root, 9) + std::pow(middle - root, 9)), 1e-12);
}

TEST(Enumerate, AMagnetWhereAllAreCoupledIsASumOverItsMagnetisations) {
  const int n = 12;
  double z = 0, first = 0, size = 0;
  for (int up = 0; up <= n; ++up) {
    const double m = 2 * up - n;
    const double ways = std::exp(std::lgamma(n + 1) - std::lgamma(up + 1) - std::lgamma(n - up + 1));
    const double weight = ways * std::exp((1.5 * 0.5 * (m * m - n) / n + 0.1 * m) / 0.9);
    z += weight;
    first += weight * m / n;
    size += weight * std::abs(m) / n;
  }
  for (const int parts : {1, 7, 64}) {
    const Exact exact = enumerated(
        *target_of(
            "{name: ising, graph: complete, rows: 3, columns: 4, coupling: 1.5, field: 0.1, temperature: 0.9}"),
        parts);
    EXPECT_NEAR(exact.log_partition, std::log(z), 1e-12) << parts;
    EXPECT_NEAR(exact.means[1], first / z, 1e-13) << parts;
    EXPECT_NEAR(exact.means[2], size / z, 1e-13) << parts;
  }
}

TEST(Enumerate, MorePartsThanStatesAreEmpty) {
  const auto target = target_of("{name: ising, rows: 1, columns: 2, temperature: 2}");
  EXPECT_NEAR(enumerated(*target, 7).log_partition, std::log(4 * std::cosh(0.5)), 1e-13);
}

TEST(Targets, ConditionalsAreDifferencesOfTheEnergy) {
  for (const char* text : {"{name: ising, rows: 3, columns: 3, field: 0.3, temperature: 1.4}",
                           "{name: ising, rows: 2, columns: 3, temperature: 1.4}",
                           "{name: ising, rows: 3, columns: 4, periodic: false}",
                           "{name: ising, graph: complete, rows: 3, columns: 3, field: -0.2}",
                           "{name: hopfield, spins: 9, patterns: 3}"}) {
    const auto target = target_of(text);
    const auto problem = target->make(3, 1);
    std::vector<double> x = problem->start();
    problem->begin(x);
    for (std::size_t step = 0; step < 3 * x.size(); ++step) {
      const std::size_t i = (step * 5) % x.size();
      const double field = problem->conditional(x, i).value, before = problem->energy(x), old = x[i];
      x[i] = -old;
      problem->changed(x, i, old);
      EXPECT_NEAR(problem->energy(x) - before, 2 * old * field, 1e-12) << text;
    }
  }
}

TEST(Targets, TheGaussiansGradientAndConditionalsAreThoseOfItsEnergy) {
  const auto target = target_of(
      "{name: gaussian, covariance: [2, 0.6, -0.3, 0.6, 1, 0.2, -0.3, 0.2, 0.5], mean: [1, -1, 0]}");
  const auto problem = target->make(3, 0);
  std::vector<double> x{0.3, 0.1, -0.7}, slope(3);
  problem->gradient(x, slope);
  for (std::size_t i = 0; i < 3; ++i) {
    const double h = 1e-4, at = problem->energy(x);
    auto up = x, down = x;
    up[i] += h;
    down[i] -= h;
    const double first = (problem->energy(up) - problem->energy(down)) / (2 * h),
                 second = (problem->energy(up) - 2 * at + problem->energy(down)) / (h * h);
    EXPECT_NEAR(slope[i], first, 1e-8);
    EXPECT_NEAR(problem->conditional(x, i).value, x[i] - first / second, 1e-6);
    EXPECT_NEAR(problem->conditional(x, i).deviation, 1 / std::sqrt(second), 1e-6);
  }
}

TEST(Targets, TheMachinesConditionalsAreThoseOfItsEnergy) {
  const auto target = target_of(
      "{name: gaussian_rbm, visible: 3, hidden: 2, visible_bias: 0.4, hidden_bias: -0.3, deviation: 0.8}");
  const auto problem = target->make(3, 0);
  std::vector<double> x{0.3, 0.1, -0.7, 1, -1};
  for (const std::size_t i : {3, 4}) {
    auto up = x, down = x;
    up[i] = 1;
    down[i] = -1;
    EXPECT_NEAR(problem->conditional(x, i).value, 0.5 * (problem->energy(down) - problem->energy(up)), 1e-13);
    EXPECT_EQ(problem->conditional(x, i).deviation, 0);
  }
  for (const std::size_t i : {0, 1, 2}) {
    auto best = x, off = x;
    best[i] = problem->conditional(x, i).value;
    off[i] = best[i] + 0.8;
    EXPECT_NEAR(problem->energy(off) - problem->energy(best), 0.5, 1e-13);
    off[i] = best[i] - 0.8;
    EXPECT_NEAR(problem->energy(off) - problem->energy(best), 0.5, 1e-13);
    EXPECT_EQ(problem->conditional(x, i).deviation, 0.8);
  }
}

class Samplers : public ::testing::TestWithParam<const char*> {};

TEST_P(Samplers, FindTheMeansOfSpinsThatEnumerationFinds) {
  for (const char* text : {"{name: ising, rows: 3, columns: 3, temperature: 3, field: 0.2}",
                           "{name: hopfield, spins: 10, patterns: 3, temperature: 0.8, turned: 0.5}"}) {
    const auto target = target_of(text);
    const Exact exact = enumerated(*target, 4);
    const Sampled found = sampled(*target, *kernel_of(GetParam()), 4, 4000);
    for (std::size_t v = 0; v < exact.means.size(); ++v) {
      const ChainDiagnosis d = found.of(v);
      EXPECT_NEAR(d.mean, exact.means[v], 4 * d.standard_error) << text << v;
      EXPECT_LT(d.standard_error, 0.03) << text << v;
      EXPECT_LT(d.r_hat, 1.02) << text << v;
    }
  }
}

TEST_P(Samplers, FindTheMomentsOfAGaussian) {
  const auto target = target_of("{name: gaussian, covariance: [2, 0.8, 0.8, 1], mean: [1, -2]}");
  const Sampled found = sampled(*target, *kernel_of(GetParam()), 4, 4000);
  const double exact[] = {1, -2, 3, 5, 1};
  for (std::size_t v = 0; v < 5; ++v) {
    EXPECT_NEAR(found.of(v).mean, exact[v], 4 * found.of(v).standard_error) << v;
    EXPECT_LT(found.of(v).r_hat, 1.02) << v;
  }
}

TEST_P(Samplers, FindTheMeansOfAMachineWhoseVisibleNumbersAreIntegratedOut) {
  const auto target = target_of(
      "{name: gaussian_rbm, visible: 3, hidden: 2, weight: 0.6, visible_bias: 0.4, hidden_bias: -0.3, deviation: 0.8}");
  const auto problem = target->make(5, 0);
  // Given h the visible numbers are normal about their conditional means, at which the energy is least; what
  // they add to it is half their number.
  double z = 0, energy = 0, active = 0, square = 0;
  for (int state = 0; state < 4; ++state) {
    std::vector<double> x{0, 0, 0, state % 2 == 0 ? -1.0 : 1.0, state < 2 ? -1.0 : 1.0};
    for (std::size_t i = 0; i < 3; ++i) x[i] = problem->conditional(x, i).value;
    const double least = problem->energy(x), weight = std::exp(-least);
    z += weight;
    energy += weight * (least + 1.5);
    active += weight * (x[3] + x[4] + 2) / 4;
    square += weight * ((x[0] * x[0] + x[1] * x[1] + x[2] * x[2]) / 3 + 0.64);
  }
  const Sampled found = sampled(*target, *kernel_of(GetParam()), 4, 6000);
  const double exact[] = {energy / z, active / z, square / z};
  for (std::size_t v = 0; v < 3; ++v)
    EXPECT_NEAR(found.of(v).mean, exact[v], 4 * found.of(v).standard_error) << v;
}

INSTANTIATE_TEST_SUITE_P(All, Samplers,
                         ::testing::Values("name: gibbs", "{name: gibbs, order: random}", "name: metropolis",
                                           "{name: metropolis, order: random, step: 2}"));

TEST(Metropolis, SmallerStepsAreAcceptedMoreOften) {
  const auto target = target_of("{name: gaussian, covariance: [1]}");
  // 2/pi arctan(2/step) of the proposals of a normal density.
  for (const double step : {0.5, 3.0}) {
    const auto kernel = kernel_of("{name: metropolis, step: " + std::to_string(step) + "}");
    EXPECT_NEAR(sampled(*target, *kernel, 2, 8000).accepted, 2 / M_PI * std::atan(2 / step), 0.01);
  }
}

TEST(Langevin, IsExactWhereItIsAdjustedAndOffByItsStepWhereNot) {
  const auto target = target_of("{name: gaussian, covariance: [0.5]}");
  const double step = 0.4, precision = 2;
  const Sampled exact = sampled(*target, *kernel_of("{name: langevin, step: 0.4}"), 4, 8000),
                biased = sampled(*target, *kernel_of("{name: langevin, step: 0.4, adjust: false}"), 4, 8000);
  EXPECT_NEAR(exact.of(1).mean, 1 / precision, 4 * exact.of(1).standard_error);
  EXPECT_LT(exact.accepted, 0.97);
  EXPECT_GT(exact.accepted, 0.5);
  // The variance v of x' = (1 - step P) x + sqrt(2 step) noise.
  const double variance = 1 / (precision * (1 - step * precision / 2));
  EXPECT_NEAR(biased.of(1).mean, variance, 4 * biased.of(1).standard_error);
  EXPECT_NEAR(biased.accepted, 1, 1e-9);
}

/// Sweeps until the residual is small; how many.
int settle(const ChainKernel& kernel, ChainProblem& problem, std::vector<double>& x) {
  const RandomStream random(5, "test");
  ChainSweep sweep{0, 1, 0, random, {}};
  int sweeps = 0;
  while (sweeps < 1000 && kernel.progress(problem, x) > 1e-13) {
    kernel.sweep(problem, x, sweep);
    ++sweeps;
  }
  return sweeps;
}

TEST(MeanField, SolvesTheEquationOfAMagnetWhereAllAreCoupled) {
  const auto target =
      target_of("{name: ising, graph: complete, rows: 5, columns: 4, temperature: 0.6, field: 0.05}");
  double m = 1;
  for (int i = 0; i < 500; ++i) m = std::tanh((m * 19 / 20 + 0.05) / 0.6);
  std::vector<int> sweeps;
  for (const char* text :
       {"name: mean_field", "{name: mean_field, damping: 0.5}", "{name: mean_field, parallel: true}"}) {
    const auto kernel = kernel_of(text);
    const auto problem = target->make(3, 0);
    std::vector<double> x(20, 1.0);
    sweeps.push_back(settle(*kernel, *problem, x));
    for (const double q : x) EXPECT_NEAR(q, m, 1e-12) << text;
  }
  EXPECT_GT(sweeps[1], sweeps[0]);
}

TEST(MeanField, AllSitesAtOnceMaySwingWhereOneAfterTheOtherSettles) {
  const auto target = target_of("{name: ising, rows: 1, columns: 2, temperature: 0.5}");
  const auto problem = target->make(3, 0);
  std::vector<double> x{1, -1}, y = x;
  EXPECT_LT(settle(*kernel_of("name: mean_field"), *problem, x), 100);
  EXPECT_EQ(settle(*kernel_of("{name: mean_field, parallel: true}"), *problem, y), 1000);
  EXPECT_LT(y[0] * y[1], -0.5);
  EXPECT_NEAR(x[0], std::tanh(x[1] / 0.5), 1e-12);
  EXPECT_GT(x[0] * x[1], 0.5);
}

TEST(MeanField, OfAGaussianIsItsMean) {
  const auto target = target_of("{name: gaussian, covariance: [2, 0.8, 0.8, 1], mean: [1, -2]}");
  const auto problem = target->make(3, 0);
  std::vector<double> x = problem->start();
  settle(*kernel_of("name: mean_field"), *problem, x);
  EXPECT_THAT(x, ::testing::ElementsAre(::testing::DoubleNear(1, 1e-10), ::testing::DoubleNear(-2, 1e-10)));
}

TEST(Kernels, ARestartAtAnySweepGivesTheSameBits) {
  for (const auto& [of, by] : std::vector<std::pair<const char*, const char*>>{
           {"{name: hopfield, spins: 30, patterns: 4}", "name: gibbs"},
           {"{name: hopfield, spins: 30, patterns: 4}", "{name: metropolis, order: random}"},
           {"{name: hopfield, spins: 30, patterns: 4, temperature: 0.9}", "{name: mean_field, damping: 0.3}"},
           {"{name: ising, graph: complete}", "name: mean_field"},
           {"{name: gaussian, covariance: [2, 0.8, 0.8, 1]}", "name: langevin"},
           {"{name: gated_mixture, points: 200, start_near: [0, 1, 1], ball: 0.5}", "name: em"}}) {
    const auto target = target_of(of);
    const auto kernel = kernel_of(by);
    const RandomStream random(5, "test");
    const auto straight = target->make(3, 2);
    std::vector<double> x = straight->start(), y = x;
    for (int s = 0; s < 20; ++s) {
      ChainSweep sweep{s, 20, 2, random, {}};
      kernel->sweep(*straight, x, sweep);
      kernel->sweep(*target->make(3, 2), y, sweep);  // which remembers nothing
      EXPECT_EQ(x, y) << of << by << s;
    }
  }
}

TEST(Kernels, SayWhatTheyNeed) {
  const auto refusal = [](const char* kernel, const char* target) -> std::string {
    try {
      kernel_of(kernel)->check(*target_of(target));
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal("name: langevin", "name: ising"), ::testing::HasSubstr("the gradient of the energy"));
  EXPECT_THAT(refusal("name: gibbs", "name: gated_mixture"), ::testing::HasSubstr("given the others"));
  EXPECT_THAT(refusal("name: mean_field", "name: gated_mixture"), ::testing::HasSubstr("given the others"));
  EXPECT_THAT(refusal("name: em", "name: ising"), ::testing::HasSubstr("expectation and maximisation"));
  EXPECT_THAT(refusal("name: enumerate", "name: gaussian"), ::testing::HasSubstr("1 or -1"));
  EXPECT_THAT(refusal("name: enumerate", "name: ising"), ::testing::HasSubstr("64 spins"));
}

/// x' = r x + sqrt(1 - r^2) noise, of variance 1.
std::vector<double> walk(int chains, int length, double r) {
  const RandomStream random(9, "walk");
  std::vector<double> out;
  for (int c = 0; c < chains; ++c) {
    double x = random.normal(0, c, 0);
    for (int i = 1; i <= length; ++i)
      out.push_back(x = r * x + std::sqrt(1 - r * r) * random.normal(0, c, i));
  }
  return out;
}

TEST(Diagnostics, CountDrawsByTheirCorrelation) {
  for (const double r : {-0.4, 0.0, 0.5, 0.9}) {
    const ChainDiagnosis d = diagnose(walk(4, 20000, r), 4);
    EXPECT_NEAR(d.ess / 80000, (1 - r) / (1 + r), 0.1 * (1 - r) / (1 + r)) << r;
    EXPECT_NEAR(d.standard_error, 1 / std::sqrt(d.ess), 0.05 / std::sqrt(d.ess)) << r;
    EXPECT_LT(d.r_hat, 1.01) << r;
  }
}

TEST(Diagnostics, SeeChainsThatDifferInPlaceScaleOrTime) {
  const std::vector<double> good = walk(4, 1000, 0);
  std::vector<double> shifted = good, wide = good, drifting = good;
  for (std::size_t i = 0; i < 1000; ++i) {
    shifted[i] += 2;
    wide[i] *= 5;
  }
  for (std::size_t i = 0; i < drifting.size(); ++i) drifting[i] += 2e-3 * static_cast<double>(i % 1000);
  EXPECT_LT(diagnose(good, 4).r_hat, 1.01);
  EXPECT_GT(diagnose(shifted, 4).r_hat, 1.1);
  EXPECT_GT(diagnose(wide, 4).r_hat, 1.1);
  EXPECT_GT(diagnose(drifting, 4).r_hat, 1.1);
  EXPECT_LT(diagnose(shifted, 4).ess, 100);
}

TEST(Diagnostics, SayNothingOfDrawsThatAreAllEqualOrTooFew) {
  EXPECT_TRUE(std::isnan(diagnose(std::vector<double>(40, 1.0), 4).r_hat));
  const ChainDiagnosis few = diagnose(std::vector<double>{1, 2, 3}, 1);
  EXPECT_TRUE(std::isnan(few.ess));
  EXPECT_EQ(few.mean, 2);
}

}  // namespace
}  // namespace rankine
