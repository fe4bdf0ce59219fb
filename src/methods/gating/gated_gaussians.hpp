// A mixture of Gaussian experts behind a top-K softmax gate, with one input (Nguyen, Akbarian, Yan and Ho,
// "Statistical perspective of top-K sparse softmax gating mixture of experts", ICLR 2024, eqs. 1 and 2):
//
//   p(y | x) = sum over the K largest b1_i x of softmax_i(b1_i x + b0_i) N(y; a_i x + c_i, s_i)
//
// Its fit by generalised expectation maximisation, and its distance from another one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rankine {

/// One expert with its gate; s is a variance.
struct GatedGaussian {
  double b1 = 0, b0 = 0, a = 0, c = 0, s = 1;
};
using GatedGaussians = std::vector<GatedGaussian>;

/// Weights of the experts at x; those that the gate leaves out have 0. Of equal logits the earlier stays.
void gate_weights(const GatedGaussians& model, int active, double x, std::span<double> weights);

/// log p(y | x), mean over the points.
double mean_log_likelihood(const GatedGaussians& model, int active, std::span<const double> x,
                           std::span<const double> y);

/// One sweep: responsibilities of the active experts; weighted least squares for a and c, the variance s; one
/// Newton step on the gates, for the active sets as they were, with the last expert's b1 and b0 as they are.
/// Experts without weight keep their parameters.
void em_sweep(GatedGaussians& model, int active, std::span<const double> x, std::span<const double> y);

/// sqrt(1/2 integral (sqrt p - sqrt q)^2 dy), mean over x uniform in [-1, 1], by the trapezoidal rule on
/// `points` values of x and on [-reach, reach] for y.
double hellinger_distance(const GatedGaussians& p, int active_p, const GatedGaussians& q, int active_q,
                          int points = 201, double reach = 8);

/// Of each expert of `model` the nearest of `truth` in (b1, a, c, s): its Voronoi cell.
std::vector<int> voronoi_cells(const GatedGaussians& model, const GatedGaussians& truth);

}  // namespace rankine
