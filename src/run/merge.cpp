#include "src/run/merge.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/comm/communicator.hpp"
#include "src/core/strings.hpp"
#include "src/deck/deck.hpp"
#include "src/io/files.hpp"
#include "src/io/provenance.hpp"
#include "src/io/sweep_files.hpp"
#include "src/run/driver.hpp"
#include "src/run/report.hpp"

namespace rankine {
namespace {

constexpr std::size_t most_lines = 12;

using Job = std::pair<std::string, std::int64_t>;  // variant and seed

Deck resolve(const SweepFile& file, const std::vector<std::string>& set,
             const std::vector<std::string>& only) {
  return {file.deck,
          file.deck_path,
          {.smoke = file.smoke, .set = set, .only = only},
          stored_fragments(file.fragments)};
}

/// A file, and the deck that its run resolved.
struct Part {
  SweepFile file;
  Deck deck;
  explicit Part(const std::string& path)
      : file(read_sweep_file(path)), deck(resolve(file, file.overrides, {})) {}

  std::set<std::string> variants() const {
    std::set<std::string> names;
    const Deck own = resolve(file, file.overrides, file.only);
    for (const Deck::Variant& variant : own.variants()) names.insert(variant.name);
    return names;
  }

  /// run.seeds as the deck has them, whatever the run was told.
  std::vector<int> own_seeds() const { return resolve(file, {}, {}).run().seeds; }
};

std::string listed(std::vector<std::string> lines) {
  const std::size_t all = lines.size();
  lines.resize(std::min(all, most_lines));
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text + (all > most_lines ? fmt::format("\n  and {} more", all - most_lines) : "");
}

std::string first_different_line(const std::string& a, const std::string& b) {
  std::size_t begin = 0, line = 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()) && a[i] == b[i]; ++i) {
    if (a[i] != '\n') continue;
    begin = i + 1;
    ++line;
  }
  const auto at = [&](const std::string& text) {
    return begin >= text.size() ? std::string("(end)")
                                : "'" + printable(text.substr(begin, text.find('\n', begin) - begin)) + "'";
  };
  return fmt::format("the deck, line {}: {} against {}", line, at(a), at(b));
}

/// What keeps two files from being parts of one sweep. Which runs they hold, and where and how these ran, may
/// differ.
std::vector<std::string> differences(const Part& a, const Part& b) {
  std::vector<std::string> found;
  const auto differ = [&](const std::string& what, const std::string& one, const std::string& other) {
    if (one != other)
      found.push_back(fmt::format("{}: {} against {}", what, printable(one, 200), printable(other, 200)));
  };
  const auto tasks = [](const Part& part) {
    return part.file.tasks == 0 ? std::string("without --task") : std::to_string(part.file.tasks);
  };
  differ("revision of the program", a.file.revision, b.file.revision);
  differ("--smoke", a.file.smoke ? "yes" : "no", b.file.smoke ? "yes" : "no");
  differ("number of tasks", tasks(a), tasks(b));
  if (a.file.deck != b.file.deck) {
    found.push_back(first_different_line(a.file.deck, b.file.deck));
    return found;
  }
  for (const std::string& variant : a.deck.all_variants()) {
    const auto one = a.deck.settings(variant), other = b.deck.settings(variant);
    std::set<std::string> keys;
    for (const auto& [key, value] : one) keys.insert(key);
    for (const auto& [key, value] : other) keys.insert(key);
    for (const std::string& key : keys) {
      const auto value = [&](const auto& settings) {
        const auto at = settings.find(key);
        return at == settings.end() ? std::string("(not given)") : at->second;
      };
      differ(key + " (variant '" + variant + "')", value(one), value(other));
    }
  }
  std::string one, other;
  for (const ExpectLine& line : a.deck.expect()) one += line.text + "; ";
  for (const ExpectLine& line : b.deck.expect()) other += line.text + "; ";
  differ("expect", one, other);
  return found;
}

/// All files agree with the first, or InputError.
void check_alike(const std::vector<Part>& parts) {
  for (const Part& part : parts) {
    const std::vector<std::string> found = differences(parts.front(), part);
    if (found.empty()) continue;
    throw InputError(fmt::format("{} and {} are not parts of one sweep:{}", parts.front().file.path,
                                 part.file.path, listed(found)));
  }
}

/// Which file holds which run; InputError where two hold the same.
std::map<Job, std::pair<const Part*, const SweepFile::Run*>> holders(const std::vector<Part>& parts) {
  std::map<Job, std::pair<const Part*, const SweepFile::Run*>> held;
  for (const Part& part : parts) {
    for (const SweepFile::Run& run : part.file.runs) {
      const auto [at, is_new] = held.emplace(Job(run.variant, run.seed), std::pair(&part, &run));
      if (is_new) continue;
      throw InputError(fmt::format("{} and {} both hold {} seed {}; give each run once",
                                   at->second.first->file.path, part.file.path, run.variant, run.seed));
    }
  }
  return held;
}

/// The runs of the sweep in the order in which one job would have made them. Tasks know all variants and
/// seeds of their sweep; files of other jobs tell their seeds, and the variants are those of the deck.
std::vector<Job> members(const std::vector<Part>& parts) {
  const bool tasks = parts.front().file.tasks > 0;
  std::set<std::string> variants;
  std::set<std::int64_t> seeds;
  for (const Part& part : parts) {
    const std::set<std::string> own = part.variants();
    variants.insert(own.begin(), own.end());
    seeds.insert(part.deck.run().seeds.begin(), part.deck.run().seeds.end());
    if (tasks &&
        (own != parts.front().variants() || part.deck.run().seeds != parts.front().deck.run().seeds)) {
      throw InputError(fmt::format("{} and {} are tasks of different sweeps: --only or run.seeds differ",
                                   parts.front().file.path, part.file.path));
    }
  }
  // The deck's order first.
  std::vector<std::int64_t> ordered;
  for (const int seed : parts.front().deck.run().seeds) {
    if (tasks) ordered.push_back(seed);
  }
  if (!tasks) {
    for (const std::int64_t seed : parts.front().own_seeds()) {
      if (seeds.erase(seed) > 0) ordered.push_back(seed);
    }
    ordered.insert(ordered.end(), seeds.begin(), seeds.end());
  }
  std::vector<Job> all;
  for (const std::string& variant : parts.front().deck.all_variants()) {
    if (tasks && !variants.contains(variant)) continue;
    for (const std::int64_t seed : ordered) all.emplace_back(variant, seed);
  }
  return all;
}

/// Seeds of the deck's own run.seeds that no file of a sweep without tasks has, joined by commas.
std::string absent_seeds(const Part& part, const std::vector<Job>& all) {
  if (part.file.tasks > 0) return "";
  std::vector<std::string> absent;
  for (const std::int64_t seed : part.own_seeds()) {
    if (std::none_of(all.begin(), all.end(), [&](const Job& job) { return job.second == seed; }))
      absent.push_back(std::to_string(seed));
  }
  return join(absent);
}

}  // namespace

int merge_sweep(const std::vector<std::string>& files, const std::string& output,
                const std::vector<std::string>& argv, Log& log) {
  OutputClaim claim;
  if (!output.empty()) {
    const OutputFile merged{"--output", output, FileContent::results};
    std::vector<InputFile> inputs;
    for (const std::string& file : files) inputs.push_back({"compare --merge", file});
    claim = OutputClaim({&merged, 1}, inputs, [&](const std::string& text) { log.line(text); });
  }
  std::vector<Part> parts;
  for (const std::string& file : files) parts.emplace_back(file);
  check_alike(parts);
  const auto held = holders(parts);
  const std::vector<Job> all = members(parts);

  std::vector<std::string> missing;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (held.contains(all[i])) continue;
    const int tasks = parts.front().file.tasks;
    missing.push_back(
        fmt::format("{} seed {}{}", all[i].first, all[i].second,
                    tasks > 0 ? fmt::format(" (task {})", i % static_cast<std::size_t>(tasks) + 1) : ""));
  }
  if (!missing.empty()) {
    throw InputError(
        fmt::format("{} of {} runs of the sweep are in none of the files; run them, or name their "
                    "files too:{}",
                    missing.size(), all.size(), listed(missing)));
  }

  std::vector<VariantMetrics> variants;
  std::vector<SweepMember> order;
  for (const Job& job : all) {
    const auto& [part, run] = held.at(job);
    order.push_back({part->file.path, job.first, job.second});
    if (variants.empty() || variants.back().variant != job.first) {
      variants.push_back({job.first, {}, {}});
      for (const SweepFile::Metric& metric : run->metrics)
        variants.back().metrics.push_back({.name = metric.name, .unit = metric.unit});
    }
    for (const auto& [name, value] : run->values) variants.back().values[name].push_back(value);
  }
  std::vector<const VariantMetrics*> columns;
  for (const VariantMetrics& variant : variants) columns.push_back(&variant);

  const Part& first = parts.front();
  if (const std::string absent = absent_seeds(first, all); !absent.empty()) {
    log.line(
        fmt::format("the deck's run.seeds name seeds that no file holds: {}; the files of other jobs than "
                    "tasks do not tell whether these were to be run",
                    absent));
  }
  log.text(fmt::format("{}: {} runs in {} files\n\n{}\n",
                       first.file.title.empty() ? first.file.deck_path : first.file.title, all.size(),
                       parts.size(), metrics_table(columns)));
  Verdicts verdicts;
  if (first.file.smoke) {
    if (!first.deck.expect().empty()) log.line("expectations are not checked at smoke sizes");
  } else {
    std::vector<Expectation> expectations;
    for (const ExpectLine& line : first.deck.expect()) {
      expectations.emplace_back(line.text, line.node.where(), first.deck.all_variants(),
                                std::vector<std::string>{},
                                [&](const std::string& variant, const std::string& path) {
                                  return first.deck.number_at(variant, path);
                                });
    }
    verdicts = judge(expectations, columns);
    log.text(verdicts.text);
  }
  if (!output.empty()) {
    const auto provenance = collect_provenance({.arguments = argv,
                                                .deck_path = first.file.deck_path,
                                                .deck_text = first.file.deck,
                                                .resolved_deck = first.deck.resolved(),
                                                .hosts = {},
                                                .mpi_library = MpiSession::library_version(),
                                                .start_utc = utc_now(),
                                                .overrides = first.file.overrides,
                                                .only = first.file.only,
                                                .fragments = first.file.fragments,
                                                .smoke = first.file.smoke});
    write_merged_results(output, first.file.title, order, verdicts.results, provenance);
    log.line("wrote " + output);
  }
  return verdicts.all_true ? ExitCode::done : ExitCode::expectation_false;
}

}  // namespace rankine
