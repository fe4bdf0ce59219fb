// What SLTT is: the gradient of a tape through time that is cut at the potentials between time steps.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/rules/sltt.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine {
namespace {

using testing::distance;
using testing::largest;

constexpr std::int64_t kShards = testing::rule_shards, kBatch = 5, kInputs = 7;

std::string blocks(const std::string& lif) {
  return "[{name: dense, units: 16}, {name: batch_norm}, {name: lif, " + lif +
         "}, {name: dense, units: 12}, {name: batch_norm}, {name: lif, " + lif +
         "}, {name: dense, units: 4}]";
}

// A spiking network.
struct Problem : testing::RuleProblem {
  explicit Problem(const std::string& lif, const SlttOptions& options)
      : RuleProblem(blocks(lif), {kInputs}), rule(options) {
    pass.update_statistics = false;
    batch.inputs = Tensor::empty({kShards, kBatch, kInputs}, DType::f64);
    for (std::int64_t i = 0; i < batch.inputs.count(); ++i)
      host_update<double>(batch.inputs)[i] = random.normal(0, 0, i);
    batch.targets = drawn_integers({kShards, kBatch}, 4, 0);
    rule.begin(setup(), parameters);
  }
  Sltt::Gradient gradient(bool through_time, const std::vector<bool>& steps) const {
    return rule.gradient(parameters, tiles, batch, pass, through_time, steps);
  }

  Sltt rule;
};

// One tape for all time steps; `cut`: potentials are constants to the time step after.
std::vector<double> full_tape(const Problem& p, int steps, double lambda, bool cut, double* value) {
  CarriedState state;
  Pass pass = p.pass;
  pass.state = &state;
  const BoundParameters bound = p.parameters.bind(p.tiles);
  Tensor total;
  for (int t = 0; t < steps; ++t) {
    const Tensor y = p.network.forward(bound, p.batch.inputs, pass);
    if (cut)
      for (auto& [name, v] : state) v = v.detach();
    const Tensor entropy = mean(p.loss.per_sample(y, p.batch.targets, 2));
    const Tensor distance = mean(square(add_scalar(y, -1)));
    const Tensor loss = scale(add(scale(entropy, 1 - lambda), scale(distance, lambda)), 1.0 / steps);
    total = total.defined() ? add(total, loss) : loss;
  }
  *value = total.item();
  return grad({total}, {}, {bound.flat()}).front().to_vector();
}

SlttOptions six_steps() {
  SlttOptions options;
  options.time_steps = 6;
  return options;
}

TEST(Sltt, IsTheFullTapeWithPotentialsCut) {
  for (const char* lif : {"tau: 1.1", "tau: 2, surrogate: rectangle", "tau: 1.5, reset: hard"}) {
    const Problem p(lif, six_steps());
    const std::vector<bool> all(6, true);
    double value = 0;
    const std::vector<double> cut = full_tape(p, 6, 0.05, true, &value);
    const Sltt::Gradient sltt = p.gradient(false, all);
    EXPECT_GT(largest(cut), 1e-3);
    EXPECT_LE(distance(sltt.flat.to_vector(), cut), 1e-12 * largest(cut)) << lif;
    EXPECT_NEAR(sltt.loss.read(), value, 1e-13);

    const std::vector<double> whole = full_tape(p, 6, 0.05, false, &value);
    EXPECT_LE(distance(p.gradient(true, all).flat.to_vector(), whole), 1e-12 * largest(whole)) << lif;
    EXPECT_GT(distance(whole, cut), 1e-3 * largest(whole)) << lif;
  }
}

TEST(Sltt, DetachedResetsLeaveItsBitsAlone) {
  const std::vector<bool> all(6, true);
  const auto found = [&](const char* lif, bool through_time) {
    return Problem(lif, six_steps()).gradient(through_time, all).flat.to_vector();
  };
  for (const bool hard : {false, true}) {
    const char* kept = hard ? "tau: 1.5, reset: hard, detach_reset: false" : "tau: 1.5, detach_reset: false";
    const char* cut = hard ? "tau: 1.5, reset: hard, detach_reset: true" : "tau: 1.5, detach_reset: true";
    EXPECT_EQ(found(kept, false), found(cut, false));
    EXPECT_NE(found(kept, true), found(cut, true));
  }
}

TEST(Sltt, LeavesOutTimeSteps) {
  const Problem p("tau: 1.1", six_steps());
  std::vector<double> sum;
  double loss = 0;
  for (int t = 0; t < 6; ++t) {
    std::vector<bool> one(6, false);
    one[static_cast<std::size_t>(t)] = true;
    const Sltt::Gradient g = p.gradient(false, one);
    loss = g.loss.read();
    const std::vector<double> flat = g.flat.to_vector();
    sum.resize(flat.size());
    for (std::size_t i = 0; i < flat.size(); ++i) sum[i] += flat[i];
  }
  const Sltt::Gradient all = p.gradient(false, std::vector<bool>(6, true));
  EXPECT_LE(distance(sum, all.flat.to_vector()), 1e-14);
  EXPECT_EQ(loss, all.loss.read());  // all time steps' either way
}

TEST(Sltt, MemoryDoesNotGrowWithTime) {
  const auto peak = [](int steps, bool through_time) {
    SlttOptions options;
    options.time_steps = steps;
    const Problem p("tau: 1.1", options);
    const std::size_t live = memory_account().live;
    reset_memory_peak();
    p.gradient(through_time, std::vector<bool>(static_cast<std::size_t>(steps), true));
    return static_cast<double>(memory_account().peak - live);
  };
  EXPECT_LE(peak(24, false), 1.02 * peak(6, false));
  EXPECT_GE(peak(24, true), 3 * peak(6, true));
}

TEST(Sltt, PredictsTheMeanOverTimeAndReadsSequences) {
  SlttOptions options;
  options.time_steps = 3;
  options.coding = "sequence";
  Sltt rule(options);
  EXPECT_EQ(rule.network_input({3, 7}), (Shape{7}));
  EXPECT_THROW(rule.network_input({4, 7}), InputError);
  EXPECT_THROW(rule.network_input({3}), InputError);

  // Without memory, an output is that of its frame.
  const Network network = testing::network_from("[{name: dense, units: 2}]", {7});
  const SharedTileSum one = local_tile_sum(1);
  const ParameterSet parameters = network.initial_parameters(0);
  const BoundParameters bound = parameters.bind(one);
  Tensor x = Tensor::zeros({1, 2, 3, 7}, DType::f64);
  for (std::int64_t i = 0; i < x.count(); ++i) host_update<double>(x)[i] = std::sin(static_cast<double>(i));
  Pass pass{.shards = one};
  const std::vector<double> found = rule.predict(network, bound, x, pass).to_vector();
  const std::vector<double> expected = network.forward(bound, mean(x, {2}), pass).to_vector();
  EXPECT_LE(distance(found, expected), 1e-15);
}

TEST(Sltt, RefusesWhatItCannotDo) {
  const auto refusal = [](SlttOptions options) {
    const Problem p("tau: 1.1", six_steps());
    try {
      Sltt(options).check(
          {.communicator = p.communicator, .network = &p.network, .inputs = p.network.dtype()});
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  SlttOptions options = six_steps();
  EXPECT_EQ(refusal(options), "");
  options.k = 7;
  EXPECT_THAT(refusal(options), ::testing::HasSubstr("k: 7"));
  options.k = 2;
  options.mode = "bptt";
  EXPECT_THAT(refusal(options), ::testing::HasSubstr("bptt"));
}

}  // namespace
}  // namespace rankine
