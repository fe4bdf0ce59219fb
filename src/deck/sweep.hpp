// `sweep:`, which makes variants of the values of keys. Internal to src/deck.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/deck/tree.hpp"

namespace rankine::deck {

/// One of the variants that a sweep makes.
struct SweepPoint {
  std::string label;                 ///< "16-0.1": values as they were written
  std::shared_ptr<Tree> overrides;   ///< without dotted keys
  std::shared_ptr<Tree> smoke = {};  ///< its smoke sizes, if it has some
};

/// A mapping of keys to lists of values makes their product, of which the last key varies fastest; a list of
/// mappings of overrides makes one for each. An empty mapping, or nothing, makes none. Throws InputError.
std::vector<SweepPoint> sweep_points(const Tree::Entry& sweep);

}  // namespace rankine::deck
