// Place recognition with spiking networks (S. Hussaini, M. Milford, T. Fischer, "Ensembles of compact,
// region-specific & regularized spiking neural networks for scalable place recognition", ICRA 2023), without
// tape and gradients: modules that each learn the places of one region by spike-timing-dependent plasticity
// see every query; neurons that answer to too many reference images, the hyperactive ones, are silenced.
// Number of epochs and threshold of hyperactivity are chosen on a second, equal system that learns other
// places.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/spiking_network.hpp"
#include "src/comm/tiles.hpp"
#include "src/data/dataset.hpp"
#include "src/data/traverses.hpp"
#include "src/run/experiment.hpp"

namespace rankine {

struct PlaceOptions {
  int count = 40, reference_traverses = 2, query_traverses = 1, patch = 7;
  TraverseOptions traverse;
  void options(OptionVisitor& o);
};

struct SpikingOptions {
  int modules = 4, neurons = 60;
  double intensity = 4, present = 350, rest = 150, longest_delay = 10, weight_sum = 78, initial_weight = 0.3;
  kernels::SpikingNetworkParameters physics;
  void options(OptionVisitor& o);
};

struct PlaceTrainingOptions {
  int epochs = 60, choose_every = 10, assignment_epochs = 5;
  std::vector<int> hyperactive = {0};
  void options(OptionVisitor& o);
};

/// What a module answers to images: spikes of each neuron, [images, neurons].
struct ModuleResponse {
  std::int64_t neurons = 0;
  std::vector<std::int32_t> reference, query;
};

/// Place of each neuron, from its spikes [places, neurons]: the first of those it answers to most; -1 for a
/// neuron without spikes.
std::vector<std::int32_t> assigned_places(std::span<const std::int32_t> spikes, std::int64_t places,
                                          std::int64_t neurons);

/// Whether a neuron answers to at least `threshold` reference images; no neuron is where that is 0.
std::vector<bool> hyperactive_neurons(const ModuleResponse& response, std::int64_t threshold);

/// [queries, places]: mean spikes of the neurons assigned to a place, silenced ones counting as 0 spikes; 0
/// for a place without neurons.
std::vector<double> place_scores(const ModuleResponse& response, std::span<const std::int32_t> assigned,
                                 const std::vector<bool>& silenced, std::int64_t places);

/// How many of the other values are larger than values[which], or as large and further to the front: its rank
/// in an argmax that takes the first of equals.
std::int64_t rank_of(std::span<const double> values, std::int64_t which);

class PlaceRecognition final : public Experiment {
 public:
  PlaceRecognition(const DeckNode& variant, const ExperimentSetup& setup);
  static void describe(OptionVisitor& o);

  std::vector<MetricInfo> metrics() const override;
  RunEstimate estimate() const override;
  Metrics run(RunContext& context) override;

 private:
  using Network = kernels::SpikingNetwork<float>;
  /// Patch-normalised views of all places of one system: [traverse][place] of pixels.
  using Views = std::vector<std::vector<std::vector<std::uint8_t>>>;
  class Modules;
  struct Answer;

  bool spiking() const { return method_ == "spiking"; }
  std::int64_t per_module() const { return places_.count / network_.modules; }
  std::int64_t pixels() const { return data_->input_shape().count(); }
  int in_steps(double time) const;
  std::vector<double> rates(const std::vector<std::uint8_t>& view) const;
  Views views(std::uint64_t seed, bool test) const;
  Network network(std::uint64_t seed, std::int64_t module) const;
  void count(std::span<const double> scores, std::int64_t place, Answer& out) const;
  Answer answer(const Communicator& communicator, const std::vector<ModuleResponse>& responses,
                const std::vector<std::vector<std::int32_t>>& assigned, std::int64_t threshold) const;
  Metrics match_templates(RunContext& context) const;

  std::string variant_, method_ = "spiking";
  PlaceOptions places_;
  SpikingOptions network_;
  PlaceTrainingOptions train_;
  std::shared_ptr<const Dataset> data_;
};

}  // namespace rankine
