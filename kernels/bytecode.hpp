// Expressions as a flat program that evaluates a batch of points with exact first and second derivatives. The
// derivatives are expressions themselves, differentiated symbolically and compiled together with the values,
// so that they share subexpressions. What is the same at all points is computed once a batch.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/expression_graph.hpp"
#include "kernels/terms.hpp"

namespace rankine::kernels {

/// What messages call the arguments and parameters of a program.
struct ProgramNames {
  std::vector<std::string> arguments, parameters;
  std::vector<std::string> positions = {"x", "y", "z"};  ///< the rows of TermPoints::x
};

class Program {
 public:
  /// A program without results.
  Program();
  /// `results`: nodes of `graph` that are the program's results. As many arguments and parameters as names.
  /// Prepares orders 0, 1 and 2. Throws InputError for a program that is too large.
  Program(ExpressionGraph graph, std::vector<int> results, ProgramNames names);

  int results() const;
  int arguments() const;

  /// Values, gradients (order >= 1) and Hessians (order 2) at all points. `points.x` and `points.t` may be
  /// empty if the program does not read them. May be called by several threads.
  void evaluate(const TermPoints& points, int order, TermValues& out) const;

  /// Why a result, or one of its derivatives, is not finite at a point: the first operation without a finite
  /// value, where it is written, its operands. Empty if all are finite.
  std::string explain(const TermPoints& points, long point) const;

  bool reads_argument(int index) const;
  bool reads_parameter(int index) const;
  bool reads_position() const;  ///< any row of TermPoints::x
  bool reads_time() const;
  /// A program of t and the parameters alone (no arguments) whose results vanish or have an extremum where
  /// this program may jump, kink or turn sharply in time: what comparisons compare, and the operands of
  /// functions that are steep at a point (abs, sign, min, max, sqrt, exp, tanh, erf, quotients, powers), as
  /// far as they read t and no argument or position. Operands come before what is made of them.
  Program time_events() const;
  /// All results are affine in the arguments with coefficients that depend on parameters only, and nothing
  /// reads position or time.
  bool is_linear() const;
  /// All results are affine in this argument, with coefficients that depend on parameters only.
  bool is_affine_in(int argument) const;

  /// Instructions and registers of the program for `order`, nothing learned: for tests and reports.
  struct Size {
    int instructions, uniform_instructions, registers;
  };
  Size size(int order) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace rankine::kernels
