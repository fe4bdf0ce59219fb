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

/// Looks up the metric's value for each seed of the variant; empty if the variant has no such metric.
using MetricLookup =
    std::function<std::vector<double>(const std::string& metric, const std::string& variant)>;

/// Looks up the number at a path of keys in the variant's sections; nothing if there is no number.
using KeyLookup = std::function<std::optional<double>(const std::string& variant, const std::string& path)>;

/// `undecided`: the two sides differ by less than the standard error, or a test supports neither the claim
/// nor its opposite. `nothing`: a condition `void unless` does not hold, so that the other expectations mean
/// nothing.
enum class Verdict { pass, fail, undecided, nothing };
/// The verdict as text: "pass", "fail", "undecided" or "void" (for `nothing`).
const char* verdict_name(Verdict verdict);

/// A metric derived from evaluations: the first step at which an evaluation's metric satisfies a comparison.
struct TimeTo {
  std::string metric;      ///< the metric of the evaluations that is compared
  std::string comparison;  ///< "<", "<=", ">" or ">="
  double value = 0;
  bool censored = false;  ///< true: the derived metric is 1 if no evaluation satisfied it, else 0
  std::string name;       ///< of the derived metric, such as "time_to(validation_accuracy >= 0.8)"

  std::string name_of_time() const;
  std::string name_of_censored() const;
  /// The derived metric for `series`, which holds step and value of each evaluation. If none satisfied the
  /// comparison, the time is the last step. NaN if there are no evaluations.
  double of(std::span<const std::pair<std::int64_t, double>> series) const;
};

class Expectation {
 public:
  struct Outcome {
    Verdict verdict = Verdict::fail;
    bool holds = false;          ///< for the measured values, regardless of their standard error
    double left = 0, right = 0;  ///< sides of a single comparison; NaN for expressions with and, or, not, all
    /// Standard error of left - right by the jackknife, which leaves out one seed at a time; NaN for fewer
    /// than two seeds.
    double standard_error = 0;
    std::string note;    ///< the reason of a failure that no comparison shows, such as a value that is NaN
    std::string remark;  ///< which variants were chosen, and how many runs are censored
  };

  /// Parses `text`; messages begin with `where`. The variants in it must be among `variants`, and the metrics
  /// among `metrics`, unless that is empty. Throws InputError.
  Expectation(const std::string& text, const std::string& where, const std::vector<std::string>& variants,
              const std::vector<std::string>& metrics = {}, const KeyLookup& keys = {});
  ~Expectation();
  Expectation(Expectation&&) noexcept;
  Expectation& operator=(Expectation&&) noexcept;

  const std::string& text() const { return text_; }
  /// Whether this is a condition `void unless`, on which the other expectations depend.
  bool is_void_condition() const { return void_condition_; }
  /// Names of the variants in the expectation.
  const std::vector<std::string>& variants() const { return used_variants_; }
  /// Whether the expectation reads this metric of this variant.
  bool reads(const std::string& metric, const std::string& variant) const;
  /// The metrics that the expectation derives from evaluations: for each comparison the time, and whether it
  /// is censored.
  const std::vector<TimeTo>& times() const { return times_; }

  /// An expectation with a value that is NaN or missing fails, also where `or` or `not` would make it hold.
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
