// A variant's `match`: widths of its model are chosen so that a count comes nearest to another variant's.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/node.hpp"

namespace rankine {

struct MatchOptions {
  std::string forward_multiply_adds, nonzeros, parameters;
  std::vector<std::string> by{};
  double times = 1, within = 0.02;

  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
  /// The count, and the variant that it is taken from.
  std::pair<std::string, std::string> target() const;
};

struct Match {
  std::string text;  ///< "match: blocks[1].units 6: nonzeros 4780 against 4934, that of 'sparse': -3.12 %"
  double difference = 0;  ///< of the count, relative to the target
};

using VariantCounts = std::map<std::string, double>;

/// Reads `match` of a variant, puts the widths that it finds into the variant's `model`, and takes `match`
/// out. All widths are those of the deck times one factor, rounded, and at least 1; the factor is such that
/// the largest is whole. `count` gives the counts of a variant as its experiment would see it, `other` those
/// of a variant by its name. InputError where a key names no width, where the count does not depend on them,
/// and, if `strict`, where the nearest is not within the tolerance.
Match match_widths(const DeckNode& variant, const std::function<VariantCounts(const DeckNode&)>& count,
                   const std::function<VariantCounts(const std::string& name)>& other, bool strict);

}  // namespace rankine
