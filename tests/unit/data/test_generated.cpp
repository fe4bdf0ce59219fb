#include <cmath>
#include <numbers>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/lapack.hpp"
#include "src/data/splits.hpp"
#include "tests/support/data_files.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

using test::all_of;
using test::make_dataset;
using test::refusal;
using testing::HasSubstr;

Examples every(const Dataset& data, Split split) {
  return data.examples(split, all_of(data, split), DType::f64);
}

TEST(Generated, SplitsShareNoIdAndFollowTheSeed) {
  for (const char* name :
       {"gaussian_mixture", "teacher", "cluster_regression", "sine", "parity", "latency_spikes"}) {
    const std::string deck = std::string("name: ") + name + ", train: 50, validation: 20, test: 30";
    const auto data = make_dataset(deck), again = make_dataset(deck),
               other = make_dataset(deck + ", seed: 1");
    std::set<std::int64_t> ids;
    for (Split split : all_splits) {
      const Examples examples = every(*data, split);
      for (std::int64_t id : examples.ids) EXPECT_TRUE(ids.insert(id).second) << name;
      EXPECT_EQ(examples.inputs.to_vector(), every(*again, split).inputs.to_vector()) << name;
      EXPECT_EQ(examples.targets.to_vector(), every(*again, split).targets.to_vector()) << name;
      EXPECT_NE(examples.inputs.to_vector(), every(*other, split).inputs.to_vector()) << name;
    }
    EXPECT_EQ(ids.size(), 100u);
    // An example does not depend on its neighbours in the batch.
    const Examples two = data->examples(Split::test, std::vector<std::int64_t>{17, 4}, DType::f64);
    const Examples one = data->examples(Split::test, std::vector<std::int64_t>{4}, DType::f64);
    const std::vector<double> both = two.inputs.to_vector();
    EXPECT_EQ(one.inputs.to_vector(), std::vector<double>(both.begin() + one.inputs.count(), both.end()))
        << name;
    EXPECT_EQ(one.ids[0], two.ids[1]);
  }
}

TEST(ClusterRegression, IsLinearInEachCluster) {
  const auto data = make_dataset(
      "name: cluster_regression, clusters: 2, features: 3, separation: 50, spread: 0.5, train: 400, test: "
      "50");
  const auto targets = every(*data, Split::training).targets.to_vector();
  double sum = 0, squares = 0;
  for (const double y : targets) sum += y, squares += y * y;
  EXPECT_NEAR(sum, 0, 1e-9);
  EXPECT_NEAR(squares, 400, 1e-9);
  // The clusters lie far apart. In that of the first example least squares find the map, which the test
  // examples of the cluster follow.
  const auto x = every(*data, Split::training).inputs.to_vector(),
             xt = every(*data, Split::test).inputs.to_vector(),
             yt = every(*data, Split::test).targets.to_vector();
  const auto way = [&](const std::vector<double>& of, std::size_t i) {
    return std::vector<double>{of[3 * i] - x[0], of[3 * i + 1] - x[1], of[3 * i + 2] - x[2]};
  };
  const auto near = [](const std::vector<double>& d) {
    return d[0] * d[0] + d[1] * d[1] + d[2] * d[2] < 100;
  };
  std::vector<double> normal(9), w(3);
  for (std::size_t i = 0; i < 400; ++i) {
    const std::vector<double> d = way(x, i);
    if (!near(d)) continue;
    for (std::size_t r = 0; r < 3; ++r) {
      w[r] += d[r] * (targets[i] - targets[0]);
      for (std::size_t c = 0; c < 3; ++c) normal[3 * r + c] += d[r] * d[c];
    }
  }
  ASSERT_TRUE(lapack::solve_spd(normal, 3, w));
  int tested = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    const std::vector<double> d = way(xt, i);
    if (!near(d)) continue;
    ++tested;
    EXPECT_NEAR(targets[0] + w[0] * d[0] + w[1] * d[1] + w[2] * d[2], yt[i], 1e-12);
  }
  EXPECT_GT(tested, 10);
  EXPECT_LT(tested, 40);
}

TEST(GaussianMixture, HasItsMoments) {
  const auto data = make_dataset(
      "name: gaussian_mixture, classes: 2, features: 3, separation: 2, spread: 0.5, train: 20000");
  const Examples examples = every(*data, Split::training);
  for (std::int32_t c = 0; c < 2; ++c) {
    double n = 0, sum = 0, squares = 0;
    for (std::size_t i = 0; i < examples.ids.size(); ++i) {
      if (host_read<std::int32_t>(examples.targets)[i] != c) continue;
      const double x = host_read<double>(examples.inputs)[3 * i];
      ++n, sum += x, squares += x * x;
    }
    EXPECT_NEAR(n, 10000, 4 * std::sqrt(5000));
    // The standard deviation of a sample deviation is spread / sqrt(2 n).
    EXPECT_NEAR(std::sqrt(squares / n - sum * sum / n / n), 0.5, 4 * 0.5 / std::sqrt(2 * n));
  }
}

TEST(Teacher, IsAFunctionAndNoisyInTrainingOnly) {
  const std::string deck = "name: teacher, features: 4, hidden: [], outputs: 2, train: 30, test: 30";
  const auto clean = make_dataset(deck), noisy = make_dataset(deck + ", noise: 0.1");
  EXPECT_EQ(clean->target_shape(), Shape{2});
  EXPECT_EQ(clean->classes(), 0);
  EXPECT_NE(every(*clean, Split::training).targets.to_vector(),
            every(*noisy, Split::training).targets.to_vector());
  EXPECT_EQ(every(*clean, Split::test).targets.to_vector(), every(*noisy, Split::test).targets.to_vector());
  // A teacher without hidden layers is linear: the fifth input is a combination of four others, and so is its
  // target.
  const Examples e = every(*clean, Split::test);
  const HostRead<double> x(e.inputs);
  double a[4][5];
  for (int r = 0; r < 4; ++r) {
    for (int c = 0; c < 4; ++c) a[r][c] = x[4 * c + r];
    a[r][4] = x[16 + r];
  }
  for (int p = 0; p < 4; ++p)
    for (int r = 0; r < 4; ++r) {
      if (r == p) continue;
      const double factor = a[r][p] / a[p][p];
      for (int c = p; c < 5; ++c) a[r][c] -= factor * a[p][c];
    }
  double expected = 0;
  for (int p = 0; p < 4; ++p) expected += a[p][4] / a[p][p] * host_read<double>(e.targets)[2 * p];
  EXPECT_NEAR(host_read<double>(e.targets)[8], expected, 1e-9);
  for (const char* activation : {"relu", "tanh", "square"})
    EXPECT_NO_THROW(make_dataset("name: teacher, activation: " + std::string(activation)));
}

TEST(Sine, IsItsFormula) {
  const auto data = make_dataset("name: sine, frequencies: [1, 3], amplitudes: [1, 0.5], low: 2, high: 4");
  const Examples e = every(*data, Split::test);
  for (std::size_t i = 0; i < e.ids.size(); ++i) {
    const double x = host_read<double>(e.inputs)[i];
    EXPECT_GT(x, 2);
    EXPECT_LT(x, 4);
    EXPECT_NEAR(host_read<double>(e.targets)[i],
                std::sin(2 * std::numbers::pi * x) + 0.5 * std::sin(6 * std::numbers::pi * x), 1e-12);
  }
  EXPECT_THAT(refusal("name: sine, frequencies: [1, 2]"),
              HasSubstr("there are 1 amplitudes for 2 frequencies"));
  EXPECT_THAT(refusal("name: sine, low: 2"), HasSubstr("is not above low"));
}

TEST(Parity, IsAParityAndUsesNoPatternTwice) {
  const auto data = make_dataset("name: parity, bits: 7, relevant: 3, train: 64, validation: 32, test: 32");
  std::set<std::vector<double>> patterns;
  // Of all 35 triples of bits, one explains every label.
  std::vector<int> triples;
  for (int t = 0; t < 128; ++t)
    if (__builtin_popcount(static_cast<unsigned>(t)) == 3) triples.push_back(t);
  for (Split split : all_splits) {
    const Examples e = every(*data, split);
    for (std::size_t i = 0; i < e.ids.size(); ++i) {
      const HostRead<double> inputs(e.inputs);
      const double* x = inputs + 7 * i;
      EXPECT_TRUE(patterns.insert(std::vector<double>(x, x + 7)).second);
      std::erase_if(triples, [&](int t) {
        int odd = 0;
        for (int b = 0; b < 7; ++b) odd ^= (t >> b & 1) & (x[b] > 0 ? 1 : 0);
        return odd != host_read<std::int32_t>(e.targets)[i];
      });
    }
  }
  EXPECT_EQ(patterns.size(), 128u);
  EXPECT_EQ(triples.size(), 1u);
  EXPECT_THAT(refusal("name: parity, bits: 7, train: 100, validation: 10, test: 20"),
              HasSubstr("7 bits have 128 patterns"));
  EXPECT_THAT(refusal("name: parity, bits: 2"), HasSubstr("relevant = 3 is more than the 2 bits"));
}

TEST(ModularAddition, CoversAllPairsOnce) {
  for (const char* operation : {"add", "subtract", "multiply"}) {
    const auto data =
        make_dataset("name: modular_addition, modulus: 11, train: 0.4, validation: 0.1, operation: " +
                     std::string(operation));
    EXPECT_EQ(data->size(Split::training), 48);
    EXPECT_EQ(data->size(Split::validation), 12);
    EXPECT_EQ(data->size(Split::test), 61);
    EXPECT_EQ(data->classes(), 11);
    std::set<std::int64_t> seen;
    for (Split split : all_splits) {
      const Examples e = every(*data, split);
      for (std::size_t i = 0; i < e.ids.size(); ++i) {
        const std::int64_t a = host_read<std::int32_t>(e.inputs)[2 * i],
                           b = host_read<std::int32_t>(e.inputs)[2 * i + 1];
        EXPECT_EQ(e.ids[i], 11 * a + b);
        seen.insert(e.ids[i]);
        const std::int64_t result = operation[0] == 'a' ? a + b : operation[0] == 's' ? a - b + 11 : a * b;
        EXPECT_EQ(host_read<std::int32_t>(e.targets)[i], result % 11);
      }
    }
    EXPECT_EQ(seen.size(), 121u);
  }
}

TEST(ModularAddition, CanBeUnorderedOneHotAndNoisy) {
  const auto data = make_dataset(
      "name: modular_addition, modulus: 13, ordered: false, inputs: one_hot, train: 0.5, label_noise: 0.25");
  EXPECT_EQ(data->input_shape(), Shape{26});
  EXPECT_EQ(data->size(Split::training) + data->size(Split::test), 91);
  for (Split split : {Split::training, Split::test}) {
    const Examples e = every(*data, split);
    int wrong = 0;
    for (std::size_t i = 0; i < e.ids.size(); ++i) {
      const std::int64_t a = e.ids[i] / 13, b = e.ids[i] % 13;
      EXPECT_LE(a, b);
      for (int k = 0; k < 26; ++k)
        EXPECT_EQ(host_read<double>(e.inputs)[26 * i + static_cast<std::size_t>(k)],
                  k == a || k == 13 + b ? 1 : 0);
      wrong += host_read<std::int32_t>(e.targets)[i] != (a + b) % 13 ? 1 : 0;
    }
    EXPECT_EQ(wrong, split == Split::training ? 12 : 0);  // a quarter of 46, rounded
  }
  const auto summed = make_dataset(
      "name: modular_addition, modulus: 13, ordered: false, inputs: counts, train: 0.5, label_noise: 0.25");
  ASSERT_EQ(summed->input_shape(), Shape({13}));
  const std::vector<std::int64_t> some{0, 3, 7, 20};
  const std::vector<double> apart = data->examples(Split::training, some, DType::f64).inputs.to_vector(),
                            together = summed->examples(Split::training, some, DType::f64).inputs.to_vector();
  for (std::size_t i = 0; i < together.size(); ++i) {
    const std::size_t at = i / 13 * 26 + i % 13;
    EXPECT_EQ(together[i], apart[at] + apart[at + 13]) << i;
  }
  EXPECT_THAT(refusal("name: modular_addition, train: 0.8, validation: 0.3"),
              HasSubstr("together they are 1 at most"));
  EXPECT_THAT(refusal("name: modular_addition, operation: subtract, ordered: false"),
              HasSubstr("a - b and b - a differ"));
}

TEST(LatencySpikes, FireOnceAtTheTimesOfTheirClass) {
  const auto data = make_dataset(
      "name: latency_spikes, classes: 3, steps: 12, channels: 9, jitter: 0, lost: 0, background: 0, train: "
      "60");
  EXPECT_EQ(data->input_shape(), (Shape{12, 9}));
  const Examples e = every(*data, Split::training);
  std::set<std::vector<double>> trains;
  const std::vector<double> all = e.inputs.to_vector();
  for (std::size_t i = 0; i < e.ids.size(); ++i) {
    const std::vector<double> one(all.begin() + static_cast<std::ptrdiff_t>(108 * i),
                                  all.begin() + static_cast<std::ptrdiff_t>(108 * (i + 1)));
    for (std::size_t c = 0; c < 9; ++c) {
      double spikes = 0;
      for (std::size_t t = 0; t < 12; ++t) spikes += one[9 * t + c];
      EXPECT_EQ(spikes, 1);
    }
    trains.insert(one);
  }
  EXPECT_EQ(trains.size(), 3u);
}

TEST(LatencySpikes, LoseAndGainSpikes) {
  const auto data = make_dataset(
      "name: latency_spikes, steps: 20, channels: 50, jitter: 0, lost: 0.2, background: 0.05, train: 200");
  const Examples e = every(*data, Split::training);
  double spikes = 0;
  for (double v : e.inputs.to_vector()) spikes += v;
  // A place is empty if no background comes and, for one place in 20, its spike is lost.
  const double n = 200.0 * 50 * 20, expected = n * (1 - 0.95 * (1 - 0.8 / 20));
  EXPECT_NEAR(spikes, expected, 4 * std::sqrt(expected));
}

}  // namespace
}  // namespace rankine
