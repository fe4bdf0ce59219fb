#include "src/nn/affine.hpp"

#include "kernels/blas.hpp"
#include "kernels/linear.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using blas::Op;
using List = std::vector<Tensor>;

// One shard's slice of a parameter, which is mostly a view with stride 0 along L.
struct ShardSlices {
  explicit ShardSlices(const Tensor& x) : values(x.detach()) {
    Shape one = x.shape(), strides = x.strides();
    one.erase(0);
    strides.erase(0);
    if (!x.view(one, strides).contiguous()) values = x.clone();
    step = values.strides()[0];
  }
  template <class T>
  const T* at(std::int64_t l) const {
    return values.data<T>() + l * step;
  }
  Tensor values;
  std::int64_t step;
};

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
  const ShardSlices w(weight);
  dispatch_real(x.dtype(), "affine", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t l = 0; l < e.shards; ++l) {
      T* to = y.data<T>() + l * e.rows * out;
      if (bias.defined()) {
        const Tensor values = dense(slice(bias.detach(), 0, l, l + 1));
        kernels::repeat_row(e.rows, out, values.data<T>(), to);
      }
      blas::gemm(Op::none, Op::transpose, e.rows, out, in, T(1), from.data<T>() + l * e.rows * in, in,
                 w.at<T>(l), in, bias.defined() ? T(1) : T(0), to, out);
    }
  });
  const List inputs = bias.defined() ? List{x, weight, bias} : List{x, weight};
  const double flops = 2.0 * static_cast<double>(x.count()) * static_cast<double>(out);
  const auto vjp = [e, inputs, from, flops](const List& g, const VjpContext& context) -> List {
    if (context.create_graph()) return backward_in_ops(e, inputs, g[0], context);
    const Tensor dy = dense(g[0]);
    const ShardSlices w(inputs[1]);
    List back(inputs.size());
    if (context.needs(0)) back[0] = Tensor::empty(inputs[0].shape(), dy.dtype());
    {
      const Uncounted scope;
      if (context.needs(1)) back[1] = Tensor::empty(inputs[1].shape(), dy.dtype());
      if (inputs.size() > 2 && context.needs(2)) back[2] = Tensor::empty(inputs[2].shape(), dy.dtype());
    }
    dispatch_real(dy.dtype(), "affine", [&](auto zero) {
      using T = decltype(zero);
      for (std::int64_t l = 0; l < e.shards; ++l) {
        const T* out_l = dy.data<T>() + l * e.rows * e.out;
        if (back[0].defined())
          blas::gemm(Op::none, Op::none, e.rows, e.in, e.out, T(1), out_l, e.out, w.at<T>(l), e.in, T(0),
                     back[0].data<T>() + l * e.rows * e.in, e.in);
        if (back[1].defined())
          blas::gemm(Op::transpose, Op::none, e.out, e.in, e.rows, T(1), out_l, e.out,
                     from.data<T>() + l * e.rows * e.in, e.in, T(0), back[1].data<T>() + l * e.out * e.in,
                     e.in);
        if (back.size() > 2 && back[2].defined())
          kernels::column_sums(e.rows, e.out, out_l, back[2].data<T>() + l * e.out);
      }
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
