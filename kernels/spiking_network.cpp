#include "kernels/spiking_network.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "kernels/error.hpp"
#include "kernels/pointwise.hpp"

namespace rankine::kernels {
namespace {

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::min() / 2;
constexpr std::int32_t long_ago = 1 << 28;

std::int32_t in_steps(double time, double dt) { return static_cast<std::int32_t>(std::llround(time / dt)); }

}  // namespace

template <class T>
SpikingNetwork<T>::SpikingNetwork(const SpikingNetworkParameters& parameters, std::span<const T> weights,
                                  std::span<const std::uint8_t> delays)
    : parameters_(parameters), inputs_(parameters.inputs), neurons_(parameters.neurons) {
  const auto inputs = static_cast<std::size_t>(inputs_), neurons = static_cast<std::size_t>(neurons_);
  RANKINE_ASSERT(weights.size() == inputs * neurons && delays.size() == weights.size(),
                 "a spiking network of " + std::to_string(inputs) + " x " + std::to_string(neurons) +
                     " synapses gets " + std::to_string(weights.size()) + " weights and " +
                     std::to_string(delays.size()) + " delays");
  weights_.assign(weights.begin(), weights.end());
  delays_.assign(delays.begin(), delays.end());
  slots_ = static_cast<int>(std::bit_ceil(1u + *std::max_element(delays.begin(), delays.end())));
  theta_.assign(neurons, static_cast<T>(parameters.theta_start));
  excitatory_constants_ = constants(parameters.excitatory);
  inhibitory_constants_ = constants(parameters.inhibitory);
  const double dt = parameters.dt;
  for (int age = 0; std::exp(-age * dt / parameters.pre_time) > 1e-9; ++age)
    pre_decay_.push_back(static_cast<T>(std::exp(-age * dt / parameters.pre_time)));
  for (int age = 0; age < slots_; ++age)
    post_decay_.push_back(static_cast<T>(std::exp(-age * dt / parameters.post_time)));
  reset();
}

template <class T>
typename SpikingNetwork<T>::Constants SpikingNetwork<T>::constants(const LifParameters& kind) const {
  const double dt = parameters_.dt;
  const auto mean = [dt](double time) { return static_cast<T>(time / dt * -std::expm1(-dt / time)); };
  const auto decay = [dt](double time) { return static_cast<T>(std::exp(-dt / time)); };
  return {static_cast<T>(kind.rest),
          static_cast<T>(kind.reset),
          static_cast<T>(kind.inhibitory_reversal),
          static_cast<T>(dt / kind.membrane_time),
          mean(parameters_.excitatory_time),
          mean(parameters_.inhibitory_time),
          decay(parameters_.excitatory_time),
          decay(parameters_.inhibitory_time),
          in_steps(kind.refractory, dt)};
}

template <class T>
void SpikingNetwork<T>::reset() {
  const auto n = static_cast<std::size_t>(neurons_);
  const auto rest = [n](Population& p, const LifParameters& kind) {
    p.v.assign(n, static_cast<T>(kind.rest));
    p.ge.assign(n, 0);
    p.gi.assign(n, 0);
    p.since.assign(n, long_ago);
    p.fired.clear();
  };
  rest(excitatory_, parameters_.excitatory);
  rest(inhibitory_, parameters_.inhibitory);
  post_.assign(n, 0);
  slow_post_.assign(n, 0);
  arriving_.assign(static_cast<std::size_t>(slots_) * n, 0);
  last_spike_.assign(static_cast<std::size_t>(inputs_), never);
  clock_ = 0;
}

template <class T>
void SpikingNetwork<T>::normalise(double sum) {
  const auto inputs = static_cast<std::size_t>(inputs_), neurons = static_cast<std::size_t>(neurons_);
  std::vector<double> sums(neurons, 0.0);
  for (std::size_t i = 0; i < inputs; ++i) {
    for (std::size_t j = 0; j < neurons; ++j) sums[j] += static_cast<double>(weights_[i * neurons + j]);
  }
  std::vector<T> factors(neurons);
  for (std::size_t j = 0; j < neurons; ++j) factors[j] = sums[j] > 0 ? static_cast<T>(sum / sums[j]) : T(1);
  for (std::size_t i = 0; i < inputs; ++i) {
    for (std::size_t j = 0; j < neurons; ++j) weights_[i * neurons + j] *= factors[j];
  }
}

template <class T>
void SpikingNetwork<T>::integrate(Population& p, const Constants c) const {
  const Exp exponential{};
  T* v = p.v.data();
  T* ge = p.ge.data();
  T* gi = p.gi.data();
  std::int32_t* since = p.since.data();
  const int neurons = neurons_;
  for (int j = 0; j < neurons; ++j) {
    const T e = c.mean_e * ge[j], i = c.mean_i * gi[j], total = 1 + e + i;
    const T limit = (c.rest + i * c.inhibitory_reversal) / total;
    const T moved = limit + (v[j] - limit) * exponential(-c.leak * total);
    since[j] += since[j] < long_ago;
    v[j] = since[j] > c.refractory ? moved : v[j];
    ge[j] *= c.decay_e;
    gi[j] *= c.decay_i;
  }
}

template <class T>
template <bool learn>
void SpikingNetwork<T>::emit(std::int32_t input) {
  const int neurons = neurons_;
  const std::size_t row = static_cast<std::size_t>(input) * static_cast<std::size_t>(neurons);
  const std::uint8_t* delays = &delays_[row];
  T* weights = &weights_[row];
  T* arriving = arriving_.data();
  const auto now = static_cast<std::uint32_t>(clock_), mask = static_cast<std::uint32_t>(slots_) - 1;
  const auto stride = static_cast<std::uint32_t>(neurons);
  for (std::uint32_t j = 0; j < stride; ++j) arriving[((now + delays[j]) & mask) * stride + j] += weights[j];
  if constexpr (learn) {
    const T rate = static_cast<T>(parameters_.pre_rate), top = static_cast<T>(parameters_.largest_weight);
    const T* post = post_.data();
    const T* decay = post_decay_.data();
    for (int j = 0; j < neurons; ++j)
      weights[j] = std::min(top, weights[j] + rate * post[j] * decay[delays[j]]);
  }
}

template <class T>
void SpikingNetwork<T>::strengthen(int step, std::int32_t neuron, const SpikeTrains& trains) {
  const auto j = static_cast<std::size_t>(neuron), neurons = static_cast<std::size_t>(neurons_);
  const T rate = static_cast<T>(parameters_.post_rate) * slow_post_[j];
  const T missing = static_cast<T>(parameters_.pre_rate) * (1 - post_[j]);
  const T top = static_cast<T>(parameters_.largest_weight);
  const auto ages = static_cast<std::uint64_t>(pre_decay_.size());
  const std::int64_t start = clock_ - step, mask = slots_ - 1;
  for (std::size_t i = 0; i < static_cast<std::size_t>(inputs_); ++i) {
    const std::int32_t delay = delays_[i * neurons + j];
    std::int32_t s = emitted_[i];  // the first spike that has not arrived
    while (s > trains.offsets[i] && trains.steps[static_cast<std::size_t>(s) - 1] + delay > step) --s;
    const std::int64_t arrived =
        delay +
        (s > trains.offsets[i] ? start + trains.steps[static_cast<std::size_t>(s) - 1] : last_spike_[i]);
    const auto age = static_cast<std::uint64_t>(clock_ - arrived);
    T& weight = weights_[i * neurons + j];
    T change = age < ages ? std::min(rate * pre_decay_[age], top - weight) : T(0);
    for (; s < emitted_[i]; ++s) {
      const std::int32_t ahead = trains.steps[static_cast<std::size_t>(s)] + delay - step;
      arriving_[static_cast<std::size_t>((clock_ + ahead) & mask) * neurons + j] += change;
      change += missing * post_decay_[static_cast<std::size_t>(ahead)];
    }
    weight = std::min(top, weight + change);
  }
}

template <class T>
void SpikingNetwork<T>::order_by_step(const SpikeTrains& trains, int steps) {
  step_offsets_.assign(static_cast<std::size_t>(steps) + 1, 0);
  for (const std::int32_t step : trains.steps) {
    RANKINE_ASSERT(0 <= step && step < steps,
                   "an input spike in step " + std::to_string(step) + " of " + std::to_string(steps));
    ++step_offsets_[static_cast<std::size_t>(step) + 1];
  }
  for (std::size_t t = 0; t < static_cast<std::size_t>(steps); ++t) step_offsets_[t + 1] += step_offsets_[t];
  step_inputs_.resize(trains.steps.size());
  std::vector<std::int32_t> next(step_offsets_.begin(), step_offsets_.end() - 1);
  for (std::int32_t i = 0; i < inputs_; ++i) {
    for (std::int32_t s = trains.offsets[static_cast<std::size_t>(i)];
         s < trains.offsets[static_cast<std::size_t>(i) + 1]; ++s)
      step_inputs_[static_cast<std::size_t>(
          next[static_cast<std::size_t>(trains.steps[static_cast<std::size_t>(s)])]++)] = i;
  }
}

template <class T>
void SpikingNetwork<T>::run(const SpikeTrains& trains, int steps, int counted, bool learn,
                            std::span<std::int32_t> counts) {
  order_by_step(trains, steps);
  emitted_.assign(trains.offsets.begin(), trains.offsets.end() - 1);
  const double dt = parameters_.dt;
  const T post_decay = static_cast<T>(std::exp(-dt / parameters_.post_time));
  const T slow_decay = static_cast<T>(std::exp(-dt / parameters_.slow_post_time));
  const T threshold = static_cast<T>(parameters_.excitatory.threshold - parameters_.theta_offset);
  const T inhibitory_threshold = static_cast<T>(parameters_.inhibitory.threshold);
  const T excite = static_cast<T>(parameters_.to_inhibitory),
          inhibit = static_cast<T>(parameters_.to_excitatory);
  const std::int32_t apart =
      std::max(excitatory_constants_.refractory, in_steps(parameters_.spike_interval, dt));
  Population &e = excitatory_, &i = inhibitory_;
  for (int step = 0; step < steps; ++step, ++clock_) {
    integrate(e, excitatory_constants_);
    integrate(i, inhibitory_constants_);
    if (learn) {
      for (int j = 0; j < neurons_; ++j) post_[static_cast<std::size_t>(j)] *= post_decay;
      for (int j = 0; j < neurons_; ++j) slow_post_[static_cast<std::size_t>(j)] *= slow_decay;
    }
    e.fired.clear();
    i.fired.clear();
    for (std::size_t j = 0; j < static_cast<std::size_t>(neurons_); ++j)
      if (e.v[j] > threshold + theta_[j] && e.since[j] > apart)
        e.fired.push_back(static_cast<std::int32_t>(j));
    for (std::size_t j = 0; j < static_cast<std::size_t>(neurons_); ++j)
      if (i.v[j] > inhibitory_threshold && i.since[j] > inhibitory_constants_.refractory)
        i.fired.push_back(static_cast<std::int32_t>(j));

    for (std::int32_t s = step_offsets_[static_cast<std::size_t>(step)];
         s < step_offsets_[static_cast<std::size_t>(step) + 1]; ++s) {
      const std::int32_t input = step_inputs_[static_cast<std::size_t>(s)];
      ++emitted_[static_cast<std::size_t>(input)];
      if (learn)
        emit<true>(input);
      else
        emit<false>(input);
    }
    T* arriving =
        &arriving_[static_cast<std::size_t>(clock_ & (slots_ - 1)) * static_cast<std::size_t>(neurons_)];
    for (int j = 0; j < neurons_; ++j) e.ge[static_cast<std::size_t>(j)] += arriving[j];
    std::fill_n(arriving, neurons_, T(0));
    for (const std::int32_t fired : e.fired) {
      const auto j = static_cast<std::size_t>(fired);
      i.ge[j] += excite;
      e.v[j] = excitatory_constants_.reset;
      e.since[j] = 0;
      if (step < counted) ++counts[j];
      if (!learn) continue;
      strengthen(step, fired, trains);
      post_[j] = slow_post_[j] = 1;
      theta_[j] += static_cast<T>(parameters_.theta_step);
    }
    for (const std::int32_t fired : i.fired) {
      const auto j = static_cast<std::size_t>(fired);
      const T own = e.gi[j];
      for (T& conductance : e.gi) conductance += inhibit;
      e.gi[j] = own;
      i.v[j] = inhibitory_constants_.reset;
      i.since[j] = 0;
    }
  }
  // Over a step theta's decay is below the rounding of single precision.
  if (learn) {
    const T decay = static_cast<T>(std::exp(-steps * dt / parameters_.theta_time));
    for (T& theta : theta_) theta *= decay;
  }
  for (std::size_t n = 0; n < static_cast<std::size_t>(inputs_); ++n)
    if (trains.offsets[n + 1] > trains.offsets[n])
      last_spike_[n] = clock_ - steps + trains.steps[static_cast<std::size_t>(trains.offsets[n + 1]) - 1];
}

template class SpikingNetwork<float>;
template class SpikingNetwork<double>;

}  // namespace rankine::kernels
