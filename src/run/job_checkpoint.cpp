// The checkpoints of one variant and seed.
#include <algorithm>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/run/checkpoint_state.hpp"
#include "src/run/checkpointing.hpp"

namespace rankine {
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
    // Only tables are loaded: the experiment writes again what it gives before and after its steps.
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
      if (!found || found->content.text("variant") != variant_ ||
          found->content.text("seed") != std::to_string(seed_) || !finite_state(found->content))
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
    if (owner_.limit_.must_stop(seconds_since_epoch())) wish = Wish::wall_time;
    if (owner_.groups_ != nullptr) wish = std::max(wish, owner_.groups_->told());
  }
  if (const int signal = StopSignals::received(); signal != 0) wish = Wish::a_signal + signal;
  if (communicator.size() > 1) {
    const Stopwatch watch;
    wish = communicator.max(wish);
    owner_.job_.agree_seconds += watch.seconds();
  }
  if (wish >= Wish::wall_time && owner_.groups_ != nullptr && communicator.is_root())
    owner_.groups_->tell(wish);
  return wish;
}

void JobCheckpoint::between_steps(std::int64_t step, std::int64_t steps) {
  const Communicator& communicator = owner_.communicator_;
  std::int64_t wish = Wish::go_on;
  if (communicator.is_root()) {
    const CheckpointOptions& options = owner_.options_;
    owner_.limit_.passed(seconds_since_epoch());
    const bool due = due_after(step) || (options.every_minutes > 0 &&
                                         owner_.since_saved_.seconds() >= 60 * options.every_minutes);
    if (due && step > saved_step_) wish = Wish::save;
  }
  wish = agree(wish);
  const bool stops = wish >= Wish::wall_time;
  if (step == steps && !stops) {
    if (gather_) gather_();
    CheckpointContent content = owner_.collect(state_, false);
    content.texts["step"] = std::to_string(step);
    if (communicator.is_root()) last_state_ = std::move(content);
  }
  if (stops) stop(wish, step, steps, true);
  if (wish == Wish::go_on) return;
  if (step > saved_step_) {
    owner_.save(*this, step);
  } else if (communicator.is_root()) {
    owner_.flush_finished();
  }
}

void JobCheckpoint::stop_inside(std::int64_t step, std::int64_t steps, bool may_save) {
  if (const std::int64_t wish = agree(Wish::go_on); wish >= Wish::wall_time)
    stop(wish, step, steps, may_save);
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
  const std::string why =
      wish == Wish::wall_time ? "the wall time is nearly over"
      : wish == Wish::another_failed
          ? "another run failed"
          : std::string("got ") + StopSignals::name(static_cast<int>(wish - Wish::a_signal));
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
