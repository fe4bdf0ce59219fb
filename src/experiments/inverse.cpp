#include "src/experiments/inverse.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/error.hpp"
#include "kernels/lapack.hpp"
#include "src/core/strings.hpp"

namespace rankine {
namespace {

std::string part_name(const std::string& name) { return "pde." + name; }

/// J^T J of [parameter][row].
std::vector<double> information(std::span<const double> jacobian, int parameters) {
  const size_t rows = jacobian.size() / parameters;
  std::vector<double> out;
  for (int k = 0; k < parameters; ++k)
    for (int l = 0; l < parameters; ++l)
      out.push_back(std::inner_product(jacobian.begin() + static_cast<long>(k * rows),
                                       jacobian.begin() + static_cast<long>((k + 1) * rows),
                                       jacobian.begin() + static_cast<long>(l * rows), 0.0));
  return out;
}

}  // namespace

void LearnOptions::options(OptionVisitor& o) {
  o("initial", initial, {.help = "value that training starts from", .required = true});
  o("rate_factor", rate_factor,
    {.help = "the logarithm of the value moves by this times the optimiser's step",
     .min = 0,
     .exclusive_min = true});
}

void LearnOptions::validate(const DeckNode& node) const {
  if (initial == 0)
    node.error_at("initial",
                  "initial: 0 cannot grow: the value learned is initial * exp(...); start from a "
                  "value of the right sign and size");
}

void LearnedParameters::read(const DeckNode& section, const Pde& pde) {
  const std::vector<PdeParameter> all = pde.parameters();
  std::vector<std::string> known;
  for (const PdeParameter& p : all) known.push_back(p.name);
  for (const std::string& name : section.keys()) {
    const auto at = std::find(known.begin(), known.end(), name) - known.begin();
    if (at == static_cast<long>(known.size())) {
      const std::string hint = did_you_mean(name, known);
      section.error_at(name, "'" + printable(name) + "' is no parameter of this PDE" +
                                 (hint.empty() ? ";" : hint) +
                                 " (parameters: " + (known.empty() ? "none" : join(known)) + ")");
    }
    if (all[at].sampled)
      section.error_at(name, "'" + name +
                                 "' is sampled: it has another value in every sample; only a parameter with "
                                 "one value can be learned, so fix it in pde");
    LearnOptions options;
    section.child(name).read(options);
    names_.push_back(name);
    indices_.push_back(static_cast<int>(at));
    truth_.push_back(all[at].value);
    options_.push_back(options);
  }
}

void LearnedParameters::add_to(ParameterSet& parameters) const {
  for (const std::string& name : names_)
    parameters.add({.name = part_name(name), .shape = {1}, .group = "pde", .on_tiles = false});
}

Tensor LearnedParameters::values(const BoundParameters& bound) const {
  if (empty()) return {};
  std::vector<Tensor> out;
  for (int l = 0; l < size(); ++l)
    out.push_back(scale(exp(scale(cast(bound[part_name(names_[l])], DType::f64), options_[l].rate_factor)),
                        options_[l].initial));
  return contiguous(concat(out, 0));
}

std::vector<double> LearnedParameters::values(const ParameterSet& parameters) const {
  std::vector<double> out;
  for (int l = 0; l < size(); ++l)
    out.push_back(options_[l].initial * std::exp(options_[l].rate_factor *
                                                 parameters.view(part_name(names_[l])).to_vector().front()));
  return out;
}

void LearnedParameters::assign(std::span<const double> values, ParameterSet& parameters) const {
  for (int l = 0; l < size(); ++l) {
    const double theta = std::log(values[l] / options_[l].initial) / options_[l].rate_factor;
    const NoGrad off;
    parameters.view(part_name(names_[l]))
        .assign(cast(Tensor::full({1}, DType::f64, theta), parameters.dtype()));
  }
}

SchemeParameters LearnedParameters::insert(std::vector<double> all, std::span<const double> values) const {
  for (int l = 0; l < size(); ++l) all[indices_[l]] = values[l];
  return {std::move(all), indices_};
}

std::vector<double> observation_sensitivities(const StorageProblem& problem, const std::vector<double>& u,
                                              const ObservationRows& rows) {
  const SchemeParameters& parameters = problem.scheme().space().parameters();
  SchemePoint point(problem.scheme(), u, 1);
  std::vector<double> by_parameter = point.parameter_gradient(), out;
  const auto march = make_direct_march(point.linearisation());
  for (size_t l = 0; l < parameters.learned.size(); ++l) {
    const std::span<double> s = std::span(by_parameter).subspan(l * problem.points(), problem.points());
    for (double& x : s) x *= -parameters.values[parameters.learned[l]];
    march->apply(s, s);
    const std::vector<double> one = rows.along(s);
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

std::vector<double> cramer_rao_bound(const StorageProblem& problem, const ObservationRows& rows) {
  const int n = problem.scheme().learned();
  const std::vector<double> matrix =
      information(observation_sensitivities(problem, problem.solve_exactly(), rows), n);
  std::vector<double> out(n, std::numeric_limits<double>::quiet_NaN());
  for (int l = 0; l < n; ++l) {
    std::vector<double> a(matrix), unit(n, 0.0);
    unit[l] = 1;
    if (lapack::solve_spd(a, n, unit)) out[l] = std::sqrt(unit[l]);
  }
  return out;
}

std::vector<double> refine_parameters(const StorageModel& model, const ObservedSample& sample,
                                      const LearnedParameters& learned, const ObservationRows& rows,
                                      int steps, std::vector<double> values, std::vector<double>& u,
                                      const std::function<void()>& between) {
  constexpr double largest = 0.6931471805599453;  // log 2
  const int n = learned.size();
  for (int step = 0; step <= steps; ++step) {
    if (between) between();
    const StorageProblem problem = model.sample(sample.initial, learned.insert(sample.parameters, values));
    std::copy(sample.initial.begin(), sample.initial.end(), u.begin());
    const CorrectionReport report = problem.correct(u, {.steps = 20, .rtol = 1e-10, .state = "prediction"});
    if (report.status == CorrectionStatus::diverged) u = problem.solve_exactly();
    if (step == steps) break;
    const std::vector<double> jacobian = observation_sensitivities(problem, u, rows), misfit = rows.misfit(u);
    std::vector<double> matrix = information(jacobian, n), move;
    for (int l = 0; l < n; ++l)
      move.push_back(-std::inner_product(misfit.begin(), misfit.end(),
                                         jacobian.begin() + static_cast<long>(l * misfit.size()), 0.0));
    if (!lapack::solve_spd(matrix, n, move)) return values;
    for (int l = 0; l < n; ++l) values[l] *= std::exp(std::clamp(move[l], -largest, largest));
  }
  return values;
}

}  // namespace rankine
