#include "src/run/driver.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <iostream>
#include <limits>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "kernels/device_info.hpp"
#include "kernels/error.hpp"
#include "src/core/devices.hpp"
#include "src/core/strings.hpp"
#include "src/io/provenance.hpp"
#include "src/io/xdmf.hpp"
#include "src/tensor/profile.hpp"
#include "src/tensor/storage.hpp"

namespace rankine {
namespace {

std::string count_of(std::size_t n, const char* what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

/// Whether a snapshot of the one layout fills the other, which may do without some.
bool fits(const std::vector<SnapshotEntry>& from, const std::vector<SnapshotEntry>& to) {
  const auto has = [](const std::vector<SnapshotEntry>& all, const SnapshotEntry& entry) {
    return std::any_of(all.begin(), all.end(), [&](const SnapshotEntry& other) {
      return other.name == entry.name && other.shape == entry.shape;
    });
  };
  return std::all_of(from.begin(), from.end(), [&](const SnapshotEntry& entry) { return has(to, entry); }) &&
         std::all_of(to.begin(), to.end(),
                     [&](const SnapshotEntry& entry) { return entry.optional || has(from, entry); });
}

}  // namespace

std::vector<int> deal(std::span<const double> seconds, int groups) {
  std::vector<std::size_t> order(seconds.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto length = [&](std::size_t i) { return std::isfinite(seconds[i]) ? seconds[i] : 0.0; };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return length(a) > length(b); });
  std::vector<int> owner(seconds.size(), -1);
  std::vector<std::pair<double, int>> load(static_cast<std::size_t>(groups));  // and the number of jobs
  for (const std::size_t job : order) {
    if (length(job) < 0) continue;
    const auto least = std::min_element(load.begin(), load.end());
    least->first += length(job);
    least->second += 1;
    owner[job] = static_cast<int>(least - load.begin());
  }
  return owner;
}

std::string path_of_task(const std::string& path, const DeckRequest& request) {
  if (request.tasks == 0) return path;
  const std::size_t dot = path.ends_with(".h5") ? path.size() - 3 : path.size();
  return fmt::format("{}.task_{}_of_{}{}", path.substr(0, dot), request.task, request.tasks,
                     path.substr(dot));
}

Deck read_deck(const Communicator& communicator, const std::string& path, const DeckRequest& request) {
  std::string text;
  communicator.on_root([&] { text = Deck::read_file(path); });
  communicator.broadcast(text);
  return Deck(text, path, request, [&](const std::string& name, const std::string& from) {
    DeckFragment fragment{from, name, "", ""};
    communicator.on_root([&] { fragment = Deck::read_fragment(name, from); });
    communicator.broadcast(fragment.path);
    communicator.broadcast(fragment.text);
    return fragment;
  });
}

DeckRun::DeckRun(const Communicator& communicator, const ExperimentRegistry& table, Deck deck,
                 const DeckRequest& request)
    : communicator_(communicator),
      request_(request),
      deck_(std::move(deck)),
      groups_(communicator, wanted_groups()) {
  make_parts(table);
  connect_parts();
  parse_expectations();
}

int DeckRun::wanted_groups() const {
  if (request_.tasks > 0 && static_cast<std::size_t>(request_.tasks) > all_jobs()) {
    throw InputError(fmt::format("--task {}/{}: {} has {} runs ({} x {}); allowed: at most as many tasks",
                                 request_.task, request_.tasks, deck_.file(), all_jobs(),
                                 count_of(deck_.variants().size(), "variant"),
                                 count_of(deck_.run().seeds.size(), "seed")));
  }
  const std::size_t tasks = request_.tasks > 0 ? static_cast<std::size_t>(request_.tasks) : 1;
  const std::size_t jobs = (all_jobs() + tasks - 1) / tasks;
  return static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(deck_.run().concurrent), jobs));
}

std::vector<double> DeckRun::estimated_seconds() const {
  std::vector<double> seconds;
  for (const Job& job : jobs_) {
    seconds.push_back(std::max(job.part->experiment->estimate().seconds_per_seed, 0.0));
  }
  return seconds;
}

void DeckRun::make_parts(const ExperimentRegistry& table) {
  const std::vector<std::int64_t> seeds(deck_.run().seeds.begin(), deck_.run().seeds.end());
  // Ranks check the same things; should one see something else (a file system that lags), all say what it
  // saw.
  communicator_.together([&] {
    for (const Deck::Variant& variant : deck_.variants()) {
      const ExperimentSetup setup{groups_.group(), variant.name, seeds, request_.smoke};
      Part part;
      part.variant = variant.name;
      const auto make = [&](const DeckNode& node) {
        return table.make_named(deck_.experiment_node(), node, setup);
      };
      if (variant.node.has("match"))
        part.match = match_widths(
            variant.node, [&](const DeckNode& trial) { return make(trial)->counts(); },
            [&](const std::string& name) { return counts_of(name, variant); }, !request_.smoke);
      part.experiment = make(variant.node);
      part.metrics = part.experiment->metrics();
      if (part.match)
        part.metrics.push_back(
            {"match_difference", "1", "difference from the count that `match` names, relative to it"});
      std::set<std::string> names;
      for (const MetricInfo& metric : part.metrics) {
        RANKINE_ASSERT(names.insert(metric.name).second, "metric '" + metric.name + "' is declared twice");
      }
      parts_.push_back(std::move(part));
    }
  });
}

VariantCounts DeckRun::counts_of(const std::string& name, const Deck::Variant& wanting) const {
  const auto found =
      std::find_if(parts_.begin(), parts_.end(), [&](const Part& p) { return p.variant == name; });
  if (found != parts_.end()) return found->experiment->counts();
  const std::vector<std::string>& all = deck_.all_variants();
  if (std::find(all.begin(), all.end(), name) == all.end())
    wanting.node.error(fmt::format("match: there is no variant '{}'; the variants are {}", name, join(all)));
  const std::vector<Deck::Variant>& chosen = deck_.variants();
  const bool left_out =
      std::none_of(chosen.begin(), chosen.end(), [&](const Deck::Variant& v) { return v.name == name; });
  wanting.node.error(
      left_out
          ? fmt::format("match: --only leaves out '{0}', whose count is the target; add --only {0}", name)
          : fmt::format("match: '{}' does not stand above this variant in the deck; move it up", name));
}

std::string DeckRun::matches() const {
  std::string text;
  for (const Part& part : parts_)
    if (part.match) text += part.variant + ": " + part.match->text + "\n";
  return text;
}

void DeckRun::connect_parts() {
  const std::vector<std::string>& all = deck_.all_variants();
  const auto place = [&](const std::string& name) { return std::find(all.begin(), all.end(), name); };
  const auto part_of = [&](const std::string& name) {
    return std::find_if(parts_.begin(), parts_.end(), [&](const Part& p) { return p.variant == name; });
  };
  int trees = 0;
  for (Part& part : parts_) {
    part.tree = trees++;
    for (const SnapshotReference& named : deck_.snapshots(part.variant)) {
      const std::string begin =
          fmt::format("{}: '{}': {}@{}", named.where, named.key, named.variant, named.name);
      if (place(named.variant) == all.end()) {
        throw InputError(fmt::format("{}: there is no variant '{}'; the variants are {}", begin,
                                     named.variant, join(all)));
      }
      if (place(named.variant) >= place(part.variant)) {
        throw InputError(fmt::format(
            "{}: variant '{}' can only start from one that stands above it in the deck; move '{}' up", begin,
            part.variant, named.variant));
      }
      const auto parent = part_of(named.variant);
      if (parent == parts_.end()) {
        throw InputError(fmt::format("{}: --only leaves out '{}', which '{}' starts from; add --only {}",
                                     begin, named.variant, part.variant, named.variant));
      }
      const std::vector<std::string> names = parent->experiment->snapshots();
      if (std::find(names.begin(), names.end(), named.name) == names.end()) {
        throw InputError(fmt::format("{}: variant '{}' leaves no such snapshot; it leaves: {}", begin,
                                     named.variant, names.empty() ? "none" : join(names)));
      }
      if (!fits(parent->experiment->snapshot_layout(), part.experiment->wanted_layout(named.key))) {
        throw InputError(fmt::format(
            "{}: a snapshot of '{}' does not fit '{}': names or shapes of parameters differ, or it "
            "has masks of parameters that `sparsity` does not name here, or parameters that "
            "`model.parametrise` does not add here; give both the same blocks (a teacher's are "
            "train.distill.model), and here at least the sparsity and the parametrisations of there",
            begin, named.variant, part.variant));
      }
      part.parents.push_back(named.variant);
      const int from = parent->tree, to = part.tree;
      for (Part& other : parts_)
        if (other.tree == to) other.tree = from;
    }
  }
  // Dealt out one by one, so that the long variants do not all fall to one task.
  std::map<std::pair<int, std::int64_t>, int> units;
  for (Part& part : parts_) {
    for (const int seed : deck_.run().seeds) {
      const int unit =
          units.emplace(std::pair(part.tree, seed), static_cast<int>(units.size())).first->second;
      if (request_.tasks == 0 || unit % request_.tasks == request_.task - 1)
        jobs_.push_back({&part, seed, unit});
    }
  }
  if (jobs_.empty()) {
    throw InputError(
        fmt::format("--task {}/{}: {} has {} that do not depend on each other; allowed: at most as "
                    "many tasks",
                    request_.task, request_.tasks, deck_.file(), count_of(units.size(), "run")));
  }
}

std::vector<int> DeckRun::deal_jobs(std::span<const double> seconds) const {
  int units = 0;
  for (const Job& job : jobs_) units = std::max(units, job.unit + 1);
  std::vector<double> lengths(static_cast<std::size_t>(units), -1.0);
  for (std::size_t i = 0; i < jobs_.size(); ++i) {
    if (seconds[i] < 0) continue;
    double& length = lengths[static_cast<std::size_t>(jobs_[i].unit)];
    length = std::max(length, 0.0) + seconds[i];
  }
  const std::vector<int> owner = deal(lengths, groups_.count());
  std::vector<int> out;
  for (std::size_t i = 0; i < jobs_.size(); ++i)
    out.push_back(seconds[i] < 0 ? -1 : owner[static_cast<std::size_t>(jobs_[i].unit)]);
  return out;
}

bool DeckRun::needed(const Job& job) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) {
    return std::find(part.parents.begin(), part.parents.end(), job.part->variant) != part.parents.end();
  });
}

void DeckRun::take_snapshots(Checkpointer& checkpointer) {
  for (const Job& job : jobs_) {
    if (!needed(job) || !checkpointer.was_done({job.part->variant, job.seed})) continue;
    for (auto& [name, snapshot] : snapshots_in(checkpointer.final_state({job.part->variant, job.seed})))
      snapshots_.keep({job.part->variant, job.seed}, name, std::move(snapshot));
  }
}

void DeckRun::forget_snapshots(const Job& job) {
  if (!needed(job)) snapshots_.forget({job.part->variant, job.seed});
  for (const std::string& parent : job.part->parents) {
    const bool later = std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) {
      return &part > job.part &&
             std::find(part.parents.begin(), part.parents.end(), parent) != part.parents.end();
    });
    if (!later) snapshots_.forget({parent, job.seed});
  }
}

void DeckRun::parse_expectations() {
  std::vector<std::string> metrics;
  for (const Part& part : parts_) {
    for (const MetricInfo& metric : part.metrics) {
      if (std::find(metrics.begin(), metrics.end(), metric.name) == metrics.end())
        metrics.push_back(metric.name);
    }
  }
  const auto is_run = [&](const std::string& variant) {
    return std::any_of(parts_.begin(), parts_.end(),
                       [&](const Part& part) { return part.variant == variant; });
  };
  for (const ExpectLine& line : deck_.expect()) {
    const auto parse = [&](const std::vector<std::string>& known) {
      return Expectation(line.text, line.node.where(), deck_.all_variants(), known,
                         [this](const std::string& variant, const std::string& path) {
                           return deck_.number_at(variant, path);
                         });
    };
    // A variant that --only leaves out may have metrics that nobody here knows.
    Expectation expectation = parse({});
    const std::vector<std::string>& of = expectation.variants();
    if (std::all_of(of.begin(), of.end(), is_run)) expectation = parse(metrics);
    expectations_.push_back(std::move(expectation));
  }
  // Times to reach a value are metrics of the runs that an expectation speaks of.
  for (const Expectation& expectation : expectations_) {
    for (const TimeTo& time : expectation.times()) {
      for (Part& part : parts_) {
        const bool is_read = expectation.reads(time.name_of_time(), part.variant) ||
                             expectation.reads(time.name_of_censored(), part.variant);
        const bool known =
            !is_read || std::any_of(part.metrics.begin(), part.metrics.end(),
                                    [&](const MetricInfo& metric) { return metric.name == time.name; });
        if (known) continue;
        part.times.push_back(time);
        part.metrics.push_back({.name = time.name,
                                .unit = time.censored ? "1" : "steps",
                                .help = time.censored
                                            ? "1 where no evaluation fulfils this, else 0"
                                            : "steps before the first evaluation that fulfils this, or the "
                                              "last one where none does",
                                .may_be_nan = true});
      }
    }
  }
}

std::string DeckRun::summary() const {
  return matches() + fmt::format("{} is in order: {} x {} of {}, {}", deck_.file(),
                                 count_of(parts_.size(), "variant"),
                                 count_of(deck_.run().seeds.size(), "seed"), deck_.run().experiment,
                                 count_of(expectations_.size(), "expectation"));
}

std::string DeckRun::dry_run_text() const {
  std::string text = fmt::format("# the resolved deck\n{}\n# the partition on {}", deck_.resolved(),
                                 count_of(static_cast<std::size_t>(communicator_.size()), "rank"));
  if (groups_.count() > 1) text += fmt::format(" in {} concurrent groups; of the first", groups_.count());
  text += "\n";
  std::string estimates = "# estimates\n" + matches(), counts;
  double bytes = 0, file_bytes = 0;
  for (const Part& part : parts_) {
    const RunEstimate estimate = part.experiment->estimate();
    text += part.variant + ": " + estimate.partition + "\n";
    if (!estimate.counts.empty()) counts += part.variant + "\n" + estimate.counts;
    estimates += fmt::format("{}: {} a rank, {} a seed\n", part.variant, bytes_text(estimate.bytes_per_rank),
                             duration_text(estimate.seconds_per_seed));
    bytes = std::max(bytes, estimate.bytes_per_rank);
    for (const Job& job : jobs_)
      file_bytes += job.part == &part ? static_cast<double>(estimate.file_bytes) : 0;
  }
  const std::vector<double> lengths = estimated_seconds();
  const std::vector<int> owner = deal_jobs(lengths);
  std::vector<double> load(static_cast<std::size_t>(groups_.count()));
  for (std::size_t i = 0; i < owner.size(); ++i) load[static_cast<std::size_t>(owner[i])] += lengths[i];
  const double seconds = *std::max_element(load.begin(), load.end());
  if (!counts.empty())
    counts =
        "# counts after training: forward multiply-adds of a sample, parameters, non-zeros, bytes of "
        "parameters\n" +
        counts + "\n";
  return text + "\n" + counts + estimates +
         fmt::format("all: {} a rank, {}, results file {}\n", bytes_text(bytes), duration_text(seconds),
                     bytes_text(file_bytes));
}

std::string DeckRun::output_of(const Invocation& invocation) const {
  return path_of_task(invocation.output.empty() ? deck_.run().output : invocation.output, request_);
}

std::vector<std::pair<std::string, std::int64_t>> DeckRun::job_names() const {
  std::vector<std::pair<std::string, std::int64_t>> names;
  for (const Job& job : jobs_) names.emplace_back(job.part->variant, job.seed);
  return names;
}

DeckRun::Files DeckRun::files(const Invocation& invocation, bool runs) const {
  Files all;
  const std::string results = output_of(invocation),
                    key = invocation.output.empty() ? "run.output" : "--output";
  std::uint64_t bytes = 0;
  for (const Part& part : parts_) {
    const auto jobs =
        std::count_if(jobs_.begin(), jobs_.end(), [&](const Job& j) { return j.part == &part; });
    // Estimates take time, and the space that matters is what is there when the deck is run.
    if (runs && jobs > 0) bytes += static_cast<std::uint64_t>(jobs) * part.experiment->estimate().file_bytes;
  }
  all.outputs.push_back({key, results, FileContent::results, bytes});
  all.outputs.push_back({"the side file of " + key, xdmf_path(results), FileContent::side_file});
  all.inputs.push_back({"the deck", deck_.file()});
  for (const DeckFragment& fragment : deck_.fragments()) all.inputs.push_back({"use", fragment.path});
  if (invocation.restart != "never" && invocation.restart != "auto")
    all.inputs.push_back({"--restart", invocation.restart});
  std::set<std::string> seen;
  for (const Deck::Variant& variant : deck_.variants()) {
    for (const DeckFile& file : deck_.files(variant.name)) {
      const std::string named = fmt::format("{} ({})", file.key, file.where);
      for (const int seed : deck_.run().seeds) {
        // Another task writes its outputs itself, maybe at this moment.
        const bool own = std::any_of(jobs_.begin(), jobs_.end(), [&](const Job& job) {
          return job.part->variant == variant.name && job.seed == seed;
        });
        const std::string path = with_seed(file.path, seed);
        // Variants and seeds may share a file under one key.
        if ((file.use != FileUse::input && !own) || !seen.insert(file.key + "\n" + path).second) continue;
        if (file.use == FileUse::input) all.inputs.push_back({named, path});
        if (file.use == FileUse::samples_output) all.outputs.push_back({named, path, FileContent::samples});
        if (file.use == FileUse::observations_output)
          all.outputs.push_back({named, path, FileContent::observations});
      }
    }
  }
  return all;
}

/// InputError where an output has the name of a checkpoint in the run's own folder of them.
void DeckRun::check_beside_checkpoints(std::span<const OutputFile> outputs,
                                       const std::string& results) const {
  const CheckpointFolder folder(deck_.checkpoint().directory.empty() ? results + ".checkpoints"
                                                                     : deck_.checkpoint().directory);
  for (const OutputFile& output : outputs) {
    if (!folder.takes(output.path)) continue;
    throw InputError(fmt::format(
        "{}: cannot write the output ({}): it is the name of a checkpoint in this run's folder of "
        "checkpoints, {}; choose another name or folder",
        output.path, output.key, folder.path()));
  }
}

std::vector<std::string> DeckRun::check_files(const Invocation& invocation) const {
  const Files all = files(invocation, false);
  check_beside_checkpoints(all.outputs, output_of(invocation));
  check_outputs(all.outputs, all.inputs);
  return check_checkpoint_folder(checkpoint_folder(deck_.checkpoint(), output_of(invocation)),
                                 invocation.restart == "never", job_names());
}

/// InputError where the device has no room for the largest of the runs. Collective.
void DeckRun::check_device() const {
  const DeviceInfo device = device_info();
  if (device.total_bytes == 0) return;  // the device is the host
  const std::vector<std::string> devices = communicator_.all_gather_text(device.id);
  double bytes = 0;
  for (const Part& part : parts_) bytes = std::max(bytes, part.experiment->estimate().bytes_per_rank);
  communicator_.together([&] {
    require_device_memory(device, bytes,
                          static_cast<int>(std::count(devices.begin(), devices.end(), device.id)),
                          communicator_.rank());
  });
}

int DeckRun::run(const Invocation& invocation, Log& log) {
  const std::string start = utc_now();
  const auto seconds_since = [](auto t) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
  };
  const auto began = std::chrono::steady_clock::now();
  const std::string path = output_of(invocation);
  output_ = path;
  check_device();
  OutputClaim claim;
  ResultsWriter results;
  communicator_.on_root([&] {
    const Files all = files(invocation, true);
    check_beside_checkpoints(all.outputs, path);
    claim = OutputClaim(all.outputs, all.inputs, [&](const std::string& text) { log.line(text); });
    results = ResultsWriter(path, deck_.about().title, true, all.outputs.front().bytes);
  });
  const std::vector<std::string> hosts = communicator_.host_names();

  log.line(fmt::format("{}{}", deck_.about().title.empty() ? deck_.file() : deck_.about().title,
                       request_.smoke ? " (smoke sizes)" : ""));
  for (const Part& part : parts_)
    if (part.match) log.line(part.variant + ": " + part.match->text);
  // Of several groups each root speaks, in whole lines that say which run they are about.
  const bool several = groups_.count() > 1;
  Log lines(std::cout, groups_.group().is_root() ? Log::Style::plain : Log::Style::silent);
  Log& group_log = several && (!communicator_.is_root() || log.style() == Log::Style::terminal) ? lines : log;
  Checkpointer checkpointer({communicator_, deck_, path, invocation.restart, request_.smoke,
                             several ? &groups_ : nullptr, invocation.petsc_options, job_names()},
                            group_log);
  results.keep_for_checkpoints();
  const auto provenance = [&] {
    return collect_provenance({.arguments = invocation.arguments,
                               .deck_path = deck_.file(),
                               .deck_text = deck_.text(),
                               .resolved_deck = deck_.resolved(),
                               .ranks = communicator_.size(),
                               .hosts = hosts,
                               .mpi_library = MpiSession::library_version(),
                               .start_utc = start,
                               .overrides = request_.set,
                               .only = request_.only,
                               .fragments = fragments_text(deck_.fragments()),
                               .smoke = request_.smoke,
                               .task = request_.task,
                               .tasks = request_.tasks});
  };
  bool as_expected = true;
  std::string side_file;
  try {
    if (!run_jobs(invocation, results, checkpointer, log, group_log)) return ExitCode::requeue;
    log.text("\n" + metrics_table(measured()) + "\n");
    as_expected = check_expectations(results, log);
    results.provenance(provenance());
    communicator_.on_root([&] { results.finish(); });
  } catch (...) {
    log.clear_status();
    results = ResultsWriter();
    if (communicator_.is_root()) {
      rescue(checkpointer, provenance(), log);
    } else if (groups_.group().is_root()) {
      checkpointer.save_what_is_done({});
    }
    throw;
  }
  checkpointer.finish();
  if (const std::string costs = checkpointer.summary(); !costs.empty()) group_log.line(costs);
  communicator_.on_root([&] {
    try {
      side_file = write_xdmf(path);
    } catch (const std::exception& error) {
      throw IoError(
          fmt::format("{}; the results in {} are complete, and only this side file, which viewers "
                      "of fields read, is missing",
                      error.what(), path));
    }
  });
  log.line(fmt::format("wrote {}{} after {}", path, side_file.empty() ? "" : " and " + side_file,
                       duration_text(seconds_since(began))));
  return as_expected ? ExitCode::done : ExitCode::expectation_false;
}

void DeckRun::rescue(Checkpointer& checkpointer,
                     const std::vector<std::pair<std::string, std::string>>& provenance, Log& log) const {
  const auto done = checkpointer.save_what_is_done(job_names());
  if (done.empty()) return;
  std::vector<std::string> names, missing, unsaved;
  for (const auto& job : job_names()) {
    const auto found =
        std::find_if(done.begin(), done.end(), [&](const Checkpointer::Done& d) { return d.job == job; });
    const std::string name = fmt::format("{} seed {}", job.first, job.second);
    (found != done.end() ? names : missing).push_back(name);
    if (found != done.end() && !found->saved) unsaved.push_back(name);
  }
  std::string what = fmt::format("the run fails with {} of {} done ({}); ", names.size(),
                                 count_of(jobs_.size(), "run"), join(names));
  if (unsaved.size() < names.size()) {
    what += fmt::format("`rankine run --restart auto` takes {} from {}",
                        unsaved.empty() ? "them" : fmt::format("{} of them", names.size() - unsaved.size()),
                        checkpointer.folder());
  }
  if (!unsaved.empty()) {
    what += fmt::format("{}not saved for a restart: {} ({})", unsaved.size() < names.size() ? "; " : "",
                        join(unsaved), checkpointer.save_failure());
  }
  log.warning(what);
  if (missing.empty()) return;  // it was the results file that could not be written
  try {
    if (!ResultsWriter::may_be_incomplete(output_)) return;
    ResultsWriter partial(output_, deck_.about().title);
    partial.mark_incomplete(missing);
    for (const auto& [job, content, saved] : done) partial.run(job.first, job.second).load(content, false);
    partial.provenance(provenance);
    partial.finish();
    write_xdmf(output_);
    log.warning(fmt::format("{} holds their results, and is marked as incomplete", output_));
  } catch (const std::exception& error) {
    log.warning(std::string("their results are not written: ") + error.what());
  }
}

bool DeckRun::run_jobs(const Invocation& invocation, ResultsWriter& results, Checkpointer& checkpointer,
                       Log& log, Log& group_log) {
  const auto say_why = [&](const StopRequested& stop) {
    group_log.clear_status();
    if (const std::string costs = checkpointer.summary(); !costs.empty()) group_log.line(costs);
    group_log.line(std::string(stop.what()) + "; `rankine run --restart auto` goes on from there");
  };
  const auto was_done = [](const Job& job) {
    return fmt::format("{} seed {}: was done before", job.part->variant, job.seed);
  };
  take_snapshots(checkpointer);
  if (groups_.count() == 1) {
    try {
      for (const Job& job : jobs_) {
        if (take_finished(job, results, checkpointer)) {
          log.line(was_done(job));
        } else {
          run_one(job, invocation.profile, results, checkpointer, log);
        }
      }
      return true;
    } catch (const StopRequested& stop) {
      say_why(stop);
      return false;
    }
  }

  // Every group does its share, with the results in memory; then the world's root writes them in the deck's
  // order, as it does with those of earlier runs.
  std::vector<double> seconds = estimated_seconds();
  for (std::size_t i = 0; i < jobs_.size(); ++i) {
    if (!checkpointer.was_done({jobs_[i].part->variant, jobs_[i].seed})) continue;
    seconds[i] = -1;
    log.line(was_done(jobs_[i]));
  }
  communicator_.broadcast(std::span(seconds));
  const std::vector<int> owner = deal_jobs(seconds);
  for (std::size_t i = 0; i < jobs_.size(); ++i) {
    if (owner[i] >= 0) checkpointer.hand_over({jobs_[i].part->variant, jobs_[i].seed}, owner[i]);
  }
  log.line(
      fmt::format("{} in {} concurrent groups of ranks", count_of(jobs_.size(), "run"), groups_.count()));
  ResultsWriter own = ResultsWriter::in_memory(groups_.group().is_root());
  bool stopped = false;
  std::exception_ptr failure;
  try {
    const auto work = [&] {
      try {
        for (std::size_t i = 0; i < jobs_.size(); ++i) {
          if (owner[i] == groups_.index())
            run_one(jobs_[i], invocation.profile, own, checkpointer, group_log);
        }
      } catch (const StopRequested& stop) {
        say_why(stop);
        stopped = true;
      }
    };
    if (invocation.rendezvous != nullptr) {
      invocation.rendezvous->within(groups_.group()).guard(work);
    } else {
      work();
    }
  } catch (...) {
    group_log.clear_status();
    failure = std::current_exception();
    checkpointer.tell_failure();
  }
  const bool any_stopped = checkpointer.wait_for_others(stopped || failure != nullptr);
  communicator_.together([&] {
    if (failure) std::rethrow_exception(failure);
  });
  if (any_stopped) return false;
  for (Part& part : parts_) part.values.clear();
  for (const Job& job : jobs_) {
    const bool taken = take_finished(job, results, checkpointer);
    RANKINE_ASSERT(taken, "a run was done by no group");
  }
  return true;
}

/// If another group or an earlier run has done it: takes its results.
bool DeckRun::take_finished(const Job& job, ResultsWriter& results, Checkpointer& checkpointer) {
  Part& part = *job.part;
  RunWriter writer = results.run(part.variant, job.seed);
  const auto before = checkpointer.finished(part.variant, job.seed, writer);
  if (!before) return false;
  for (const MetricInfo& info : part.metrics) {
    const auto value = before->find(info.name);
    part.values[info.name].push_back(value == before->end() ? std::numeric_limits<double>::quiet_NaN()
                                                            : value->second);
  }
  results.forget(part.variant, job.seed);
  return true;
}

void DeckRun::run_one(const Job& job, bool profiled, ResultsWriter& results, Checkpointer& checkpointer,
                      Log& log) {
  const auto began = std::chrono::steady_clock::now();
  Part& part = *job.part;
  const std::int64_t seed = job.seed;
  RunWriter writer = results.run(part.variant, seed);
  JobCheckpoint checkpoint = checkpointer.begin(part.variant, seed, writer);
  const auto expectation_on = [&](const std::string& metric) {
    const auto runs = [&](const std::string& variant) {
      return std::any_of(parts_.begin(), parts_.end(), [&](const Part& p) { return p.variant == variant; });
    };
    for (const Expectation& e : expectations_) {
      if (request_.smoke || !e.reads(metric, part.variant)) continue;
      if (std::all_of(e.variants().begin(), e.variants().end(), runs)) return e.text();
    }
    return std::string();
  };
  RunContext context{groups_.group(),
                     part.variant,
                     seed,
                     writer,
                     log,
                     checkpoint,
                     deck_,
                     output_,
                     expectation_on,
                     needed(job) || !part.parents.empty() ? &snapshots_ : nullptr};
  std::optional<Profile> profile;
  MachineLimits limits;
  if (profiled) {
    limits = measured_limits();
    profile.emplace();
  }
  Metrics metrics = part.experiment->run(context);
  if (part.match) metrics.emplace_back("match_difference", part.match->difference);
  for (const TimeTo& time : part.times) {
    double value = time.of(writer.evaluations(time.metric));
    groups_.group().broadcast(value);
    metrics.emplace_back(time.name, value);
  }
  release_cached_memory();  // room for the results
  if (profile) {
    log.clear_status();
    log.text(profile->text(fmt::format("{}, seed {}", part.variant, seed), limits));
    profile.reset();
  }
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
  checkpointer.done(checkpoint, values, &job != &jobs_.back() || groups_.count() > 1);
  results.forget(part.variant, seed);
  forget_snapshots(job);
  log.line(fmt::format("{} seed {}: done in {}", part.variant, seed, duration_text(seconds)));
}

std::vector<const VariantMetrics*> DeckRun::measured() const {
  std::vector<const VariantMetrics*> variants;
  for (const Part& part : parts_) {
    if (!part.values.empty()) variants.push_back(&part);
  }
  return variants;
}

bool DeckRun::check_expectations(ResultsWriter& results, Log& log) const {
  if (request_.smoke) {
    if (!expectations_.empty()) log.line("expectations are not checked at smoke sizes");
    return true;
  }
  if (jobs_.size() < all_jobs()) {
    if (!expectations_.empty()) {
      log.line(fmt::format("expectations are not checked by task {} of {}; `rankine compare --merge` does",
                           request_.task, request_.tasks));
    }
    return true;
  }
  const Verdicts verdicts = judge(expectations_, measured());
  log.text(verdicts.text);
  results.expectations(verdicts.results);
  return verdicts.all_true;
}

}  // namespace rankine
