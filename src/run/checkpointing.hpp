// Checkpoints of a run: when they are written, when a run stops in good order, and what a restart takes up.
// All ranks take every decision together. Each rank writes a share of large state: an equal part of what is
// replicated, its own part of what is dealt to ranks, in the order of tiles or samples. Rank 0 writes the
// rest, reads the files and sends their content to all. Any number of ranks reads what any number wrote.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/comm/rank_groups.hpp"
#include "src/core/clock.hpp"
#include "src/core/log.hpp"
#include "src/core/stop_signals.hpp"
#include "src/deck/deck.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/folder_lock.hpp"
#include "src/io/results.hpp"
#include "src/run/settings.hpp"
#include "src/run/wall_limit.hpp"
#include "src/tensor/state_registry.hpp"

namespace rankine {

/// Ends a run in good order: everything is saved. Thrown on all ranks alike.
class StopRequested : public std::exception {
 public:
  explicit StopRequested(std::string why) : why_(std::move(why)) {}
  const char* what() const noexcept override { return why_.c_str(); }

 private:
  std::string why_;
};

/// Where the run that writes `output` has its checkpoints.
CheckpointFolder checkpoint_folder(const CheckpointOptions& options, const std::string& output);

/// InputError where the folder cannot serve a run of these variants and seeds (CheckpointFolder::check());
/// else what to warn of. `archives`: the run starts afresh. Looks only.
std::vector<std::string> check_checkpoint_folder(
    const CheckpointFolder& folder, bool archives,
    const std::vector<std::pair<std::string, std::int64_t>>& jobs);

class Checkpointer;

/// The checkpoints of one variant and seed.
class JobCheckpoint {
 public:
  /// Where the experiment registers everything that its future depends on. Registered objects must live until
  /// the experiment's run() returns.
  StateRegistry& state() { return state_; }

  /// Restores the state and the results so far, after the state was registered and before the first step.
  /// Returns how many steps were done, 0 if there is nothing to go on from. Collective.
  std::int64_t resume();

  /// To be called before the first step, between two, and after the last; `step` of `steps` are done.
  /// Collective. Saves if it is time to; throws StopRequested where a rank has got a signal or the wall time
  /// ends.
  void between_steps(std::int64_t step, std::int64_t steps);

  /// To be called inside a step, an evaluation or the making of data, where registered state has not changed
  /// since `step` of `steps` were done (or will be done again alike). Collective. Throws StopRequested as
  /// between_steps() does, after saving if steps were done since the last save.
  void within_step(std::int64_t step, std::int64_t steps) { stop_inside(step, steps, true); }
  /// Stops inside a step that has changed the state: nothing is saved, and the restart begins at the last
  /// checkpoint. Goes on where at most `seconds` are left to the end of the step, which is worth waiting for.
  void amid_step(std::int64_t step, std::int64_t steps, double seconds) {
    if (seconds > patience) stop_inside(step, steps, false);
  }
  static constexpr double patience = 5;  ///< seconds

  /// Called on all ranks before the state is saved: to bring together what ranks have done apart.
  void before_saving(std::function<void()> gather) { gather_ = std::move(gather); }
  /// Whether the deck asks for a checkpoint after this many steps, whatever the clock says.
  bool due_after(std::int64_t step) const;

  /// Goes back to the newest good checkpoint that this job wrote: one of those after each so many steps, if
  /// there is one, so that it depends on the deck alone; else any. Restores the state and the results so far.
  /// Returns how many steps were done then, none if there is no such checkpoint. Collective. The caller may
  /// change the state then and must call save().
  std::optional<std::int64_t> rewind();
  /// Saves now. Collective.
  void save(std::int64_t step);
  /// Whether the deck asks for checkpoints at all.
  bool wanted() const;

 private:
  friend class Checkpointer;
  void restore(StateSnapshot snapshot, std::int64_t step);
  std::int64_t agree(std::int64_t wish);
  void stop_inside(std::int64_t step, std::int64_t steps, bool may_save);
  [[noreturn]] void stop(std::int64_t wish, std::int64_t step, std::int64_t steps, bool may_save);
  JobCheckpoint(Checkpointer& owner, std::string variant, std::int64_t seed, RunWriter results)
      : owner_(owner), variant_(std::move(variant)), seed_(seed), results_(std::move(results)) {}

  Checkpointer& owner_;
  std::string variant_;
  std::int64_t seed_;
  RunWriter results_;
  StateRegistry state_;
  std::int64_t saved_step_ = 0;                  // what a checkpoint holds already
  std::optional<CheckpointContent> last_state_;  // root: after the last step, what of it does not last
  std::function<void()> gather_;
  std::string parent_;  // root: the file that this job went on from
  Stopwatch since_begin_;
};

/// Checkpoints of all variants and seeds that a call of the program runs. Where groups of ranks run different
/// ones at the same time, each group has one: it saves what runs into a folder of its own, and what is done
/// into the common one; a request to stop reaches all.
class Checkpointer {
 public:
  struct Setup {
    const Communicator& communicator;  ///< the world
    const Deck& deck;
    std::string output;   ///< results file
    std::string restart;  ///< "never", "auto", or a path
    bool smoke = false;
    RankGroups* groups = nullptr;                 ///< if there are several
    std::vector<std::string> petsc_options = {};  ///< of the command line
    /// Variants and seeds that this run does itself.
    std::vector<std::pair<std::string, std::int64_t>> jobs = {};
  };
  /// Collective, as everything here that does not say so of a group. Looks for what to go on from; says what
  /// it skips, and why. InputError where a checkpoint was written with settings that matter and differ.
  Checkpointer(const Setup& setup, Log& log);

  using Job = std::pair<std::string, std::int64_t>;  ///< variant and seed

  /// If this variant and seed is done, before or by any group: restores its results and returns its metrics.
  std::optional<std::map<std::string, double>> finished(const std::string& variant, std::int64_t seed,
                                                        RunWriter& results);
  /// The state at the end of a run that was done before; collective, on all ranks the same.
  StateSnapshot final_state(const Job& job);
  /// Whether it was done before.
  bool was_done(const Job& job) const;
  /// Gives `job`, if it was running, to the group that will do it.
  void hand_over(const Job& job, int group);

  /// Where a group's work has failed: the others shall stop in good order. Not collective.
  void tell_failure();
  /// Waits until all groups have done what they will do, `stopped` or not. Returns whether any has stopped;
  /// then everything that is done is saved.
  bool wait_for_others(bool stopped);

  JobCheckpoint begin(const std::string& variant, std::int64_t seed, const RunWriter& results) {
    job_ = {};
    return JobCheckpoint(*this, variant, seed, results);
  }
  /// Notes that the job is done; where others follow, its results are saved now, unless that costs more than
  /// it is worth (worth_saving()), else at the next checkpoint. Collective in the group. `results` must have
  /// all it is going to have.
  void done(JobCheckpoint& job, const std::map<std::string, double>& metrics, bool others_follow);

  struct Done {
    Job job;
    CheckpointContent content;
    bool saved;  ///< on the disk, where a restart finds it
  };
  /// Where the run fails: saves what is done. Returns the results of all that is done in the order of `jobs`,
  /// as far as they can be read. Root only, throws nothing.
  std::vector<Done> save_what_is_done(std::span<const Job> jobs);
  /// Why the last attempt to save something that is done failed; "" if none has.
  const std::string& save_failure() const { return save_failure_; }
  const std::string& folder() const { return common_.path(); }
  /// The run has ended well: what it has saved of single jobs goes again, unless there are checkpoints beside
  /// it, and the folder with it if the run has made it. Collective.
  void finish();

  /// What this job spent on checkpoints, for /timing.
  void report(RunWriter& results) const;
  /// "2 checkpoints, the last of 1.1 MiB, in 0.05 s (0.3 % of the time)"; "" if there was none. Root of the
  /// group only.
  std::string summary() const;

 private:
  friend class JobCheckpoint;
  /// The checkpoint from which a variant and seed goes on.
  struct Found {
    std::string path;
    CheckpointContent content;
    std::int64_t step = 0;
    bool more_steps = false;
  };
  struct Totals {
    double count = 0, bytes = 0, write_seconds = 0, verify_seconds = 0, agree_seconds = 0;
  };

  void look(Log& log);
  void archive();
  std::optional<Found> read_good(const std::string& path, bool may_be_damaged, Log& log);
  CheckpointContent collect(const StateRegistry& state, bool lasting) const;
  void describe(CheckpointContent& content, const std::string& variant, std::int64_t seed,
                std::int64_t step) const;
  static std::vector<CheckpointPart> parts_of(const StateRegistry& state);
  const std::map<std::string, std::string>& settings(const std::string& variant) const;
  void take_folder();
  void prepare_folder();
  void count(const CheckpointCost& cost);
  bool save(JobCheckpoint& job, std::int64_t step);
  bool flush_finished(bool early = false);
  bool worth_saving() const;

  const Communicator& world_;
  RankGroups* groups_;
  const Communicator& communicator_;  // the group, or the world
  const Deck& deck_;
  const CheckpointOptions options_;
  std::string restart_;
  bool smoke_;
  std::vector<std::string> petsc_options_;
  CheckpointFolder common_;  // of what is done
  CheckpointFolder folder_;  // of what runs here
  std::optional<FolderLock> lock_;
  mutable std::map<std::string, std::map<std::string, std::string>> settings_;  // root: by variant
  Log& log_;
  StopSignals signals_;
  WallLimit limit_;
  Stopwatch since_start_;
  Stopwatch since_saved_;
  bool first_write_ = true;
  bool any_good_ = false;                                           // root: a restart would find something
  std::string save_failure_;                                        // root
  std::string unreadable_;                                          // root: why one that is there was skipped
  std::map<Job, Found> running_, finished_;                         // root
  std::map<Job, CheckpointContent> completed_;                      // root, with several groups
  std::vector<std::pair<std::string, CheckpointContent>> unsaved_;  // root: path, results of a job
  // root, of records of jobs that were written at once
  Stopwatch since_unsaved_, since_failed_;
  std::vector<std::string> early_;
  double early_seconds_ = 0;
  bool early_failed_ = false, regular_ = false;
  bool found_folder_ = false, found_earlier_ = false;  // before this run
  Totals totals_, job_;
};

}  // namespace rankine
