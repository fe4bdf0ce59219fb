#include "src/pde/scaled_pde.hpp"

#include "kernels/error.hpp"

namespace rankine {
namespace {

/// values[...][unknown] times or divided by the unknowns' scales.
std::vector<double> multiplied(std::span<const double> values, const std::vector<double>& scales) {
  std::vector<double> out(values.begin(), values.end());
  for (size_t i = 0; i < out.size(); ++i) out[i] *= scales[i % scales.size()];
  return out;
}

void divide(std::span<double> values, const std::vector<double>& scales) {
  for (size_t i = 0; i < values.size(); ++i) values[i] /= scales[i % scales.size()];
}

}  // namespace

ScaledPde::ScaledPde(const Pde& pde, std::vector<double> scales)
    : pde_(pde), scales_(std::move(scales)), fields_(pde.term_fields()) {
  RANKINE_ASSERT(static_cast<int>(scales_.size()) == pde.unknowns(), "one scale for each unknown");
}

std::vector<double> ScaledPde::arguments_of(const kernels::TermPoints& at) const {
  std::vector<double> out(at.arguments.begin(), at.arguments.end());
  const auto rows = at.size > 0 ? out.size() / static_cast<size_t>(at.size) : 0;
  for (size_t row = 0; row < rows; ++row) {
    const double s = scale_of(row);
    for (long i = 0; i < at.size; ++i) out[row * static_cast<size_t>(at.size) + i] *= s;
  }
  return out;
}

void ScaledPde::scale(kernels::TermValues& values, int learned) const {
  const int arguments = values.arguments - learned;
  // By a learned parameter, which has no scale, a derivative is only divided.
  const auto factor = [&](int argument) { return argument < arguments ? scale_of(argument) : 1.0; };
  const auto multiply = [&](double* row, double by) {
    for (long i = 0; i < values.size; ++i) row[i] *= by;
  };
  for (int r = 0; r < values.results; ++r) {
    const double s = scales_[r];
    for (long i = 0; i < values.size; ++i) values.at(r)[i] /= s;
    for (int a = 0; a < values.arguments && values.order >= 1; ++a) {
      multiply(values.by(r, a), factor(a) / s);
      for (int b = 0; b < values.arguments && values.order >= 2; ++b)
        multiply(values.by(r, a, b), factor(a) * factor(b) / s);
    }
  }
}

void ScaledPde::storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  const std::vector<double> arguments = arguments_of(at);
  pde_.storage({at.size, arguments, at.x, at.t, at.parameters, at.learned}, order, out);
  scale(out, static_cast<int>(at.learned.size()));
}

void ScaledPde::flux(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  const std::vector<double> arguments = arguments_of(at);
  pde_.flux(axis, {at.size, arguments, at.x, at.t, at.parameters, at.learned}, order, out);
  scale(out, static_cast<int>(at.learned.size()));
}

void ScaledPde::source(const kernels::TermPoints& at, int order, kernels::TermValues& out) const {
  const std::vector<double> arguments = arguments_of(at);
  pde_.source({at.size, arguments, at.x, at.t, at.parameters, at.learned}, order, out);
  scale(out, static_cast<int>(at.learned.size()));
}

std::vector<double> ScaledPde::auxiliary_factors(std::span<const double> parameters) const {
  return multiplied(pde_.auxiliary_factors(parameters), scales_);
}

std::string ScaledPde::explain(const std::string& term, const kernels::TermPoints& at, long point) const {
  const std::vector<double> arguments = arguments_of(at);
  return pde_.explain(term, {at.size, arguments, at.x, at.t, at.parameters, at.learned}, point);
}

WallCondition ScaledPde::wall(const Face& face, int unknown, const Place& at, double t,
                              std::span<const double> parameters, std::span<const int> learned) const {
  WallCondition out = pde_.wall(face, unknown, at, t, parameters, learned);
  out.target /= scales_[unknown];
  for (double& by : out.target_by) by /= scales_[unknown];
  return out;
}

void ScaledPde::initial_state(std::span<const double> numbers, std::span<const double> parameters,
                              std::span<const double> x, std::span<double> out) const {
  pde_.initial_state(numbers, parameters, x, out);
  divide(out, scales_);
}

void ScaledPde::exact(double t, std::span<const double> parameters, std::span<const double> x,
                      std::span<double> out) const {
  pde_.exact(t, parameters, x, out);
  divide(out, scales_);
}

std::vector<double> ScaledPde::reference_to(double rtol, std::span<const double> initial,
                                            const SchemeParameters& parameters, const Grid& grid,
                                            std::span<const double> times) const {
  std::vector<double> out = pde_.reference_to(rtol, multiplied(initial, scales_), parameters, grid, times);
  divide(out, scales_);
  return out;
}

void ScaledPde::pointwise(std::span<const PointTerms> at, std::span<PointwiseResidual> out) const {
  // One unknown: f(s u, s u_t, s u_xx) / s.
  const double s = scales_.front();
  std::vector<PointTerms> terms(at.begin(), at.end());
  for (PointTerms& point : terms)
    for (double& value : point) value *= s;
  pde_.collocated()->pointwise(terms, out);
  for (PointwiseResidual& f : out) {
    f.value /= s;
    for (auto& row : f.hessian)
      for (double& value : row) value *= s;
  }
}

WallRow ScaledPde::left_wall() const {
  const WallRow row = pde_.collocated()->left_wall();
  return {row.value_factor, row.slope_factor, row.target / scales_.front()};
}

WallRow ScaledPde::right_wall() const {
  const WallRow row = pde_.collocated()->right_wall();
  return {row.value_factor, row.slope_factor, row.target / scales_.front()};
}

std::pair<double, double> ScaledPde::bounds(double least, double greatest) const {
  const double s = scales_.front();
  const auto [low, high] = pde_.collocated()->bounds(least * s, greatest * s);
  return {low / s, high / s};
}

}  // namespace rankine
