// The modules of spiking networks that recognise places: they learn, and answer.
#pragma once

#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include "src/core/random.hpp"
#include "src/experiments/place_recognition.hpp"

namespace rankine {

/// What the whole system makes of all queries; the same on all ranks.
struct PlaceRecognition::Answer {
  std::vector<double> ranks;  ///< of the true place, query by query
  double recall_1 = 0, recall_5 = 0, in_region = 0, silent = 0, own = 0, foreign = 0, silenced = 0;
};

/// A rank's modules: of both systems, module m of the calibration system being number 2 m, that of the other
/// system 2 m + 1, so that ranks have equal shares of both.
class PlaceRecognition::Modules {
 public:
  /// Registers its state. The arguments outlive this.
  Modules(const PlaceRecognition& owner, RunContext& context);

  /// A pass over the reference images. Returns the row of the epoch.
  Metrics train(std::int64_t epoch);
  /// What the whole system, or that for calibration, makes of its queries in the state number `state` of
  /// which one is chosen, with each threshold of hyperactivity.
  std::vector<Answer> answers(bool test, std::int64_t state, std::span<const int> thresholds);

  std::int64_t states() const { return o_.train_.epochs / o_.train_.choose_every; }
  double spikes_per_presentation() const { return spikes_per_presentation_; }
  double seconds_per_presentation() const { return seconds_per_presentation_; }
  const std::vector<double>& query_seconds() const { return query_seconds_; }

 private:
  /// A module whose weights and thresholds are part `slot` of what is kept.
  Network& loaded(std::int64_t m, std::vector<float>& weights, std::vector<float>& theta, std::int64_t slot);
  void keep(Network& net, std::vector<float>& weights, std::vector<float>& theta, std::int64_t slot);
  const Views& views_of(std::int64_t number) const { return number % 2 == 0 ? calibration_ : test_; }
  RandomStream stream(const char* what, std::int64_t number) const;
  /// The pass of one module; calls `between` before each image. Returns the number of spikes.
  std::int64_t train(std::int64_t m, std::int64_t epoch, const std::function<void(std::int64_t)>& between);

  const PlaceRecognition& o_;
  RunContext& context_;
  std::int64_t neurons_, synapses_, places_, images_;
  int shown_;  // time steps that an image is shown
  BlockPartition dealt_;
  std::int64_t first_, count_;  // numbers of the modules
  Views calibration_, test_;
  std::vector<Network> nets_;
  std::vector<double> seconds_, query_seconds_;  // of this process
  // State: now, and in the states of which one is chosen; [module, ...] and [module, state, ...].
  std::vector<float> weights_, theta_, state_weights_, state_theta_;
  std::vector<std::int32_t> spikes_;    // [module, place, neuron] since the last state, as far as they count
  std::vector<std::int32_t> assigned_;  // [module, state, neuron]
  double spikes_per_presentation_ = NAN, seconds_per_presentation_ = NAN;
};

}  // namespace rankine
