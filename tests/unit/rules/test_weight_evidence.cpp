// What sparsifiers judge weights by, against central differences and sums written out.
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/rules/gradient_transforms.hpp"
#include "src/sparse/criterion.hpp"
#include "src/train/movement.hpp"
#include "src/train/weight_evidence.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine {
namespace {

using ::testing::ElementsAre;
using Vector = std::vector<double>;

/// Two batches, a mask and a frozen part.
struct Problem : testing::RuleProblem {
  Problem() : RuleProblem("[{name: dense, units: 4}, {name: tanh}, {name: dense, units: 3}]", {5}) {
    for (NetworkBatch& one : batches) {
      const auto which = &one - batches;
      one.inputs = Tensor::empty({testing::rule_shards, 3, 5}, DType::f64);
      for (std::int64_t i = 0; i < one.inputs.count(); ++i)
        host_update<double>(one.inputs)[i] = random.normal(0, which, i);
      one.targets = drawn_integers({testing::rule_shards, 3}, 3, which);
    }
    Vector mask(20, 1);
    mask[7] = 0;
    parameters.parts()[0].mask = Tensor::from(mask, parameters.parts()[0].shape);
    parameters.parts().back().frozen = true;
    parameters.project();
  }
  NumberedLoss loss() {
    return [this](std::int64_t b, const BoundParameters& bound) {
      return mean_loss(setup(), network.forward(bound, batches[b].inputs, pass), batches[b]);
    };
  }
  Vector gradient_at(const Vector& weights) {
    ParameterSet there = parameters.clone();
    there.flat().assign(Tensor::from(weights, {there.count()}));
    return summed_gradient(there, tiles, 2, loss()).to_vector();
  }
  Vector trained_gradient_at(const Vector& weights) {
    const Vector g = gradient_at(weights);
    const Tensor slope = Tensor::from(g, {parameters.count()});
    keep_trained(slope, parameters);
    return slope.to_vector();
  }

  NetworkBatch batches[2];
};

Vector moved(Vector x, double by, const Vector& along) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += by * along[i];
  return x;
}

double square_of(const Vector& x) { return std::inner_product(x.begin(), x.end(), x.begin(), 0.0); }

TEST(WeightEvidence, GradientIsTheSumOverBatches) {
  Problem p;
  const Vector both = summed_gradient(p.parameters, p.tiles, 2, p.loss()).to_vector(),
               first = summed_gradient(p.parameters, p.tiles, 1, p.loss()).to_vector();
  std::swap(p.batches[0], p.batches[1]);
  const Vector second = summed_gradient(p.parameters, p.tiles, 1, p.loss()).to_vector();
  EXPECT_LT(testing::distance(both, moved(first, 1, second)), 1e-15);
  EXPECT_GT(testing::distance(first, second), 1e-3);
}

// Central differences: h^2 / 6 of the third derivative along g, of size 1, and rounding / h, are below 1e-9.
TEST(WeightEvidence, GradientRiseIsTheHessianTimesTheTrainedGradient) {
  Problem p;
  const Vector w = p.parameters.flat().to_vector(), g = p.trained_gradient_at(w);
  EXPECT_EQ(g[7], 0);
  EXPECT_EQ(g.back(), 0);
  const double h = 1e-5;
  const Vector difference = moved(p.gradient_at(moved(w, h, g)), -1, p.gradient_at(moved(w, -h, g)));
  Vector rise = gradient_rise(p.parameters, p.tiles, 2, p.loss()).to_vector();
  EXPECT_GT(testing::largest(rise), 1e-2);
  EXPECT_LT(testing::distance(moved(Vector(w.size()), 1 / (2 * h), difference), rise), 1e-9);
}

// The squared norm of the gradient without a small weight is that with it, less twice the weight's score.
TEST(WeightEvidence, GraspScoresWhatTheGradientLoses) {
  Problem p;
  Vector w = p.parameters.flat().to_vector();
  w[3] = 1e-6;
  p.parameters.flat().assign(Tensor::from(w, {p.parameters.count()}));
  const Vector rise = gradient_rise(p.parameters, p.tiles, 2, p.loss()).to_vector(),
               scores = Grasp().scores({.name = "all", .weights = w, .evidence = rise});
  Vector without = w;
  without[3] = 0;
  const double lost = square_of(p.trained_gradient_at(w)) - square_of(p.trained_gradient_at(without));
  EXPECT_NEAR(lost / scores[3], 2, 1e-4);
}

TEST(WeightEvidence, FisherScoresTheRiseOfTheLoss) {
  const Vector gradients[] = {{1, -2, 0}, {3, 2, 0}};
  const Tensor squares = mean_square(2, [&](std::int64_t i) { return Tensor::from(gradients[i], {3}); });
  EXPECT_THAT(squares.to_vector(), ElementsAre(5, 4, 0));
  const Vector w{-2, 3, 7}, evidence = squares.to_vector();
  EXPECT_THAT(Fisher().scores({.name = "w", .weights = w, .evidence = evidence}), ElementsAre(10, 18, 0));
}

TEST(WeightEvidence, MovementSumsWeightTimesGradientOfTheStepsThatWereMade) {
  ParameterSet set(DType::f64);
  set.add({.name = "w", .shape = {2}});
  const auto weights = [&](double a, double b) { set.flat().assign(Tensor::from(Vector{a, b}, {2})); };
  const auto gradient = [](double a, double b) { return Tensor::from(Vector{a, b}, {2}); };
  Movement movement(set);
  weights(1, -2);
  movement.before(0);
  weights(5, 5);  // the step has changed them
  movement.after(0, {.gradient = gradient(3, 4)});
  weights(2, 1);
  movement.before(1);
  movement.after(1, {.updated = false, .gradient = gradient(std::nan(""), 1)});
  movement.before(2);
  movement.after(2, {.gradient = gradient(-1, 0.5)});
  EXPECT_THAT(movement.sum().to_vector(), ElementsAre(-3 + 2, 8 - 0.5));
  const Vector evidence = movement.sum().to_vector(), w{2, 1};
  EXPECT_EQ(MovementScore().scores({.name = "w", .weights = w, .evidence = evidence}), evidence);
}

}  // namespace
}  // namespace rankine
