#include <algorithm>
#include <string_view>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/core/text_cursor.hpp"
#include "src/deck/expect_term.hpp"
#include "src/deck/tree.hpp"

namespace rankine {

std::string with_star(std::string variant, const std::string& star) {
  if (const std::size_t at = variant.find('*'); at != std::string::npos) variant.replace(at, 1, star);
  return variant;
}

namespace {

using Term = Expectation::Term;
using TermPointer = std::unique_ptr<Term>;

constexpr int max_nesting = 64;
constexpr std::size_t max_length = 4000;

const std::vector<std::string> statistics{"mean", "median", "min", "max", "std"};
const std::vector<std::string> functions{"abs", "sqrt", "log", "exp"};
const std::vector<std::string> fits{"slope", "r2", "pearson", "spearman"};
const std::vector<std::string> others{"monotone", "all", "p", "holm"};
const std::vector<std::string> series{"time_to", "censored"};

bool is_among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string trimmed(std::string text) {
  text.erase(0, text.find_first_not_of(" \t\n"));
  text.erase(text.find_last_not_of(" \t\n") + 1);
  return text;
}

class Parser {
 public:
  Parser(const std::string& text, const std::string& where, const std::vector<std::string>& variants,
         const std::vector<std::string>& metrics, const KeyLookup& keys)
      : text_(text), cursor_(text), where_(where), variants_(variants), metrics_(metrics), keys_(keys) {}

  ParsedExpectation parse() {
    if (text_.size() > max_length) fail(0, "is longer than " + std::to_string(max_length) + " characters");
    if (cursor_.take_word("void")) {
      if (!cursor_.take_word("unless"))
        fail(cursor_.at(), "'unless' was expected after 'void': void unless mean(...) >= 0.99");
      parsed_.void_condition = true;
    }
    const std::size_t start = cursor_.at();
    parsed_.root = any();
    cursor_.skip_spaces();
    if (!cursor_.at_end())
      fail(cursor_.at(), "an operator was expected here; operators: + - * / < <= > >= == != and or");
    if (!parsed_.root->is_condition())
      fail(start, "this is a number; an expectation must compare, for example mean(...) < 0.1");
    return std::move(parsed_);
  }

 private:
  [[noreturn]] void fail(std::size_t at, const std::string& what) const {
    throw InputError(where_ + ": expectation '" + printable(text_, 120) + "', character " +
                     std::to_string(at + 1) + ": " + what);
  }
  [[noreturn]] void fail_unknown(std::size_t at, const char* what, const std::string& name, const char* list,
                                 const std::vector<std::string>& known) const {
    const std::string hint = did_you_mean(name, known);
    fail(at, std::string("unknown ") + what + " '" + printable(name) + "'" + (hint.empty() ? ";" : hint) +
                 " (" + list + ": " + join(known) + ")");
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
    term->per_seed = left->per_seed || (right && right->per_seed);
    term->parts.push_back(std::move(left));
    if (right) term->parts.push_back(std::move(right));
    return term;
  }

  TermPointer any() {
    if (++nesting_ > max_nesting) fail(cursor_.at(), "nested too deeply");
    const std::size_t start = cursor_.at();
    TermPointer left = both();
    while (cursor_.take_word("or")) {
      need_condition(*left, start, "or");
      const std::size_t second = cursor_.at();
      TermPointer right = both();
      need_condition(*right, second, "or");
      left = join_terms(Term::Kind::logic, "or", std::move(left), std::move(right));
    }
    --nesting_;
    return left;
  }

  TermPointer both() {
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
    if (assignment) fail(cursor_.at(), "'=' is not a comparison; did you mean '=='?");
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
    if ((left->is_p_value() && !op.starts_with('<')) || right->is_p_value())
      fail(start, "a p-value is compared with its level: p(...) <= 0.05");
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
    if (left->is_p_value() || right->is_p_value())
      fail(start, "a p-value is compared with its level: p(...) <= 0.05");
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
    const bool is_known = is_among(statistics, word) || is_among(functions, word) || is_among(fits, word) ||
                          is_among(others, word) || is_among(series, word);
    if (!cursor_.take("(")) {
      if (is_known && word != "p") fail(cursor_.at(), "'(' was expected after '" + word + "'");
      if (in_keys_) return key(start);
      if (over_seeds_.empty()) fail_no_statistic(start, word);
      return metric(start, word);
    }
    if (is_among(series, word)) {
      if (over_seeds_.empty()) fail_no_statistic(start, word);
      return metric(start, time_to(word));
    }
    if (is_among(statistics, word)) return statistic(start, word);
    if (is_among(functions, word)) return function(word);
    if (!over_seeds_.empty() && is_known) fail(start, "'" + word + "' cannot stand within " + over_seeds_);
    if (word == "p") return test(start);
    if (is_known) return family(start, word);
    std::vector<std::string> known = statistics;
    for (const auto* more : {&functions, &fits, &others, &series})
      known.insert(known.end(), more->begin(), more->end());
    fail_unknown(start, "function", word, "functions", known);
  }

  [[noreturn]] void fail_no_statistic(std::size_t start, const std::string& word) const {
    fail(start, "'" + printable(word) +
                    "' needs a statistic over the seeds around it: mean, median, min, max or "
                    "std, for example mean(" +
                    printable(word) + "[variant])");
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

  TermPointer statistic(std::size_t begin, const std::string& name) {
    if (!over_seeds_.empty()) fail(begin, "'" + name + "' cannot stand within " + over_seeds_);
    cursor_.skip_spaces();
    const std::size_t start = cursor_.at();
    over_seeds_ = name;
    const bool in_keys = std::exchange(in_keys_, false);
    TermPointer inner = sum();
    over_seeds_.clear();
    in_keys_ = in_keys;
    need_number(*inner, start, name);
    if (!inner->per_seed) fail(start, "a metric was expected in " + name + "(metric[variant])");
    const std::string text = trimmed(text_.substr(start, cursor_.at() - start));
    expect(")", "the metric");
    TermPointer term = join_terms(Term::Kind::statistic, name, std::move(inner), nullptr);
    term->per_seed = false;
    term->text = text;
    return term;
  }

  /// Parses the rest of "time_to(validation_accuracy >= 0.8)" behind the opening bracket.
  std::string time_to(const std::string& word) {
    cursor_.skip_spaces();
    const std::size_t start = cursor_.at();
    TimeTo time;
    time.metric = cursor_.peek_word();
    cursor_.advance(time.metric.size());
    time.comparison = take_comparison();
    cursor_.skip_spaces();
    const bool negative = cursor_.take("-");
    cursor_.skip_spaces();
    const bool is_number = TextCursor::is_digit(cursor_.peek()) || cursor_.peek() == '.';
    const bool orders = time.comparison.starts_with('<') || time.comparison.starts_with('>');
    if (time.metric.empty() || !orders || !is_number) {
      fail(start, word + " needs a metric of the evaluations, a comparison and a number: " + word +
                      "(validation_accuracy >= 0.8)");
    }
    check_metric(start, time.metric);
    time.value = number()->number * (negative ? -1 : 1);
    expect(")", "the number");
    const std::string what = "(" + time.metric + " " + time.comparison + " " + shortest(time.value) + ")";
    for (const std::string& each : series) {
      time.censored = each == "censored";
      time.name = each + what;
      const bool known = std::any_of(parsed_.times.begin(), parsed_.times.end(),
                                     [&](const TimeTo& other) { return other.name == time.name; });
      if (!known) parsed_.times.push_back(time);
    }
    return word + what;
  }

  void check_metric(std::size_t at, const std::string& name) const {
    if (!metrics_.empty() && !is_among(metrics_, name)) fail_unknown(at, "metric", name, "metrics", metrics_);
  }

  /// Parses the variant in brackets behind a metric. The cursor is at the bracket.
  TermPointer metric(std::size_t start, const std::string& name) {
    auto term = std::make_unique<Term>();
    term->kind = Term::Kind::metric;
    term->per_seed = true;
    term->metric = name;
    if (name.find('(') == std::string::npos) check_metric(start, name);
    if (cursor_.take("[")) {
      cursor_.skip_spaces();
      const std::size_t begin = cursor_.at();
      const std::size_t end = text_.find(']', begin);
      if (end == std::string::npos) fail(begin, "']' is missing");
      term->variant = trimmed(text_.substr(begin, end - begin));
      if (term->variant.starts_with("argmax(") || term->variant.starts_with("argmin(")) {
        choice(*term, begin);
      } else if (term->variant.find('*') != std::string::npos) {
        star(*term, begin);
      } else {
        check_variant(begin, term->variant);
        note(name, term->variant);
      }
      cursor_.move_to(end + 1);
    } else if (variants_.size() == 1) {
      term->variant = variants_.front();
      note(name, term->variant);
    } else {
      fail(cursor_.at(), "say of which variant: " + over_seeds_ + "(" + name +
                             "[variant]) (variants: " + join(variants_) + ")");
    }
    return term;
  }

  void check_variant(std::size_t at, const std::string& name) const {
    if (!is_among(variants_, name)) fail_unknown(at, "variant", name, "variants", variants_);
  }

  void note(const std::string& metric, const std::string& variant) {
    const std::pair<std::string, std::string> entry(metric, variant);
    if (std::find(parsed_.read.begin(), parsed_.read.end(), entry) == parsed_.read.end())
      parsed_.read.push_back(entry);
    if (!is_among(parsed_.variants, variant)) parsed_.variants.push_back(variant);
  }

  /// The texts that * in `pattern` stands for, in the order of the deck's variants.
  std::vector<std::string> stars_of(const std::string& pattern) const {
    const std::size_t at = pattern.find('*');
    const std::string before = pattern.substr(0, at), after = pattern.substr(at + 1);
    std::vector<std::string> stars;
    for (const std::string& variant : variants_) {
      if (variant.size() >= before.size() + after.size() && variant.starts_with(before) &&
          variant.ends_with(after))
        stars.push_back(variant.substr(at, variant.size() - before.size() - after.size()));
    }
    return stars;
  }

  void check_pattern(std::size_t at, const std::string& pattern) const {
    if (std::count(pattern.begin(), pattern.end(), '*') != 1)
      fail(at, "'" + printable(pattern) + "' needs one '*'");
    if (stars_of(pattern).empty()) fail_unknown(at, "variant", pattern, "variants", variants_);
  }

  void star(const Term& term, std::size_t at) {
    if (!in_family_) {
      fail(at, "'" + printable(term.variant) +
                   "' stands for several variants; put all, monotone, slope, r2, pearson, spearman or holm "
                   "around it");
    }
    check_pattern(at, term.variant);
    std::vector<std::string> stars = stars_of(term.variant);
    if (family_pattern_.empty()) {
      family_pattern_ = term.variant;
      family_stars_ = std::move(stars);
    } else {
      for (const std::string& text : family_stars_)
        check_partner(at, term.variant, text, stars, family_pattern_);
      for (const std::string& text : stars)
        check_partner(at, family_pattern_, text, family_stars_, term.variant);
    }
    for (const std::string& text : family_stars_) note(term.metric, with_star(term.variant, text));
  }

  void check_partner(std::size_t at, const std::string& pattern, const std::string& star,
                     const std::vector<std::string>& stars, const std::string& other) const {
    if (is_among(stars, star)) return;
    fail(at, "'*' is the same text everywhere here: there is '" + with_star(other, star) +
                 "', but no variant '" + with_star(pattern, star) + "'");
  }

  /// Parses argmax(metric, a, b), the text in `term.variant`, which begins at position `at`.
  void choice(Term& term, std::size_t at) {
    const std::string text = std::exchange(term.variant, "");
    if (text.back() != ')') fail(at, "')' is missing after the variants of " + text.substr(0, 6));
    std::vector<std::string> words;
    for (std::size_t begin = 7; begin < text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size() - 1);
      words.push_back(trimmed(text.substr(begin, end - begin)));
      begin = end + 1;
    }
    if (words.size() < 2)
      fail(at, "it needs a metric and variants: " + text.substr(0, 6) + "(validation_accuracy, a, b)");
    term.choice = text.substr(0, 6);
    term.choice_of = words.front();
    check_metric(at, term.choice_of);
    for (std::size_t i = 1; i < words.size(); ++i) {
      if (words[i].find('*') == std::string::npos) {
        check_variant(at, words[i]);
        term.chosen.push_back(words[i]);
      } else {
        check_pattern(at, words[i]);
        for (const std::string& star : stars_of(words[i])) term.chosen.push_back(with_star(words[i], star));
      }
    }
    for (const std::string& variant : term.chosen) {
      note(term.choice_of, variant);
      note(term.metric, variant);
    }
  }

  /// Parses a path of keys that begins at position `start`.
  TermPointer key(std::size_t start) {
    std::size_t end = start;
    while (end < text_.size() &&
           (TextCursor::in_word(text_[end]) || text_[end] == '.' || text_[end] == '[')) {
      const std::size_t close = text_[end] == '[' ? text_.find(']', end) : end;
      if (close == std::string::npos) fail(end, "']' is missing");
      end = close + 1;
    }
    const std::string path = text_.substr(start, end - start);
    cursor_.move_to(end);
    auto term = std::make_unique<Term>();
    term->kind = Term::Kind::key;
    for (const std::string& text : family_stars_) {
      const std::string variant = with_star(family_pattern_, text);
      const std::optional<double> value = keys_ ? keys_(variant, path) : std::nullopt;
      if (!value) {
        fail(start, "variant '" + variant + "' has no number at '" + printable(path) +
                        "'; a key is a path such as train.learning_rate");
      }
      term->values.push_back(*value);
    }
    return term;
  }

  TermPointer test(std::size_t start) {
    TermPointer inner = comparison();
    expect(")", "the comparison");
    const auto shown = [&] {
      fail(start,
           "p needs a comparison with a mean over the seeds or of a correlation: p(mean(a[x] - a[y]) > 0), "
           "p(abs(mean(a[x] - a[y])) < 0.01), p(pearson(...) != 0)");
    };
    if (inner->kind != Term::Kind::comparison || inner->name == "==") shown();
    const Term& left = *inner->parts[0];
    const bool is_mean = left.kind == Term::Kind::statistic && left.name == "mean";
    const bool is_size = left.kind == Term::Kind::function && left.name == "abs" &&
                         inner->name.starts_with('<') && left.parts[0]->kind == Term::Kind::statistic &&
                         left.parts[0]->name == "mean";
    const Term& right = *inner->parts[1];
    const bool is_zero = right.kind == Term::Kind::number && right.number == 0;
    const bool is_correlation =
        left.kind == Term::Kind::fit && (left.name == "pearson" || left.name == "spearman") && is_zero;
    if (!is_mean && !is_size && !is_correlation) shown();
    return join_terms(Term::Kind::test, "p", std::move(inner), nullptr);
  }

  /// Parses slope, r2, pearson, spearman, monotone, all and holm. They define the family that * runs over.
  TermPointer family(std::size_t start, const std::string& name) {
    // A correlation within holm() runs over a family of its own.
    const bool within_holm = in_holm_ && family_pattern_.empty() && is_among(fits, name);
    if (in_family_ && !within_holm)
      fail(start, "'" + name + "' cannot stand within another family of variants");
    if (++nesting_ > max_nesting) fail(start, "nested too deeply");
    in_family_ = true;
    family_pattern_.clear();
    family_stars_.clear();
    auto term = std::make_unique<Term>();
    term->name = name;
    bool increasing = true;
    const auto second = [&] {
      in_keys_ = true;
      term->parts.push_back(sum());
      in_keys_ = false;
    };
    const std::size_t first = cursor_.at();
    if (name == "all") {
      term->kind = Term::Kind::all;
      term->parts.push_back(any());
      need_condition(*term->parts[0], first, name);
    } else if (name == "holm") {
      term->kind = Term::Kind::holm;
      in_holm_ = true;
      do {
        const std::size_t at = cursor_.at();
        term->parts.push_back(atom());
        if (term->parts.back()->kind != Term::Kind::test)
          fail(at, "holm takes p-values: holm(p(...), p(...)) <= 0.05");
      } while (cursor_.take(","));
      in_holm_ = false;
    } else {
      term->kind = Term::Kind::fit;
      term->parts.push_back(sum());
      need_number(*term->parts[0], first, name);
      if (name == "monotone") {
        const auto direction = [&] {
          if (cursor_.take_word("increasing")) return true;
          increasing = !cursor_.take_word("decreasing");
          return !increasing;
        };
        expect(",", "the values of monotone");
        if (!direction()) {
          second();
          expect(",", "the keys of monotone");
          if (!direction()) fail(cursor_.at(), "'increasing' or 'decreasing' was expected");
        }
        term->name = increasing ? "increasing" : "decreasing";
      } else {
        expect(",", "the values of " + name);
        second();
      }
    }
    expect(")", "the arguments of " + name);
    const std::size_t least = name == "all" || name == "holm"         ? 1
                              : name == "slope" || name == "monotone" ? 2
                                                                      : 3;
    if (family_stars_.size() < least && name != "holm") {
      fail(start, name + " needs " +
                      (least == 1 ? "variants" : std::to_string(least) + " variants at least") +
                      ", such as " + (variants_.size() < 2 ? "net-*" : "those of a sweep: net-*"));
    }
    term->stars = std::exchange(family_stars_, {});
    family_pattern_.clear();
    in_family_ = within_holm;
    --nesting_;
    if (name != "monotone") return term;
    // Monotone means that the smallest step in the right direction is above 0.
    return join_terms(Term::Kind::comparison, ">", std::move(term), std::make_unique<Term>());
  }

  const std::string& text_;
  TextCursor cursor_;
  const std::string& where_;
  const std::vector<std::string>& variants_;
  const std::vector<std::string>& metrics_;
  const KeyLookup& keys_;
  ParsedExpectation parsed_;
  int nesting_ = 0;
  std::string over_seeds_;  // the statistic whose argument is being parsed; empty: none
  bool in_family_ = false, in_holm_ = false, in_keys_ = false;
  std::string family_pattern_;  // names of the family's variants, and the texts that * stands for
  std::vector<std::string> family_stars_;
};

}  // namespace

ParsedExpectation parse_expectation(const std::string& text, const std::string& where,
                                    const std::vector<std::string>& variants,
                                    const std::vector<std::string>& metrics, const KeyLookup& keys) {
  return Parser(text, where, variants, metrics, keys).parse();
}

}  // namespace rankine
