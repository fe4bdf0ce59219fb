// Every file that Rankine writes, renames, moves or removes goes through here, safe_file.hpp (outputs that
// are there completely or not at all) and folder_lock.hpp (one job at a time). Rankine touches a file only if
// it wrote it:
//
// - An output replaces an older file only if that is of the same kind, which its bytes tell and not its name;
//   an empty file has nothing to lose. Links are followed: the file that they lead to is replaced.
// - A checkpoint is moved or removed only if its name and its bytes say that it is one: the seal at its end
//   or, where that is lost, the mark at its beginning. Links are left alone.
// - A file that a killed process left half-written, "<output>.tmp.<host>.<pid>", is removed by whoever has
//   the lock of exactly that output, if the host is this one, no process of that number runs, and its bytes
//   are none or begin as Rankine's files do. Those of other hosts are left alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rankine {

/// What an output holds.
enum class FileContent {
  results,
  side_file,  ///< .xdmf beside results
  fault,      ///< about a numerical fault
  weights,
  observations,
  samples,  ///< in PDEBench's layout
  checkpoint,
  catalogue_result,  ///< what a deck of the catalogue measured
  catalogue_status,  ///< the table of all of them
  scratch            ///< in a ScratchFolder, where nothing else can be
};

// How files that are not HDF5 tell that Rankine wrote them.
inline constexpr std::string_view xdmf_start =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Xdmf Version=\"3.0\">\n  <Domain>\n";
inline constexpr std::string_view catalogue_result_start =
    "# Measured by `rankine catalogue run`, in runs that trained from scratch.\n";
inline constexpr std::string_view catalogue_status_start = "# What the catalogue's decks measured\n";
inline constexpr std::string_view npz_comment = "weights of Rankine";  ///< behind the zip's directory
inline constexpr std::string_view safetensors_start = "{\"__metadata__\":{\"format\":\"rankine\"}";

/// What Rankine wrote at `path`; none where there is no file, or another one.
std::optional<FileContent> written_content(const std::string& path);

/// A text that changes when the file does: its size and the time of its last change.
std::string file_stamp(const std::string& path);
/// Whether Rankine wrote the file, is writing it, or has left it half-written; so it is no data of the
/// user's, where a folder stands for all files in it.
bool is_rankine_file(const std::string& path);

/// Where an output goes: `path` or, links followed, the file that it leads to, which need not exist.
/// InputError where that is a folder, a device, a pipe or a socket, or where links lead in a circle.
std::string output_target(const std::string& path);

/// InputError where a file stands at `target` that an output of this content must not replace. `path`: what
/// messages call it.
void check_replaceable(const std::string& path, const std::string& target, FileContent content);

/// IoError where `left` is less than `needed`, in bytes.
void check_space(const std::string& path, const std::string& folder, std::uint64_t needed,
                 std::uint64_t left);

/// A file that a command reads, and the key or argument that names it; a folder stands for all files in it.
struct InputFile {
  std::string key, path;
};

struct OutputFile {
  std::string key, path;
  FileContent content;
  std::uint64_t bytes = 0;  ///< that it will take, if known
};

/// InputError where an output is also an input or another output, by device and inode or, where it does not
/// exist, by folder and name; where something stands in its place that it must not replace; or where its
/// folder can neither be written to nor made. IoError where there is no space. Writes nothing.
void check_outputs(std::span<const OutputFile> outputs, std::span<const InputFile> inputs);

class OutputLock;

/// The right to write some files, from its start to its end.
class OutputClaim {
 public:
  OutputClaim();
  /// check_outputs(); then makes missing folders, locks the outputs against other jobs (InputError naming who
  /// has them; `say` is told what it waits for), and removes what killed processes left half-written of them.
  OutputClaim(std::span<const OutputFile> outputs, std::span<const InputFile> inputs,
              const std::function<void(const std::string&)>& say = {});
  OutputClaim(OutputClaim&&) noexcept;
  OutputClaim& operator=(OutputClaim&&) noexcept;
  ~OutputClaim();

 private:
  std::vector<OutputLock> locks_;
};

/// "results.h5.tmp.node7.1234": the name under which this process writes `target`.
std::string temporary_of(const std::string& target);
/// This machine's name, of letters, digits, '-' and '_' only.
std::string host_label();
/// Removes what other processes left half-written of `target`, which this one has locked, and of the files
/// about faults beside it.
void remove_stale_temporaries(const std::string& target);

/// Makes `path` with all folders above it. IoError.
void make_folders(const std::string& path);
/// Removes a folder that is empty; leaves any other.
void remove_empty_folder(const std::string& path);

// ------------------------------------------------------------------------------------------- checkpoints

/// Text at the beginning of every checkpoint that says which run wrote it; the run is told apart by the path
/// of its results, from the folder of the checkpoints.
std::string run_mark(const std::string& run);

/// Whether a file, no link, has a checkpoint's name ("checkpoint-<digits>.h5",
/// "finished-<variant>-seed_<n>.h5", with or without ".damaged") and the bytes of one, whole or damaged.
bool is_own_checkpoint(const std::string& path);
/// The run in its mark; "" where it has none that can be read.
std::string run_of_checkpoint(const std::string& path);
/// Removes it if it is one. Returns whether it did.
bool remove_checkpoint(const std::string& path);
/// Gives it another name or folder, where nothing may stand. IoError.
void move_checkpoint(const std::string& from, const std::string& to);
/// A second one with the same bytes. IoError.
void copy_checkpoint(const std::string& from, const std::string& to);
/// Whether a file name (no folders) is one that checkpoints have.
bool named_like_checkpoint(std::string_view name);
/// Whether a name is that of a checkpoint that is, or was, being written.
bool names_half_written_checkpoint(const std::string& name);
/// Removes the half-written checkpoints in a folder that this process has locked.
void remove_checkpoint_temporaries(const std::string& folder);

// ------------------------------------------------------------------------------------- for a short time

/// A new folder below the working folder, gone at its end with the files that went by file().
class ScratchFolder {
 public:
  /// `start`: of its name. IoError where it cannot be made.
  explicit ScratchFolder(const std::string& start);
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder();
  const std::string& path() const { return path_; }
  std::string file(const std::string& name);

 private:
  std::string path_;
  std::vector<std::string> files_;
};

/// A new empty file of no use but its name and number, in memory where possible.
class EmptyFile {
 public:
  /// `called`: whose it is, for messages. IoError.
  explicit EmptyFile(const std::string& called);
  EmptyFile(const EmptyFile&) = delete;
  EmptyFile& operator=(const EmptyFile&) = delete;
  ~EmptyFile();
  const std::string& name() const { return name_; }
  int descriptor() const { return descriptor_; }
  /// The file goes on without a name, for as long as its descriptor is open.
  void remove_name();

 private:
  std::string name_;
  int descriptor_ = -1;
};

}  // namespace rankine
