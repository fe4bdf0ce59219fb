#include "kernels/bytecode.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "kernels/error.hpp"
#include "kernels/launch_state.hpp"
#include "kernels/portability.hpp"

namespace rankine::kernels {
namespace {

/// Points that the host evaluates together: long enough for vectors, short enough for the registers to stay
/// in the first cache.
constexpr int host_block = 64;
/// Registers of the two compiled sizes of the evaluating kernel.
constexpr int few_registers = 32, max_registers = 256;

/// Operands: registers from 0 on, ~u for uniform value u.
struct Instruction {
  Op op = Op::constant;
  int index =
      0;  // of an argument or position; shift of power_shift; order of the derivative that `store` writes
  int out = 0;  // register; for `store` the row of the output
  int a = 0, b = 0, c = 0;
};

/// Inputs and outputs of an evaluation, all in the memory of the space that it runs in.
struct Batch {
  long size;
  const double *arguments, *x, *t, *uniform;
  double* out[3];
};

/// Runs all instructions on one block of points.
template <int Block, int Registers>
struct EvaluateBlock {
  const Instruction* code;
  int length;
  Batch batch;

  KOKKOS_FUNCTION void load(const double* from, long begin, int count, double* to) const {
    for (int j = 0; j < count; ++j) to[j] = from[begin + j];
    for (int j = count; j < Block; ++j) to[j] = from[begin + count - 1];  // any point will do
  }

  KOKKOS_FUNCTION void operator()(long block) const {
    double registers[Registers * Block];
    const long begin = block * Block;
    const int count = static_cast<int>(batch.size - begin < Block ? batch.size - begin : Block);
    const auto input = [&](int operand) {
      return operand < 0 ? OpInput{batch.uniform + ~operand, true}
                         : OpInput{registers + operand * Block, false};
    };
    for (int i = 0; i < length; ++i) {
      const Instruction& now = code[i];
      double* out = registers + now.out * Block;
      switch (now.op) {
        case Op::load_argument:
          load(batch.arguments + now.index * batch.size, begin, count, out);
          break;
        case Op::load_position:
          load(batch.x + now.index * batch.size, begin, count, out);
          break;
        case Op::load_time:
          load(batch.t, begin, count, out);
          break;
        case Op::store: {
          double* to = batch.out[now.index] + now.out * batch.size + begin;
          const OpInput from = input(now.a);
          for (int j = 0; j < count; ++j) to[j] = from.at[from.uniform ? 0 : j];
          break;
        }
        default:
          operate<Block>(now.op, now.index, out, input(now.a), input(now.b), input(now.c));
      }
    }
  }
};

template <int Block, int Registers>
void run_blocks(const Instruction* code, int length, const Batch& batch) {
  const EvaluateBlock<Block, Registers> kernel{code, length, batch};
  const long blocks = (batch.size + Block - 1) / Block;
  Kokkos::parallel_for("rankine::bytecode",
                       Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<long>>(0, blocks), kernel);
}

template <int Block>
void run(const Instruction* code, int length, int registers, const Batch& batch) {
  if (registers <= few_registers) {
    run_blocks<Block, few_registers>(code, length, batch);
  } else {
    run_blocks<Block, max_registers>(code, length, batch);
  }
}

/// A copy of host data in the memory that kernels read.
template <class T>
Kokkos::View<T*, MemorySpace> to_device(const T* data, size_t size, const char* label) {
  Kokkos::View<T*, MemorySpace> copy(Kokkos::view_alloc(Kokkos::WithoutInitializing, std::string(label)),
                                     size);
  const Kokkos::View<const T*, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>> host(data, size);
  Kokkos::deep_copy(copy, host);
  return copy;
}

std::string shortest(double value) {
  if (std::isnan(value)) return "nan";  // its sign means nothing
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

/// One compiled form: an order of derivatives and a set of learned parameters.
struct Plan {
  std::vector<int> roots;                       // nodes of all results and derivatives
  std::vector<Instruction> uniform;             // operands and out: uniform values
  std::vector<double> uniform_values;           // constants are set, parameters and computed ones are not
  std::vector<std::pair<int, int>> parameters;  // (uniform value, parameter)
  std::vector<Instruction> code;
  int registers = 0;

  /// Of so many points: a flop an operation, whichever it is.
  Cost cost(long points) const {
    const auto moves = std::count_if(code.begin(), code.end(), [](const Instruction& now) {
      return now.op == Op::load_argument || now.op == Op::load_position || now.op == Op::load_time ||
             now.op == Op::store;
    });
    return {
        static_cast<double>(static_cast<std::ptrdiff_t>(code.size()) - moves) * static_cast<double>(points),
        in_bytes<double>(moves * points)};
  }
};

}  // namespace

struct Program::State {
  ExpressionGraph graph;
  std::vector<int> results;
  ProgramNames names;
  std::mutex mutex;
  std::map<std::pair<int, std::vector<int>>, std::unique_ptr<Plan>> plans;
  std::unique_ptr<Plan> prepared[3];  // nothing learned

  int arguments() const { return static_cast<int>(names.arguments.size()); }

  const Plan& plan(int order, std::span<const int> learned) {
    if (learned.empty() && prepared[order]) return *prepared[order];
    const std::lock_guard lock(mutex);
    std::unique_ptr<Plan>& known = plans[{order, std::vector<int>(learned.begin(), learned.end())}];
    if (!known) known = std::make_unique<Plan>(compile(order, learned));
    return *known;
  }

  Plan compile(int order, std::span<const int> learned);
  std::vector<int> leaves(std::span<const int> learned) {
    std::vector<int> result;
    for (int a = 0; a < arguments(); ++a) result.push_back(graph.argument(a));
    for (const int p : learned) result.push_back(graph.parameter(p));
    return result;
  }
  /// Whether a result reads the leaf; index -1: one of its kind.
  bool reads(Op op, int index) const {
    const std::vector<char> mark = graph.reached(results);
    for (int i = 0; i < static_cast<int>(mark.size()); ++i) {
      if (mark[i] && graph[i].op == op && (index < 0 || graph[i].index == index)) return true;
    }
    return false;
  }
};

namespace {

/// Orders the nodes that the stores need, then gives each a register for as long as it is read.
class Scheduler {
 public:
  Scheduler(const ExpressionGraph& graph, Plan& plan)
      : graph_(graph), plan_(plan), place_(graph.size(), none), uses_(graph.size(), 0) {}

  struct Store {
    int order, row, node;
  };

  void run(const std::vector<Store>& stores) {
    std::vector<int> roots;
    for (const Store& store : stores) roots.push_back(store.node);
    const std::vector<char> needed = graph_.reached(roots);
    for (int i = 0; i < graph_.size(); ++i) {
      if (!needed[i]) continue;
      if (graph_[i].uniform) add_uniform(i);
      for (const int operand : operands(i)) ++uses_[operand];
    }
    for (const Store& store : stores) ++uses_[store.node];
    for (const Store& store : stores) {
      visit(store.node);
      plan_.code.push_back({Op::store, store.order, store.row, operand(store.node)});
      release(store.node);
    }
  }

 private:
  static constexpr int none = 1 << 30;

  std::vector<int> operands(int node) const {
    std::vector<int> result;
    for (const int operand : {graph_[node].a, graph_[node].b, graph_[node].c}) {
      if (operand >= 0) result.push_back(operand);
    }
    return result;
  }

  void add_uniform(int at) {
    const ExpressionNode& node = graph_[at];
    const int slot = static_cast<int>(plan_.uniform_values.size());
    place_[at] = ~slot;
    plan_.uniform_values.push_back(node.number);
    if (node.op == Op::parameter) plan_.parameters.emplace_back(slot, node.index);
    if (node.op == Op::parameter || node.op == Op::constant) return;
    const auto slot_of = [&](int operand) { return operand >= 0 ? ~place_[operand] : 0; };
    plan_.uniform.push_back({node.op, node.index, slot, slot_of(node.a), slot_of(node.b), slot_of(node.c)});
  }

  int operand(int node) const { return node >= 0 ? place_[node] : 0; }

  void release(int node) {
    if (--uses_[node] == 0 && place_[node] >= 0) free_.push_back(place_[node]);
  }

  /// Emits a node after its operands. With a stack of its own: graphs may be deep.
  void visit(int root) {
    std::vector<int> stack{root};
    while (!stack.empty()) {
      const int at = stack.back();
      if (place_[at] != none) {
        stack.pop_back();
        continue;
      }
      bool ready = true;
      for (const int operand : operands(at)) {
        if (place_[operand] != none) continue;
        stack.push_back(operand);
        ready = false;
      }
      if (!ready) continue;
      stack.pop_back();
      emit(at);
    }
  }

  void emit(int at) {
    const ExpressionNode& node = graph_[at];
    int out = 0;
    if (free_.empty()) {
      out = plan_.registers++;
    } else {
      out = free_.back();
      free_.pop_back();
    }
    Op op = node.op;
    if (op == Op::argument) op = Op::load_argument;
    if (op == Op::position) op = Op::load_position;
    if (op == Op::time) op = Op::load_time;
    plan_.code.push_back({op, node.index, out, operand(node.a), operand(node.b), operand(node.c)});
    place_[at] = out;
    // Freed only now, so that no operation writes what it reads.
    for (const int operand : operands(at)) release(operand);
  }

  const ExpressionGraph& graph_;
  Plan& plan_;
  std::vector<int> place_, uses_, free_;
};

}  // namespace

Plan Program::State::compile(int order, std::span<const int> learned) {
  const std::vector<int> by = leaves(learned);
  const int count = static_cast<int>(results.size()), arguments = static_cast<int>(by.size());
  Plan plan;
  std::vector<Scheduler::Store> stores;
  const auto store = [&](int derivative, int row, int node) {
    if (!graph.is_constant(node, 0)) stores.push_back({derivative, row, node});  // outputs start as zero
  };
  plan.roots = results;
  for (int r = 0; r < count; ++r) store(0, r, results[r]);
  if (order >= 1) {
    std::vector<std::vector<int>> slopes;  // [argument][result]
    for (const int leaf : by) slopes.push_back(graph.derivative(results, leaf));
    for (int r = 0; r < count; ++r) {
      for (int a = 0; a < arguments; ++a) {
        store(1, r * arguments + a, slopes[a][r]);
        plan.roots.push_back(slopes[a][r]);
      }
    }
    for (int a = 0; a < arguments && order >= 2; ++a) {
      for (int b = 0; b <= a; ++b) {
        const std::vector<int> curvature = graph.derivative(slopes[a], by[b]);
        for (int r = 0; r < count; ++r) {
          store(2, (r * arguments + a) * arguments + b, curvature[r]);
          if (a != b) store(2, (r * arguments + b) * arguments + a, curvature[r]);
          plan.roots.push_back(curvature[r]);
        }
      }
    }
  }
  Scheduler(graph, plan).run(stores);
  if (plan.registers > max_registers) {
    throw InputError("the expressions keep " + std::to_string(plan.registers) +
                     " intermediate values at once with their derivatives; allowed: " +
                     std::to_string(max_registers) + "; write them shorter");
  }
  return plan;
}

Program::Program() : Program(ExpressionGraph{}, {}, {}) {}

Program::Program(ExpressionGraph graph, std::vector<int> results, ProgramNames names)
    : state_(std::make_shared<State>()) {
  state_->graph = std::move(graph);
  state_->results = std::move(results);
  state_->names = std::move(names);
  for (int order = 0; order < 3; ++order) {
    state_->prepared[order] = std::make_unique<Plan>(state_->compile(order, {}));
  }
}

int Program::results() const { return static_cast<int>(state_->results.size()); }
int Program::arguments() const { return state_->arguments(); }

bool Program::reads_argument(int index) const { return state_->reads(Op::argument, index); }
bool Program::reads_parameter(int index) const { return state_->reads(Op::parameter, index); }
bool Program::reads_position() const { return state_->reads(Op::position, -1); }
bool Program::reads_time() const { return state_->reads(Op::time, 0); }

Program Program::time_events() const {
  ExpressionGraph graph = state_->graph;
  const std::vector<char> needed = graph.reached(state_->results);
  const int count = graph.size();
  std::vector<char> reads_time(count, 0), in_time_alone(count, 0);
  for (int i = 0; i < count; ++i) {
    const ExpressionNode& node = graph[i];
    reads_time[i] = node.op == Op::time;
    in_time_alone[i] = node.op == Op::time || node.uniform;
    const int operands[] = {node.a, node.b, node.c};
    for (int k = 0; k < operand_count(node.op); ++k) {
      if (operands[k] >= 0 && reads_time[operands[k]]) reads_time[i] = 1;
    }
    if (node.uniform || operand_count(node.op) == 0) continue;
    in_time_alone[i] = 1;
    for (int k = 0; k < operand_count(node.op); ++k) {
      if (operands[k] >= 0 && !in_time_alone[operands[k]]) in_time_alone[i] = 0;
    }
  }
  std::vector<int> events;
  const auto add = [&](int node) {
    if (graph.is_constant(node) || std::find(events.begin(), events.end(), node) != events.end()) return;
    events.push_back(node);
  };
  const auto usable = [&](int node) { return node < 0 || in_time_alone[node]; };
  for (int i = 0; i < count; ++i) {
    const ExpressionNode node = graph[i];
    if (!needed[i] || !reads_time[i] || !usable(node.a)) continue;
    switch (node.op) {
      case Op::less:
      case Op::less_equal:
      case Op::equal:
      case Op::not_equal:
      case Op::minimum:
      case Op::maximum:
        if (usable(node.b)) add(graph.subtract(node.a, node.b));
        break;
      case Op::absolute:
      case Op::sign:
      case Op::square_root:
      case Op::exponential:
      case Op::hyperbolic_tangent:
      case Op::error_function:
      case Op::power:
      case Op::select:  // a condition that is a number
        if (reads_time[node.a]) add(node.a);
        break;
      default:
        break;
    }
  }
  for (int i = 0; i < count; ++i) {
    const ExpressionNode node = graph[i];
    if (needed[i] && node.op == Op::divide && in_time_alone[node.b] && reads_time[node.b]) add(node.b);
  }
  return Program(std::move(graph), std::move(events), {{}, state_->names.parameters});
}

bool Program::is_linear() const {
  if (reads_position() || reads_time()) return false;
  const std::vector<int>& roots = state_->plan(1, {}).roots;
  return std::all_of(roots.begin() + results(), roots.end(),
                     [&](int slope) { return state_->graph[slope].uniform; });
}

bool Program::is_affine_in(int argument) const {
  const std::vector<int>& roots = state_->plan(1, {}).roots;
  for (int r = 0; r < results(); ++r)
    if (!state_->graph[roots[results() + r * arguments() + argument]].uniform) return false;
  return true;
}

Program::Size Program::size(int order) const {
  const Plan& plan = state_->plan(order, {});
  return {static_cast<int>(plan.code.size()), static_cast<int>(plan.uniform.size()), plan.registers};
}

void Program::evaluate(const TermPoints& points, int order, TermValues& out) const {
  const int arguments = state_->arguments();
  RANKINE_ASSERT(order >= 0 && order <= 2, "derivatives of order " + std::to_string(order));
  RANKINE_ASSERT(points.arguments.size() >= static_cast<size_t>(arguments * points.size),
                 "a program of " + std::to_string(arguments) + " arguments was given " +
                     std::to_string(points.arguments.size()) + " numbers for " + std::to_string(points.size) +
                     " points");
  RANKINE_ASSERT(points.parameters.size() >= state_->names.parameters.size(), "a parameter has no value");
  const Plan& plan = state_->plan(order, points.learned);
  out.reset(results(), arguments + static_cast<int>(points.learned.size()), order, points.size);
  if (points.size == 0 || plan.code.empty()) return;

  std::vector<double> uniform = plan.uniform_values;
  for (const auto& [slot, parameter] : plan.parameters) uniform[slot] = points.parameters[parameter];
  for (const Instruction& now : plan.uniform) {
    operate<1>(now.op, now.index, &uniform[now.out], {&uniform[now.a], true}, {&uniform[now.b], true},
               {&uniform[now.c], true});
  }
  for (const Instruction& now : plan.code) {
    const bool has_x =
        now.op != Op::load_position || points.x.size() >= static_cast<size_t>((now.index + 1) * points.size);
    const bool has_t = now.op != Op::load_time || points.t.size() >= static_cast<size_t>(points.size);
    RANKINE_ASSERT(has_x && has_t, "a program reads a position or t, which the points lack");
  }

  const int length = static_cast<int>(plan.code.size());
  const LaunchTimer timer("bytecode");
  count_work("bytecode", plan.cost(points.size));
  if constexpr (kHostAccess) {
    const Batch batch{points.size,     points.arguments.data(),
                      points.x.data(), points.t.data(),
                      uniform.data(),  {out.value.data(), out.gradient.data(), out.hessian.data()}};
    run<host_block>(plan.code.data(), length, plan.registers, batch);
  } else {
    const auto code = to_device(plan.code.data(), plan.code.size(), "bytecode");
    const auto in =
        to_device(points.arguments.data(), static_cast<size_t>(arguments * points.size), "arguments");
    const auto x = to_device(points.x.data(), points.x.size(), "x");
    const auto t = to_device(points.t.data(), points.t.size(), "t");
    const auto values = to_device(uniform.data(), uniform.size(), "uniform values");
    std::vector<double>* targets[3] = {&out.value, &out.gradient, &out.hessian};
    Kokkos::View<double*, MemorySpace> results[3];
    for (int i = 0; i < 3; ++i) results[i] = to_device(targets[i]->data(), targets[i]->size(), "results");
    const Batch batch{points.size, in.data(),     x.data(),
                      t.data(),    values.data(), {results[0].data(), results[1].data(), results[2].data()}};
    run<1>(code.data(), length, plan.registers, batch);
    for (int i = 0; i < 3; ++i) {
      Kokkos::deep_copy(Kokkos::View<double*, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>>(
                            targets[i]->data(), targets[i]->size()),
                        results[i]);
    }
  }
}

namespace {

/// Values of the nodes that a result really depends on at one point: branches not taken are left out.
class PointEvaluation {
 public:
  PointEvaluation(const ExpressionGraph& graph, const TermPoints& points, long point)
      : graph_(graph), points_(points), point_(point), values_(graph.size()), known_(graph.size(), 0) {}

  double value(int root) {
    std::vector<int> stack{root};
    while (!stack.empty()) {
      const int at = stack.back();
      const int missing = known_[at] ? -1 : first_missing(at);
      if (missing >= 0) {
        stack.push_back(missing);
        continue;
      }
      stack.pop_back();
      if (!known_[at]) compute(at);
    }
    return values_[root];
  }

  /// The first operation without a finite value that `root`'s value comes from; its operands are finite.
  int culprit(int root) const {
    for (int at = root;;) {
      int next = -1;
      for (const int operand : used(at)) {
        if (!std::isfinite(values_[operand])) {
          next = operand;
          break;
        }
      }
      if (next < 0) return at;
      at = next;
    }
  }
  double known(int node) const { return values_[node]; }

 private:
  /// Operands that count: of a choice, the condition and the branch that it takes.
  std::vector<int> used(int at) const {
    const ExpressionNode& node = graph_[at];
    if (node.op == Op::select) {
      if (!known_[node.a]) return {node.a};
      return {node.a, values_[node.a] != 0 ? node.b : node.c};
    }
    std::vector<int> result;
    for (const int operand : {node.a, node.b, node.c}) {
      if (operand >= 0) result.push_back(operand);
    }
    return result;
  }

  int first_missing(int at) const {
    for (const int operand : used(at)) {
      if (!known_[operand]) return operand;
    }
    return -1;
  }

  void compute(int at) {
    const ExpressionNode& node = graph_[at];
    double& out = values_[at];
    known_[at] = 1;
    switch (node.op) {
      case Op::constant:
        out = node.number;
        return;
      case Op::argument:
        out = points_.arguments[node.index * points_.size + point_];
        return;
      case Op::parameter:
        out = points_.parameters[node.index];
        return;
      case Op::position:
        out = points_.x[node.index * points_.size + point_];
        return;
      case Op::time:
        out = points_.t[point_];
        return;
      default:
        break;
    }
    const auto input = [&](int operand) { return OpInput{operand >= 0 ? &values_[operand] : nullptr, true}; };
    operate<1>(node.op, node.index, &out, input(node.a), input(node.b), input(node.c));
  }

  const ExpressionGraph& graph_;
  const TermPoints& points_;
  long point_;
  std::vector<double> values_;
  std::vector<char> known_;
};

/// "division by zero": what the operation did, and its operands as a sum in words.
std::pair<std::string, std::string> fault(Op op, double a, double b) {
  const std::string first = shortest(a), second = shortest(b);
  switch (op) {
    case Op::divide:
      return {b == 0 ? "division by zero" : "overflow of a quotient", first + " / " + second};
    case Op::power:
      if (a < 0 && b != std::floor(b)) return {"power of a negative number", "(" + first + ")^" + second};
      return {a == 0 ? "negative power of zero" : "overflow of a power", "(" + first + ")^" + second};
    case Op::power_shift:
      return {a == 0  ? "slope of a power at zero"
              : a < 0 ? "power of a negative number"
                      : "overflow of a power",
              "base " + first + ", exponent " + second};
    case Op::logarithm:
      return {a == 0 ? "logarithm of zero" : "logarithm of a negative number", "log(" + first + ")"};
    case Op::power_log:
      return {b == 0 ? "logarithm of zero" : "logarithm of a negative number", "log(" + second + ")"};
    case Op::square_root:
      return {"square root of a negative number", "sqrt(" + first + ")"};
    case Op::add:
      return {"overflow of a sum", first + " + " + second};
    case Op::subtract:
      return {"overflow of a difference", first + " - " + second};
    case Op::multiply:
      return {"overflow of a product", first + " * " + second};
    case Op::exponential:
      return {"overflow of an exponential", "exp(" + first + ")"};
    default:
      return {"no finite value", "of " + first};
  }
}

}  // namespace

std::string Program::explain(const TermPoints& points, long point) const {
  const Plan& plan = state_->plan(2, points.learned);
  const std::lock_guard lock(state_->mutex);
  const ExpressionGraph& graph = state_->graph;
  PointEvaluation evaluation(graph, points, point);
  for (const int root : plan.roots) {
    const double result = evaluation.value(root);
    if (std::isfinite(result)) continue;
    const int at = evaluation.culprit(root);
    const ExpressionNode& node = graph[at];
    const std::string value = shortest(evaluation.known(at));
    if (node.op == Op::argument) return state_->names.arguments[node.index] + " itself is " + value;
    if (node.op == Op::parameter)
      return "the parameter " + state_->names.parameters[node.index] + " is " + value;
    if (node.op == Op::position) return state_->names.positions[node.index] + " itself is " + value;
    if (node.op == Op::time) return "t itself is " + value;
    const double a = node.a >= 0 ? evaluation.known(node.a) : 0,
                 b = node.b >= 0 ? evaluation.known(node.b) : 0;
    const auto [what, sum] = fault(node.op, a, b);
    std::string place;
    if (node.origin.text >= 0) {
      const ExpressionGraph::Text& source = graph.texts[node.origin.text];
      std::string quoted = source.text.substr(node.origin.begin, node.origin.end - node.origin.begin);
      std::replace(quoted.begin(), quoted.end(), '\n', ' ');
      while (!quoted.empty() && quoted.back() == ' ') quoted.pop_back();
      if (quoted.size() > 80) quoted = quoted.substr(0, 77) + "...";
      place = std::string(node.origin.derivative ? " in the derivative of '" : " in '") + quoted + "' (" +
              source.label + ", character " + std::to_string(node.origin.begin + 1) + ")";
    }
    return what + place + ": " + sum + " = " + value;
  }
  return {};
}

}  // namespace rankine::kernels
