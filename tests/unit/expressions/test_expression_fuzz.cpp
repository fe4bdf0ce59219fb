// Random and mutated formulas: each compiles or ends in an ExpressionError, in bounded time.
#include <chrono>
#include <random>

#include <gtest/gtest.h>

#include "tests/fuzz/expression_fuzz.hpp"

namespace rankine {
namespace {

TEST(ExpressionFuzz, MutatedAndRandomTexts) {
  const std::vector<std::string> seeds{
      "-D*d(u, x)",
      "u + c/n*((u+1e-6)^n - 1e-6^n)",
      "if(u > 0 and v <= 1, u^2, max(v, -1, x*t))",
      "sin(2*pi*x/length)*exp(-t) + tanh(u*v)",
      "f(u, R(v)) - d(u, x, x)*(1 - u)",
      "d(u^2*v, x)/sqrt(1 + abs(u)) + erf(v) - log(n)",
      "[D, x*y]*u - K*grad(u*v)/2 + 2*[d(u, y), v]",
  };
  const std::vector<std::string> pieces{
      "u",    "v",  "D",     "n",    "x",     "t",     "pi",   "length", "c",    "1",  "2.5",
      "1e-3", "0",  "+",     "-",    "*",     "/",     "^",    "(",      ")",    ",",  "<",
      ">=",   "==", " and ", " or ", "not ",  "sin(",  "d(",   "if(",    "R(",   "f(", "max(",
      ", x)", " ",  ".",     "e",    "=",     "sqrt(", "exp(", "\n",     "\xc3", "@",  std::string(1, '\0'),
      "d(d(", "^-", "((((",  "))))", "1e400", "grad(", "[",    "]",      "y",    "K",  ", y)"};
  std::mt19937 random(20261121);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const auto start = std::chrono::steady_clock::now();
  constexpr int count = 20000;
  int taken = 0;
  for (int i = 0; i < count; ++i) {
    std::string text;
    if (i % 3 == 0) {
      for (std::size_t k = 1 + below(24); k > 0; --k) text += pieces[below(pieces.size())];
    } else {
      text = seeds[below(seeds.size())];
      for (std::size_t k = 1 + below(4); k > 0; --k) {
        const std::size_t at = below(text.size() + 1);
        switch (below(4)) {
          case 0:
            text.insert(at, pieces[below(pieces.size())]);
            break;
          case 1:
            text.erase(at, 1 + below(4));
            break;
          case 2:
            if (at < text.size()) text[at] = static_cast<char>(random());
            break;
          default: {  // something from another seed
            const std::string& other = seeds[below(seeds.size())];
            const std::size_t from = below(other.size());
            text.insert(at, other.substr(from, 1 + below(12)));
          }
        }
      }
    }
    ASSERT_NO_THROW(taken += fuzz_expression(text)) << text;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  RecordProperty("seconds", std::to_string(seconds));
  EXPECT_GT(taken, count / 50);  // the mutations are mild enough to reach the evaluation
}

// Texts that would take exponential time, or the stack, if nothing were limited.
TEST(ExpressionFuzz, TextsThatGrow) {
  const auto repeat = [](const std::string& text, int count) {
    std::string result;
    for (int i = 0; i < count; ++i) result += text;
    return result;
  };
  for (const std::string& text :
       {repeat("sin(", 900), repeat("(", 3999), repeat("-", 3999), repeat("not ", 999),
        repeat("u^", 1500) + "u", repeat("f(u,", 900), repeat("d(", 1900),
        "d(sin(x^2*u)" + repeat(",x", 1900) + ")", "d(exp(sin(x^2))*tanh(x)^x" + repeat(",x", 1900) + ")",
        repeat("u*v+", 900) + "1", repeat("u*", 1900) + "v", repeat("f(u,R(", 400),
        repeat("R(", 90) + "u" + repeat(")", 90), repeat("sin(u*", 90) + "v" + repeat(")", 90),
        repeat("if(u>0,", 500), "1" + repeat("0", 3000), repeat("max(u,v,", 400)}) {
    ASSERT_NO_THROW(fuzz_expression(text)) << text.substr(0, 40);
  }
}

}  // namespace
}  // namespace rankine
