#include "src/rules/stages.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "src/core/clock.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

/// A tensor's memory, for MPI.
DevicePtr<std::byte> memory_of(const Tensor& x) {
  DevicePtr<std::byte> memory;
  dispatch_real(x.dtype(), "messages",
                [&](auto zero) { memory = x.data<decltype(zero)>().template as<std::byte>(); });
  return memory;
}
std::int64_t byte_count(const Tensor& x) { return x.count() * static_cast<std::int64_t>(size_of(x.dtype())); }

}  // namespace

ParameterSet block_parameters(const Network& network, const ParameterSet& parameters, int begin, int end) {
  const std::vector<ParameterInfo>& parts = parameters.parts();
  const auto of_block = [&](std::size_t part, int block) {
    return parts[part].name.rfind(network.block(block).name() + ".", 0) == 0;
  };
  std::size_t from = 0;
  for (int b = 0; b < begin; ++b)
    while (from < parts.size() && of_block(from, b)) ++from;
  std::size_t to = from;
  for (int b = begin; b < end; ++b)
    while (to < parts.size() && of_block(to, b)) ++to;
  return parameters.range(from, to);
}

std::vector<int> balanced_ends(const std::vector<double>& costs, int parts) {
  // best[p][i]: smallest dearest run where the first i costs make p runs.
  const std::size_t n = costs.size();
  std::vector<double> before(n + 1, 0);
  for (std::size_t i = 0; i < n; ++i) before[i + 1] = before[i] + costs[i];
  const auto p_max = static_cast<std::size_t>(parts);
  std::vector<std::vector<double>> best(p_max + 1, std::vector<double>(n + 1, before[n] + 1));
  std::vector<std::vector<std::size_t>> cut(p_max + 1, std::vector<std::size_t>(n + 1, 0));
  best[0][0] = 0;
  for (std::size_t p = 1; p <= p_max; ++p)
    for (std::size_t i = 0; i <= n; ++i)
      for (std::size_t k = 0; k <= i; ++k) {
        const double dearest = std::max(best[p - 1][k], before[i] - before[k]);
        // Later cuts win where costs are equal, so that empty runs come last.
        if (dearest > best[p][i] || (dearest == best[p][i] && k > 0 && p > 1 && i < n)) continue;
        best[p][i] = dearest;
        cut[p][i] = k;
      }
  std::vector<int> ends(p_max);
  for (std::size_t p = p_max, i = n; p > 0; --p) {
    ends[p - 1] = static_cast<int>(i);
    i = cut[p][i];
  }
  return ends;
}

Stages::Stages(const RuleSetup& setup, const ParameterSet& parameters, const std::vector<int>& first,
               const std::vector<double>& costs, std::vector<ParameterSet> auxiliary)
    : communicator_(setup.communicator) {
  std::vector<double> agreed = costs;
  communicator_.broadcast(std::span<double>(agreed), 0);
  const std::vector<int> ends = balanced_ends(agreed, communicator_.size());
  std::int64_t count = 0;
  for (std::size_t s = 0; s < first.size(); ++s) {
    Stage stage;
    stage.begin = first[s];
    stage.end = s + 1 < first.size() ? first[s + 1] : setup.network->size();
    stage.owner =
        static_cast<int>(std::upper_bound(ends.begin(), ends.end(), static_cast<int>(s)) - ends.begin());
    stage.parameters = block_parameters(*setup.network, parameters, stage.begin, stage.end);
    count += stage.parameters.count();
    stage.auxiliary = s < auxiliary.size() ? std::move(auxiliary[s]) : ParameterSet(parameters.dtype());
    stage.optimizer = setup.make_optimizer();
    stage.auxiliary_optimizer = setup.make_optimizer();
    stage.state = std::make_unique<StateRegistry>();
    stages_.push_back(std::move(stage));
  }
  RANKINE_ASSERT(count == parameters.count(), "parameters that belong to no block");
  for (Stage& stage : stages_) {
    StateRegistry& state = *stage.state;
    state.add("weights", StateKind::replicated, stage.parameters.flat());
    state.add("auxiliary", StateKind::replicated, stage.auxiliary.flat());
    stage.optimizer->register_state(state, "optimizer", stage.parameters);
    stage.auxiliary_optimizer->register_state(state, "auxiliary_optimizer", stage.auxiliary);
    stage.guard = std::make_unique<UpdateGuard>(*stage.optimizer, stage.parameters);
    stage.auxiliary_guard = std::make_unique<UpdateGuard>(*stage.auxiliary_optimizer, stage.auxiliary);
  }
}

int Stages::owner_of_block(int block) const {
  for (const Stage& stage : stages_)
    if (block < stage.end) return stage.owner;
  return 0;
}

void Stages::synchronise() {
  if (communicator_.size() == 1) return;
  for (Stage& stage : stages_) {
    // The same entries in the same order everywhere; only their bytes travel.
    StateSnapshot snapshot = stage.state->save();
    for (auto& [name, value] : snapshot) communicator_.broadcast(value.bytes, stage.owner);
    if (communicator_.rank() != stage.owner) stage.state->restore(snapshot);
  }
}

void Stages::register_state(StateRegistry& registry, const std::string& prefix) {
  for (std::size_t s = 0; s < stages_.size(); ++s) {
    Stage& stage = stages_[s];
    const std::string at = prefix + "/stage" + std::to_string(s);
    if (stage.auxiliary.count() > 0)
      registry.add(at + "/auxiliary", StateKind::replicated, stage.auxiliary.flat());
    stage.optimizer->register_state(registry, at + "/optimizer", stage.parameters);
    stage.auxiliary_optimizer->register_state(registry, at + "/auxiliary_optimizer", stage.auxiliary);
  }
}

void Stages::state_changed() {
  for (Stage& stage : stages_) {
    stage.guard->state_changed();
    stage.auxiliary_guard->state_changed();
  }
}

bool StagedRule::update_together(const Communicator& communicator, const std::vector<Update>& updates,
                                 double learning_rate) {
  bool risky = false;
  for (const Update& update : updates) risky = update.guard->may_fail(update.norm, learning_rate) || risky;
  risky = communicator.any(risky);
  std::vector<StateSnapshot> before;
  if (risky)
    for (const Update& update : updates) before.push_back(update.guard->save());
  bool made = true;
  for (const Update& update : updates)
    made = update.guard->step(update.gradient, update.norm, learning_rate) && made;
  if (!risky || communicator.all_agree(made)) return true;
  for (std::size_t i = 0; i < updates.size(); ++i) updates[i].guard->restore(before[i]);
  return false;
}

void StagedRule::check_stages(const RuleSetup& setup, const std::vector<int>& first) const {
  if (setup.network == nullptr)
    throw InputError(name_ + ": trains networks that are lists of blocks (experiment: training)");
  const Network& network = *setup.network;
  const std::size_t count = first.size();
  if (static_cast<std::size_t>(setup.communicator.size()) > count)
    throw InputError(fmt::format("{0}: {1} ranks for {2} stages of the network; use at most {2} ranks", name_,
                                 setup.communicator.size(), count));
  const ParameterSet parameters = network.initial_parameters(setup.seed);
  for (std::size_t s = 0; s < count; ++s) {
    const int end = s + 1 < count ? first[s + 1] : network.size();
    try {
      forward_cost(network, parameters, setup.inputs, first[s], end, setup.graph);
    } catch (const InputError& error) {
      throw InputError(
          fmt::format("{}: {} to {} cannot be trained apart from the other blocks: {}; use the "
                      "rule backprop",
                      name_, network.block(first[s]).name(), network.block(end - 1).name(), error.what()));
    }
  }
}

double StagedRule::seconds_of(const RuleSetup& setup, const Network& network, const ParameterSet& parameters,
                              DType inputs, int begin, int end) const {
  if (setup.communicator.size() == 1 || !setup.communicator.is_root()) return 0;
  const SharedTileSum one = local_tile_sum(1);
  Pass pass{.shards = one, .training = true, .update_statistics = false, .graph = setup.graph};
  Shape shape = network.block(begin).input();
  shape.insert(0, setup.batch);
  shape.insert(0, 1);
  const ParameterSet own = block_parameters(network, parameters, begin, end);
  double shortest = std::numeric_limits<double>::infinity();
  for (int repetition = 0; repetition < 3; ++repetition) {
    Tensor x = begin == 0 ? Tensor::zeros(shape, inputs) : Tensor::full(shape, network.dtype(), 0.5);
    if (x.dtype() == network.dtype()) x = variable(x);
    const ProcessorStopwatch watch;
    const BoundParameters bound = own.bind(one);
    const Tensor y = network.forward(bound, x, pass, begin, end);
    if (y.on_tape()) grad({y}, {Tensor::full(y.shape(), y.dtype(), 1)}, {own.count() > 0 ? bound.flat() : x});
    shortest = std::min(shortest, watch.seconds());
  }
  return shortest;
}

void StagedRule::deal(const RuleSetup& setup, const ParameterSet& parameters, const std::vector<int>& first,
                      const std::vector<double>& costs, std::vector<ParameterSet> auxiliary) {
  setup_ = std::make_unique<RuleSetup>(setup);
  stages_ = std::make_unique<Stages>(*setup_, parameters, first, costs, std::move(auxiliary));
  const int rank = setup.communicator.rank();
  begin_ = end_ = 0;
  for (int s = 0; s < stages_->size(); ++s) {
    if ((*stages_)[s].owner < rank) begin_ = s + 1;
    if ((*stages_)[s].owner <= rank) end_ = s + 1;
  }
  const bool idle = begin_ == end_;
  previous_ = idle || begin_ == 0 ? -1 : (*stages_)[begin_ - 1].owner;
  next_ = idle || end_ == stages_->size() ? -1 : (*stages_)[end_].owner;
  seconds_ = waited_ = messages_ = bytes_ = 0;
}

void StagedRule::send(const Tensor& values, int to, int tag) {
  Sent sent;
  sent.values = dense(values);
  sent.exchange = std::make_unique<Exchange>(setup_->communicator);
  sent.exchange->send(DevicePtr<const std::byte>(memory_of(sent.values)), byte_count(sent.values), to, tag);
  ++messages_;
  bytes_ += static_cast<double>(byte_count(sent.values));
  sent_.push_back(std::move(sent));
}

Tensor StagedRule::receive(Shape lead, const Shape& sample, int from, int tag) {
  for (const std::int64_t extent : sample) lead.push_back(extent);
  const Tensor x = Tensor::empty(lead, setup_->network->dtype());
  const Stopwatch waiting;
  Exchange exchange(setup_->communicator);
  exchange.receive(memory_of(x), byte_count(x), from, tag);
  exchange.wait();
  waited_ += waiting.seconds();
  return x;
}

void StagedRule::wait_for_sent(std::size_t left) {
  const Stopwatch waiting;
  for (; sent_.size() > left; sent_.pop_front()) sent_.front().exchange->wait();
  waited_ += waiting.seconds();
}

std::vector<MetricInfo> StagedRule::metrics() const {
  return {
      {"idle_share", "1", "share of the steps' time that the rank that waits most waits for others", true},
      {"messages_per_rank", "1", "most tensors that a rank sent", true},
      {"bytes_per_rank", "B", "most bytes of tensors that a rank sent", true}};
}

std::vector<double> StagedRule::measured() const {
  const Communicator& communicator = setup_->communicator;
  return {communicator.max(seconds_ > 0 ? waited_ / seconds_ : 0), communicator.max(messages_),
          communicator.max(bytes_)};
}

double forward_cost(const Network& network, const ParameterSet& parameters, DType inputs, int begin, int end,
                    const std::shared_ptr<const Graph>& graph) {
  const NoGrad off;
  Pass pass{.shards = local_tile_sum(1), .graph = graph};
  const BoundParameters bound = block_parameters(network, parameters, begin, end).bind(pass.shards);
  Shape shape = network.block(begin).input();
  shape.insert(0, 1);
  shape.insert(0, 1);
  const Tensor x = Tensor::zeros(shape, begin == 0 ? inputs : network.dtype());
  const CostAccount account;
  network.forward(bound, x, pass, begin, end);
  return account.total().flops / 2;
}

}  // namespace rankine
