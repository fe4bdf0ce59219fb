// What an expectation is made of: between its parser and its evaluation. Internal to src/deck.
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
    statistic,   // over the seeds of the part
    function,    // of the part
    arithmetic,  // + - * / of two parts, "negative" of one
    fit,         // of the first part over the second, or over the order of the variants
    test,        // the p-value of the comparison that is the part
    holm,        // of p-values
    comparison,
    logic,
    all
  };
  Kind kind = Kind::number;
  double number = 0;
  std::string name;                 // statistic, function, operator
  std::string metric, variant;      // `variant` may hold a star
  std::string choice, choice_of;    // argmax or argmin, and the metric
  std::vector<std::string> chosen;  // from these
  std::vector<double> values;       // of a key, for each text of the star
  std::vector<std::string> stars;   // of a family: what its star stands for
  std::string text;                 // as it was written
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

/// `variant` with the text of the star in its place.
std::string with_star(std::string variant, const std::string& star);

}  // namespace rankine
