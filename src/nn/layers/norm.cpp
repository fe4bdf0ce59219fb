#include "src/nn/layers/norm.hpp"

#include "kernels/norm.hpp"
#include "src/nn/initialisation.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

const OptionMeta kEpsilon{.help = "added to the variance", .min = 0, .exclusive_min = true};
const OptionMeta kAffine{.help = "whether a factor and a term are learned"};

// running += momentum (fresh - running), in place; with `count`, fresh is the variance of so many values and
// running that of the population: one less in the denominator.
void follow(const Tensor& running, const Tensor& fresh, double momentum, const Tensor& count) {
  const Tensor slices = dense_slices(running);
  if (!slices.shares_memory_with(running)) return;
  const std::int64_t copies = running.strides()[0] == 0 ? 1 : running.extent(0);
  dispatch_real(running.dtype(), "running statistics", [&](auto zero) {
    using T = decltype(zero);
    kernels::follow_statistics<T>(copies, fresh.count(), slice_step(slices), momentum, fresh.data<double>(),
                                  device_or_null<double>(count), slices.data<T>());
  });
}

}  // namespace

void BatchNorm::Options::options(OptionVisitor& o) {
  o("statistics", statistics,
    {.help = "what the moments are taken over: the whole batch (one sum over the shards forward and one "
             "backward), or each shard by itself",
     .choices = {"global", "shard"}});
  o("momentum", momentum, {.help = "weight of the newest batch in the running moments", .min = 0, .max = 1});
  o("epsilon", epsilon, kEpsilon);
  o("affine", affine, kAffine);
}

BatchNorm::BatchNorm(const Options& options, const LayerContext& context)
    : Layer(context), options_(options) {
  if (input().rank() == 0) throw InputError("batch_norm: the input is a single number; it needs channels");
}

void BatchNorm::add_parameters(ParameterSet& parameters, std::uint64_t) const {
  const Shape shape{input()[0]};
  if (options_.affine) {
    add_constant(parameters, {.name = name() + ".weight", .shape = shape, .group = "norm"}, 1);
    add_constant(parameters, {.name = name() + ".bias", .shape = shape, .group = "norm"}, 0);
  }
  add_constant(parameters,
               {.name = name() + ".running_mean", .shape = shape, .group = "statistics", .frozen = true}, 0);
  add_constant(parameters,
               {.name = name() + ".running_variance", .shape = shape, .group = "statistics", .frozen = true},
               1);
}

Tensor BatchNorm::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  const Tensor gamma = options_.affine ? parameters[name() + ".weight"] : Tensor();
  const Tensor beta = options_.affine ? parameters[name() + ".bias"] : Tensor();
  const Tensor& running_mean = parameters[name() + ".running_mean"];
  const Tensor& running_variance = parameters[name() + ".running_variance"];
  if (pass.training) {
    BatchStatistics fresh;
    const bool follows = pass.update_statistics;
    RANKINE_ASSERT(pass.shards != nullptr, "batch_norm in training needs the sum over the shards");
    const Tensor y = batch_norm(x, gamma, beta, options_.statistics == "global" ? pass.shards : nullptr,
                                options_.epsilon, follows ? &fresh : nullptr, pass.shards);
    if (follows) {
      follow(running_mean, fresh.mean, options_.momentum, {});
      follow(running_variance, fresh.variance, options_.momentum, fresh.count);
    }
    return y;
  }
  const Tensor root = sqrt(add_scalar(running_variance, options_.epsilon));
  const Tensor factor = div(gamma.defined() ? gamma : Tensor::full(root.shape(), x.dtype(), 1), root);
  const Tensor shift = mul(running_mean, factor);
  return channel_affine(x, factor, beta.defined() ? sub(beta, shift) : neg(shift));
}

void RowNormLayer::set_axes(const char* what, int axes) {
  if (axes > input().rank())
    throw InputError(std::string(what) + ": 'axes' is " + std::to_string(axes) + ", but the input " +
                     input().text() + " has " + std::to_string(input().rank()));
  how_.axes = axes;
  for (int i = input().rank() - axes; i < input().rank(); ++i) shape_.push_back(input()[i]);
}

void RowNormLayer::add_parameters(ParameterSet& parameters, std::uint64_t) const {
  if (weight_) add_constant(parameters, {.name = name() + ".weight", .shape = shape_, .group = "norm"}, 1);
  if (bias_) add_constant(parameters, {.name = name() + ".bias", .shape = shape_, .group = "norm"}, 0);
}

Tensor RowNormLayer::forward(const BoundParameters& parameters, const Tensor& x, Pass&) const {
  return normalise_rows(x, weight_ ? parameters[name() + ".weight"] : Tensor(),
                        bias_ ? parameters[name() + ".bias"] : Tensor(), how_);
}

void LayerNorm::Options::options(OptionVisitor& o) {
  o("axes", axes, {.help = "how many trailing axes of a sample are normalised together", .min = 1});
  o("epsilon", epsilon, kEpsilon);
  o("affine", affine, kAffine);
}

LayerNorm::LayerNorm(const Options& options, const LayerContext& context)
    : RowNormLayer(context, {.epsilon = options.epsilon}, options.affine, options.affine) {
  set_axes("layer_norm", options.axes);
}

void RmsNorm::Options::options(OptionVisitor& o) {
  o("axes", axes, {.help = "how many trailing axes of a sample are normalised together", .min = 1});
  o("epsilon", epsilon, {.help = "added to the mean square", .min = 0, .exclusive_min = true});
  o("affine", affine, {.help = "whether a factor is learned"});
}

RmsNorm::RmsNorm(const Options& options, const LayerContext& context)
    : RowNormLayer(context, {.centred = false, .epsilon = options.epsilon}, options.affine, false) {
  set_axes("rms_norm", options.axes);
}

void GroupNorm::Options::options(OptionVisitor& o) {
  o("groups", groups, {.help = "groups of neighbouring channels that are normalised together", .min = 1});
  o("epsilon", epsilon, kEpsilon);
  o("affine", affine, kAffine);
}

GroupNorm::GroupNorm(const Options& options, const LayerContext& context)
    : RowNormLayer(context, {.groups = options.groups, .epsilon = options.epsilon}, options.affine,
                   options.affine) {
  if (input().rank() == 0 || input()[0] % options.groups != 0)
    throw InputError("group_norm: the input is " + input().text() +
                     "; its channels must be a multiple of 'groups', " + std::to_string(options.groups));
  shape_ = {input()[0]};
}

}  // namespace rankine
