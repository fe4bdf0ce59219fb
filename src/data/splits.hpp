// Which examples belong to which split.
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

/// One thing of each split.
template <class T>
struct PerSplit {
  std::array<T, 3> of;
  T& operator[](Split split) { return of[static_cast<std::size_t>(split)]; }
  const T& operator[](Split split) const { return of[static_cast<std::size_t>(split)]; }
};

/// Ids of the examples of each split.
using SplitIds = PerSplit<std::vector<std::int64_t>>;

/// Throws InputError, at `node`, where an id stands twice: names the splits and the first ids that they
/// share.
void check_disjoint(const SplitIds& ids, const DeckNode& node);

/// Rows that a deck deals to the splits by their numbers: begin, end pairs, the end not included.
struct RowRanges {
  std::vector<int> train, validation, test;
  void options(OptionVisitor& o);
};

/// The rows of `ranges` out of `count`. Throws InputError, at `node`, for ranges that are no pairs, empty,
/// beyond the rows, or that overlap.
SplitIds rows_of(const RowRanges& ranges, std::int64_t count, const DeckNode& node);

}  // namespace rankine
