// The blocks of a network that a probe looks at: a probe's `blocks`.
#pragma once

#include <string>
#include <vector>

#include "src/nn/network.hpp"

namespace rankine {

/// What a deck may write for `blocks`, for the help of that option.
inline constexpr const char* blocks_help =
    "first and last block, counted from 0, that the probe looks at (empty: all)";

/// Their numbers. Throws InputError where there are no such blocks.
std::vector<int> block_range(const std::vector<int>& blocks, const Network& network);
/// Of these those whose output has the shape of their input. Throws InputError where there are none.
std::vector<int> square_blocks(const std::vector<int>& blocks, const Network& network);
std::vector<std::string> names_of(const std::vector<int>& blocks, const Network& network);

}  // namespace rankine
