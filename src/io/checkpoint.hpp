// One checkpoint file: a sealed file (src/io/sealed_file.hpp) whose content is an HDF5 file. Every byte is
// checked before HDF5 sees it. `h5ls -r` and h5py read the file as it is.
//
//   /                attributes format = "rankine-checkpoint", format_version = 2
//   /texts/<name>    what describes the checkpoint: variant, seed, settings of the deck, versions
//   /state/<name>    contiguous arrays (attributes dtype, scalar, xxh3_64)
//
// xxh3_64 is the hash of the array's bytes; of an array that is written in several pieces, that of the
// pieces' hashes one after the other. The order and the size of the pieces depend on the arrays alone: the
// file has the same bytes whatever number of ranks has written it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/error.hpp"
#include "src/comm/communicator.hpp"
#include "src/io/sealed_file.hpp"
#include "src/tensor/state_registry.hpp"

namespace rankine {

struct CheckpointContent {
  std::map<std::string, std::string> texts;  ///< names without '/'
  StateSnapshot state;                       ///< names may hold '/'
  /// "" if there is none of this name.
  std::string text(const std::string& name) const {
    const auto found = texts.find(name);
    return found == texts.end() ? "" : found->second;
  }
  bool operator==(const CheckpointContent&) const = default;
};

/// State that all ranks hold, or of which each holds a part, for as long as it takes to write it.
struct CheckpointPart {
  std::string name;
  StateKind kind = StateKind::replicated;
  StateView view;  ///< this rank's
};

struct CheckpointCost {
  std::uint64_t bytes = 0;
  double write_seconds = 0;   ///< hashing, writing, syncing, renaming
  double verify_seconds = 0;  ///< reading it again
};

/// Writes under a temporary name, syncs, renames, syncs the folder, then reads and checks the file. Nothing
/// is left under the name if this throws (IoError, on all ranks), unless an older file stood there before the
/// rename. Collective: all ranks give the same parts; the root adds `content`, and its path counts. Arrays of
/// at least 1 MiB are written by all ranks side by side, each in pieces of at most 1 MiB at the places that
/// the root has laid out, the others by the root.
CheckpointCost write_checkpoint(const Communicator& communicator, const std::string& path,
                                const CheckpointContent& content, std::span<const CheckpointPart> parts = {});
/// By this rank alone.
CheckpointCost write_checkpoint(const std::string& path, const CheckpointContent& content);
/// InputError where it is missing, DamagedFile where it is damaged, OtherFormat where it is of another
/// version.
CheckpointContent read_checkpoint(const std::string& path);

/// Names in the folder of one run's checkpoints. The folder may hold other files, too: nothing is moved or
/// removed that is no checkpoint (is_own_checkpoint() in files.hpp), and none that says that another run
/// wrote it.
class CheckpointFolder {
 public:
  /// `run`: the run's mark in its checkpoints (run_mark() in files.hpp). Empty: all checkpoints here are of
  /// one run.
  explicit CheckpointFolder(std::string path, std::string run = {})
      : path_(std::move(path)), run_(std::move(run)) {}
  const std::string& path() const { return path_; }
  const std::string& run() const { return run_; }
  /// The folder below, of what a group of ranks runs: "group_2" for group 1; this one for group 0.
  CheckpointFolder of_group(int group) const;
  /// Copies a checkpoint of another group here, as the newest, unless it stands here. IoError.
  void adopt(const std::string& checkpoint) const;
  /// All of these that exist.
  std::vector<CheckpointFolder> groups() const;
  /// The folder, with those of its groups, that a checkpoint stands in.
  static CheckpointFolder holding(const std::string& checkpoint);

  struct Item {
    std::int64_t number;
    std::string path;
  };
  /// checkpoint-<number>.h5, the newest first; empty if the folder does not exist.
  std::vector<Item> list() const;
  /// Whether this run wrote the checkpoint.
  bool is_mine(const std::string& checkpoint) const;
  /// Whether any checkpoint here or in the groups' folders is this run's.
  bool has_mine() const;
  /// The number for the next checkpoint: above all that were ever there, damaged ones included.
  std::int64_t next_number() const;
  std::string path_of(std::int64_t number) const;
  /// Results and last state of a variant and seed that is done.
  std::string finished_path(const std::string& variant, std::int64_t seed) const;

  /// Names in the folder that are neither this run's checkpoints nor folders of its own.
  std::vector<std::string> others() const;
  /// InputError where the folder is none, where what another run or somebody else wrote stands under one of
  /// the names in `finished` (which finished_path() gives), or, if the run will archive what it finds, in its
  /// way there. Looks only.
  void check(const std::vector<std::string>& finished, bool archives) const;

  /// Whether an output at `path` would stand where a checkpoint may be written, moved or looked for.
  bool takes(const std::string& path) const;

  void create() const;
  /// Moves this run's checkpoints into the folder "previous" below, from which earlier ones of this run are
  /// removed. Returns whether there was something to move. IoError.
  bool archive() const;
  /// So that it is not considered again; it goes with the next prune(). What has lost every sign that it is a
  /// checkpoint is left as it is.
  static void set_aside(const std::string& path);
  /// Removes files that a killed run left half-written.
  void remove_temporaries() const;
  /// Keeps the newest `keep_last` of this run, and those whose number is a multiple of `keep_every` (0:
  /// none).
  void prune(int keep_last, int keep_every) const;

 private:
  std::vector<std::pair<std::string, std::string>> moves() const;
  std::string previous() const { return path_ + "/previous"; }

  std::string path_, run_;
};

}  // namespace rankine
