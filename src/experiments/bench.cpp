#include "src/experiments/bench.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "kernels/runtime.hpp"
#include "src/core/clock.hpp"
#include "src/core/memory.hpp"
#include "src/core/random.hpp"
#include "src/core/statistics.hpp"

namespace rankine {
namespace {

/// Whether a weight is kept: units at random, or as many of each group as the density says.
std::vector<bool> kept_weights(const Structure& structure, const Shape& shape, double density,
                               const RandomStream& stream, std::int64_t place) {
  const UnitLayout layout = structure.layout(shape);
  const std::int64_t units = shape.count() / layout.unit, group = layout.group > 0 ? layout.group : 1;
  std::vector<bool> out(static_cast<std::size_t>(shape.count()));
  for (std::int64_t u = 0; u < units; ++u) {
    const double score = stream.uniform(0, place, u);
    int before = 0;  // of its group
    for (std::int64_t v = u / group * group; v < (u / group + 1) * group; ++v)
      before += stream.uniform(0, place, v) < score ? 1 : 0;
    const bool keep = density == 1 || (layout.group > 0 ? before + 0.5 < density * static_cast<double>(group)
                                                        : score < density);
    for (std::int64_t e = u * layout.unit; e < (u + 1) * layout.unit; ++e)
      out[static_cast<std::size_t>(layout.order.empty() ? e : layout.order[static_cast<std::size_t>(e)])] =
          keep;
  }
  return out;
}

BenchProblem problem_of(const BenchSize& size, double density, const Structure& structure, std::uint64_t seed,
                        std::int64_t place) {
  const RandomStream weights(seed, "bench/weights"), kept(seed, "bench/kept"), inputs(seed, "bench/inputs");
  BenchProblem out{size, std::vector<float>(static_cast<std::size_t>(size.m) * size.k),
                   std::vector<float>(static_cast<std::size_t>(size.k) * size.n)};
  weights.fill_uniform<float>(out.w, 0, place);
  inputs.fill_uniform<float>(out.x, 0, place);
  for (float& x : out.x) x = 2 * x - 1;
  const std::vector<bool> keep = kept_weights(structure, {size.m, size.k}, density, kept, place);
  for (std::size_t e = 0; e < out.w.size(); ++e) {
    out.w[e] = keep[e] ? 2 * out.w[e] - 1 : 0;
    out.nonzeros += out.w[e] != 0 ? 1 : 0;
  }
  return out;
}

/// Twice the bound of a sum's rounding: what two orders of it may differ by.
double tolerance(const BenchProblem& problem) {
  double largest = 0;
  for (std::size_t row = 0; row < static_cast<std::size_t>(problem.size.m); ++row) {
    double sum = 0;
    for (std::size_t j = 0; j < static_cast<std::size_t>(problem.size.k); ++j)
      sum += std::abs(problem.w[row * static_cast<std::size_t>(problem.size.k) + j]);
    largest = std::max(largest, sum);
  }
  return std::numeric_limits<float>::epsilon() * problem.size.k * largest;
}

}  // namespace

void BenchOptions::options(OptionVisitor& o) {
  o.list("sizes", sizes, "Y [m, n] = W [m, k] X [k, n], one after the other; of networks n samples");
  o("density", density,
    {.help = "part of the weights that is not 0, drawn at random; dense kernels multiply the zeros too",
     .min = 0,
     .max = 1,
     .exclusive_min = true});
  o("repetitions", repetitions, {.help = "times that each kernel has its turn", .min = 1});
  o("at_least", at_least,
    {.help = "time of a turn: shorter kernels do several products in one", .unit = "s", .min = 0});
}

void Bench::describe(OptionVisitor& o) {
  BenchOptions bench;
  o.group(
      "bench", bench,
      "what is timed; also `kernel`, and `against`, a list of those that it is compared with, each with "
      "an optional `label`, see `rankine list bench_kernel`, and `structure`, which weights are 0 together, "
      "see `rankine list structure`");
}

Bench::Bench(const DeckNode& variant, const ExperimentSetup& setup)
    : variant_(setup.variant), first_seed_(setup.seeds.empty() ? 0 : setup.seeds.front()) {
  const DeckNode bench = variant.section("bench"), list = bench.child("against");
  nodes_ = {bench.child("kernel")};
  if (!list.is_sequence()) list.error("'against' must be a list of kernels, such as [product, blas]");
  for (const DeckNode& item : list.items()) nodes_.push_back(item);
  for (const DeckNode& node : nodes_) {
    const bool labelled = node.is_mapping() && node.has("label");
    bench_kernels().make(node);
    names_.push_back(node.child(labelled ? "label" : "name").as_text());
    if (std::count(names_.begin(), names_.end(), names_.back()) > 1)
      node.error(
          fmt::format("{}: is there already; give each kernel a label of its own, such as "
                      "{{name: network, label: narrow, ...}}",
                      names_.back()));
  }
  structure_ = structures().make_or("weight", bench.section("structure"));
  bench.read(options_);
  if (options_.sizes.empty())
    bench.error_at("sizes", "sizes: there is none; give [{m: 256, n: 196, k: 256}]");
  for (const BenchSize& size : options_.sizes) try {
      structure_->check(options_.density);
      (void)structure_->layout({size.m, size.k});
    } catch (const InputError& error) {
      bench.error_at("structure", std::string("structure: ") + error.what() + "; choose another");
    }
  for (const DeckNode& node : nodes_)
    for (const BenchSize& size : options_.sizes) try {
        bench_kernels().make(node)->check(size);
      } catch (const InputError& error) {
        node.error(error.what());
      }
  variant.reject_unread_keys();
}

std::vector<MetricInfo> Bench::metrics() const {
  std::vector<MetricInfo> out;
  for (std::size_t i = 1; i < names_.size(); ++i)
    out.push_back({"ratio_" + names_[i], "1",
                   "time of the kernel over that of " + names_[i] + ", the largest over the sizes", true});
  if (names_.size() > 1)
    out.push_back(
        {"ratio", "1", "the same over the fastest of the others, which may change with the size", true});
  out.push_back(
      {"gflops", "GFlop/s", "work on weights that are not 0, or of a network; the slowest size", true});
  out.push_back({"spread", "1", "median over shortest time of the kernel, the largest over the sizes", true});
  out.push_back({"peak_memory", "B", "largest memory of a rank", true});
  return out;
}

RunEstimate Bench::estimate() const {
  RunEstimate e;
  e.partition = fmt::format("{} kernels at {} sizes on the first rank", names_.size(), options_.sizes.size());
  double largest = 0;
  for (const BenchSize& size : options_.sizes) {
    const double flops = 2.0 * size.m * size.n * size.k;
    largest = std::max(largest, 4.0 * (double(size.m) * size.k + double(size.n) * (size.k + size.m)));
    e.seconds_per_seed += static_cast<double>(names_.size()) * options_.repetitions *
                          std::max(options_.at_least, 1e-10 * flops);
  }
  e.bytes_per_rank = 64e6 + largest * static_cast<double>(names_.size() + 2);
  e.file_bytes = 4000 + 100 * options_.sizes.size() * names_.size();
  return e;
}

std::vector<double> Bench::measure(std::uint64_t seed, std::int64_t place) const {
  const BenchProblem problem =
      problem_of(options_.sizes[static_cast<std::size_t>(place)], options_.density, *structure_, seed, place);
  struct Entry {
    std::unique_ptr<BenchKernel> kernel;
    int calls = 1;  // of a turn
    std::vector<double> seconds = {};
  };
  std::vector<Entry> entries;
  std::vector<float> first;
  const auto turn = [](Entry& entry) {
    const Stopwatch watch;
    for (int i = 0; i < entry.calls; ++i) entry.kernel->run();
    fence();
    return watch.seconds() / entry.calls;
  };
  for (std::size_t i = 0; i < names_.size(); ++i) {
    Entry& entry = entries.emplace_back(Entry{bench_kernels().make(nodes_[i])});
    entry.kernel->prepare(problem);
    turn(entry);  // a first call takes memory, and brings the operands near
    entry.calls = 1 + static_cast<int>(std::min(options_.at_least / turn(entry), 1e6));
    const std::vector<float> result = entry.kernel->result();
    if (first.empty()) first = result;
    double apart = 0;
    for (std::size_t e = 0; e < result.size() && e < first.size(); ++e)
      apart = std::max(apart, std::abs(double(result[e]) - first[e]));
    if (!(apart <= tolerance(problem)))
      throw NumericalError(
          fmt::format("variant {}, size {}: the results of {} and {} are {:.3g} apart, where rounding "
                      "explains {:.3g}; one of these kernels is wrong",
                      variant_, problem.size.text(), names_[0], names_[i], apart, tolerance(problem)));
  }
  for (int r = 0; r < options_.repetitions; ++r)
    for (Entry& entry : entries) entry.seconds.push_back(turn(entry));
  std::vector<double> out;
  for (const Entry& entry : entries) {
    out.push_back(*std::min_element(entry.seconds.begin(), entry.seconds.end()));
    out.push_back(quantile(entry.seconds, 0.5));
  }
  out.push_back(entries.front().kernel->flops());
  return out;
}

Metrics Bench::run(RunContext& context) {
  const Communicator& communicator = context.communicator;
  const std::size_t kernels = names_.size(), sizes = options_.sizes.size(), row = 2 * kernels + 1;
  std::vector<double> values(sizes * row, 0.0);
  context.checkpoint.state().add("bench/values", StateKind::replicated, values);
  const auto steps = static_cast<std::int64_t>(sizes);
  for (std::int64_t place = context.checkpoint.resume(); place < steps; ++place) {
    context.checkpoint.between_steps(place, steps);
    std::vector<double> found;
    communicator.on_root([&] { found = measure(static_cast<std::uint64_t>(context.seed), place); });
    communicator.broadcast(found);
    std::copy(found.begin(), found.end(), values.begin() + place * static_cast<std::int64_t>(row));
    std::string said =
        fmt::format("{} {}:", variant_, options_.sizes[static_cast<std::size_t>(place)].text());
    for (std::size_t i = 0; i < kernels; ++i)
      said += fmt::format(" {} {:.1f} us{}", names_[i], 1e6 * found[2 * i], i + 1 < kernels ? "," : "");
    if (context.seed == first_seed_) context.log.line(said);
  }
  context.checkpoint.between_steps(steps, steps);

  std::vector<std::string> labels;
  std::vector<double> flops, worst(kernels, 0.0);
  double gflops = HUGE_VAL, spread = 0;
  for (std::size_t p = 0; p < sizes; ++p) {
    const double* of = values.data() + p * row;
    labels.push_back(options_.sizes[p].text());
    flops.push_back(of[row - 1]);
    double fastest = HUGE_VAL;
    for (std::size_t i = 1; i < kernels; ++i) {
      fastest = std::min(fastest, of[2 * i]);
      worst[i] = std::max(worst[i], of[0] / of[2 * i]);
    }
    worst[0] = std::max(worst[0], of[0] / fastest);
    gflops = std::min(gflops, 1e-9 * flops.back() / of[0]);
    spread = std::max(spread, of[1] / of[0]);
  }
  context.results.table("sizes", {"size", labels}).row(0, "flops", flops);
  for (std::size_t i = 0; i < kernels; ++i)
    for (const std::size_t median : {std::size_t{0}, std::size_t{1}}) {
      std::vector<double> seconds;
      for (std::size_t p = 0; p < sizes; ++p) seconds.push_back(values[p * row + 2 * i + median]);
      context.results.timing((median == 1 ? "median_seconds_" : "seconds_") + names_[i], seconds);
    }
  Metrics out;
  for (std::size_t i = 1; i < kernels; ++i) out.emplace_back("ratio_" + names_[i], worst[i]);
  if (kernels > 1) out.emplace_back("ratio", worst[0]);
  out.emplace_back("gflops", gflops);
  out.emplace_back("spread", spread);
  out.emplace_back("peak_memory", static_cast<double>(communicator.max(peak_memory_bytes())));
  return out;
}

}  // namespace rankine
