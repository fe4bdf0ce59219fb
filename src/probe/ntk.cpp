#include "src/probe/ntk.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "kernels/lapack.hpp"
#include "src/nn/layers/dense.hpp"
#include "src/probe/moments.hpp"

namespace rankine {
namespace {

/// The inner products of the rows of x [1, n, width], in double.
Tensor products(const Tensor& x) {
  const Tensor rows = cast(reshape(x.detach(), {x.extent(1), x.extent(2)}), DType::f64);
  return matmul(rows, transpose(rows, 0, 1));
}

double norm(const std::vector<double>& x) {
  return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
}

}  // namespace

std::vector<double> tangent_kernel(const ProbeRun& run, const Examples& examples) {
  struct Use {
    Tensor input, output;
  };
  std::map<std::string, std::vector<Use>> dense;
  const Network& network = run.setup.network;
  for (int b = 0; b < network.size(); ++b)
    if (dynamic_cast<const Dense*>(&network.block(b)) != nullptr && network.block(b).input().rank() == 1)
      dense[network.block(b).name()] = {};
  const WithTape on;
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = examples.ids;
  pass.hooks.emplace_back([&](const std::string& name, const Tensor& input, const Tensor& output) {
    if (const auto found = dense.find(name); found != dense.end()) found->second.push_back({input, output});
    return Tensor();
  });
  const BoundParameters bound = run.parameters.bind(pass.shards);
  const Tensor outputs = run.predict(bound, examples.inputs, pass);
  // A block that is used more than once adds up its gradients first.
  std::erase_if(dense, [](const auto& block) { return block.second.size() != 1; });

  const std::int64_t n = examples.inputs.extent(1), width = outputs.count() / n;
  std::vector<ParameterInfo> others;
  const ParameterSet fresh = network.initial_parameters(0);  // phases freeze others
  for (const ParameterInfo& part : fresh.parts())
    if (!part.frozen && !dense.contains(part.name.substr(0, part.name.find('.')))) others.push_back(part);
  std::vector<Tensor> inner, of_inputs;
  for (const auto& [name, uses] : dense) {
    inner.push_back(uses.front().output);
    const Tensor a = products(uses.front().input);
    of_inputs.push_back(run.parameters.contains(name + ".bias") ? add_scalar(a, 1) : a);
  }
  const auto seed = [&](std::int64_t k, std::int64_t first, std::int64_t last) {
    std::vector<double> values(static_cast<std::size_t>(n * width));
    for (std::int64_t i = first; i < last; ++i) values[static_cast<std::size_t>(i * width + k)] = 1;
    return cast(Tensor::from(values, outputs.shape()), outputs.dtype());
  };
  std::vector<double> kernel(static_cast<std::size_t>(n * n));
  const auto add_to_kernel = [&](const Tensor& part) {
    const std::vector<double> values = part.to_vector();
    for (std::size_t i = 0; i < kernel.size(); ++i) kernel[i] += values[i] / static_cast<double>(width);
  };
  for (std::int64_t k = 0; k < width; ++k) {
    if (!inner.empty()) {
      const std::vector<Tensor> gradients = grad({outputs}, {seed(k, 0, n)}, inner, {.retain = true});
      for (std::size_t l = 0; l < inner.size(); ++l) add_to_kernel(mul(of_inputs[l], products(gradients[l])));
    }
    if (others.empty()) continue;
    std::vector<Tensor> rows;
    for (std::int64_t i = 0; i < n; ++i) {
      const Tensor gradient = grad({outputs}, {seed(k, i, i + 1)}, {bound.flat()}, {.retain = true}).front();
      std::vector<Tensor> parts;
      for (const ParameterInfo& part : others)
        parts.push_back(slice(gradient, 0, part.offset, part.offset + part.shape.count()));
      rows.push_back(reshape(concat(parts, 0), {1, 1, -1}));
    }
    add_to_kernel(products(concat(rows, 1)));
  }
  return kernel;
}

void NeuralTangentKernel::Options::options(OptionVisitor& o) {
  o("every", every, {.help = moments_help});
  o("on", on, {.help = "split whose first examples are taken", .choices = {"training", "validation"}});
  o("examples", examples, {.help = "number of examples", .min = 1, .max = 4096});
}

void NeuralTangentKernel::Options::validate(const DeckNode& node) const { check_moments(every, node); }

void NeuralTangentKernel::check(const ProbeSetup& setup) const {
  const std::int64_t all = setup.data.size(split_of(options_.on));
  if (all < options_.examples)
    throw InputError(fmt::format("examples: {} are more than the {} {} examples; ask for fewer",
                                 options_.examples, all, options_.on));
}

std::vector<MetricInfo> NeuralTangentKernel::metrics() const {
  return {{"ntk_drift", "1", "change of the tangent kernel since the first measurement over its norm", false,
           true},
          {"ntk_smallest_eigenvalue", "1", "of the tangent kernel, last measurement", false, true}};
}

std::vector<double> NeuralTangentKernel::measured() const {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  return {drift_.empty() ? nan : drift_.back(), smallest_.empty() ? nan : smallest_.back()};
}

std::vector<std::int64_t> NeuralTangentKernel::steps(std::int64_t total) const {
  return moments(options_.every, total);
}

void NeuralTangentKernel::begin(const ProbeRun&, StateRegistry& state, const std::string& prefix) {
  state.add(prefix + "/first", StateKind::replicated, first_);
  state.add(prefix + "/drift", StateKind::replicated, drift_);
  state.add(prefix + "/smallest", StateKind::replicated, smallest_);
}

void NeuralTangentKernel::measure(const ProbeRun& run, std::int64_t done) {
  std::vector<std::int64_t> which(static_cast<std::size_t>(options_.examples));
  std::iota(which.begin(), which.end(), std::int64_t{0});
  const Split split = split_of(options_.on);
  Examples examples = run.setup.data.examples(split, which, run.setup.network.dtype());
  Shape shape = examples.inputs.shape();
  shape.insert(0, 1);
  examples.inputs = reshape(examples.inputs, shape);
  std::vector<double> kernel = tangent_kernel(run, examples);
  if (first_.empty()) first_ = kernel;
  std::vector<double> change(kernel.size());
  std::transform(kernel.begin(), kernel.end(), first_.begin(), change.begin(), std::minus<>());
  drift_.push_back(norm(change) / norm(first_));
  TableWriter table = run.results.table("ntk");
  table.row(done, "norm", norm(kernel));
  table.row(done, "drift", drift_.back());
  std::vector<double> eigenvalues = lapack::symmetric_eigenvalues(kernel, options_.examples);
  std::reverse(eigenvalues.begin(), eigenvalues.end());
  smallest_.push_back(eigenvalues.empty() ? std::numeric_limits<double>::quiet_NaN() : eigenvalues.back());
  if (!eigenvalues.empty())
    run.results.table("ntk_spectrum", {"component"}).row(done, "eigenvalue", eigenvalues);
}

}  // namespace rankine
