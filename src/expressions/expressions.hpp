// The language of formulas in a deck, compiled to bytecode with exact derivatives (kernels/bytecode.hpp).
//
//   expression := comparison joined by `and`, `or`, `not`, parentheses
//   comparison := sum (< | <= | > | >= | == | !=) sum
//   sum        := + - * / ^ of numbers, names, function calls and parentheses, as usual: -u^2 is -(u^2),
//                 2^3^2 is 2^(3^2)
//   if(condition, a, b)            a where the condition holds, b elsewhere; the other branch does not count
//   d(e, x), d(e, x, x)            derivatives in space of what contains unknowns; in a flux only. With several
//                                  axes d(e, x), d(e, y), d(e, z), and no second derivatives
//   grad(e), [a, b]                vectors with a component for each axis of space, where a formula may be one;
//                                  sums of vectors, products with numbers
//   sin cos tan exp log sqrt abs tanh sinh cosh erf sign min max, and functions of the deck
//   names: unknowns, parameters, coefficient fields, x (y, z), t, pi, and constants that the caller defines
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "kernels/bytecode.hpp"
#include "kernels/error.hpp"

namespace rankine {

/// A formula and the place it was written at ("deck.yaml:3:9").
struct ExpressionText {
  std::string text, where;
  /// The formula may be a vector, of which this component counts. -1: it is a number.
  int component = -1;
};

/// A formula that cannot be read: what() has the place in the deck, the formula and the character.
struct ExpressionError : InputError {
  ExpressionError(const std::string& message, std::size_t position_)
      : InputError(message), position(position_) {}
  std::size_t position;  ///< offset into the text of the formula (or of the function) that is wrong
};

/// A function that the deck defines; it is inserted where it is called.
struct ExpressionFunction {
  std::string name;
  std::vector<std::string> arguments;
  ExpressionText body;
};

/// Names that formulas can use.
struct ExpressionNames {
  std::vector<std::string> unknowns, parameters;
  std::vector<std::pair<std::string, double>> constants = {};
  /// Names that stand for a formula of parameters, constants and other definitions, in any order without
  /// circles.
  std::vector<std::pair<std::string, ExpressionText>> definitions = {};
  std::vector<ExpressionFunction> functions = {};
  int axes = 1;  ///< of space: x; x, y; or x, y, z
  /// Coefficient fields: functions of space that the program reads as rows of TermPoints::x after the axes.
  std::vector<std::string> fields = {};
};

/// What formulas of one kind may read, besides parameters, constants and definitions.
struct ExpressionUse {
  std::string what;  ///< "flux": for messages
  bool unknowns = true;
  /// d(u, x); the program's arguments are then all u, all u_x, all u_xx, with several axes all u, all u_x, all
  /// u_y, ...
  bool derivatives = false;
  bool position = true, time = true;
  bool fields = false;
  int fixed_axis = -1;  ///< the position along this axis cannot be read, though others can
};

class Expressions {
 public:
  static constexpr std::size_t max_length = 4000;  ///< characters of a formula
  static constexpr int max_nesting = 100;          ///< parentheses, calls and powers within each other
  static constexpr int max_nodes = 20000;          ///< operations, functions inserted, without derivatives

  /// Throws InputError for names that are not words, are taken, or stand twice. Call check() to have
  /// functions and definitions read, used or not.
  explicit Expressions(ExpressionNames names);

  const ExpressionNames& names() const { return names_; }
  void check() const;

  /// One program of all formulas, one result each. Throws ExpressionError.
  kernels::Program compile(const std::vector<ExpressionText>& formulas, const ExpressionUse& use) const;

  /// "R(u, v)" taken apart.
  static ExpressionFunction function(const ExpressionText& signature, ExpressionText body);
  /// Why the word cannot be the name of an unknown, parameter, ...; empty if it can.
  static std::string name_fault(const std::string& name, int axes = 1);

 private:
  ExpressionNames names_;
};

}  // namespace rankine
