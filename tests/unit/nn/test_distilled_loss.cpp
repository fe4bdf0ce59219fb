// A loss with a teacher against its formula, in values and gradients.
#include <cmath>

#include <gtest/gtest.h>

#include "src/nn/distilled_loss.hpp"
#include "src/nn/softmax.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

std::vector<double> probabilities(const std::vector<double>& z, double t) {
  double sum = 0;
  std::vector<double> p;
  for (const double v : z) sum += std::exp(v / t);
  for (const double v : z) p.push_back(std::exp(v / t) / sum);
  return p;
}

TEST(DistilledLoss, OfClassesIsHintonsSum) {
  std::mt19937 rng(5);
  const Tensor outputs = testing::random_tensor({2, 3, 4}, rng, -2, 2),
               teacher = testing::random_tensor({2, 3, 4}, rng, -2, 2);
  const std::vector<std::int32_t> labels{0, 3, 2, 1, 1, 0};
  const CrossEntropy own({});
  const double t = 2.5, weight = 0.7;
  const DistilledLoss loss(own, {.from = "", .weight = weight, .temperature = t}, 4);
  const Tensor hard = Tensor::from(labels, {2, 3}), targets = loss.targets(hard, teacher);
  const std::vector<double> got = loss.per_sample(outputs, targets, 2).to_vector(),
                            plain = own.per_sample(outputs, hard, 2).to_vector(), z = outputs.to_vector(),
                            of_teacher = teacher.to_vector();
  for (std::size_t i = 0; i < 6; ++i) {
    const auto row = [&](const std::vector<double>& all) {
      return std::vector<double>(all.begin() + static_cast<long>(4 * i),
                                 all.begin() + static_cast<long>(4 * i + 4));
    };
    const std::vector<double> p = probabilities(row(of_teacher), t), q = probabilities(row(z), t);
    double entropy = 0;
    for (std::size_t c = 0; c < 4; ++c) entropy -= p[c] * std::log(q[c]);
    EXPECT_NEAR(got[i], plain[i] + weight * t * t * entropy, 1e-13);
  }
  // Probabilities instead of classes, as transforms make them; a part of the positions alone.
  const Tensor soft = softmax(testing::random_tensor({2, 3, 4}, rng, -1, 1));
  const Tensor both = loss.targets(soft, teacher);
  const auto part = [](const Tensor& x) { return slice(x, 1, 1, 3); };
  const std::vector<double> cut = loss.per_sample(part(outputs), part(both), 2).to_vector(),
                            whole = loss.per_sample(outputs, both, 2).to_vector();
  EXPECT_EQ(cut, (std::vector<double>{whole[1], whole[2], whole[4], whole[5]}));
  testing::expect_gradient(
      [&](const std::vector<Tensor>& in) { return std::vector<Tensor>{loss.per_sample(in[0], both, 2)}; },
      {outputs}, 1e-7);
}

TEST(DistilledLoss, OfRealTargetsIsASumOfSquares) {
  std::mt19937 rng(6);
  const Tensor outputs = testing::random_tensor({1, 3, 2}, rng, -1, 1),
               truth = testing::random_tensor({1, 3, 2}, rng, -1, 1),
               teacher = testing::random_tensor({1, 3, 2}, rng, -1, 1);
  const MeanSquaredError own;
  const DistilledLoss loss(own, {.from = "", .weight = 0.5, .temperature = 1}, 0);
  const std::vector<double> got = loss.per_sample(outputs, loss.targets(truth, teacher), 2).to_vector(),
                            a = own.per_sample(outputs, truth, 2).to_vector(),
                            b = own.per_sample(outputs, teacher, 2).to_vector();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(got[i], a[i] + 0.5 * b[i], 1e-15);
}

}  // namespace
}  // namespace rankine
