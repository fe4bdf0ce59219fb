// `use:`, the parts that decks share. Internal to src/deck.
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

  /// Takes `use` out of the mapping `user`, which stands in `file`. The fragments that it names, each behind
  /// those that it uses itself: what comes later is laid over what comes before. Throws InputError.
  std::vector<std::shared_ptr<Tree>> take(Tree& user, const std::string& file);

  /// Everything read so far, each once.
  const std::vector<DeckFragment>& read() const { return taken_; }

 private:
  void add(Tree& user, std::vector<std::string>& chain, std::vector<std::shared_ptr<Tree>>& layers);
  DeckFragment fetch(const Tree& name, const std::string& from);

  FragmentReader read_;
  std::vector<DeckFragment> taken_;
  int uses_ = 0;
};

}  // namespace rankine::deck
