// The key `sweep`, which makes a variant of each combination of values. Internal to src/deck.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/deck/tree.hpp"

namespace rankine::deck {

/// One of the variants that a sweep makes.
struct SweepPoint {
  std::string label;                 ///< the values as they are written in the deck, such as "16-0.1"
  std::shared_ptr<Tree> overrides;   ///< as nested mappings: dotted keys are expanded
  std::shared_ptr<Tree> smoke = {};  ///< the smoke sizes of this variant, or null
};

/// The variants of a sweep. A mapping of keys to lists of values makes one variant for each member of the
/// product, in which the last key varies fastest. A list of mappings makes one variant for each mapping of
/// overrides. An empty mapping, or null, makes none. Throws InputError.
std::vector<SweepPoint> sweep_points(const Tree::Entry& sweep);

}  // namespace rankine::deck
