// Products with sparse matrices by rows, of single numbers or of blocks, and their gradients: what multiplies
// graphs, pruned 1 x 1 convolutions of planar images, and pruned dense layers. Each function is one launch. No
// Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// A sparse matrix by rows of blocks on the device. The entries of block row i are offsets[i] .. offsets[i + 1];
/// entry e is a block of `outputs` rows from i * outputs on and `inputs` columns from column[e] * inputs on, one
/// of which is 1, with the numbers values[entry[e] * outputs * inputs ...] (entry null: e). N:M sparsity is
/// outputs = inputs = 1 with rows of one length.
struct CsrRows {
  std::int64_t rows, entries;
  DevicePtr<const std::int64_t> offsets, column, entry;
  std::int64_t outputs = 1, inputs = 1;
};
/// y[l][i][:] = bias[i] + sum_j matrix[i][j] x[l][j][:], one chain of multiply_add from the bias (null: 0) over
/// the entries of a row and the columns of each. x [lead][columns][width], y [lead][rows * outputs][width];
/// values and biases of index l start at l times their step. The transposed matrix gives the gradient to x.
template <class T>
void csr_product(const CsrRows& matrix, std::int64_t lead, std::int64_t columns, std::int64_t width,
                 DevicePtr<const T> values, std::int64_t value_step, DevicePtr<const T> x, DevicePtr<T> y,
                 DevicePtr<const T> bias = {}, std::int64_t bias_step = 0);
/// The gradient to the values, z[l][e][r] = a[l][row[e] * outputs + r][:] . b[l][column[e]][:] for all entries:
/// 8 lanes, then halves. a [lead][rows][width].
template <class T>
void csr_sampled_product(std::int64_t entries, std::int64_t outputs, DevicePtr<const std::int64_t> row,
                         DevicePtr<const std::int64_t> column, std::int64_t lead, std::int64_t rows,
                         std::int64_t columns, std::int64_t width, DevicePtr<const T> a, DevicePtr<const T> b,
                         DevicePtr<T> z);

}  // namespace rankine::kernels
