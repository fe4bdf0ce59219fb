#include "src/nn/recurrent.hpp"

#include "src/tensor/composed.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

Tensor logistic(const Tensor& x) { return scale(add_scalar(tanh(scale(x, 0.5)), 1), 0.5); }

// The same from elementary ops; inputs x, weight, candidate_bias, h0, c0.
List in_ops(Cell cell, const List& in) {
  const std::int64_t shards = in[0].extent(0), samples = in[0].extent(1), steps = in[0].extent(2);
  const std::int64_t n = in[3].extent(2);
  const Tensor weight = transpose(in[1], 1, 2);
  Tensor h = in[3], c = in[4];
  List all;
  for (std::int64_t t = 0; t < steps; ++t) {
    const Tensor x = reshape(slice(in[0], 2, t, t + 1), {shards, samples, in[0].extent(3)});
    const Tensor w = matmul(h, weight);
    const auto gate = [&](const Tensor& from, std::int64_t k) { return slice(from, 2, k * n, (k + 1) * n); };
    switch (cell) {
      case Cell::rnn:
        h = tanh(add(x, w));
        break;
      case Cell::lstm: {
        const Tensor sums = add(x, w);
        c = add(mul(logistic(gate(sums, 1)), c), mul(logistic(gate(sums, 0)), tanh(gate(sums, 2))));
        h = mul(logistic(gate(sums, 3)), tanh(c));
        break;
      }
      case Cell::gru: {
        const Tensor r = logistic(add(gate(x, 0), gate(w, 0))), z = logistic(add(gate(x, 1), gate(w, 1)));
        Tensor m = gate(w, 2);
        if (in[2].defined()) m = add(m, reshape(in[2], {shards, 1, n}));
        const Tensor candidate = tanh(add(gate(x, 2), mul(r, m)));
        h = add(candidate, mul(z, sub(h, candidate)));
      }
    }
    all.push_back(reshape(h, {shards, samples, 1, n}));
  }
  List out{concat(all, 2)};
  if (cell == Cell::lstm) out.push_back(c);
  return out;
}

}  // namespace

RecurrentResult recurrent(Cell cell, const Tensor& x, const Tensor& weight, const Tensor& candidate_bias,
                          const Tensor& h0, const Tensor& c0) {
  const Region<"recurrent"> region;
  const std::int64_t gates = kernels::gates_of(cell);
  RANKINE_ASSERT(x.rank() == 4 && h0.rank() == 3 && weight.rank() == 3, "recurrent: ranks of arguments");
  const std::int64_t shards = x.extent(0), samples = x.extent(1), steps = x.extent(2), n = h0.extent(2);
  RANKINE_ASSERT(x.extent(3) == gates * n && weight.shape() == (Shape{shards, gates * n, n}) &&
                     h0.shape() == (Shape{shards, samples, n}) && steps > 0 &&
                     c0.defined() == (cell == Cell::lstm) && (!c0.defined() || c0.shape() == h0.shape()),
                 "recurrent: inputs " + x.shape().text() + ", weight " + weight.shape().text() + ", state " +
                     h0.shape().text());
  const DType type = x.dtype();
  const Tensor w = dense_slices(weight), bias = dense_slices(candidate_bias), h = dense(h0),
               c = c0.defined() ? dense(c0) : Tensor();
  const Tensor activations = x.clone(), hidden = Tensor::empty({shards, samples, steps, n}, type);
  const Tensor memory = cell == Cell::rnn ? Tensor() : Tensor::empty(hidden.shape(), type);
  const kernels::RecurrentShape shape{
      cell, shards, samples, steps, n, w.strides()[0], bias.defined() ? bias.strides()[0] : 0};
  const auto arrays = [=](auto zero) {
    using T = decltype(zero);
    return kernels::RecurrentArrays<T>{
        w.data<T>(),      device_or_null<T>(bias),  h.data<T>(), device_or_null<T>(c), activations.data<T>(),
        hidden.data<T>(), device_or_null<T>(memory)};
  };
  {
    const Tensor work = Tensor::empty({shape.forward_work()}, type);
    dispatch_real(type, "recurrent", [&](auto zero) {
      using T = decltype(zero);
      kernels::recurrent_forward<T>(shape, arrays(zero), work.data<T>());
    });
  }
  const double flops = 2.0 * static_cast<double>(x.count()) * static_cast<double>(n);
  const double bytes = 3.0 * static_cast<double>(x.count()) * static_cast<double>(size_of(type));
  const List inputs{x, weight, candidate_bias, h0, c0};
  const auto vjp = [=](const List& g, const VjpContext& context) -> List {
    if (context.create_graph())
      return composed_vjp([cell](const List& in) { return in_ops(cell, in); }, inputs, g, context);
    const Tensor d_hidden = g[0].defined() ? dense(g[0]) : Tensor();
    const Tensor d_last = g.size() > 1 && g[1].defined() ? dense(g[1]) : Tensor();
    const Tensor d_x = Tensor::empty(activations.shape(), type), d_h0 = Tensor::empty(h.shape(), type);
    const Tensor d_c0 = c.defined() ? Tensor::empty(h.shape(), type) : Tensor();
    const Tensor d_memory = cell == Cell::gru ? Tensor::empty(hidden.shape(), type) : Tensor();
    Tensor d_weight, d_bias;
    {
      const Uncounted scope;
      d_weight = Tensor::empty(w.shape(), type);
      if (bias.defined()) d_bias = Tensor::empty(bias.shape(), type);
    }
    const Tensor work = Tensor::empty({shape.backward_work()}, type);
    dispatch_real(type, "recurrent", [&](auto zero) {
      using T = decltype(zero);
      kernels::recurrent_backward<T>(
          shape, arrays(zero),
          {device_or_null<T>(d_hidden), device_or_null<T>(d_last), d_x.data<T>(), d_weight.data<T>(),
           device_or_null<T>(d_bias), d_h0.data<T>(), device_or_null<T>(d_c0), device_or_null<T>(d_memory)},
          work.data<T>());
    });
    count_cost("recurrent_backward", {2 * flops, bytes});
    return {d_x, d_weight, d_bias, d_h0, d_c0};
  };
  List out{hidden};
  if (cell == Cell::lstm) {
    const Tensor last = memory.view(
        {shards, samples, n}, {memory.strides()[0], memory.strides()[1], std::int64_t{1}}, (steps - 1) * n);
    out.push_back(last.clone());
  }
  out = apply_op("recurrent", inputs, out, vjp, {.cost = {flops, bytes}});
  return {out[0], out.size() > 1 ? out[1] : Tensor()};
}

}  // namespace rankine
