#include "src/deck/expect.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/statistics/bivariate_statistics.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/deck/expect_term.hpp"

namespace rankine {

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return "pass";
    case Verdict::fail:
      return "fail";
    case Verdict::undecided:
      return "undecided";
    case Verdict::nothing:
      return "void";
  }
  return "";
}

namespace {

using Term = Expectation::Term;
using Values = std::vector<double>;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

bool compare(const std::string& op, double left, double right) {
  if (op == "<") return left < right;
  if (op == "<=") return left <= right;
  if (op == ">") return left > right;
  if (op == ">=") return left >= right;
  return op == "==" ? left == right : left != right;
}

/// Ranks from 1; equal values share the mean of theirs.
Values ranks(const Values& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  Values result(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) result[order[i]] = 0.5 * static_cast<double>(begin + end + 1);
    begin = end;
  }
  return result;
}

/// Probability that Student's t of so many degrees of freedom is above `t`.
double above(double t, double freedom) {
  if (std::isinf(t)) return t > 0 ? 0 : 1;
  return boost::math::cdf(boost::math::complement(boost::math::students_t(freedom), t));
}

class Evaluation {
 public:
  explicit Evaluation(const MetricLookup& lookup) : lookup_(lookup) {}

  std::string note;
  std::vector<std::string> chosen;  ///< the variants that argmax and argmin have chosen
  bool opposite = false;            ///< whether p-values are those of the opposite claims

  double number(const Term& term) {
    switch (term.kind) {
      case Term::Kind::number:
        return term.number;
      case Term::Kind::key:
        return term.values[star_];
      case Term::Kind::statistic:
        return statistic(term);
      case Term::Kind::function:
        return function(term.name, number(*term.parts[0]));
      case Term::Kind::arithmetic: {
        const double left = number(*term.parts[0]);
        return term.name == "negative" ? -left : arithmetic(term.name, left, number(*term.parts[1]));
      }
      case Term::Kind::fit:
        return fit(term);
      case Term::Kind::test:
        return test(*term.parts[0]);
      case Term::Kind::holm:
        return holm(term);
      case Term::Kind::metric:
      case Term::Kind::comparison:
      case Term::Kind::logic:
      case Term::Kind::all:
        break;
    }
    return nan;
  }

  /// The values of the part, one for each text that * stands for.
  template <class F>
  void over_family(const Term& family, F&& use) {
    const std::size_t count = family.stars.size(), before = star_;
    const std::vector<std::string>* stars = std::exchange(stars_, &family.stars);
    for (star_ = 0; star_ < count; ++star_) use();
    star_ = before;
    stars_ = stars;
  }

 private:
  void say(const std::string& what) {
    if (note.empty()) note = what;
  }

  double function(const std::string& name, double value) {
    const double result = name == "abs"    ? std::abs(value)
                          : name == "sqrt" ? std::sqrt(value)
                          : name == "log"  ? std::log(value)
                                           : std::exp(value);
    if (std::isnan(result) && !std::isnan(value)) say(name + " of " + shortest(value) + " is NaN");
    return result;
  }

  double arithmetic(const std::string& op, double left, double right) {
    const double result = op == "+"   ? left + right
                          : op == "-" ? left - right
                          : op == "*" ? left * right
                                      : left / right;
    if (std::isnan(result)) say(shortest(left) + " " + op + " " + shortest(right) + " is NaN");
    return result;
  }

  std::string variant_of(const Term& metric) {
    if (metric.choice.empty())
      return stars_ == nullptr ? metric.variant : with_star(metric.variant, (*stars_)[star_]);
    std::string best;
    double best_mean = nan;
    for (const std::string& variant : metric.chosen) {
      const Values values = lookup_(metric.choice_of, variant);
      const double mean =
          std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
      if (std::isnan(mean)) say(metric.choice_of + "[" + variant + "] has no value or is NaN");
      const bool better = metric.choice == "argmax" ? mean > best_mean : mean < best_mean;
      if (best.empty() || better) {
        best = variant;
        best_mean = mean;
      }
    }
    const std::string remark = metric.choice + "(" + metric.choice_of + ") is " + best;
    if (std::find(chosen.begin(), chosen.end(), remark) == chosen.end()) chosen.push_back(remark);
    return best;
  }

  /// `shown` is the text of the statistic, for notes.
  Values seeds(const Term& term, const std::string& shown) {
    if (term.kind == Term::Kind::metric) {
      const std::string variant = variant_of(term);
      Values values = lookup_(term.metric, variant);
      if (values.empty()) say(shown + " has no value");
      if (std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); }))
        say(shown + " is NaN");
      return values;
    }
    if (!term.per_seed) return {number(term)};
    Values left = seeds(*term.parts[0], shown);
    if (term.kind == Term::Kind::function || term.name == "negative") {
      for (double& v : left) v = term.name == "negative" ? -v : function(term.name, v);
      return left;
    }
    Values right = seeds(*term.parts[1], shown);
    if (left.empty() || right.empty()) return {};
    if (!term.parts[0]->per_seed) left.resize(right.size(), left.front());
    if (!term.parts[1]->per_seed) right.resize(left.size(), right.front());
    if (left.size() != right.size()) {
      say(shown + " pairs " + std::to_string(left.size()) + " seeds with " + std::to_string(right.size()));
      return {};
    }
    for (std::size_t i = 0; i < left.size(); ++i) left[i] = arithmetic(term.name, left[i], right[i]);
    return left;
  }

  std::string shown(const Term& statistic) const {
    const Term& part = *statistic.parts[0];
    std::string text = statistic.text;
    if (part.kind == Term::Kind::metric && part.choice.empty()) text = part.metric + "[" + part.variant + "]";
    return statistic.name + "(" + (stars_ == nullptr ? text : with_star(text, (*stars_)[star_])) + ")";
  }

  double statistic(const Term& term) {
    Values values = seeds(*term.parts[0], shown(term));
    const bool missing =
        values.empty() || std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
    if (missing) return nan;
    const auto count = static_cast<double>(values.size());
    std::sort(values.begin(), values.end());
    if (term.name == "min") return values.front();
    if (term.name == "max") return values.back();
    if (term.name == "median") {
      const std::size_t half = values.size() / 2;
      return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
    }
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    return term.name == "mean" ? mean : deviation(values, mean, shown(term));
  }

  double deviation(const Values& values, double mean, const std::string& shown) {
    if (values.size() < 2) {
      say(shown + " needs two seeds at least");
      return nan;
    }
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    return std::sqrt(squares / static_cast<double>(values.size() - 1));
  }

  double fit(const Term& term) {
    Values y, x;
    over_family(term, [&] {
      y.push_back(number(*term.parts[0]));
      x.push_back(term.parts.size() > 1 ? number(*term.parts[1]) : static_cast<double>(star_));
    });
    const auto finite = [](double v) { return std::isfinite(v); };
    if (!std::all_of(y.begin(), y.end(), finite) || !std::all_of(x.begin(), x.end(), finite)) {
      say(term.name + ": a value is not finite");
      return nan;
    }
    if (term.name == "increasing" || term.name == "decreasing")
      return smallest_step(x, y, term.name == "increasing");
    if (term.name == "spearman") {
      y = ranks(y);
      x = ranks(x);
    }
    const double spread_x = boost::math::statistics::covariance(x, x),
                 spread_y = boost::math::statistics::covariance(y, y);
    if (spread_x == 0 || (spread_y == 0 && term.name != "slope")) {
      say(term.name + ": " + (spread_x == 0 ? "the key has" : "the values are") + " the same everywhere");
      return nan;
    }
    const double covariance = boost::math::statistics::covariance(x, y);
    if (term.name == "slope") return covariance / spread_x;
    const double r = std::clamp(covariance / std::sqrt(spread_x * spread_y), -1.0, 1.0);
    return term.name == "r2" ? r * r : r;
  }

  static double smallest_step(const Values& x, const Values& y, bool increasing) {
    std::vector<std::size_t> order(x.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] < x[b]; });
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 1; i < order.size(); ++i)
      least = std::min(least, (y[order[i]] - y[order[i - 1]]) * (increasing ? 1 : -1));
    return least;
  }

  /// The p-value of a one-sided Student's t-test: the probability, if the claim is false, of values that
  /// support it at least as strongly as these.
  double test(const Term& claim) {
    const Term& left = *claim.parts[0];
    const double bound = number(*claim.parts[1]);
    double t = 0, freedom = 0;
    const bool is_size = left.kind == Term::Kind::function;
    double error = 0, mean = 0;
    if (left.kind == Term::Kind::fit) {
      const double r = number(left);
      freedom = static_cast<double>(left.stars.size()) - 2;
      t = r * std::sqrt(freedom / (1 - r * r));
    } else {
      const Term& statistic = is_size ? *left.parts[0] : left;
      const Values values = seeds(*statistic.parts[0], shown(statistic));
      const auto count = static_cast<double>(values.size());
      mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
      error = deviation(values, mean, shown(statistic)) / std::sqrt(count);
      freedom = count - 1;
      t = ratio(mean - bound, error);
    }
    if (std::isnan(t) || std::isnan(bound)) {
      say("p is NaN");
      return nan;
    }
    if (claim.name == "!=") return opposite ? 1 : std::min(1.0, 2 * above(std::abs(t), freedom));
    double p = claim.name.starts_with('>') ? above(t, freedom) : above(-t, freedom);
    if (is_size) p = std::max(p, above(ratio(mean + bound, error), freedom));  // two one-sided tests
    return opposite ? 1 - p : p;
  }

  /// The difference in standard errors. Without spread it is infinite, or 0 if there is no difference.
  static double ratio(double difference, double error) { return difference == 0 ? 0 : difference / error; }

  double holm(const Term& term) {
    Values p;
    for (const auto& part : term.parts) {
      if (term.stars.empty()) {
        p.push_back(number(*part));
      } else {
        over_family(term, [&] { p.push_back(number(*part)); });
      }
    }
    if (std::any_of(p.begin(), p.end(), [](double v) { return std::isnan(v); })) return nan;
    std::sort(p.begin(), p.end());
    const auto count = static_cast<double>(p.size());
    if (opposite) return std::min(1.0, count * p.front());  // the p-value of "at least one claim is false"
    double adjusted = 0;
    for (std::size_t i = 0; i < p.size(); ++i)
      adjusted = std::max(adjusted, std::min(1.0, (count - static_cast<double>(i)) * p[i]));
    return adjusted;
  }

  const MetricLookup& lookup_;
  const std::vector<std::string>* stars_ = nullptr;
  std::size_t star_ = 0;
};

/// The jackknife's standard error sqrt((n - 1) / n sum_i (d_i - mean d)^2), where d_i is `difference` without
/// seed i.
template <class F>
double jackknife(F&& difference, const MetricLookup& lookup) {
  std::size_t seeds = 0;
  difference([&](const std::string& metric, const std::string& variant) {
    Values values = lookup(metric, variant);
    seeds = std::max(seeds, values.size());
    return values;
  });
  if (seeds < 2) return nan;
  Values without;
  for (std::size_t left_out = 0; left_out < seeds; ++left_out)
    without.push_back(difference([&](const std::string& metric, const std::string& variant) {
      Values values = lookup(metric, variant);
      if (left_out < values.size()) values.erase(values.begin() + static_cast<std::ptrdiff_t>(left_out));
      return values;
    }));
  const double n = static_cast<double>(seeds),
               mean = std::accumulate(without.begin(), without.end(), 0.0) / n;
  double sum = 0;
  for (const double d : without) sum += (d - mean) * (d - mean);
  return std::sqrt((n - 1) / n * sum);
}

struct Judged {
  bool holds;
  Verdict verdict;
};

/// The verdicts of conditions. `star` is the text that * stands for within a family of variants.
class Judge {
 public:
  Judge(const MetricLookup& lookup, Expectation::Outcome& outcome) : lookup_(lookup), outcome_(outcome) {}

  Judged judge(const Term& term) {
    if (term.kind == Term::Kind::comparison) return comparison(term);
    std::vector<Judged> parts;
    if (term.kind == Term::Kind::all) {
      family_ = &term;
      for (star_ = 0; star_ < term.stars.size(); ++star_) parts.push_back(judge(*term.parts[0]));
      family_ = nullptr;
    } else {
      for (const auto& part : term.parts)
        parts.push_back(judge(*part));  // all of them, because a NaN in any part makes it fail
    }
    if (term.name == "not") {
      const Verdict v = parts[0].verdict;
      return {!parts[0].holds, v == Verdict::pass ? Verdict::fail : v == Verdict::fail ? Verdict::pass : v};
    }
    // One verdict decides: a failure if all parts must hold, a pass if one part is enough.
    const bool any = term.name == "or";
    const Verdict settles = any ? Verdict::pass : Verdict::fail;
    Judged result{!any, any ? Verdict::fail : Verdict::pass};
    for (const Judged& part : parts) {
      result.holds = any ? result.holds || part.holds : result.holds && part.holds;
      const bool weighs = part.verdict == settles || part.verdict == Verdict::undecided;
      if (result.verdict != settles && weighs) result.verdict = part.verdict;
    }
    return result;
  }

  double left = nan, right = nan, standard_error = nan;  ///< of the last comparison

 private:
  template <class F>
  double evaluate(const MetricLookup& lookup, bool opposite, F&& use) {
    Evaluation evaluation(lookup);
    evaluation.opposite = opposite;
    double value = nan;
    if (family_ == nullptr) {
      value = use(evaluation);
    } else {
      std::size_t at = 0;
      evaluation.over_family(*family_, [&] {
        if (at++ == star_) value = use(evaluation);
      });
    }
    if (&lookup == &lookup_ && !opposite) {
      if (outcome_.note.empty()) outcome_.note = evaluation.note;
      for (const std::string& remark : evaluation.chosen)
        if (outcome_.remark.find(remark) == std::string::npos)
          outcome_.remark += (outcome_.remark.empty() ? "" : ", ") + remark;
    }
    return value;
  }

  Judged comparison(const Term& term) {
    const auto side = [&](std::size_t i, bool opposite) {
      return evaluate(lookup_, opposite, [&](Evaluation& e) { return e.number(*term.parts[i]); });
    };
    left = side(0, false);
    right = side(1, false);
    standard_error = nan;
    const bool holds = compare(term.name, left, right);
    if (term.parts[0]->is_p_value()) {
      const bool shown_false = compare(term.name, side(0, true), right);
      return {holds, holds ? Verdict::pass : shown_false ? Verdict::fail : Verdict::undecided};
    }
    standard_error = jackknife(
        [&](const MetricLookup& values) {
          return evaluate(values, false, [&](Evaluation& e) {
            const double first = e.number(*term.parts[0]);
            return first - e.number(*term.parts[1]);
          });
        },
        lookup_);
    const bool close = std::abs(left - right) < standard_error;  // false if there is no standard error
    return {holds, close ? Verdict::undecided : holds ? Verdict::pass : Verdict::fail};
  }

  const MetricLookup& lookup_;
  Expectation::Outcome& outcome_;
  const Term* family_ = nullptr;
  std::size_t star_ = 0;
};

}  // namespace

std::string TimeTo::name_of_time() const { return "time_to" + name.substr(name.find('(')); }
std::string TimeTo::name_of_censored() const { return "censored" + name.substr(name.find('(')); }

double TimeTo::of(std::span<const std::pair<std::int64_t, double>> series) const {
  if (series.empty()) return nan;
  const auto reached = std::find_if(series.begin(), series.end(), [&](const auto& entry) {
    return compare(comparison, entry.second, value);
  });
  const bool never = reached == series.end();
  if (censored) return never ? 1 : 0;
  return static_cast<double>(never ? series.back().first : reached->first);
}

Expectation::Expectation(const std::string& text, const std::string& where,
                         const std::vector<std::string>& variants, const std::vector<std::string>& metrics,
                         const KeyLookup& keys)
    : text_(text) {
  ParsedExpectation parsed = parse_expectation(text_, where, variants, metrics, keys);
  root_ = std::move(parsed.root);
  void_condition_ = parsed.void_condition;
  used_variants_ = std::move(parsed.variants);
  read_ = std::move(parsed.read);
  times_ = std::move(parsed.times);
}

bool Expectation::reads(const std::string& metric, const std::string& variant) const {
  return std::find(read_.begin(), read_.end(), std::pair(metric, variant)) != read_.end();
}

Expectation::~Expectation() = default;
Expectation::Expectation(Expectation&&) noexcept = default;
Expectation& Expectation::operator=(Expectation&&) noexcept = default;

Expectation::Outcome Expectation::evaluate(const MetricLookup& lookup) const {
  Outcome outcome;
  outcome.left = outcome.right = outcome.standard_error = nan;
  Judge judge(lookup, outcome);
  const Judged judged = judge.judge(*root_);
  outcome.holds = judged.holds;
  outcome.verdict = judged.verdict;
  if (root_->kind == Term::Kind::comparison) {
    outcome.left = judge.left;
    outcome.right = judge.right;
    outcome.standard_error = judge.standard_error;
  }
  const auto remark = [&](const std::string& text) {
    outcome.remark += (outcome.remark.empty() ? "" : ", ") + text;
  };
  for (const TimeTo& time : times_) {
    std::size_t runs = 0, cut = 0;
    for (const auto& [metric, variant] : read_) {
      if (time.censored || metric != time.name) continue;
      const Values never = lookup(time.name_of_censored(), variant);
      runs += never.size();
      cut += static_cast<std::size_t>(std::count(never.begin(), never.end(), 1.0));
    }
    if (cut > 0)
      remark(std::to_string(cut) + " of " + std::to_string(runs) + " runs: " + time.name_of_censored());
  }
  if (!outcome.note.empty()) {
    outcome.holds = false;
    outcome.verdict = Verdict::fail;
  }
  return outcome;
}

}  // namespace rankine
