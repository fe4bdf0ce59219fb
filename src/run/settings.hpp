// The settings that the course of a variant depends on, and whether a restart may change them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/deck/deck.hpp"

namespace rankine {

/// How the settings of a checkpoint differ from those of the deck.
struct SettingsChange {
  std::vector<std::string> refused;  ///< "train.batch: 4 then, 8 now"
  bool more_steps = false;
};

/// Compares all settings; the harmless ones stand in a table in the .cpp. `step`: how far the checkpoint is.
/// Input files are compared by content and not by path: a data set may have been moved.
SettingsChange compare_settings(std::map<std::string, std::string> then,
                                std::map<std::string, std::string> now, std::int64_t step);

/// Everything that the course of a variant depends on, by key: the deck's settings, hashes of the contents of
/// the data files that it names (a path tells nothing of what is there), and PETSc's options from the
/// environment, the deck and `petsc_options` (the command line), of which later ones win; those that only
/// print are left out. Looks at files: for one rank.
std::map<std::string, std::string> run_settings(const Deck& deck, const std::string& variant,
                                                const std::vector<std::string>& petsc_options);

/// One line "key: value" a setting; line breaks inside values are written as \n.
std::string settings_text(const std::map<std::string, std::string>& settings);
std::map<std::string, std::string> settings_from(const std::string& text);

}  // namespace rankine
