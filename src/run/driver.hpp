// Runs a deck: all its variants and seeds, then the table, the expectations and the results file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/comm/rank_groups.hpp"
#include "src/comm/rendezvous.hpp"
#include "src/deck/deck.hpp"
#include "src/deck/expect.hpp"
#include "src/io/files.hpp"
#include "src/run/checkpointing.hpp"
#include "src/run/experiment.hpp"
#include "src/run/match.hpp"
#include "src/run/report.hpp"

namespace rankine {

/// How a program ends (design: 75 is EX_TEMPFAIL).
struct ExitCode {
  static constexpr int done = 0, input_error = 1, numerical_failure = 2, io_failure = 3,
                       expectation_false = 4, requeue = 75;
};

/// The group of each job: the longest job first, each goes to the group that has the least to do.
/// Jobs of negative length are left out (-1).
std::vector<int> deal(std::span<const double> seconds, int groups);

/// The path of a task's results file: "results.h5" becomes "results.task_2_of_8.h5".
std::string path_of_task(const std::string& path, const DeckRequest& request);

/// Rank 0 reads the file, all ranks resolve the same text. Collective; throws InputError on all ranks.
Deck read_deck(const Communicator& communicator, const std::string& path, const DeckRequest& request);

/// A deck whose experiments exist, that is, which has been checked as far as it can be without work.
class DeckRun {
 public:
  /// Collective. Makes and thereby checks the experiments of all variants. Throws InputError on all ranks.
  DeckRun(const Communicator& communicator, const ExperimentRegistry& table, Deck deck,
          const DeckRequest& request);

  const Deck& deck() const { return deck_; }
  /// "deck.yaml is in order: 3 variants x 2 seeds of pde_training, 4 expectations".
  std::string summary() const;
  /// The resolved deck, the partition, and the estimates of memory, time and file size.
  std::string dry_run_text() const;

  /// What the command line adds to the deck.
  struct Invocation {
    std::vector<std::string> arguments;  ///< argv
    std::string output;                  ///< "": as the deck says
    std::string restart = "never";       ///< "never", "auto" or the path of a checkpoint or a folder of them
    const Rendezvous* rendezvous = nullptr;       ///< for ranks that fail alone in their group
    std::vector<std::string> petsc_options = {};  ///< of the command line
    bool profile = false;                         ///< print where the time of training steps goes
  };
  /// Throws what would keep a run of this invocation from starting, or where an output would write over an
  /// input; returns warnings. Changes no file; on the root. InputError, IoError.
  std::vector<std::string> check_files(const Invocation& invocation) const;
  /// Runs everything; collective. Returns the exit code: done, expectation_false, or requeue where a signal
  /// or the end of the wall time stopped it.
  int run(const Invocation& invocation, Log& log);

 private:
  struct Part : VariantMetrics {
    std::unique_ptr<Experiment> experiment;
    std::vector<std::string> parents;  ///< variants whose snapshots it starts from
    int tree = 0;                      ///< variants that depend on each other have the same number
    std::optional<Match> match;        // of a variant with `match`
    std::vector<TimeTo> times;         // the last of its metrics
  };

  /// One variant and seed.
  struct Job {
    Part* part;
    std::int64_t seed;
    int unit;  ///< jobs of one unit depend on each other: one group does all of them, in the deck's order
  };

  /// Everything that a run reads and writes, but for checkpoints.
  struct Files {
    std::vector<OutputFile> outputs;
    std::vector<InputFile> inputs;
  };
  /// `runs`: with the space that the outputs take.
  Files files(const Invocation& invocation, bool runs) const;
  void check_device() const;
  void check_beside_checkpoints(std::span<const OutputFile> outputs, const std::string& results) const;
  std::string output_of(const Invocation& invocation) const;
  std::vector<std::pair<std::string, std::int64_t>> job_names() const;

  std::size_t all_jobs() const { return deck_.variants().size() * deck_.run().seeds.size(); }
  int wanted_groups() const;
  void make_parts(const ExperimentRegistry& table);
  /// The counts of a variant that stands above in the deck and whose experiment exists.
  VariantCounts counts_of(const std::string& name, const Deck::Variant& wanting) const;
  /// Lines about the widths that `match` has found.
  std::string matches() const;
  /// Checks the snapshots that variants name, and finds out which variants depend on which.
  void connect_parts();
  std::vector<double> estimated_seconds() const;
  /// The group that does each job (-1: none); jobs of negative length are left out.
  std::vector<int> deal_jobs(std::span<const double> seconds) const;
  void parse_expectations();
  /// Runs all jobs. False where a signal or the wall time stopped them.
  bool run_jobs(const Invocation& invocation, ResultsWriter& results, Checkpointer& checkpointer, Log& log,
                Log& group_log);
  bool take_finished(const Job& job, ResultsWriter& results, Checkpointer& checkpointer);
  /// Where the run fails: saves what is done, writes the results of that and says where they are. Root only,
  /// throws nothing.
  void rescue(Checkpointer& checkpointer, const std::vector<std::pair<std::string, std::string>>& provenance,
              Log& log) const;
  void run_one(const Job& job, bool profiled, ResultsWriter& results, Checkpointer& checkpointer, Log& log);
  /// Takes up the snapshots of what was done before and is needed by what is not. Collective.
  void take_snapshots(Checkpointer& checkpointer);
  bool needed(const Job& job) const;
  /// After `job`: forgets the snapshots that no later job needs.
  void forget_snapshots(const Job& job);
  /// The variants that this task has.
  std::vector<const VariantMetrics*> measured() const;
  bool check_expectations(ResultsWriter& results, Log& log) const;

  const Communicator& communicator_;
  DeckRequest request_;
  Deck deck_;
  RankGroups groups_;
  std::vector<Part> parts_;
  std::vector<Job> jobs_;  // in the deck's order; the share of this task, if it is one of several
  std::vector<Expectation> expectations_;
  std::string output_;  // results file of this run
  SnapshotStore snapshots_;
};

}  // namespace rankine
