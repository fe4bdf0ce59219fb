// What treats rows as a whole, or picks rows by index: softmax and the cross entropy, rows of a table by
// token and their adjoint. Each function is one launch unless it says otherwise. No Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// y[r,:] = exp(x[r,:]) / sum exp(x[r,:]), in place allowed.
template <class T>
void softmax(std::int64_t rows, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y);
/// dx = y (dy - y . dy).
template <class T>
void softmax_backward(std::int64_t rows, std::int64_t n, DevicePtr<const T> y, DevicePtr<const T> dy,
                      DevicePtr<T> dx);
/// y = x - log sum exp(x) for each row.
template <class T>
void log_softmax(std::int64_t rows, std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y);

/// loss[r] = (1 - s) (log sum exp(x[r,:]) - x[r, label]) + s (log sum exp(x[r,:]) - mean x[r,:]);
/// probabilities[r,:] = softmax(x[r,:]).
template <class T>
void cross_entropy(std::int64_t rows, std::int64_t n, DevicePtr<const T> x,
                   DevicePtr<const std::int32_t> label, double s, DevicePtr<T> loss,
                   DevicePtr<T> probabilities);
/// dx[r,:] = dloss[r] (probabilities[r,:] - (1 - s) onehot(label[r]) - s / n).
template <class T>
void cross_entropy_backward(std::int64_t rows, std::int64_t n, DevicePtr<const T> probabilities,
                            DevicePtr<const std::int32_t> label, double s, DevicePtr<const T> dloss,
                            DevicePtr<T> dx);
/// y[r, label[r]] += value.
template <class T>
void add_at_labels(std::int64_t rows, std::int64_t n, DevicePtr<const std::int32_t> label, double value,
                   DevicePtr<T> y);
/// right[r] = 1 where the first of the largest x[r,:] stands at label[r], else 0.
template <class T>
void right_classes(std::int64_t rows, std::int64_t n, DevicePtr<const T> x,
                   DevicePtr<const std::int32_t> label, DevicePtr<double> right);

/// safe = index where 0 <= index < n, else 0; *flag = 1 + the first place where it is not, or 0. `work` has
/// index_check_work(count) elements. Several launches.
std::int64_t index_check_work(std::int64_t count);
void check_indices(std::int64_t count, std::int64_t n, DevicePtr<const std::int32_t> index,
                   DevicePtr<std::int32_t> safe, DevicePtr<std::int64_t> flag, DevicePtr<std::int64_t> work);

/// Tables [shards][vocabulary][width] whose shards and rows lie at distances.
struct TableShape {
  std::int64_t shards, vocabulary, width, shard_step, row_step;
};
/// y[l][i][:] = table[l][token[l][i]][:], tokens [shards][count].
template <class T>
void rows_by_token(const TableShape& shape, std::int64_t count, DevicePtr<const T> table,
                   DevicePtr<const std::int32_t> token, DevicePtr<T> y);
/// The adjoint: rows [shards][count][width] summed by token, in the order of the tokens, into y
/// [shards][vocabulary][width], which is dense and overwritten.
template <class T>
void sum_rows_by_token(const TableShape& shape, std::int64_t count, DevicePtr<const T> rows,
                       DevicePtr<const std::int32_t> token, DevicePtr<T> y);

}  // namespace rankine::kernels
