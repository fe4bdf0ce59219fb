#include "src/probe/curvature.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "kernels/lapack.hpp"
#include "src/probe/block_gradient.hpp"
#include "src/probe/moments.hpp"

namespace rankine {
namespace {

using Vector = std::vector<double>;

double inner(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// 1 for the numbers that training changes, else 0.
Vector trained(const ProbeRun& run) {
  Vector out(static_cast<std::size_t>(run.parameters.count()), 0.0);
  const ParameterSet fresh = run.setup.network.initial_parameters(0);  // phases freeze others
  for (const ParameterInfo& part : fresh.parts()) {
    if (part.frozen) continue;
    const Tensor mask = run.parameters.part(part.name).mask;
    const Vector kept =
        mask.defined() ? mask.to_vector() : Vector(static_cast<std::size_t>(part.shape.count()), 1.0);
    std::copy(kept.begin(), kept.end(), out.begin() + static_cast<std::ptrdiff_t>(part.offset));
  }
  return out;
}

/// Smallest and largest eigenvalue of a symmetric matrix of order `size` in the space that `start` spans with
/// its products, of at most `most` dimensions.
std::pair<double, double> extreme_eigenvalues(const std::function<Vector(const Vector&)>& times, Vector start,
                                              double size, int most) {
  std::vector<Vector> basis;
  Vector diagonal, beside;
  double norm = std::sqrt(inner(start, start)), largest = 0;
  for (int k = 0; k < most && static_cast<double>(k) < size; ++k) {
    for (double& x : start) x /= norm;
    basis.push_back(start);
    Vector next = times(start);
    diagonal.push_back(inner(start, next));
    for (int twice = 0; twice < 2; ++twice)  // once leaves rounding errors that grow
      for (const Vector& v : basis) {
        const double along = inner(v, next);
        for (std::size_t i = 0; i < next.size(); ++i) next[i] -= along * v[i];
      }
    norm = std::sqrt(inner(next, next));
    largest = std::max({largest, norm, std::abs(diagonal.back())});
    if (!(norm > 1e-12 * largest)) break;  // the space is invariant
    beside.push_back(norm);
    start = std::move(next);
  }
  const std::size_t n = diagonal.size();
  Vector matrix(n * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    matrix[i * n + i] = diagonal[i];
    if (i + 1 < n) matrix[i * n + i + 1] = matrix[(i + 1) * n + i] = beside[i];
  }
  const Vector found = lapack::symmetric_eigenvalues(matrix, static_cast<int>(n));
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  return found.empty() ? std::pair(nan, nan) : std::pair(found.front(), found.back());
}

}  // namespace

void Curvature::Options::options(OptionVisitor& o) {
  o("every", every, {.help = moments_help});
  o("on", on, {.help = "split whose first examples are taken", .choices = {"training", "validation"}});
  o("examples", examples, {.help = "number of examples (all, where there are fewer)", .min = 1});
  o("iterations", iterations, {.help = "products with the Hessian for its eigenvalues", .min = 1});
  o("draws", draws, {.help = "products with it for its trace", .min = 1});
}

void Curvature::Options::validate(const DeckNode& node) const { check_moments(every, node); }

std::vector<MetricInfo> Curvature::metrics() const {
  return {
      {"curvature_largest", "1", "largest eigenvalue of the loss's Hessian, last measurement", false, true},
      {"curvature_smallest", "1", "smallest eigenvalue of it", false, true},
      {"curvature_trace", "1", "estimate of its trace", false, true}};
}

std::vector<double> Curvature::measured() const {
  const auto last = [](const Vector& values) {
    return values.empty() ? std::numeric_limits<double>::quiet_NaN() : values.back();
  };
  return {last(largest_), last(smallest_), last(trace_)};
}

std::vector<std::int64_t> Curvature::steps(std::int64_t total) const {
  return moments(options_.every, total);
}

void Curvature::begin(const ProbeRun&, StateRegistry& state, const std::string& prefix) {
  state.add(prefix + "/largest", StateKind::replicated, largest_);
  state.add(prefix + "/smallest", StateKind::replicated, smallest_);
  state.add(prefix + "/trace", StateKind::replicated, trace_);
}

void Curvature::measure(const ProbeRun& run, std::int64_t done) {
  const Vector live = trained(run);
  const auto times = [&](const Vector& v) {
    Vector out = mean_gradient(run, split_of(options_.on), options_.examples, v);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] *= live[i];
    return out;
  };
  const RandomStream stream(0, "probe/curvature");
  Vector start(live.size());
  stream.fill_normal(std::span(start), 0, 0);
  for (std::size_t i = 0; i < start.size(); ++i) start[i] *= live[i];
  const auto [smallest, largest] =
      extreme_eigenvalues(times, start, std::accumulate(live.begin(), live.end(), 0.0), options_.iterations);
  double trace = 0;
  for (int draw = 0; draw < options_.draws; ++draw) {
    Vector z = live;
    for (std::size_t i = 0; i < z.size(); ++i)
      if (stream.integer(2, 0, draw, static_cast<std::int64_t>(i)) == 0) z[i] = -z[i];
    trace += inner(z, times(z)) / options_.draws;
  }
  largest_.push_back(largest);
  smallest_.push_back(smallest);
  trace_.push_back(trace);
  TableWriter table = run.results.table("curvature");
  table.row(done, "largest", largest);
  table.row(done, "smallest", smallest);
  table.row(done, "trace", trace);
}

}  // namespace rankine
