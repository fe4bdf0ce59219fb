#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/core/random.hpp"
#include "src/methods/gating/gated_gaussians.hpp"

namespace rankine {
namespace {

const GatedGaussians truth{{4, 0.5, -2, 1.5, 0.3}, {0, 0, 2, -0.5, 0.4}};

struct Draws {
  std::vector<double> x, y;
};

Draws draws(int count) {
  const RandomStream stream(7, "draws");
  Draws out;
  for (int n = 0; n < count; ++n) {
    const double x = stream.uniform(-1, 1, 0, 0, n), first = 1 / (1 + std::exp(-4 * x - 0.5));
    const GatedGaussian& e = truth[stream.uniform(1, 0, n) < first ? 0 : 1];
    out.x.push_back(x);
    out.y.push_back(e.a * x + e.c + std::sqrt(e.s) * stream.normal(0, 0, n));
  }
  return out;
}

TEST(GatedGaussians, TheGateKeepsTheLargestSlopes) {
  const GatedGaussians model{{1, 0, 0, 0, 1}, {3, 0.2, 0, 0, 1}, {2, 0, 0, 0, 1}};
  std::vector<double> w(3);
  gate_weights(model, 2, 0.5, w);
  EXPECT_EQ(w[0], 0);
  EXPECT_NEAR(w[1], 1 / (1 + std::exp(1.0 - 1.7)), 1e-15);
  EXPECT_NEAR(w[1] + w[2], 1, 1e-15);
  gate_weights(model, 2, -0.5, w);  // the order turns with the sign of x
  EXPECT_EQ(w[1], 0);
  EXPECT_GT(w[0], w[2]);
  gate_weights(model, 1, 0, w);  // of equals the first
  EXPECT_EQ(w[0], 1);
}

TEST(GatedGaussians, SweepsClimbToAStationaryPoint) {
  const Draws d = draws(2000);
  GatedGaussians model = truth;
  model[0].a += 0.3;
  model[1].s *= 2;
  model[0].b1 -= 1;
  double before = mean_log_likelihood(model, 2, d.x, d.y);
  for (int sweep = 0; sweep < 200; ++sweep) {
    em_sweep(model, 2, d.x, d.y);
    const double now = mean_log_likelihood(model, 2, d.x, d.y);
    EXPECT_GE(now, before - 1e-12) << sweep;
    before = now;
  }
  EXPECT_GT(before, mean_log_likelihood(truth, 2, d.x, d.y));
  // Central differences of the likelihood, which the fit knows nothing of, vanish.
  const auto slope = [&](double GatedGaussian::*what, int expert) {
    const double h = 1e-5;
    GatedGaussians up = model, down = model;
    up[static_cast<std::size_t>(expert)].*what += h;
    down[static_cast<std::size_t>(expert)].*what -= h;
    return (mean_log_likelihood(up, 2, d.x, d.y) - mean_log_likelihood(down, 2, d.x, d.y)) / (2 * h);
  };
  for (const int expert : {0, 1}) {
    EXPECT_NEAR(slope(&GatedGaussian::a, expert), 0, 1e-6);
    EXPECT_NEAR(slope(&GatedGaussian::c, expert), 0, 1e-6);
    EXPECT_NEAR(slope(&GatedGaussian::s, expert), 0, 1e-6);
  }
  EXPECT_NEAR(slope(&GatedGaussian::b1, 0), 0, 1e-6);
  EXPECT_NEAR(slope(&GatedGaussian::b0, 0), 0, 1e-6);
}

TEST(GatedGaussians, HellingerDistanceOfTwoNormals) {
  // 1 - sqrt(2 s t / (s^2 + t^2)) exp(-d^2 / (4 (s^2 + t^2))), s and t the deviations.
  const GatedGaussians p{{0, 0, 0, 0.3, 0.25}}, q{{0, 0, 0, -0.4, 1}};
  const double s = 0.5, t = 1, d = 0.7, sum = s * s + t * t;
  const double exact = std::sqrt(1 - std::sqrt(2 * s * t / sum) * std::exp(-d * d / (4 * sum)));
  EXPECT_NEAR(hellinger_distance(p, 1, q, 1), exact, 1e-9);
  EXPECT_EQ(hellinger_distance(p, 1, p, 1), 0);
  // Two experts in one place are one.
  const GatedGaussians twice{{1, 0.3, 0, 0.3, 0.25}, {1, -2, 0, 0.3, 0.25}};
  EXPECT_NEAR(hellinger_distance(twice, 2, p, 1), 0, 1e-8);
}

TEST(GatedGaussians, CellsAreThoseOfTheNearest) {
  const GatedGaussians model{{3, 9, -1.5, 1, 0.3}, {0.5, -9, 1.5, 0, 0.3}, {4, 0, -2, 2, 1}};
  EXPECT_THAT(voronoi_cells(model, truth), testing::ElementsAre(0, 1, 0));
}

}  // namespace
}  // namespace rankine
