// The catalogue: published systems, the decks that stand for them, and what these measured.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/cli/commands.hpp"

namespace rankine::cli {

/// A published system, from catalogue/systems.tsv.
struct CatalogueSystem {
  std::string id, family, name, title;
};

/// What a deck measured when it was last run: <deck>.result beside it.
struct CatalogueResult {
  struct Line {
    std::string expression, verdict;
    double left = 0, right = 0, standard_error = 0;  ///< NaN where there is none
  };
  std::string verdict;  ///< pass, fail, undecided, void, no bar
  double minutes = 0;   ///< 0: not measured
  std::string date, revision, machine;
  std::string
      deck;  ///< hash of the deck that was run; empty in results that were measured before it was kept
  std::vector<Line> lines;

  /// Of a results file. InputError where it is none.
  static CatalogueResult of_results(const std::string& results_path);
  static CatalogueResult read(const std::string& path);
  std::string yaml() const;
  /// "0.12 against 0.1 (s.e. 0.004)".
  static std::string measured(const Line& line);
};

/// A deck with an `about.id`.
struct CatalogueDeck {
  std::string id, name, title, claim, path;  ///< name: family/deck
  std::optional<double> minutes;
  std::optional<CatalogueResult> result;
  bool stale = false;  ///< the deck is another than the one that was measured
};

/// Everything below a folder of inputs; InputError where there is no such folder, or a file in it is wrong.
class Catalogue {
 public:
  explicit Catalogue(const std::string& folder);

  /// A line for each system and deck: id, family/name, state (not built, not run, stale, fails, undecided,
  /// passes), the first thing measured, minutes, title.
  std::string text() const;
  /// The table of all decks with results, as Markdown.
  std::string status() const;
  /// The decks called so: a deck (local/sltt or sltt), a family, a system's name or id, or all. InputError
  /// where a word names none.
  std::vector<CatalogueDeck> chosen(const std::vector<std::string>& words) const;
  std::string status_path() const;

 private:
  std::string folder_;
  std::vector<CatalogueSystem> systems_;
  std::vector<CatalogueDeck> decks_;
};

struct CatalogueRun {
  std::string folder = "inputs", work = "results/catalogue";
  std::vector<std::string> what{"all"};
  bool again = false;
  RunArguments run;
};

/// `catalogue run`: the chosen decks one after the other, each from its newest checkpoint; a deck whose
/// results of this revision are complete is not run again, unless it has changed since. Writes a result beside each deck, and STATUS.md.
/// Returns the exit code: done, expectation_false where a deck does not pass, or that of the first that
/// broke.
int run_catalogue(const Communicator& world, const Rendezvous& rendezvous, const ProgramTables& tables,
                  const CatalogueRun& arguments);

}  // namespace rankine::cli
