// The largest of many numbers. No Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// Elements of `work` that top_mask() needs for n numbers.
std::int64_t top_mask_workspace(std::int64_t n);

/// mask[i] = 1 where x[i] is one of the k largest of n numbers, else 0; equals of the k-th largest are marked
/// too. k in 1 .. n, no NaN. T: float, double.
template <class T>
void top_mask(std::int64_t n, std::int64_t k, DevicePtr<const T> x, DevicePtr<std::int64_t> work,
              DevicePtr<T> mask);

/// mask[i] = 1 where |x[i]| is one of the n largest of its group of m numbers side by side, of equals the earlier,
/// else 0. T: float, double.
template <class T>
void largest_of_each(std::int64_t groups, std::int64_t m, std::int64_t n, DevicePtr<const T> x,
                     DevicePtr<T> mask);

}  // namespace rankine::kernels
