// Finds the input files that a deck names. A relative path is looked for in the working folder first, and
// then in the folder of the deck.
#pragma once

#include <string>

namespace rankine::deck {

struct InputPath {
  std::string path;       ///< to open: as given, or absolute if the file lies in the deck's folder
  std::string looked;     ///< if the file is in neither folder: the paths tried, "/a/x.h5 and /b/x.h5"
  std::string ambiguous;  ///< if both folders have such a file, and the two differ: a message
};

/// Accesses the file system. `path` may contain {seed}, which stands for any text within a file's name.
InputPath find_input(const std::string& path, const std::string& deck_folder);

}  // namespace rankine::deck
