#include "src/experiments/place_modules.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "src/core/clock.hpp"
#include "src/core/spike_trains.hpp"
#include "src/core/statistics.hpp"

namespace rankine {
namespace {

template <class T>
std::span<T> part(std::vector<T>& all, std::int64_t index, std::int64_t size) {
  return std::span<T>(all).subspan(static_cast<std::size_t>(index * size), static_cast<std::size_t>(size));
}

}  // namespace

PlaceRecognition::Network PlaceRecognition::network(std::uint64_t seed, std::int64_t module) const {
  const RandomStream weight_stream(seed, "initial-weights"), delay_stream(seed, "delays");
  const auto synapses = static_cast<std::size_t>(pixels() * network_.neurons);
  std::vector<double> uniform(synapses);
  std::vector<float> weights(synapses);
  std::vector<std::uint8_t> delays(synapses);
  weight_stream.fill_uniform(std::span<double>(uniform), 0, module);
  for (std::size_t k = 0; k < synapses; ++k)
    weights[k] = static_cast<float>(network_.initial_weight * (uniform[k] + 0.01));
  delay_stream.fill_uniform(std::span<double>(uniform), 0, module);
  for (std::size_t k = 0; k < synapses; ++k)
    delays[k] = static_cast<std::uint8_t>(in_steps(uniform[k] * network_.longest_delay));
  return {network_.physics, weights, delays};
}

PlaceRecognition::Modules::Modules(const PlaceRecognition& owner, RunContext& context)
    : o_(owner),
      context_(context),
      neurons_(owner.network_.neurons),
      synapses_(owner.pixels() * neurons_),
      places_(owner.per_module()),
      images_(places_ * owner.places_.reference_traverses),
      shown_(owner.in_steps(owner.network_.present)),
      dealt_(2 * owner.network_.modules, context.communicator.size()),
      first_(dealt_.begin(context.communicator.rank())),
      count_(dealt_.size(context.communicator.rank())) {
  const auto seed = static_cast<std::uint64_t>(context.seed);
  calibration_ = owner.views(seed, false);
  test_ = owner.views(seed, true);
  StateRegistry& state = context.checkpoint.state();
  const auto add = [&](const char* name, auto& values, std::int64_t each) {
    values.assign(static_cast<std::size_t>(count_ * each), 0);
    state.add(name, StateKind::per_tile, values);
  };
  add("weights", weights_, synapses_);
  add("theta", theta_, neurons_);
  add("states/weights", state_weights_, states() * synapses_);
  add("states/theta", state_theta_, states() * neurons_);
  add("spikes", spikes_, places_ * neurons_);
  add("states/assigned", assigned_, states() * neurons_);
  state.add("metrics/spikes_per_presentation", StateKind::replicated, spikes_per_presentation_);
  state.add("timing/seconds_per_presentation", StateKind::replicated, seconds_per_presentation_);
  for (std::int64_t m = 0; m < count_; ++m) {
    nets_.push_back(owner.network(seed, first_ + m));
    keep(nets_.back(), weights_, theta_, m);
  }
}

PlaceRecognition::Network& PlaceRecognition::Modules::loaded(std::int64_t m, std::vector<float>& weights,
                                                             std::vector<float>& theta, std::int64_t slot) {
  Network& net = nets_[static_cast<std::size_t>(m)];
  std::ranges::copy(part(weights, slot, synapses_), net.weights().begin());
  std::ranges::copy(part(theta, slot, neurons_), net.theta().begin());
  return net;
}

void PlaceRecognition::Modules::keep(Network& net, std::vector<float>& weights, std::vector<float>& theta,
                                     std::int64_t slot) {
  std::ranges::copy(net.weights(), part(weights, slot, synapses_).begin());
  std::ranges::copy(net.theta(), part(theta, slot, neurons_).begin());
}

RandomStream PlaceRecognition::Modules::stream(const char* what, std::int64_t number) const {
  return {static_cast<std::uint64_t>(context_.seed), fmt::format("{}/{}", what, number)};
}

std::int64_t PlaceRecognition::Modules::train(std::int64_t m, std::int64_t epoch,
                                              const std::function<void(std::int64_t)>& between) {
  const PlaceTrainingOptions& train = o_.train_;
  const bool counts = train.choose_every - 1 - epoch % train.choose_every < train.assignment_epochs;
  const int steps = shown_ + o_.in_steps(o_.network_.rest);
  Network& net = loaded(m, weights_, theta_, m);
  net.reset();
  const std::int64_t number = first_ + m, first_place = number / 2 * places_;
  const RandomStream spikes_in = stream("training-spikes", number);
  std::int64_t spikes = 0;
  for (std::int64_t image = 0; image < images_; ++image) {
    between(image);
    const std::int64_t place = image % places_;
    const auto& view = views_of(
        number)[static_cast<std::size_t>(image / places_)][static_cast<std::size_t>(first_place + place)];
    const ProcessorStopwatch watch;
    std::vector<std::int32_t> answer(static_cast<std::size_t>(neurons_), 0);
    net.normalise(o_.network_.weight_sum);
    net.run(
        poisson_trains(o_.rates(view), o_.network_.physics.dt, shown_, spikes_in, epoch * images_ + image),
        steps, shown_, true, answer);
    seconds_.push_back(watch.seconds());
    spikes += std::accumulate(answer.begin(), answer.end(), std::int64_t{0});
    const std::span<std::int32_t> sums = part(spikes_, m * places_ + place, neurons_);
    if (counts) std::transform(sums.begin(), sums.end(), answer.begin(), sums.begin(), std::plus<>());
  }
  keep(net, weights_, theta_, m);
  if ((epoch + 1) % train.choose_every != 0) return spikes;
  const std::int64_t slot = m * states() + epoch / train.choose_every;
  keep(net, state_weights_, state_theta_, slot);
  const std::span<std::int32_t> answers = part(spikes_, m, places_ * neurons_);
  std::ranges::copy(assigned_places(answers, places_, neurons_), part(assigned_, slot, neurons_).begin());
  std::ranges::fill(answers, 0);
  return spikes;
}

Metrics PlaceRecognition::Modules::train(std::int64_t epoch) {
  const Communicator& communicator = context_.communicator;
  std::int64_t spikes = 0;
  std::vector<double> theta_sums;
  const Stopwatch in_epoch;
  // The first rank has most modules; all look together, between images, at whether to stop.
  for (std::int64_t m = 0; m < dealt_.size(0); ++m) {
    const auto stop_if_asked = [&](std::int64_t image) {
      const double done = static_cast<double>(m * images_ + image);
      const double all_images = static_cast<double>(dealt_.size(0) * images_);
      const double left = done > 0 ? in_epoch.seconds() * (all_images / done - 1) : 0;
      context_.checkpoint.amid_step(epoch, o_.train_.epochs, communicator.max(left));
    };
    if (m < count_) {
      spikes += train(m, epoch, stop_if_asked);
      const std::span<const float> theta = part(theta_, m, neurons_);
      theta_sums.push_back(std::accumulate(theta.begin(), theta.end(), 0.0));
    } else {
      for (std::int64_t image = 0; image < images_; ++image) stop_if_asked(image);
    }
  }
  const double modules = 2.0 * o_.network_.modules;
  spikes_per_presentation_ =
      static_cast<double>(communicator.sum(spikes)) / (modules * static_cast<double>(images_));
  const std::vector<double> thetas = communicator.all_gather_varying(std::span<const double>(theta_sums));
  const double theta =
      std::accumulate(thetas.begin(), thetas.end(), 0.0) / (modules * static_cast<double>(neurons_));
  seconds_per_presentation_ = communicator.max(seconds_.empty() ? 0.0 : quantile(seconds_, 0.5));
  return {{"spikes_per_presentation", spikes_per_presentation_}, {"theta", theta}};
}

std::vector<PlaceRecognition::Answer> PlaceRecognition::Modules::answers(bool test, std::int64_t state,
                                                                         std::span<const int> thresholds) {
  std::vector<ModuleResponse> responses;
  std::vector<std::vector<std::int32_t>> assigned;
  for (std::int64_t m = 0; m < dealt_.size(0); ++m) {
    context_.checkpoint.within_step(o_.train_.epochs, o_.train_.epochs);
    const std::int64_t number = first_ + m, slot = m * states() + state;
    if (m >= count_ || (number % 2 == 1) != test) continue;
    Network& net = loaded(m, state_weights_, state_theta_, slot);
    const RandomStream spikes_in = stream("answer-spikes", number);
    ModuleResponse response{.neurons = neurons_};
    const Views& views = views_of(number);
    std::int64_t presentation = state * static_cast<std::int64_t>(views.size()) * o_.places_.count;
    for (std::size_t t = 0; t < views.size(); ++t) {
      std::vector<std::int32_t>& to =
          static_cast<int>(t) < o_.places_.reference_traverses ? response.reference : response.query;
      for (const auto& view : views[t]) {
        const ProcessorStopwatch watch;
        std::vector<std::int32_t> answer(static_cast<std::size_t>(neurons_), 0);
        net.reset();
        net.run(poisson_trains(o_.rates(view), o_.network_.physics.dt, shown_, spikes_in, presentation++),
                shown_, shown_, false, answer);
        query_seconds_.push_back(watch.seconds());
        to.insert(to.end(), answer.begin(), answer.end());
      }
    }
    responses.push_back(std::move(response));
    const std::span<std::int32_t> places = part(assigned_, slot, neurons_);
    assigned.emplace_back(places.begin(), places.end());
  }
  std::vector<Answer> out;
  for (const int threshold : thresholds)
    out.push_back(o_.answer(context_.communicator, responses, assigned, threshold));
  return out;
}

}  // namespace rankine
