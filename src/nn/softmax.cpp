#include "src/nn/softmax.hpp"

#include "kernels/row_ops.hpp"
#include "src/nn/index_check.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

std::int64_t row_length(const Tensor& x, const char* what) {
  RANKINE_ASSERT(x.rank() >= 1 && x.extent(-1) > 0, std::string(what) + " of a tensor " + x.shape().text());
  return x.extent(-1);
}

Cost row_cost(const Tensor& x) {
  const double n = static_cast<double>(x.count());
  return {24 * n, 2 * n * static_cast<double>(size_of(x.dtype()))};
}

// [..., n] to [..., 1] and back by broadcasting.
Tensor row_sum(const Tensor& x) { return sum(x, {x.rank() - 1}, true); }

}  // namespace

Tensor softmax(const Tensor& x) {
  const Region<"softmax"> region;
  const std::int64_t n = row_length(x, "softmax");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "softmax", [&](auto zero) {
    using T = decltype(zero);
    kernels::softmax<T>(in.count() / n, n, in.data<T>(), y.data<T>());
  });
  const auto vjp = [n](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    const Tensor p = context.output(0);
    if (context.create_graph()) return {mul(p, sub(g[0], row_sum(mul(p, g[0]))))};
    const Tensor dy = dense(g[0]);
    Tensor dx = Tensor::empty(p.shape(), p.dtype());
    dispatch_real(p.dtype(), "softmax", [&](auto zero) {
      using T = decltype(zero);
      kernels::softmax_backward<T>(p.count() / n, n, p.data<T>(), dy.data<T>(), dx.data<T>());
    });
    count_cost("softmax_backward", {0, 3 * bytes_of(dx)});
    return {dx};
  };
  return apply_op("softmax", {x}, y, vjp, {.cost = row_cost(x), .save_outputs = true});
}

Tensor log_softmax(const Tensor& x) {
  const Region<"log_softmax"> region;
  const std::int64_t n = row_length(x, "log_softmax");
  const Tensor in = dense(x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), "log_softmax", [&](auto zero) {
    using T = decltype(zero);
    kernels::log_softmax<T>(in.count() / n, n, in.data<T>(), y.data<T>());
  });
  return apply_op("log_softmax", {x}, y,
                  [](const auto& g, const auto& context) {
                    return std::vector<Tensor>{sub(g[0], mul(exp(context.output(0)), row_sum(g[0])))};
                  },
                  {.cost = row_cost(x), .save_outputs = true});
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, double smoothing) {
  const Region<"cross_entropy"> region;
  const std::int64_t n = row_length(logits, "cross_entropy");
  Shape rows = logits.shape();
  rows.erase(rows.rank() - 1);
  RANKINE_ASSERT(labels.shape() == rows && labels.dtype() == DType::i32,
                 "labels " + labels.shape().text() + " for logits " + logits.shape().text());
  const Tensor in = dense(logits), label = checked_indices(labels, n, [n](std::int64_t row, std::int64_t c) {
                                     return "label " + std::to_string(c) + " of row " + std::to_string(row) +
                                            " is outside 0 .. " + std::to_string(n - 1) +
                                            ", the outputs of the network";
                                   });
  Tensor loss = Tensor::empty(rows, logits.dtype()), probabilities = Tensor::empty(in.shape(), in.dtype());
  dispatch_real(in.dtype(), "cross_entropy", [&](auto zero) {
    using T = decltype(zero);
    kernels::cross_entropy<T>(label.count(), n, in.data<T>(), label.data<std::int32_t>(), smoothing,
                              loss.data<T>(), probabilities.data<T>());
  });
  const auto vjp = [=](const std::vector<Tensor>& g, const VjpContext& context) -> std::vector<Tensor> {
    if (!context.create_graph()) {
      const Tensor dloss = dense(g[0]);
      Tensor dx = Tensor::empty(in.shape(), in.dtype());
      dispatch_real(in.dtype(), "cross_entropy", [&](auto zero) {
        using T = decltype(zero);
        kernels::cross_entropy_backward<T>(label.count(), n, probabilities.data<T>(),
                                           label.data<std::int32_t>(), smoothing, dloss.data<T>(),
                                           dx.data<T>());
      });
      count_cost("cross_entropy_backward", {0, 2 * bytes_of(dx)});
      return {dx};
    }
    Tensor q = Tensor::full(in.shape(), in.dtype(), smoothing / static_cast<double>(n));
    dispatch_real(in.dtype(), "cross_entropy", [&](auto zero) {
      using T = decltype(zero);
      kernels::add_at_labels<T>(label.count(), n, label.data<std::int32_t>(), 1 - smoothing, q.data<T>());
    });
    Shape column = g[0].shape();
    column.push_back(1);
    return {mul(reshape(g[0], column), sub(softmax(logits), q))};
  };
  return apply_op("cross_entropy", {logits}, loss, vjp, {.cost = row_cost(logits)});
}

}  // namespace rankine
