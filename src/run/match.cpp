#include "src/run/match.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "src/core/strings.hpp"

namespace rankine {

void MatchOptions::options(OptionVisitor& o) {
  o("forward_multiply_adds", forward_multiply_adds,
    {.help = "variant above whose multiply-adds of one sample's forward pass are the target"});
  o("nonzeros", nonzeros,
    {.help = "variant above whose parameters that no mask holds at zero are the target"});
  o("parameters", parameters, {.help = "variant above whose number of parameters is the target"});
  o("by", by,
    {.help = "whole numbers of this variant's `model` that are scaled together, such as blocks[0].channels",
     .required = true,
     .min_size = 1});
  o("times", times, {.help = "factor on the other variant's count", .min = 0, .exclusive_min = true});
  o("within", within, {.help = "largest difference that is left, relative to the target", .min = 0});
}

void MatchOptions::validate(const DeckNode& node) const {
  if (int{!forward_multiply_adds.empty()} + int{!nonzeros.empty()} + int{!parameters.empty()} != 1)
    node.error("match: give the variant of one count: forward_multiply_adds, nonzeros or parameters");
}

std::pair<std::string, std::string> MatchOptions::target() const {
  if (!nonzeros.empty()) return {"nonzeros", nonzeros};
  if (!parameters.empty()) return {"parameters", parameters};
  return {"forward_multiply_adds", forward_multiply_adds};
}

Match match_widths(const DeckNode& variant, const std::function<VariantCounts(const DeckNode&)>& count,
                   const std::function<VariantCounts(const std::string& name)>& other, bool strict) {
  const DeckNode node = variant.child("match"), model = variant.child("model");
  MatchOptions options;
  node.read(options);
  const auto [what, from] = options.target();
  const auto find = [&, &what = what](const VariantCounts& counts, const std::string& whose) {
    const auto found = counts.find(what);
    if (found == counts.end())
      node.error_at(what, fmt::format("{}: of {} it is not known before training; name a variant whose "
                                      "masks follow from the deck alone, in scope: layer",
                                      what, whose));
    return found->second;
  };
  std::vector<long> given;
  for (const std::string& key : options.by) {
    const std::optional<long> width = model.integer_at(key);
    if (!width || *width < 1)
      node.error_at("by", fmt::format("by: '{}' names no whole number from 1 on that the variant's `model` "
                                      "gives; such a key is blocks[0].channels",
                                      printable(key)));
    given.push_back(*width);
  }
  const long largest = *std::max_element(given.begin(), given.end());
  const auto put = [&](const DeckNode& into, long width) {
    for (std::size_t k = 0; k < given.size(); ++k) {
      const double scaled =
          static_cast<double>(given[k]) * static_cast<double>(width) / static_cast<double>(largest);
      into.set_integer(options.by[k], std::max(1L, std::lround(scaled)));
    }
  };
  variant.drop("match");
  const double target = options.times * find(other(from), "'" + from + "'");
  const auto at = [&](long width) {
    const DeckNode trial = variant.copy();
    put(trial.child("model"), width);
    return find(count(trial), "this variant");
  };
  // The least width whose count is not below the target.
  long low = 0, high = largest;
  double above = at(high), below = 0;
  while (above < target) {
    low = high;
    below = above;
    high *= 2;
    above = at(high);
    if (above <= below)
      node.error_at("by", fmt::format("by: {} does not grow with {}", what, join(options.by)));
  }
  while (high - low > 1) {
    const long middle = low + (high - low) / 2;
    const double value = at(middle);
    (value < target ? low : high) = middle;
    (value < target ? below : above) = value;
  }
  const bool lower = low > 0 && target - below <= above - target;
  put(model, lower ? low : high);
  const double found = lower ? below : above, difference = found / target - 1;
  std::string widths;
  for (const std::string& key : options.by)
    widths += fmt::format("{}{} {}", widths.empty() ? "" : ", ", key, *model.integer_at(key));
  const std::string whose = options.times == 1 ? "" : fmt::format("{} times ", options.times);
  const std::string text = fmt::format("match: {}: {} {:.0f} against {:.0f}, {}that of '{}': {:+.2f} %",
                                       widths, what, found, target, whose, from, 100 * difference);
  if (strict && std::abs(difference) > options.within)
    node.error(fmt::format("{}; that is more than within: {}. Scale other keys together, or raise `within`",
                           text, options.within));
  return {text, difference};
}

}  // namespace rankine
