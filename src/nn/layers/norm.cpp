#include "src/nn/layers/norm.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/norm.hpp"
#include "src/nn/initialisation.hpp"
#include "src/tensor/host_array.hpp"
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
  o("ghosts", ghosts,
    {.help = "equal parts of the batch that training normalises each by itself, a multiple of train.shards "
             "(1: one, as 'statistics' says)",
     .min = 1});
}

BatchNorm::BatchNorm(const Options& options, const LayerContext& context)
    : Layer(context), options_(options) {
  if (options.ghosts > 1 && options.statistics == "shard")
    throw InputError("batch_norm: 'ghosts' is " + std::to_string(options.ghosts) +
                     " and 'statistics' shard; both say what is normalised by itself, so leave one out");
  if (input().rank() == 0) throw InputError("batch_norm: the input is a single number; it needs channels");
}

void BatchNorm::check_batch(std::int64_t batch, std::int64_t shards) const {
  const std::int64_t ghosts = options_.ghosts;
  if (ghosts > 1 && (ghosts % shards != 0 || batch % ghosts != 0))
    throw InputError(
        fmt::format("{}: ghosts: {} must be a multiple of train.shards, {}, and divide "
                    "train.batch, {}; choose another number of them",
                    name(), ghosts, shards, batch));
}

// A ghost is to batch_norm() a shard with its own moments.
Tensor BatchNorm::normalise_ghosts(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Pass& pass,
                                   BatchStatistics* fresh, double& momentum) const {
  const std::int64_t shards = x.extent(0), batch = x.extent(1);
  // A pass of few samples, as an estimate makes, has that many ghosts.
  const std::int64_t each = std::min(batch, options_.ghosts / (pass.shards->tiles() * pass.passes));
  RANKINE_ASSERT(each > 0 && batch % each == 0,
                 name() + ": " + std::to_string(each) + " ghosts of " + std::to_string(batch) + " samples");
  if (fresh != nullptr) {
    const std::int64_t all = each * pass.shards->tiles(), first = each * pass.shards->first_tile();
    const double keep = 1 - options_.momentum;
    momentum = 1 - std::pow(keep, static_cast<double>(all));
    // Without momentum, their limit.
    const double last = momentum == 0 ? 1 / static_cast<double>(all) : options_.momentum / momentum;
    HostArray<double> shares({shards * each});
    for (std::int64_t i = 0; i < shards * each; ++i)
      shares[i] = std::pow(keep, static_cast<double>(all - 1 - first - i)) * last;
    fresh->shares = shares.to_device();
  }
  Shape split = x.shape();
  split[0] = shards * each;
  split[1] = batch / each;
  const auto by_ghost = [&](const Tensor& numbers) {
    if (!numbers.defined()) return numbers;
    const std::int64_t channels = numbers.extent(1);
    return reshape(expand(reshape(numbers, {shards, 1, channels}), {shards, each, channels}),
                   {shards * each, channels});
  };
  const Tensor y = batch_norm(reshape(x, split), by_ghost(gamma), by_ghost(beta), nullptr, options_.epsilon,
                              fresh, pass.shards);
  return reshape(y, x.shape());
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
    double momentum = options_.momentum;
    RANKINE_ASSERT(pass.shards != nullptr, "batch_norm in training needs the sum over the shards");
    BatchStatistics* const found = follows ? &fresh : nullptr;
    const Tensor y = options_.ghosts > 1
                         ? normalise_ghosts(x, gamma, beta, pass, found, momentum)
                         : batch_norm(x, gamma, beta, options_.statistics == "global" ? pass.shards : nullptr,
                                      options_.epsilon, found, pass.shards);
    if (follows) {
      follow(running_mean, fresh.mean, momentum, {});
      follow(running_variance, fresh.variance, momentum, fresh.count);
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
