// Many small symmetric systems side by side, one thread each. No Kokkos here.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// x [system][n] with A x = b for symmetric positive definite A [system][n][n] and b [system][n], by Cholesky
/// after a scaling by the diagonal; a row whose diagonal is 0 counts as x = 0. `work` has room for A. ok
/// [system] is 1, or 0 where a pivot is not positive or x is not finite.
void solve_spd_systems(std::int64_t systems, std::int64_t n, DevicePtr<const double> a,
                       DevicePtr<const double> b, DevicePtr<double> x, DevicePtr<double> work,
                       DevicePtr<std::int64_t> ok);

}  // namespace rankine::kernels
