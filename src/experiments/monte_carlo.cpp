#include "src/experiments/monte_carlo.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/comm/tile_tree.hpp"
#include "src/core/clock.hpp"
#include "src/core/memory.hpp"
#include "src/core/random.hpp"
#include "src/expressions/expressions.hpp"
#include "src/train/loop.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

RandomInput read_input(const DeckNode& node, const std::string& name) {
  RandomInput input{name};
  const bool uniform = node.has("uniform"), normal = node.has("normal");
  if (uniform == normal)
    node.error(fmt::format("{}: give one of uniform: [low, high] and normal: [mean, deviation]", name));
  const char* key = uniform ? "uniform" : "normal";
  const std::vector<double> values = node.child(key).as_numbers({.min_size = 2, .max_size = 2});
  node.reject_unread_keys();
  input.uniform = uniform;
  input.first = values[0];
  input.second = values[1];
  if (uniform ? !(values[0] < values[1]) : !(values[1] > 0))
    node.error_at(key, fmt::format("{}: [{}, {}]: {}", key, values[0], values[1],
                                   uniform ? "low must be below high" : "the deviation must be above 0"));
  return input;
}

}  // namespace

void MonteCarloOptions::options(OptionVisitor& o) {
  o("blocks", blocks, {.help = "blocks of samples, dealt to ranks; part of the result", .min = 1});
  o("block", block, {.help = "samples of a block", .min = 1, .max = 1e7});
  o("steps", steps, {.help = "steps in which the blocks are done; checkpoints lie between them", .min = 1});
}

void MonteCarlo::describe(OptionVisitor& o) {
  MonteCarloOptions samples;
  std::string expression, exact;
  o("expression", expression, {.help = "formula of the inputs whose mean is wanted", .required = true});
  o("exact", exact, {.help = "formula of its exact value, without inputs; measured against if given"});
  o.group("samples", samples,
          "how many samples; `inputs` maps names to {uniform: [low, high]} or {normal: [mean, deviation]}");
}

MonteCarlo::MonteCarlo(const DeckNode& variant, const ExperimentSetup& setup) : variant_(setup.variant) {
  const DeckNode inputs = variant.child("inputs");
  ExpressionNames names;
  for (const std::string& name : inputs.keys()) {
    if (const std::string fault = Expressions::name_fault(name); !fault.empty()) inputs.error_at(name, fault);
    inputs_.push_back(read_input(inputs.child(name), name));
    names.unknowns.push_back(name);
  }
  if (inputs_.empty()) inputs.error("inputs: there is none; give each input a name and a distribution");
  inputs.reject_unread_keys();
  const Expressions expressions(names);
  const auto formula = [&](const char* key) {
    const DeckNode node = variant.child(key);
    return ExpressionText{node.as_text(), node.where()};
  };
  program_ =
      expressions.compile({formula("expression")}, {.what = "expression", .position = false, .time = false});
  if (variant.has("exact")) {
    has_exact_ = true;
    const kernels::Program exact =
        Expressions(ExpressionNames{})
            .compile({formula("exact")},
                     {.what = "exact value", .unknowns = false, .position = false, .time = false});
    kernels::TermValues value;
    exact.evaluate({.size = 1}, 0, value);
    exact_ = value.at(0)[0];
    if (!std::isfinite(exact_))
      variant.error_at("exact",
                       fmt::format("exact: the formula's value is {}, which no mean can equal", exact_));
  }
  const DeckNode samples = variant.section("samples");
  samples.read(options_);
  if (options_.steps > options_.blocks)
    samples.error_at("steps",
                     fmt::format("steps: {} is more than the {} blocks", options_.steps, options_.blocks));
  variant.reject_unread_keys();
}

std::vector<MetricInfo> MonteCarlo::metrics() const {
  return {
      {"mean", "1", "mean of the expression over all samples"},
      {"standard_error", "1", "standard deviation over the square root of the number of samples", false,
       options_.blocks * options_.block == 1},
      {"error", "1", "|mean - exact|", false, !has_exact_},
      {"error_in_standard_errors", "1", "that over the standard error", false, true},
      {"samples", "1", "number of samples"},
      {"seconds_per_sample", "s", "wall time over the samples of the rank with most", true, true},
      {"peak_memory", "B", "largest memory of a rank", true},
  };
}

RunEstimate MonteCarlo::estimate() const {
  RunEstimate e;
  e.partition = fmt::format("{} blocks of {} samples", options_.blocks, options_.block);
  e.bytes_per_rank = 64e6 + 8.0 * options_.block * (static_cast<double>(inputs_.size()) + 2);
  e.seconds_per_seed = 3e-8 * options_.blocks * options_.block * static_cast<double>(inputs_.size() + 1);
  e.file_bytes = static_cast<std::uint64_t>(4000 + 32 * options_.steps);
  return e;
}

MonteCarlo::BlockSums MonteCarlo::sample(std::uint64_t seed, std::int64_t block) const {
  const auto n = static_cast<std::size_t>(options_.block);
  std::vector<double> arguments(inputs_.size() * n);
  for (std::size_t a = 0; a < inputs_.size(); ++a) {
    const RandomInput& input = inputs_[a];
    const RandomStream stream(seed, "monte-carlo/" + input.name);
    const std::span<double> values = std::span(arguments).subspan(a * n, n);
    if (input.uniform) {
      stream.fill_uniform(values, 0, block);
      for (double& v : values) v = input.first + (input.second - input.first) * v;
    } else {
      stream.fill_normal(values, 0, block);
      for (double& v : values) v = input.first + input.second * v;
    }
  }
  const kernels::TermPoints points{.size = options_.block, .arguments = arguments};
  kernels::TermValues values;
  program_.evaluate(points, 0, values);
  BlockSums out;
  for (std::size_t k = 0; k < n; ++k) {
    if (!std::isfinite(values.at(0)[k]))
      throw NumericalError(fmt::format("variant {}: sample {} of block {}: {}", variant_, k, block,
                                       program_.explain(points, static_cast<long>(k))));
    out.mean += values.at(0)[k];
  }
  out.mean /= static_cast<double>(n);
  for (std::size_t k = 0; k < n; ++k)
    out.squares += (values.at(0)[k] - out.mean) * (values.at(0)[k] - out.mean);
  return out;
}

Metrics MonteCarlo::run(RunContext& context) {
  const Communicator& communicator = context.communicator;
  const auto seed = static_cast<std::uint64_t>(context.seed);
  const BlockPartition dealt(options_.blocks, communicator.size());
  const TileTree tree(communicator, dealt);
  const std::int64_t first = dealt.begin(communicator.rank()), local = dealt.size(communicator.rank());
  std::vector<double> means(static_cast<std::size_t>(local), 0.0), squares(means);
  double seconds = 0, mean = nan, error = nan;
  StateRegistry& state = context.checkpoint.state();
  state.add("blocks/mean", StateKind::per_tile, means);
  state.add("blocks/squares", StateKind::per_tile, squares);
  state.add("timing/seconds", StateKind::replicated, seconds);
  state.add("metrics/mean", StateKind::replicated, mean);
  state.add("metrics/error", StateKind::replicated, error);
  // Blocks of a step between two looks at whether to stop: a million samples, some 30 ms.
  const std::int64_t together = options_.steps * std::max<std::int64_t>(1, 1'000'000 / options_.block);
  take_steps(context, options_.steps, [&](std::int64_t step) -> Metrics {
    const Stopwatch watch;
    const auto is_done = [&](std::int64_t b) { return (first + b) % options_.steps <= step; };
    // The first rank has most. Blocks that a restart does again give the same.
    for (std::int64_t from = 0; from < dealt.size(0); from += together) {
      if (from > 0) context.checkpoint.within_step(step, options_.steps);
      communicator.together([&] {
        for (std::int64_t b = from; b < std::min(from + together, local); ++b) {
          if ((first + b) % options_.steps != step) continue;
          const BlockSums sums = sample(seed, first + b);
          means[static_cast<std::size_t>(b)] = sums.mean;
          squares[static_cast<std::size_t>(b)] = sums.squares;
        }
      });
    }
    seconds = communicator.max(seconds + watch.seconds());
    std::int64_t done = 0;
    for (std::int64_t b = 0; b < options_.blocks; ++b) done += b % options_.steps <= step;
    // Blocks that are still to come hold zeros.
    mean = tree.sum_values(std::span<const double>(means)) / static_cast<double>(done);
    std::vector<double> about(means.size(), 0.0);
    for (std::int64_t b = 0; b < local; ++b) {
      const auto k = static_cast<std::size_t>(b);
      if (is_done(b)) about[k] = squares[k] + options_.block * (means[k] - mean) * (means[k] - mean);
    }
    const double samples = static_cast<double>(done) * options_.block;
    const double sum = tree.sum_values(std::span<const double>(about));
    error = samples > 1 ? std::sqrt(sum / (samples - 1) / samples) : nan;
    return {{"samples", samples}, {"mean", mean}, {"standard_error", error}};
  });
  const double samples = static_cast<double>(options_.blocks) * options_.block;
  const double off = has_exact_ ? std::abs(mean - exact_) : nan;
  const double most = static_cast<double>(dealt.size(0)) * options_.block;
  return {{"mean", mean},
          {"standard_error", error},
          {"error", off},
          {"error_in_standard_errors", off / error},
          {"samples", samples},
          {"seconds_per_sample", seconds / most},
          {"peak_memory", static_cast<double>(communicator.max(peak_memory_bytes()))}};
}

}  // namespace rankine
