#include "src/deck/expect.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string_view>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/core/text_cursor.hpp"
#include "src/deck/tree.hpp"

namespace rankine {

struct Expectation::Term {
  enum class Kind { number, statistic, function, arithmetic, comparison, logic };
  Kind kind = Kind::number;
  double number = 0;
  std::string name;             // statistic, function, operator
  std::string metric, variant;  // of a statistic
  std::vector<std::unique_ptr<Term>> parts;

  bool is_condition() const { return kind == Kind::comparison || kind == Kind::logic; }
};

namespace {

using Term = Expectation::Term;
using TermPointer = std::unique_ptr<Term>;

constexpr int max_nesting = 64;
constexpr std::size_t max_length = 4000;

const std::vector<std::string> statistics{"mean", "median", "min", "max", "std"};
const std::vector<std::string> functions{"abs", "sqrt"};

class Parser {
 public:
  Parser(const std::string& text, const std::string& where, const std::vector<std::string>& variants,
         const std::vector<std::string>& metrics)
      : text_(text), cursor_(text), where_(where), variants_(variants), metrics_(metrics) {}

  std::vector<std::string> used_variants;
  std::vector<std::pair<std::string, std::string>> read;  // metric and variant

  TermPointer parse() {
    if (text_.size() > max_length) fail(0, "is longer than " + std::to_string(max_length) + " characters");
    TermPointer term = any();
    cursor_.skip_spaces();
    if (!cursor_.at_end())
      fail(cursor_.at(), "an operator was expected here; operators: + - * / < <= > >= == != and or");
    if (!term->is_condition())
      fail(0, "this is a number; an expectation must compare, for example mean(...) < 0.1");
    return term;
  }

 private:
  [[noreturn]] void fail(std::size_t at, const std::string& what) const {
    throw InputError(where_ + ": expectation '" + printable(text_, 120) + "', character " +
                     std::to_string(at + 1) + ": " + what);
  }

  void expect(std::string_view symbol, const std::string& after) {
    if (!cursor_.take(symbol))
      fail(cursor_.at(), "'" + std::string(symbol) + "' was expected after " + after);
  }

  void need_condition(const Term& term, std::size_t at, std::string_view op) const {
    if (!term.is_condition()) fail(at, "'" + std::string(op) + "' joins comparisons; this side is a number");
  }
  void need_number(const Term& term, std::size_t at, std::string_view op) const {
    if (term.is_condition()) fail(at, "'" + std::string(op) + "' needs numbers; this side is a comparison");
  }

  static TermPointer join_terms(Term::Kind kind, std::string_view op, TermPointer left, TermPointer right) {
    auto term = std::make_unique<Term>();
    term->kind = kind;
    term->name = op;
    term->parts.push_back(std::move(left));
    if (right) term->parts.push_back(std::move(right));
    return term;
  }

  TermPointer any() {
    if (++nesting_ > max_nesting) fail(cursor_.at(), "nested too deeply");
    const std::size_t start = cursor_.at();
    TermPointer left = all();
    while (cursor_.take_word("or")) {
      need_condition(*left, start, "or");
      const std::size_t second = cursor_.at();
      TermPointer right = all();
      need_condition(*right, second, "or");
      left = join_terms(Term::Kind::logic, "or", std::move(left), std::move(right));
    }
    --nesting_;
    return left;
  }

  TermPointer all() {
    const std::size_t start = cursor_.at();
    TermPointer left = negation();
    while (cursor_.take_word("and")) {
      need_condition(*left, start, "and");
      const std::size_t second = cursor_.at();
      TermPointer right = negation();
      need_condition(*right, second, "and");
      left = join_terms(Term::Kind::logic, "and", std::move(left), std::move(right));
    }
    return left;
  }

  TermPointer negation() {
    bool negated = false;
    const std::size_t start = cursor_.at();
    while (cursor_.take_word("not")) negated = !negated;
    TermPointer term = comparison();
    if (!negated) return term;
    need_condition(*term, start, "not");
    return join_terms(Term::Kind::logic, "not", std::move(term), nullptr);
  }

  std::string take_comparison() {
    cursor_.skip_spaces();
    for (const char* op : {"<=", ">=", "==", "!=", "<", ">"}) {
      if (cursor_.take(op)) return op;
    }
    const bool assignment = cursor_.peek() == '=';
    if (assignment) fail(cursor_.at(), "'=' is no comparison; did you mean '=='?");
    return "";
  }

  TermPointer comparison() {
    const std::size_t start = cursor_.at();
    TermPointer left = sum();
    const std::string op = take_comparison();
    if (op.empty()) return left;
    need_number(*left, start, op);
    const std::size_t second = cursor_.at();
    TermPointer right = sum();
    need_number(*right, second, op);
    TermPointer term = join_terms(Term::Kind::comparison, op, std::move(left), std::move(right));
    const std::size_t third = cursor_.at();
    if (!take_comparison().empty()) fail(third, "comparisons cannot be chained; write 'a < b and b < c'");
    return term;
  }

  TermPointer sum() {
    const std::size_t start = cursor_.at();
    TermPointer left = product();
    while (true) {
      const std::string op = cursor_.take("+") ? "+" : cursor_.take("-") ? "-" : "";
      if (op.empty()) return left;
      left = arithmetic(op, std::move(left), start, &Parser::product);
    }
  }

  TermPointer product() {
    const std::size_t start = cursor_.at();
    TermPointer left = factor();
    while (true) {
      const std::string op = cursor_.take("*") ? "*" : cursor_.take("/") ? "/" : "";
      if (op.empty()) return left;
      left = arithmetic(op, std::move(left), start, &Parser::factor);
    }
  }

  TermPointer arithmetic(const std::string& op, TermPointer left, std::size_t start,
                         TermPointer (Parser::*next)()) {
    need_number(*left, start, op);
    const std::size_t second = cursor_.at();
    TermPointer right = (this->*next)();
    need_number(*right, second, op);
    return join_terms(Term::Kind::arithmetic, op, std::move(left), std::move(right));
  }

  TermPointer factor() {
    bool negative = false;
    while (true) {
      if (cursor_.take("-")) {
        negative = !negative;
      } else if (!cursor_.take("+")) {
        break;
      }
    }
    const std::size_t start = cursor_.at();
    TermPointer term = atom();
    if (!negative) return term;
    need_number(*term, start, "-");
    return join_terms(Term::Kind::arithmetic, "negative", std::move(term), nullptr);
  }

  TermPointer atom() {
    cursor_.skip_spaces();
    const std::size_t start = cursor_.at();
    if (start == text_.size()) fail(start, "the expression ends where a value was expected");
    if (cursor_.take("(")) {
      TermPointer inner = any();
      expect(")", "the expression in parentheses");
      return inner;
    }
    if (TextCursor::is_digit(cursor_.peek()) || cursor_.peek() == '.') return number();
    const std::string word = cursor_.peek_word();
    if (word.empty())
      fail(start, "'" + printable(text_.substr(start, 1)) + "' is not part of any expression");
    cursor_.advance(word.size());
    const bool is_call = cursor_.take("(");
    const bool is_statistic = std::find(statistics.begin(), statistics.end(), word) != statistics.end();
    const bool is_function = std::find(functions.begin(), functions.end(), word) != functions.end();
    if (!is_call && (is_statistic || is_function))
      fail(cursor_.at(), "'(' was expected after '" + word + "'");
    if (!is_call) {
      fail(start, "'" + printable(word) +
                      "' needs a statistic over the seeds around it: mean, median, min, max or "
                      "std, for example mean(" +
                      printable(word) + "[variant])");
    }
    if (is_statistic) return statistic(word);
    if (is_function) return function(word);
    std::vector<std::string> known = statistics;
    known.insert(known.end(), functions.begin(), functions.end());
    const std::string hint = did_you_mean(word, known);
    fail(start, "unknown function '" + printable(word) + "'" + (hint.empty() ? ";" : hint) +
                    " (functions: " + join(known) + ")");
  }

  TermPointer number() {
    const std::size_t start = cursor_.at();
    const std::string text = cursor_.take_number();
    auto term = std::make_unique<Term>();
    if (!deck::parse_number(text, term->number)) fail(start, "'" + printable(text) + "' is not a number");
    return term;
  }

  TermPointer function(const std::string& name) {
    const std::size_t start = cursor_.at();
    TermPointer inner = any();
    need_number(*inner, start, name);
    expect(")", "the argument of " + name);
    return join_terms(Term::Kind::function, name, std::move(inner), nullptr);
  }

  TermPointer statistic(const std::string& name) {
    auto term = std::make_unique<Term>();
    term->kind = Term::Kind::statistic;
    term->name = name;
    cursor_.skip_spaces();
    const std::size_t start = cursor_.at();
    term->metric = cursor_.peek_word();
    if (term->metric.empty()) fail(start, "a metric was expected in " + name + "(metric[variant])");
    cursor_.advance(term->metric.size());
    if (!metrics_.empty() && std::find(metrics_.begin(), metrics_.end(), term->metric) == metrics_.end()) {
      const std::string hint = did_you_mean(term->metric, metrics_);
      fail(start, "unknown metric '" + printable(term->metric) + "'" + (hint.empty() ? ";" : hint) +
                      " (metrics: " + join(metrics_) + ")");
    }
    if (cursor_.take("[")) {
      cursor_.skip_spaces();
      const std::size_t begin = cursor_.at();
      const std::size_t end = text_.find(']', begin);
      if (end == std::string::npos) fail(begin, "']' is missing");
      std::string variant = text_.substr(begin, end - begin);
      variant.erase(variant.find_last_not_of(" \t\n") + 1);
      cursor_.move_to(end + 1);
      if (std::find(variants_.begin(), variants_.end(), variant) == variants_.end()) {
        const std::string hint = did_you_mean(variant, variants_);
        fail(begin, "unknown variant '" + printable(variant) + "'" + (hint.empty() ? ";" : hint) +
                        " (variants: " + join(variants_) + ")");
      }
      term->variant = variant;
    } else if (variants_.size() == 1) {
      term->variant = variants_.front();
    } else {
      fail(cursor_.at(), "say of which variant: " + name + "(" + term->metric +
                             "[variant]) (variants: " + join(variants_) + ")");
    }
    expect(")", "the metric");
    read.emplace_back(term->metric, term->variant);
    if (std::find(used_variants.begin(), used_variants.end(), term->variant) == used_variants.end()) {
      used_variants.push_back(term->variant);
    }
    return term;
  }

  const std::string& text_;
  TextCursor cursor_;
  const std::string& where_;
  const std::vector<std::string>& variants_;
  const std::vector<std::string>& metrics_;
  int nesting_ = 0;
};

class Evaluation {
 public:
  explicit Evaluation(const MetricLookup& lookup) : lookup_(lookup) {}

  std::string note;

  double number(const Term& term) {
    double result = std::numeric_limits<double>::quiet_NaN();
    switch (term.kind) {
      case Term::Kind::number:
        return term.number;
      case Term::Kind::statistic:
        return statistic(term);
      case Term::Kind::function: {
        const double value = number(*term.parts[0]);
        result = term.name == "abs" ? std::abs(value) : std::sqrt(value);
        if (std::isnan(result) && !std::isnan(value)) say("sqrt of " + shortest(value) + " is NaN");
        return result;
      }
      case Term::Kind::arithmetic: {
        const double left = number(*term.parts[0]);
        if (term.name == "negative") return -left;
        const double right = number(*term.parts[1]);
        result = term.name == "+"   ? left + right
                 : term.name == "-" ? left - right
                 : term.name == "*" ? left * right
                                    : left / right;
        if (std::isnan(result)) say(shortest(left) + " " + term.name + " " + shortest(right) + " is NaN");
        return result;
      }
      case Term::Kind::comparison:
      case Term::Kind::logic:
        break;
    }
    return result;
  }

  bool condition(const Term& term) {
    if (term.kind == Term::Kind::logic) {
      const bool left = condition(*term.parts[0]);
      if (term.name == "not") return !left;
      const bool right = condition(*term.parts[1]);  // both sides always: a NaN in either counts
      return term.name == "and" ? left && right : left || right;
    }
    return compare(term, number(*term.parts[0]), number(*term.parts[1]));
  }

  static bool compare(const Term& term, double left, double right) {
    if (term.name == "<") return left < right;
    if (term.name == "<=") return left <= right;
    if (term.name == ">") return left > right;
    if (term.name == ">=") return left >= right;
    return term.name == "==" ? left == right : left != right;
  }

 private:
  void say(const std::string& what) {
    if (note.empty()) note = what;
  }

  double statistic(const Term& term) {
    const std::string shown = term.name + "(" + term.metric + "[" + term.variant + "])";
    std::vector<double> values = lookup_(term.metric, term.variant);
    if (values.empty()) {
      say(shown + " has no value");
      return std::numeric_limits<double>::quiet_NaN();
    }
    for (const double value : values) {
      if (std::isnan(value)) {
        say(shown + " is NaN");
        return value;
      }
    }
    const auto count = static_cast<double>(values.size());
    std::sort(values.begin(), values.end());
    if (term.name == "min") return values.front();
    if (term.name == "max") return values.back();
    if (term.name == "median") {
      const std::size_t half = values.size() / 2;
      return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
    }
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    if (term.name == "mean") return mean;
    if (values.size() < 2) {
      say(shown + " needs two seeds at least");
      return std::numeric_limits<double>::quiet_NaN();
    }
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    return std::sqrt(squares / (count - 1));
  }

  const MetricLookup& lookup_;
};

}  // namespace

Expectation::Expectation(const std::string& text, const std::string& where,
                         const std::vector<std::string>& variants, const std::vector<std::string>& metrics)
    : text_(text) {
  Parser parser(text_, where, variants, metrics);
  root_ = parser.parse();
  used_variants_ = parser.used_variants;
  read_ = parser.read;
}

bool Expectation::reads(const std::string& metric, const std::string& variant) const {
  return std::find(read_.begin(), read_.end(), std::pair(metric, variant)) != read_.end();
}

Expectation::~Expectation() = default;
Expectation::Expectation(Expectation&&) noexcept = default;
Expectation& Expectation::operator=(Expectation&&) noexcept = default;

namespace {

// sqrt((n - 1) / n sum_i (d_i - mean d)^2), d_i being left - right without seed i.
double jackknife(const Expectation::Term& comparison, const MetricLookup& lookup) {
  std::size_t seeds = 0;
  const auto count = [&](const std::string& metric, const std::string& variant) {
    std::vector<double> values = lookup(metric, variant);
    seeds = std::max(seeds, values.size());
    return values;
  };
  const auto difference = [&](const MetricLookup& values) {
    Evaluation evaluation(values);
    return evaluation.number(*comparison.parts[0]) - evaluation.number(*comparison.parts[1]);
  };
  difference(count);
  if (seeds < 2) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> without;
  for (std::size_t left_out = 0; left_out < seeds; ++left_out)
    without.push_back(difference([&](const std::string& metric, const std::string& variant) {
      std::vector<double> values = lookup(metric, variant);
      if (left_out < values.size()) values.erase(values.begin() + static_cast<std::ptrdiff_t>(left_out));
      return values;
    }));
  const double n = static_cast<double>(seeds),
               mean = std::accumulate(without.begin(), without.end(), 0.0) / n;
  double sum = 0;
  for (const double d : without) sum += (d - mean) * (d - mean);
  return std::sqrt((n - 1) / n * sum);
}

}  // namespace

Expectation::Outcome Expectation::evaluate(const MetricLookup& lookup) const {
  Evaluation evaluation(lookup);
  Outcome outcome;
  outcome.left = outcome.right = outcome.standard_error = std::numeric_limits<double>::quiet_NaN();
  if (root_->kind == Term::Kind::comparison) {
    outcome.left = evaluation.number(*root_->parts[0]);
    outcome.right = evaluation.number(*root_->parts[1]);
    outcome.verdict = Evaluation::compare(*root_, outcome.left, outcome.right);
    outcome.standard_error = jackknife(*root_, lookup);
  } else {
    outcome.verdict = evaluation.condition(*root_);
  }
  outcome.note = evaluation.note;
  if (!outcome.note.empty()) outcome.verdict = false;
  return outcome;
}

}  // namespace rankine
