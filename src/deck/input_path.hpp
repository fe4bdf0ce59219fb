// Where an input that a deck names lies. A relative path is looked for in the working folder and, where it is
// not there, in the folder of the deck.
#pragma once

#include <string>

namespace rankine::deck {

struct InputPath {
  std::string path;       ///< as it is to be opened: the one given or, in the deck's folder, an absolute one
  std::string looked;     ///< "/a/x.h5 and /b/x.h5" where it is in neither place, else empty
  std::string ambiguous;  ///< what is wrong where both places have one, and these differ; else empty
};

/// `path` may hold {seed}, which stands for any text within a name. Looks at files.
InputPath find_input(const std::string& path, const std::string& deck_folder);

}  // namespace rankine::deck
