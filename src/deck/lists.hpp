// Lists of a deck that may be left out, such as train.gradient.
#pragma once

#include <string>
#include <vector>

#include "src/deck/node.hpp"

namespace rankine {

/// Elements of the list `key`; none where it is not given. InputError, with the `example`, where it is no
/// list.
inline std::vector<DeckNode> list_in(const DeckNode& node, const std::string& key,
                                     const std::string& example) {
  if (!node.has(key)) return {};
  const DeckNode given = node.child(key);
  if (!given.is_sequence()) given.error("'" + key + "' must be a list, such as " + example);
  return given.items();
}

}  // namespace rankine
