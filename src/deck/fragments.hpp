// Fragments: parts of decks that several decks share by the key `use`. Internal to src/deck.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/deck/deck.hpp"
#include "src/deck/tree.hpp"

namespace rankine::deck {

class Fragments {
 public:
  explicit Fragments(FragmentReader read) : read_(std::move(read)) {}

  /// Removes `use` from the mapping `user`, which was read from `file`, and returns the fragments that it
  /// names, in increasing precedence. A fragment comes after those that it uses itself. Throws InputError.
  std::vector<std::shared_ptr<Tree>> take(Tree& user, const std::string& file);

  /// All fragments that have been read by now, each of them once.
  const std::vector<DeckFragment>& read() const { return taken_; }

 private:
  void add(Tree& user, std::vector<std::string>& chain, std::vector<std::shared_ptr<Tree>>& layers);
  DeckFragment fetch(const Tree& name, const std::string& from);

  FragmentReader read_;
  std::vector<DeckFragment> taken_;
  int uses_ = 0;
};

}  // namespace rankine::deck
