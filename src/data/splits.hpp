// The division of examples into training, validation and test splits.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "src/data/dataset.hpp"
#include "src/deck/node.hpp"
#include "src/deck/options.hpp"

namespace rankine {

inline constexpr std::array<Split, 3> all_splits{Split::training, Split::validation, Split::test};

/// One value for each split.
template <class T>
struct PerSplit {
  std::array<T, 3> of;
  T& operator[](Split split) { return of[static_cast<std::size_t>(split)]; }
  const T& operator[](Split split) const { return of[static_cast<std::size_t>(split)]; }
};

/// The ids of the examples of each split.
using SplitIds = PerSplit<std::vector<std::int64_t>>;

/// Throws InputError, with the place of `node`, if splits share an id. The message names the splits and the
/// first ids that they share.
void check_disjoint(const SplitIds& ids, const DeckNode& node);

/// The rows of each split, as pairs of begin and end; the end is not included.
struct RowRanges {
  std::vector<int> train, validation, test;
  void options(OptionVisitor& o);
};

/// The rows that `ranges` names, of `count` rows. Throws InputError, with the place of `node`, for ranges
/// that are no pairs, are empty, lie beyond the rows, or overlap.
SplitIds rows_of(const RowRanges& ranges, std::int64_t count, const DeckNode& node);

}  // namespace rankine
