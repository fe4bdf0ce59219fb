#include "kernels/recurrent.hpp"

#include <algorithm>

#include "kernels/blas.hpp"
#include "kernels/pointwise.hpp"

namespace rankine::kernels {
namespace {

using blas::gemm;
using blas::Op;

template <class T>
RANKINE_FORCEINLINE T logistic(T x) {
  return T(0.5) + T(0.5) * Tanh{}(T(0.5) * x);
}

// One sample's step. `gates` holds sums and receives activations; `before` are h and c (or null) before.
template <class T>
void cell_forward(Cell cell, std::int64_t n, T* gates, const T* h_before, const T* c_before, T* memory,
                  T* h) {
  switch (cell) {
    case Cell::rnn:
      for (std::int64_t i = 0; i < n; ++i) h[i] = gates[i] = Tanh{}(gates[i]);
      return;
    case Cell::lstm:
      for (std::int64_t i = 0; i < n; ++i) {
        const T in = logistic(gates[i]), keep = logistic(gates[n + i]), g = Tanh{}(gates[2 * n + i]),
                out = logistic(gates[3 * n + i]);
        const T c = keep * c_before[i] + in * g;
        gates[i] = in;
        gates[n + i] = keep;
        gates[2 * n + i] = g;
        gates[3 * n + i] = out;
        memory[i] = c;
        h[i] = out * Tanh{}(c);
      }
      return;
    case Cell::gru:
      for (std::int64_t i = 0; i < n; ++i) {
        const T r = logistic(gates[i]), z = logistic(gates[n + i]);
        const T candidate = Tanh{}(gates[2 * n + i] + r * memory[i]);
        gates[i] = r;
        gates[n + i] = z;
        gates[2 * n + i] = candidate;
        h[i] = candidate + z * (h_before[i] - candidate);
      }
  }
}

// d_h: cotangent of this step's h; rewritten to what reaches h before directly (not through the weight). d_c:
// the same for c. d_gates: of the sums.
template <class T>
void cell_backward(Cell cell, std::int64_t n, const T* gates, const T* h_before, const T* c_before,
                   const T* memory, T* d_h, T* d_c, T* d_gates, T* d_memory) {
  switch (cell) {
    case Cell::rnn:
      for (std::int64_t i = 0; i < n; ++i) {
        d_gates[i] = d_h[i] * (1 - gates[i] * gates[i]);
        d_h[i] = 0;
      }
      return;
    case Cell::lstm:
      for (std::int64_t i = 0; i < n; ++i) {
        const T in = gates[i], keep = gates[n + i], g = gates[2 * n + i], out = gates[3 * n + i];
        const T top = Tanh{}(memory[i]);
        const T dc = d_c[i] + d_h[i] * out * (1 - top * top);
        d_gates[i] = dc * g * in * (1 - in);
        d_gates[n + i] = dc * c_before[i] * keep * (1 - keep);
        d_gates[2 * n + i] = dc * in * (1 - g * g);
        d_gates[3 * n + i] = d_h[i] * top * out * (1 - out);
        d_c[i] = dc * keep;
        d_h[i] = 0;
      }
      return;
    case Cell::gru:
      for (std::int64_t i = 0; i < n; ++i) {
        const T r = gates[i], z = gates[n + i], candidate = gates[2 * n + i];
        const T d_candidate = d_h[i] * (1 - z) * (1 - candidate * candidate);
        d_gates[i] = d_candidate * memory[i] * r * (1 - r);
        d_gates[n + i] = d_h[i] * (h_before[i] - candidate) * z * (1 - z);
        d_gates[2 * n + i] = d_candidate;
        d_memory[i] = d_candidate * r;
        d_h[i] = d_h[i] * z;
      }
  }
}

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

}  // namespace

template <class T>
void recurrent_forward(const RecurrentShape& s, const RecurrentArrays<T>& a) {
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
      cell_forward(s.cell, n, at + b * gate_rows, h.data + b * h.distance,
                   s.cell == Cell::lstm ? c.data + b * c.distance : nullptr,
                   s.cell == Cell::rnn ? nullptr : a.memory + b * rows + t * n, a.hidden + b * rows + t * n);
  }
}

template <class T>
void recurrent_backward(const RecurrentShape& s, const RecurrentArrays<T>& a,
                        const RecurrentGradients<T>& g) {
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
      cell_backward(s.cell, n, static_cast<const T*>(a.gates) + b * gate_rows + t * gates,
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

template void recurrent_forward(const RecurrentShape&, const RecurrentArrays<float>&);
template void recurrent_forward(const RecurrentShape&, const RecurrentArrays<double>&);
template void recurrent_backward(const RecurrentShape&, const RecurrentArrays<float>&,
                                 const RecurrentGradients<float>&);
template void recurrent_backward(const RecurrentShape&, const RecurrentArrays<double>&,
                                 const RecurrentGradients<double>&);

}  // namespace rankine::kernels
