#include "src/experiments/driver.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/io/provenance.hpp"
#include "src/io/xdmf.hpp"

namespace rankine {
namespace {

struct Spread {
  double mean = 0, deviation = 0;
};

Spread spread(const std::vector<double>& values) {
  Spread result;
  for (const double v : values) result.mean += v / static_cast<double>(values.size());
  for (const double v : values) result.deviation += (v - result.mean) * (v - result.mean);
  if (values.size() > 1)
    result.deviation = std::sqrt(result.deviation / static_cast<double>(values.size() - 1));
  return result;
}

std::string cell(const std::vector<double>& values) {
  if (values.empty()) return "-";
  const Spread s = spread(values);
  if (std::isnan(s.mean)) return "-";
  return values.size() == 1 ? fmt::format("{:.4g}", s.mean)
                            : fmt::format("{:.4g} +- {:.1g}", s.mean, s.deviation);
}

}  // namespace

Deck read_deck(const Communicator& communicator, const std::string& path, const DeckRequest& request) {
  std::string text;
  communicator.on_root([&] { text = Deck::read_file(path); });
  communicator.broadcast(text);
  return Deck(text, path, request);
}

DeckRun::DeckRun(const Communicator& communicator, const ExperimentRegistry& table, Deck deck,
                 const DeckRequest& request)
    : communicator_(communicator), request_(request), deck_(std::move(deck)) {
  make_parts(table);
  parse_expectations();
}

void DeckRun::make_parts(const ExperimentRegistry& table) {
  const std::vector<std::int64_t> seeds(deck_.run().seeds.begin(), deck_.run().seeds.end());
  // Ranks check the same things; should one see something else (a file system that lags), all say what it
  // saw.
  communicator_.together([&] {
    for (const Deck::Variant& variant : deck_.variants()) {
      const ExperimentSetup setup{communicator_, variant.name, seeds, request_.smoke};
      Part part{variant.name, table.make_named(deck_.experiment_node(), variant.node, setup), {}, {}};
      part.metrics = part.experiment->metrics();
      std::set<std::string> names;
      for (const MetricInfo& metric : part.metrics) {
        RANKINE_ASSERT(names.insert(metric.name).second, "metric '" + metric.name + "' is declared twice");
      }
      parts_.push_back(std::move(part));
    }
  });
}

void DeckRun::parse_expectations() {
  std::vector<std::string> metrics;
  for (const Part& part : parts_) {
    for (const MetricInfo& metric : part.metrics) {
      if (std::find(metrics.begin(), metrics.end(), metric.name) == metrics.end())
        metrics.push_back(metric.name);
    }
  }
  for (const ExpectLine& line : deck_.expect()) {
    expectations_.emplace_back(line.text, line.node.where(), deck_.all_variants(), metrics);
  }
}

std::string DeckRun::summary() const {
  const auto count = [](std::size_t n, const char* what) {
    return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
  };
  return fmt::format("{} is in order: {} x {} of {}, {}", deck_.file(), count(parts_.size(), "variant"),
                     count(deck_.run().seeds.size(), "seed"), deck_.run().experiment,
                     count(expectations_.size(), "expectation"));
}

std::string DeckRun::dry_run_text() const {
  std::string text = "# the resolved deck\n" + deck_.resolved() + "\n# the partition on " +
                     std::to_string(communicator_.size()) +
                     (communicator_.size() == 1 ? " rank\n" : " ranks\n");
  std::string estimates = "# estimates\n";
  const auto seeds = static_cast<double>(deck_.run().seeds.size());
  double seconds = 0, bytes = 0, file_bytes = 0;
  for (const Part& part : parts_) {
    const RunEstimate estimate = part.experiment->estimate();
    text += part.variant + ": " + estimate.partition + "\n";
    estimates += fmt::format("{}: {} a rank, {} a seed\n", part.variant, bytes_text(estimate.bytes_per_rank),
                             duration_text(estimate.seconds_per_seed));
    seconds += seeds * estimate.seconds_per_seed;
    bytes = std::max(bytes, estimate.bytes_per_rank);
    file_bytes += seeds * static_cast<double>(estimate.file_bytes);
  }
  return text + "\n" + estimates +
         fmt::format("all: {} a rank, {}, results file {}\n", bytes_text(bytes), duration_text(seconds),
                     bytes_text(file_bytes));
}

int DeckRun::run(const Invocation& invocation, Log& log) {
  const std::string start = utc_now();
  const auto seconds_since = [](auto t) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
  };
  const auto began = std::chrono::steady_clock::now();
  const std::string path = invocation.output.empty() ? deck_.run().output : invocation.output;
  output_ = path;
  std::uint64_t bytes_needed = 0;
  for (const Part& part : parts_) {
    bytes_needed += part.experiment->estimate().file_bytes * deck_.run().seeds.size();
  }
  ResultsWriter results;
  communicator_.on_root([&] { results = ResultsWriter(path, deck_.about().title, true, bytes_needed); });
  const std::vector<std::string> hosts = communicator_.host_names();

  log.line(fmt::format("{}{}", deck_.about().title.empty() ? deck_.file() : deck_.about().title,
                       request_.smoke ? " (smoke sizes)" : ""));
  Checkpointer checkpointer({communicator_, deck_, path, invocation.restart, request_.smoke}, log);
  results.keep_for_checkpoints();
  try {
    for (Part& part : parts_) {
      for (const int seed : deck_.run().seeds) run_one(part, seed, results, checkpointer, log);
    }
  } catch (const StopRequested& stop) {
    log.clear_status();
    if (const std::string costs = checkpointer.summary(); !costs.empty()) log.line(costs);
    log.line(std::string(stop.what()) + "; `rankine run --restart auto` goes on from there");
    return ExitCode::requeue;
  }
  log.text("\n" + table() + "\n");
  const bool as_expected = check_expectations(results, log);

  results.provenance(collect_provenance({.arguments = invocation.arguments,
                                         .deck_path = deck_.file(),
                                         .deck_text = deck_.text(),
                                         .resolved_deck = deck_.resolved(),
                                         .ranks = communicator_.size(),
                                         .hosts = hosts,
                                         .mpi_library = MpiSession::library_version(),
                                         .start_utc = start}));
  std::string side_file;
  communicator_.on_root([&] {
    results.finish();
    side_file = write_xdmf(path);
  });
  if (const std::string costs = checkpointer.summary(); !costs.empty()) log.line(costs);
  log.line(fmt::format("wrote {}{} after {}", path, side_file.empty() ? "" : " and " + side_file,
                       duration_text(seconds_since(began))));
  return as_expected ? ExitCode::done : ExitCode::expectation_false;
}

void DeckRun::run_one(Part& part, std::int64_t seed, ResultsWriter& results, Checkpointer& checkpointer,
                      Log& log) {
  const auto began = std::chrono::steady_clock::now();
  RunWriter writer = results.run(part.variant, seed);
  if (const auto before = checkpointer.finished(part.variant, seed, writer)) {
    for (const MetricInfo& info : part.metrics) {
      const auto value = before->find(info.name);
      part.values[info.name].push_back(value == before->end() ? std::numeric_limits<double>::quiet_NaN()
                                                              : value->second);
    }
    results.forget(part.variant, seed);
    log.line(fmt::format("{} seed {}: was done before", part.variant, seed));
    return;
  }
  JobCheckpoint checkpoint = checkpointer.begin(part.variant, seed, writer);
  RunContext context{communicator_, part.variant, seed, writer, log, checkpoint, deck_, output_};
  const Metrics metrics = part.experiment->run(context);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  log.clear_status();

  for (const auto& [name, value] : metrics) {
    const auto declared = std::find_if(part.metrics.begin(), part.metrics.end(),
                                       [&name = name](const MetricInfo& m) { return m.name == name; });
    RANKINE_ASSERT(declared != part.metrics.end(), "metric '" + name + "' is returned but not declared");
  }
  for (const MetricInfo& info : part.metrics) {
    const auto given = std::find_if(metrics.begin(), metrics.end(),
                                    [&](const auto& metric) { return metric.first == info.name; });
    const double value = given == metrics.end() ? std::numeric_limits<double>::quiet_NaN() : given->second;
    if (request_.smoke && !info.may_be_nan && !std::isfinite(value)) {
      throw NumericalError(
          fmt::format("variant '{}', seed {}: metric '{}' is {}; with --smoke every metric must be finite",
                      part.variant, seed, info.name, value));
    }
    part.values[info.name].push_back(value);
    if (info.machine_dependent) {
      context.results.timing(info.name, value, {.unit = info.unit, .long_name = info.help});
    } else {
      context.results.summary(info.name, value, {.unit = info.unit, .long_name = info.help});
    }
  }
  context.results.timing("wall_seconds", seconds,
                         {.unit = "s", .long_name = "wall time of the whole run, since its last restart"});
  checkpointer.report(context.results);
  std::map<std::string, double> values;
  for (const MetricInfo& info : part.metrics) values[info.name] = part.values[info.name].back();
  checkpointer.done(checkpoint, values);
  results.forget(part.variant, seed);
  log.line(fmt::format("{} seed {}: done in {}", part.variant, seed, duration_text(seconds)));
}

std::string DeckRun::table() const {
  std::vector<std::vector<std::string>> rows{{""}};
  for (const Part& part : parts_) rows[0].push_back(part.variant);
  for (const Part& first : parts_) {
    for (const MetricInfo& metric : first.metrics) {
      const std::string label =
          metric.unit.empty() || metric.unit == "1" ? metric.name : metric.name + " [" + metric.unit + "]";
      const bool shown =
          std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row[0] == label; });
      if (shown) continue;
      rows.push_back({label});
      for (const Part& part : parts_) {
        const auto values = part.values.find(metric.name);
        rows.back().push_back(values == part.values.end() ? "-" : cell(values->second));
      }
    }
  }
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = fmt::format("{:<{}}", row[0], widths[0]);
    for (std::size_t c = 1; c < row.size(); ++c) line += fmt::format("  {:>{}}", row[c], widths[c]);
    text += line + "\n";
  }
  const std::size_t seeds = deck_.run().seeds.size();
  return text + (seeds > 1 ? fmt::format("(mean +- standard deviation over {} seeds)\n", seeds) : "");
}

bool DeckRun::check_expectations(ResultsWriter& results, Log& log) const {
  if (request_.smoke) {
    if (!expectations_.empty()) log.line("expectations are not checked at smoke sizes");
    return true;
  }
  const auto part_of = [this](const std::string& variant) {
    return std::find_if(parts_.begin(), parts_.end(),
                        [&](const Part& part) { return part.variant == variant; });
  };
  const MetricLookup lookup = [&](const std::string& metric, const std::string& variant) {
    const auto values = part_of(variant)->values.find(metric);
    return values == part_of(variant)->values.end() ? std::vector<double>{} : values->second;
  };
  std::vector<ExpectationResult> verdicts;
  bool all_true = true;
  for (const Expectation& expectation : expectations_) {
    const bool was_run =
        std::all_of(expectation.variants().begin(), expectation.variants().end(),
                    [&](const std::string& variant) { return part_of(variant) != parts_.end(); });
    if (!was_run) {
      log.text("  not checked  " + expectation.text() + "  (--only left a variant out)\n");
      continue;
    }
    const Expectation::Outcome outcome = expectation.evaluate(lookup);
    std::string sides = outcome.note;
    if (sides.empty() && !std::isnan(outcome.left))
      sides = fmt::format("{:.4g} and {:.4g}", outcome.left, outcome.right);
    if (std::isfinite(outcome.standard_error))
      sides += fmt::format(", {:.2g} apart, standard error {:.2g}", outcome.left - outcome.right,
                           outcome.standard_error);
    log.text(fmt::format("  {}  {}{}\n", outcome.verdict ? "true " : "FALSE", expectation.text(),
                         sides.empty() ? "" : "  (" + sides + ")"));
    verdicts.push_back(
        {expectation.text(), outcome.verdict, outcome.left, outcome.right, outcome.standard_error});
    all_true = all_true && outcome.verdict;
  }
  results.expectations(verdicts);
  return all_true;
}

}  // namespace rankine
