#include "src/nn/gate.hpp"

#include <numeric>

#include "kernels/row_ops.hpp"
#include "src/nn/affine.hpp"
#include "src/nn/initialisation.hpp"
#include "src/nn/softmax.hpp"
#include "src/tensor/elementary.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

constexpr double far_below = 1e30;

void check_active(const char* gate, int k, std::int64_t experts) {
  if (k > experts)
    throw InputError(std::string(gate) + ": k = " + std::to_string(k) + " is more than the " +
                     std::to_string(experts) + " experts; make it smaller");
}

}  // namespace

Tensor weighted_softmax(const Tensor& z, const Tensor& p) {
  const int last = z.rank() - 1;
  Tensor top;
  {
    const NoGrad off;
    top = max(add(z, scale(add_scalar(sign(p), -1), far_below)), last, true);
  }
  // Entries without weight may lie above the largest one with weight: they are held where exp is finite.
  const Tensor w = mul(p, exp(minimum(sub(z, top), 1)));
  return div(w, sum(w, {last}, true));
}

Tensor largest(const Tensor& z, std::int64_t k) {
  const NoGrad off;
  const Tensor rest = z.detach().clone(), chosen = Tensor::zeros(z.shape(), z.dtype());
  const std::int64_t n = z.extent(-1), rows = z.count() / n;
  for (std::int64_t i = 0; i < k; ++i) {
    const Tensor at = dense(cast(argmax(rest, z.rank() - 1), DType::i32));
    dispatch_real(z.dtype(), "largest", [&](auto zero) {
      using T = decltype(zero);
      kernels::add_at_labels<T>(rows, n, at.data<std::int32_t>(), 1, chosen.data<T>());
      kernels::add_at_labels<T>(rows, n, at.data<std::int32_t>(), -far_below, rest.data<T>());
    });
  }
  return chosen;
}

Tensor mean_entropy(const Tensor& p) {
  std::vector<int> axes(static_cast<std::size_t>(p.rank() - 2));
  std::iota(axes.begin(), axes.end(), 2);
  return neg(mean(sum(mul(p, log(add_scalar(p, 1e-6))), axes), {1}));
}

void penalise(Pass& pass, double weight, const Tensor& term) {
  if (pass.side == nullptr || weight == 0) return;
  Tensor& total = pass.side->penalty;
  total = total.defined() ? add(total, scale(term, weight)) : scale(term, weight);
}

void SoftmaxGate::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  const auto fan_in = static_cast<double>(inputs()), fan_out = static_cast<double>(experts());
  add_parameter(parameters, {.name = name() + ".weight", .shape = {experts(), inputs()}},
                Initialisation::uniform, fan_in, fan_out, seed);
  add_parameter(parameters, {.name = name() + ".bias", .shape = {experts()}, .group = "bias"},
                Initialisation::uniform, fan_in, fan_out, seed);
}

Tensor SoftmaxGate::logits(const BoundParameters& parameters, const Tensor& x) const {
  return affine(x, parameters[name() + ".weight"], parameters[name() + ".bias"]);
}

Tensor SoftmaxGate::weights(const BoundParameters& parameters, const Tensor& x, Pass&) const {
  return softmax(logits(parameters, x));
}

void TopKGate::Options::options(OptionVisitor& o) {
  o("k", k, {.help = "experts that a sample uses", .min = 1});
}

TopKGate::TopKGate(const Options& options, const GateContext& context)
    : SoftmaxGate({}, context), options_(options) {
  check_active("top_k", options.k, context.experts);
}

Tensor TopKGate::weights(const BoundParameters& parameters, const Tensor& x, Pass&) const {
  const Tensor z = logits(parameters, x);
  return weighted_softmax(z, largest(z, options_.k));
}

void HashGate::Options::options(OptionVisitor& o) {
  o("k", k, {.help = "experts that a sample uses", .min = 1});
  o("seed", seed, {.help = "seed of the draws", .min = 0});
}

HashGate::HashGate(const Options& options, const GateContext& context) : Gate(context), options_(options) {
  check_active("hash", options.k, context.experts);
}

Tensor HashGate::weights(const BoundParameters&, const Tensor& x, Pass& pass) const {
  const std::int64_t samples = x.extent(0) * x.extent(1);
  const RandomStream stream(static_cast<std::uint64_t>(options_.seed), "gate/" + name());
  Tensor out;
  dispatch_real(x.dtype(), "hash", [&](auto zero) {
    using T = decltype(zero);
    HostArray<T> weights({x.extent(0), x.extent(1), experts()});
    weights.fill(0);
    for (std::int64_t i = 0; i < samples; ++i)
      for (const std::int64_t e : stream.choose(options_.k, experts(), 0, pass.sample(i)))
        weights[i * experts() + e] = T(1) / static_cast<T>(options_.k);
    out = weights.to_device();
  });
  return out;
}

}  // namespace rankine
