#include "src/nn/linear.hpp"

#include "kernels/blas.hpp"
#include "kernels/linear.hpp"
#include "src/nn/op_support.hpp"

namespace rankine {
namespace {

using blas::Op;

// dw[l] = dy[l]^T x[l].
Tensor weight_gradient(const Tensor& x, const Tensor& dy, std::int64_t rows, std::int64_t in,
                       std::int64_t out) {
  Tensor dw;
  {
    const Uncounted scope;
    dw = Tensor::empty({x.extent(0), out, in}, x.dtype());
  }
  dispatch_real(x.dtype(), "linear", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t l = 0; l < x.extent(0); ++l)
      blas::gemm(Op::transpose, Op::none, out, in, rows, T(1), slice_data<T>(dy, l), out, slice_data<T>(x, l),
                 in, T(0), slice_data<T>(dw, l), in);
  });
  return dw;
}

Tensor bias_gradient(const Tensor& dy, std::int64_t rows, std::int64_t out) {
  Tensor db;
  {
    const Uncounted scope;
    db = Tensor::empty({dy.extent(0), out}, dy.dtype());
  }
  dispatch_real(dy.dtype(), "linear", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t l = 0; l < dy.extent(0); ++l)
      kernels::column_sums(rows, out, slice_data<T>(dy, l), slice_data<T>(db, l));
  });
  return db;
}

Tensor data_gradient(const Tensor& dy, const Tensor& w, const Shape& shape, std::int64_t rows,
                     std::int64_t in, std::int64_t out) {
  const Tensor weights = dense_slices(w);
  Tensor dx = Tensor::empty(shape, dy.dtype());
  dispatch_real(dy.dtype(), "linear", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t l = 0; l < dy.extent(0); ++l)
      blas::gemm(Op::none, Op::none, rows, in, out, T(1), slice_data<T>(dy, l), out,
                 slice_data<T>(weights, l), in, T(0), slice_data<T>(dx, l), in);
  });
  return dx;
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  RANKINE_ASSERT(x.rank() >= 2 && w.rank() == 3 && w.extent(0) == x.extent(0) &&
                     w.extent(2) == x.extent(-1) &&
                     (!bias.defined() || bias.shape() == Shape({w.extent(0), w.extent(1)})),
                 "linear of " + x.shape().text() + " with weights " + w.shape().text());
  const std::int64_t in = w.extent(2), out = w.extent(1), shards = x.extent(0);
  const std::int64_t rows = extents(x.shape(), 1, x.rank() - 1);
  Shape shape = x.shape();
  shape[shape.rank() - 1] = out;
  const Tensor from = dense_values(x), weights = dense_slices(w);
  const Tensor offsets = bias.defined() ? dense_slices(bias) : Tensor();
  Tensor y = Tensor::empty(shape, x.dtype());
  dispatch_real(x.dtype(), "linear", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t l = 0; l < shards; ++l) {
      T* to = slice_data<T>(y, l);
      // The product is added to the bias, which costs BLAS nothing: it writes C either way.
      if (bias.defined()) kernels::repeat_row(rows, out, slice_data<T>(offsets, l), to);
      blas::gemm(Op::none, Op::transpose, rows, out, in, T(1), slice_data<T>(from, l), in,
                 slice_data<T>(weights, l), in, bias.defined() ? T(1) : T(0), to, out);
    }
  });
  const Cost cost{2 * static_cast<double>(y.count()) * static_cast<double>(in),
                  bytes_of(x) + bytes_of(w) + bytes_of(y)};
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) {
    std::vector<Tensor> back(bias.defined() ? 3 : 2);
    if (context.create_graph()) {
      const Tensor dy = reshape(g[0], {shards, rows, out});
      const Tensor flat = reshape(x, {shards, rows, in});
      if (context.needs(0)) back[0] = reshape(matmul(dy, w), x.shape());
      if (context.needs(1)) back[1] = matmul(transpose(dy, 1, 2), flat);
      if (bias.defined() && context.needs(2)) back[2] = sum(dy, {1});
      return back;
    }
    const Tensor dy = dense_values(g[0]);
    if (context.needs(0)) {
      back[0] = data_gradient(dy, w, x.shape(), rows, in, out);
      count_cost("linear_data", cost);
    }
    if (context.needs(1)) {
      back[1] = weight_gradient(dense_values(x), dy, rows, in, out);
      count_cost("linear_weights", cost);
    }
    if (bias.defined() && context.needs(2)) back[2] = bias_gradient(dy, rows, out);
    return back;
  };
  const std::vector<Tensor> inputs =
      bias.defined() ? std::vector<Tensor>{x, w, bias} : std::vector<Tensor>{x, w};
  return apply_op("linear", inputs, y, vjp, {.cost = cost});
}

}  // namespace rankine
