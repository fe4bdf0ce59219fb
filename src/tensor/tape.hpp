// The tape: who made which tensor, and how cotangents flow back.
//
// An op runs its forward and calls apply_op() with its inputs, outputs and vjp. The vjp is called at most
// once for each grad() that reaches it. It is written with ops, so with create_graph it is recorded itself
// and second derivatives follow; ops whose vjp is a raw kernel say so (OpTraits::first_order_only) and then
// name themselves in an error. One thread has one tape; nothing here is shared between threads.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/runtime.hpp"
#include "src/tensor/regions.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

/// Counts the costs of all ops called while it lives, by name; the newest one on the thread counts.
class CostAccount {
 public:
  CostAccount();
  ~CostAccount();
  CostAccount(const CostAccount&) = delete;
  CostAccount& operator=(const CostAccount&) = delete;
  const std::map<std::string, CountedCost>& by_op() const { return by_op_; }
  Cost total() const;

 private:
  friend void count_cost(const char* op, const Cost& cost);
  std::map<std::string, CountedCost> by_op_;
  CostAccount* outer_;
};

/// Adds to the account that is open, if any. apply_op() does it for forwards; backward kernels call it
/// themselves.
void count_cost(const char* op, const Cost& cost);

/// What a vjp may ask for.
class VjpContext {
 public:
  VjpContext(const Node& node, const std::vector<char>& needed, bool create_graph)
      : node_(node), needed_(needed), create_graph_(create_graph) {}
  /// Whether the cotangent of input `i` is wanted; others may be returned undefined.
  bool needs(std::size_t i) const { return needed_[i] != 0; }
  /// Output `i` of the forward (only with OpTraits::save_outputs).
  Tensor output(std::size_t i) const;
  /// Whether the vjp is being recorded for a second derivative.
  bool create_graph() const { return create_graph_; }

 private:
  const Node& node_;
  const std::vector<char>& needed_;
  bool create_graph_;
};

/// Cotangents of the outputs (undefined ones are zero) to cotangents of the inputs (undefined ones are zero).
using Vjp =
    std::function<std::vector<Tensor>(const std::vector<Tensor>& cotangents, const VjpContext& context)>;
/// Reads a tensor or its gradient; what it returns takes its place, unless it is undefined.
using Hook = std::function<Tensor(const Tensor&)>;

struct OpTraits {
  Cost cost;
  bool save_outputs = false;      ///< keep the outputs for VjpContext::output
  bool first_order_only = false;  ///< the vjp is a raw kernel: create_graph is refused
};

/// One op on the tape, or a leaf (no inputs, no vjp).
class Node : public std::enable_shared_from_this<Node> {
 public:
  struct Edge {
    std::shared_ptr<Node> node;  // null: no gradient wanted
    int output = 0;
  };
  struct Output {
    Shape shape;
    DType dtype;
    Tensor saved;  // detached; only with save_outputs
    std::vector<Hook> hooks;
  };
  Node(const char* name, std::int64_t number) : name(name), number(number) {}
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  std::string name;
  std::int64_t number;  // later ops have higher numbers
  std::vector<Edge> inputs;
  std::vector<Output> outputs;
  Vjp vjp;
  bool first_order_only = false, released = false;
};

/// Puts an op on the tape: returns `outputs` as its results. If no input is on the tape, or recording is off,
/// the outputs come back as they are. `name` must outlive the call only.
std::vector<Tensor> apply_op(const char* name, const std::vector<Tensor>& inputs, std::vector<Tensor> outputs,
                             Vjp vjp, const OpTraits& traits = {});
/// The same for one output.
Tensor apply_op(const char* name, const std::vector<Tensor>& inputs, const Tensor& output, Vjp vjp,
                const OpTraits& traits = {});

/// A leaf: the same elements, from now on with gradients. Throws for types without derivatives.
Tensor variable(const Tensor& value);

/// Whether ops called now with these inputs would be recorded.
bool would_record(const std::vector<Tensor>& inputs);
bool recording();

/// A region without a tape.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

/// A region with a tape, inside one without.
class WithTape {
 public:
  WithTape();
  ~WithTape();
  WithTape(const WithTape&) = delete;
  WithTape& operator=(const WithTape&) = delete;

 private:
  bool before_;
};

struct GradOptions {
  bool retain = false;        ///< keep the tape for another grad(); else it is freed as it is used
  bool create_graph = false;  ///< record the backward pass itself (implies retain)
};

/// Sum over the outputs of seed^T d output / d input, for each input (leaves or intermediate tensors). An
/// undefined seed is 1 and needs a scalar output. An input that no output depends on gets zeros. For complex
/// tensors the gradient of a real loss is dL/dRe + i dL/dIm.
std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& seeds,
                         const std::vector<Tensor>& inputs, const GradOptions& options = {});

/// The value of a loss: a number, or a factor times one that is still in device memory.
class LossValue {
 public:
  LossValue(double value = 0) : factor_(value) {}
  /// `sum`: one element of f64.
  LossValue(Tensor sum, double factor) : sum_(std::move(sum)), factor_(factor) {}
  /// What is in device memory; undefined: nothing.
  const Tensor& sum() const { return sum_; }
  /// The value, where the host knows what is in device memory.
  double with(double sum) const { return sum_.defined() ? factor_ * sum : factor_; }
  /// The value; waits for the device.
  double read() const { return with(sum_.defined() ? sum_.item() : 0); }

 private:
  Tensor sum_;
  double factor_;
};

/// A loss on the tape: sum_i <seeds_i, outputs_i> over all ranks is `value`.
struct TapeLoss {
  std::vector<Tensor> outputs, seeds;
  LossValue value = {};  ///< the same bits on all ranks
};

/// Calls `hook` with the gradient of `tensor` once it is complete, in every grad() that passes it.
void on_gradient(const Tensor& tensor, Hook hook);

/// fn(inputs) without storing what it computes inside: it runs again in the backward pass. Everything that
/// needs a gradient must be among `inputs`. Random numbers are keyed by counters, so they repeat by
/// themselves.
using Function = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;
std::vector<Tensor> checkpoint(const Function& fn, const std::vector<Tensor>& inputs);

/// fn(inputs) and its derivative along `tangents`, as the vjp of the vjp.
struct JvpResult {
  std::vector<Tensor> values, tangents;
};
JvpResult jvp(const Function& fn, const std::vector<Tensor>& inputs, const std::vector<Tensor>& tangents);

}  // namespace rankine
