#include "src/run/checkpointing.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/io/files.hpp"
#include "src/io/provenance.hpp"
#include "src/tensor/fault_probe.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;

/// Settings that a restart may change, and when. All others are refused. Sections that are not part of a
/// variant's settings (about, checkpoint, expect, run but for the experiment) are harmless anyway.
struct Harmless {
  const char* key;
  enum class When {
    while_running,  ///< what it decides comes after the last step
    steps_ahead,    ///< not below what is done, and only where the schedule does not know the total
  } when;
};
constexpr std::array<Harmless, 6> harmless{{
    {"train.save_fields", Harmless::When::while_running},
    {"train.on_fault", Harmless::When::while_running},
    {"train.faults.skip_limit", Harmless::When::while_running},
    {"train.faults.rewind_limit", Harmless::When::while_running},
    {"train.faults.rewind_rate", Harmless::When::while_running},
    {"train.steps", Harmless::When::steps_ahead},
}};
/// Schedules whose factor depends on the step alone.
constexpr std::array<const char*, 2> schedules_without_total{"constant", "step"};

/// What a rank wants between two steps; the largest counts. A signal's number is added to the last.
enum Wish : std::int64_t { go_on, save, wall_time, another_failed, a_signal };

/// One line "key: value" a setting; line breaks inside values are written as \n.
std::string text_of(const std::map<std::string, std::string>& settings) {
  std::string text;
  for (const auto& [key, value] : settings) {
    text += key + ": ";
    for (const char c : value) text += c == '\n' ? std::string("\\n") : std::string(1, c);
    text += '\n';
  }
  return text;
}

std::map<std::string, std::string> settings_of(const std::string& text) {
  std::map<std::string, std::string> settings;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) settings[line.substr(0, colon)] = line.substr(colon + 2);
    begin = end + 1;
  }
  return settings;
}

std::string text_or(const CheckpointContent& content, const std::string& name) {
  const auto found = content.texts.find(name);
  return found == content.texts.end() ? "" : found->second;
}

bool finite_state(const CheckpointContent& content) {
  for (const auto& [name, value] : content.state) {
    constexpr std::string_view start = "state/";
    if (!name.starts_with(start) || !must_be_finite(name.substr(start.size()))) continue;
    if (not_finite(Tensor::from_bytes(value.bytes, Shape(value.shape), value.type)).count > 0) return false;
  }
  return true;
}

/// In the settings, "data.path (content of t.csv)" has the hash of a file that data.path names.
constexpr std::string_view content_mark = " (content of ";

/// The hashes of the contents by key, each with the name of its file.
std::map<std::string, std::map<std::string, std::string>> contents_of(
    const std::map<std::string, std::string>& settings) {
  std::map<std::string, std::map<std::string, std::string>> contents;
  for (const auto& [key, hash] : settings) {
    const std::size_t mark = key.find(content_mark);
    if (mark != std::string::npos)
      contents[key.substr(0, mark)][key.substr(mark + content_mark.size())] = hash;
  }
  return contents;
}

/// What a path leads to is compared, and not where it lies: both sides without the paths whose contents both
/// know, and without the name of a file that is the only one.
void leave_out_places(std::map<std::string, std::string>& then, std::map<std::string, std::string>& now) {
  const auto before = contents_of(then), after = contents_of(now);
  const auto erase_contents = [](std::map<std::string, std::string>& settings, const std::string& key) {
    std::erase_if(settings, [&](const auto& entry) {
      return entry.first.starts_with(key + std::string(content_mark));
    });
  };
  for (const auto& [key, files] : before) {
    const auto other = after.find(key);
    if (other == after.end()) continue;
    then.erase(key);
    now.erase(key);
    if (files.size() != 1 || other->second.size() != 1) continue;
    if (files.begin()->second != other->second.begin()->second) continue;
    erase_contents(then, key);
    erase_contents(now, key);
  }
  // Before, not all paths had the hashes of their contents.
  for (const auto& [key, files] : after)
    if (!before.contains(key)) erase_contents(now, key);
}

/// A checkpoint's content as bytes for another rank of this job.
class Packer {
 public:
  std::string bytes;
  void text(std::string_view value) {
    const auto size = static_cast<std::uint64_t>(value.size());
    bytes.append(reinterpret_cast<const char*>(&size), sizeof size).append(value);
  }
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : rest_(bytes) {}
  bool at_end() const { return rest_.empty(); }
  std::string_view text() {
    std::uint64_t size = 0;
    RANKINE_ASSERT(rest_.size() >= sizeof size, "packed results are cut off");
    std::memcpy(&size, rest_.data(), sizeof size);
    RANKINE_ASSERT(rest_.size() - sizeof size >= size, "packed results are cut off");
    const std::string_view value = rest_.substr(sizeof size, size);
    rest_.remove_prefix(sizeof size + value.size());
    return value;
  }

 private:
  std::string_view rest_;
};

std::string packed(const CheckpointContent& content) {
  Packer out;
  out.text(std::to_string(content.texts.size()));
  for (const auto& [name, text] : content.texts) {
    out.text(name);
    out.text(text);
  }
  for (const auto& [name, value] : content.state) {
    out.text(name);
    out.text({reinterpret_cast<const char*>(&value.type), sizeof value.type});
    out.text({reinterpret_cast<const char*>(value.shape.data()), value.shape.size() * sizeof(std::int64_t)});
    out.text({reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size()});
  }
  return out.bytes;
}

CheckpointContent unpacked(std::string_view bytes) {
  Unpacker in(bytes);
  CheckpointContent content;
  for (long left = std::atol(std::string(in.text()).c_str()); left > 0; --left) {
    const std::string name(in.text());
    content.texts.emplace(name, in.text());
  }
  while (!in.at_end()) {
    const std::string name(in.text());
    StateValue value;
    std::memcpy(&value.type, in.text().data(), sizeof value.type);
    const std::string_view shape = in.text(), data = in.text();
    value.shape.resize(shape.size() / sizeof(std::int64_t));
    if (!shape.empty()) std::memcpy(value.shape.data(), shape.data(), shape.size());
    value.bytes.resize(data.size());
    if (!data.empty()) std::memcpy(value.bytes.data(), data.data(), data.size());
    content.state.emplace(name, std::move(value));
  }
  return content;
}

/// Seconds since 1970, which is what Slurm gives.
double seconds_since_epoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::optional<double> earliest_end(const RunOptions& run) {
  std::optional<double> end;
  if (const std::optional<double> seconds = run.walltime_seconds()) end = seconds_since_epoch() + *seconds;
  if (const char* slurm = std::getenv("SLURM_JOB_END_TIME")) {
    const double at = std::strtod(slurm, nullptr);
    if (at > 0 && (!end || at < *end)) end = at;
  }
  return end;
}

/// What a checkpoint holds of a job's state.
StateSnapshot state_of(CheckpointContent content) {
  StateSnapshot snapshot;
  for (auto& [name, value] : content.state) {
    constexpr std::string_view start = "state/";
    if (name.starts_with(start)) snapshot.emplace(name.substr(start.size()), std::move(value));
  }
  return snapshot;
}

/// Gives all ranks the root's snapshot.
void broadcast(const Communicator& communicator, StateSnapshot& snapshot) {
  auto count = static_cast<std::int64_t>(snapshot.size());
  communicator.broadcast(count);
  auto next = snapshot.begin();
  for (std::int64_t i = 0; i < count; ++i) {
    std::string name;
    StateValue value;
    if (communicator.is_root()) {
      name = next->first;
      value.type = next->second.type;
      value.shape = next->second.shape;
    }
    communicator.broadcast(name);
    communicator.broadcast(value.type);
    communicator.broadcast(value.shape);
    if (communicator.is_root()) {
      communicator.broadcast((next++)->second.bytes);
    } else {
      communicator.broadcast(value.bytes);
      snapshot.emplace(std::move(name), std::move(value));
    }
  }
}

/// PETSc's options by name: "-ksp_rtol 1e-8" has the value "1e-8", a flag an empty one. Later ones win.
std::map<std::string, std::string> petsc_options_of(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> options;
  std::string last;
  for (const std::string& text : texts) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      const bool is_name = word.size() > 1 && word[0] == '-' &&
                           (std::isalpha(static_cast<unsigned char>(word[1])) || word[1] == '-');
      if (is_name)
        options[last = word] = "";
      else if (!last.empty())
        options[last] = word;
    }
  }
  return options;
}

/// Whether an option of PETSc makes it print, and no more.
bool only_prints(const std::string& option) {
  constexpr std::array<const char*, 4> starts{"-log_", "-info", "-options_", "-malloc"};
  constexpr std::array<const char*, 3> parts{"_monitor", "_view", "converged_reason"};
  return std::any_of(starts.begin(), starts.end(), [&](const char* s) { return option.starts_with(s); }) ||
         std::any_of(parts.begin(), parts.end(),
                     [&](const char* s) { return option.find(s) != std::string::npos; });
}

}  // namespace

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

bool must_be_finite(const std::string& state_name) {
  return state_name.starts_with("weights/") || state_name.find("optimizer/") != std::string::npos ||
         (state_name.starts_with("rule/") && state_name.ends_with("/auxiliary"));
}

std::map<std::string, std::string> run_settings(const Deck& deck, const std::string& variant,
                                                const std::vector<std::string>& petsc_options) {
  std::map<std::string, std::string> all = deck.settings(variant);
  for (const DeckFile& file : deck.files(variant)) {
    if (file.use != FileUse::input) continue;
    std::set<std::string> paths;  // {seed} may stand for several
    for (const int seed : deck.run().seeds) paths.insert(with_seed(file.path, seed));
    std::vector<fs::path> files;
    std::error_code error;
    for (const std::string& path : paths) {
      if (fs::is_regular_file(path, error)) files.emplace_back(path);
      for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
        if (it->is_regular_file(error) && !is_rankine_file(it->path().string())) files.push_back(it->path());
      }
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& each : files) {
      all.emplace(fmt::format("{}{}{})", file.key, content_mark, each.filename().string()),
                  xxh3_of_file(each.string()));
    }
  }
  all.erase("petsc_options");
  std::vector<std::string> texts = deck.petsc_options();
  if (const char* environment = std::getenv("PETSC_OPTIONS")) texts.emplace(texts.begin(), environment);
  texts.insert(texts.end(), petsc_options.begin(), petsc_options.end());
  for (const auto& [option, value] : petsc_options_of(texts))
    if (!only_prints(option)) all["PETSc option " + option] = value.empty() ? "(given)" : value;
  return all;
}

void WallLimit::passed(double now) {
  if (last_) longest_ = std::max(longest_, now - *last_);
  last_ = now;
}

SettingsChange compare_settings(std::map<std::string, std::string> then,
                                std::map<std::string, std::string> now, std::int64_t step) {
  leave_out_places(then, now);
  SettingsChange change;
  const auto value = [](const auto& settings, const std::string& key) {
    const auto found = settings.find(key);
    return found == settings.end() ? std::string("(not there)") : found->second;
  };
  std::map<std::string, std::string> keys = then;
  keys.insert(now.begin(), now.end());
  const std::string total = value(then, "train.steps");
  const bool was_running = step < std::atol(total.c_str());
  for (const auto& [key, ignored] : keys) {
    const std::string before = value(then, key), after = value(now, key);
    if (before == after) continue;
    const auto rule = std::find_if(harmless.begin(), harmless.end(),
                                   [&key = key](const Harmless& h) { return key == h.key; });
    std::string why;
    if (rule != harmless.end() && rule->when == Harmless::When::while_running) {
      if (was_running) continue;
      why = "; this variant is done";
    }
    if (rule != harmless.end() && rule->when == Harmless::When::steps_ahead) {
      const std::string schedule = value(now, "train.schedule.name");
      const bool free = std::find(schedules_without_total.begin(), schedules_without_total.end(), schedule) !=
                        schedules_without_total.end();
      if (free && std::atol(after.c_str()) >= step && (was_running || std::atol(after.c_str()) > step)) {
        change.more_steps = true;
        continue;
      }
      why = free ? fmt::format("; {} steps are done", step)
                 : fmt::format("; the schedule '{}' depends on it", schedule);
    }
    change.refused.push_back(fmt::format("{}: {} then, {} now{}", key, before, after, why));
  }
  return change;
}

// ----------------------------------------------------------------------------------------------------------
// Checkpointer

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

double Checkpointer::now() const { return seconds_since_epoch(); }

std::optional<Checkpointer::Found> Checkpointer::read_good(const std::string& path, bool may_be_damaged,
                                                           Log& log) {
  Found found{path, {}, 0, false};
  try {
    found.content = read_checkpoint(path);
    if (text_or(found.content, "variant").empty() || text_or(found.content, "settings").empty()) {
      throw DamagedFile(path + ": does not say what it is a checkpoint of");
    }
  } catch (const OtherFormat&) {
    throw;
  } catch (const DamagedFile& error) {
    if (!may_be_damaged) throw;
    log.warning(std::string("skipped the checkpoint ") + error.what());
    CheckpointFolder::set_aside(path);
    return std::nullopt;
  } catch (const std::exception& error) {
    if (!may_be_damaged) throw;
    log.warning(std::string("skipped the checkpoint ") + error.what());
    unreadable_ = error.what();
    return std::nullopt;
  }
  found.step = std::atol(text_or(found.content, "step").c_str());
  return found;
}

void Checkpointer::look(Log& log) {
  // A folder of its own, or one that the user names; in both, damaged ones are skipped.
  CheckpointFolder from = common_;
  std::string only;
  if (restart_ != "auto") {
    if (!fs::exists(restart_)) {
      throw InputError(
          "--restart " + printable(restart_, 400) +
          ": there is no such file or folder; `--restart auto` takes the newest good checkpoint");
    }
    if (fs::is_directory(restart_)) {
      from = CheckpointFolder(restart_);
    } else {
      only = restart_;
      from = CheckpointFolder::holding(restart_);
    }
  }
  std::error_code same_error;
  const bool own = fs::equivalent(from.path(), common_.path(), same_error);
  std::vector<CheckpointFolder> parts = from.groups();
  parts.insert(parts.begin(), from);
  if (own) from = common_;
  const bool others_too = !own || !common_.has_mine();
  if (own) {
    first_write_ = false;
  }

  const auto refuse_unreadable = [&] {
    if (unreadable_.empty()) return;
    throw IoError(
        unreadable_ +
        "; it is there and no other takes its place: try again when the file system works, or start "
        "afresh without --restart");
  };
  bool another_program = false;
  const auto check = [&](Found& found) {
    const SettingsChange change = compare_settings(settings_of(text_or(found.content, "settings")),
                                                   settings(text_or(found.content, "variant")), found.step);
    const bool smoke = text_or(found.content, "smoke") == "yes";
    if (!change.refused.empty() || smoke != smoke_) {
      std::string list = smoke == smoke_ ? "" : "\n  --smoke: one has it, the other not";
      for (const std::string& line : change.refused) list += "\n  " + line;
      throw InputError(found.path +
                       ": the deck has changed since this checkpoint was written, in ways that "
                       "matter:" +
                       list + "\nrestore these values, or start afresh without --restart");
    }
    found.more_steps = change.more_steps;
    another_program = another_program || text_or(found.content, "revision") != build_info().git_revision;
  };

  for (const Deck::Variant& variant : deck_.variants()) {
    for (const int seed : deck_.run().seeds) {
      const std::string path = from.finished_path(variant.name, seed);
      if (!fs::exists(path) || !(others_too || common_.is_mine(path))) continue;
      std::optional<Found> found = read_good(path, true, log);
      refuse_unreadable();  // it may hold hours of work
      if (!found) continue;
      check(*found);
      auto& where = found->more_steps ? running_ : finished_;
      if (!found->more_steps && !own)
        unsaved_.emplace_back(common_.finished_path(variant.name, seed), found->content);
      if (!found->more_steps) found->content = {};  // read again when it is its turn
      where.emplace(Job(variant.name, seed), std::move(*found));
      any_good_ = true;
    }
  }
  // The newest good one of each group. Returns whether this is one.
  const auto take = [&](const CheckpointFolder::Item& item) {
    std::optional<Found> found = read_good(item.path, only.empty(), log);
    if (!found) return false;
    const std::string variant = text_or(found->content, "variant");
    const std::int64_t seed = std::atol(text_or(found->content, "seed").c_str());
    const bool in_deck =
        std::any_of(deck_.variants().begin(), deck_.variants().end(),
                    [&](const Deck::Variant& v) { return v.name == variant; }) &&
        std::find(deck_.run().seeds.begin(), deck_.run().seeds.end(), seed) != deck_.run().seeds.end();
    if (!in_deck) {
      const std::string what = fmt::format(
          "{}: belongs to variant '{}', seed {}, which this run does not have", item.path, variant, seed);
      if (!only.empty()) throw InputError(what);
      log.warning("skipped the checkpoint " + what);
      return false;
    }
    any_good_ = true;
    const Job job(variant, seed);
    if (text_or(found->content, "finished") == "yes" || finished_.contains(job)) return true;
    check(*found);
    const auto better = running_.find(job);
    if (better == running_.end() || better->second.step < found->step) running_[job] = std::move(*found);
    return true;
  };
  if (!only.empty()) {
    take({0, only});
  } else {
    for (const CheckpointFolder& part : parts) {
      for (const CheckpointFolder::Item& item : part.list()) {
        if (!others_too && is_own_checkpoint(item.path) && !common_.is_mine(item.path)) continue;
        if (take(item)) break;
      }
    }
  }
  if (finished_.empty() && running_.empty()) refuse_unreadable();
  regular_ = own && any_good_;
  if (another_program) {
    log.warning(
        "the checkpoints were written by another build of the program; the results may differ in the last "
        "digits from those of one build alone");
  }
  if (finished_.empty() && running_.empty()) {
    log.line("no checkpoint to go on from in " + from.path() + ": starting afresh");
  } else if (running_.empty()) {
    log.line(fmt::format("going on from {}: {} done", from.path(), finished_.size()));
  } else {
    for (const auto& [job, found] : running_) {
      log.line(fmt::format("going on from {}: {} seed {} after {} steps, {} done before", found.path,
                           job.first, job.second, found.step, finished_.size()));
    }
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
    found.step = std::atol(text_or(found.content, "step").c_str());
    running_[job] = std::move(found);
  });
}

void Checkpointer::tell_failure() { groups_->tell(another_failed); }

bool Checkpointer::wait_for_others(bool stopped) {
  groups_->meet([&] {
    if (const int signal = StopSignals::received(); signal != 0) groups_->tell(a_signal + signal);
  });
  stopped = world_.any(stopped);
  if (stopped && communicator_.is_root()) flush_finished();
  return stopped;
}

std::optional<std::map<std::string, double>> Checkpointer::finished(const std::string& variant,
                                                                    std::int64_t seed, RunWriter& results) {
  const Job job(variant, seed);
  const bool in_file = was_done(job);
  std::vector<char> received;
  if (!in_file && groups_ != nullptr) {
    const auto done = completed_.extract(job);
    const std::string bytes = done.empty() ? "" : packed(done.mapped());
    received = world_.gather_varying(std::span<const char>(bytes));
  }
  bool known = in_file || !received.empty();
  world_.broadcast(known);
  if (!known) return std::nullopt;
  std::string names;
  std::vector<double> values;
  world_.on_root([&] {
    const CheckpointContent content =
        in_file ? read_checkpoint(finished_.at(job).path) : unpacked({received.data(), received.size()});
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

/// On the root, as a copy.
CheckpointContent Checkpointer::collect(const StateRegistry& state) const {
  CheckpointContent content;
  for (const CheckpointPart& part : parts_of(state)) {
    StateValue value{part.view.type, part.view.shape, {}};
    if (part.kind == StateKind::replicated) {
      if (!communicator_.is_root()) continue;
      value.bytes.assign(part.view.bytes.begin(), part.view.bytes.end());
    } else {
      RANKINE_ASSERT(!value.shape.empty(), part.name + " is spread over ranks and has no dimension");
      value.shape[0] = communicator_.sum(value.shape[0]);
      value.bytes = communicator_.gather_varying(part.view.bytes);
    }
    if (communicator_.is_root()) content.state.emplace(part.name, std::move(value));
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
  content.texts["settings"] = text_of(settings(variant));
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
    CheckpointContent content = std::exchange(job.last_state_, std::nullopt).value_or(CheckpointContent{});
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

// ----------------------------------------------------------------------------------------------------------
// JobCheckpoint

std::int64_t JobCheckpoint::resume() {
  const Communicator& communicator = owner_.communicator_;
  const auto job = std::pair(variant_, seed_);
  std::int64_t step = -1;
  StateSnapshot snapshot;
  communicator.on_root([&] {
    const auto found = owner_.running_.find(job);
    if (found == owner_.running_.end()) return;
    parent_ = fmt::format("{} (step {})", found->second.path, found->second.step);
    if (!owner_.first_write_) {  // where rewind() looks for it
      try {
        owner_.folder_.adopt(found->second.path);
      } catch (const IoError& error) {
        owner_.log_.warning(error.what());
      }
    }
    // What an experiment gives before and after its steps it will give again.
    results_.load(found->second.content, true);
    step = found->second.step;
    snapshot = state_of(std::move(found->second.content));
    owner_.running_.erase(found);
  });
  communicator.broadcast(step);
  if (step < 0) return 0;
  restore(std::move(snapshot), step);
  return saved_step_;
}

/// Takes up the root's snapshot after `step` steps. Collective.
void JobCheckpoint::restore(StateSnapshot snapshot, std::int64_t step) {
  const Communicator& communicator = owner_.communicator_;
  broadcast(communicator, snapshot);
  communicator.together([&] {
    for (auto& [name, value] : snapshot) {
      const auto entry = state_.entries().find(name);
      if (entry == state_.entries().end() || entry->second.kind == StateKind::replicated) continue;
      if (value.shape.empty()) throw InputError("saved state '" + name + "' cannot be spread over ranks");
    }
  });
  // This rank's part of what is spread: as many as it has now, after those of the ranks before it.
  for (const auto& [name, entry] : state_.entries()) {
    const auto saved = snapshot.find(name);
    if (entry.kind == StateKind::replicated || saved == snapshot.end()) continue;
    const std::int64_t own = entry.get().shape.at(0);
    const std::vector<std::int64_t> all = communicator.all_gather(own);
    std::int64_t begin = 0, total = 0;
    for (int r = 0; r < communicator.size(); ++r) {
      if (r < communicator.rank()) begin += all[static_cast<std::size_t>(r)];
      total += all[static_cast<std::size_t>(r)];
    }
    StateValue& value = saved->second;
    if (value.shape[0] != total) {
      throw InputError(
          fmt::format("saved state '{}' has {} parts, this run {}; use the deck that the state was "
                      "saved with",
                      name, value.shape[0], total));
    }
    const std::size_t each = total == 0 ? 0 : value.bytes.size() / static_cast<std::size_t>(total);
    const auto from = value.bytes.begin() + static_cast<std::ptrdiff_t>(each) * begin;
    value.bytes = {from, from + static_cast<std::ptrdiff_t>(each) * own};
    value.shape[0] = own;
  }
  communicator.together([&] { state_.restore(snapshot); });
  saved_step_ = step;
}

std::optional<std::int64_t> JobCheckpoint::rewind() {
  const Communicator& communicator = owner_.communicator_;
  std::int64_t step = -1;
  StateSnapshot snapshot;
  communicator.on_root([&] {
    if (owner_.first_write_) return;  // what is in the folder belongs to an earlier run
    const int every = owner_.options_.every_steps;
    std::optional<Checkpointer::Found> best;
    for (const CheckpointFolder::Item& item : owner_.folder_.list()) {
      std::optional<Checkpointer::Found> found = owner_.read_good(item.path, true, owner_.log_);
      if (!found || text_or(found->content, "variant") != variant_ ||
          text_or(found->content, "seed") != std::to_string(seed_) || !finite_state(found->content))
        continue;
      const bool regular = every > 0 && found->step % every == 0;
      if (regular || !best) best = std::move(found);
      if (regular || every == 0) break;
    }
    if (!best) return;
    results_.clear_tables();
    results_.load(best->content, true);
    step = best->step;
    snapshot = state_of(std::move(best->content));
  });
  communicator.broadcast(step);
  if (step < 0) return std::nullopt;
  restore(std::move(snapshot), step);
  return saved_step_;
}

void JobCheckpoint::save(std::int64_t step) { owner_.save(*this, step); }

bool JobCheckpoint::wanted() const {
  return owner_.options_.every_steps > 0 || owner_.options_.every_minutes > 0;
}

bool JobCheckpoint::due_after(std::int64_t step) const {
  return owner_.options_.every_steps > 0 && step % owner_.options_.every_steps == 0;
}

/// The largest of what the ranks wish counts. Collective.
std::int64_t JobCheckpoint::agree(std::int64_t wish) {
  const Communicator& communicator = owner_.communicator_;
  if (communicator.is_root()) {  // which watches the clocks and the other groups
    if (owner_.worth_saving()) owner_.flush_finished(true);
    if (owner_.limit_.must_stop(owner_.now())) wish = wall_time;
    if (owner_.groups_ != nullptr) wish = std::max(wish, owner_.groups_->told());
  }
  if (const int signal = StopSignals::received(); signal != 0) wish = a_signal + signal;
  if (communicator.size() > 1) {
    const Stopwatch watch;
    wish = communicator.max(wish);
    owner_.job_.agree_seconds += watch.seconds();
  }
  if (wish >= wall_time && owner_.groups_ != nullptr && communicator.is_root()) owner_.groups_->tell(wish);
  return wish;
}

void JobCheckpoint::between_steps(std::int64_t step, std::int64_t steps) {
  const Communicator& communicator = owner_.communicator_;
  std::int64_t wish = go_on;
  if (communicator.is_root()) {
    const CheckpointOptions& options = owner_.options_;
    owner_.limit_.passed(owner_.now());
    const bool due = due_after(step) || (options.every_minutes > 0 &&
                                         owner_.since_saved_.seconds() >= 60 * options.every_minutes);
    if (due && step > saved_step_) wish = Wish::save;
  }
  wish = agree(wish);
  const bool stops = wish >= wall_time;
  if (step == steps && !stops) {
    if (gather_) gather_();
    CheckpointContent content = owner_.collect(state_);
    content.texts["step"] = std::to_string(step);
    if (communicator.is_root()) last_state_ = std::move(content);
  }
  if (stops) stop(wish, step, steps, true);
  if (wish == go_on) return;
  if (step > saved_step_) {
    owner_.save(*this, step);
  } else if (communicator.is_root()) {
    owner_.flush_finished();
  }
}

void JobCheckpoint::stop_inside(std::int64_t step, std::int64_t steps, bool may_save) {
  if (const std::int64_t wish = agree(go_on); wish >= wall_time) stop(wish, step, steps, may_save);
}

/// Collective.
void JobCheckpoint::stop(std::int64_t wish, std::int64_t step, std::int64_t steps, bool may_save) {
  const Communicator& communicator = owner_.communicator_;
  bool good = true;
  if (may_save && step > saved_step_) {
    good = owner_.save(*this, step);
  } else if (communicator.is_root()) {
    good = owner_.flush_finished();
  }
  // Without any checkpoint there is nothing to go on from.
  std::int64_t usable = communicator.is_root() && (good || owner_.any_good_) ? 1 : 0;
  communicator.broadcast(usable);
  const std::string why = wish == wall_time ? "the wall time is nearly over"
                          : wish == another_failed
                              ? "another run failed"
                              : std::string("got ") + StopSignals::name(static_cast<int>(wish - a_signal));
  if (usable == 0) {
    throw IoError(why + ", but no checkpoint could be written; see the warning above");
  }
  const std::string lost = may_save || step == saved_step_
                               ? ""
                               : fmt::format(", of which a restart repeats {}", step - saved_step_);
  throw StopRequested(
      fmt::format("{}: stopped {} seed {} after {} of {} steps{}", why, variant_, seed_, step, steps, lost));
}

}  // namespace rankine
