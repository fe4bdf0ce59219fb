#include "src/probe/ntk.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "kernels/lapack.hpp"
#include "src/core/statistics.hpp"
#include "src/probe/moments.hpp"
#include "src/probe/tangent_kernel.hpp"

namespace rankine {
namespace {

std::vector<double> minus(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out(a.size());
  std::transform(a.begin(), a.end(), b.begin(), out.begin(), std::minus<>());
  return out;
}

}  // namespace

void NeuralTangentKernel::Options::options(OptionVisitor& o) {
  o("every", every, {.help = moments_help});
  o("on", on, {.help = "split whose first examples are taken", .choices = {"training", "validation"}});
  o("examples", examples, {.help = "number of examples", .min = 1, .max = 4096});
  o("against", against,
    {.help =
         "what it is compared with: nothing, or the limit of infinite width, which is known of dense blocks "
         "with parametrisation: ntk and relu between them",
     .choices = {"none", "infinite_width"}});
  o("learning_rate", learning_rate,
    {.help =
         "that of plain gradient descent on the mean squared error of just these examples, whose outputs the "
         "linear model then predicts (0: no prediction)",
     .min = 0});
}

void NeuralTangentKernel::Options::validate(const DeckNode& node) const { check_moments(every, node); }

void NeuralTangentKernel::check(const ProbeSetup& setup) const {
  const std::int64_t all = setup.data.size(split_of(options_.on));
  if (all < options_.examples)
    throw InputError(fmt::format("examples: {} are more than the {} {} examples; ask for fewer",
                                 options_.examples, all, options_.on));
  if (options_.against != "none")
    infinite_width_kernel(setup.network, first_examples(setup, split_of(options_.on), 1).inputs);
  if (options_.learning_rate > 0 && (setup.data.classes() > 0 || setup.network.output().count() != 1))
    throw InputError("learning_rate: the linear model predicts networks with one real output; leave it out");
}

std::vector<MetricInfo> NeuralTangentKernel::metrics() const {
  std::vector<MetricInfo> out{
      {"ntk_drift", "1", "change of the tangent kernel since the first measurement over its norm", false,
       true},
      {"ntk_smallest_eigenvalue", "1", "of the tangent kernel, last measurement", false, true}};
  if (options_.against != "none")
    out.push_back({"ntk_error", "1", "distance of the first tangent kernel from its limit, relative"});
  if (options_.learning_rate > 0)
    out.push_back(
        {"ntk_prediction_error", "1", "distance of the outputs from those of the linear model, relative"});
  return out;
}

std::vector<double> NeuralTangentKernel::measured() const {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto last = [](const std::vector<double>& values) { return values.empty() ? nan : values.back(); };
  std::vector<double> out{last(drift_), last(smallest_)};
  if (options_.against != "none") out.push_back(error_.empty() ? nan : error_.front());
  if (options_.learning_rate > 0) out.push_back(last(misses_));
  return out;
}

std::vector<std::int64_t> NeuralTangentKernel::steps(std::int64_t total) const {
  return moments(options_.every, total);
}

void NeuralTangentKernel::begin(const ProbeRun&, StateRegistry& state, const std::string& prefix) {
  state.add(prefix + "/first", StateKind::replicated, first_);
  state.add(prefix + "/drift", StateKind::replicated, drift_);
  state.add(prefix + "/smallest", StateKind::replicated, smallest_);
  state.add(prefix + "/error", StateKind::replicated, error_);
  state.add(prefix + "/misses", StateKind::replicated, misses_);
  state.add(prefix + "/outputs", StateKind::replicated, outputs_);
  state.add(prefix + "/begin", StateKind::replicated, begin_);
}

double NeuralTangentKernel::miss(const ProbeRun& run, const Examples& examples,
                                 const std::vector<double>& kernel, std::int64_t done) {
  const NoGrad off;
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = examples.ids;
  const std::vector<double> y = examples.targets.to_vector(),
                            f = run.predict(run.parameters.bind(pass.shards), examples.inputs, pass)
                                    .to_vector();
  if (outputs_.empty()) {
    outputs_ = f;
    begin_ = done;
  }
  std::vector<double> rest = minus(outputs_, y);
  const std::size_t n = y.size();
  for (std::int64_t step = begin_; step < done; ++step) {
    std::vector<double> next = rest;
    for (std::size_t i = 0; i < n; ++i)
      next[i] -= 2 * options_.learning_rate / static_cast<double>(n) *
                 std::inner_product(rest.begin(), rest.end(),
                                    kernel.begin() + static_cast<std::ptrdiff_t>(i * n), 0.0);
    rest = std::move(next);
  }
  return norm(minus(minus(f, y), rest)) / norm(y);
}

void NeuralTangentKernel::measure(const ProbeRun& run, std::int64_t done) {
  const Examples examples = first_examples(run.setup, split_of(options_.on), options_.examples);
  std::vector<double> kernel = tangent_kernel(run, examples);
  if (first_.empty()) first_ = kernel;
  drift_.push_back(distance(kernel, first_) / norm(first_));
  TableWriter table = run.results.table("ntk");
  table.row(done, "norm", norm(kernel));
  table.row(done, "drift", drift_.back());
  const std::vector<double> limit = options_.against == "none"
                                        ? std::vector<double>()
                                        : infinite_width_kernel(run.setup.network, examples.inputs);
  if (!limit.empty()) {
    error_.push_back(distance(kernel, limit) / norm(limit));
    table.row(done, "error", error_.back());
  }
  if (options_.learning_rate > 0) {
    misses_.push_back(miss(run, examples, limit.empty() ? first_ : limit, done));
    table.row(done, "prediction_error", misses_.back());
  }
  std::vector<double> eigenvalues = lapack::symmetric_eigenvalues(kernel, options_.examples);
  std::reverse(eigenvalues.begin(), eigenvalues.end());
  smallest_.push_back(eigenvalues.empty() ? std::numeric_limits<double>::quiet_NaN() : eigenvalues.back());
  if (!eigenvalues.empty())
    run.results.table("ntk_spectrum", {"component"}).row(done, "eigenvalue", eigenvalues);
}

}  // namespace rankine
