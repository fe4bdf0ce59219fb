#include "src/nn/affine.hpp"

#include "kernels/product.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using blas::Op;
using List = std::vector<Tensor>;

struct Extents {
  std::int64_t shards, rows, in, out;
};

List backward_in_ops(const Extents& e, const List& inputs, const Tensor& cotangent,
                     const VjpContext& context) {
  const Tensor g = reshape(cotangent, {e.shards, e.rows, e.out});
  List back(inputs.size());
  if (context.needs(0)) back[0] = reshape(matmul(g, inputs[1]), inputs[0].shape());
  if (context.needs(1)) back[1] = matmul(transpose(g, 1, 2), reshape(inputs[0], {e.shards, e.rows, e.in}));
  if (inputs.size() > 2 && context.needs(2)) back[2] = sum(g, {1});
  return back;
}

}  // namespace

Tensor affine(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Region<"affine"> region;
  RANKINE_ASSERT(x.rank() >= 2 && weight.rank() == 3 && x.extent(0) == weight.extent(0) &&
                     x.extent(-1) == weight.extent(2) && x.dtype() == weight.dtype() &&
                     (!bias.defined() || (bias.shape() == (Shape{weight.extent(0), weight.extent(1)}) &&
                                          bias.dtype() == x.dtype())),
                 "affine: activations " + x.shape().text() + ", weight " + weight.shape().text() +
                     (bias.defined() ? ", bias " + bias.shape().text() : ""));
  const std::int64_t in = weight.extent(2), out = weight.extent(1), shards = x.extent(0);
  const Extents e{shards, shards * in == 0 ? 0 : x.count() / (shards * in), in, out};
  const Tensor from = dense(x);
  Shape shape = x.shape();
  shape[shape.rank() - 1] = out;
  Tensor y = Tensor::empty(shape, x.dtype());
  const Tensor w = dense_slices(weight.detach()), b = dense_slices(bias);
  const kernels::Product forward{.name = "affine",
                                 .op_b = Op::transpose,
                                 .m = e.rows,
                                 .n = out,
                                 .k = in,
                                 .lda = in,
                                 .ldb = in,
                                 .ldc = out,
                                 .batch = {shards, 1, 1},
                                 .a_step = {e.rows * in, 0, 0},
                                 .b_step = {w.strides()[0], 0, 0},
                                 .c_step = {e.rows * out, 0, 0}};
  dispatch_real(x.dtype(), "affine", [&](auto zero) {
    using T = decltype(zero);
    const DevicePtr<const T> rows = from.data<T>(), matrix = w.data<T>();
    if (b.defined()) {
      const kernels::Bias<T> to_rows{b.data<T>(), kernels::Bias<T>::To::rows, {b.strides()[0], 0, 0}};
      kernels::product(forward, rows, matrix, to_rows, y.data<T>());
    } else {
      kernels::product(forward, T(1), rows, matrix, T(0), y.data<T>());
    }
  });
  const List inputs = bias.defined() ? List{x, weight, bias} : List{x, weight};
  const double flops = 2.0 * static_cast<double>(x.count()) * static_cast<double>(out);
  const auto vjp = [e, inputs, from, flops](const List& g, const VjpContext& context) -> List {
    if (context.create_graph()) return backward_in_ops(e, inputs, g[0], context);
    const Tensor dy = dense(g[0]);
    const Tensor w = dense_slices(inputs[1].detach());
    List back(inputs.size());
    if (context.needs(0)) back[0] = Tensor::empty(inputs[0].shape(), dy.dtype());
    {
      const Uncounted scope;
      if (context.needs(1)) back[1] = Tensor::empty(inputs[1].shape(), dy.dtype());
      if (inputs.size() > 2 && context.needs(2)) back[2] = Tensor::empty(inputs[2].shape(), dy.dtype());
    }
    dispatch_real(dy.dtype(), "affine", [&](auto zero) {
      using T = decltype(zero);
      const DevicePtr<const T> out = dy.data<T>();
      if (back[0].defined()) {
        const kernels::Product of_input{.name = "affine.backward_input",
                                        .m = e.rows,
                                        .n = e.in,
                                        .k = e.out,
                                        .lda = e.out,
                                        .ldb = e.in,
                                        .ldc = e.in,
                                        .batch = {e.shards, 1, 1},
                                        .a_step = {e.rows * e.out, 0, 0},
                                        .b_step = {w.strides()[0], 0, 0},
                                        .c_step = {e.rows * e.in, 0, 0}};
        kernels::product<T>(of_input, T(1), out, w.data<T>(), T(0), back[0].data<T>());
      }
      if (back[1].defined()) {
        const kernels::Product of_weight{.name = "affine.backward_weight",
                                         .op_a = Op::transpose,
                                         .m = e.out,
                                         .n = e.in,
                                         .k = e.rows,
                                         .lda = e.out,
                                         .ldb = e.in,
                                         .ldc = e.in,
                                         .batch = {e.shards, 1, 1},
                                         .a_step = {e.rows * e.out, 0, 0},
                                         .b_step = {e.rows * e.in, 0, 0},
                                         .c_step = {e.out * e.in, 0, 0}};
        kernels::product<T>(of_weight, T(1), out, from.data<T>(), T(0), back[1].data<T>());
      }
      if (back.size() > 2 && back[2].defined())
        kernels::column_sums<T>("affine.backward_bias", e.shards, e.rows, e.out, out, back[2].data<T>());
    });
    const int products = (context.needs(0) ? 1 : 0) + (context.needs(1) ? 1 : 0);
    count_cost("affine_backward", {products * flops, bytes_of(dy) + products * bytes_of(inputs[0])});
    return back;
  };
  return apply_op(
      "affine", inputs, y, vjp,
      {.cost = {flops, bytes_of(x) + bytes_of(y) +
                           static_cast<double>(out * in) * static_cast<double>(size_of(x.dtype()))}});
}

}  // namespace rankine
