// The syntax tree of an expectation, which the parser makes and the evaluation reads. Internal to src/deck.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/expect.hpp"

namespace rankine {

struct Expectation::Term {
  enum class Kind {
    number,
    metric,      // a value for each seed
    key,         // a value for each variant of a family
    statistic,   // mean, median, ... of the part over the seeds
    function,    // abs, sqrt, log or exp of the part
    arithmetic,  // + - * / of two parts, "negative" of one
    fit,         // of the first part over the second, or over the order of the variants
    test,        // the p-value of the comparison that is the part
    holm,        // the largest of p-values after Holm's correction
    comparison,
    logic,
    all
  };
  Kind kind = Kind::number;
  double number = 0;
  std::string name;                 // of the statistic, function or operator
  std::string metric, variant;      // `variant` may contain *, which stands for any text
  std::string choice, choice_of;    // argmax or argmin, and the metric that decides
  std::vector<std::string> chosen;  // the variants that argmax or argmin chooses from
  std::vector<double> values;       // of a key, one for each text that * stands for
  std::vector<std::string> stars;   // of a family of variants: the texts that * stands for
  std::string text;                 // of the term in the deck
  std::vector<std::unique_ptr<Term>> parts;
  bool per_seed = false;

  bool is_condition() const { return kind == Kind::comparison || kind == Kind::logic || kind == Kind::all; }
  bool is_p_value() const { return kind == Kind::test || kind == Kind::holm; }
};

struct ParsedExpectation {
  std::unique_ptr<Expectation::Term> root;
  bool void_condition = false;
  std::vector<std::string> variants;
  std::vector<std::pair<std::string, std::string>> read;  // metric and variant
  std::vector<TimeTo> times;
};

ParsedExpectation parse_expectation(const std::string& text, const std::string& where,
                                    const std::vector<std::string>& variants,
                                    const std::vector<std::string>& metrics, const KeyLookup& keys);

/// `variant` with `star` in place of the *.
std::string with_star(std::string variant, const std::string& star);

}  // namespace rankine
