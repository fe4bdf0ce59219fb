#include "src/probe/tangent_kernel.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>

#include "kernels/error.hpp"
#include "src/nn/activations.hpp"
#include "src/nn/layers/activation.hpp"
#include "src/nn/layers/dense.hpp"

namespace rankine {
namespace {

/// The inner products of the rows of x [1, n, width], in double.
Tensor products(const Tensor& x) {
  const Tensor rows = cast(reshape(x.detach(), {x.extent(1), x.extent(2)}), DType::f64);
  return matmul(rows, transpose(rows, 0, 1));
}

}  // namespace

Examples first_examples(const ProbeSetup& setup, Split split, int count) {
  std::vector<std::int64_t> which(static_cast<std::size_t>(count));
  std::iota(which.begin(), which.end(), std::int64_t{0});
  Examples out = setup.data.examples(split, which, setup.network.dtype());
  Shape shape = out.inputs.shape();
  shape.insert(0, 1);
  out.inputs = reshape(out.inputs, shape);
  return out;
}

std::vector<double> tangent_kernel(const ProbeRun& run, const Examples& examples) {
  struct Uses {
    const Dense* layer;
    std::vector<Tensor> inputs, outputs;
  };
  std::map<std::string, Uses> dense;
  const Network& network = run.setup.network;
  for (int b = 0; b < network.size(); ++b)
    if (const auto* layer = dynamic_cast<const Dense*>(&network.block(b));
        layer != nullptr && layer->input().rank() == 1)
      dense[layer->name()] = {layer, {}, {}};
  const WithTape on;
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = examples.ids;
  pass.hooks.emplace_back([&](const std::string& name, const Tensor& input, const Tensor& output) {
    if (const auto found = dense.find(name); found != dense.end()) {
      found->second.inputs.push_back(input);
      found->second.outputs.push_back(output);
    }
    return Tensor();
  });
  const BoundParameters bound = run.parameters.bind(pass.shards);
  const Tensor outputs = run.predict(bound, examples.inputs, pass);
  // A block that is used more than once adds up its gradients first.
  std::erase_if(dense, [](const auto& block) { return block.second.inputs.size() != 1; });

  const std::int64_t n = examples.inputs.extent(1), width = outputs.count() / n;
  std::vector<ParameterInfo> others;
  const ParameterSet fresh = network.initial_parameters(0);  // phases freeze others
  for (const ParameterInfo& part : fresh.parts())
    if (!part.frozen && !dense.contains(part.name.substr(0, part.name.find('.')))) others.push_back(part);
  std::vector<Tensor> inner, of_inputs;
  for (const auto& [name, uses] : dense) {
    inner.push_back(uses.outputs.front());
    const double weight = uses.layer->weight_factor(), bias = uses.layer->bias_factor();
    of_inputs.push_back(add_scalar(scale(products(uses.inputs.front()), weight * weight), bias * bias));
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

std::vector<double> infinite_width_kernel(const Network& network, const Tensor& inputs) {
  const std::int64_t n = inputs.extent(1);
  const std::vector<double> inner = products(inputs).to_vector();
  const auto at = [n](std::int64_t i, std::int64_t j) { return static_cast<std::size_t>(i * n + j); };
  std::vector<double> sigma(inner.size()), theta(inner.size());
  for (int b = 0; b < network.size(); b += 2) {
    const auto* layer = dynamic_cast<const Dense*>(&network.block(b));
    const bool known =
        layer != nullptr && layer->input().rank() == 1 && layer->ntk() &&
        (b == 0 || dynamic_cast<const Activation<Plain<relu>>*>(&network.block(b - 1)) != nullptr);
    if (!known || network.size() % 2 == 0)
      throw InputError(
          "against: infinite_width is known of dense blocks with parametrisation: ntk and relu between them; "
          "give such a model, or leave `against` out");
    const double bias = std::pow(layer->bias_factor(), 2);
    std::vector<double> next(sigma.size());
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        if (b == 0) {
          next[at(i, j)] = inner[at(i, j)] / static_cast<double>(layer->input()[0]) + bias;
          theta[at(i, j)] = next[at(i, j)];
          continue;
        }
        // Means of relu(f) relu(g) and of their derivatives, f and g normal with covariance sigma.
        const double sizes = std::sqrt(sigma[at(i, i)] * sigma[at(j, j)]);
        const double t = std::acos(std::clamp(sigma[at(i, j)] / sizes, -1.0, 1.0)),
                     rest = std::numbers::pi - t;
        next[at(i, j)] = sizes * (std::sin(t) + rest * std::cos(t)) / (2 * std::numbers::pi) + bias;
        theta[at(i, j)] = theta[at(i, j)] * rest / (2 * std::numbers::pi) + next[at(i, j)];
      }
    sigma = next;
  }
  return theta;
}

}  // namespace rankine
