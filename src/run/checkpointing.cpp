#include "src/run/checkpointing.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/io/files.hpp"
#include "src/io/provenance.hpp"
#include "src/run/checkpoint_state.hpp"
#include "src/run/packing.hpp"

namespace rankine {

namespace fs = std::filesystem;

CheckpointFolder checkpoint_folder(const CheckpointOptions& options, const std::string& output) {
  if (options.directory.empty()) return CheckpointFolder(output + ".checkpoints");
  // Several runs may share a folder that the user names. They move as one when their common folder does.
  const auto canonical = [](const fs::path& path) {
    std::error_code error;
    const fs::path found = fs::weakly_canonical(fs::absolute(path), error);
    return error ? fs::absolute(path).lexically_normal() : found;
  };
  const fs::path target(output_target(output));
  const fs::path results =
      canonical(target.has_parent_path() ? target.parent_path() : ".") / target.filename();
  return CheckpointFolder(options.directory,
                          results.lexically_relative(canonical(options.directory)).string());
}

std::vector<std::string> check_checkpoint_folder(
    const CheckpointFolder& folder, bool archives,
    const std::vector<std::pair<std::string, std::int64_t>>& jobs) {
  std::vector<std::string> finished;
  for (const auto& [variant, seed] : jobs) finished.push_back(folder.finished_path(variant, seed));
  // A restart that finds nothing of its own goes on from what another run left.
  if (archives || folder.has_mine()) folder.check(finished, archives);
  const std::vector<std::string> others = folder.others();
  if (others.empty()) return {};
  constexpr std::size_t most = 3;
  const std::vector<std::string> shown(others.begin(), others.begin() + std::min(most, others.size()));
  return {fmt::format(
      "checkpoint.directory: {} holds other things than checkpoints of this run: {}{}; they are left "
      "alone",
      folder.path(), join(shown),
      others.size() > most ? fmt::format(" and {} more", others.size() - most) : "")};
}

Checkpointer::Checkpointer(const Setup& setup, Log& log)
    : world_(setup.communicator),
      groups_(setup.groups),
      communicator_(groups_ != nullptr ? groups_->group() : world_),
      deck_(setup.deck),
      options_(setup.deck.checkpoint()),
      restart_(setup.restart),
      smoke_(setup.smoke),
      petsc_options_(setup.petsc_options),
      common_(checkpoint_folder(options_, setup.output)),
      folder_(common_.of_group(groups_ != nullptr ? groups_->index() : 0)),
      log_(log),
      limit_(earliest_end(setup.deck.run())) {
  std::error_code ignored;
  found_folder_ = fs::exists(folder_.path(), ignored);
  // The root is in the first group, whose folder is that of all.
  world_.on_root([&] {
    found_earlier_ = common_.has_mine();
    for (const std::string& warning : check_checkpoint_folder(common_, restart_ == "never", setup.jobs))
      log_.warning(warning);
    try {
      if (fs::exists(common_.path())) take_folder();
    } catch (const IoError& error) {
      // A folder that cannot be written to keeps no run from running; saving will ask for it again.
      log_.warning(std::string("the folder of checkpoints is not locked: ") + error.what());
    }
    if (restart_ != "never") look(log);
  });
  if (groups_ != nullptr) {
    // Now, because what groups save later must not be taken for what an earlier run left.
    if (world_.is_root()) {
      try {
        archive();
      } catch (const std::exception& error) {
        log_.warning(std::string("what an earlier run left stays where it is: ") + error.what());
      }
    }
    world_.barrier();
    first_write_ = false;
  }
}

bool Checkpointer::was_done(const Job& job) const {
  bool known = world_.is_root() && finished_.contains(job);
  world_.broadcast(known);
  return known;
}

StateSnapshot Checkpointer::final_state(const Job& job) {
  StateSnapshot state;
  world_.on_root([&] { state = state_of(read_checkpoint(finished_.at(job).path)); });
  broadcast(world_, state);
  return state;
}

void Checkpointer::hand_over(const Job& job, int group) {
  world_.broadcast(any_good_);
  std::string path;
  if (world_.is_root() && running_.contains(job)) path = running_.at(job).path;
  world_.broadcast(path);
  const int root = groups_->root_of(group);
  if (path.empty() || root == 0) return;
  if (world_.is_root()) running_.erase(job);
  world_.together([&] {
    if (world_.rank() != root) return;
    Found found{path, read_checkpoint(path), 0, false};
    found.step = std::atol(found.content.text("step").c_str());
    running_[job] = std::move(found);
  });
}

void Checkpointer::tell_failure() { groups_->tell(Wish::another_failed); }

bool Checkpointer::wait_for_others(bool stopped) {
  groups_->meet([&] {
    if (const int signal = StopSignals::received(); signal != 0) groups_->tell(Wish::a_signal + signal);
  });
  stopped = world_.any(stopped);
  if (stopped && communicator_.is_root()) flush_finished();
  return stopped;
}

std::optional<std::map<std::string, double>> Checkpointer::finished(const std::string& variant,
                                                                    std::int64_t seed, RunWriter& results) {
  const Job job(variant, seed);
  const bool in_file = was_done(job);
  std::vector<std::uint8_t> received;
  if (!in_file && groups_ != nullptr) {
    const auto done = completed_.extract(job);
    const std::vector<std::uint8_t> bytes =
        done.empty() ? std::vector<std::uint8_t>() : packed(done.mapped());
    received = world_.gather_varying(std::span<const std::uint8_t>(bytes));
  }
  bool known = in_file || !received.empty();
  world_.broadcast(known);
  if (!known) return std::nullopt;
  std::string names;
  std::vector<double> values;
  world_.on_root([&] {
    const CheckpointContent content = in_file ? read_checkpoint(finished_.at(job).path) : unpacked(received);
    results.load(content, false);
    for (const auto& [name, value] : content.state) {
      constexpr std::string_view start = "metrics/";
      if (!name.starts_with(start) || value.bytes.size() != sizeof(double)) continue;
      names += name.substr(start.size()) + "\n";
      values.emplace_back();
      std::memcpy(&values.back(), value.bytes.data(), sizeof(double));
    }
  });
  world_.broadcast(names);
  world_.broadcast(values);
  std::map<std::string, double> metrics;
  std::size_t begin = 0;
  for (const double value : values) {
    const std::size_t end = names.find('\n', begin);
    metrics[names.substr(begin, end - begin)] = value;
    begin = end + 1;
  }
  return metrics;
}

std::vector<CheckpointPart> Checkpointer::parts_of(const StateRegistry& state) {
  std::vector<CheckpointPart> parts;
  for (const auto& [name, entry] : state.entries())
    parts.push_back({"state/" + name, entry.kind, entry.view()});
  return parts;
}

/// On the root, as a copy: of what the root has and will have at the job's end too, which it may do alone, or of all
/// the rest.
CheckpointContent Checkpointer::collect(const StateRegistry& state, bool lasting) const {
  CheckpointContent content;
  for (const auto& [name, entry] : state.entries()) {
    const bool replicated = entry.kind == StateKind::replicated;
    if ((replicated && entry.lasts) != lasting || (replicated && !communicator_.is_root())) continue;
    const StateView view = entry.view();
    StateValue value{view.type, view.shape, {}};
    if (replicated) {
      value.bytes.assign(view.bytes.begin(), view.bytes.end());
    } else {
      RANKINE_ASSERT(!value.shape.empty(), name + " is spread over ranks and has no dimension");
      value.shape[0] = communicator_.sum(value.shape[0]);
      value.bytes = communicator_.gather_varying(view.bytes);
    }
    if (communicator_.is_root()) content.state.emplace("state/" + name, std::move(value));
  }
  return content;
}

void Checkpointer::describe(CheckpointContent& content, const std::string& variant, std::int64_t seed,
                            std::int64_t step) const {
  const BuildInfo build = build_info();
  content.texts["variant"] = variant;
  content.texts["seed"] = std::to_string(seed);
  content.texts["step"] = std::to_string(step);
  if (!common_.run().empty()) content.texts["results"] = common_.run();
  content.texts["settings"] = settings_text(settings(variant));
  content.texts["resolved_deck"] = deck_.resolved();
  content.texts["smoke"] = smoke_ ? "yes" : "no";
  content.texts["version"] = build.version;
  content.texts["revision"] = build.git_revision;
  content.texts["ranks"] = std::to_string(communicator_.size());
}

/// Root only.
const std::map<std::string, std::string>& Checkpointer::settings(const std::string& variant) const {
  const auto known = settings_.find(variant);
  if (known != settings_.end()) return known->second;
  return settings_.emplace(variant, run_settings(deck_, variant, petsc_options_)).first->second;
}

/// Root only. InputError where another job has the folder.
void Checkpointer::take_folder() {
  if (lock_) return;
  lock_.emplace(folder_.path(), [&](const std::string& text) { log_.line(text); });
  std::vector<CheckpointFolder> parts = common_.groups();
  parts.push_back(common_);
  for (const CheckpointFolder& part : parts) part.remove_temporaries();
}

/// Root only. IoError where it cannot be made ready.
void Checkpointer::prepare_folder() {
  folder_.create();
  take_folder();
  archive();
}

/// Root only: what an earlier run left makes room. IoError.
void Checkpointer::archive() {
  if (std::exchange(first_write_, false) && common_.archive()) {
    log_.line("moved the checkpoints of an earlier run to " + common_.path() + "/previous");
  }
}

void Checkpointer::count(const CheckpointCost& cost) {
  for (Totals* totals : {&totals_, &job_}) {
    totals->count += 1;
    totals->bytes = static_cast<double>(cost.bytes);
    totals->write_seconds += cost.write_seconds;
    totals->verify_seconds += cost.verify_seconds;
  }
  any_good_ = true;
}

/// Root only. Whether to write down what is done before a checkpoint is due. It always is after a minute of
/// work; less must not cost more than a hundredth of the time, and half a second is given away. Short work
/// does not move an earlier run's checkpoints away, and a disk that failed is tried again after a while.
bool Checkpointer::worth_saving() const {
  if (unsaved_.empty() || (early_failed_ && since_failed_.seconds() < 60)) return false;
  if (since_unsaved_.seconds() >= 60) return true;
  const double each = early_.empty() ? 0.01 : early_seconds_ / static_cast<double>(early_.size());
  const double cost = early_seconds_ + each * static_cast<double>(unsaved_.size());
  return cost <= std::max(0.5, 0.01 * since_start_.seconds()) && !(first_write_ && found_earlier_);
}

/// Root only. False, with a warning, where one could not be written: a run goes on without. `early`: before a
/// checkpoint is due.
bool Checkpointer::flush_finished(bool early) {
  bool good = true;
  auto unsaved = std::exchange(unsaved_, {});
  for (auto& [path, content] : unsaved) {
    try {
      const Stopwatch watch;
      prepare_folder();
      const CheckpointCost cost = write_checkpoint(path, content);
      if (early) {
        early_.push_back(path);
        early_seconds_ += watch.seconds();
        any_good_ = true;
      } else {
        count(cost);
      }
    } catch (const std::exception& error) {
      save_failure_ = error.what();
      log_.warning("no checkpoint was written: " + save_failure_);
      unsaved_.emplace_back(path, std::move(content));  // later again
      good = false;
      since_failed_ = Stopwatch();
    }
  }
  early_failed_ = !good;
  regular_ = regular_ || (!early && good && !unsaved.empty());
  return good;
}

std::vector<Checkpointer::Done> Checkpointer::save_what_is_done(std::span<const Job> jobs) {
  std::map<std::string, CheckpointContent> in_memory;
  for (const auto& [path, content] : unsaved_) in_memory.emplace(path, content);
  flush_finished();
  std::vector<Done> done;
  for (const Job& job : jobs) {
    const std::string path = common_.finished_path(job.first, job.second);
    const auto before = finished_.find(job);
    const bool failed =
        std::any_of(unsaved_.begin(), unsaved_.end(), [&](const auto& each) { return each.first == path; });
    try {
      if (const auto kept = in_memory.find(path); kept != in_memory.end()) {
        done.push_back({job, std::move(kept->second), !failed});
      } else if (before != finished_.end()) {
        done.push_back({job, read_checkpoint(before->second.path), true});
      } else if (!first_write_ && common_.is_mine(path)) {
        done.push_back({job, read_checkpoint(path), true});
      }
    } catch (const std::exception& error) {
      log_.warning(std::string("results that were saved cannot be read: ") + error.what());
    }
  }
  return done;
}

void Checkpointer::finish() {
  const bool keeps = world_.any(communicator_.is_root() && regular_);
  if (keeps) return;
  const auto remove = [&](bool first) {
    if (!communicator_.is_root() || world_.is_root() != first) return;
    for (const std::string& path : early_) remove_checkpoint(path);
    lock_.reset();
    if (!found_folder_) remove_empty_folder(folder_.path());
  };
  remove(false);  // those of groups are below that of all
  world_.barrier();
  remove(true);
}

/// Collective. Returns whether it worked; where it did not, the root says so and the run goes on without.
bool Checkpointer::save(JobCheckpoint& job, std::int64_t step) {
  if (job.gather_) job.gather_();
  since_saved_ = Stopwatch();
  const std::int64_t before = std::exchange(job.saved_step_, step);
  bool good = !communicator_.is_root() || flush_finished();
  communicator_.broadcast(good);
  try {
    CheckpointContent content;
    std::string path;
    communicator_.on_root([&] {
      prepare_folder();
      job.results_.save(content);
      describe(content, job.variant_, job.seed_, step);
      if (!job.parent_.empty()) content.texts["parent"] = job.parent_;
      path = folder_.path_of(folder_.next_number());
    });
    const CheckpointCost cost = write_checkpoint(communicator_, path, content, parts_of(job.state_));
    if (communicator_.is_root()) {
      count(cost);
      regular_ = true;
      folder_.prune(options_.keep_last, options_.keep_every);
    }
  } catch (const InputError&) {
    throw;  // another job has the folder
  } catch (const std::exception& error) {
    if (communicator_.is_root()) log_.warning(std::string("no checkpoint was written: ") + error.what());
    job.saved_step_ = before;
    good = false;
  }
  return good;
}

void Checkpointer::done(JobCheckpoint& job, const std::map<std::string, double>& metrics,
                        bool others_follow) {
  communicator_.on_root([&] {
    CheckpointContent content;
    if (job.last_state_) {
      content = *std::exchange(job.last_state_, std::nullopt);
      // Of these there was no copy while the network was tested, which is when memory is short.
      content.state.merge(collect(job.state_, true).state);
    }
    const std::int64_t step = content.texts.contains("step") ? std::atol(content.texts["step"].c_str()) : 0;
    job.results_.save(content);
    for (const auto& [name, value] : metrics) {
      StateValue stored{DType::f64, {}, std::vector<std::byte>(sizeof value)};
      std::memcpy(stored.bytes.data(), &value, sizeof value);
      content.state.emplace("metrics/" + name, std::move(stored));
    }
    content.texts["finished"] = "yes";
    if (groups_ != nullptr) {
      CheckpointContent kept{content.texts, {}};
      for (const auto& [name, value] : content.state)
        if (!name.starts_with("state/")) kept.state.emplace(name, value);
      completed_.insert_or_assign({job.variant_, job.seed_}, std::move(kept));
    }
    try {
      describe(content, job.variant_, job.seed_, step);
    } catch (const InputError& error) {  // the data file is gone
      log_.warning(std::string("what is done cannot be saved: ") + error.what());
      return;
    }
    if (unsaved_.empty()) since_unsaved_ = job.since_begin_;
    unsaved_.emplace_back(common_.finished_path(job.variant_, job.seed_), std::move(content));
    early_failed_ = false;  // the next chance
    const bool due = options_.every_steps > 0 ||
                     (options_.every_minutes > 0 && since_saved_.seconds() >= 60 * options_.every_minutes);
    if (due) {
      flush_finished();
      since_saved_ = Stopwatch();
    } else if (others_follow && worth_saving()) {
      flush_finished(true);
    }
  });
}

void Checkpointer::report(RunWriter& results) const {
  if (job_.count > 0) {
    results.timing("checkpoints", job_.count, {.unit = "1", .long_name = "checkpoints written"});
    results.timing("checkpoint_bytes", job_.bytes, {.unit = "B", .long_name = "size of the last checkpoint"});
    results.timing("checkpoint_write_seconds", job_.write_seconds,
                   {.unit = "s", .long_name = "encoding, hashing, writing and syncing checkpoints"});
    results.timing("checkpoint_verify_seconds", job_.verify_seconds,
                   {.unit = "s", .long_name = "reading checkpoints again to check them"});
  }
  results.timing("agreement_seconds", job_.agree_seconds,
                 {.unit = "s", .long_name = "agreeing, between steps, on whether to save or stop"});
}

std::string Checkpointer::summary() const {
  if (totals_.count == 0) return "";
  const double seconds = totals_.write_seconds + totals_.verify_seconds;
  return fmt::format("{:.0f} checkpoints in {}, the last of {}: {} ({:.2g} % of the time)", totals_.count,
                     folder_.path(), bytes_text(totals_.bytes), duration_text(seconds),
                     100 * seconds / std::max(since_start_.seconds(), 1e-9));
}

}  // namespace rankine
