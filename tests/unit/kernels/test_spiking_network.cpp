// Neurons against their closed forms, plasticity against its formulas on pairs of spikes, and the whole
// network against a slow one that visits every synapse in every step.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/spiking_network.hpp"

namespace rankine::kernels {
namespace {

using Network = SpikingNetwork<double>;

SpikeTrains silence(int inputs) {
  return {std::vector<std::int32_t>(static_cast<std::size_t>(inputs) + 1, 0), {}};
}

SpikingNetworkParameters small(int inputs, int neurons) {
  SpikingNetworkParameters p;
  p.inputs = inputs;
  p.neurons = neurons;
  return p;
}

/// One input, one neuron.
Network pair_of(const SpikingNetworkParameters& p, double weight, std::uint8_t delay) {
  return {p, std::vector<double>{weight}, std::vector<std::uint8_t>{delay}};
}

TEST(SpikingNetwork, MembraneDecaysToRest) {
  Network net = pair_of(small(1, 1), 0, 0);
  std::vector<std::int32_t> counts(1, 0);
  net.potential()[0] = -57;
  net.inhibitory_potential()[0] = -70;
  net.run(silence(1), 130, 130, false, counts);
  EXPECT_NEAR(net.potential()[0], -65 + 8 * std::exp(-65.0 / 100), 1e-11);
  EXPECT_NEAR(net.inhibitory_potential()[0], -60 - 10 * std::exp(-65.0 / 10), 1e-11);
  EXPECT_EQ(counts[0], 0);
}

TEST(SpikingNetwork, ConstantConductanceMovesTheMembraneExactly) {
  SpikingNetworkParameters p = small(1, 1);
  p.excitatory_time = 1e15;
  p.inhibitory_time = 1e15;
  Network net = pair_of(p, 0, 0);
  const double e = 0.4, i = 0.3;
  net.excitatory_conductance()[0] = e;
  net.inhibitory_conductance()[0] = i;
  std::vector<std::int32_t> counts(1, 0);
  net.run(silence(1), 50, 50, false, counts);
  const double limit = (-65 - 100 * i) / (1 + e + i);
  EXPECT_NEAR(net.potential()[0], limit + (-65 - limit) * std::exp(-25 * (1 + e + i) / 100), 1e-10);
}

TEST(SpikingNetwork, DecayingConductanceAgreesWithTheDifferentialEquation) {
  // The error of the mean over a step falls with its square.
  std::vector<double> errors;
  for (const double dt : {0.5, 0.25}) {
    SpikingNetworkParameters p = small(1, 1);
    p.dt = dt;
    p.excitatory.threshold = 1000;
    p.excitatory_time = 4;
    Network net = pair_of(p, 0, 0);
    net.excitatory_conductance()[0] = 6;
    std::vector<std::int32_t> counts(1, 0);
    net.run(silence(1), static_cast<int>(20 / dt), 0, false, counts);
    double v = -65;
    const double h = 1e-4;
    for (long k = 0; k < std::lround(20 / h); ++k) {
      const auto slope = [&](double t, double u) { return (-65 - u - 6 * std::exp(-t / 4) * u) / 100; };
      const double t = h * static_cast<double>(k);
      v += h * slope(t + h / 2, v + h / 2 * slope(t, v));
    }
    errors.push_back(std::abs(net.potential()[0] - v));
  }
  EXPECT_LT(errors[0], 0.02);
  EXPECT_NEAR(errors[0] / errors[1], 4, 1);
}

TEST(SpikingNetwork, FiresAfterItsRefractoryPeriodAndChargingTime) {
  SpikingNetworkParameters p = small(1, 1);
  p.excitatory_time = 1e15;
  p.theta_step = 0;
  Network net = pair_of(p, 0, 0);
  const double g = 2;
  net.excitatory_conductance()[0] = g;
  std::vector<int> fired;
  for (int step = 0; step < 400; ++step) {
    std::vector<std::int32_t> counts(1, 0);
    net.run(silence(1), 1, 1, false, counts);
    if (counts[0] > 0) fired.push_back(step);
    // Held at reset for 5 ms: in the 10 steps after the spike.
    if (!fired.empty() && step - fired.back() <= 10) {
      EXPECT_EQ(net.potential()[0], -65);
    } else {
      EXPECT_GT(net.potential()[0], -65);
    }
  }
  const double limit = -65 / (1 + g), charging = 100 / (1 + g) * std::log((-65 - limit) / (-52 - limit));
  const int interval = 10 + static_cast<int>(std::ceil(charging / 0.5));
  ASSERT_GT(fired.size(), 5u);
  EXPECT_EQ(fired[0], static_cast<int>(std::ceil(charging / 0.5)) - 1);
  for (std::size_t k = 1; k < fired.size(); ++k) EXPECT_EQ(fired[k] - fired[k - 1], interval);
}

TEST(SpikingNetwork, ThresholdGrowsWithEachSpikeAndDecays) {
  for (const double time : {1e18, 2000.0}) {
    SpikingNetworkParameters p = small(1, 1);
    p.excitatory_time = 1e15;
    p.theta_time = time;
    Network net = pair_of(p, 0, 0);
    net.excitatory_conductance()[0] = 5;
    double theta = 20;
    int spikes = 0;
    for (int k = 0; k < 100; ++k) {
      std::vector<std::int32_t> counts(1, 0);
      net.run(silence(1), 7, 7, true, counts);
      theta = (theta + 0.05 * counts[0]) * std::exp(-3.5 / time);
      spikes += counts[0];
      ASSERT_NEAR(net.theta()[0], theta, 1e-12);
    }
    EXPECT_GT(spikes, 10);
    // Without learning theta stays as it is.
    std::vector<std::int32_t> counts(1, 0);
    net.run(silence(1), 200, 200, false, counts);
    EXPECT_GT(counts[0], 0);
    EXPECT_NEAR(net.theta()[0], theta, 1e-12);
  }
}

struct Pairing {
  double weight, conductance;
};

/// One neuron with the synapse under test and a second input, strong and brief, that makes it fire in
/// `posts`.
Pairing pair_spikes(const std::vector<std::int32_t>& inputs, int delay,
                    const std::vector<std::int32_t>& posts, int steps) {
  SpikingNetworkParameters p = small(2, 1);
  p.excitatory_time = 0.02;
  p.theta_step = 0;
  p.largest_weight = 1e4;
  const double weight = 0.3, strong = 1e4;
  SpikingNetwork<double> net(p, std::vector<double>{weight, strong},
                             std::vector<std::uint8_t>{static_cast<std::uint8_t>(delay), 0});
  SpikeTrains trains{{0, static_cast<std::int32_t>(inputs.size())}, inputs};
  for (const std::int32_t post : posts) trains.steps.push_back(post - 1);
  trains.offsets.push_back(static_cast<std::int32_t>(trains.steps.size()));
  std::vector<std::int32_t> counts(1, 0);
  net.run(trains, steps, steps, true, counts);
  EXPECT_EQ(counts[0], static_cast<int>(posts.size()));
  return {net.weights()[0], net.excitatory_conductance()[0]};
}

// Steps of 0.5 ms: pre and post1 decay with 20 ms, post2 with 40 ms.
double fast(int steps) { return std::exp(-0.5 * steps / 20); }
double slow(int steps) { return std::exp(-0.5 * steps / 40); }

TEST(SpikingNetwork, PlasticityOfPairsOfSpikes) {
  // The first spike of a neuron finds post2 = 0: nothing is learned.
  EXPECT_EQ(pair_spikes({10}, 4, {20}, 60).weight, 0.3);
  // Input before the neuron's second spike: post_rate * pre * post2.
  EXPECT_NEAR(pair_spikes({10}, 4, {20, 40}, 60).weight, 0.3 + 0.01 * fast(40 - 14) * slow(20), 1e-14);
  // Input after a spike: pre_rate * post1.
  EXPECT_NEAR(pair_spikes({30}, 4, {20}, 60).weight, 0.3 + 1e-4 * fast(34 - 20), 1e-14);
  // Both; of two input spikes the nearer one counts.
  EXPECT_NEAR(pair_spikes({22, 30}, 4, {20, 50}, 60).weight,
              0.3 + 1e-4 * (fast(26 - 20) + fast(34 - 20)) + 0.01 * fast(50 - 34) * slow(30), 1e-14);
  // An arrival in the step of the spike comes first.
  EXPECT_NEAR(pair_spikes({36}, 4, {20, 40}, 60).weight, 0.3 + 1e-4 * fast(20) + 0.01 * slow(20), 1e-14);
  EXPECT_NEAR(pair_spikes({40}, 0, {20, 40}, 60).weight, 0.3 + 1e-4 * fast(20) + 0.01 * slow(20), 1e-14);
}

TEST(SpikingNetwork, TracesLastFromRunToRunAndWeightsHaveABound) {
  for (const double weight : {0.3, 0.9995}) {
    SpikingNetworkParameters p = small(1, 1);
    Network net = pair_of(p, weight, 4);
    std::vector<std::int32_t> counts(1, 0);
    const auto fire = [&] {
      net.potential()[0] = 0;
      net.run(silence(1), 1, 1, true, counts);
    };
    net.run({{0, 1}, {3}}, 12, 12, true, counts);  // arrives in step 7
    fire();                                        // step 12
    net.run(silence(1), 19, 19, true, counts);
    fire();  // step 32
    EXPECT_EQ(counts[0], 2);
    EXPECT_NEAR(net.weights()[0], std::min(1.0, weight + 0.01 * fast(32 - 7) * slow(20)), 1e-14);
  }
}

TEST(SpikingNetwork, SpikesOnTheirWayFindTheWeightAndTraceOfTheirArrival) {
  // Set out in step 37, before the neuron fires in step 40; arrive in step 41, after it.
  const double grown = 0.3 + 1e-4 * fast(10 - 4) + 0.01 * fast(40 - 10) * slow(36);
  const Pairing late = pair_spikes({6, 37}, 4, {4, 40}, 42);
  EXPECT_NEAR(late.conductance, grown, 1e-9);
  EXPECT_NEAR(late.weight, grown + 1e-4 * fast(1), 1e-14);
  // Two on their way at once.
  const Pairing both = pair_spikes({6, 37, 39}, 4, {4, 40}, 44);
  EXPECT_NEAR(both.conductance, grown + 1e-4 * fast(1), 1e-9);
  EXPECT_NEAR(both.weight, grown + 1e-4 * (fast(1) + fast(3)), 1e-14);
}

TEST(SpikingNetwork, NormalisesTheWeightsIntoEachNeuron) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform(0.003, 0.3);
  const int inputs = 784, neurons = 7;
  std::vector<double> weights(static_cast<std::size_t>(inputs * neurons));
  for (double& w : weights) w = uniform(random);
  for (int i = 0; i < inputs; ++i) weights[static_cast<std::size_t>(i * neurons + 3)] = 0;
  Network net(small(inputs, neurons), weights, std::vector<std::uint8_t>(weights.size(), 0));
  net.normalise(78);
  for (int j = 0; j < neurons; ++j) {
    double sum = 0;
    for (int i = 0; i < inputs; ++i) sum += net.weights()[static_cast<std::size_t>(i * neurons + j)];
    EXPECT_NEAR(sum, j == 3 ? 0 : 78, 1e-11);
  }
  EXPECT_NEAR(net.weights()[0] / net.weights()[neurons], weights[0] / weights[neurons], 1e-12);
}

TEST(SpikingNetwork, TheWinnerHoldsDownAllOthers) {
  const int neurons = 5;
  Network net(small(1, neurons), std::vector<double>(neurons, 0.0), std::vector<std::uint8_t>(neurons, 0));
  net.potential()[2] = 0;
  std::vector<std::int32_t> counts(neurons, 0);
  net.run(silence(1), 1, 1, false, counts);
  EXPECT_THAT(counts, testing::ElementsAre(0, 0, 1, 0, 0));
  // Its inhibitory neuron needs two steps to charge: after one it is at -40.3 mV.
  net.run(silence(1), 1, 1, false, counts);
  EXPECT_THAT(net.inhibitory_conductance(), testing::Each(0.0));
  net.run(silence(1), 1, 1, false, counts);
  for (int j = 0; j < neurons; ++j) EXPECT_EQ(net.inhibitory_conductance()[j], j == 2 ? 0 : 17);
  const double before = net.potential()[0];
  net.run(silence(1), 1, 1, false, counts);
  // Their conductance of 17 pulls them 5.4 % of the way to -100 mV; the winner stays at reset.
  const double mean = 17 * (1 - std::exp(-1.0)), limit = (-65 - 100 * mean) / (1 + mean);
  EXPECT_NEAR(net.potential()[0], limit + (before - limit) * std::exp(-0.005 * (1 + mean)), 1e-11);
  EXPECT_LT(net.potential()[0], before - 1.5);
  EXPECT_EQ(net.potential()[2], -65);

  // Two that charge alike: the first to fire makes the other wait.
  const auto spikes_of_second = [](double inhibition) {
    SpikingNetworkParameters p = small(1, 2);
    p.excitatory_time = 1e15;
    p.to_inhibitory = 20;
    p.to_excitatory = inhibition;
    Network race(p, std::vector<double>(2, 0.0), std::vector<std::uint8_t>(2, 0));
    race.excitatory_conductance()[0] = 1;
    race.excitatory_conductance()[1] = 0.4;
    std::vector<std::int32_t> each(2, 0);
    race.run(silence(1), 600, 600, false, each);
    EXPECT_GT(each[0], 5);
    return each[1];
  };
  EXPECT_GT(spikes_of_second(0), 0);
  EXPECT_EQ(spikes_of_second(17), 0);
}

/// The same network, plainly: traces and conductances of every synapse in every step.
struct SlowNetwork {
  SpikingNetworkParameters p;
  std::vector<double> w;
  std::vector<std::uint8_t> delay;
  std::vector<double> v, ge, gi, theta, post1, post2, vi, gei, pre;
  std::vector<int> since, since_i;

  SlowNetwork(const SpikingNetworkParameters& p_, std::vector<double> w_, std::vector<std::uint8_t> d_)
      : p(p_), w(std::move(w_)), delay(std::move(d_)) {
    const auto n = static_cast<std::size_t>(p.neurons);
    v.assign(n, -65);
    vi.assign(n, -60);
    theta.assign(n, 20);
    for (auto* zero : {&ge, &gi, &post1, &post2, &gei}) zero->assign(n, 0);
    pre.assign(w.size(), 0);
    since.assign(n, 1 << 20);
    since_i = since;
  }
  static void relax(double& u, double e, double i, double rest, double inhibitory, double tau, double dt) {
    const double total = 1 + e + i, limit = (rest + i * inhibitory) / total;
    u = limit + (u - limit) * std::exp(-dt / tau * total);
  }
  void run(const SpikeTrains& trains, int steps, std::vector<std::int32_t>& counts) {
    const double dt = p.dt, e1 = p.excitatory_time, e2 = p.inhibitory_time;
    const int n = p.neurons;
    for (int t = 0; t < steps; ++t) {
      std::vector<int> fired, fired_i;
      for (int j = 0; j < n; ++j) {
        ++since[j];
        ++since_i[j];
        if (since[j] > 10)
          relax(v[j], e1 / dt * (1 - std::exp(-dt / e1)) * ge[j], e2 / dt * (1 - std::exp(-dt / e2)) * gi[j],
                -65, -100, 100, dt);
        if (since_i[j] > 4) relax(vi[j], e1 / dt * (1 - std::exp(-dt / e1)) * gei[j], 0, -60, -85, 10, dt);
        ge[j] *= std::exp(-dt / e1);
        gi[j] *= std::exp(-dt / e2);
        gei[j] *= std::exp(-dt / e1);
        post1[j] *= std::exp(-dt / 20);
        post2[j] *= std::exp(-dt / 40);
        if (v[j] > theta[j] - 72 && since[j] > 10) fired.push_back(j);
        if (vi[j] > -40 && since_i[j] > 4) fired_i.push_back(j);
      }
      for (double& trace : pre) trace *= std::exp(-dt / 20);
      for (int i = 0; i < p.inputs; ++i) {
        for (int s = trains.offsets[i]; s < trains.offsets[i + 1]; ++s) {
          for (int j = 0; j < n; ++j) {
            const int k = i * n + j;
            if (trains.steps[s] + delay[k] != t) continue;
            ge[j] += w[k];
            w[k] = std::min(1.0, w[k] + 1e-4 * post1[j]);
            pre[k] = 1;
          }
        }
      }
      for (const int j : fired) {
        for (int i = 0; i < p.inputs; ++i)
          w[i * n + j] = std::min(1.0, w[i * n + j] + 0.01 * pre[i * n + j] * post2[j]);
        gei[j] += 10.4;
        post1[j] = post2[j] = 1;
        theta[j] += 0.05;
        v[j] = -65;
        since[j] = 0;
        ++counts[j];
      }
      for (const int j : fired_i) {
        for (int k = 0; k < n; ++k) gi[k] += k == j ? 0 : 17;
        vi[j] = -45;
        since_i[j] = 0;
      }
    }
    for (double& u : theta) u *= std::exp(-steps * dt / 1e7);
  }
};

TEST(SpikingNetwork, AgreesWithAPlainNetwork) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(0, 1);
  const int inputs = 40, neurons = 6, steps = 700;
  const SpikingNetworkParameters p = small(inputs, neurons);
  std::vector<double> weights(static_cast<std::size_t>(inputs * neurons));
  std::vector<std::uint8_t> delays(weights.size());
  for (double& w : weights) w = 0.6 * uniform(random);
  for (std::uint8_t& d : delays) d = static_cast<std::uint8_t>(20.999 * uniform(random));
  Network net(p, weights, delays);
  SlowNetwork slow_net(p, weights, delays);
  std::int64_t spikes = 0;
  for (int image = 0; image < 3; ++image) {
    SpikeTrains trains{{0}, {}};
    for (int i = 0; i < inputs; ++i) {
      for (int t = 0; t < steps - 21; ++t)
        if (uniform(random) < 0.06) trains.steps.push_back(t);
      trains.offsets.push_back(static_cast<std::int32_t>(trains.steps.size()));
    }
    std::vector<std::int32_t> counts(neurons, 0), expected(neurons, 0);
    net.run(trains, steps, steps, true, counts);
    slow_net.run(trains, steps, expected);
    EXPECT_EQ(counts, expected) << "image " << image;
    spikes += std::accumulate(counts.begin(), counts.end(), 0);
    for (std::size_t j = 0; j < static_cast<std::size_t>(neurons); ++j) {
      EXPECT_NEAR(net.theta()[j], slow_net.theta[j], 1e-10);
      EXPECT_NEAR(net.potential()[j], slow_net.v[j], 1e-6);
    }
    // Traces below 1e-9 are left out.
    for (std::size_t k = 0; k < weights.size(); ++k) EXPECT_NEAR(net.weights()[k], slow_net.w[k], 1e-9) << k;
  }
  EXPECT_GT(spikes, 50);
}

TEST(SpikingNetwork, CountsOnlyWhileAnImageIsShown) {
  SpikingNetworkParameters p = small(1, 1);
  p.excitatory_time = 1e15;
  Network net = pair_of(p, 0, 0);
  std::vector<std::int32_t> all(1, 0), first(1, 0);
  net.excitatory_conductance()[0] = 5;
  net.run(silence(1), 200, 200, false, all);
  net.reset();
  EXPECT_EQ(net.potential()[0], -65);
  net.excitatory_conductance()[0] = 5;
  net.run(silence(1), 200, 100, false, first);
  EXPECT_GT(first[0], 0);
  EXPECT_LT(first[0], all[0]);
}

}  // namespace
}  // namespace rankine::kernels
