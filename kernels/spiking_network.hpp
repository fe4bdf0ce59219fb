// The spiking network of Diehl and Cook ("Unsupervised learning of digit recognition using
// spike-timing-dependent plasticity", Front. Comput. Neurosci. 9, 2015), without a tape: input spikes reach n
// excitatory leaky integrate-and-fire neurons through plastic synapses with delays; each of them drives one
// inhibitory neuron, which holds down all the others, so that the winner takes all.
//
//   tau v' = rest - v + g_e (0 - v) + g_i (E_inh - v)      mV; held at `reset` while refractory
//   g_e' = -g_e / tau_e, g_i' = -g_i / tau_i               a spike adds its synapse's weight
//   an excitatory neuron fires where v > threshold + theta - theta_offset; then theta += theta_step
//   theta' = -theta / theta_time
//   a spike reaches synapse (i, j):  w += pre_rate post1_j, then pre_ij = 1
//   neuron j fires:                  w += post_rate pre_ij post2_j for all i, then post1_j = post2_j = 1
//   w stays in [0, largest_weight]; pre, post1, post2 decay with pre_time, post_time, slow_post_time
//
// Time goes in steps of dt. Conductances decay exactly and act with their mean over the step, for which v is
// integrated exactly; what arrives in a step acts from the next one on. Only spikes cost: each visits its
// synapses once, when it sets out, and what happens to them while it is on its way is added then.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace rankine::kernels {

/// Of leaky integrate-and-fire neurons; mV and ms.
struct LifParameters {
  double rest, reset, threshold, membrane_time, refractory, inhibitory_reversal;
};

struct SpikingNetworkParameters {
  int inputs = 784, neurons = 60;
  double dt = 0.5;
  LifParameters excitatory{-65, -65, -52, 100, 5, -100}, inhibitory{-60, -45, -40, 10, 2, -85};
  double excitatory_time = 1, inhibitory_time = 0.5;  ///< of the conductances, ms
  double to_inhibitory = 10.4, to_excitatory = 17;    ///< weights of the two fixed connections
  double theta_start = 20, theta_offset = 20, theta_step = 0.05, theta_time = 1e7;
  double spike_interval = 0;  ///< an excitatory neuron fires again after more than this, ms
  double pre_rate = 1e-4, post_rate = 1e-2, pre_time = 20, post_time = 20, slow_post_time = 40;
  double largest_weight = 1;
};

/// When inputs fire: steps[offsets[i]] ... steps[offsets[i + 1] - 1], rising, are those of input i.
struct SpikeTrains {
  std::vector<std::int32_t> offsets, steps;
};

template <class T>
class SpikingNetwork {
 public:
  /// `weights` and `delays` (steps, 0 to 255): [inputs, neurons].
  SpikingNetwork(const SpikingNetworkParameters& parameters, std::span<const T> weights,
                 std::span<const std::uint8_t> delays);

  /// Puts everything but weights and theta to rest.
  void reset();

  /// Runs `steps` steps with these input spikes. Before a run that learns follows, there must be as many
  /// steps without input as the longest delay has. Adds the number of spikes of each excitatory neuron in the
  /// first `counted` steps to `counts`. `learn`: weights and theta change.
  void run(const SpikeTrains& trains, int steps, int counted, bool learn, std::span<std::int32_t> counts);

  /// Scales the weights into each neuron to this sum. Neurons without a weight are left alone.
  void normalise(double sum);

  /// [inputs, neurons]
  std::span<T> weights() { return weights_; }
  // Of the excitatory neurons, for tests and checkpoints.
  std::span<T> theta() { return theta_; }
  std::span<T> potential() { return excitatory_.v; }
  std::span<T> excitatory_conductance() { return excitatory_.ge; }
  std::span<T> inhibitory_conductance() { return excitatory_.gi; }
  std::span<T> inhibitory_potential() { return inhibitory_.v; }
  const SpikingNetworkParameters& parameters() const { return parameters_; }

 private:
  struct Population {
    std::vector<T> v, ge, gi;
    std::vector<std::int32_t> since;  // steps since the last spike
    std::vector<std::int32_t> fired;  // in this step
  };
  /// What a step multiplies with.
  struct Constants {
    T rest, reset, inhibitory_reversal, leak, mean_e, mean_i, decay_e, decay_i;
    std::int32_t refractory;
  };
  Constants constants(const LifParameters& kind) const;
  void integrate(Population& p, Constants c) const;
  /// An input spike sets out: what it will add to each neuron, and how it will change each weight if that
  /// neuron does not fire before it arrives. weights_ is thus what the weights will be when all is delivered.
  template <bool learn>
  void emit(std::int32_t input);
  /// A neuron fires: its weights grow by what has arrived before; spikes on their way bring that with them,
  /// and will find another post1.
  void strengthen(int step, std::int32_t neuron, const SpikeTrains& trains);
  void order_by_step(const SpikeTrains& trains, int steps);

  SpikingNetworkParameters parameters_;
  int inputs_, neurons_, slots_;  // slots_: a power of two above the longest delay
  std::vector<T> weights_;
  std::vector<std::uint8_t> delays_;
  std::vector<T> arriving_;  // [slots, neurons]: what arrives in the next steps, the clock's slot first
  std::vector<T> theta_, post_, slow_post_;
  Population excitatory_, inhibitory_;
  Constants excitatory_constants_, inhibitory_constants_;
  std::vector<T> pre_decay_, post_decay_;  // by age in steps; beyond, the trace is nothing
  std::int64_t clock_ = 0;                 // steps done
  std::vector<std::int64_t> last_spike_;   // of each input, before this run()
  std::vector<std::int32_t> emitted_;      // of each input: where in its train the next spike stands
  std::vector<std::int32_t> step_offsets_, step_inputs_;  // the trains by step
};

}  // namespace rankine::kernels
