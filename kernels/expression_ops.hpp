// The operations of an expression, each on a block of points at once: the loop over the block stands inside
// the choice of operation, so that compilers vectorise it and the choice costs little.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/inline.hpp"

namespace rankine::kernels {

enum class Op : std::uint8_t {
  // Leaves. `index` of a node says which argument, parameter or row of positions.
  constant,
  argument,
  parameter,
  position,
  time,
  // Arithmetic.
  add,
  subtract,
  multiply,
  divide,
  negate,
  power,        // a^b
  power_shift,  // a^(b - index), from c = a^b
  power_log,    // a log(b), 0 where a is 0: what differentiating b^n by n leads to
  // Functions.
  square_root,
  exponential,
  logarithm,
  sine,
  cosine,
  tangent,
  hyperbolic_sine,
  hyperbolic_cosine,
  hyperbolic_tangent,
  error_function,
  absolute,
  sign,
  minimum,
  maximum,
  // Conditions: 1 or 0.
  less,
  less_equal,
  equal,
  not_equal,
  both,
  either,
  opposite,
  select,  // a != 0 ? b : c
  // Of the flat program only.
  load_argument,
  load_position,
  load_time,
  store,
};

/// Points of a block that an operation reads: one number for all of them, or a number each.
struct OpInput {
  const double* at;
  bool uniform;
};

namespace ops {

struct Add {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a + b; }
};
struct Subtract {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a - b; }
};
struct Multiply {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a * b; }
};
struct Divide {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a / b; }
};
struct Negate {
  RANKINE_FORCEINLINE double operator()(double a) const { return -a; }
};
struct Power {
  RANKINE_FORCEINLINE double operator()(double a, double b) const {
    using std::pow;
    return pow(a, b);
  }
};
struct PowerShift {
  int by;
  RANKINE_FORCEINLINE double operator()(double a, double b, double c) const {
    double divisor = a;
    for (int i = 1; i < by; ++i) divisor *= a;
    if (a != 0) return c / divisor;
    // Below zero the power is infinite, but a whole b >= 0 has met a factor 0 on the way to this derivative.
    const double rest = b - by;
    const bool polynomial = b >= 0 && b == static_cast<double>(static_cast<int>(b));
    return rest == 0 ? 1.0 : rest > 0 || polynomial ? 0.0 : 1.0 / (a * a);
  }
};
struct PowerLog {
  RANKINE_FORCEINLINE double operator()(double a, double b) const {
    using std::log;
    return a == 0 ? 0.0 : a * log(b);
  }
};
struct SquareRoot {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::sqrt;
    return sqrt(a);
  }
};
struct Exponential {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::exp;
    return exp(a);
  }
};
struct Logarithm {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::log;
    return log(a);
  }
};
struct Sine {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::sin;
    return sin(a);
  }
};
struct Cosine {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::cos;
    return cos(a);
  }
};
struct Tangent {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::tan;
    return tan(a);
  }
};
struct HyperbolicSine {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::sinh;
    return sinh(a);
  }
};
struct HyperbolicCosine {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::cosh;
    return cosh(a);
  }
};
struct HyperbolicTangent {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::tanh;
    return tanh(a);
  }
};
struct ErrorFunction {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::erf;
    return erf(a);
  }
};
struct Absolute {
  RANKINE_FORCEINLINE double operator()(double a) const {
    using std::fabs;
    return fabs(a);
  }
};
struct Sign {
  RANKINE_FORCEINLINE double operator()(double a) const {
    return a > 0 ? 1.0 : a < 0 ? -1.0 : a;  // 0 and NaN stay what they are
  }
};
// A NaN on either side is the result.
struct Minimum {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a < b || a != a ? a : b; }
};
struct Maximum {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a > b || a != a ? a : b; }
};
struct Less {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a < b ? 1.0 : 0.0; }
};
struct LessEqual {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a <= b ? 1.0 : 0.0; }
};
struct Equal {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a == b ? 1.0 : 0.0; }
};
struct NotEqual {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a != b ? 1.0 : 0.0; }
};
struct Both {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a * b; }
};
struct Either {
  RANKINE_FORCEINLINE double operator()(double a, double b) const { return a > b ? a : b; }
};
struct Opposite {
  RANKINE_FORCEINLINE double operator()(double a) const { return 1.0 - a; }
};
struct Select {
  RANKINE_FORCEINLINE double operator()(double a, double b, double c) const { return a != 0 ? b : c; }
};

template <int Block, class F>
RANKINE_FORCEINLINE void each(F f, double* __restrict__ out, OpInput a) {
  const double* p = a.at;
  for (int j = 0; j < Block; ++j) out[j] = f(p[j]);
}

template <int Block, class F>
RANKINE_FORCEINLINE void each(F f, double* __restrict__ out, OpInput a, OpInput b) {
  const double *p = a.at, *q = b.at;
  if (a.uniform && Block > 1) {
    const double value = *p;
    for (int j = 0; j < Block; ++j) out[j] = f(value, q[j]);
  } else if (b.uniform && Block > 1) {
    const double value = *q;
    for (int j = 0; j < Block; ++j) out[j] = f(p[j], value);
  } else {
    for (int j = 0; j < Block; ++j) out[j] = f(p[j], q[j]);
  }
}

template <int Block, class F>
RANKINE_FORCEINLINE void each(F f, double* __restrict__ out, OpInput a, OpInput b, OpInput c) {
  const double *p = a.at, *q = b.at, *r = c.at;
  if (Block == 1 || !(a.uniform || b.uniform || c.uniform)) {
    for (int j = 0; j < Block; ++j) out[j] = f(p[j], q[j], r[j]);
    return;
  }
  double wide[3][Block];
  const OpInput inputs[3] = {a, b, c};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < Block; ++j) wide[i][j] = inputs[i].at[inputs[i].uniform ? 0 : j];
  for (int j = 0; j < Block; ++j) out[j] = f(wide[0][j], wide[1][j], wide[2][j]);
}

}  // namespace ops

/// out[j] = op(a[j], b[j], c[j]) for Block points; inputs that the operation has not are not read. `out` must
/// not be one of the inputs, of which one at least is not uniform if Block > 1.
template <int Block>
RANKINE_INLINE void operate(Op op, int index, double* __restrict__ out, OpInput a, OpInput b, OpInput c) {
  switch (op) {
    case Op::add:
      return ops::each<Block>(ops::Add{}, out, a, b);
    case Op::subtract:
      return ops::each<Block>(ops::Subtract{}, out, a, b);
    case Op::multiply:
      return ops::each<Block>(ops::Multiply{}, out, a, b);
    case Op::divide:
      return ops::each<Block>(ops::Divide{}, out, a, b);
    case Op::negate:
      return ops::each<Block>(ops::Negate{}, out, a);
    case Op::power:
      return ops::each<Block>(ops::Power{}, out, a, b);
    case Op::power_shift:
      if (index == 1) return ops::each<Block>(ops::PowerShift{1}, out, a, b, c);
      if (index == 2) return ops::each<Block>(ops::PowerShift{2}, out, a, b, c);
      return ops::each<Block>(ops::PowerShift{index}, out, a, b, c);
    case Op::power_log:
      return ops::each<Block>(ops::PowerLog{}, out, a, b);
    case Op::square_root:
      return ops::each<Block>(ops::SquareRoot{}, out, a);
    case Op::exponential:
      return ops::each<Block>(ops::Exponential{}, out, a);
    case Op::logarithm:
      return ops::each<Block>(ops::Logarithm{}, out, a);
    case Op::sine:
      return ops::each<Block>(ops::Sine{}, out, a);
    case Op::cosine:
      return ops::each<Block>(ops::Cosine{}, out, a);
    case Op::tangent:
      return ops::each<Block>(ops::Tangent{}, out, a);
    case Op::hyperbolic_sine:
      return ops::each<Block>(ops::HyperbolicSine{}, out, a);
    case Op::hyperbolic_cosine:
      return ops::each<Block>(ops::HyperbolicCosine{}, out, a);
    case Op::hyperbolic_tangent:
      return ops::each<Block>(ops::HyperbolicTangent{}, out, a);
    case Op::error_function:
      return ops::each<Block>(ops::ErrorFunction{}, out, a);
    case Op::absolute:
      return ops::each<Block>(ops::Absolute{}, out, a);
    case Op::sign:
      return ops::each<Block>(ops::Sign{}, out, a);
    case Op::minimum:
      return ops::each<Block>(ops::Minimum{}, out, a, b);
    case Op::maximum:
      return ops::each<Block>(ops::Maximum{}, out, a, b);
    case Op::less:
      return ops::each<Block>(ops::Less{}, out, a, b);
    case Op::less_equal:
      return ops::each<Block>(ops::LessEqual{}, out, a, b);
    case Op::equal:
      return ops::each<Block>(ops::Equal{}, out, a, b);
    case Op::not_equal:
      return ops::each<Block>(ops::NotEqual{}, out, a, b);
    case Op::both:
      return ops::each<Block>(ops::Both{}, out, a, b);
    case Op::either:
      return ops::each<Block>(ops::Either{}, out, a, b);
    case Op::opposite:
      return ops::each<Block>(ops::Opposite{}, out, a);
    case Op::select:
      return ops::each<Block>(ops::Select{}, out, a, b, c);
    case Op::constant:
    case Op::argument:
    case Op::parameter:
    case Op::position:
    case Op::time:
    case Op::load_argument:
    case Op::load_position:
    case Op::load_time:
    case Op::store:
      return;
  }
}

}  // namespace rankine::kernels
