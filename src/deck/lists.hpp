// Reads lists that a deck may leave out, such as train.gradient.
#pragma once

#include <string>
#include <vector>

#include "src/deck/node.hpp"

namespace rankine {

/// The elements of the list `key`, or none if the deck does not give the key. InputError if the value is no
/// list; the message shows `example`.
inline std::vector<DeckNode> list_in(const DeckNode& node, const std::string& key,
                                     const std::string& example) {
  if (!node.has(key)) return {};
  const DeckNode given = node.child(key);
  if (!given.is_sequence()) given.error("'" + key + "' must be a list, such as " + example);
  return given.items();
}

}  // namespace rankine
