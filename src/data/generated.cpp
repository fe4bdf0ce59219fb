#include "src/data/generated.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "src/core/random.hpp"
#include "src/core/statistics.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {
namespace {

std::uint64_t seed_of(const GeneratedSizes& sizes) { return static_cast<std::uint64_t>(sizes.seed); }

}  // namespace

// ---- gaussian_mixture

void GaussianMixture::Options::options(OptionVisitor& o) {
  GeneratedSizes::options(o);
  o("classes", classes, {.help = "classes, equally likely", .min = 2});
  o("features", features, {.help = "numbers of an example", .min = 1});
  o("components", components, {.help = "Gaussians of a class, equally likely", .min = 1});
  o("separation", separation, {.help = "standard deviation of the centres, in each feature", .min = 0});
  o("spread", spread, {.help = "standard deviation about a centre, in each feature", .min = 0});
}

GaussianMixture::GaussianMixture(const Options& options, const DatasetContext&) {
  input_shape_ = {options.features};
  classes_ = options.classes;
  const RandomStream centres(seed_of(options), "data/centres"), examples(seed_of(options), "data/examples");
  const auto f = static_cast<std::size_t>(options.features);
  std::vector<std::vector<double>> centre(
      static_cast<std::size_t>(options.classes) * static_cast<std::size_t>(options.components),
      std::vector<double>(f));
  for (std::size_t i = 0; i < centre.size(); ++i)
    centres.fill_normal(std::span(centre[i]), 0, static_cast<std::int64_t>(i));
  std::vector<double> x(f);
  for (Split split : all_splits)
    for (int i = 0; i < options.of(split); ++i) {
      const std::int64_t id = generated_id(split, i);
      const std::int64_t label = examples.integer(options.classes, 0, id, 0);
      const std::int64_t component = examples.integer(options.components, 0, id, 1);
      const std::vector<double>& c = centre[static_cast<std::size_t>(label * options.components + component)];
      examples.fill_normal(std::span(x), 0, id);
      Part& part = parts_[split];
      for (std::size_t k = 0; k < f; ++k)
        part.inputs.push_back(options.separation * c[k] + options.spread * x[k]);
      part.labels.push_back(static_cast<std::int32_t>(label));
      part.ids.push_back(id);
    }
}

// ---- teacher

void Teacher::Options::options(OptionVisitor& o) {
  GeneratedSizes::options(o);
  o("features", features, {.help = "numbers of an example", .min = 1});
  o("outputs", outputs, {.help = "numbers of a target", .min = 1});
  o("hidden", hidden, {.help = "widths of the teacher's hidden layers; []: a linear map", .min = 1});
  o("activation", activation,
    {.help = "of the hidden layers; square: x^2 / 2", .choices = {"relu", "tanh", "square"}});
  o("noise", noise,
    {.help = "standard deviation of the noise on training targets; the others have none", .min = 0});
}

Teacher::Teacher(const Options& options, const DatasetContext&) {
  input_shape_ = {options.features};
  target_shape_ = {options.outputs};
  const RandomStream weights(seed_of(options), "data/teacher"), examples(seed_of(options), "data/examples"),
      noise(seed_of(options), "data/noise");
  std::vector<int> widths{options.features};
  widths.insert(widths.end(), options.hidden.begin(), options.hidden.end());
  widths.push_back(options.outputs);
  std::vector<std::vector<double>> w;
  for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
    w.emplace_back(static_cast<std::size_t>(widths[l]) * static_cast<std::size_t>(widths[l + 1]));
    weights.fill_normal(std::span(w[l]), 0, static_cast<std::int64_t>(l));
    for (double& value : w[l]) value /= std::sqrt(widths[l]);
  }
  const auto activation = [&](double a) {
    if (options.activation == "relu") return std::max(a, 0.0);
    return options.activation == "tanh" ? std::tanh(a) : 0.5 * a * a;
  };
  std::vector<double> x(static_cast<std::size_t>(options.features));
  for (Split split : all_splits)
    for (int i = 0; i < options.of(split); ++i) {
      const std::int64_t id = generated_id(split, i);
      examples.fill_normal(std::span(x), 0, id);
      std::vector<double> h = x;
      for (std::size_t l = 0; l < w.size(); ++l) {
        std::vector<double> next(static_cast<std::size_t>(widths[l + 1]), 0.0);
        for (std::size_t r = 0; r < next.size(); ++r) {
          for (std::size_t c = 0; c < h.size(); ++c) next[r] += w[l][r * h.size() + c] * h[c];
          if (l + 1 < w.size()) next[r] = activation(next[r]);
        }
        h = std::move(next);
      }
      Part& part = parts_[split];
      part.inputs.insert(part.inputs.end(), x.begin(), x.end());
      for (std::size_t r = 0; r < h.size(); ++r)
        part.targets.push_back(split == Split::training && options.noise > 0
                                   ? h[r] + options.noise * noise.normal(0, id, static_cast<std::int64_t>(r))
                                   : h[r]);
      part.ids.push_back(id);
    }
}

// ---- cluster_regression

void ClusterRegression::Options::options(OptionVisitor& o) {
  GeneratedSizes::options(o);
  o("clusters", clusters, {.help = "clusters, equally likely, with a linear map each", .min = 1});
  o("features", features, {.help = "numbers of an example", .min = 1});
  o("separation", separation, {.help = "standard deviation of the centres, in each feature", .min = 0});
  o("spread", spread, {.help = "standard deviation about a centre, in each feature", .min = 0});
}

ClusterRegression::ClusterRegression(const Options& options, const DatasetContext&) {
  input_shape_ = {options.features};
  target_shape_ = {1};
  const RandomStream centres(seed_of(options), "data/centres"), maps(seed_of(options), "data/maps"),
      examples(seed_of(options), "data/examples");
  const auto f = static_cast<std::size_t>(options.features);
  std::vector<double> centre(f), map(f), x(f);
  for (Split split : all_splits)
    for (int i = 0; i < options.of(split); ++i) {
      const std::int64_t id = generated_id(split, i), cluster = examples.integer(options.clusters, 0, id, 0);
      centres.fill_normal(std::span(centre), 0, cluster);
      maps.fill_normal(std::span(map), 0, cluster);
      examples.fill_normal(std::span(x), 0, id);
      double y = maps.normal(1, cluster, 0);
      for (std::size_t k = 0; k < f; ++k) {
        x[k] = options.separation * centre[k] + options.spread * x[k];
        y += map[k] * x[k] / std::sqrt(options.features);
      }
      Part& part = parts_[split];
      part.inputs.insert(part.inputs.end(), x.begin(), x.end());
      part.targets.push_back(y);
      part.ids.push_back(id);
    }
  const std::vector<double>& known = parts_[Split::training].targets;
  const double middle = mean(known);
  double variance = 0;
  for (const double y : known) variance += (y - middle) * (y - middle) / static_cast<double>(known.size());
  const double factor = variance > 0 ? 1 / std::sqrt(variance) : 1;
  for (Split split : all_splits)
    for (double& y : parts_[split].targets) y = (y - middle) * factor;
}

// ---- sine

void Sine::Options::options(OptionVisitor& o) {
  GeneratedSizes::options(o);
  o("frequencies", frequencies, {.help = "of the sines, in periods a unit of x", .min_size = 1});
  o("amplitudes", amplitudes, {.help = "of the sines", .min_size = 1});
  o("low", low, {.help = "lower end of x"});
  o("high", high, {.help = "upper end of x"});
  o("noise", noise,
    {.help = "standard deviation of the noise on training targets; the others have none", .min = 0});
}

void Sine::Options::validate(const DeckNode& node) const {
  if (amplitudes.size() != frequencies.size())
    node.error_at("amplitudes", fmt::format("there are {} amplitudes for {} frequencies; give one for each",
                                            amplitudes.size(), frequencies.size()));
  if (low >= high) node.error_at("high", fmt::format("high = {} is not above low = {}", high, low));
}

Sine::Sine(const Options& options, const DatasetContext&) {
  input_shape_ = {1};
  target_shape_ = {1};
  const RandomStream examples(seed_of(options), "data/examples"), noise(seed_of(options), "data/noise");
  for (Split split : all_splits)
    for (int i = 0; i < options.of(split); ++i) {
      const std::int64_t id = generated_id(split, i);
      const double x = examples.uniform(options.low, options.high, 0, id, 0);
      double y = 0;
      for (std::size_t j = 0; j < options.frequencies.size(); ++j)
        y += options.amplitudes[j] * std::sin(2 * std::numbers::pi * options.frequencies[j] * x);
      if (split == Split::training && options.noise > 0) y += options.noise * noise.normal(0, id, 0);
      parts_[split].inputs.push_back(x);
      parts_[split].targets.push_back(y);
      parts_[split].ids.push_back(id);
    }
}

// ---- circle

void Circle::Options::options(OptionVisitor& o) {
  GeneratedSizes::options(o);
  o("cosine", cosine, {.help = "factors of cos(t), cos(2 t), ... in the targets"});
  o("sine", sine, {.help = "factors of sin(t), sin(2 t), ... in the targets"});
}

Circle::Circle(const Options& options, const DatasetContext&) {
  input_shape_ = {2};
  target_shape_ = {1};
  const RandomStream examples(seed_of(options), "data/examples");
  for (Split split : all_splits)
    for (int i = 0; i < options.of(split); ++i) {
      const std::int64_t id = generated_id(split, i);
      const double place =
          split == Split::training ? static_cast<double>(i) / options.of(split) : examples.uniform(0, id, 0);
      const double t = 2 * std::numbers::pi * place;
      double y = 0;
      for (std::size_t k = 0; k < options.cosine.size(); ++k)
        y += options.cosine[k] * std::cos(static_cast<double>(k + 1) * t);
      for (std::size_t k = 0; k < options.sine.size(); ++k)
        y += options.sine[k] * std::sin(static_cast<double>(k + 1) * t);
      Part& part = parts_[split];
      part.inputs.insert(part.inputs.end(), {std::cos(t), std::sin(t)});
      part.targets.push_back(y);
      part.ids.push_back(id);
    }
}

// ---- parity

void Parity::Options::options(OptionVisitor& o) {
  GeneratedSizes::options(o);
  o("bits", bits, {.help = "bits of an example", .min = 1, .max = 62});
  o("relevant", relevant, {.help = "how many of them the parity is of", .min = 1, .max = 62});
}

void Parity::Options::validate(const DeckNode& node) const {
  if (relevant > bits)
    node.error_at("relevant",
                  fmt::format("relevant = {} is more than the {} bits there are", relevant, bits));
  const long needed = static_cast<long>(train) + validation + test, there = 1L << bits;
  if (needed > there)
    node.error_at("train",
                  fmt::format("train + validation + test = {} examples, but {} bits have {} patterns; "
                              "make them smaller",
                              needed, bits, there));
}

Parity::Parity(const Options& options, const DatasetContext&) {
  input_shape_ = {options.bits};
  classes_ = 2;
  const RandomStream stream(seed_of(options), "data/examples"), which(seed_of(options), "data/relevant");
  const std::vector<std::int64_t> relevant = which.choose(options.relevant, options.bits, 0);
  const std::int64_t all = static_cast<std::int64_t>(options.train) + options.validation + options.test;
  const std::vector<std::int64_t> patterns = stream.choose(all, std::int64_t{1} << options.bits, 0);
  std::size_t next = 0;
  for (Split split : all_splits)
    for (int i = 0; i < options.of(split); ++i, ++next) {
      Part& part = parts_[split];
      for (int b = 0; b < options.bits; ++b) part.inputs.push_back(patterns[next] >> b & 1 ? 1 : -1);
      std::int32_t odd = 0;
      for (const std::int64_t b : relevant) odd ^= static_cast<std::int32_t>(patterns[next] >> b & 1);
      part.labels.push_back(odd);
      part.ids.push_back(static_cast<std::int64_t>(next));
    }
}

// ---- modular_addition

void ModularAddition::Options::options(OptionVisitor& o) {
  o("modulus", modulus, {.help = "p", .min = 2, .max = 4096});
  o("operation", operation,
    {.help = "what is done with the numbers, modulo p", .choices = {"add", "subtract", "multiply"}});
  o("inputs", inputs,
    {.help = "tokens: both numbers; one_hot: 2 p zeros and ones; counts: how often each of the p numbers "
             "is there, so that a linear layer adds up two rows of one table",
     .choices = {"tokens", "one_hot", "counts"}});
  o("ordered", ordered, {.help = "whether (a, b) and (b, a) are two examples; false: a <= b only"});
  o("train", train,
    {.help = "fraction of the pairs for training", .min = 0, .max = 1, .exclusive_min = true});
  o("validation", validation,
    {.help = "fraction of the pairs to choose hyper-parameters on; the test split is the rest",
     .min = 0,
     .max = 1});
  o("label_noise", label_noise,
    {.help = "fraction of the training pairs whose result is replaced by a wrong one", .min = 0, .max = 1});
  o("seed", seed, {.help = "seed of the draws", .min = 0});
}

void ModularAddition::Options::validate(const DeckNode& node) const {
  if (train + validation > 1)
    node.error_at(
        "validation",
        fmt::format("train + validation = {} of the pairs; together they are 1 at most", train + validation));
  if (!ordered && operation == "subtract")
    node.error_at("ordered", "a - b and b - a differ; ordered: false needs add or multiply");
}

ModularAddition::ModularAddition(const Options& options, const DatasetContext&)
    : modulus_(options.modulus),
      width_(options.inputs == "one_hot"  ? 2 * modulus_
             : options.inputs == "counts" ? modulus_
                                          : 0) {
  const std::int64_t p = modulus_;
  input_shape_ = {2};
  classes_ = p;
  std::vector<std::int64_t> pairs;
  for (std::int64_t a = 0; a < p; ++a)
    for (std::int64_t b = options.ordered ? 0 : a; b < p; ++b) pairs.push_back(a * p + b);
  const auto seed = static_cast<std::uint64_t>(options.seed);
  const auto n = static_cast<std::int64_t>(pairs.size());
  const std::vector<std::int64_t> order = RandomStream(seed, "data/split").permutation(n, 0);
  const std::int64_t train = std::max<std::int64_t>(1, std::llround(options.train * static_cast<double>(n)));
  const std::int64_t validation = std::min(
      n - train, static_cast<std::int64_t>(std::llround(options.validation * static_cast<double>(n))));
  const std::int64_t noisy = std::llround(options.label_noise * static_cast<double>(train));
  const RandomStream noise(seed, "data/label_noise");
  for (std::int64_t i = 0; i < n; ++i) {
    const Split split = i < train                ? Split::training
                        : i < train + validation ? Split::validation
                                                 : Split::test;
    Part& part = parts_[split];
    const std::int64_t id = pairs[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])], a = id / p,
                       b = id % p;
    std::int64_t result = (options.operation == "add"        ? a + b
                           : options.operation == "multiply" ? a * b
                                                             : a - b + p) %
                          p;
    // The order is random already, so that the first training pairs are a random choice.
    if (i < noisy) result = (result + 1 + noise.integer(p - 1, 0, id, 0)) % p;
    part.tokens.push_back(static_cast<std::int32_t>(a));
    part.tokens.push_back(static_cast<std::int32_t>(b));
    part.labels.push_back(static_cast<std::int32_t>(result));
    part.ids.push_back(id);
  }
}

Examples ModularAddition::examples(Split split, std::span<const std::int64_t> which, DType type,
                                   std::uint64_t seed, std::int64_t step) const {
  Examples out = StoredDataset::examples(split, which, type, seed, step);
  if (width_ == 0) return out;
  dispatch_real(type, "modular_addition", [&](auto zero) {
    using T = decltype(zero);
    HostArray<T> expanded({static_cast<std::int64_t>(which.size()), width_});
    expanded.fill(0);
    T* row = expanded.data();
    for (const std::int64_t number : which) {
      const std::int32_t* pair = &parts_[split].tokens[static_cast<std::size_t>(2 * number)];
      ++row[pair[0]];
      ++row[(modulus_ + pair[1]) % width_];
      row += width_;
    }
    out.inputs = expanded.to_device();
  });
  return out;
}

// ---- latency_spikes

void LatencySpikes::Options::options(OptionVisitor& o) {
  GeneratedSizes::options(o);
  o("classes", classes, {.help = "classes, equally likely", .min = 2});
  o("steps", steps, {.help = "time steps of an example", .min = 2});
  o("channels", channels, {.help = "channels, each of which fires once", .min = 1});
  o("jitter", jitter,
    {.help = "standard deviation of a spike's time about that of its class", .unit = "steps", .min = 0});
  o("lost", lost, {.help = "probability that a spike is lost", .min = 0, .max = 1});
  o("background", background,
    {.help = "probability of a spike without meaning, in a step of a channel", .min = 0, .max = 1});
}

LatencySpikes::LatencySpikes(const Options& options, const DatasetContext&) : options_(options) {
  const RandomStream stream(seed_of(options), "data/latencies");
  for (int c = 0; c < options.classes; ++c) {
    std::vector<int>& times = times_.emplace_back();
    for (int channel = 0; channel < options.channels; ++channel)
      times.push_back(static_cast<int>(stream.integer(options.steps, 0, c, channel)));
  }
}

Examples LatencySpikes::examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t,
                                 std::int64_t) const {
  const auto n = static_cast<std::int64_t>(which.size()), steps = static_cast<std::int64_t>(options_.steps),
             channels = static_cast<std::int64_t>(options_.channels);
  const RandomStream stream(seed_of(options_), "data/examples");
  Examples out;
  HostArray<std::int32_t> labels({n});
  dispatch_real(type, "latency_spikes", [&](auto zero) {
    using T = decltype(zero);
    HostArray<T> inputs({n, steps, channels});
    inputs.fill(0);
    T* spikes = inputs.data();
    for (std::int64_t i = 0; i < n; ++i, spikes += steps * channels) {
      RANKINE_ASSERT(
          0 <= which[static_cast<std::size_t>(i)] && which[static_cast<std::size_t>(i)] < size(split),
          "example " + std::to_string(which[static_cast<std::size_t>(i)]));
      const std::int64_t id = generated_id(split, which[static_cast<std::size_t>(i)]);
      const std::int64_t label = stream.integer(options_.classes, 0, id, 0);
      const std::vector<int>& times = times_[static_cast<std::size_t>(label)];
      for (std::int64_t c = 0; c < channels; ++c) {
        if (stream.uniform(0, id, c) < options_.lost) continue;
        const double time = times[static_cast<std::size_t>(c)] + options_.jitter * stream.normal(0, id, c);
        const std::int64_t at = std::clamp<std::int64_t>(std::llround(time), 0, steps - 1);
        spikes[at * channels + c] = 1;
      }
      // The number of places without a spike between two spikes has a geometric distribution.
      const double log_empty = std::log1p(-options_.background);
      const std::int64_t places = steps * channels;
      for (std::int64_t place = -1, draw = 0; options_.background > 0; ++draw) {
        const double empty = std::floor(std::log(stream.uniform(1, id, draw)) / log_empty);
        if (empty >= static_cast<double>(places - 1 - place)) break;
        place += 1 + static_cast<std::int64_t>(empty);
        spikes[place] = 1;
      }
      out.ids.push_back(id);
      labels[i] = static_cast<std::int32_t>(label);
    }
    out.inputs = inputs.to_device();
  });
  out.targets = labels.to_device();
  return out;
}

}  // namespace rankine
