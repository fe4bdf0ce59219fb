// What MAN is: a loss behind a moving average of the next block and a copy that trains, against plain loops.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/methods/local/momentum_auxiliary.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine {
namespace {

using Numbers = std::vector<double>;

constexpr std::int64_t kBatch = 3, kWidth = 5, kClasses = 4;
constexpr double kRate = 0.1, kMomentum = 0.9;

std::string tanh_block() { return "{name: chain, blocks: [{name: dense, units: 5}, {name: tanh}]}"; }

/// Three hidden blocks, all of width 5, and a classifier; a head without a hidden layer.
struct Problem : testing::RuleProblem {
  explicit Problem(bool ahead = true, bool bias = true, double perturbed = 0)
      : RuleProblem(
            "[" + tanh_block() + ", " + tanh_block() + ", " + tanh_block() + ", {name: dense, units: 4}]",
            {kWidth}) {
    MomentumAuxiliaryOptions options;
    options.classifier = 1;
    options.units = 0;
    options.momentum = kMomentum;
    options.ahead = ahead;
    options.bias = bias;
    rule = std::make_unique<MomentumAuxiliary>(options);
    batch.inputs = Tensor::empty({testing::rule_shards, kBatch, kWidth}, DType::f64);
    for (std::int64_t i = 0; i < batch.inputs.count(); ++i)
      host_update<double>(batch.inputs)[i] = random.normal(0, 0, i);
    batch.targets = drawn_integers({testing::rule_shards, kBatch}, kClasses, 0);
    RuleSetup all = setup();
    all.batch = testing::rule_shards * kBatch;
    all.make_optimizer = [] { return std::make_unique<Sgd>(SgdOptions{}); };
    rule->check(all);
    rule->begin(all, parameters);
    if (perturbed != 0)
      for (std::int64_t i = block_size(); i < parameters.count(); ++i)
        host_update<double>(parameters.flat())[i] += perturbed;
    rule->register_state(state, "rule");
  }
  void step() {
    Sgd unused{SgdOptions{}};
    RuleContext context{{}, parameters, unused, tiles, kRate, 0, done++, &batch, &pass};
    EXPECT_TRUE(rule->step(context).updated);
  }
  static std::int64_t block_size() { return kWidth * kWidth + kWidth; }
  /// Of block `b`.
  Numbers block(std::int64_t b) const {
    const Numbers all = parameters.flat().to_vector();
    return {all.begin() + b * block_size(), all.begin() + (b + 1) * block_size()};
  }
  /// What the first module trains beside its block: head, ahead, bias.
  Numbers auxiliary() const {
    for (const auto& [name, value] : state.save())
      if (name == "rule/stage0/auxiliary")
        return Tensor::from_bytes(value.bytes, Shape(value.shape), value.type).to_vector();
    return {};
  }

  std::unique_ptr<MomentumAuxiliary> rule;
  StateRegistry state;
  std::int64_t done = 0;
};

Numbers linear(const double* weight, std::int64_t out, const Numbers& x) {
  const auto in = static_cast<std::int64_t>(x.size());
  Numbers y(weight + out * in, weight + out * in + out);
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t i = 0; i < in; ++i)
      y[static_cast<std::size_t>(o)] += weight[o * in + i] * x[static_cast<std::size_t>(i)];
  return y;
}

Numbers tanh_of(Numbers x) {
  for (double& v : x) v = std::tanh(v);
  return x;
}

/// The first module's loss: parameters of its block, of the head, of the average, of the trained copy.
double local_loss(const Problem& p, const Numbers& theta) {
  const double *head = theta.data() + Problem::block_size(), *ahead = head + kClasses * kWidth + kClasses,
               *bias = ahead + Problem::block_size();
  const Numbers x = p.batch.inputs.to_vector(), labels = p.batch.targets.to_vector();
  double total = 0;
  for (std::size_t n = 0; n < labels.size(); ++n) {
    const auto at = x.begin() + static_cast<std::int64_t>(n) * kWidth;
    const Numbers h = tanh_of(linear(theta.data(), kWidth, Numbers(at, at + kWidth)));
    Numbers y = tanh_of(linear(ahead, kWidth, h));
    const Numbers other = tanh_of(linear(bias, kWidth, h));
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += other[i];
    const Numbers scores = linear(head, kClasses, y);
    double sum = 0;
    for (const double s : scores) sum += std::exp(s);
    total += std::log(sum) - scores[static_cast<std::size_t>(labels[n])];
  }
  return total / static_cast<double>(labels.size());
}

TEST(MomentumAuxiliary, StepsDownItsOwnLossAndFollowsTheNextBlock) {
  Problem p;
  Numbers theta = p.block(0);
  const Numbers auxiliary = p.auxiliary(), next = p.block(1);
  theta.insert(theta.end(), auxiliary.begin(), auxiliary.end());
  const auto size = static_cast<std::size_t>(Problem::block_size());
  const std::size_t ahead = size + kClasses * kWidth + kClasses, bias = ahead + size;
  ASSERT_EQ(theta.size(), bias + size);
  for (std::size_t i = 0; i < size; ++i) {  // both begin as the next block
    EXPECT_EQ(theta[ahead + i], next[i]);
    EXPECT_EQ(theta[bias + i], next[i]);
  }
  Numbers expected = theta;
  constexpr double h = 1e-5;  // central differences: h^2 and eps / h
  for (std::size_t i = 0; i < theta.size(); ++i) {
    if (i >= ahead && i < bias) {
      expected[i] = kMomentum * theta[i] + (1 - kMomentum) * next[i - ahead];
      continue;
    }
    Numbers up = theta, down = theta;
    up[i] += h;
    down[i] -= h;
    expected[i] -= kRate * (local_loss(p, up) - local_loss(p, down)) / (2 * h);
  }
  p.step();
  Numbers found = p.block(0), after = p.auxiliary();
  found.insert(found.end(), after.begin(), after.end());
  EXPECT_LT(testing::distance(found, expected), 1e-10);
  EXPECT_GT(testing::distance(p.block(1), next), 1e-4);

  // The block above has moved; the average follows what it was before its own second step.
  const Numbers moved = p.block(1);
  p.step();
  const Numbers later = p.auxiliary();
  for (std::size_t i = 0; i < size; ++i)
    EXPECT_NEAR(later[ahead - size + i], kMomentum * after[ahead - size + i] + (1 - kMomentum) * moved[i],
                1e-15);
}

TEST(MomentumAuxiliary, BlocksAboveAreNoPartOfABlocksGradient) {
  Problem p, perturbed(true, true, 0.5);
  p.step();
  perturbed.step();
  EXPECT_EQ(p.block(0), perturbed.block(0));
  EXPECT_NE(p.block(1), perturbed.block(1));
}

TEST(MomentumAuxiliary, PathsCanBeLeftOut) {
  const std::size_t head = kClasses * kWidth + kClasses,
                    block = static_cast<std::size_t>(Problem::block_size());
  EXPECT_EQ(Problem(false, false).auxiliary().size(), head);
  EXPECT_EQ(Problem(true, false).auxiliary().size(), head + block);
  EXPECT_EQ(Problem(false, true).auxiliary().size(), head + block);
}

}  // namespace
}  // namespace rankine
