#include "src/rules/stages.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace rankine {

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
  const std::vector<int> ends = balanced_ends(costs, communicator_.size());
  std::size_t part = 0;
  for (std::size_t s = 0; s < first.size(); ++s) {
    Stage stage;
    stage.begin = first[s];
    stage.end = s + 1 < first.size() ? first[s + 1] : setup.network->size();
    stage.owner =
        static_cast<int>(std::upper_bound(ends.begin(), ends.end(), static_cast<int>(s)) - ends.begin());
    const std::size_t from = part;
    for (int b = stage.begin; b < stage.end; ++b) {
      const std::string prefix = setup.network->block(b).name() + ".";
      while (part < parameters.parts().size() && parameters.parts()[part].name.rfind(prefix, 0) == 0) ++part;
    }
    stage.parameters = parameters.range(from, part);
    stage.auxiliary = s < auxiliary.size() ? std::move(auxiliary[s]) : ParameterSet(parameters.dtype());
    stage.optimizer = setup.make_optimizer();
    stage.auxiliary_optimizer = setup.make_optimizer();
    stage.state = std::make_unique<StateRegistry>();
    stages_.push_back(std::move(stage));
  }
  RANKINE_ASSERT(part == parameters.parts().size(), "parameters that belong to no block");
  for (Stage& stage : stages_) {
    StateRegistry& state = *stage.state;
    state.add("weights", StateKind::replicated, stage.parameters.flat());
    state.add("auxiliary", StateKind::replicated, stage.auxiliary.flat());
    stage.optimizer->register_state(state, "optimizer", stage.parameters);
    stage.auxiliary_optimizer->register_state(state, "auxiliary_optimizer", stage.auxiliary);
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

std::unique_ptr<Layer> layer_from(const std::string& text, const LayerContext& context) {
  return layers().make(parse_deck_text(text, context.name), context);
}

double forward_cost(const Network& network, int begin, int end) {
  const NoGrad off;
  const ParameterSet parameters = network.initial_parameters(0);
  Pass pass{.shards = local_tile_sum(1)};
  const BoundParameters bound = parameters.bind(pass.shards);
  Shape shape = network.block(begin).input();
  shape.insert(0, 1);
  shape.insert(0, 1);
  const Tensor x = Tensor::zeros(shape, network.dtype());
  const CostAccount account;
  network.forward(bound, x, pass, begin, end);
  return account.total().flops / 2;
}

}  // namespace rankine
