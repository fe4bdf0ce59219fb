// What fuzzing does with one text: any outcome but a program or an ExpressionError is a defect.
#pragma once

#include <string>
#include <vector>

#include "src/expressions/expressions.hpp"

namespace rankine {

inline const ExpressionNames& fuzz_names() {
  static const ExpressionNames names{
      .unknowns = {"u", "v"},
      .parameters = {"D", "n"},
      .constants = {{"length", 1.0}},
      .definitions = {{"c", {"D*n", ""}}},
      .functions = {Expressions::function({"R(w)", ""}, {"1 + c*w^n", ""}),
                    Expressions::function({"f(a, b)", ""}, {"a*R(b) + d(a, x)", ""})}};
  return names;
}

/// Compiles the text, as a formula, as a vector of two axes and as the body of a function; evaluates and explains
/// what compiles. Returns whether a formula was taken.
inline bool fuzz_expression(const std::string& text) {
  ExpressionNames with_function = fuzz_names();
  with_function.functions.push_back({"g", {"w"}, {text, "fuzz"}});
  try {
    Expressions(with_function).check();
  } catch (const InputError&) {
  }
  ExpressionNames in_plane = fuzz_names();
  in_plane.axes = 2;
  in_plane.fields = {"K"};
  bool taken = false;
  for (const bool plane : {false, true}) {
    try {
      const kernels::Program program = Expressions(plane ? in_plane : fuzz_names())
                                           .compile({{text, "fuzz", plane ? 1 : -1}},
                                                    {.what = "flux", .derivatives = true, .fields = true});
      const std::vector<double> arguments{0.5, -2, 3, 0, 7, 11}, x{0.3, -1, 2}, t{0}, parameters{0.25, 1.7};
      const kernels::TermPoints points{1, arguments, x, t, parameters, {}};
      kernels::TermValues out;
      program.evaluate(points, 2, out);
      static_cast<void>(program.explain(points, 0));
      taken = true;
    } catch (const ExpressionError&) {
    }
  }
  return taken;
}

}  // namespace rankine
