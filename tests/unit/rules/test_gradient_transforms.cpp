// Gradient transforms against their formulas, and what a step with them leaves behind.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/rules/backprop.hpp"
#include "src/rules/gradient_transforms.hpp"
#include "src/rules/lbfgs.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine {
namespace {

using testing::distance;
using ::testing::HasSubstr;
using testing::largest;

// Learns nothing: what the optimiser is given is the outcome's gradient. A mask and a frozen part.
struct Problem : testing::RuleProblem {
  Problem()
      : RuleProblem(
            "[{name: dense, units: 6, bias: false}, {name: batch_norm}, {name: tanh}, {name: dense, units: "
            "4}]",
            {5}) {
    batch.inputs = Tensor::empty({testing::rule_shards, 7, 5}, DType::f64);
    for (std::int64_t i = 0; i < batch.inputs.count(); ++i)
      host_update<double>(batch.inputs)[i] = random.normal(0, 0, i);
    batch.targets = drawn_integers({testing::rule_shards, 7}, 4, 0);
    std::vector<double> mask(30, 1);
    mask[3] = mask[17] = 0;
    parameters.parts()[0].mask = Tensor::from(mask, {6, 5});
    for (ParameterInfo& part : parameters.parts())
      if (part.name == "block3.bias") part.frozen = true;
    parameters.project();
  }
  StepOutcome step(const std::string& list, double clip = 0) {
    const GradientTransforms transforms(
        parse_deck_text("train: {gradient: " + list + "}", "test.yaml").child("train"));
    const RuleSetup now = setup();
    RuleContext context{[&](const BoundParameters& bound) {
                          ++evaluations;
                          statistics += pass.update_statistics ? 1 : 0;
                          return mean_loss(now, network.forward(bound, batch.inputs, pass), batch);
                        },
                        parameters,
                        optimizer,
                        tiles,
                        0,
                        clip,
                        11,
                        &batch,
                        &pass};
    if (!transforms.none()) context.gradient = &transforms;
    context.seed = 9;
    return take_step(rule, context);
  }
  /// The plain gradient with zeros where nothing is trained.
  std::vector<double> plain() {
    std::vector<double> g = step("[]").gradient.to_vector();
    const ParameterInfo& frozen = parameters.part("block3.bias");
    for (std::int64_t i = 0; i < 4; ++i) g[static_cast<std::size_t>(frozen.offset + i)] = 0;
    g[3] = g[17] = 0;
    return g;
  }

  Backprop rule;
  Sgd optimizer{SgdOptions{}};
  int evaluations = 0, statistics = 0;
};

/// Whether no step changes entry i.
bool is_frozen(const ParameterSet& parameters, std::size_t i) {
  for (const ParameterInfo& part : parameters.parts()) {
    const auto begin = static_cast<std::size_t>(part.offset),
               count = static_cast<std::size_t>(part.shape.count());
    if (i >= begin && i < begin + count) return part.frozen;
  }
  return false;
}

double norm(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

TEST(GradientTransforms, SamTakesTheGradientUpTheSlopeAndPutsAllBack) {
  Problem p;
  const std::vector<double> g = p.plain(), before = p.parameters.flat().to_vector();
  const double loss = p.step("[]").loss;
  p.evaluations = p.statistics = 0;
  const std::vector<double> statistics = p.parameters.view("block1.running_mean").to_vector();
  const StepOutcome outcome = p.step("[{name: sam, rho: 0.3}]");
  EXPECT_EQ(p.evaluations, 2);
  EXPECT_EQ(p.statistics, 1);  // running statistics follow the parameters, not the place up the slope
  EXPECT_TRUE(p.pass.update_statistics);
  EXPECT_EQ(outcome.loss, loss);
  std::vector<double> after = p.parameters.flat().to_vector();
  const ParameterInfo& mean = p.parameters.part("block1.running_mean");
  EXPECT_NE(p.parameters.view("block1.running_mean").to_vector(), statistics);

  Problem up;
  std::vector<double> there = before;
  for (std::size_t i = 0; i < there.size(); ++i) there[i] += 0.3 / norm(g) * g[i];
  up.parameters.flat().assign(Tensor::from(there, {static_cast<std::int64_t>(there.size())}));
  const std::vector<double> expected = up.plain();
  EXPECT_LT(distance(outcome.gradient.to_vector(), expected), 1e-13 * largest(expected));
  EXPECT_GT(distance(expected, g), 1e-3 * largest(g));
  EXPECT_NEAR(outcome.gradient_norm, norm(expected), 1e-12 * norm(expected));
  // The bits of the parameters, but for the statistics, of which the variance stands behind the mean.
  for (std::int64_t i = mean.offset; i < mean.offset + 12; ++i)
    after[static_cast<std::size_t>(i)] = before[static_cast<std::size_t>(i)];
  EXPECT_EQ(after, before);
}

TEST(GradientTransforms, PerpendicularLeavesNothingAlongTheParameterAndTheNorm) {
  Problem p;
  const std::vector<double> g = p.plain(), w = p.parameters.flat().to_vector();
  const std::vector<double> got = p.step("[perpendicular]").gradient.to_vector();
  for (const ParameterInfo& part : p.parameters.parts()) {
    if (part.frozen) continue;
    double along = 0, size = 0, was = 0, ww = 0;
    for (std::int64_t k = part.offset; k < part.offset + part.shape.count(); ++k) {
      const auto i = static_cast<std::size_t>(k);
      along += got[i] * w[i], size += got[i] * got[i], was += g[i] * g[i], ww += w[i] * w[i];
    }
    EXPECT_LT(std::abs(along), 1e-14 * std::sqrt(ww * size) + 1e-30) << part.name;
    EXPECT_NEAR(std::sqrt(size), std::sqrt(was), 1e-13 * std::sqrt(was)) << part.name;
  }
}

TEST(GradientTransforms, NoiseHasItsVarianceAndItsOwnBitsEachStep) {
  Problem p;
  const std::vector<double> g = p.plain(),
                            got = p.step("[{name: noise, eta: 4, gamma: 1}]").gradient.to_vector();
  const RandomStream random(9, "gradient/noise");
  for (std::size_t i = 0; i < g.size(); ++i) {
    const bool trained = i != 3 && i != 17 && !is_frozen(p.parameters, i);
    const double noise = std::sqrt(4.0 / 12) * random.normal(11, 0, static_cast<std::int64_t>(i));
    EXPECT_NEAR(got[i] - g[i], trained ? noise : 0, 1e-13) << i;
  }
}

TEST(GradientTransforms, AreClippedAfterwardsAndFollowEachOther) {
  Problem p;
  const StepOutcome both = p.step("[{name: sam, rho: 0.3}, perpendicular]", 1e-3);
  EXPECT_GT(both.gradient_norm, 1e-2);
  EXPECT_NEAR(norm(both.gradient.to_vector()), 1e-3, 1e-9);
  const StepOutcome sam = p.step("[{name: sam, rho: 0.3}]");
  EXPECT_NEAR(sam.gradient_norm, both.gradient_norm, 1e-12);  // the norm stays, the direction does not
  EXPECT_GT(distance(p.step("[{name: sam, rho: 0.3}, perpendicular]").gradient.to_vector(),
                     sam.gradient.to_vector()),
            1e-4);
}

TEST(GradientTransforms, APlaceUpTheSlopeWithoutANumberIsAFailedStep) {
  Problem p;
  const std::vector<double> before = p.parameters.view("block0.weight").to_vector();
  const StepOutcome outcome = p.step("[{name: sam, rho: 1e308}]");
  EXPECT_FALSE(outcome.updated);
  EXPECT_EQ(p.parameters.view("block0.weight").to_vector(), before);
}

TEST(GradientTransforms, SwitchedOffThereAreNoneAndRulesWithoutOptimiserRefuse) {
  const auto train = [](const std::string& list) {
    return parse_deck_text("train: {gradient: " + list + "}", "test.yaml").child("train");
  };
  EXPECT_TRUE(GradientTransforms(
                  train("[{name: sam, rho: 0}, {name: noise, eta: 0}, {name: perpendicular, share: 0}]"))
                  .none());
  try {
    GradientTransforms(train("sam"));
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("must be a list"));
  }
  try {
    reject_unused_options(Lbfgs({}), train("[sam]"));
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("gradient: this learning rule makes no use of it"));
  }
}

}  // namespace
}  // namespace rankine
