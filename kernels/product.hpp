// Products of many matrices in one launch, and the sums that gradients of parameters need beside them. No
// Kokkos here.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/blas.hpp"
#include "kernels/device.hpp"

namespace rankine::kernels {

/// C[u] = alpha op(A[u]) op(B[u]) + beta C[u], row-major, for all u = (u0, u1, u2) < batch, where X[u] lies
/// u0 x_step[0] + u1 x_step[1] + u2 x_step[2] elements behind x: op(A) is m x k, op(B) is k x n; lda, ldb,
/// ldc are the distances of rows as stored. The C[u] do not overlap. The bits of a C[u] do not depend on how
/// many u there are.
struct Product {
  const char* name = "product";
  blas::Op op_a = blas::Op::none, op_b = blas::Op::none;
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldc = 0;
  std::int64_t batch[3] = {1, 1, 1};
  std::int64_t a_step[3] = {}, b_step[3] = {}, c_step[3] = {};

  std::int64_t units() const { return batch[0] * batch[1] * batch[2]; }
};

/// A vector for each u, which is added to every row of C[u], or to every column.
template <class T>
struct Bias {
  DevicePtr<const T> values;
  enum class To { rows, columns } to = To::rows;
  std::int64_t step[3] = {};
};

/// With beta = 0, C is not read. T: float, double, and complex numbers of them.
template <class T>
void product(const Product& p, T alpha, DevicePtr<const T> a, DevicePtr<const T> b, T beta, DevicePtr<T> c);
/// C[u] = op(A[u]) op(B[u]) + bias. T: float, double.
template <class T>
void product(const Product& p, DevicePtr<const T> a, DevicePtr<const T> b, const Bias<T>& bias,
             DevicePtr<T> c);

/// The same, an element at a time: one ascending chain of multiply_add over k. What a device does with small
/// matrices, and what the tests hold the tuned loops of the host against.
template <class T>
void product_portable(const Product& p, T alpha, DevicePtr<const T> a, DevicePtr<const T> b, T beta,
                      DevicePtr<T> c);
template <class T>
void product_portable(const Product& p, DevicePtr<const T> a, DevicePtr<const T> b, const Bias<T>& bias,
                      DevicePtr<T> c);

/// Parts [outer][n][count] and their sums [outer][count].
template <class T>
struct Parts {
  DevicePtr<const T> parts;
  DevicePtr<T> sums;
  std::int64_t count;
};
/// Sums over the n parts by adjacent pairs, level by level, an odd one being carried up (pair_tree of
/// kernels/reduce.hpp), for up to four arrays at once. T: float, double.
template <class T>
void sum_parts(const char* name, std::int64_t outer, std::int64_t n, std::initializer_list<Parts<T>> arrays);

/// sums[o][j] = sum_r x[o][r][j], four rows at a time, in order. T: float, double.
template <class T>
void column_sums(const char* name, std::int64_t outer, std::int64_t rows, std::int64_t n,
                 DevicePtr<const T> x, DevicePtr<T> sums);

}  // namespace rankine::kernels
