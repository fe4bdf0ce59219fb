// Convolutions of images [C, H, W] and of signals [C, T].
#pragma once

#include "src/nn/conv.hpp"
#include "src/nn/layer.hpp"

namespace rankine {

/// What conv1d, conv2d and their transposes have in common. All axes have the same kernel, stride and
/// dilation.
struct ConvOptions {
  std::optional<int> channels;
  int kernel = 3, stride = 1, dilation = 1, groups = 1;
  std::string padding = "same";
  bool depthwise = false, bias = true;
  std::string initialisation = "uniform";
  void options(OptionVisitor& o);
};

struct ConvTransposeOptions {
  int channels = 0, kernel = 3, stride = 1, dilation = 1, groups = 1;
  std::string padding = "same";
  int output_padding = 0;
  bool bias = true;
  std::string initialisation = "uniform";
  void options(OptionVisitor& o);
};

/// What both kinds are: a weight, a bias, and the geometry of the convolution behind them.
class ConvLayer : public Layer {
 public:
  Shape output() const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;

 protected:
  ConvLayer(const LayerContext& context, int rank, std::string what);
  /// Reads "same", "valid" or a number; -1 and -2 for the first two.
  int padding_of(const std::string& text) const;
  [[noreturn]] void misfit(const std::string& why) const;
  /// Output channels, in `groups` that must divide them and those of the input.
  void set_channels(std::int64_t channels, std::int64_t groups);
  /// The kernel along one axis (0: height, 1: width); returns over how many positions it reaches.
  std::int64_t set_kernel(int axis, std::int64_t kernel, std::int64_t stride, std::int64_t dilation);
  /// Tensors as images: signals get a height of 1.
  Tensor image(const Tensor& x) const;
  Tensor result(const Tensor& y) const;
  Tensor weight(const BoundParameters& parameters) const;
  Tensor bias(const BoundParameters& parameters) const;

  int rank_;
  std::string what_;
  ConvGeometry geometry_;
  std::int64_t channels_ = 0, height_ = 1, width_ = 1;  // of the output
  Shape weight_;  // [rows, columns, kernel height, kernel width]; signals have a height of 1
  bool has_bias_ = true, transposed_ = false;
  std::string initialisation_;
  double fan_in_ = 1, fan_out_ = 1;
};

/// y[o] = bias[o] + sum_c w[o, c] * x[c]. Parameters: weight [channels, C / groups, kernel height, kernel
/// width] (signals: height 1), bias [channels].
template <int rank>
class Conv final : public ConvLayer {
 public:
  using Options = ConvOptions;
  Conv(const Options& options, const LayerContext& context);
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;
};

/// The adjoint of a convolution, plus a bias. Parameters: weight [C, channels / groups, kernel height, kernel
/// width], bias [channels].
template <int rank>
class ConvTranspose final : public ConvLayer {
 public:
  using Options = ConvTransposeOptions;
  ConvTranspose(const Options& options, const LayerContext& context);
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;
};

extern template class Conv<1>;
extern template class Conv<2>;
extern template class ConvTranspose<1>;
extern template class ConvTranspose<2>;

}  // namespace rankine
