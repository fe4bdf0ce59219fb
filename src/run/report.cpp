#include "src/run/report.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace rankine {
namespace {

struct Spread {
  double mean = 0, deviation = 0;
};

Spread spread(const std::vector<double>& values) {
  Spread result;
  for (const double v : values) result.mean += v / static_cast<double>(values.size());
  for (const double v : values) result.deviation += (v - result.mean) * (v - result.mean);
  if (values.size() > 1)
    result.deviation = std::sqrt(result.deviation / static_cast<double>(values.size() - 1));
  return result;
}

std::string cell(const std::vector<double>& values) {
  if (values.empty()) return "-";
  const Spread s = spread(values);
  if (std::isnan(s.mean)) return "-";
  return values.size() == 1 ? fmt::format("{:.4g}", s.mean)
                            : fmt::format("{:.4g} +- {:.1g}", s.mean, s.deviation);
}

}  // namespace

std::string metrics_table(const std::vector<const VariantMetrics*>& variants) {
  std::vector<std::vector<std::string>> rows{{""}};
  std::size_t seeds = 0;
  for (const VariantMetrics* variant : variants) {
    rows[0].push_back(variant->variant);
    for (const auto& [name, values] : variant->values) seeds = std::max(seeds, values.size());
  }
  for (const VariantMetrics* first : variants) {
    for (const MetricInfo& metric : first->metrics) {
      const std::string label =
          metric.unit.empty() || metric.unit == "1" ? metric.name : metric.name + " [" + metric.unit + "]";
      const bool shown =
          std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row[0] == label; });
      if (shown) continue;
      rows.push_back({label});
      for (const VariantMetrics* variant : variants) {
        const auto values = variant->values.find(metric.name);
        rows.back().push_back(values == variant->values.end() ? "-" : cell(values->second));
      }
    }
  }
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = fmt::format("{:<{}}", row[0], widths[0]);
    for (std::size_t c = 1; c < row.size(); ++c) line += fmt::format("  {:>{}}", row[c], widths[c]);
    text += line + "\n";
  }
  return text + (seeds > 1 ? fmt::format("(mean +- standard deviation over {} seeds)\n", seeds) : "");
}

Verdicts judge(const std::vector<Expectation>& expectations,
               const std::vector<const VariantMetrics*>& variants) {
  const auto find = [&](const std::string& name) -> const VariantMetrics* {
    for (const VariantMetrics* variant : variants) {
      if (variant->variant == name) return variant;
    }
    return nullptr;
  };
  const MetricLookup lookup = [&](const std::string& metric, const std::string& variant) {
    const auto values = find(variant)->values.find(metric);
    return values == find(variant)->values.end() ? std::vector<double>{} : values->second;
  };
  const auto was_run = [&](const Expectation& expectation) {
    return std::all_of(expectation.variants().begin(), expectation.variants().end(),
                       [&](const std::string& variant) { return find(variant) != nullptr; });
  };
  std::vector<Expectation::Outcome> outcomes(expectations.size());
  bool says_nothing = false;
  for (std::size_t i = 0; i < expectations.size(); ++i) {
    if (!was_run(expectations[i])) continue;
    outcomes[i] = expectations[i].evaluate(lookup);
    says_nothing = says_nothing || (expectations[i].is_void_condition() && !outcomes[i].holds);
  }
  Verdicts verdicts;
  for (std::size_t i = 0; i < expectations.size(); ++i) {
    const Expectation& expectation = expectations[i];
    Expectation::Outcome& outcome = outcomes[i];
    if (!was_run(expectation)) {
      verdicts.text += "  not checked  " + expectation.text() + "  (--only left a variant out)\n";
      continue;
    }
    if (expectation.is_void_condition()) outcome.verdict = outcome.holds ? Verdict::pass : Verdict::nothing;
    if (says_nothing) outcome.verdict = Verdict::nothing;
    std::string sides = outcome.note;
    const auto add = [&](const std::string& text) { sides += (sides.empty() ? "" : ", ") + text; };
    if (sides.empty() && !std::isnan(outcome.left)) {
      add(fmt::format("{:.4g} and {:.4g}", outcome.left, outcome.right));
      if (std::isfinite(outcome.standard_error)) {
        add(fmt::format("{:.2g} apart, standard error {:.2g}", outcome.left - outcome.right,
                        outcome.standard_error));
      }
    }
    if (!outcome.remark.empty()) add(outcome.remark);
    verdicts.text += fmt::format("  {:<9}  {}{}\n", verdict_name(outcome.verdict), expectation.text(),
                                 sides.empty() ? "" : "  (" + sides + ")");
    verdicts.results.push_back({expectation.text(), outcome.holds, outcome.left, outcome.right,
                                outcome.standard_error, verdict_name(outcome.verdict)});
    verdicts.all_true = verdicts.all_true && outcome.holds && outcome.verdict != Verdict::nothing;
  }
  return verdicts;
}

}  // namespace rankine
