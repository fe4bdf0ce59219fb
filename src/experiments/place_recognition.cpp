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
#include "src/core/statistics.hpp"
#include "src/experiments/place_modules.hpp"
#include "src/train/loop.hpp"

namespace rankine {

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

/// Adds a query at `place` with these scores of all places.
void PlaceRecognition::count(std::span<const double> scores, std::int64_t place, Answer& out) const {
  const std::int64_t rank = rank_of(scores, place), first = place / per_module() * per_module();
  const auto region = scores.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(per_module()));
  out.ranks.push_back(static_cast<double>(rank));
  out.recall_1 += rank == 0;
  out.recall_5 += rank < 5;
  out.in_region += rank_of(region, place - first) == 0;
}

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
    count(row, q % places, out);
    out.silent += spikes[static_cast<std::size_t>(q)] == 0;
  }
  const auto n = static_cast<double>(queries);
  for (double* share : {&out.recall_1, &out.recall_5, &out.in_region, &out.silent}) *share /= n;
  out.own = static_cast<double>(communicator.sum(own)) / n;
  out.foreign = static_cast<double>(communicator.sum(foreign)) / n;
  out.silenced = static_cast<double>(communicator.sum(silenced_count));
  return out;
}

Metrics PlaceRecognition::run(RunContext& context) {
  if (!spiking()) return match_templates(context);
  const Communicator& communicator = context.communicator;
  const Stopwatch whole;
  Modules modules(*this, context);
  take_steps(context, train_.epochs, [&](std::int64_t epoch) { return modules.train(epoch); });

  // Calibration chooses state and threshold; of equals, those with fewer spikes outside their region.
  const auto better = [](const Answer& a, const Answer& b) {
    return a.recall_1 > b.recall_1 || (a.recall_1 == b.recall_1 && a.foreign < b.foreign);
  };
  std::int64_t best_state = 0;
  int best_threshold = 0;
  Answer best{.recall_1 = -1};
  std::vector<Metrics> rows;  // given once the run cannot be stopped any more
  for (std::int64_t state = 0; state < modules.states(); ++state) {
    const std::vector<Answer> found = modules.answers(false, state, train_.hyperactive);
    const auto here = std::min_element(found.begin(), found.end(), better);
    rows.push_back({{"recall_calibration", here->recall_1}, {"foreign_spikes_calibration", here->foreign}});
    if (!better(*here, best)) continue;
    best = *here;
    best_state = state;
    best_threshold = train_.hyperactive[static_cast<std::size_t>(here - found.begin())];
  }
  // The queries of the places to recognise are looked at once, here.
  const Answer found = modules.answers(true, best_state, {&best_threshold, 1}).front();
  for (std::size_t state = 0; state < rows.size(); ++state)
    context.results.append_evaluation(static_cast<std::int64_t>(state + 1) * train_.choose_every,
                                      rows[state]);
  context.results.per_sample("rank", found.ranks,
                             {.long_name = "places with a better score than the right one"});
  context.results.timing("total_seconds", whole.seconds());
  const std::vector<double>& seconds = modules.query_seconds();
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
          {"spikes_per_presentation", modules.spikes_per_presentation()},
          {"seconds_per_presentation", modules.seconds_per_presentation()},
          {"seconds_per_query", communicator.max(seconds.empty() ? 0.0 : quantile(seconds, 0.5))},
          {"peak_memory", static_cast<double>(communicator.max(peak_memory_bytes()))}};
}

Metrics PlaceRecognition::match_templates(RunContext& context) const {
  const Communicator& communicator = context.communicator;
  const Views all = views(static_cast<std::uint64_t>(context.seed), true);
  const std::int64_t places = places_.count, queries = places * places_.query_traverses;
  const BlockPartition dealt(queries, communicator.size());
  std::vector<double> scores, seconds;  // [query, place]
  // The first rank has most queries.
  for (std::int64_t turn = 0; turn < dealt.size(0); ++turn) {
    if (turn % 16 == 0) context.checkpoint.within_step(0, 1);
    if (turn >= dealt.size(communicator.rank())) continue;
    const std::int64_t q = dealt.begin(communicator.rank()) + turn;
    const ProcessorStopwatch watch;
    const auto& query = all[static_cast<std::size_t>(places_.reference_traverses + q / places)]
                           [static_cast<std::size_t>(q % places)];
    // Scores are larger where they are better: the distance to the nearest of a place's templates, negative.
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
  }
  const std::vector<double> all_scores = communicator.all_gather_varying(std::span<const double>(scores));
  Answer found;
  for (std::int64_t q = 0; q < queries; ++q)
    count(
        std::span(all_scores).subspan(static_cast<std::size_t>(q * places), static_cast<std::size_t>(places)),
        q % places, found);
  context.results.per_sample("rank", found.ranks,
                             {.long_name = "places with a better score than the right one"});
  const auto n = static_cast<double>(queries);
  return {{"recall_at_1", found.recall_1 / n},
          {"recall_at_5", found.recall_5 / n},
          {"recall_in_region", found.in_region / n},
          {"seconds_per_query", communicator.max(seconds.empty() ? 0.0 : quantile(seconds, 0.5))},
          {"peak_memory", static_cast<double>(communicator.max(peak_memory_bytes()))}};
}

}  // namespace rankine
