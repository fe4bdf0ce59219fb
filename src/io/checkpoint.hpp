// One checkpoint file: an HDF5 file followed by a seal of 64 bytes, which holds the length and the xxh3 hash
// of all that stands before it. A file is read whole, its seal is checked, and only then does HDF5 see the
// bytes, those that were checked. Every dataset carries an xxh3 hash of its own and Fletcher-32 checksums.
//
//   /                attributes format = "rankine-checkpoint", format_version
//   /texts/<name>    what describes the checkpoint: variant, seed, settings of the deck, versions
//   /state/<name>    arrays (attributes dtype, scalar, xxh3_64)
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.hpp"
#include "src/core/state_registry.hpp"

namespace rankine {

/// A file that is not what was once written: truncated, changed, or no checkpoint at all.
struct DamagedFile : InputError {
  using InputError::InputError;
};

struct CheckpointContent {
  std::map<std::string, std::string> texts;  ///< names without '/'
  StateSnapshot state;                       ///< names may hold '/'
  bool operator==(const CheckpointContent&) const = default;
};

/// The bytes of a checkpoint file; equal contents give equal bytes.
std::string encode_checkpoint(const CheckpointContent& content, const std::string& called);
/// DamagedFile, saying what is wrong, unless `bytes` are exactly what encode_checkpoint() made.
CheckpointContent decode_checkpoint(std::string_view bytes, const std::string& called);

struct CheckpointCost {
  std::uint64_t bytes = 0;
  double write_seconds = 0;   ///< encoding, hashing, writing, syncing, renaming
  double verify_seconds = 0;  ///< reading it again
};

/// Writes under a temporary name, syncs, renames, syncs the folder, then reads and checks the file. Nothing
/// is left under the name if this throws (IoError), unless an older file stood there before the rename.
CheckpointCost write_checkpoint(const std::string& path, const CheckpointContent& content);
/// InputError where it is missing, DamagedFile where it is damaged.
CheckpointContent read_checkpoint(const std::string& path);

/// Names in the folder of one run's checkpoints.
class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }

  struct Item {
    std::int64_t number;
    std::string path;
  };
  /// checkpoint-<number>.h5, the newest first; empty if the folder does not exist.
  std::vector<Item> list() const;
  /// The number for the next checkpoint: above all that were ever there, damaged ones included.
  std::int64_t next_number() const;
  std::string path_of(std::int64_t number) const;
  /// Results and last state of a variant and seed that is done.
  std::string finished_path(const std::string& variant, std::int64_t seed) const;

  void create() const;
  /// Moves everything into the folder "previous" below, whose content is removed. Returns whether there was
  /// something to move.
  bool archive() const;
  /// So that it is not considered again; it goes with the next prune().
  static void set_aside(const std::string& path);
  /// Removes files that a killed run left half-written.
  void remove_temporaries() const;
  /// Keeps the newest `keep_last`, and those whose number is a multiple of `keep_every` (0: none).
  void prune(int keep_last, int keep_every) const;

 private:
  std::string path_;
};

}  // namespace rankine
