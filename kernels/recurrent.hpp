// Recurrent cells over a whole sequence, forward and backward. The inputs come already multiplied by their
// weights; the recurrence adds what the hidden state gives:
//   rnn:   h = tanh(x + W h)
//   lstm:  (i, f, g, o) = x + W h;  c = s(f) c + s(i) tanh(g);  h = s(o) tanh(c)
//   gru:   (r, z) = s(x_rz + W_rz h);  m = W_n h + b;  n = tanh(x_n + r m);  h = (1 - z) n + z h
// with s the logistic function (Hochreiter and Schmidhuber, 1997; Cho et al., arXiv 1406.1078). On a device
// each time step is one launch for all shards and samples. No Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

enum class Cell { rnn, lstm, gru };

/// Blocks of `hidden` rows in the weight: 1, 4 or 3.
constexpr std::int64_t gates_of(Cell cell) { return cell == Cell::rnn ? 1 : cell == Cell::lstm ? 4 : 3; }

struct RecurrentShape {
  Cell cell;
  std::int64_t shards, batch, steps, hidden;
  /// Distances between the shards of weight and bias; 0 where all have the same.
  std::int64_t weight_step, bias_step;
  std::int64_t width = gates_of(cell);  ///< blocks of `hidden` sums

  std::int64_t gates() const { return width * hidden; }
  /// Elements of `work`.
  std::int64_t forward_work() const { return shards * gates() * hidden; }
  std::int64_t backward_work() const { return shards * 2 * batch * hidden; }
};

/// Arrays are dense but for the distances of weight and bias.
template <class T>
struct RecurrentArrays {
  DevicePtr<const T> weight;  ///< [shards][gates][hidden]
  DevicePtr<const T> bias;    ///< gru: b [shards][hidden], or null
  DevicePtr<const T> h0;      ///< [shards][batch][hidden]
  DevicePtr<const T> c0;      ///< lstm: [shards][batch][hidden]
  DevicePtr<T> gates;         ///< [shards][batch][steps][gates]: in, x; out, the gates after their functions
  DevicePtr<T> hidden;        ///< [shards][batch][steps][hidden]: h
  DevicePtr<T> memory;        ///< [shards][batch][steps][hidden]: lstm c, gru m
};
template <class T>
void recurrent_forward(const RecurrentShape& shape, const RecurrentArrays<T>& arrays, DevicePtr<T> work);

/// `in` after recurrent_forward (which it does not change). d_hidden [shards][batch][steps][hidden] and
/// d_last_c [shards][batch][hidden] (lstm) may be null: 0. Overwrites d_x [shards][batch][steps][gates],
/// d_weight [shards][gates][hidden], d_bias (gru) [shards][hidden], d_h0, d_c0 (lstm), and d_memory
/// [shards][batch][steps][hidden] (gru: d m).
template <class T>
struct RecurrentGradients {
  DevicePtr<const T> d_hidden, d_last_c;
  DevicePtr<T> d_x, d_weight, d_bias, d_h0, d_c0, d_memory;
};
template <class T>
void recurrent_backward(const RecurrentShape& shape, const RecurrentArrays<T>& in,
                        const RecurrentGradients<T>& out, DevicePtr<T> work);

}  // namespace rankine::kernels
