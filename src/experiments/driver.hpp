// Runs a deck: all its variants and seeds, then the table, the expectations and the results file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/deck.hpp"
#include "src/deck/expect.hpp"
#include "src/experiments/checkpointing.hpp"
#include "src/experiments/experiment.hpp"

namespace rankine {

/// How a program ends (design: 75 is EX_TEMPFAIL).
struct ExitCode {
  static constexpr int done = 0, input_error = 1, numerical_failure = 2, io_failure = 3,
                       expectation_false = 4, requeue = 75;
};

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

  /// What is only known to the program.
  struct Invocation {
    std::vector<std::string> arguments;  ///< argv
    std::string output;                  ///< "": as the deck says
    std::string restart = "never";       ///< "never", "auto" or the path of a checkpoint or a folder of them
  };
  /// Runs everything; collective. Returns the exit code: done, expectation_false, or requeue where a signal
  /// or the end of the wall time stopped it.
  int run(const Invocation& invocation, Log& log);

 private:
  struct Part {
    std::string variant;
    std::unique_ptr<Experiment> experiment;
    std::vector<MetricInfo> metrics;
    std::map<std::string, std::vector<double>> values;  // metric -> one for each seed
  };

  void make_parts(const ExperimentRegistry& table);
  void parse_expectations();
  void run_one(Part& part, std::int64_t seed, ResultsWriter& results, Checkpointer& checkpointer, Log& log);
  std::string table() const;
  bool check_expectations(ResultsWriter& results, Log& log) const;

  const Communicator& communicator_;
  DeckRequest request_;
  Deck deck_;
  std::vector<Part> parts_;
  std::vector<Expectation> expectations_;
  std::string output_;  // results file of this run
};

}  // namespace rankine
