// What is in a checkpoint, in a folder of them, or in the file about a numerical fault: `rankine info` and
// `rankine compare` for everything but results.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/io/info.hpp"

namespace rankine {

enum class FileKind { results, checkpoint, checkpoint_folder, fault };

/// The kind as far as it shows from outside, by the folder, the seal at a file's end and the name: none for
/// HDF5 files that nothing guards, which are opened through rehearse() only.
std::optional<FileKind> kind_from_outside(const std::string& path);
/// Told by the folder, the seal at a file's end, the name, and the attribute `format`. InputError where there
/// is no such file.
FileKind kind_of_file(const std::string& path);

/// A checkpoint as JSON text:
///   file, kind "checkpoint", variant, seed, step, steps, finished, smoke, parent, version, revision, ranks,
///   same_build, bytes, settings {key: value}, arrays [{name, type, shape, bytes, not_finite}]
/// DamagedFile, saying what is wrong, where a hash differs.
std::string checkpoint_json(const std::string& path);
std::string checkpoint_text(const std::string& path);

/// file, kind "checkpoints", checkpoints [{file, variant, seed, step, finished, bytes, damage}], the newest
/// first.
std::string checkpoint_folder_json(const std::string& path);
std::string checkpoint_folder_text(const std::string& path);

/// file, kind "fault", facts, texts without the deck, arrays as above.
std::string fault_json(const std::string& path);
std::string fault_text(const std::string& path);

/// The settings in a checkpoint: path of the key in the deck and value.
struct CheckpointSettings {
  std::string variant;
  std::int64_t seed = 0, step = 0;
  std::map<std::string, std::string> settings;
};
CheckpointSettings checkpoint_settings(const std::string& path);

/// All arrays bit by bit, and all texts but those about the program and the machine; times are left out.
std::vector<Difference> compare_checkpoints(const std::string& a, const std::string& b);

}  // namespace rankine
