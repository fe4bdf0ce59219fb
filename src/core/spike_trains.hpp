// Poisson spike trains as random numbers: keyed, so that any rank draws the same.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include "kernels/spiking_network.hpp"
#include "src/core/random.hpp"

namespace rankine {

/// In each of `steps` steps of `dt` ms, input i fires with the probability rates[i] * dt (rates in Hz), as
/// often as independent draws would have it; drawn as the waiting times between spikes, number n of input i
/// being keyed by (stream, presentation, i, n).
inline kernels::SpikeTrains poisson_trains(std::span<const double> rates, double dt, int steps,
                                           const RandomStream& stream, std::int64_t presentation) {
  kernels::SpikeTrains trains;
  trains.offsets.reserve(rates.size() + 1);
  trains.offsets.push_back(0);
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const double probability = rates[i] * dt * 1e-3;
    if (probability > 0) {
      // Geometric: P(wait > k) = (1 - p)^k.
      const double scale = probability < 1 ? 1 / std::log1p(-probability) : 0;
      double step = -1;
      for (std::int64_t n = 0;; ++n) {
        step +=
            1 + std::floor(std::log(stream.uniform(presentation, static_cast<std::int64_t>(i), n)) * scale);
        if (step >= steps) break;
        trains.steps.push_back(static_cast<std::int32_t>(step));
      }
    }
    trains.offsets.push_back(static_cast<std::int32_t>(trains.steps.size()));
  }
  return trains;
}

}  // namespace rankine
