#include "src/experiments/place_recognition.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/clock.hpp"
#include "src/core/memory.hpp"
#include "src/core/random.hpp"
#include "src/core/spike_trains.hpp"
#include "src/core/statistics.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

template <class T>
std::span<T> part(std::vector<T>& all, std::int64_t index, std::int64_t size) {
  return std::span<T>(all).subspan(static_cast<std::size_t>(index * size), static_cast<std::size_t>(size));
}

}  // namespace

void PlaceOptions::options(OptionVisitor& o) {
  o("count", count, {.help = "places to recognise; as many others serve calibration", .min = 2});
  o("reference_traverses", reference_traverses, {.help = "traverses that are learned", .min = 1});
  o("query_traverses", query_traverses, {.help = "traverses with a query at each place", .min = 1});
  o("patch", patch,
    {.help = "side of the patches that images are normalised over, odd", .unit = "pixels", .min = 3});
  o.group("traverse", traverse, "how the views of a place differ");
}

void SpikingOptions::options(OptionVisitor& o) {
  o("modules", modules, {.help = "networks, each for an equal region of consecutive places", .min = 1});
  o("neurons", neurons, {.help = "excitatory neurons of a module, and as many inhibitory ones", .min = 2});
  o("intensity", intensity,
    {.help = "an input of 0 to 255 fires at the 1/intensity of that",
     .unit = "Hz",
     .min = 0,
     .exclusive_min = true});
  o("present", present, {.help = "time that an image is shown", .unit = "ms", .min = 1});
  o("rest", rest, {.help = "time without input between images, in training", .unit = "ms", .min = 0});
  o("longest_delay", longest_delay,
    {.help = "input synapses delay spikes by 0 to this", .unit = "ms", .min = 0, .max = 25});
  o("initial_weight", initial_weight,
    {.help = "weights begin as this times 0.01 to 1.01", .min = 0, .max = 0.99});
  o("weight_sum", weight_sum,
    {.help = "sum of the weights into a neuron before each training image", .min = 0, .exclusive_min = true});
  o("dt", physics.dt, {.help = "time step", .unit = "ms", .min = 0.1, .max = 1});
  o("inhibition_time", physics.inhibitory_time,
    {.help = "time constant of inhibitory conductances", .unit = "ms", .min = 0.1});
  o("excitation_time", physics.excitatory_time,
    {.help = "time constant of excitatory conductances", .unit = "ms", .min = 0.1});
  o("inhibition", physics.to_excitatory, {.help = "weight of inhibition", .min = 0});
  o("spike_interval", physics.spike_interval,
    {.help = "an excitatory neuron fires again after more than this (at least its 5 ms)",
     .unit = "ms",
     .min = 0});
  o("theta_step", physics.theta_step, {.help = "growth of the threshold at a spike", .unit = "mV", .min = 0});
  o("theta_time", physics.theta_time,
    {.help = "time constant of its decay", .unit = "ms", .min = 0, .exclusive_min = true});
  o("pre_rate", physics.pre_rate, {.help = "learning rate when an input spike arrives", .min = 0, .max = 1});
  o("post_rate", physics.post_rate, {.help = "learning rate when the neuron fires", .min = 0, .max = 1});
}

void PlaceTrainingOptions::options(OptionVisitor& o) {
  o("epochs", epochs, {.help = "passes over the reference images", .min = 1});
  o("choose_every", choose_every,
    {.help = "epochs between the states of which calibration chooses one", .min = 1});
  o("assignment_epochs", assignment_epochs,
    {.help = "last epochs before such a state whose spikes assign neurons to places", .min = 1});
  o("hyperactive", hyperactive,
    {.help = "thresholds of which calibration chooses one: a neuron that answers to so many reference images "
             "is silenced; 0: none is",
     .min = 0,
     .min_size = 1});
}

void PlaceRecognition::describe(OptionVisitor& o) {
  std::string method = "spiking";
  PlaceOptions places;
  SpikingOptions network;
  PlaceTrainingOptions train;
  o("method", method,
    {.help = "spiking, or template: smallest sum of absolute differences",
     .choices = {"spiking", "template"}});
  o.group("places", places, "places and their views");
  o.group("network", network, "the spiking network");
  o.group("train", train, "learning and calibration");
}

PlaceRecognition::PlaceRecognition(const DeckNode& variant, const ExperimentSetup& setup)
    : variant_(setup.variant) {
  const DeckNode data = variant.child("data"), places = variant.section("places"),
                 network = variant.section("network"), train = variant.section("train");
  (*variant.reader())("method", method_, {.choices = {"spiking", "template"}});
  data_ = datasets().make(data, {setup.communicator, setup.smoke});
  places.read(places_);
  network.read(network_);
  train.read(train_);
  const Shape shape = data_->input_shape();
  if (shape.rank() != 3 || shape[0] != 1)
    data.error("place recognition needs grey images, [1, height, width]");
  for (const Split split : {Split::training, Split::validation}) {
    if (data_->size(split) < places_.count)
      places.error_at("count",
                      fmt::format("count: {} places, but there are {} {} images; choose fewer places or "
                                  "more images",
                                  places_.count, data_->size(split), name_of(split)));
  }
  if (places_.patch % 2 == 0) places.error_at("patch", fmt::format("patch: {} is not odd", places_.patch));
  if (places_.count % network_.modules != 0)
    network.error_at("modules", fmt::format("modules: {} do not divide the {} places; choose a divisor of it",
                                            network_.modules, places_.count));
  if (network_.rest < network_.longest_delay)
    network.error_at("rest",
                     fmt::format("rest: {} ms is shorter than the longest delay, {} ms; spikes of one image "
                                 "would arrive in the next",
                                 network_.rest, network_.longest_delay));
  if (train_.choose_every > train_.epochs)
    train.error_at("choose_every", fmt::format("choose_every: {} is more than the {} epochs",
                                               train_.choose_every, train_.epochs));
  if (train_.assignment_epochs > train_.choose_every)
    train.error_at(
        "assignment_epochs",
        fmt::format("assignment_epochs: {} is more than the {} epochs between states; choose at most "
                    "choose_every",
                    train_.assignment_epochs, train_.choose_every));
  network_.physics.inputs = static_cast<int>(pixels());
  network_.physics.neurons = network_.neurons;
  variant.reject_unread_keys();
}

std::vector<MetricInfo> PlaceRecognition::metrics() const {
  const bool none = !spiking();
  return {
      {"recall_at_1", "1", "share of queries whose place has the best score"},
      {"recall_at_5", "1", "share of queries whose place is among the five best"},
      {"recall_in_region", "1",
       "share whose place is the best of its module's region: what one module knows"},
      {"recall_calibration", "1",
       "recall at 1 on the calibration places, by which epochs and threshold are chosen", false, none},
      {"epochs_chosen", "1", "epochs of the chosen state", false, none},
      {"hyperactive_threshold", "1", "the chosen threshold; 0: no neuron is silenced", false, none},
      {"neurons_silenced", "1", "hyperactive neurons, of all modules", false, none},
      {"own_spikes", "1", "spikes a query in the module of its region", false, none},
      {"foreign_spikes", "1", "spikes a query in all other modules", false, none},
      {"silent_queries", "1", "share of queries that no neuron answers to", false, none},
      {"spikes_per_presentation", "1", "spikes of a module per training image, in the last epoch", false,
       none},
      {"seconds_per_presentation", "s", "median processor time that one module takes for a training image",
       true, none},
      {"seconds_per_query", "s",
       "median processor time that one module, or the comparison, takes for a query", true},
      {"peak_memory", "B", "largest memory of a rank", true},
  };
}

RunEstimate PlaceRecognition::estimate() const {
  RunEstimate e;
  const double synapses = static_cast<double>(pixels()) * network_.neurons;
  const double states = 1 + train_.epochs / train_.choose_every;
  e.partition = spiking() ? fmt::format("2 x {} modules of {} neurons for {} places each", network_.modules,
                                        network_.neurons, per_module())
                          : fmt::format("{} templates", places_.count * places_.reference_traverses);
  e.bytes_per_rank = 64e6 + (spiking() ? 2 * network_.modules * synapses * (4 * states + 5) : 0);
  if (spiking()) {
    const double images = 2.0 * places_.count * places_.reference_traverses * train_.epochs;
    const double spikes =
        0.5 * network_.present / network_.intensity * 255e-3 * static_cast<double>(pixels());
    e.seconds_per_seed = images * (spikes * (network_.neurons * 1.2e-9 + 3e-8) + 5e-4);
  }
  e.file_bytes = 100'000;
  return e;
}

int PlaceRecognition::in_steps(double time) const {
  return static_cast<int>(std::lround(time / network_.physics.dt));
}

std::vector<double> PlaceRecognition::rates(const std::vector<std::uint8_t>& view) const {
  std::vector<double> hertz(view.size());
  for (std::size_t i = 0; i < view.size(); ++i) hertz[i] = view[i] / network_.intensity;
  return hertz;
}

PlaceRecognition::Views PlaceRecognition::views(std::uint64_t seed, bool test) const {
  // The places to recognise are training images, those for calibration validation images: they share none.
  const Split split = test ? Split::training : Split::validation;
  const std::vector<std::int64_t> chosen =
      RandomStream(seed, "places").choose(places_.count, data_->size(split), test ? 1 : 0);
  const Examples examples = data_->examples(split, chosen, DType::f64);
  const std::vector<double> values = examples.inputs.to_vector();
  const auto height = static_cast<int>(data_->input_shape()[1]),
             width = static_cast<int>(data_->input_shape()[2]);
  const RandomStream stream(seed, "traverses");
  Views all(static_cast<std::size_t>(places_.reference_traverses + places_.query_traverses));
  for (std::size_t t = 0; t < all.size(); ++t) {
    for (std::int64_t p = 0; p < places_.count; ++p) {
      const auto first = values.begin() + p * pixels();
      const GreyImage place{height, width, {first, first + pixels()}};
      const std::int64_t id = p + (test ? 0 : places_.count);
      all[t].push_back(patch_normalised(
          view_of(place, places_.traverse, stream, static_cast<std::int64_t>(t), id), places_.patch));
    }
  }
  return all;
}

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

std::vector<std::int32_t> assigned_places(std::span<const std::int32_t> spikes, std::int64_t places,
                                          std::int64_t neurons) {
  std::vector<std::int32_t> assigned(static_cast<std::size_t>(neurons), -1);
  for (std::int64_t j = 0; j < neurons; ++j) {
    std::int32_t most = 0;
    for (std::int64_t p = 0; p < places; ++p) {
      const std::int32_t here = spikes[static_cast<std::size_t>(p * neurons + j)];
      if (here <= most) continue;
      most = here;
      assigned[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(p);
    }
  }
  return assigned;
}

std::vector<bool> hyperactive_neurons(const ModuleResponse& response, std::int64_t threshold) {
  const auto neurons = static_cast<std::size_t>(response.neurons);
  std::vector<std::int64_t> answered(neurons, 0);
  for (std::size_t k = 0; k < response.reference.size(); ++k)
    answered[k % neurons] += response.reference[k] > 0;
  std::vector<bool> hyperactive(neurons, false);
  for (std::size_t j = 0; j < neurons; ++j) hyperactive[j] = threshold > 0 && answered[j] >= threshold;
  return hyperactive;
}

std::vector<double> place_scores(const ModuleResponse& response, std::span<const std::int32_t> assigned,
                                 const std::vector<bool>& silenced, std::int64_t places) {
  const auto neurons = static_cast<std::size_t>(response.neurons), columns = static_cast<std::size_t>(places);
  std::vector<std::int64_t> owners(columns, 0);
  for (const std::int32_t place : assigned)
    if (place >= 0) ++owners[static_cast<std::size_t>(place)];
  std::vector<double> scores(response.query.size() / neurons * columns, 0.0);
  for (std::size_t k = 0; k < response.query.size(); ++k) {
    const std::size_t q = k / neurons, j = k % neurons;
    if (assigned[j] < 0 || silenced[j]) continue;
    scores[q * columns + static_cast<std::size_t>(assigned[j])] += response.query[k];
  }
  for (std::size_t k = 0; k < scores.size(); ++k)
    if (owners[k % columns] > 0) scores[k] /= static_cast<double>(owners[k % columns]);
  return scores;
}

std::int64_t rank_of(std::span<const double> values, std::int64_t which) {
  const double own = values[static_cast<std::size_t>(which)];
  std::int64_t ahead = 0;
  for (std::int64_t k = 0; k < static_cast<std::int64_t>(values.size()); ++k) {
    const double other = values[static_cast<std::size_t>(k)];
    ahead += other > own || (other == own && k < which);
  }
  return ahead;
}

/// What the whole system makes of all queries; the same on all ranks.
struct PlaceRecognition::Answer {
  std::vector<double> ranks;  ///< of the true place, query by query
  double recall_1 = 0, recall_5 = 0, in_region = 0, silent = 0, own = 0, foreign = 0, silenced = 0;
};

/// `responses` and `assigned` of this rank's modules of one system; modules are dealt in order.
PlaceRecognition::Answer PlaceRecognition::answer(const Communicator& communicator,
                                                  const std::vector<ModuleResponse>& responses,
                                                  const std::vector<std::vector<std::int32_t>>& assigned,
                                                  std::int64_t threshold) const {
  const std::int64_t places = places_.count, own_places = per_module();
  const std::int64_t queries = places * places_.query_traverses;
  const std::vector<std::int64_t> owned =
      communicator.all_gather(static_cast<std::int64_t>(responses.size()));
  std::int64_t module = std::accumulate(owned.begin(), owned.begin() + communicator.rank(), std::int64_t{0});
  std::vector<double> local;
  std::vector<std::int64_t> spikes(static_cast<std::size_t>(queries), 0);
  std::int64_t own = 0, foreign = 0, silenced_count = 0;
  for (std::size_t m = 0; m < responses.size(); ++m, ++module) {
    const std::vector<bool> silenced = hyperactive_neurons(responses[m], threshold);
    silenced_count += std::count(silenced.begin(), silenced.end(), true);
    const std::vector<double> scores = place_scores(responses[m], assigned[m], silenced, own_places);
    local.insert(local.end(), scores.begin(), scores.end());
    const auto neurons = static_cast<std::size_t>(responses[m].neurons);
    for (std::size_t k = 0; k < responses[m].query.size(); ++k) {
      if (silenced[k % neurons]) continue;
      const auto query = static_cast<std::int64_t>(k / neurons);
      const bool inside = query % places / own_places == module;
      (inside ? own : foreign) += responses[m].query[k];
      spikes[static_cast<std::size_t>(query)] += responses[m].query[k];
    }
  }
  communicator.sum(std::span<std::int64_t>(spikes));
  const std::vector<double> scores = communicator.all_gather_varying(std::span<const double>(local));
  Answer out;
  std::vector<double> row(static_cast<std::size_t>(places));
  for (std::int64_t q = 0; q < queries; ++q) {
    for (std::int64_t p = 0; p < places; ++p)
      row[static_cast<std::size_t>(p)] =
          scores[static_cast<std::size_t>((p / own_places * queries + q) * own_places + p % own_places)];
    const std::int64_t place = q % places, region = place / own_places;
    const std::int64_t rank = rank_of(row, place);
    out.ranks.push_back(static_cast<double>(rank));
    out.recall_1 += rank == 0;
    out.recall_5 += rank < 5;
    out.in_region +=
        rank_of(std::span<const double>(row).subspan(static_cast<std::size_t>(region * own_places),
                                                     static_cast<std::size_t>(own_places)),
                place % own_places) == 0;
    out.silent += spikes[static_cast<std::size_t>(q)] == 0;
  }
  const auto n = static_cast<double>(queries);
  for (double* share : {&out.recall_1, &out.recall_5, &out.in_region, &out.silent}) *share /= n;
  out.own = static_cast<double>(communicator.sum(own)) / n;
  out.foreign = static_cast<double>(communicator.sum(foreign)) / n;
  out.silenced = static_cast<double>(communicator.sum(silenced_count));
  return out;
}

/// A rank's modules: of both systems, module m of the calibration system being number 2 m, that of the other
/// system 2 m + 1, so that ranks have equal shares of both.
struct PlaceRecognition::Trained {
  std::int64_t first = 0, count = 0;  // numbers of the modules
  // Now, and in the states of which one is chosen; [module, ...] and [module, state, ...].
  std::vector<float> weights, theta, state_weights, state_theta;
  std::vector<std::int32_t> spikes;    // [module, place, neuron] since the last state, as far as they count
  std::vector<std::int32_t> assigned;  // [module, state, neuron]
};

Metrics PlaceRecognition::run(RunContext& context) {
  if (!spiking()) return match_templates(context);
  const Communicator& communicator = context.communicator;
  const auto seed = static_cast<std::uint64_t>(context.seed);
  const Stopwatch whole;
  const std::int64_t n = network_.neurons, synapses = pixels() * n, own_places = per_module();
  const std::int64_t states = train_.epochs / train_.choose_every;
  const BlockPartition dealt(2 * network_.modules, communicator.size());

  Trained all;
  all.first = dealt.begin(communicator.rank());
  all.count = dealt.size(communicator.rank());
  std::vector<Network> nets;
  for (std::int64_t m = 0; m < all.count; ++m) {
    nets.push_back(network(seed, all.first + m));
    all.weights.insert(all.weights.end(), nets.back().weights().begin(), nets.back().weights().end());
    all.theta.insert(all.theta.end(), nets.back().theta().begin(), nets.back().theta().end());
  }
  const auto zeros = [&](auto& values, std::int64_t each) {
    values.assign(static_cast<std::size_t>(all.count * each), 0);
  };
  zeros(all.state_weights, states * synapses);
  zeros(all.state_theta, states * n);
  zeros(all.spikes, own_places * n);
  zeros(all.assigned, states * n);
  double spikes_per_presentation = nan, seconds_per_presentation = nan;
  std::vector<double> seconds;  // of this process
  StateRegistry& state = context.checkpoint.state();
  state.add("weights", StateKind::per_tile, all.weights);
  state.add("theta", StateKind::per_tile, all.theta);
  state.add("states/weights", StateKind::per_tile, all.state_weights);
  state.add("states/theta", StateKind::per_tile, all.state_theta);
  state.add("spikes", StateKind::per_tile, all.spikes);
  state.add("states/assigned", StateKind::per_tile, all.assigned);
  state.add("metrics/spikes_per_presentation", StateKind::replicated, spikes_per_presentation);
  state.add("timing/seconds_per_presentation", StateKind::replicated, seconds_per_presentation);
  const std::int64_t start = context.checkpoint.resume();

  const Views calibration_views = views(seed, false), test_views = views(seed, true);
  const auto views_of = [&](std::int64_t number) -> const Views& {
    return number % 2 == 0 ? calibration_views : test_views;
  };
  const auto stream_of = [&](const char* what, std::int64_t number) {
    return RandomStream(seed, fmt::format("{}/{}", what, number));
  };
  const int shown = in_steps(network_.present), steps = shown + in_steps(network_.rest);
  const double dt = network_.physics.dt;
  const std::int64_t images = own_places * places_.reference_traverses;
  Stopwatch said;
  for (std::int64_t epoch = start; epoch < train_.epochs; ++epoch) {
    context.checkpoint.between_steps(epoch, train_.epochs);
    std::int64_t spikes = 0;
    std::vector<double> theta_sums;
    const bool counts = train_.choose_every - 1 - epoch % train_.choose_every < train_.assignment_epochs;
    const Stopwatch in_epoch;
    // The first rank has most modules; all look together, between images, at whether to stop.
    for (std::int64_t m = 0; m < dealt.size(0); ++m) {
      const auto stop_if_asked = [&](std::int64_t image) {
        const double done = static_cast<double>(m * images + image);
        const double all_images = static_cast<double>(dealt.size(0) * images);
        const double left = done > 0 ? in_epoch.seconds() * (all_images / done - 1) : 0;
        context.checkpoint.amid_step(epoch, train_.epochs, communicator.max(left));
      };
      if (m >= all.count) {
        for (std::int64_t image = 0; image < images; ++image) stop_if_asked(image);
        continue;
      }
      Network& net = nets[static_cast<std::size_t>(m)];
      const std::span<float> weights = part(all.weights, m, synapses), theta = part(all.theta, m, n);
      std::copy(weights.begin(), weights.end(), net.weights().begin());
      std::copy(theta.begin(), theta.end(), net.theta().begin());
      net.reset();
      const std::int64_t number = all.first + m, first_place = number / 2 * own_places;
      const RandomStream stream = stream_of("training-spikes", number);
      for (std::int64_t image = 0; image < images; ++image) {
        stop_if_asked(image);
        const std::int64_t place = image % own_places;
        const auto& view = views_of(number)[static_cast<std::size_t>(image / own_places)]
                                           [static_cast<std::size_t>(first_place + place)];
        const ProcessorStopwatch watch;
        std::vector<std::int32_t> answer(static_cast<std::size_t>(n), 0);
        net.normalise(network_.weight_sum);
        net.run(poisson_trains(rates(view), dt, shown, stream, epoch * images + image), steps, shown, true,
                answer);
        seconds.push_back(watch.seconds());
        spikes += std::accumulate(answer.begin(), answer.end(), std::int64_t{0});
        const std::span<std::int32_t> sums = part(all.spikes, m * own_places + place, n);
        if (counts) std::transform(sums.begin(), sums.end(), answer.begin(), sums.begin(), std::plus<>());
      }
      std::copy(net.weights().begin(), net.weights().end(), weights.begin());
      std::copy(net.theta().begin(), net.theta().end(), theta.begin());
      theta_sums.push_back(std::accumulate(theta.begin(), theta.end(), 0.0));
      if ((epoch + 1) % train_.choose_every != 0) continue;
      const std::int64_t slot = m * states + epoch / train_.choose_every;
      std::copy(weights.begin(), weights.end(), part(all.state_weights, slot, synapses).begin());
      std::copy(theta.begin(), theta.end(), part(all.state_theta, slot, n).begin());
      const std::span<std::int32_t> answers = part(all.spikes, m, own_places * n);
      const std::vector<std::int32_t> places = assigned_places(answers, own_places, n);
      std::copy(places.begin(), places.end(), part(all.assigned, slot, n).begin());
      std::fill(answers.begin(), answers.end(), 0);
    }
    spikes_per_presentation =
        static_cast<double>(communicator.sum(spikes)) / static_cast<double>(2 * network_.modules * images);
    const std::vector<double> thetas = communicator.all_gather_varying(std::span<const double>(theta_sums));
    const double theta =
        std::accumulate(thetas.begin(), thetas.end(), 0.0) / static_cast<double>(2 * network_.modules * n);
    seconds_per_presentation = communicator.max(seconds.empty() ? 0.0 : quantile(seconds, 0.5));
    context.results.append_step(epoch,
                                {{"spikes_per_presentation", spikes_per_presentation}, {"theta", theta}});
    if (said.seconds() > context.log.progress_interval()) {
      context.log.status(fmt::format("{} seed {}: epoch {}/{}, {:.1f} spikes a presentation, theta {:.1f} mV",
                                     variant_, context.seed, epoch + 1, train_.epochs,
                                     spikes_per_presentation, theta));
      said.lap();
    }
  }
  context.checkpoint.between_steps(train_.epochs, train_.epochs);

  // What the modules of one system answer in one of the states, to all reference images and all queries.
  std::vector<double> query_seconds;
  const auto respond = [&](bool test, std::int64_t which, std::vector<ModuleResponse>& responses,
                           std::vector<std::vector<std::int32_t>>& assigned) {
    responses.clear();
    assigned.clear();
    const auto stop_if_asked = [&] { context.checkpoint.within_step(train_.epochs, train_.epochs); };
    for (std::int64_t m = 0; m < dealt.size(0); ++m) {
      stop_if_asked();
      if (m >= all.count) continue;
      const std::int64_t number = all.first + m, slot = m * states + which;
      if ((number % 2 == 1) != test) continue;
      Network& net = nets[static_cast<std::size_t>(m)];
      const std::span<float> weights = part(all.state_weights, slot, synapses);
      const std::span<float> theta = part(all.state_theta, slot, n);
      std::copy(weights.begin(), weights.end(), net.weights().begin());
      std::copy(theta.begin(), theta.end(), net.theta().begin());
      const RandomStream stream = stream_of("answer-spikes", number);
      ModuleResponse response{.neurons = n};
      const Views& shown_views = views_of(number);
      for (std::size_t t = 0; t < shown_views.size(); ++t) {
        for (std::int64_t p = 0; p < places_.count; ++p) {
          const ProcessorStopwatch watch;
          std::vector<std::int32_t> answer(static_cast<std::size_t>(n), 0);
          const std::int64_t presentation =
              (which * static_cast<std::int64_t>(shown_views.size()) + static_cast<std::int64_t>(t)) *
                  places_.count +
              p;
          net.reset();
          net.run(poisson_trains(rates(shown_views[t][static_cast<std::size_t>(p)]), dt, shown, stream,
                                 presentation),
                  shown, shown, false, answer);
          query_seconds.push_back(watch.seconds());
          std::vector<std::int32_t>& to =
              static_cast<int>(t) < places_.reference_traverses ? response.reference : response.query;
          to.insert(to.end(), answer.begin(), answer.end());
        }
      }
      responses.push_back(std::move(response));
      const std::span<std::int32_t> places = part(all.assigned, slot, n);
      assigned.emplace_back(places.begin(), places.end());
    }
  };

  std::vector<ModuleResponse> responses;
  std::vector<std::vector<std::int32_t>> assigned;
  std::int64_t best_state = 0, best_threshold = 0;
  Answer best{.recall_1 = -1};
  std::vector<std::pair<std::int64_t, Metrics>> rows;  // given once the run cannot be stopped any more
  for (std::int64_t which = 0; which < states; ++which) {
    respond(false, which, responses, assigned);
    const std::int64_t epochs = (which + 1) * train_.choose_every;
    Answer best_here{.recall_1 = -1};
    for (const int threshold : train_.hyperactive) {
      const Answer found = answer(communicator, responses, assigned, threshold);
      // Of equals, the one with fewer spikes outside their region.
      const auto better = [&](const Answer& than) {
        return found.recall_1 > than.recall_1 ||
               (found.recall_1 == than.recall_1 && found.foreign < than.foreign);
      };
      if (better(best_here)) best_here = found;
      if (!better(best)) continue;
      best = found;
      best_state = which;
      best_threshold = threshold;
    }
    rows.emplace_back(epochs, Metrics{{"recall_calibration", best_here.recall_1},
                                      {"foreign_spikes_calibration", best_here.foreign}});
  }
  // The queries of the places to recognise are looked at once, here.
  respond(true, best_state, responses, assigned);
  const Answer found = answer(communicator, responses, assigned, best_threshold);
  for (const auto& [epochs, row] : rows) context.results.append_evaluation(epochs, row);
  context.results.per_sample("rank", found.ranks,
                             {.long_name = "places with a better score than the right one"});
  context.results.timing("total_seconds", whole.seconds());
  return {{"recall_at_1", found.recall_1},
          {"recall_at_5", found.recall_5},
          {"recall_in_region", found.in_region},
          {"recall_calibration", best.recall_1},
          {"epochs_chosen", static_cast<double>((best_state + 1) * train_.choose_every)},
          {"hyperactive_threshold", static_cast<double>(best_threshold)},
          {"neurons_silenced", found.silenced},
          {"own_spikes", found.own},
          {"foreign_spikes", found.foreign},
          {"silent_queries", found.silent},
          {"spikes_per_presentation", spikes_per_presentation},
          {"seconds_per_presentation", seconds_per_presentation},
          {"seconds_per_query", communicator.max(query_seconds.empty() ? 0.0 : quantile(query_seconds, 0.5))},
          {"peak_memory", static_cast<double>(communicator.max(peak_memory_bytes()))}};
}

Metrics PlaceRecognition::match_templates(RunContext& context) const {
  const Communicator& communicator = context.communicator;
  const Views all = views(static_cast<std::uint64_t>(context.seed), true);
  const std::int64_t places = places_.count, own_places = per_module(),
                     queries = places * places_.query_traverses;
  const BlockPartition dealt(queries, communicator.size());
  std::vector<double> local, seconds;
  // The first rank has most queries.
  for (std::int64_t turn = 0; turn < dealt.size(0); ++turn) {
    if (turn % 16 == 0) context.checkpoint.within_step(0, 1);
    if (turn >= dealt.size(communicator.rank())) continue;
    const std::int64_t q = dealt.begin(communicator.rank()) + turn;
    const ProcessorStopwatch watch;
    const auto& query = all[static_cast<std::size_t>(places_.reference_traverses + q / places)]
                           [static_cast<std::size_t>(q % places)];
    // Scores are larger where they are better: the distance to the nearest of a place's templates, negative.
    std::vector<double> scores;
    for (std::int64_t p = 0; p < places; ++p) {
      std::int64_t nearest = std::numeric_limits<std::int64_t>::max();
      for (std::int64_t t = 0; t < places_.reference_traverses; ++t) {
        const auto& reference = all[static_cast<std::size_t>(t)][static_cast<std::size_t>(p)];
        std::int64_t sum = 0;
        for (std::size_t k = 0; k < query.size(); ++k) sum += std::abs(int{query[k]} - int{reference[k]});
        nearest = std::min(nearest, sum);
      }
      scores.push_back(-static_cast<double>(nearest));
    }
    seconds.push_back(watch.seconds());
    const std::int64_t place = q % places, first = place / own_places * own_places;
    local.push_back(static_cast<double>(rank_of(scores, place)));
    local.push_back(static_cast<double>(
        rank_of(std::span<const double>(scores).subspan(static_cast<std::size_t>(first),
                                                        static_cast<std::size_t>(own_places)),
                place - first)));
  }
  const std::vector<double> ranks = communicator.all_gather_varying(std::span<const double>(local));
  double recall_1 = 0, recall_5 = 0, in_region = 0;
  std::vector<double> overall;
  for (std::size_t q = 0; q < ranks.size(); q += 2) {
    overall.push_back(ranks[q]);
    recall_1 += ranks[q] == 0;
    recall_5 += ranks[q] < 5;
    in_region += ranks[q + 1] == 0;
  }
  context.results.per_sample("rank", overall, {.long_name = "places with a better score than the right one"});
  const auto n = static_cast<double>(queries);
  return {{"recall_at_1", recall_1 / n},
          {"recall_at_5", recall_5 / n},
          {"recall_in_region", in_region / n},
          {"seconds_per_query", communicator.max(seconds.empty() ? 0.0 : quantile(seconds, 0.5))},
          {"peak_memory", static_cast<double>(communicator.max(peak_memory_bytes()))}};
}

}  // namespace rankine
