// A whole deck: what it claims, how it is run, its variants and its expectations. Everything else in it
// belongs to the experiment, which reads it variant by variant.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/node.hpp"
#include "src/deck/options.hpp"

namespace rankine {

/// `about:`: for people.
struct AboutOptions {
  std::string title;
  std::string id, name;
  std::string claim;
  std::optional<double> minutes;
  void options(OptionVisitor& o);
};

/// `run:`
struct RunOptions {
  std::string experiment;
  int ranks = 1;
  int concurrent = 1;
  std::vector<int> seeds = {0};
  std::string output = "results.h5";
  std::string walltime;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
  /// `walltime` in seconds; none if it is empty. InputError where it is no time.
  std::optional<double> walltime_seconds() const;
};

/// `checkpoint:`
struct CheckpointOptions {
  std::string directory;
  int every_steps = 0;
  double every_minutes = 15;
  int keep_last = 3;
  int keep_every = 0;
  void options(OptionVisitor& o);
};

/// What the command line asks of a deck.
struct DeckRequest {
  bool smoke = false;
  std::vector<std::string> set = {};   ///< "path.to.key=value", later ones win
  std::vector<std::string> only = {};  ///< names of variants; empty: all
  int task = 0, tasks = 0;             ///< which share of the variants and seeds, from 1; 0 of 0: all
};

/// A path that an experiment has read from the deck.
struct DeckFile {
  std::string key;  ///< "data.path"
  std::string path;
  FileUse use;
  std::string variant;  ///< that has it
  std::string where;    ///< "deck.yaml:7:10"
};

/// A snapshot of another variant that an experiment has read the name of: VARIANT@SNAPSHOT.
struct SnapshotReference {
  std::string variant, name;
  std::string key;    ///< "start"
  std::string where;  ///< "deck.yaml:7:10"
};

/// One line of `expect:`, not yet parsed.
struct ExpectLine {
  std::string text;
  DeckNode node;
};

class Deck {
 public:
  struct Variant {
    std::string name;
    DeckNode
        node;  ///< the experiment's sections with the variant's overrides, smoke sizes and --set merged in
  };

  /// Resolves the deck in `text`. Order of precedence, highest first: --set, smoke sizes, the variant, the
  /// deck. Reads only; the experiments read the variants' nodes. Throws InputError.
  Deck(const std::string& text, const std::string& file, const DeckRequest& request = {});

  const std::string& text() const { return text_; }
  const std::string& file() const { return file_; }
  const AboutOptions& about() const { return about_; }
  const RunOptions& run() const { return run_; }
  const CheckpointOptions& checkpoint() const { return checkpoint_; }
  /// The value of `run.experiment`, for messages about it.
  const DeckNode& experiment_node() const { return experiment_; }
  /// Words for PETSc's options database (`petsc_options:`).
  const std::vector<std::string>& petsc_options() const { return petsc_options_; }
  /// In the deck's order; one named "default" where the deck has none.
  const std::vector<Variant>& variants() const { return variants_; }
  /// Names of all variants, those that --only left out too.
  const std::vector<std::string>& all_variants() const { return all_variants_; }
  const std::vector<ExpectLine>& expect() const { return expect_; }

  /// Everything that the course of a variant depends on, defaults of what was read so far included: path of
  /// the key and value, numbers in one way of writing. Sections that any variant may change without another
  /// course (about, run, checkpoint, expect) are left out. Of the variants whose snapshots it names, theirs
  /// too, below "VARIANT@".
  std::map<std::string, std::string> settings(const std::string& variant) const;

  /// The files of a variant that it has read the options of so far, without empty paths.
  std::vector<DeckFile> files(const std::string& variant) const;

  /// Snapshots of other variants that a variant has read the names of so far.
  std::vector<SnapshotReference> snapshots(const std::string& variant) const;

  /// The deck with all overrides merged and with the defaults of everything that was read so far. It is a
  /// deck itself.
  std::string resolved() const;

  /// Reads at most 1 MiB + 1 byte of a deck's file; the parser reports what is too long. InputError if it is
  /// no readable regular file.
  static std::string read_file(const std::string& path);

 private:
  std::string text_, file_;
  DeckNode root_, experiment_;
  AboutOptions about_;
  RunOptions run_;
  CheckpointOptions checkpoint_;
  std::vector<std::string> petsc_options_;
  std::vector<Variant> variants_;
  std::vector<std::string> all_variants_;
  std::vector<ExpectLine> expect_;
};

}  // namespace rankine
