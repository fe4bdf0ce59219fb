#include "src/nn/layers/conv.hpp"

#include <algorithm>
#include <charconv>

#include "src/nn/initialisation.hpp"

namespace rankine {
namespace {

constexpr int kSame = -1, kValid = -2;
const OptionMeta kKernel{.help = "extent of the kernel along each axis", .min = 1, .max = 1e6};
const OptionMeta kStride{.help = "step between outputs", .min = 1, .max = 1e6};
const OptionMeta kDilation{.help = "distance of neighbouring taps of the kernel", .min = 1, .max = 1e6};
const OptionMeta kGroups{.help = "channels are convolved in that many separate groups", .min = 1};
const OptionMeta kBias{.help = "whether a bias is added"};

OptionMeta initialisation_meta() {
  return {.help = "how weights are drawn", .choices = initialisation_names};
}

}  // namespace

void ConvOptions::options(OptionVisitor& o) {
  o("channels", channels, {.help = "output channels; default for depthwise: those of the input", .min = 1});
  o("kernel", kernel, kKernel);
  o("stride", stride, kStride);
  o("padding", padding,
    {.help = "zeros around the input: 'same' (output = input / stride, rounded up), 'valid' (none), or their "
             "number on each side"});
  o("dilation", dilation, kDilation);
  o("groups", groups, kGroups);
  o("depthwise", depthwise, {.help = "every channel is a group of its own"});
  o("bias", bias, kBias);
  o("initialisation", initialisation, initialisation_meta());
}

void ConvTransposeOptions::options(OptionVisitor& o) {
  o("channels", channels, {.help = "output channels", .min = 1, .required = true});
  o("kernel", kernel, kKernel);
  o("stride", stride, kStride);
  o("padding", padding,
    {.help = "what is cut off the output: 'same' (output = input * stride), 'valid' (nothing), or the number "
             "of positions on each side"});
  o("output_padding", output_padding,
    {.help = "positions added below and on the right of the output; not with padding 'same'", .min = 0});
  o("dilation", dilation, kDilation);
  o("groups", groups, kGroups);
  o("bias", bias, kBias);
  o("initialisation", initialisation, initialisation_meta());
}

ConvLayer::ConvLayer(const LayerContext& context, int rank, std::string what)
    : Layer(context), rank_(rank), what_(std::move(what)) {
  if (input().rank() != rank + 1)
    misfit(std::string("it needs ") +
           (rank == 2 ? "images [channels, height, width]" : "signals [channels, time]"));
  if (input().count() == 0) misfit("it is empty");
}

void ConvLayer::misfit(const std::string& why) const {
  throw InputError(what_ + ": the input is " + input().text() + "; " + why);
}

int ConvLayer::padding_of(const std::string& text) const {
  if (text == "same") return kSame;
  if (text == "valid") return kValid;
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0)
    throw InputError(what_ + ": padding '" + text + "' is neither 'same' nor 'valid' nor a number from 0 on");
  return number;
}

Shape ConvLayer::output() const {
  return rank_ == 2 ? Shape{channels_, height_, width_} : Shape{channels_, width_};
}

void ConvLayer::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  add_parameter(parameters, {.name = name() + ".weight", .shape = weight_},
                initialisation_of(initialisation_), fan_in_, fan_out_, seed);
  if (!has_bias_) return;
  ParameterInfo bias{.name = name() + ".bias", .shape = {channels_}, .group = "bias"};
  add_parameter(parameters, std::move(bias),
                initialisation_ == "uniform" ? Initialisation::uniform : Initialisation::zeros, fan_in_,
                fan_out_, seed);
}

Products ConvLayer::products() const {
  const double positions = static_cast<double>(transposed_ ? input().count() / input()[0] : height_ * width_);
  return {.weights = {{name() + ".weight", positions}}};
}

Tensor ConvLayer::image(const Tensor& x) const {
  if (rank_ == 2) return x;
  return reshape(x, {x.extent(0), x.extent(1), x.extent(2), 1, x.extent(3)});
}

Tensor ConvLayer::result(const Tensor& y) const {
  if (rank_ == 2) return y;
  return reshape(y, {y.extent(0), y.extent(1), y.extent(2), y.extent(4)});
}

void ConvLayer::set_channels(std::int64_t channels, std::int64_t groups) {
  channels_ = channels;
  geometry_.groups = groups;
  if (input()[0] % groups != 0 || channels % groups != 0)
    misfit("its channels and the " + std::to_string(channels) + " output channels must be multiples of the " +
           std::to_string(groups) + " groups");
}

std::int64_t ConvLayer::set_kernel(int axis, std::int64_t kernel, std::int64_t stride,
                                   std::int64_t dilation) {
  geometry_.stride[axis] = stride;
  geometry_.dilation[axis] = dilation;
  weight_[2 + axis] = kernel;
  return dilation * (kernel - 1) + 1;
}

Tensor ConvLayer::weight(const BoundParameters& parameters) const { return parameters[name() + ".weight"]; }

Tensor ConvLayer::bias(const BoundParameters& parameters) const {
  return has_bias_ ? parameters[name() + ".bias"] : Tensor();
}

template <int rank>
Conv<rank>::Conv(const Options& options, const LayerContext& context)
    : ConvLayer(context, rank, rank == 2 ? "conv2d" : "conv1d") {
  const std::int64_t C = input()[0];
  if (!options.channels && !options.depthwise)
    throw InputError(what_ + ": 'channels' (of the output) is missing");
  set_channels(options.channels.value_or(static_cast<int>(C)), options.depthwise ? C : options.groups);
  has_bias_ = options.bias;
  initialisation_ = options.initialisation;
  const int padding = padding_of(options.padding);
  std::int64_t out[2] = {1, 1};
  weight_ = {channels_, C / geometry_.groups, 1, 1};
  for (int axis = 2 - rank; axis < 2; ++axis) {
    const std::int64_t size = input()[axis - 2 + input().rank()], s = options.stride,
                       reach = set_kernel(axis, options.kernel, s, options.dilation);
    if (padding == kSame) {
      out[axis] = (size + s - 1) / s;
      geometry_.padding[axis] = std::max<std::int64_t>((out[axis] - 1) * s + reach - size, 0) / 2;
    } else {
      geometry_.padding[axis] = padding == kValid ? 0 : padding;
      const std::int64_t whole = size + 2 * geometry_.padding[axis];
      if (whole < reach)
        misfit("the kernel reaches over " + std::to_string(reach) +
               " positions, of which an axis with its zeros has " + std::to_string(whole) +
               "; use a smaller kernel or padding 'same'");
      out[axis] = (whole - reach) / s + 1;
    }
  }
  height_ = out[0];
  width_ = out[1];
  fan_in_ = static_cast<double>(weight_.count() / channels_);
  fan_out_ = static_cast<double>(weight_.count() / weight_[1]);
}

template <int rank>
Tensor Conv<rank>::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  pass.multiplies(name() + ".weight", x, 2);
  return result(conv2d(image(x), weight(parameters), bias(parameters), geometry_, height_, width_));
}

template <int rank>
ConvTranspose<rank>::ConvTranspose(const Options& options, const LayerContext& context)
    : ConvLayer(context, rank, rank == 2 ? "conv_transpose2d" : "conv_transpose1d") {
  const std::int64_t C = input()[0];
  set_channels(options.channels, options.groups);
  transposed_ = true;
  has_bias_ = options.bias;
  initialisation_ = options.initialisation;
  const int padding = padding_of(options.padding);
  if (options.output_padding >= options.stride)
    throw InputError(what_ + ": output_padding " + std::to_string(options.output_padding) +
                     " must be less than the stride, " + std::to_string(options.stride));
  std::int64_t out[2] = {1, 1};
  weight_ = {C, channels_ / geometry_.groups, 1, 1};
  for (int axis = 2 - rank; axis < 2; ++axis) {
    const std::int64_t size = input()[axis - 2 + input().rank()], s = options.stride,
                       reach = set_kernel(axis, options.kernel, s, options.dilation);
    if (padding == kSame) {
      out[axis] = size * s;
      geometry_.padding[axis] = std::max<std::int64_t>(reach - s, 0) / 2;
    } else {
      geometry_.padding[axis] = padding == kValid ? 0 : padding;
      out[axis] = (size - 1) * s + reach - 2 * geometry_.padding[axis] + options.output_padding;
      if (out[axis] < 1)
        misfit("padding " + options.padding + " leaves nothing of the output; use a smaller one");
    }
  }
  height_ = out[0];
  width_ = out[1];
  fan_in_ = static_cast<double>(weight_.count() / weight_[1]);
  fan_out_ = static_cast<double>(weight_.count() / C);
}

template <int rank>
Tensor ConvTranspose<rank>::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  pass.multiplies(name() + ".weight", x, 2, true);
  return result(conv2d_transpose(image(x), weight(parameters), bias(parameters), geometry_, height_, width_));
}

template class Conv<1>;
template class Conv<2>;
template class ConvTranspose<1>;
template class ConvTranspose<2>;

}  // namespace rankine
