// Derivatives of every operation of the bytecode: against formulas written by hand, to 1e-12, and against
// central differences, to 1e-7 of the largest value.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "src/expressions/expressions.hpp"
#include "src/pde/diffusion_sorption_coefficients.hpp"

namespace rankine {
namespace {

using kernels::Program;
using kernels::TermPoints;
using kernels::TermValues;

/// Points [argument][point] with a value for x, t and the parameters.
struct Points {
  std::vector<double> arguments, x, t, parameters;
  std::vector<int> learned;
  TermPoints view(long size) const { return {size, arguments, x, t, parameters, learned}; }
};

TermValues evaluate(const Program& program, const Points& points, long size, int order) {
  TermValues out;
  program.evaluate(points.view(size), order, out);
  return out;
}

struct Case {
  const char* text;
  double low, high;  // of u; v lies in the same range
  // Hand-written: value, by u, by v, by u u, by u v, by v v.
  std::function<std::array<double, 6>(double, double)> exact;
};

const std::vector<Case>& cases() {
  using std::cos, std::cosh, std::exp, std::log, std::pow, std::sin, std::sinh, std::sqrt, std::tan,
      std::tanh;
  static const std::vector<Case> table = {
      {"u + v", -2, 2, [](double u, double v) { return std::array{u + v, 1., 1., 0., 0., 0.}; }},
      {"u - v", -2, 2, [](double u, double v) { return std::array{u - v, 1., -1., 0., 0., 0.}; }},
      {"-u", -2, 2, [](double u, double) { return std::array{-u, -1., 0., 0., 0., 0.}; }},
      {"u * v", -2, 2, [](double u, double v) { return std::array{u * v, v, u, 0., 1., 0.}; }},
      {"u / v", 0.5, 2,
       [](double u, double v) {
         return std::array{u / v, 1 / v, -u / (v * v), 0., -1 / (v * v), 2 * u / (v * v * v)};
       }},
      {"u^2", -2, 2, [](double u, double) { return std::array{u * u, 2 * u, 0., 2., 0., 0.}; }},
      {"u^5", -2, 2,
       [](double u, double) { return std::array{pow(u, 5), 5 * pow(u, 4), 0., 20 * pow(u, 3), 0., 0.}; }},
      {"u^-3", 0.5, 2,
       [](double u, double) { return std::array{pow(u, -3), -3 * pow(u, -4), 0., 12 * pow(u, -5), 0., 0.}; }},
      {"u^0.5", 0.3, 2,
       [](double u, double) { return std::array{sqrt(u), 0.5 / sqrt(u), 0., -0.25 * pow(u, -1.5), 0., 0.}; }},
      {"u^0.874", 0.3, 2,
       [](double u, double) {
         const double n = 0.874;
         return std::array{pow(u, n), n * pow(u, n - 1), 0., n * (n - 1) * pow(u, n - 2), 0., 0.};
       }},
      {"u^v", 0.5, 2,
       [](double u, double v) {
         const double p = pow(u, v), l = log(u);
         return std::array{
             p,        v * pow(u, v - 1), p * l, v * (v - 1) * pow(u, v - 2), pow(u, v - 1) * (1 + v * l),
             p * l * l};
       }},
      {"2.5^u", -1, 1,
       [](double u, double) {
         const double p = pow(2.5, u), l = log(2.5);
         return std::array{p, p * l, 0., p * l * l, 0., 0.};
       }},
      {"sin(u)", -2, 2, [](double u, double) { return std::array{sin(u), cos(u), 0., -sin(u), 0., 0.}; }},
      {"cos(u)", -2, 2, [](double u, double) { return std::array{cos(u), -sin(u), 0., -cos(u), 0., 0.}; }},
      {"tan(u)", -1, 1,
       [](double u, double) {
         const double s = 1 / (cos(u) * cos(u));
         return std::array{tan(u), s, 0., 2 * tan(u) * s, 0., 0.};
       }},
      {"exp(u)", -2, 2, [](double u, double) { return std::array{exp(u), exp(u), 0., exp(u), 0., 0.}; }},
      {"log(u)", 0.3, 2,
       [](double u, double) { return std::array{log(u), 1 / u, 0., -1 / (u * u), 0., 0.}; }},
      {"sqrt(u)", 0.3, 2,
       [](double u, double) { return std::array{sqrt(u), 0.5 / sqrt(u), 0., -0.25 * pow(u, -1.5), 0., 0.}; }},
      {"abs(u)", -2, 2,
       [](double u, double) { return std::array{std::abs(u), u > 0 ? 1. : -1., 0., 0., 0., 0.}; }},
      {"sign(u)", -2, 2, [](double u, double) { return std::array{u > 0 ? 1. : -1., 0., 0., 0., 0., 0.}; }},
      {"sinh(u)", -2, 2, [](double u, double) { return std::array{sinh(u), cosh(u), 0., sinh(u), 0., 0.}; }},
      {"cosh(u)", -2, 2, [](double u, double) { return std::array{cosh(u), sinh(u), 0., cosh(u), 0., 0.}; }},
      {"tanh(u)", -2, 2,
       [](double u, double) {
         const double s = 1 / (cosh(u) * cosh(u));
         return std::array{tanh(u), s, 0., -2 * tanh(u) * s, 0., 0.};
       }},
      {"erf(u)", -2, 2,
       [](double u, double) {
         const double g = 2 / sqrt(std::acos(-1.)) * exp(-u * u);
         return std::array{std::erf(u), g, 0., -2 * u * g, 0., 0.};
       }},
      {"min(u, v)", -2, 2,
       [](double u, double v) {
         return std::array{std::min(u, v), u < v ? 1. : 0., u < v ? 0. : 1., 0., 0., 0.};
       }},
      {"max(u, v)", -2, 2,
       [](double u, double v) {
         return std::array{std::max(u, v), u > v ? 1. : 0., u > v ? 0. : 1., 0., 0., 0.};
       }},
      {"if(u > 0 and v <= 1 or not v >= -1, u^2, u*v)", -2, 2,
       [](double u, double v) {
         const bool c = (u > 0 && v <= 1) || v < -1;
         return c ? std::array{u * u, 2 * u, 0., 2., 0., 0.} : std::array{u * v, v, u, 0., 1., 0.};
       }},
      {"sin(u*v) / (1 + u^2)", -2, 2,
       [](double u, double v) {
         const double s = sin(u * v), c = cos(u * v), q = 1 + u * u;
         return std::array{
             s / q,
             v * c / q - 2 * u * s / (q * q),
             u * c / q,
             -v * v * s / q - 4 * u * v * c / (q * q) + s * (8 * u * u / (q * q * q) - 2 / (q * q)),
             (c - u * v * s) / q - 2 * u * u * c / (q * q),
             -u * u * s / q};
       }},
  };
  return table;
}

Program compile(const std::string& text) {
  return Expressions({.unknowns = {"u", "v"}, .parameters = {}}).compile({{text, ""}}, {.what = "storage"});
}

/// Points that keep away from kinks: u = v, 0, 1, -1.
Points points_of(const Case& c, long count) {
  Points points;
  for (int a = 0; a < 2; ++a) {
    for (long i = 0; i < count; ++i) {
      const double phase =
          std::fmod((a == 0 ? 0.6180339887 : 0.7548776662) * (static_cast<double>(i) + 1), 1.0);
      double value = c.low + (c.high - c.low) * phase;
      for (const double kink : {0., 1., -1.})
        if (std::abs(value - kink) < 0.01) value += 0.03;
      if (a == 1 && std::abs(value - points.arguments[i]) < 0.01) value += 0.04;
      points.arguments.push_back(value);
    }
  }
  return points;
}

TEST(ExpressionDerivatives, AgreeWithHandWrittenOnes) {
  constexpr long count = 150;  // more than two blocks and a rest
  for (const Case& c : cases()) {
    const Points points = points_of(c, count);
    const TermValues out = evaluate(compile(c.text), points, count, 2);
    for (long i = 0; i < count; ++i) {
      const auto exact = c.exact(points.arguments[i], points.arguments[count + i]);
      const double found[6] = {out.at(0)[i],       out.by(0, 0)[i],    out.by(0, 1)[i],
                               out.by(0, 0, 0)[i], out.by(0, 0, 1)[i], out.by(0, 1, 1)[i]};
      for (int k = 0; k < 6; ++k)
        ASSERT_NEAR(found[k], exact[k], 1e-12 * std::max(1.0, std::abs(exact[k])))
            << c.text << ", part " << k;
      ASSERT_EQ(out.by(0, 1, 0)[i], out.by(0, 0, 1)[i]);
    }
  }
}

TEST(ExpressionDerivatives, AgreeWithCentralDifferences) {
  constexpr long count = 100;
  constexpr double step = 1e-5;
  for (const Case& c : cases()) {
    const Program program = compile(c.text);
    const Points points = points_of(c, count);
    const TermValues out = evaluate(program, points, count, 2);
    for (int a = 0; a < 2; ++a) {
      Points plus = points, minus = points;
      for (long i = 0; i < count; ++i) {
        plus.arguments[a * count + i] += step;
        minus.arguments[a * count + i] -= step;
      }
      const TermValues up = evaluate(program, plus, count, 1), down = evaluate(program, minus, count, 1);
      const auto compare = [&](const double* found, const double* high, const double* low,
                               const std::string& what) {
        double largest = 1;
        for (long i = 0; i < count; ++i) largest = std::max(largest, std::abs(found[i]));
        for (long i = 0; i < count; ++i)
          ASSERT_NEAR(found[i], (high[i] - low[i]) / (2 * step), 1e-7 * largest) << c.text << " " << what;
      };
      compare(out.by(0, a), up.at(0), down.at(0), "gradient");
      for (int b = 0; b < 2; ++b) compare(out.by(0, b, a), up.by(0, b), down.by(0, b), "hessian");
    }
  }
}

// The derivatives by x and t, which are no arguments, exist through d(., x) only; those by parameters when
// they are learned.
TEST(ExpressionDerivatives, LearnedParametersCountAsFurtherArguments) {
  const Expressions expressions({.unknowns = {"u"}, .parameters = {"D", "n", "a"}});
  const Program program =
      expressions.compile({{"a*u^n - D*d(u,x)", ""}}, {.what = "flux", .derivatives = true});
  ASSERT_EQ(program.arguments(), 3);
  Points points;
  points.arguments = {0.7, 1.3, 2, -1, 0, 0};  // two points of u, u_x, u_xx
  points.parameters = {0.5, 1.7, 3};
  points.learned = {1, 0};
  const TermValues out = evaluate(program, points, 2, 2);
  ASSERT_EQ(out.arguments, 5);
  for (int i = 0; i < 2; ++i) {
    const double u = points.arguments[i], u_x = points.arguments[2 + i], n = 1.7, p = std::pow(u, n),
                 l = std::log(u);
    EXPECT_NEAR(out.at(0)[i], 3 * p - 0.5 * u_x, 1e-14);
    EXPECT_NEAR(out.by(0, 0)[i], 3 * n * p / u, 1e-13);
    EXPECT_NEAR(out.by(0, 1)[i], -0.5, 0);
    EXPECT_EQ(out.by(0, 2)[i], 0);
    EXPECT_NEAR(out.by(0, 3)[i], 3 * p * l, 1e-13);  // n
    EXPECT_NEAR(out.by(0, 4)[i], -u_x, 1e-14);       // D
    EXPECT_NEAR(out.by(0, 0, 3)[i], 3 * p / u * (1 + n * l), 1e-13);
    EXPECT_NEAR(out.by(0, 3, 3)[i], 3 * p * l * l, 1e-13);
    EXPECT_NEAR(out.by(0, 1, 4)[i], -1, 0);
    EXPECT_EQ(out.by(0, 4, 4)[i], 0);
  }
}

TEST(ExpressionDerivatives, PowersAtZeroHaveTheirLimits) {
  const Expressions expressions({.unknowns = {"u"}, .parameters = {"n"}});
  const Program program = expressions.compile({{"u^n", ""}}, {.what = "storage"});
  for (const double n : {1.0, 2.0, 3.0, 2.5}) {
    Points points;
    points.arguments = {0};
    points.parameters = {n};
    const TermValues out = evaluate(program, points, 1, 2);
    EXPECT_EQ(out.at(0)[0], 0);
    EXPECT_EQ(out.by(0, 0)[0], n == 1 ? 1 : 0) << n;
    EXPECT_EQ(out.by(0, 0, 0)[0], n == 2 ? 2 : 0) << n;
  }
}

TEST(ExpressionDerivatives, BranchesThatAreNotTakenDoNotCount) {
  const Program program = compile("if(u > 0, sqrt(u) + log(u) + u^0.3, v/(v - v + 1) - u)");
  Points points;
  points.arguments = {-1, 4, -4, 1, 1, 1};
  const TermValues out = evaluate(program, points, 3, 2);
  for (const auto* values : {&out.value, &out.gradient, &out.hessian})
    for (const double value : *values) EXPECT_TRUE(std::isfinite(value));
  EXPECT_EQ(out.at(0)[0], 2);
  EXPECT_EQ(out.by(0, 0)[2], -1);
}

TEST(ExpressionDerivatives, ResultsDoNotDependOnThePlaceInTheBatch) {
  const Program program = compile("exp(-u^2)*v^1.3 + if(u > v, u/v, tanh(u))");
  const Points points = points_of({"", 0.2, 2, {}}, 131);
  const TermValues all = evaluate(program, points, 131, 2);
  for (const long i : {0L, 63L, 64L, 100L, 130L}) {
    Points one;
    one.arguments = {points.arguments[i], points.arguments[131 + i]};
    const TermValues single = evaluate(program, one, 1, 2);
    EXPECT_EQ(single.at(0)[0], all.at(0)[i]);
    for (int a = 0; a < 2; ++a) {
      EXPECT_EQ(single.by(0, a)[0], all.by(0, a)[i]);
      for (int b = 0; b < 2; ++b) EXPECT_EQ(single.by(0, a, b)[0], all.by(0, a, b)[i]);
    }
  }
}

TEST(ExpressionDerivatives, DiffusionSorptionAgreesWithTheNativeCoefficients) {
  const DiffusionSorptionCoefficients native;
  const Expressions expressions({.unknowns = {"u"},
                                 .parameters = {"phi", "rho", "k", "n", "eps"},
                                 .definitions = {{"c", {"(1-phi)/phi*rho*k*n", ""}}}});
  const Program program = expressions.compile(
      {{"if(u > 0, u + c/n*((u+eps)^n - eps^n), u*(1 + c*eps^(n-1)))", ""}}, {.what = "storage"});
  Points points;
  for (int i = 0; i < 300; ++i) points.arguments.push_back(-0.1 + i * 1e-3);
  points.parameters = {native.porosity, native.density, native.freundlich, native.exponent,
                       native.regularisation};
  const TermValues out = evaluate(program, points, 300, 2);
  for (int i = 0; i < 300; ++i) {
    const auto exact = native.storage(points.arguments[i]);
    EXPECT_NEAR(out.at(0)[i], exact.value, 1e-13 * std::abs(exact.value) + 1e-16);
    EXPECT_NEAR(out.by(0, 0)[i], exact.slope, 1e-13 * exact.slope);
    EXPECT_NEAR(out.by(0, 0, 0)[i], exact.curvature, 1e-13 * std::abs(exact.curvature));
  }
}

}  // namespace
}  // namespace rankine
