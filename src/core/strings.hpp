// Small text helpers for messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rankine {

/// Number of insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
int edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, or "" if none is near enough to have been meant.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean 'x'?", or "" if no candidate is near. To be appended to a message.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

/// The text with the seed in the place of each "{seed}".
std::string with_seed(std::string text, std::int64_t seed);

/// The words in one string, with `separator` between them.
std::string join(const std::vector<std::string>& words, std::string_view separator = ", ");

/// The shortest decimal text that reads back as the same double: 0.1, 1e-08, nan.
std::string shortest(double value);

/// The text with unprintable bytes escaped and cut after `limit` characters: what a message may quote of user
/// input.
std::string printable(std::string_view text, std::size_t limit = 60);

}  // namespace rankine
