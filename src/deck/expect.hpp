// Expectations: what a deck says about the metrics of its own run.
//
//   median(rel_l2[pi-hc-moe]) < 0.5 * median(rel_l2[pi-hc]) and max(not_a_minimum[pi-hc]) == 0
//   slope(log(mean(error[net-*])), log(model.width)) <= -0.35
//   p(mean(test_accuracy[ticket] - test_accuracy[reinit]) > 0) <= 0.05
//   void unless mean(train_accuracy[plain]) >= 0.99
//
//   expectation := [void unless] condition
//   condition   := comparison joined by `and`, `or`, `not`, parentheses; all(condition);
//                  monotone(sum, [sum over keys,] increasing | decreasing)
//   comparison  := sum (< | <= | > | >= | == | !=) sum
//   sum         := + - * / of numbers, parentheses, abs, sqrt, log, exp, statistics, fits and p-values
//   statistic   := mean | median | min | max | std ( sum of metrics ), over the seeds, paired seed by seed
//   metric      := name [variant], time_to(name >= number) [variant], censored(name >= number) [variant]
//   fit         := slope | r2 | pearson | spearman ( sum, sum over keys )
//   p-value     := p(mean(...) > sum), with < and != too; p(abs(mean(...)) < sum), which is equivalence;
//                  p(pearson(...) != 0); holm(p-values), the largest after Holm's correction
//
// In `all`, `monotone`, `holm` and fits a variant such as `net-*` stands for several, in the order of the
// deck; `*` is the same text everywhere within one of them. A key such as `model.width` is the number that
// each variant has there. The variant argmax(metric, a, b) or argmin(metric, net-*) is the one whose metric
// has the largest or smallest mean. Where a deck has one variant only, `metric` alone will do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace rankine {

/// The metric's value for each seed of the variant; empty if there is none.
using MetricLookup =
    std::function<std::vector<double>(const std::string& metric, const std::string& variant)>;

/// The number at a path of keys of the variant's sections; none if there is no number.
using KeyLookup = std::function<std::optional<double>(const std::string& variant, const std::string& path)>;

/// `undecided`: the sides are closer than their standard error, or a test shows neither the claim nor its
/// opposite. `nothing`: a condition of the deck (void unless) is not met, so that the run says nothing.
enum class Verdict { pass, fail, undecided, nothing };
/// "pass", "fail", "undecided", "void".
const char* verdict_name(Verdict verdict);

/// The first step at which an evaluation fulfils the comparison.
struct TimeTo {
  std::string metric;      ///< of the evaluations
  std::string comparison;  ///< "<", "<=", ">" or ">="
  double value = 0;
  bool censored = false;  ///< whether it was never reached, 1 or 0, instead of the time
  std::string name;       ///< of the metric that this makes: "time_to(validation_accuracy >= 0.8)"

  std::string name_of_time() const;
  std::string name_of_censored() const;
  /// `series`: step and value of each evaluation. The time is the last step where it was never reached; NaN
  /// where there are no evaluations.
  double of(std::span<const std::pair<std::int64_t, double>> series) const;
};

class Expectation {
 public:
  struct Outcome {
    Verdict verdict = Verdict::fail;
    bool holds = false;          ///< of the values as they are, whatever their standard error
    double left = 0, right = 0;  ///< of a single comparison; NaN for expressions with and, or, not, all
    /// Of left - right, by leaving out one seed at a time (the jackknife); NaN for less than two seeds.
    double standard_error = 0;
    std::string note;    ///< why it fails where no comparison says so: a value is NaN
    std::string remark;  ///< which variants were chosen, and how many runs are censored
  };

  /// Parses `text`; `where` precedes messages. Variants must be among `variants`, metrics among `metrics`
  /// (any metric if that is empty). Throws InputError.
  Expectation(const std::string& text, const std::string& where, const std::vector<std::string>& variants,
              const std::vector<std::string>& metrics = {}, const KeyLookup& keys = {});
  ~Expectation();
  Expectation(Expectation&&) noexcept;
  Expectation& operator=(Expectation&&) noexcept;

  const std::string& text() const { return text_; }
  /// Whether this is no claim, but says when the others say nothing.
  bool is_void_condition() const { return void_condition_; }
  /// Variants that it speaks of.
  const std::vector<std::string>& variants() const { return used_variants_; }
  /// Whether it reads this metric of this variant.
  bool reads(const std::string& metric, const std::string& variant) const;
  /// Metrics that are made of evaluations, for each comparison the time and whether it is censored.
  const std::vector<TimeTo>& times() const { return times_; }

  /// A value that is NaN, or missing, makes it fail, whatever stands around it.
  Outcome evaluate(const MetricLookup& lookup) const;

  struct Term;

 private:
  std::string text_;
  std::unique_ptr<Term> root_;
  bool void_condition_ = false;
  std::vector<std::string> used_variants_;
  std::vector<std::pair<std::string, std::string>> read_;  // metric and variant
  std::vector<TimeTo> times_;
};

}  // namespace rankine
