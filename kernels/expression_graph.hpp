// Expressions as a graph in which equal subexpressions are one node, with constants folded and exact
// derivatives. Nodes are numbered so that operands come before their operation.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/expression_ops.hpp"

namespace rankine::kernels {

/// Where an operation was written: characters [begin, end) of text number `text`; -1: nowhere.
struct ExpressionOrigin {
  int text = -1, begin = 0, end = 0;
  bool derivative = false;  ///< it came from differentiating what stands there
};

struct ExpressionNode {
  Op op = Op::constant;
  int a = -1, b = -1, c = -1;  ///< operands
  int index = 0;               ///< of an argument, parameter or position; shift of power_shift
  double number = 0;           ///< of a constant
  bool uniform = true;         ///< the same at all points: reads no argument, position or time
  ExpressionOrigin origin = {};
};

class ExpressionGraph {
 public:
  /// More nodes than that are an InputError.
  static constexpr int max_nodes = 200000;

  /// Texts that origins refer to, and what messages call them ("flux").
  struct Text {
    std::string label, text;
  };
  std::vector<Text> texts;
  /// The origin that new nodes get.
  ExpressionOrigin origin;

  int size() const { return static_cast<int>(nodes_.size()); }
  const ExpressionNode& operator[](int node) const { return nodes_[static_cast<std::size_t>(node)]; }

  int constant(double value);
  int argument(int index) { return leaf(Op::argument, index); }
  int parameter(int index) { return leaf(Op::parameter, index); }
  int position(int row = 0) { return leaf(Op::position, row); }
  int time() { return leaf(Op::time, 0); }
  /// The operation on nodes, simplified where that is exact for finite operands.
  int make(Op op, int a, int b = -1, int c = -1, int index = 0);

  int add(int a, int b) { return make(Op::add, a, b); }
  int subtract(int a, int b) { return make(Op::subtract, a, b); }
  int multiply(int a, int b) { return make(Op::multiply, a, b); }
  int divide(int a, int b) { return make(Op::divide, a, b); }

  bool is_constant(int node) const { return (*this)[node].op == Op::constant; }
  bool is_constant(int node, double value) const {
    return is_constant(node) && (*this)[node].number == value;
  }

  /// Derivatives of `roots` by a leaf (argument, parameter, position or time).
  std::vector<int> derivative(const std::vector<int>& roots, int leaf);
  int derivative(int root, int leaf) { return derivative(std::vector<int>{root}, leaf).front(); }

  /// reached[node]: whether one of the roots reads it.
  std::vector<char> reached(const std::vector<int>& roots) const;

 private:
  struct Key {
    Op op;
    int a, b, c, index;
    std::uint64_t number;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const;
  };
  int leaf(Op op, int index);
  int intern(const ExpressionNode& node);
  int simplified(Op op, int a, int b, int c);
  int integer_power(int base, int exponent);
  int derivative_of(int node, const std::vector<int>& d);

  std::vector<ExpressionNode> nodes_;
  std::unordered_map<Key, int, Hash> index_;
};

/// What an operation reads: 0 to 3.
int operand_count(Op op);

}  // namespace rankine::kernels
