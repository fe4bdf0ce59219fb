#include "src/nn/layers/pooling.hpp"

namespace rankine {
namespace {

void need_space(const Shape& input, const char* what) {
  if (input.rank() != 2 && input.rank() != 3)
    throw InputError(std::string(what) + ": the input is " + input.text() +
                     "; it needs images [channels, height, width] or signals [channels, time]");
}

// Signals get a height of 1.
Tensor as_image(const Tensor& x) {
  return x.rank() == 5 ? x : reshape(x, {x.extent(0), x.extent(1), x.extent(2), 1, x.extent(3)});
}
Tensor as_input(const Tensor& y, int rank) {
  return rank == 3 ? y : reshape(y, {y.extent(0), y.extent(1), y.extent(2), y.extent(4)});
}

}  // namespace

void PoolOptions::options(OptionVisitor& o) {
  o("kernel", kernel, {.help = "extent of a window along each axis", .min = 1, .max = 1e4});
  o("stride", stride, {.help = "step between windows; default: the kernel", .min = 1, .max = 1e4});
  o("padding", padding, {.help = "positions around the input, at most half the kernel", .min = 0});
}

PoolLayer::PoolLayer(const PoolOptions& options, const LayerContext& context, const char* what)
    : Layer(context) {
  need_space(input(), what);
  if (2 * options.padding > options.kernel)
    throw InputError(std::string(what) + ": padding " + std::to_string(options.padding) +
                     " is more than half the kernel, " + std::to_string(options.kernel) +
                     "; a window could lie outside the input");
  std::int64_t out[2] = {1, 1};
  geometry_.kernel[0] = geometry_.stride[0] = 1;
  for (int axis = 3 - input().rank(); axis < 2; ++axis) {
    const std::int64_t size = input()[axis - 2 + input().rank()] + 2 * std::int64_t{options.padding};
    if (size < options.kernel)
      throw InputError(std::string(what) + ": the input is " + input().text() +
                       "; an axis is shorter than the kernel, " + std::to_string(options.kernel));
    geometry_.kernel[axis] = options.kernel;
    geometry_.stride[axis] = options.stride.value_or(options.kernel);
    geometry_.padding[axis] = options.padding;
    out[axis] = (size - options.kernel) / geometry_.stride[axis] + 1;
  }
  height_ = out[0];
  width_ = out[1];
}

Shape PoolLayer::output() const {
  return input().rank() == 3 ? Shape{input()[0], height_, width_} : Shape{input()[0], width_};
}

Tensor PoolLayer::image(const Tensor& x) const { return as_image(x); }
Tensor PoolLayer::result(const Tensor& y) const { return as_input(y, input().rank()); }

Tensor MaxPool::forward(const BoundParameters&, const Tensor& x, Pass&) const {
  return result(max_pool(image(x), geometry_, height_, width_));
}

Tensor AveragePool::forward(const BoundParameters&, const Tensor& x, Pass&) const {
  const double share = 1 / static_cast<double>(geometry_.kernel[0] * geometry_.kernel[1]);
  return result(sum_pool(image(x), share, geometry_, height_, width_));
}

GlobalAveragePool::GlobalAveragePool(const Options&, const LayerContext& context) : Layer(context) {
  need_space(input(), "global_average_pool");
}

Tensor GlobalAveragePool::forward(const BoundParameters&, const Tensor& x, Pass&) const {
  return global_average_pool(x);
}

void Upsample::Options::options(OptionVisitor& o) {
  o("factor", factor, {.help = "how often each value is repeated along each axis", .min = 1, .max = 1e4});
}

Upsample::Upsample(const Options& options, const LayerContext& context)
    : Layer(context), factor_(options.factor) {
  need_space(input(), "upsample");
}

Shape Upsample::output() const {
  Shape shape = input();
  for (int i = 1; i < shape.rank(); ++i) shape[i] *= factor_;
  return shape;
}

Tensor Upsample::forward(const BoundParameters&, const Tensor& x, Pass&) const {
  const Tensor in = as_image(x);
  const std::int64_t down = input().rank() == 3 ? factor_ : 1;
  const PoolGeometry geometry{.kernel = {down, factor_}, .stride = {down, factor_}};
  return as_input(spread_pool(in, 1, geometry, in.extent(3) * down, in.extent(4) * factor_), input().rank());
}

}  // namespace rankine
