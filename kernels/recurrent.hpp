// Recurrent cells over a whole sequence, forward and backward. The inputs come already multiplied by their
// weights; the recurrence adds what the hidden state gives:
//   rnn:   h = tanh(x + W h)
//   lstm:  (i, f, g, o) = x + W h;  c = s(f) c + s(i) tanh(g);  h = s(o) tanh(c)
//   gru:   (r, z) = s(x_rz + W_rz h);  m = W_n h + b;  n = tanh(x_n + r m);  h = (1 - z) n + z h
// with s the logistic function (Hochreiter and Schmidhuber, 1997; Cho et al., arXiv 1406.1078).
#pragma once

#include <cstdint>

namespace rankine::kernels {

enum class Cell { rnn, lstm, gru };

/// Blocks of `hidden` rows in the weight: 1, 4 or 3.
constexpr std::int64_t gates_of(Cell cell) { return cell == Cell::rnn ? 1 : cell == Cell::lstm ? 4 : 3; }

struct RecurrentShape {
  Cell cell;
  std::int64_t batch, steps, hidden;
  std::int64_t gates() const { return gates_of(cell) * hidden; }
  std::int64_t forward_work() const { return gates() * hidden; }
  std::int64_t backward_work() const { return 3 * batch * hidden; }
};

/// What a pass over one shard's sequences works on. [batch][steps][...] arrays are dense.
template <class T>
struct RecurrentArrays {
  const T* weight;  ///< [gates][hidden]
  const T* bias;    ///< gru: b [hidden], or null
  const T* h0;      ///< [batch][hidden]
  const T* c0;      ///< lstm: [batch][hidden]
  T* gates;         ///< [batch][steps][gates]: in, x; out, the gates after their functions
  T* hidden;        ///< [batch][steps][hidden]: h
  T* memory;        ///< [batch][steps][hidden]: lstm c, gru m
  T* work;
};
template <class T>
void recurrent_forward(const RecurrentShape& shape, const RecurrentArrays<T>& arrays);

/// `in` after recurrent_forward (which it does not change). d_hidden [batch][steps][hidden] and d_last_c
/// [batch][hidden] (lstm) may be null: 0. Overwrites d_x [batch][steps][gates], d_weight, d_bias (gru), d_h0,
/// d_c0 (lstm), and d_memory [batch][steps][hidden] (gru: d m).
template <class T>
struct RecurrentGradients {
  const T* d_hidden;
  const T* d_last_c;
  T *d_x, *d_weight, *d_bias, *d_h0, *d_c0, *d_memory, *work;
};
template <class T>
void recurrent_backward(const RecurrentShape& shape, const RecurrentArrays<T>& in,
                        const RecurrentGradients<T>& out);

}  // namespace rankine::kernels
