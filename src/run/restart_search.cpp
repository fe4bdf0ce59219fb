// What a restart finds: Checkpointer::look().
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/io/files.hpp"
#include "src/io/provenance.hpp"
#include "src/run/checkpointing.hpp"
#include "src/run/settings.hpp"

namespace rankine {

namespace fs = std::filesystem;

std::optional<Checkpointer::Found> Checkpointer::read_good(const std::string& path, bool may_be_damaged,
                                                           Log& log) {
  Found found{path, {}, 0, false};
  try {
    found.content = read_checkpoint(path);
    if (found.content.text("variant").empty() || found.content.text("settings").empty()) {
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
  found.step = std::atol(found.content.text("step").c_str());
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
    const SettingsChange change = compare_settings(settings_from(found.content.text("settings")),
                                                   settings(found.content.text("variant")), found.step);
    const bool smoke = found.content.text("smoke") == "yes";
    if (!change.refused.empty() || smoke != smoke_) {
      std::string list = smoke == smoke_ ? "" : "\n  --smoke: one has it, the other not";
      for (const std::string& line : change.refused) list += "\n  " + line;
      throw InputError(found.path +
                       ": the deck has changed since this checkpoint was written, in ways that "
                       "matter:" +
                       list + "\nrestore these values, or start afresh without --restart");
    }
    found.more_steps = change.more_steps;
    another_program = another_program || found.content.text("revision") != build_info().git_revision;
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
    const std::string variant = found->content.text("variant");
    const std::int64_t seed = std::atol(found->content.text("seed").c_str());
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
    if (found->content.text("finished") == "yes" || finished_.contains(job)) return true;
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

}  // namespace rankine
