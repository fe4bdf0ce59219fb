#include "kernels/recurrent.hpp"

#include <algorithm>

#include "kernels/blas.hpp"
#include "kernels/launch.hpp"
#include "kernels/map.hpp"
#include "kernels/multiply_add.hpp"
#include "kernels/pointwise.hpp"

namespace rankine::kernels {
namespace {

template <class T>
RANKINE_FORCEINLINE T logistic(T x) {
  return multiply_add(T(0.5), Tanh{}(T(0.5) * x), T(0.5));
}

// 1 - a b.
template <class T>
RANKINE_FORCEINLINE T one_less(T a, T b) {
  return multiply_add(-a, b, T(1));
}

// Elements begin .. end - 1 of one sample's step. `gates` holds sums and receives activations; `before` are h
// and c (or null) before.
template <class T>
RANKINE_FORCEINLINE void cell_forward(Cell cell, std::int64_t n, std::int64_t begin, std::int64_t end,
                                      T* gates, const T* h_before, const T* c_before, T* memory, T* h) {
  switch (cell) {
    case Cell::rnn:
      for (std::int64_t i = begin; i < end; ++i) h[i] = gates[i] = Tanh{}(gates[i]);
      return;
    case Cell::lstm:
      for (std::int64_t i = begin; i < end; ++i) {
        const T in = logistic(gates[i]), keep = logistic(gates[n + i]), g = Tanh{}(gates[2 * n + i]),
                out = logistic(gates[3 * n + i]);
        const T c = multiply_add(keep, c_before[i], in * g);
        gates[i] = in;
        gates[n + i] = keep;
        gates[2 * n + i] = g;
        gates[3 * n + i] = out;
        memory[i] = c;
        h[i] = out * Tanh{}(c);
      }
      return;
    case Cell::gru:
      for (std::int64_t i = begin; i < end; ++i) {
        const T r = logistic(gates[i]), z = logistic(gates[n + i]);
        const T candidate = Tanh{}(multiply_add(r, memory[i], gates[2 * n + i]));
        gates[i] = r;
        gates[n + i] = z;
        gates[2 * n + i] = candidate;
        h[i] = multiply_add(z, h_before[i] - candidate, candidate);
      }
  }
}

// The same backwards. d_h: cotangent of this step's h; rewritten to what reaches h before directly (not
// through the weight). d_c: the same for c. d_gates: of the sums.
template <class T>
RANKINE_FORCEINLINE void cell_backward(Cell cell, std::int64_t n, std::int64_t begin, std::int64_t end,
                                       const T* gates, const T* h_before, const T* c_before, const T* memory,
                                       T* d_h, T* d_c, T* d_gates, T* d_memory) {
  switch (cell) {
    case Cell::rnn:
      for (std::int64_t i = begin; i < end; ++i) {
        d_gates[i] = d_h[i] * one_less(gates[i], gates[i]);
        d_h[i] = 0;
      }
      return;
    case Cell::lstm:
      for (std::int64_t i = begin; i < end; ++i) {
        const T in = gates[i], keep = gates[n + i], g = gates[2 * n + i], out = gates[3 * n + i];
        const T top = Tanh{}(memory[i]);
        const T dc = multiply_add(d_h[i] * out, one_less(top, top), d_c[i]);
        d_gates[i] = dc * g * in * (1 - in);
        d_gates[n + i] = dc * c_before[i] * keep * (1 - keep);
        d_gates[2 * n + i] = dc * in * one_less(g, g);
        d_gates[3 * n + i] = d_h[i] * top * out * (1 - out);
        d_c[i] = dc * keep;
        d_h[i] = 0;
      }
      return;
    case Cell::gru:
      for (std::int64_t i = begin; i < end; ++i) {
        const T r = gates[i], z = gates[n + i], candidate = gates[2 * n + i];
        const T d_candidate = d_h[i] * (1 - z) * one_less(candidate, candidate);
        d_gates[i] = d_candidate * memory[i] * r * (1 - r);
        d_gates[n + i] = d_h[i] * (h_before[i] - candidate) * z * (1 - z);
        d_gates[2 * n + i] = d_candidate;
        d_memory[i] = d_candidate * r;
        d_h[i] = d_h[i] * z;
      }
  }
}

#if !RANKINE_ON_DEVICE
using blas::gemm;
using blas::Op;

// Null of an undefined array.
template <class T>
T* part(const View<T>& all, std::int64_t offset) {
  return all.defined() ? all.at(offset) : nullptr;
}

// One shard's arrays, null where the cell has none.
template <class T>
struct ShardArrays {
  const T *weight, *bias, *h0, *c0;
  T *gates, *hidden, *memory, *work;
};
template <class T>
struct ShardGradients {
  const T *d_hidden, *d_last_c;
  T *d_x, *d_weight, *d_bias, *d_h0, *d_c0, *d_memory, *work;
};

// The state before step t: rows and their distance.
template <class T>
struct Rows {
  const T* data;
  std::int64_t distance;
};
template <class T>
Rows<T> state_before(const RecurrentShape& s, const T* first, const T* all, std::int64_t t) {
  if (t == 0) return {first, s.hidden};
  return {all + (t - 1) * s.hidden, s.steps * s.hidden};
}

template <class T>
void shard_forward(const RecurrentShape& s, const ShardArrays<T>& a) {
  const std::int64_t n = s.hidden, gates = s.gates(), gate_rows = s.steps * gates, rows = s.steps * n;
  // Gates that take W h as it is; the candidate of a GRU is the one that does not.
  const std::int64_t direct = s.cell == Cell::gru ? 2 * n : gates;
  for (std::int64_t i = 0; i < gates; ++i)
    for (std::int64_t j = 0; j < n; ++j) a.work[j * gates + i] = a.weight[i * n + j];
  for (std::int64_t t = 0; t < s.steps; ++t) {
    const auto h = state_before(s, a.h0, static_cast<const T*>(a.hidden), t);
    const auto c = state_before(s, a.c0, static_cast<const T*>(a.memory), t);
    T* at = a.gates + t * gates;
    gemm(Op::none, Op::none, s.batch, direct, n, T(1), h.data, h.distance, a.work, gates, T(1), at,
         gate_rows);
    if (s.cell == Cell::gru) {
      T* m = a.memory + t * n;
      for (std::int64_t b = 0; b < s.batch; ++b)
        for (std::int64_t i = 0; i < n; ++i) m[b * rows + i] = a.bias == nullptr ? T(0) : a.bias[i];
      gemm(Op::none, Op::none, s.batch, n, n, T(1), h.data, h.distance, a.work + direct, gates, T(1), m,
           rows);
    }
    for (std::int64_t b = 0; b < s.batch; ++b)
      cell_forward(s.cell, n, 0, n, at + b * gate_rows, h.data + b * h.distance,
                   s.cell == Cell::lstm ? c.data + b * c.distance : nullptr,
                   s.cell == Cell::rnn ? nullptr : a.memory + b * rows + t * n, a.hidden + b * rows + t * n);
  }
}

template <class T>
void shard_backward(const RecurrentShape& s, const ShardArrays<T>& a, const ShardGradients<T>& g) {
  const std::int64_t n = s.hidden, gates = s.gates(), gate_rows = s.steps * gates, rows = s.steps * n;
  const std::int64_t direct = s.cell == Cell::gru ? 2 * n : gates;
  T* d_h = g.work;
  T* d_c = d_h + s.batch * n;
  std::fill_n(d_h, s.batch * n, T(0));
  if (s.cell == Cell::lstm) {
    if (g.d_last_c == nullptr) {
      std::fill_n(d_c, s.batch * n, T(0));
    } else {
      std::copy_n(g.d_last_c, s.batch * n, d_c);
    }
  }
  for (std::int64_t t = s.steps - 1; t >= 0; --t) {
    const auto h = state_before(s, a.h0, static_cast<const T*>(a.hidden), t);
    const auto c = state_before(s, a.c0, static_cast<const T*>(a.memory), t);
    T* at = g.d_x + t * gates;
    for (std::int64_t b = 0; b < s.batch; ++b) {
      const std::int64_t here = b * rows + t * n;
      if (g.d_hidden != nullptr)
        for (std::int64_t i = 0; i < n; ++i) d_h[b * n + i] += g.d_hidden[here + i];
      cell_backward(s.cell, n, 0, n, static_cast<const T*>(a.gates) + b * gate_rows + t * gates,
                    h.data + b * h.distance, s.cell == Cell::lstm ? c.data + b * c.distance : nullptr,
                    s.cell == Cell::rnn ? nullptr : a.memory + here, d_h + b * n, d_c + b * n,
                    at + b * gate_rows, s.cell == Cell::gru ? g.d_memory + here : nullptr);
    }
    gemm(Op::none, Op::none, s.batch, n, direct, T(1), at, gate_rows, a.weight, n, T(1), d_h, n);
    if (s.cell == Cell::gru)
      gemm(Op::none, Op::none, s.batch, n, n, T(1), g.d_memory + t * n, rows, a.weight + direct * n, n, T(1),
           d_h, n);
  }
  std::copy_n(d_h, s.batch * n, g.d_h0);
  if (s.cell == Cell::lstm) std::copy_n(d_c, s.batch * n, g.d_c0);

  // The weight: first steps of all samples together, then each sample's others.
  const auto add_products = [&](const T* d, std::int64_t distance, std::int64_t count, T* to) {
    gemm(Op::transpose, Op::none, count, n, s.batch, T(1), d, s.steps * distance, a.h0, n, T(0), to, n);
    for (std::int64_t b = 0; b < s.batch && s.steps > 1; ++b)
      gemm(Op::transpose, Op::none, count, n, s.steps - 1, T(1), d + (b * s.steps + 1) * distance, distance,
           a.hidden + b * rows, n, T(1), to, n);
  };
  add_products(g.d_x, gates, direct, g.d_weight);
  if (s.cell != Cell::gru) return;
  add_products(g.d_memory, n, n, g.d_weight + direct * n);
  if (g.d_bias == nullptr) return;
  std::fill_n(g.d_bias, n, T(0));
  for (std::int64_t r = 0; r < s.batch * s.steps; ++r)
    for (std::int64_t i = 0; i < n; ++i) g.d_bias[i] += g.d_memory[r * n + i];
}

template <class T>
struct ForwardUnit {
  RecurrentShape s;
  View<const T> weight, bias, h0, c0;
  View<T> gates, hidden, memory, work;
  void operator()(std::int64_t l) const {
    const std::int64_t state = s.batch * s.hidden, all = state * s.steps;
    shard_forward(
        s, ShardArrays<T>{weight.at(l * s.weight_step), part(bias, l * s.bias_step), h0.at(l * state),
                          part(c0, l * state), gates.at(l * s.steps * s.batch * s.gates()),
                          hidden.at(l * all), part(memory, l * all), work.at(l * s.gates() * s.hidden)});
  }
};

template <class T>
struct BackwardUnit {
  RecurrentShape s;
  View<const T> weight, bias, h0, c0, d_hidden, d_last_c;
  View<T> gates, hidden, memory, d_x, d_weight, d_bias, d_h0, d_c0, d_memory, work;
  void operator()(std::int64_t l) const {
    const std::int64_t n = s.hidden, state = s.batch * n, all = state * s.steps,
                       sums = s.steps * s.batch * s.gates();
    shard_backward(s,
                   ShardArrays<T>{weight.at(l * s.weight_step), part(bias, l * s.bias_step), h0.at(l * state),
                                  part(c0, l * state), gates.at(l * sums), hidden.at(l * all),
                                  part(memory, l * all), nullptr},
                   ShardGradients<T>{part(d_hidden, l * all), part(d_last_c, l * state), d_x.at(l * sums),
                                     d_weight.at(l * s.gates() * n), part(d_bias, l * n), d_h0.at(l * state),
                                     part(d_c0, l * state), part(d_memory, l * all), work.at(l * 2 * state)});
  }
};
#endif

// weight [shards][gates][n] to [shards][n][gates]: neighbouring threads, which have neighbouring gates, then
// read side by side.
template <class T>
struct TransposedWeight {
  RecurrentShape s;
  View<const T> weight;
  RANKINE_ELEMENT T operator()(std::int64_t at) const {
    const std::int64_t gates = s.width * s.hidden, g = at % gates, j = at / gates % s.hidden,
                       l = at / (gates * s.hidden);
    return weight[l * s.weight_step + g * s.hidden + j];
  }
};

// One element (shard, sample, i) of step t.
template <class T>
struct StepForward {
  RecurrentShape s;
  std::int64_t t;
  View<const T> bias, h0, c0, transposed;
  View<T> gates, hidden, memory;
  RANKINE_KERNEL void operator()(std::int64_t at) const {
    const std::int64_t n = s.hidden, width = s.width * n, i = at % n, sample = at / n, l = sample / s.batch;
    const std::int64_t here = (sample * s.steps + t) * n;
    const T* h = t == 0 ? h0.at(sample * n) : hidden.at(here - n);
    T* mine = gates.at((sample * s.steps + t) * width);
    T* m = memory.defined() ? memory.at(here) : nullptr;
    const T* w = transposed.at(l * n * width);
    for (std::int64_t k = 0; k < s.width; ++k) {
      T sum = 0;
      for (std::int64_t j = 0; j < n; ++j) sum = multiply_add(w[j * width + k * n + i], h[j], sum);
      if (s.cell == Cell::gru && k == 2)
        m[i] = bias.defined() ? bias[l * s.bias_step + i] + sum : sum;
      else
        mine[k * n + i] += sum;
    }
    const T* c = s.cell != Cell::lstm ? nullptr : t == 0 ? c0.at(sample * n) : memory.at(here - n);
    cell_forward(s.cell, n, i, i + 1, mine, h, c, m, hidden.at(here));
  }
};

// The same backwards: first what the sums of step t + 1 send to h, then the cell of step t. At t = -1 what
// remains goes to h0 and c0.
template <class T>
struct StepBackward {
  RecurrentShape s;
  std::int64_t t;
  View<const T> weight, h0, c0, gates, hidden, memory, d_hidden, d_last_c;
  View<T> d_x, d_h0, d_c0, d_memory, work;
  RANKINE_KERNEL void operator()(std::int64_t at) const {
    const std::int64_t n = s.hidden, width = s.width * n, i = at % n, sample = at / n, l = sample / s.batch;
    const std::int64_t here = (sample * s.steps + t) * n, state = s.shards * s.batch * n;
    T *d_h = work.at(sample * n), *d_c = work.at(state + sample * n);
    if (t + 1 == s.steps) {
      d_h[i] = T(0);
      if (s.cell == Cell::lstm) d_c[i] = d_last_c.defined() ? d_last_c[sample * n + i] : T(0);
    } else {
      const T* w = weight.at(l * s.weight_step);
      const T* d = d_x.at((sample * s.steps + t + 1) * width);
      const std::int64_t direct = s.cell == Cell::gru ? 2 * n : width;
      T sum = 0;
      for (std::int64_t g = 0; g < direct; ++g) sum = multiply_add(d[g], w[g * n + i], sum);
      d_h[i] = d_h[i] + sum;
      if (s.cell == Cell::gru) {
        const T* dm = d_memory.at(here + n);
        sum = 0;
        for (std::int64_t g = 0; g < n; ++g) sum = multiply_add(dm[g], w[(direct + g) * n + i], sum);
        d_h[i] = d_h[i] + sum;
      }
    }
    if (t < 0) {
      d_h0[sample * n + i] = d_h[i];
      if (s.cell == Cell::lstm) d_c0[sample * n + i] = d_c[i];
      return;
    }
    if (d_hidden.defined()) d_h[i] += d_hidden[here + i];
    const T* c = s.cell != Cell::lstm ? nullptr : t == 0 ? c0.at(sample * n) : memory.at(here - n);
    cell_backward(s.cell, n, i, i + 1, gates.at((sample * s.steps + t) * width),
                  t == 0 ? h0.at(sample * n) : hidden.at(here - n), c,
                  memory.defined() ? memory.at(here) : nullptr, d_h, d_c,
                  d_x.at((sample * s.steps + t) * width), s.cell == Cell::gru ? d_memory.at(here) : nullptr);
  }
};

// d_weight[l][g][j]: first steps of all samples together, then each sample's others.
template <class T>
struct WeightGradient {
  RecurrentShape s;
  View<const T> h0, hidden, d_x, d_memory;
  RANKINE_ELEMENT T operator()(std::int64_t at) const {
    const std::int64_t n = s.hidden, width = s.width * n, j = at % n, g = at / n % width,
                       l = at / (n * width);
    const bool candidate = s.cell == Cell::gru && g >= 2 * n;
    const std::int64_t distance = candidate ? n : width;
    const T* d = candidate ? d_memory.at(l * s.batch * s.steps * n + g - 2 * n)
                           : d_x.at(l * s.batch * s.steps * width + g);
    T total = 0;
    for (std::int64_t b = 0; b < s.batch; ++b)
      total = multiply_add(d[b * s.steps * distance], h0[(l * s.batch + b) * n + j], total);
    for (std::int64_t b = 0; b < s.batch && s.steps > 1; ++b) {
      T sum = 0;
      for (std::int64_t t = 1; t < s.steps; ++t)
        sum = multiply_add(d[(b * s.steps + t) * distance],
                           hidden[((l * s.batch + b) * s.steps + t - 1) * n + j], sum);
      total = total + sum;
    }
    return total;
  }
};
template <class T>
struct BiasGradient {
  RecurrentShape s;
  View<const T> d_memory;
  RANKINE_ELEMENT T operator()(std::int64_t at) const {
    const std::int64_t n = s.hidden, count = s.batch * s.steps;
    T sum = 0;
    for (std::int64_t r = 0; r < count; ++r) sum += d_memory[(at / n * count + r) * n + at % n];
    return sum;
  }
};
/// `products` products with the weights in each step; `arrays` arrays of the gates' size, and as many of h
/// and c each.
template <class T>
Cost cost_of(const RecurrentShape& s, int products, int arrays) {
  const std::int64_t cells = s.shards * s.batch * s.steps, weights = s.gates() * s.hidden;
  return {2.0 * products * static_cast<double>(cells) * static_cast<double>(weights),
          in_bytes<T>(cells * arrays * (s.gates() + s.hidden * (s.cell == Cell::rnn ? 1 : 2)) +
                      products * (s.weight_step == 0 ? 1 : s.shards) * weights)};
}

}  // namespace

template <class T>
void recurrent_forward(const RecurrentShape& s, const RecurrentArrays<T>& a, DevicePtr<T> work) {
  count_work("recurrent", cost_of<T>(s, 1, 2));
  if (runs_portable(Tuned::recurrent)) {
    map_index("recurrent", TransposedWeight<T>{s, a.weight}, s.shards * s.gates() * s.hidden, work);
    const DevicePtr<const T> transposed = work;
    for (std::int64_t t = 0; t < s.steps; ++t)
      units("recurrent", s.shards * s.batch * s.hidden,
            StepForward<T>{s, t, a.bias, a.h0, a.c0, transposed, a.gates, a.hidden, a.memory});
    return;
  }
#if !RANKINE_ON_DEVICE
  units("recurrent", s.shards,
        ForwardUnit<T>{s, a.weight, a.bias, a.h0, a.c0, a.gates, a.hidden, a.memory, work});
#endif
}

template <class T>
void recurrent_backward(const RecurrentShape& s, const RecurrentArrays<T>& a, const RecurrentGradients<T>& g,
                        DevicePtr<T> work) {
  count_work("recurrent_backward", cost_of<T>(s, 2, 2));
  if (runs_portable(Tuned::recurrent_backward)) {
    const DevicePtr<const T> gates = a.gates, hidden = a.hidden, memory = a.memory, d_x = g.d_x,
                             d_memory = g.d_memory;
    for (std::int64_t t = s.steps - 1; t >= -1; --t)
      units("recurrent_backward", s.shards * s.batch * s.hidden,
            StepBackward<T>{s, t, a.weight, a.h0, a.c0, gates, hidden, memory, g.d_hidden, g.d_last_c, g.d_x,
                            g.d_h0, g.d_c0, g.d_memory, work});
    map_index("recurrent_backward", WeightGradient<T>{s, a.h0, hidden, d_x, d_memory},
              s.shards * s.gates() * s.hidden, g.d_weight);
    if (g.d_bias)
      map_index("recurrent_backward", BiasGradient<T>{s, d_memory}, s.shards * s.hidden, g.d_bias);
    return;
  }
#if !RANKINE_ON_DEVICE
  units("recurrent_backward", s.shards,
        BackwardUnit<T>{s, a.weight, a.bias, a.h0, a.c0, g.d_hidden, g.d_last_c, a.gates, a.hidden, a.memory,
                        g.d_x, g.d_weight, g.d_bias, g.d_h0, g.d_c0, g.d_memory, work});
#endif
}

#define RANKINE_INSTANTIATE(T)                                                                     \
  template void recurrent_forward(const RecurrentShape&, const RecurrentArrays<T>&, DevicePtr<T>); \
  template void recurrent_backward(const RecurrentShape&, const RecurrentArrays<T>&,               \
                                   const RecurrentGradients<T>&, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
