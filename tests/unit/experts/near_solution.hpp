// What tests of whole losses share: a small network, its inputs, fields near a solution, and the error of a
// gradient.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "src/experts/storage_problem.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/nn/fno_support.hpp"

namespace rankine::testing {

/// Sample s starts from this constant state.
inline double initial_state(int s) { return 0.08 + 0.06 * s; }

inline Fno2d small_fno(const TileGrid& grid, int outputs, const char* precision) {
  Fno2dOptions o;
  o.widths = {6, 6};
  o.modes_t = o.modes_x = 3;
  o.projection = 8;
  o.precision = precision;
  return Fno2d(o, serial_context(grid, 3, outputs));
}

/// [tiles, samples, channels, ...] of what `value` says of sample, channel, frame (from 1) and cell.
inline Tensor fields(const TileGrid& grid, int samples, int channels, DType type,
                     const std::function<double(int s, int channel, int frame, int cell)>& value) {
  std::vector<double> values;
  for (int s = 0; s < samples; ++s)
    for (int channel = 0; channel < channels; ++channel)
      for (int j = 1; j <= static_cast<int>(grid.nt()); ++j)
        for (int i = 0; i < static_cast<int>(grid.nx()); ++i) values.push_back(value(s, channel, j, i));
  const NoGrad off;
  return cast(
      cut_tiles(Tensor::from(values, {samples, channels, grid.nt(), grid.nx()}), TilePartition(grid, 1, 0)),
      type);
}

/// Inputs as the training gives them: time, place, initial state.
inline Tensor inputs(const TileGrid& grid, int samples, DType type) {
  return fields(grid, samples, 3, type, [&](int s, int channel, int j, int i) {
    return channel == 0   ? j / static_cast<double>(grid.nt())
           : channel == 1 ? (i + 0.5) / static_cast<double>(grid.nx())
                          : 5 * initial_state(s);
  });
}

/// Fields near the exact discrete solution, to which a test's network adds a tenth of its output: a state as
/// training reaches it, whose solves converge and whose u stays away from 0.
inline Tensor near_solution(const StorageModel& storage, const TileGrid& grid, int samples, int channels,
                            DType type) {
  std::vector<std::vector<double>> exact;
  for (int s = 0; s < samples; ++s)
    exact.push_back(storage.sample(std::vector<double>(grid.nx(), initial_state(s))).solve_exactly());
  return fields(grid, samples, channels, type, [&](int s, int channel, int j, int i) {
    const double time = j / static_cast<double>(grid.nt()), y = (i + 0.5) / static_cast<double>(grid.nx());
    const double shape =
        channel == 0 ? 1 + 0.1 * std::cos(5 * y + 3 * time) : std::cos(1.3 * channel * y) + 0.8 * time;
    return (0.03 + exact[s][j * grid.nx() + i]) * shape;
  });
}

/// Relative error of gradient . direction against central differences (Richardson's fourth order) of
/// `loss_of`, with the best of three steps.
inline double error_along(const std::vector<double>& direction, const std::vector<double>& gradient,
                          const ParameterSet& parameters,
                          const std::function<double(const ParameterSet&)>& loss_of) {
  const double slope = std::inner_product(gradient.begin(), gradient.end(), direction.begin(), 0.0);
  const auto along = [&](double h) {
    const ParameterSet moved = parameters.clone();
    for (std::int64_t i = 0; i < moved.count(); ++i) host_update<double>(moved.flat())[i] += h * direction[i];
    return loss_of(moved);
  };
  double error = 1;
  for (double h : {1e-4, 2e-5, 4e-6}) {
    const auto difference = [&](double step) { return (along(step) - along(-step)) / (2 * step); };
    error = std::min(error, std::abs((4 * difference(h) - difference(2 * h)) / 3 - slope) / std::abs(slope));
  }
  return error;
}

/// x / |x|_2.
inline std::vector<double> unit(std::vector<double> x) {
  const double length = std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
  for (double& value : x) value /= length;
  return x;
}

}  // namespace rankine::testing
