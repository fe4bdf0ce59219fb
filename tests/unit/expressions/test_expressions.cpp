// The language of formulas: values, precedence, names, functions, and the message for everything that is
// wrong.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/expressions/expressions.hpp"

namespace rankine {
namespace {

using kernels::Program;
using kernels::TermPoints;
using kernels::TermValues;
using testing::AllOf;
using testing::HasSubstr;

ExpressionNames names() {
  return {.unknowns = {"u", "v"},
          .parameters = {"D", "nu", "speed"},
          .constants = {{"length", 2.0}},
          .definitions = {{"ratio", {"D/nu", "deck.yaml:3:10"}}},
          .functions = {Expressions::function({"R(w)", "deck.yaml:5:3"}, {"1 + w^2", "deck.yaml:5:10"}),
                        Expressions::function({"mix(a, b)", ""}, {"a*R(b) + u", "deck.yaml:6:10"}),
                        Expressions::function({"grad(w)", ""}, {"d(w, x)", "deck.yaml:7:10"})}};
}

Program compile(const std::string& text, ExpressionUse use = {.what = "flux", .derivatives = true}) {
  return Expressions(names()).compile({{text, "deck.yaml:9:12"}}, use);
}

/// At u = 0.5, v = 2, u_x = 3, v_x = -1, u_xx = 7, v_xx = 11, D = 0.25, nu = 0.1, speed = 4, x = 0.3, t
/// = 1.5.
double value(const std::string& text) {
  const std::vector<double> arguments{0.5, 2, 3, -1, 7, 11}, x{0.3}, t{1.5}, parameters{0.25, 0.1, 4};
  TermValues out;
  compile(text).evaluate({1, arguments, x, t, parameters, {}}, 0, out);
  return out.at(0)[0];
}

TEST(Expressions, Precedence) {
  EXPECT_EQ(value("1 + 2*3"), 7);
  EXPECT_EQ(value("(1 + 2)*3"), 9);
  EXPECT_EQ(value("2 - 3 - 4"), -5);
  EXPECT_EQ(value("2^3^2"), 512);
  EXPECT_EQ(value("-2^2"), -4);
  EXPECT_EQ(value("2^-1"), 0.5);
  EXPECT_EQ(value("(-2)^3"), -8);
  EXPECT_EQ(value("2*-3"), -6);
  EXPECT_EQ(value("8/2/2"), 2);
  EXPECT_EQ(value("- - 3"), 3);
  EXPECT_EQ(value("1e2 + .5 + 2."), 102.5);
  EXPECT_EQ(value("v^2^0.5 - v^(2^0.5)"), 0);
  EXPECT_EQ(value("-u^2"), -0.25);
  EXPECT_EQ(value("if(1 < 2 and 3 < 2 or 1 == 1, 5, 6)"), 5);
  EXPECT_EQ(value("if(1 < 2 and (3 < 2 or 1 != 1), 5, 6)"), 6);
  EXPECT_EQ(value("if(not u > 1, 5, 6)"), 5);
  EXPECT_EQ(value("if(u + 1 < v*1, 5, 6)"), 5);
}

TEST(Expressions, NamesFunctionsAndDefinitions) {
  EXPECT_EQ(value("u + v + x + t + D + nu + speed"), 0.5 + 2 + 0.3 + 1.5 + 0.25 + 0.1 + 4);
  EXPECT_EQ(value("pi"), std::acos(-1.0));
  EXPECT_EQ(value("length*ratio"), 2 * (0.25 / 0.1));
  EXPECT_EQ(value("R(u) + R(v)"), 1.25 + 5);
  ExpressionNames any_order;
  any_order.definitions = {{"a", {"2*b", ""}}, {"b", {"c + 1", ""}}, {"c", {"3", ""}}};
  TermValues out;
  Expressions(any_order).compile({{"a", ""}}, {.what = "source"}).evaluate({1, {}, {}, {}, {}, {}}, 0, out);
  EXPECT_EQ(out.at(0)[0], 8);
  EXPECT_EQ(value("mix(3, v)"), 15.5);
  EXPECT_EQ(value("min(u, v, -1) + max(1, 2, u)"), 1);
  EXPECT_EQ(value("sign(-3) + abs(-2)"), 1);
  EXPECT_NEAR(value("erf(1)"), 0.8427007929497149, 1e-15);
}

TEST(Expressions, DerivativesInSpace) {
  EXPECT_EQ(value("d(u, x)"), 3);
  EXPECT_EQ(value("d(v, x, x)"), 11);
  EXPECT_EQ(value("d(d(u, x), x)"), 7);
  EXPECT_EQ(value("grad(u)"), 3);
  EXPECT_EQ(value("d(u^2, x)"), 3);  // 2 u u_x
  EXPECT_EQ(value("d(u*v, x)"), 0.5 * -1 + 3 * 2);
  EXPECT_EQ(value("d(u*x + x, x)"), 3 * 0.3 + 0.5 + 1);
  EXPECT_EQ(value("d(u^2, x, x)"), 2 * 3 * 3 + 2 * 0.5 * 7);
  EXPECT_EQ(value("d(x, x) + d(2*x, x, x)"), 1);  // constant by the second derivative only
  EXPECT_EQ(value("d(D*u, x)"), 0.25 * 3);
}

TEST(Expressions, KnowWhatTheyRead) {
  const Program program = compile("-D*d(u, x) + v");
  EXPECT_TRUE(program.reads_argument(2));
  EXPECT_TRUE(program.reads_argument(1));
  EXPECT_FALSE(program.reads_argument(0));
  EXPECT_TRUE(program.reads_parameter(0));
  EXPECT_FALSE(program.reads_parameter(1));
  EXPECT_FALSE(program.reads_position());
  EXPECT_TRUE(program.is_linear());
  EXPECT_TRUE(compile("ratio*d(u, x, x) + 3*u + speed").is_linear());
  EXPECT_FALSE(compile("u^2").is_linear());
  EXPECT_FALSE(compile("u*d(u, x)").is_linear());
  EXPECT_FALSE(compile("x*d(u, x)").is_linear());
  EXPECT_FALSE(compile("u + t").is_linear());
  EXPECT_FALSE(compile("abs(u)").is_linear());
}

TEST(Expressions, ShareSubexpressionsAndFoldConstants) {
  // One power for value, slope and curvature; what is the same at all points is computed once a batch.
  const Program program = Expressions({.unknowns = {"u"}, .parameters = {"n"}})
                              .compile({{"(u + 1e-6)^n + n^2*3", ""}}, {.what = "storage"});
  EXPECT_EQ(program.size(0).instructions, 4 + 1);  // load, add, power, add, store
  EXPECT_LE(program.size(2).instructions, 15);
  EXPECT_EQ(compile("sin(2)*3 + u").size(0).instructions, 3);
  EXPECT_EQ(compile("(u+v)*(v+u)").size(0).instructions, 5);
}

struct Mistake {
  const char* text;
  std::size_t position;
  const char* message;
};

TEST(Expressions, MistakesAreNamedWithTheirPlace) {
  const Mistake mistakes[] = {
      {"", 0, "the formula ends where a value was expected"},
      {"   ", 3, "the formula ends"},
      {"u +", 3, "the formula ends where a value was expected"},
      {"(u + 1", 6, "')' was expected after what stands in parentheses, not the end"},
      {"u + 1)", 5, "this ')' closes nothing"},
      {"sin(u", 5, "')' was expected after the arguments of sin"},
      {"u v", 2, "an operator was expected here, not 'v'"},
      {"2u", 1, "an operator was expected between 2 and 'u'; a product is 2*u"},
      {"1.2.3", 0, "'1.2.3' is not a number"},
      {"1e999", 0, "outside the range"},
      {".", 0, "is not a number"},
      {"1e+", 1, "an operator was expected between 1 and 'e+'"},
      {"u ** 2", 2, "a power is '^'"},
      {"if(u > 0 && v > 0, 1, 2)", 9, "write 'and'"},
      {"if(!u > 0, 1, 2)", 3, "write 'not'"},
      {"if(u = 0, 1, 2)", 5, "did you mean '=='?"},
      {"if(0 < u < 1, 1, 2)", 9, "cannot be chained"},
      {"if(u, 1, 2)", 3, "'if' needs a condition"},
      {"if(u > 0, 1)", 0, "'if' has 2 arguments here; it is if(condition, a, b)"},
      {"u > 0", 0, "this is a condition; a number is needed"},
      {"u + (v > 0)", 4, "'+' needs a number; this is a condition"},
      {"-(u > 0)", 1, "a sign needs a number"},
      {"sin(u, v)", 0, "'sin' has 2 arguments here; it is sin(a)"},
      {"min(u)", 0, "'min' has 1 argument here; it is min(a, b, ...)"},
      {"sin()", 0, "'sin' has 0 arguments here"},
      {"R(u, v)", 0, "'R' has 2 arguments here; it is R(w)"},
      {"u + speeed", 4, "did you mean 'speed'?"},
      {"w", 0, "(names: u, v, D, nu, speed, ratio, length, x, t, pi)"},
      {"sine(u)", 0, "unknown function 'sine'; did you mean 'sin'?"},
      {"u(v)", 0, "'u' is no function; a product is u*(...)"},
      {"sin + 1", 3, "'(' was expected after the function 'sin'"},
      {"d(u, t)", 5, "no derivative in time"},
      {"d(u, y)", 5, "the variable of a derivative is x, not 'y'"},
      {"d(u)", 3, "',' was expected in d(u, x), not ')'"},
      {"-D*d(u, x, x, x)", 3, "third derivative of 'u'; the stencils have the first and second"},
      {"d(d(v, x, x), x)", 0, "third derivative of 'v'"},
      {"u + \xc3\xa9", 4, "a value was expected here"},
      {"u @ v", 2, "an operator was expected here, not '@'"},
      {"u,v", 1, "an operator was expected here, not ','"},
      {"u and v", 0, "'and' needs a condition"},
      {"ln(u)", 0, "unknown function 'ln'; the natural logarithm is 'log'"},
      {"pow(u, 2)", 0, "unknown function 'pow'; a power is 'a^b'"},
      {"diff(u, x)", 0, "unknown function 'diff'; a derivative is 'd(u,x)'"},
      {"dx(u)", 0, "unknown function 'dx'; a derivative is 'd(u,x)'"},
      {"minimum(u, v)", 0, "unknown function 'minimum'; did you mean 'min'?"},
      {"maximum(u, v)", 0, "unknown function 'maximum'; did you mean 'max'?"},
      {"-D*u_x", 3, "unknown name 'u_x'; a derivative is written 'd(u,x)'"},
      {"v_xx", 0, "unknown name 'v_xx'; a derivative is written 'd(v,x,x)'"},
      {"u_t", 0, "unknown name 'u_t'; derivatives in time stand in the storage"},
      {"|u|", 0, "a value was expected here, not '|' (an absolute value is abs(u)"},
      {"u \xe2\x88\x92 v", 2, "not '\xe2\x88\x92' (use '-')"},
      {"2*\xe2\x88\x92u", 2, "not '\xe2\x88\x92' (use '-')"},
      {"u + \xce\xb1", 4, "not '\xce\xb1' (names are ASCII letters, digits and _)"},
      {"D\xce\xb1*u", 1, "a name cannot hold '\xce\xb1' (names are ASCII letters, digits and _)"},
      {"u\xc2\xb2", 1, "not '\xc2\xb2' (a square is '^2')"},
      {"u \xe2", 2, "not '\\xe2' (names are ASCII"},
      {"d(D, x)", 2, "the derivative of a constant: 'D' holds neither an unknown nor x"},
      {"u + d(2 , x)", 6, "the derivative of a constant: '2'"},
      {"d(t*D, x)", 2, "the derivative of a constant: 't*D'"},
  };
  for (const Mistake& mistake : mistakes) {
    try {
      compile(mistake.text);
      ADD_FAILURE() << "'" << mistake.text << "' was taken";
    } catch (const ExpressionError& error) {
      EXPECT_EQ(error.position, mistake.position) << error.what();
      EXPECT_THAT(error.what(), AllOf(HasSubstr("deck.yaml:9:12: flux '"), HasSubstr(mistake.message)))
          << mistake.text;
      EXPECT_THAT(error.what(), HasSubstr("character " + std::to_string(mistake.position + 1) + ":"));
    }
  }
}

TEST(Expressions, UseLimitsTheNames) {
  const auto fails = [](const std::string& text, const ExpressionUse& use, const std::string& message) {
    try {
      compile(text, use);
      ADD_FAILURE() << "'" << text << "' was taken";
    } catch (const ExpressionError& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  fails("u_x", {.what = "source"}, "a derivative is written 'd(u,x)', and stands in a flux only");
  fails("d(u, x)", {.what = "source"}, "derivatives can stand in a flux only, not in the source");
  fails("u", {.what = "wall value", .unknowns = false, .position = false},
        "the unknown 'u' cannot be used in the wall value; names: D, nu, speed, ratio, length, t, pi");
  fails("x", {.what = "wall value", .unknowns = false, .position = false}, "the position 'x' cannot be used");
  fails("t", {.what = "initial state", .time = false}, "the time 't' cannot be used in the initial state");
}

TEST(Expressions, MistakesInDefinitionsAreNamedWhereTheyStand) {
  const auto fails = [](ExpressionNames bad, const std::string& message) {
    try {
      Expressions(std::move(bad)).check();
      ADD_FAILURE() << "taken; expected: " << message;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  ExpressionNames n = names();
  n.functions[0].body.text = "1 + z";
  fails(n, "deck.yaml:5:10: function 'R' '1 + z', character 5: unknown name 'z'");
  n = names();
  n.functions[0].body.text = "mix(w, w)";
  fails(n, "'R' calls itself (R -> mix -> R)");
  n = names();
  n.definitions[0].second.text = "u";
  fails(n,
        "deck.yaml:3:10: parameter 'ratio' 'u', character 1: the unknown 'u' cannot be used in the value of "
        "a parameter");
  n = names();
  n.definitions[0].second.text = "ratio + 1";
  fails(n,
        "deck.yaml:3:10: parameter 'ratio' 'ratio + 1', character 1: the parameter 'ratio' refers to itself");
  n.definitions = {{"a", {"1 + b", "deck.yaml:3:5"}}, {"b", {"a", "deck.yaml:3:9"}}};
  fails(n, "the parameter 'a' refers to itself by way of others (a -> b -> a)");
  n = names();
  n.parameters.push_back("x");
  fails(n, "'x' is a word of the language");
  n = names();
  n.parameters.push_back("2b");
  fails(n, "'2b' is no name");
  n = names();
  n.parameters.push_back("u");
  fails(n, "parameter 'u' has the name of an earlier unknown");
  EXPECT_THROW(Expressions::function({"R", ""}, {"1", ""}), ExpressionError);
  EXPECT_THROW(Expressions::function({"R(", ""}, {"1", ""}), ExpressionError);
  EXPECT_THROW(Expressions::function({"R(u, u)", ""}, {"1", ""}), ExpressionError);
  EXPECT_THROW(Expressions::function({"R(sin)", ""}, {"1", ""}), ExpressionError);
  EXPECT_THROW(Expressions::function({"R(u) = 2", ""}, {"1", ""}), ExpressionError);
}

TEST(Expressions, SizeIsLimited) {
  const auto fails = [](const std::string& text, const std::string& message) {
    try {
      compile(text);
      ADD_FAILURE() << "taken";
    } catch (const ExpressionError& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  fails(std::string(1000, '(') + "u" + std::string(1000, ')'), "nested too deeply");
  std::string powers = "u";
  for (int i = 0; i < 500; ++i) powers += "^u";
  fails(powers, "nested too deeply");
  fails(std::string(5000, ' '), "longer than 4000 characters");
  EXPECT_EQ(value(std::string(3000, '-') + "1"), 1);
  // Functions that double at each level: 2^40 operations when inserted.
  ExpressionNames n;
  n.unknowns = {"u"};
  n.functions.push_back(Expressions::function({"f0(u)", ""}, {"sin(u)", ""}));
  for (int i = 1; i < 40; ++i) {
    const std::string before = "f" + std::to_string(i - 1);
    n.functions.push_back(
        Expressions::function({"f" + std::to_string(i) + "(u)", ""},
                              {before + "(u) + " + before + "(u + 1)*" + before + "(2*u)", ""}));
  }
  EXPECT_THROW(Expressions(n).compile({{"f39(u)", ""}}, {.what = "storage"}), ExpressionError);
}

TEST(Expressions, FaultsAtRunTimeAreExplained) {
  const std::vector<double> arguments{-0.5, 0, 0, 0, 0, 0}, x{0.3}, t{1.5}, parameters{0.25, 0, 4};
  const TermPoints points{1, arguments, x, t, parameters, {}};
  const auto why = [&](const std::string& text) { return compile(text).explain(points, 0); };
  EXPECT_EQ(why("u + 1"), "");
  EXPECT_EQ(why("1 + D/(v*3)"), "division by zero in 'D/(v*3)' (flux, character 5): 0.25 / 0 = inf");
  EXPECT_EQ(why("D*u^0.874"),
            "power of a negative number in 'u^0.874' (flux, character 3): (-0.5)^0.874 = nan");
  EXPECT_THAT(why("1/v + 2"), HasSubstr("division by zero in '1/v' (flux"));
  EXPECT_EQ(why("2*log(u)"),
            "logarithm of a negative number in 'log(u)' (flux, character 3): log(-0.5) = nan");
  EXPECT_EQ(why("log(v)"), "logarithm of zero in 'log(v)' (flux, character 1): log(0) = -inf");
  EXPECT_EQ(why("sqrt(u)"),
            "square root of a negative number in 'sqrt(u)' (flux, character 1): sqrt(-0.5) = nan");
  EXPECT_EQ(why("exp(1000 + u)"),
            "overflow of an exponential in 'exp(1000 + u)' (flux, character 1): exp(999.5) = inf");
  EXPECT_EQ(why("if(u > 0, sqrt(u), u)"), "");
  EXPECT_EQ(why("R(1/0)"), "division by zero in '1/0' (flux, character 3): 1 / 0 = inf");
  EXPECT_THAT(why("ratio"),
              HasSubstr("division by zero in 'D/nu' (parameter 'ratio', character 1): 0.25 / 0 = inf"));
  EXPECT_THAT(why("sqrt(v)"), HasSubstr("in the derivative of 'sqrt(v)' (flux, character 1)"));
  const std::vector<double> broken{std::numeric_limits<double>::quiet_NaN(), 0, 0, 0, 0, 0};
  EXPECT_EQ(compile("2*u").explain({1, broken, x, t, parameters, {}}, 0), "u itself is nan");
}

/// Three axes, one of u = 0.5, v = 2; u_x = 3, v_x = -1; u_y = 5, v_y = 7; u_z = -2, v_z = 11; D = 0.25 at x = 0.3,
/// y = 0.7, z = 0.9, t = 1.5, the second of two points.
class SeveralAxes : public testing::Test {
 protected:
  static Expressions language(int axes) {
    return Expressions({.unknowns = {"u", "v"},
                        .parameters = {"D"},
                        .functions = {Expressions::function({"J(w)", ""}, {"-D*grad(w)", "deck.yaml:5:10"}),
                                      Expressions::function({"slope(w)", ""}, {"d(w, y)", "deck.yaml:6:10"})},
                        .axes = axes});
  }
  static Program compile(const std::string& text, int component = -1, int axes = 3,
                         ExpressionUse use = {.what = "flux", .derivatives = true}) {
    return language(axes).compile({{text, "deck.yaml:9:12", component}}, use);
  }
  static constexpr double state[8] = {0.5, 2, 3, -1, 5, 7, -2, 11}, place[3] = {0.3, 0.7, 0.9};

  /// The result at the second of two points.
  static TermValues evaluate(const Program& program) {
    std::vector<double> arguments, x;
    for (const double number : state) arguments.insert(arguments.end(), {number + 1, number});
    for (const double number : place) x.insert(x.end(), {number + 1, number});
    const std::vector<double> t{0, 1.5}, parameters{0.25};
    TermValues out;
    program.evaluate({2, arguments, x, t, parameters, {}}, 2, out);
    EXPECT_EQ(program.explain({2, arguments, x, t, parameters, {}}, 1), "");
    return out;
  }
  static double value(const std::string& text, int component = -1) {
    return evaluate(compile(text, component)).at(0)[1];
  }
  static void fails(const std::string& text, int component, int axes, const std::string& message,
                    const ExpressionUse& use = {.what = "flux", .derivatives = true}) {
    try {
      compile(text, component, axes, use);
      ADD_FAILURE() << "'" << text << "' was taken";
    } catch (const ExpressionError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("deck.yaml:"), HasSubstr(message))) << text;
    }
  }
};

TEST_F(SeveralAxes, PositionsAndDerivatives) {
  EXPECT_EQ(value("x + 10*y + 100*z + t"), 0.3 + 10 * 0.7 + 100 * 0.9 + 1.5);
  EXPECT_EQ(value("d(u, x) + 10*d(u, y) + 100*d(v, z)"), 3 + 50 + 1100);
  EXPECT_EQ(value("d(u*v, z)"), 0.5 * 11 + 2 * -2);
  EXPECT_EQ(value("d(u*y + x*z, y)"), 5 * 0.7 + 0.5);
  EXPECT_EQ(value("d(x, y)"), 0);
  EXPECT_EQ(value("slope(u^2)"), 2 * 0.5 * 5);
  const TermValues out = evaluate(compile("d(u, y)^2*y*d(v, z) + u"));
  ASSERT_EQ(out.arguments, 8);  // u, v, u_x, v_x, u_y, v_y, u_z, v_z
  EXPECT_EQ(out.by(0, 0)[1], 1);
  EXPECT_EQ(out.by(0, 2)[1], 0);
  EXPECT_DOUBLE_EQ(out.by(0, 4)[1], 2 * 5 * 0.7 * 11);
  EXPECT_DOUBLE_EQ(out.by(0, 7)[1], 25 * 0.7);
  EXPECT_DOUBLE_EQ(out.by(0, 4, 7)[1], 2 * 5 * 0.7);
  EXPECT_DOUBLE_EQ(out.by(0, 4, 4)[1], 2 * 0.7 * 11);
  EXPECT_TRUE(compile("z*u").reads_position());
  EXPECT_FALSE(compile("z*u").is_linear());
  EXPECT_TRUE(compile("-D*d(u, z)").is_linear());
  EXPECT_FALSE(compile("t*u").reads_position());
}

TEST_F(SeveralAxes, Vectors) {
  EXPECT_EQ(value("-D*grad(u)", 0), -0.25 * 3);
  EXPECT_EQ(value("-D*grad(u)", 2), -0.25 * -2);
  EXPECT_EQ(value("[1, x, 3]*u - (grad(u) + 2*grad(v))/2", 1), 0.3 * 0.5 - (5 + 2 * 7) / 2.0);
  EXPECT_EQ(value("J(u*v)", 2), -0.25 * (0.5 * 11 + 2 * -2));
  EXPECT_EQ(value("0", 1), 0);
  EXPECT_EQ(value("+[1, 2, 3]", 1), 2);
  const std::vector<double> arguments{0.5, 2, 3, -1, 7, 11}, x{0.3}, parameters{0.25};
  TermValues out;
  compile("-D*grad(u)", 0, 1).evaluate({1, arguments, x, {}, parameters, {}}, 0, out);
  EXPECT_EQ(out.at(0)[0], -0.25 * 3);
  compile("-D*d(u, x, x)", 0, 1).evaluate({1, arguments, x, {}, parameters, {}}, 0, out);
  EXPECT_EQ(out.at(0)[0], -0.25 * 7);
}

TEST_F(SeveralAxes, MistakesAreNamedWithTheirPlace) {
  fails("d(u, z)", -1, 2,
        "the variable of a derivative is x or y, not 'z'; allowed: d(u, x), d(u, y); the equation has "
        "the axes x, y, and z with 3 numbers in its length, for example length: [1, 1, 1]");
  fails("y*u", -1, 1,
        "unknown name 'y'; the equation has the axis x, and y with 2 numbers in its length, for example "
        "length: [1, 1] (names: u, v, D, x, t, pi)");
  fails("u_y", -1, 2, "a derivative is written 'd(u,y)'");
  fails("u_xy", -1, 2, "the equation takes the divergence of the flux itself");
  fails("d(u, x, y)", -1, 2,
        "this is a second derivative of 'u'; with several axes a flux holds first derivatives only");
  fails("d(u, t)", -1, 2,
        "the equation itself is d/dt storage + div flux = source; allowed: d(u, x), d(u, y)");
  fails("D*laplacian(u)", -1, 2,
        "unknown function 'laplacian'; the equation takes the divergence of the flux itself: "
        "what paper writes as div(D*grad(u)), or as D*laplacian(u), on the right is flux: "
        "-D*grad(u)",
        {.what = "source"});
  fails("div(u)", -1, 2, "unknown function 'div'; the equation takes the divergence", {.what = "source"});
  fails("grad(u)", -1, 2, "derivatives can stand in a flux only, not in the source", {.what = "source"});
  fails("grad(u)", -1, 2, "this is a vector; a number is needed");
  fails(
      "u", 0, 2,
      "this is a number, but the flux has 2 components; write a vector such as -D*grad(u) or \"[c*u, c*u]\"");
  fails("[1, 2, 3]", 0, 2, "a vector of 3; the equation has the axes x, y: [a, a]");
  fails("[1, 2", 0, 2, "']' was expected after the components of a vector, not the end");
  fails("grad(u)*grad(v)", 0, 2, "vectors have no product; write the components out");
  fails("1/grad(u)", 0, 2, "nothing can be divided by a vector");
  fails("u + grad(u)", 0, 2,
        "'+' stands between a number and a vector; a vector with equal components is \"[a, a]\"");
  fails("sin(grad(u))", 0, 2, "'sin' needs a number; this is a vector");
  fails("if(grad(u), 1, 2)", 0, 2, "needs a condition such as u > 0; this is a vector");
  fails("grad(D)", 0, 2,
        "the derivative of a constant: 'D' holds neither an unknown nor x or y; grad(u) differentiates");
  fails("y", -1, 2, "the position 'y' cannot be used in the bottom wall; names: D, x, t, pi",
        {.what = "bottom wall", .unknowns = false, .fixed_axis = 1});
  for (const char* name : {"y", "z"}) {
    EXPECT_NO_THROW(Expressions({.unknowns = {name}}));
    EXPECT_NO_THROW(Expressions({.unknowns = {"z"}, .axes = 2}));
    EXPECT_THROW(Expressions({.unknowns = {name}, .axes = 3}), InputError);
    EXPECT_THROW(
        Expressions({.functions = {Expressions::function({std::string("f(") + name + ")", ""}, {"1", ""})},
                     .axes = 3}),
        InputError);
  }
}

TEST_F(SeveralAxes, FaultsNameTheAxis) {
  const std::vector<double> arguments(6, 1.0), x{0.3, std::numeric_limits<double>::infinity()}, t{1.5},
      parameters{0.25};
  EXPECT_EQ(compile("y*u", -1, 2).explain({1, arguments, x, t, parameters, {}}, 0), "y itself is inf");
}

}  // namespace
}  // namespace rankine
