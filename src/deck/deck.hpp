// A whole deck: what it claims, how it is run, its variants and its expectations. Everything else in it
// belongs to the experiment, which reads it variant by variant.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/node.hpp"
#include "src/deck/options.hpp"

namespace rankine {

namespace deck {
struct Plan;      // src/deck/variants.hpp
struct LaidOver;  // src/deck/overrides.hpp
}  // namespace deck

/// The section `about`, which is for readers: no computation depends on it.
struct AboutOptions {
  std::string title;
  std::string id, name;
  std::string claim;
  std::optional<double> minutes;
  void options(OptionVisitor& o);
};

/// The section `run`.
struct RunOptions {
  std::string experiment;
  int ranks = 1;
  int concurrent = 1;
  std::vector<int> seeds = {0};
  std::string output = "results.h5";
  std::string walltime;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
  /// `walltime` in seconds, or nothing if it is empty. InputError if it is no duration.
  std::optional<double> walltime_seconds() const;
};

/// The section `checkpoint`.
struct CheckpointOptions {
  std::string directory;
  int every_steps = 0;
  double every_minutes = 15;
  int keep_last = 3;
  int keep_every = 0;
  void options(OptionVisitor& o);
};

/// What the arguments of the command line change in a deck.
struct DeckRequest {
  bool smoke = false;
  std::vector<std::string> set = {};   ///< "path.to.key=value"; of two for one key the later one counts
  std::vector<std::string> only = {};  ///< names of the variants to run; empty: all
  int task = 0, tasks = 0;             ///< run share `task` (from 1) of `tasks`; 0 of 0: run everything
};

/// A path that an experiment has read from the deck.
struct DeckFile {
  std::string key;  ///< "data.path"
  std::string path;
  FileUse use;
  std::string variant;  ///< the variant whose section holds the key
  std::string where;    ///< "deck.yaml:7:10"
};

/// A name VARIANT@SNAPSHOT that an experiment has read from the deck: a snapshot of another variant.
struct SnapshotReference {
  std::string variant, name;
  std::string key;    ///< "start"
  std::string where;  ///< "deck.yaml:7:10"
};

/// A fragment: a part of a deck that lies in a file of its own, and that `use` names.
struct DeckFragment {
  std::string from;  ///< the file whose `use` names the fragment
  std::string name;  ///< the name as it is written there
  std::string path, text;
};
/// Reads the fragment that the file `from` calls `name`. Throws InputError.
using FragmentReader = std::function<DeckFragment(const std::string& name, const std::string& from)>;
/// Packs fragments into one text, which results files store, and makes a reader that finds them in that text.
std::string fragments_text(const std::vector<DeckFragment>& fragments);
FragmentReader stored_fragments(const std::string& text);

/// One line of `expect:`, not yet parsed.
struct ExpectLine {
  std::string text;
  DeckNode node;
};

class Deck {
 public:
  struct Variant {
    std::string name;
    DeckNode node;  ///< the experiment's sections, with all overrides merged into them
  };

  /// Resolves the deck in `text`. Order of precedence, highest first: --set, smoke sizes, the variant's
  /// sweep, the variant, the deck's sweep, the deck. Each of these overrides the fragments that it uses, and
  /// a later fragment overrides an earlier one. Without `read`, a deck with `use` is refused. The sections of
  /// the experiment are not checked here: the experiment reads the node of its variant. Throws InputError.
  Deck(const std::string& text, const std::string& file, const DeckRequest& request = {},
       const FragmentReader& read = {});

  const std::string& text() const { return text_; }
  const std::string& file() const { return file_; }
  const AboutOptions& about() const { return about_; }
  const RunOptions& run() const { return run_; }
  const CheckpointOptions& checkpoint() const { return checkpoint_; }
  /// The value of `run.experiment`, for messages about it.
  const DeckNode& experiment_node() const { return experiment_; }
  /// The options that `petsc_options` passes to PETSc, one word each.
  const std::vector<std::string>& petsc_options() const { return petsc_options_; }
  /// The variants in the order of the deck. A deck without variants has one, called "default".
  const std::vector<Variant>& variants() const { return variants_; }
  /// Names of all variants, including those that --only leaves out.
  const std::vector<std::string>& all_variants() const { return all_variants_; }
  const std::vector<ExpectLine>& expect() const { return expect_; }
  /// All fragments, including those that other fragments use.
  const std::vector<DeckFragment>& fragments() const { return fragments_; }

  /// The number of a variant at a path such as "train.learning_rate" or "model.blocks[lif].tau". Defaults
  /// count if they have been read by now. Nothing if there is no number at the path, NaN if --only leaves the
  /// variant out.
  std::optional<double> number_at(const std::string& variant, const std::string& path) const;

  /// All settings that a variant's results depend on, including the defaults that have been read by now:
  /// value by path of the key, with numbers written in a normal form. The sections about, run, checkpoint and
  /// expect are left out, because they do not change results. For each variant whose snapshot this one names,
  /// that variant's settings are included with the prefix "VARIANT@".
  std::map<std::string, std::string> settings(const std::string& variant) const;

  /// The files that a variant names in options that have been read by now. Empty paths are left out.
  std::vector<DeckFile> files(const std::string& variant) const;

  /// The snapshots of other variants that a variant names in options that have been read by now.
  std::vector<SnapshotReference> snapshots(const std::string& variant) const;

  /// The deck as YAML, with all overrides merged and with the defaults of all options that have been read by
  /// now. It is a deck that can be run.
  std::string resolved() const;

  /// Reads at most 1 MiB + 1 byte of a deck's file, so that the parser can report a file that is too long.
  /// InputError if the path is no readable regular file.
  static std::string read_file(const std::string& path);

  /// A FragmentReader that looks for the fragment in three folders: that of the file `from`, the folder
  /// `inputs` above it, and the folder `inputs` that was installed with the program.
  static DeckFragment read_fragment(const std::string& name, const std::string& from);

 private:
  void read_own_sections();
  void make_variants(const deck::Plan& plan, const deck::LaidOver& over, const DeckRequest& request);

  std::string text_, file_;
  DeckNode root_, experiment_;
  AboutOptions about_;
  RunOptions run_;
  CheckpointOptions checkpoint_;
  std::vector<std::string> petsc_options_;
  std::vector<Variant> variants_;
  std::vector<std::string> all_variants_;
  std::vector<ExpectLine> expect_;
  std::vector<DeckFragment> fragments_;
  bool has_variants_ = false;
};

}  // namespace rankine
