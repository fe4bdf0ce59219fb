// Moving elements: copies between strides, fills, rows by index. No Kokkos here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/device.hpp"
#include "kernels/strided.hpp"

namespace rankine::kernels {

/// y = x, elements of `bytes` bytes (1, 4, 8, 16). The two share no element.
void copy(std::size_t bytes, const Strided<2>& s, DevicePtr<const std::byte> x, DevicePtr<std::byte> y);

/// n times the element of `bytes` bytes (1, 4, 8, 16) at `value`, which lies on the host.
void fill(std::size_t bytes, std::int64_t n, const void* value, DevicePtr<std::byte> y);

/// first[0] = the first position, counted from 1, whose index is not in 0 .. extent - 1; 0 where all are.
/// `work` has the elements that first_outside_workspace() says.
std::int64_t first_outside_workspace(std::int64_t n);
void first_outside(std::int64_t n, std::int64_t extent, DevicePtr<const std::int64_t> index,
                   DevicePtr<std::int64_t> first, DevicePtr<std::int64_t> work);

/// y[o, r, i] = x[o, index[r], i] for x [outer, extent, inner] and `rows` indices; an index outside takes the
/// first row or the last.
void gather_rows(std::size_t bytes, std::int64_t outer, std::int64_t extent, std::int64_t rows,
                 std::int64_t inner, DevicePtr<const std::int64_t> index, DevicePtr<const std::byte> x,
                 DevicePtr<std::byte> y);

/// The n positions sorted by their index: those of target t, in order, are order[begin[t]] .. order[begin[t +
/// 1] - 1], t < targets. Indices outside have none. `order` and `work` have n elements, `begin` targets + 1.
void inverse_index(std::int64_t n, std::int64_t targets, DevicePtr<const std::int64_t> index,
                   DevicePtr<std::int64_t> order, DevicePtr<std::int64_t> begin,
                   DevicePtr<std::int64_t> work);

/// y[o, t, i] = sum of x[o, p, i] over the positions p of target t in order, for x [outer, n, inner]. T:
/// float, double and their complex numbers.
template <class T>
void sum_by_target(std::int64_t outer, std::int64_t n, std::int64_t targets, std::int64_t inner,
                   DevicePtr<const std::int64_t> order, DevicePtr<const std::int64_t> begin,
                   DevicePtr<const T> x, DevicePtr<T> y);

}  // namespace rankine::kernels
