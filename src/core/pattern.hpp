// Names chosen by patterns with '*'.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace rankine {

/// Whether `name` is `pattern`, in which each '*' stands for any characters or none and, with
/// `question_marks`, each '?' for any one character.
inline bool matches(std::string_view pattern, std::string_view name, bool question_marks = false) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, after = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = n;
    } else if (p < pattern.size() && (pattern[p] == name[n] || (question_marks && pattern[p] == '?'))) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++after;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

inline bool matches_any(const std::vector<std::string>& patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return matches(pattern, name); });
}

}  // namespace rankine
