#include "kernels/linear_scheme.hpp"

#include <cmath>

#include "kernels/columns.hpp"
#include "kernels/map.hpp"
#include "kernels/pointwise.hpp"

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

struct LinearResidual {
  Index samples, frames, cells;
  double scale;
  View<const double> stencil, constant, now, before, u, storage;
  View<double> r;

  /// G of the frame at `from`, in cell i.
  RANKINE_KERNEL double spatial(const double* from, Index i) const {
    const double* const row = stencil.at(3 * i);
    double sum = constant[i];
    if (i > 0) sum = multiply_add(row[0], from[i - 1], sum);
    sum = multiply_add(row[1], from[i], sum);
    return i + 1 < cells ? multiply_add(row[2], from[i + 1], sum) : sum;
  }
  RANKINE_KERNEL void operator()(Index frame, Index sample, const Columns& columns) const {
    const Index first = (sample * (frames + 1) + frame) * cells;
    const double *const old = u.at(first), *const next = old + cells;
    const double *const old_storage = storage.at(first), *const next_storage = old_storage + cells;
    const double of_next = -now[frame], of_old = -before[frame];
    double* const to = r.at(frame * cells * samples + sample);
    columns.each([&](Index i) {
      const double change = multiply_add(of_next, spatial(next, i), next_storage[i] - old_storage[i]);
      to[i * samples] = multiply_add(of_old, spatial(old, i), change) / scale;
    });
  }
};

struct LinearResidualTransposed {
  Index samples, frames, cells;
  double scale;
  View<const double> stencil, now, before, slope, s;
  View<double> out;

  /// sum + sign (D^T s)_i of the matrix D = factor stencil + diagonal / scale and the frame of s at `from`.
  RANKINE_KERNEL double add(double sign, double factor, double diagonal, const double* from, Index i,
                            double sum) const {
    const double* const row = stencil.at(3 * i);
    if (i + 1 < cells) sum = multiply_add(sign * (factor * row[3]), from[(i + 1) * samples], sum);
    const double middle = multiply_add(1 / scale, diagonal, factor * row[1]);
    sum = multiply_add(sign * middle, from[i * samples], sum);
    return i > 0 ? multiply_add(sign * (factor * row[-1]), from[(i - 1) * samples], sum) : sum;
  }
  RANKINE_KERNEL void operator()(Index frame, Index sample, const Columns& columns) const {
    const double* const slopes = slope.at((sample * (frames + 1) + frame + 1) * cells);
    const double* const own = s.at(frame * cells * samples + sample);
    const double* const later = own + cells * samples;
    const bool last = frame + 1 == frames;
    const double of_own = -now[frame] / scale, of_later = last ? 0 : before[frame + 1] / scale;
    double* const to = out.at((sample * frames + frame) * cells);
    columns.each([&](Index i) {
      const double sum = add(1, of_own, slopes[i], own, i, 0);
      to[i] = last ? sum : add(-1, of_later, slopes[i], later, i, sum);
    });
  }
};

struct ColumnLengths {
  Index rows, width;
  View<const double> x;
  View<double> length, inverse;

  RANKINE_KERNEL double square(Index r, Index c) const {
    return rounded_product(x[r * width + c], x[r * width + c]);
  }
  RANKINE_KERNEL void finish(Index c, double sum) const {
    using std::sqrt;
    const double root = sqrt(sum);
    length[c] = root;
    inverse[c] = root > 0 ? 1 / root : 0;
  }
#if RANKINE_ON_DEVICE
  /// A warp a column: its lanes read side by side, and all add what they hand to each other.
  template <class Member>
  RANKINE_KERNEL void operator()(const Member& team) const {
    const Index c = team.league_rank(), lane = lane_index();
    double sum = 0;
    for (Index first = 0; first < rows; first += kRowLanes) {
      const double own = first + lane < rows ? square(first + lane, c) : 0;
      for (int k = 0; k < kRowLanes; ++k) sum += __shfl_sync(0xffffffffu, own, k, kRowLanes);
    }
    if (lane == 0) finish(c, sum);
  }
#else
  void operator()(Index, const Columns& columns) const {
    column_sums<double, 1>(
        columns, rows, [&](Index r, Index c, double& sum) { sum += square(r, c); },
        [&](Index c, double sum) { finish(c, sum); });
  }
#endif
};

struct FreundlichPower {
  Freundlich law;
  RANKINE_FORCEINLINE double operator()(double u) const { return Power{law.exponent}(law.shifted(u)); }
};
struct FreundlichValue {
  Freundlich law;
  double least;
  RANKINE_FORCEINLINE double operator()(double u, double power) const {
    return law.storage(u, power, least).value;
  }
};
struct FreundlichCurvature {
  Freundlich law;
  RANKINE_FORCEINLINE double operator()(double u, double power) const {
    return law.storage(u, power, 0).curvature;
  }
};
struct FreundlichSlope {
  Freundlich law;
  RANKINE_FORCEINLINE double operator()(double u, double power) const {
    return law.storage(u, power, 0).slope;
  }
};

}  // namespace

void linear_residual(const LinearScheme& scheme, std::int64_t samples, DevicePtr<const double> u,
                     DevicePtr<const double> storage, DevicePtr<double> r) {
  // G of two frames, 6 flops a cell each, their factors and the change of storage.
  const Index numbers = samples * scheme.frames * scheme.cells, read = numbers + samples * scheme.cells;
  count_work("linear_residual", {18.0 * static_cast<double>(numbers), in_bytes<double>(2 * read + numbers)});
  // Frame by frame: what all samples write of a frame stays in the cache.
  grid("linear_residual", scheme.frames, samples, scheme.cells,
       LinearResidual{samples, scheme.frames, scheme.cells, scheme.scale, scheme.stencil, scheme.constant,
                      scheme.now, scheme.before, u, storage, r});
}

void linear_residual_transposed(const LinearScheme& scheme, std::int64_t samples,
                                DevicePtr<const double> slope, DevicePtr<const double> s,
                                DevicePtr<double> out) {
  // Three products of three factors from each of two frames, and the diagonals.
  const Index numbers = samples * scheme.frames * scheme.cells, read = numbers + samples * scheme.cells;
  count_work("linear_residual_transposed",
             {28.0 * static_cast<double>(numbers), in_bytes<double>(read + 2 * numbers)});
  grid("linear_residual_transposed", scheme.frames, samples, scheme.cells,
       LinearResidualTransposed{samples, scheme.frames, scheme.cells, scheme.scale, scheme.stencil,
                                scheme.now, scheme.before, slope, s, out});
}

void column_lengths(std::int64_t rows, std::int64_t columns, DevicePtr<const double> x,
                    DevicePtr<double> length, DevicePtr<double> inverse) {
  count_work("column_lengths",
             {2.0 * static_cast<double>(rows * columns), in_bytes<double>((rows + 2) * columns)});
  const ColumnLengths body{rows, columns, x, length, inverse};
#if RANKINE_ON_DEVICE
  device_teams("column_lengths", columns, 1, kRowLanes, 0, body);
#else
  kernels::columns("column_lengths", 1, columns, body);
#endif
}

void freundlich_storage(const Freundlich& law, std::int64_t n, DevicePtr<const double> u,
                        DevicePtr<double> value, DevicePtr<double> slope, DevicePtr<double> curvature) {
  const double least = Power{law.exponent}(law.regularisation);
  const DevicePtr<const double> power = slope;
  map("freundlich_power", FreundlichPower{law}, n, slope, u);
  map("freundlich_storage", FreundlichValue{law, least}, n, value, u, power);
  if (curvature) map("freundlich_curvature", FreundlichCurvature{law}, n, curvature, u, power);
  map("freundlich_slope", FreundlichSlope{law}, n, slope, u, power);
}

}  // namespace rankine::kernels
