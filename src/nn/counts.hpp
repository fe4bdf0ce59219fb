// What a network costs, computed from its blocks and parameters: nothing is run.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/nn/network.hpp"

namespace rankine {

/// Of one block or of a whole network.
struct Counts {
  std::string name;                  ///< of the block; "all"
  double forward_multiply_adds = 0;  ///< of one pass over one sample, without those by masked weights
  double parameters = 0;             ///< trainable numbers
  double nonzeros = 0;               ///< of them, those that no mask holds at zero
  /// All parameters, frozen ones too: a part with zeros takes its non-zeros and one bit for each entry, where
  /// that is less than all of it.
  double parameter_bytes = 0;

  Counts& operator+=(const Counts& more);
};

/// Entries that masks keep, by the name of the part; a part that is not named keeps all.
using KeptEntries = std::map<std::string, std::int64_t>;

/// Of each block, in order, and last of all of them. `edges`: entries of the graph, where blocks work on one.
/// A weight that `parametrise` expresses counts as the matrix that the expression gives.
std::vector<Counts> count_network(const Network& network, const ParameterSet& parameters,
                                  const KeptEntries& kept, std::int64_t edges);

}  // namespace rankine
