// When a probe looks at the parameters: a probe's `every`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/deck/node.hpp"

namespace rankine {

/// What a deck may write for `every`, for the help of that option.
inline constexpr const char* moments_help =
    "when it measures: after every so many steps, at ten places a decade (log), before the first step "
    "(start), after the last (end), or at both (ends); all but `start` measure after the last step too";

/// The numbers of steps, of `total`, after which a probe with this `every` measures.
std::vector<std::int64_t> moments(const std::string& every, std::int64_t total);

/// What the names of tables and metrics about a snapshot end with.
std::string suffix_of(const std::string& snapshot);

/// Throws InputError at the probe's place in the deck where `every` is none of these.
void check_moments(const std::string& every, const DeckNode& probe);

}  // namespace rankine
