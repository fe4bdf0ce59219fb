#include "src/probe/moments.hpp"

#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "src/core/strings.hpp"

namespace rankine {
namespace {

std::optional<std::int64_t> number_in(const std::string& text) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && value > 0 ? std::optional(value) : std::nullopt;
}

}  // namespace

std::vector<std::int64_t> moments(const std::string& every, std::int64_t total) {
  std::set<std::int64_t> out;
  if (every != "end") out.insert(0);
  if (every == "log")
    for (int i = 0; std::pow(10, 0.1 * i) < static_cast<double>(total); ++i)
      out.insert(std::llround(std::pow(10, 0.1 * i)));
  if (const std::optional<std::int64_t> interval = number_in(every))
    for (std::int64_t step = 0; step < total; step += *interval) out.insert(step);
  if (every != "start") out.insert(total);
  return {out.begin(), out.end()};
}

std::string suffix_of(const std::string& snapshot) {
  std::string out = "_" + snapshot;
  for (char& c : out)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return out;
}

void check_moments(const std::string& every, const DeckNode& probe) {
  for (const char* word : {"log", "start", "end", "ends"})
    if (every == word) return;
  if (number_in(every)) return;
  probe.error_at("every", "every: '" + printable(every) +
                              "' is no moment; give a number of steps of at least 1, or log, start, end, or "
                              "ends");
}

}  // namespace rankine
