#include "src/tensor/tape.hpp"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "src/tensor/fault_probe.hpp"
#include "src/tensor/ops.hpp"
#include "src/tensor/profile.hpp"

namespace rankine {
namespace {

thread_local bool recording_now = true;
thread_local std::int64_t next_number = 0;
thread_local CostAccount* open_account = nullptr;

// Sets recording for a scope.
class Recording {
 public:
  explicit Recording(bool on) : before_(recording_now) { recording_now = on; }
  ~Recording() { recording_now = before_; }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  bool before_;
};

}  // namespace

CostAccount::CostAccount() : outer_(open_account) { open_account = this; }
CostAccount::~CostAccount() { open_account = outer_; }

Cost CostAccount::total() const {
  Cost sum;
  for (const auto& [name, cost] : by_op_) sum += cost;
  return sum;
}

void count_cost(const char* op, const Cost& cost) {
  Profile::lap(op, cost);
  if (regions::watched) regions::flops(cost.flops);
  if (open_account == nullptr) return;
  CountedCost& entry = open_account->by_op_[op];
  entry += cost;
  ++entry.calls;
}

Tensor VjpContext::output(std::size_t i) const {
  const Tensor& saved = node_.outputs[i].saved;
  RANKINE_ASSERT(saved.defined(), "op '" + node_.name + "' did not save its outputs");
  return create_graph_ ? saved.with_node(const_cast<Node&>(node_).shared_from_this(), static_cast<int>(i))
                       : saved;
}

// A long chain of nodes must not be destroyed by recursion: the stack would overflow.
Node::~Node() {
  thread_local std::vector<std::shared_ptr<Node>>* pending = nullptr;
  if (pending != nullptr) {
    for (Edge& edge : inputs)
      if (edge.node) pending->push_back(std::move(edge.node));
    vjp = nullptr;
    return;
  }
  std::vector<std::shared_ptr<Node>> work;
  pending = &work;
  for (Edge& edge : inputs)
    if (edge.node) work.push_back(std::move(edge.node));
  vjp = nullptr;
  while (!work.empty()) {
    const std::shared_ptr<Node> last = std::move(work.back());
    work.pop_back();
  }
  pending = nullptr;
}

bool recording() { return recording_now; }

std::int64_t next_node_number() { return next_number; }

bool would_record(const std::vector<Tensor>& inputs) {
  return recording_now &&
         std::any_of(inputs.begin(), inputs.end(), [](const Tensor& x) { return x.on_tape(); });
}

NoGrad::NoGrad() : before_(recording_now) { recording_now = false; }
NoGrad::~NoGrad() { recording_now = before_; }
WithTape::WithTape() : before_(recording_now) { recording_now = true; }
WithTape::~WithTape() { recording_now = before_; }

std::vector<Tensor> apply_op(const char* name, const std::vector<Tensor>& inputs, std::vector<Tensor> outputs,
                             Vjp vjp, const OpTraits& traits) {
  count_cost(name, traits.cost);
  FaultProbe::forward(name, outputs);
  if (!would_record(inputs)) return outputs;
  auto node = std::make_shared<Node>(name, next_number++);
  node->vjp = std::move(vjp);
  node->first_order_only = traits.first_order_only;
  node->inputs.reserve(inputs.size());
  for (const Tensor& x : inputs) node->inputs.push_back({x.node(), x.node_output()});
  node->outputs.reserve(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Tensor& y = outputs[i];
    node->outputs.push_back({y.shape(), y.dtype(), traits.save_outputs ? y.detach() : Tensor(), {}});
    y = is_differentiable(y.dtype()) ? y.with_node(node, static_cast<int>(i)) : y.detach();
  }
  return outputs;
}

Tensor apply_op(const char* name, const std::vector<Tensor>& inputs, const Tensor& output, Vjp vjp,
                const OpTraits& traits) {
  return apply_op(name, inputs, std::vector<Tensor>{output}, std::move(vjp), traits)[0];
}

Tensor variable(const Tensor& value) {
  if (!is_differentiable(value.dtype()))
    throw InputError(std::string("a tensor of ") + name_of(value.dtype()) +
                     " has no gradient; use a floating type");
  auto node = std::make_shared<Node>("variable", next_number++);
  node->outputs.push_back({value.shape(), value.dtype(), {}, {}});
  return value.with_node(node, 0);
}

void on_gradient(const Tensor& tensor, Hook hook) {
  RANKINE_ASSERT(tensor.on_tape(), "a gradient hook needs a tensor on the tape");
  tensor.node()->outputs[static_cast<std::size_t>(tensor.node_output())].hooks.push_back(std::move(hook));
}

namespace {

// The nodes from which some input can be reached; others are not visited in the backward pass.
class Reach {
 public:
  Reach(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs) {
    for (const Tensor& x : inputs)
      if (x.on_tape()) state_[x.node().get()] = Found::yes;
    for (const Tensor& y : outputs)
      if (y.on_tape()) visit(y.node().get());
  }
  bool operator()(const Node* node) const {
    const auto found = state_.find(node);
    return found != state_.end() && found->second == Found::yes;
  }

 private:
  enum class Found { open, no, yes };

  void visit(const Node* root) {
    std::vector<std::pair<const Node*, std::size_t>> stack{{root, 0}};
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == 0 && visited_.contains(node)) {
        stack.pop_back();
        continue;
      }
      visited_.insert(node);
      if (next < node->inputs.size()) {
        const Node* child = node->inputs[next++].node.get();
        if (child != nullptr && !visited_.contains(child)) stack.emplace_back(child, 0);
        continue;
      }
      Found& mine = state_[node];
      if (mine != Found::yes) {
        mine = Found::no;
        for (const Node::Edge& edge : node->inputs)
          if (edge.node && (*this)(edge.node.get())) mine = Found::yes;
        state_[node] = mine;
      }
      stack.pop_back();
    }
  }

  std::unordered_map<const Node*, Found> state_;
  std::unordered_set<const Node*> visited_;
};

struct LaterFirst {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->number < b->number;
  }
};

}  // namespace

std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& seeds,
                         const std::vector<Tensor>& inputs, const GradOptions& options) {
  RANKINE_ASSERT(seeds.empty() || seeds.size() == outputs.size(), "one seed for each output");
  const Recording mode(options.create_graph);
  const FaultProbe::Pause pause;
  const bool retain = options.retain || options.create_graph;
  const Reach reaches(outputs, inputs);

  // Cotangents so far, by node and output. A node is done once all later nodes are, and numbers grow along
  // every path, so the queue by number is a topological order, the same in every run.
  std::unordered_map<Node*, std::vector<Tensor>> cotangents;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, LaterFirst> queue;
  const auto accumulate = [&](const std::shared_ptr<Node>& node, int output, const Tensor& value) {
    auto [found, fresh] = cotangents.try_emplace(node.get());
    if (fresh) {
      found->second.resize(node->outputs.size());
      queue.push(node);
    }
    Tensor& sum = found->second[static_cast<std::size_t>(output)];
    sum = sum.defined() ? add(sum, value) : value;
  };

  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& y = outputs[i];
    if (!y.on_tape() || !reaches(y.node().get())) continue;
    Tensor seed = seeds.empty() ? Tensor() : seeds[i];
    if (!seed.defined()) {
      RANKINE_ASSERT(y.count() == 1, "grad without a seed needs a scalar output, not " + y.shape().text());
      seed = Tensor::full(y.shape(), y.dtype(), 1.0);
    }
    RANKINE_ASSERT(seed.shape() == y.shape() && seed.dtype() == y.dtype(),
                   "seed " + seed.shape().text() + " for output " + y.shape().text());
    accumulate(y.node(), y.node_output(), seed);
  }

  std::unordered_map<const Node*, std::vector<std::size_t>> wanted;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].on_tape()) wanted[inputs[i].node().get()].push_back(i);

  std::vector<Tensor> results(inputs.size());
  while (!queue.empty()) {
    const std::shared_ptr<Node> node = queue.top();
    queue.pop();
    std::vector<Tensor> mine = std::move(cotangents[node.get()]);
    cotangents.erase(node.get());
    for (std::size_t k = 0; k < mine.size(); ++k)
      for (const Hook& hook : node->outputs[k].hooks)
        if (mine[k].defined())
          if (const Tensor replaced = hook(mine[k]); replaced.defined()) mine[k] = replaced;
    FaultProbe::arriving(node->name, node->number, mine);
    if (const auto found = wanted.find(node.get()); found != wanted.end())
      for (const std::size_t i : found->second)
        results[i] = mine[static_cast<std::size_t>(inputs[i].node_output())];

    std::vector<char> needed(node->inputs.size(), 0);
    bool any = false;
    for (std::size_t k = 0; k < needed.size(); ++k) {
      const Node::Edge& edge = node->inputs[k];
      needed[k] = edge.node && reaches(edge.node.get());
      any = any || needed[k];
    }
    if (!any) continue;
    if (node->released)
      throw std::logic_error("op '" + node->name +
                             "': its tape was freed by an earlier grad(); pass retain = true there");
    if (options.create_graph && node->first_order_only)
      throw InputError("op '" + node->name +
                       "' has no second derivative: its backward pass is a fused kernel");
    if (std::none_of(mine.begin(), mine.end(), [](const Tensor& x) { return x.defined(); })) continue;
    const std::string backward = Profile::active() != nullptr ? node->name + "_backward" : std::string();
    const std::int64_t counted = Profile::active() != nullptr ? Profile::active()->calls(backward) : 0;
    std::vector<Tensor> back;
    {
      const BackwardRegion region(node->name);
      back = node->vjp(mine, VjpContext(*node, needed, options.create_graph));
    }
    if (Profile* const profile = Profile::active(); profile != nullptr)
      Profile::lap(backward, {}, profile->calls(backward) == counted ? 1 : 0);
    FaultProbe::backward(node->name, node->number, back);
    mine.clear();
    RANKINE_ASSERT(back.size() == needed.size(), "op '" + node->name + "': one cotangent for each input");
    if (!retain) {
      node->vjp = nullptr;
      node->released = true;
      for (Node::Output& output : node->outputs) output.saved = Tensor();
    }
    for (std::size_t k = 0; k < needed.size(); ++k) {
      if (!needed[k] || !back[k].defined()) continue;
      const Node::Edge& edge = node->inputs[k];
      const Node::Output& target = edge.node->outputs[static_cast<std::size_t>(edge.output)];
      RANKINE_ASSERT(back[k].shape() == target.shape && back[k].dtype() == target.dtype,
                     "op '" + node->name + "': cotangent " + back[k].shape().text() + " " +
                         name_of(back[k].dtype()) + " for input " + std::to_string(k) + " of shape " +
                         target.shape.text() + " " + name_of(target.dtype));
      accumulate(edge.node, edge.output, back[k]);
      back[k] = Tensor();
    }
  }
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (!results[i].defined()) results[i] = Tensor::zeros(inputs[i].shape(), inputs[i].dtype());
  return results;
}

std::vector<Tensor> checkpoint(const Function& fn, const std::vector<Tensor>& inputs) {
  const Region<"checkpoint"> region;
  std::vector<Tensor> outputs, saved;
  {
    const NoGrad off;
    outputs = fn(inputs);
  }
  const auto run_again = [fn, inputs](const std::vector<Tensor>& cotangents, const VjpContext& context) {
    // Fresh identities, so that paths between the inputs themselves are not counted here.
    std::vector<Tensor> copies;
    for (const Tensor& x : inputs) {
      if (!x.on_tape()) {
        copies.push_back(x);
      } else {
        copies.push_back(context.create_graph() ? identity(x) : variable(x.detach()));
      }
    }
    std::vector<Tensor> again;
    {
      const WithTape on;
      again = fn(copies);
    }
    std::vector<Tensor> live, seeds, targets;
    std::vector<std::size_t> position;
    for (std::size_t i = 0; i < again.size(); ++i)
      if (cotangents[i].defined()) {
        live.push_back(again[i]);
        seeds.push_back(cotangents[i]);
      }
    for (std::size_t i = 0; i < copies.size(); ++i)
      if (context.needs(i)) {
        targets.push_back(copies[i]);
        position.push_back(i);
      }
    const std::vector<Tensor> found = grad(live, seeds, targets, {.create_graph = context.create_graph()});
    std::vector<Tensor> back(copies.size());
    for (std::size_t i = 0; i < found.size(); ++i) back[position[i]] = found[i];
    return back;
  };
  return apply_op("checkpoint", inputs, std::move(outputs), run_again);
}

JvpResult jvp(const Function& fn, const std::vector<Tensor>& inputs, const std::vector<Tensor>& tangents) {
  RANKINE_ASSERT(inputs.size() == tangents.size(), "one tangent for each input");
  const WithTape on;
  std::vector<Tensor> at, duals;
  for (const Tensor& x : inputs) at.push_back(x.on_tape() ? identity(x) : variable(x));
  JvpResult result;
  result.values = fn(at);
  for (const Tensor& y : result.values) duals.push_back(variable(Tensor::zeros(y.shape(), y.dtype())));
  const std::vector<Tensor> pulled = grad(result.values, duals, at, {.create_graph = true});
  result.tangents = grad(pulled, tangents, duals);
  return result;
}

}  // namespace rankine
