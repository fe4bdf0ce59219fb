#include "kernels/expression_graph.hpp"

#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

#include "kernels/error.hpp"

namespace rankine::kernels {

int operand_count(Op op) {
  switch (op) {
    case Op::constant:
    case Op::argument:
    case Op::parameter:
    case Op::position:
    case Op::time:
    case Op::load_argument:
    case Op::load_position:
    case Op::load_time:
      return 0;
    case Op::negate:
    case Op::square_root:
    case Op::exponential:
    case Op::logarithm:
    case Op::sine:
    case Op::cosine:
    case Op::tangent:
    case Op::hyperbolic_sine:
    case Op::hyperbolic_cosine:
    case Op::hyperbolic_tangent:
    case Op::error_function:
    case Op::absolute:
    case Op::sign:
    case Op::opposite:
    case Op::store:
      return 1;
    case Op::power_shift:
    case Op::select:
      return 3;
    default:
      return 2;
  }
}

std::size_t ExpressionGraph::Hash::operator()(const Key& key) const {
  std::uint64_t h = key.number;
  for (const int part : {static_cast<int>(key.op), key.a, key.b, key.c, key.index}) {
    h ^= static_cast<std::uint64_t>(static_cast<std::uint32_t>(part)) + 0x9e3779b97f4a7c15u + (h << 6) +
         (h >> 2);
    h *= 0xbf58476d1ce4e5b9u;
    h ^= h >> 29;
  }
  return static_cast<std::size_t>(h);
}

int ExpressionGraph::intern(const ExpressionNode& node) {
  Key key{node.op, node.a, node.b, node.c, node.index, 0};
  std::memcpy(&key.number, &node.number, sizeof key.number);
  const auto [at, is_new] = index_.try_emplace(key, size());
  if (!is_new) return at->second;
  if (size() >= max_nodes) {
    index_.erase(at);
    throw InputError("the expressions need more than " + std::to_string(max_nodes) +
                     " operations with their derivatives; write them shorter");
  }
  nodes_.push_back(node);
  nodes_.back().origin = origin;
  return at->second;
}

int ExpressionGraph::constant(double value) {
  ExpressionNode node;
  node.number = value == 0 ? 0.0 : value;  // one zero
  return intern(node);
}

int ExpressionGraph::leaf(Op op, int index) {
  ExpressionNode node;
  node.op = op;
  node.index = index;
  node.uniform = op == Op::parameter;
  return intern(node);
}

int ExpressionGraph::integer_power(int base, int exponent) {
  if (exponent < 0) return divide(constant(1), integer_power(base, -exponent));
  if (exponent == 1) return base;
  const int half = integer_power(base, exponent / 2), square = multiply(half, half);
  return exponent % 2 == 0 ? square : multiply(square, base);
}

/// The node that an operation comes down to without computing anything, or -1.
int ExpressionGraph::simplified(Op op, int a, int b, int c) {
  const auto is = [&](int node, double value) { return is_constant(node, value); };
  switch (op) {
    case Op::add:
      if (is(a, 0)) return b;
      if (is(b, 0)) return a;
      if ((*this)[b].op == Op::negate) return subtract(a, (*this)[b].a);
      if ((*this)[a].op == Op::negate) return subtract(b, (*this)[a].a);
      return -1;
    case Op::subtract:
      if (is(b, 0)) return a;
      if (is(a, 0)) return make(Op::negate, b);
      if (a == b) return constant(0);
      if ((*this)[b].op == Op::negate) return add(a, (*this)[b].a);
      return -1;
    case Op::multiply:
      if (is(a, 0) || is(b, 0)) return constant(0);
      if (is(a, 1)) return b;
      if (is(b, 1)) return a;
      if (is(a, -1)) return make(Op::negate, b);
      if (is(b, -1)) return make(Op::negate, a);
      if ((*this)[a].op == Op::negate) return make(Op::negate, multiply((*this)[a].a, b));
      if ((*this)[b].op == Op::negate) return make(Op::negate, multiply(a, (*this)[b].a));
      return -1;
    case Op::divide:
      if (is(b, 1)) return a;
      if (is(a, 0) && !is(b, 0)) return constant(0);
      if ((*this)[a].op == Op::negate) return make(Op::negate, divide((*this)[a].a, b));
      return -1;
    case Op::negate:
      return (*this)[a].op == Op::negate ? (*this)[a].a : -1;
    case Op::power: {
      if (!is_constant(b)) return -1;
      const double exponent = (*this)[b].number;
      if (exponent == 0) return constant(1);
      if (exponent == 0.5) return make(Op::square_root, a);
      // Products of few factors are as exact as pow and cost a tenth.
      const bool small_integer = std::abs(exponent) <= 8 && exponent == std::floor(exponent);
      return small_integer ? integer_power(a, static_cast<int>(exponent)) : -1;
    }
    case Op::select:
      if (b == c) return b;
      return is_constant(a) ? (is(a, 0) ? c : b) : -1;
    case Op::minimum:
    case Op::maximum:
      return a == b ? a : -1;
    default:
      return -1;
  }
}

int ExpressionGraph::make(Op op, int a, int b, int c, int index) {
  const int count = operand_count(op);
  RANKINE_ASSERT(a >= 0 && (count < 2 || b >= 0) && (count < 3 || c >= 0), "an operation lacks an operand");
  const bool commutes = op == Op::add || op == Op::multiply || op == Op::equal || op == Op::not_equal ||
                        op == Op::both || op == Op::either;
  if (commutes && a > b) std::swap(a, b);
  const bool all_constant = is_constant(a) && (count < 2 || is_constant(b)) && (count < 3 || is_constant(c));
  if (all_constant) {
    const auto input = [&](int node) { return OpInput{node >= 0 ? &(*this)[node].number : nullptr, true}; };
    double value = 0;
    operate<1>(op, index, &value, input(a), input(b), input(c));
    // What is not finite stays an operation, so that its place and operands can be told.
    if (std::isfinite(value)) return constant(value);
  } else if (const int known = simplified(op, a, b, c); known >= 0) {
    return known;
  }
  ExpressionNode node;
  node.op = op;
  node.a = a;
  node.b = b;
  node.c = c;
  node.index = index;
  node.uniform = (*this)[a].uniform && (b < 0 || (*this)[b].uniform) && (c < 0 || (*this)[c].uniform);
  return intern(node);
}

std::vector<char> ExpressionGraph::reached(const std::vector<int>& roots) const {
  std::vector<char> mark(nodes_.size(), 0);
  for (const int root : roots) mark[static_cast<std::size_t>(root)] = 1;
  for (int i = size() - 1; i >= 0; --i) {
    if (!mark[static_cast<std::size_t>(i)]) continue;
    for (const int operand : {(*this)[i].a, (*this)[i].b, (*this)[i].c}) {
      if (operand >= 0) mark[static_cast<std::size_t>(operand)] = 1;
    }
  }
  return mark;
}

std::vector<int> ExpressionGraph::derivative(const std::vector<int>& roots, int leaf) {
  const std::vector<char> needed = reached(roots);
  const int before = size();
  const ExpressionOrigin outer = origin;
  std::vector<int> d(static_cast<std::size_t>(before), -1);
  const int zero = constant(0), one = constant(1);
  for (int i = 0; i < before; ++i) {
    if (!needed[static_cast<std::size_t>(i)]) continue;
    if (i == leaf) {
      d[static_cast<std::size_t>(i)] = one;
      continue;
    }
    const ExpressionNode& node = (*this)[i];
    bool moves = false;
    for (const int operand : {node.a, node.b, node.c}) {
      if (operand >= 0 && d[static_cast<std::size_t>(operand)] != zero) moves = true;
    }
    origin = node.origin;
    origin.derivative = true;
    d[static_cast<std::size_t>(i)] = moves ? derivative_of(i, d) : zero;
  }
  origin = outer;
  std::vector<int> result;
  for (const int root : roots) result.push_back(d[static_cast<std::size_t>(root)]);
  return result;
}

/// The chain rule at one node; d holds the derivatives of its operands.
int ExpressionGraph::derivative_of(int at, const std::vector<int>& d) {
  const ExpressionNode node = (*this)[at];  // a copy: new nodes move the others
  const int a = node.a, b = node.b, c = node.c;
  const auto by = [&](int operand) { return operand >= 0 ? d[static_cast<std::size_t>(operand)] : -1; };
  const int da = by(a), db = by(b), dc = by(c);
  switch (node.op) {
    case Op::add:
      return add(da, db);
    case Op::subtract:
      return subtract(da, db);
    case Op::multiply:
      return add(multiply(da, b), multiply(a, db));
    case Op::divide:
      return divide(subtract(da, multiply(at, db)), b);
    case Op::negate:
      return make(Op::negate, da);
    case Op::power: {  // d a^b = b a^(b-1) da + a^b log(a) db
      const int slope =
          is_constant(da, 0) ? da : multiply(multiply(b, make(Op::power_shift, a, b, at, 1)), da);
      if (is_constant(db, 0)) return slope;
      const int growth = (*this)[a].uniform && !is_constant(a, 0) ? multiply(at, make(Op::logarithm, a))
                                                                  : make(Op::power_log, at, a);
      return add(slope, multiply(growth, db));
    }
    case Op::power_shift: {  // a^(b - k); c = a^b
      const int rest = subtract(b, constant(node.index));
      const int slope = is_constant(da, 0)
                            ? da
                            : multiply(multiply(rest, make(Op::power_shift, a, b, c, node.index + 1)), da);
      return is_constant(db, 0) ? slope : add(slope, multiply(make(Op::power_log, at, a), db));
    }
    case Op::power_log:  // a log b
      return add(multiply(da, make(Op::logarithm, b)), multiply(divide(a, b), db));
    case Op::square_root:
      return divide(da, multiply(constant(2), at));
    case Op::exponential:
      return multiply(at, da);
    case Op::logarithm:
      return divide(da, a);
    case Op::sine:
      return multiply(make(Op::cosine, a), da);
    case Op::cosine:
      return make(Op::negate, multiply(make(Op::sine, a), da));
    case Op::tangent:
      return multiply(add(constant(1), multiply(at, at)), da);
    case Op::hyperbolic_sine:
      return multiply(make(Op::hyperbolic_cosine, a), da);
    case Op::hyperbolic_cosine:
      return multiply(make(Op::hyperbolic_sine, a), da);
    case Op::hyperbolic_tangent:
      return multiply(subtract(constant(1), multiply(at, at)), da);
    case Op::error_function:
      return multiply(multiply(constant(2 * std::numbers::inv_sqrtpi),
                               make(Op::exponential, make(Op::negate, multiply(a, a)))),
                      da);
    case Op::absolute:
      return multiply(make(Op::sign, a), da);
    case Op::minimum:
      return make(Op::select, make(Op::less, a, b), da, db);
    case Op::maximum:
      return make(Op::select, make(Op::less, b, a), da, db);
    case Op::select:
      return make(Op::select, a, db, dc);
    default:
      return constant(0);  // sign and conditions are constant but for their jumps
  }
}

}  // namespace rankine::kernels
