// Expectations: what a deck says about the metrics of its own run.
//
//   median(rel_l2[pi-hc-moe]) < 0.5 * median(rel_l2[pi-hc]) and max(not_a_minimum[pi-hc]) == 0
//
//   expression := comparison joined by `and`, `or`, `not`, parentheses
//   comparison := sum (< | <= | > | >= | == | !=) sum
//   sum        := + - * / of numbers, parentheses, abs(sum), sqrt(sum) and statistics
//   statistic  := mean | median | min | max | std ( metric[variant] ), over the seeds
//
// Where a deck has one variant only, `metric` alone will do.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rankine {

/// The metric's value for each seed of the variant; empty if there is none.
using MetricLookup =
    std::function<std::vector<double>(const std::string& metric, const std::string& variant)>;

class Expectation {
 public:
  struct Outcome {
    bool verdict = false;
    double left = 0, right = 0;  ///< of a single comparison; NaN for expressions with and, or, not
    /// Of left - right, by leaving out one seed at a time (the jackknife); NaN for less than two seeds. A
    /// verdict whose margin is smaller is undecided.
    double standard_error = 0;
    std::string note;  ///< why it is false where no comparison says so: a value is NaN
  };

  /// Parses `text`; `where` precedes messages. Variants must be among `variants`, metrics among `metrics`
  /// (any metric if that is empty). Throws InputError.
  Expectation(const std::string& text, const std::string& where, const std::vector<std::string>& variants,
              const std::vector<std::string>& metrics = {});
  ~Expectation();
  Expectation(Expectation&&) noexcept;
  Expectation& operator=(Expectation&&) noexcept;

  const std::string& text() const { return text_; }
  /// Variants that it speaks of.
  const std::vector<std::string>& variants() const { return used_variants_; }
  /// Whether it reads this metric of this variant.
  bool reads(const std::string& metric, const std::string& variant) const;

  /// A value that is NaN, or missing, makes the verdict false, whatever stands around it.
  Outcome evaluate(const MetricLookup& lookup) const;

  struct Term;

 private:
  std::string text_;
  std::unique_ptr<Term> root_;
  std::vector<std::string> used_variants_;
  std::vector<std::pair<std::string, std::string>> read_;  // metric and variant
};

}  // namespace rankine
