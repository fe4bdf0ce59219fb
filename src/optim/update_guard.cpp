#include "src/optim/update_guard.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "src/tensor/fault_probe.hpp"

namespace rankine {

UpdateGuard::UpdateGuard(Optimizer& optimizer, ParameterSet& parameters)
    : optimizer_(optimizer), parameters_(parameters) {
  for (const ParameterInfo& part : parameters_.parts())
    state_.add("weights/" + part.name, StateKind::replicated, parameters_.view(part));
  optimizer_.register_state(state_, "optimizer", parameters_);
  std::vector<FlatParts::Part> parts;
  for (const ParameterInfo& part : parameters_.parts()) {
    if (!part.frozen || part.group != "statistics") continue;
    statistics_.emplace_back(parameters_.view(part), Tensor());
    parts.push_back({part.offset, part.offset + part.shape.count()});
  }
  if (!parts.empty()) statistics_parts_ = FlatParts(std::move(parts));
  state_changed();
}

void UpdateGuard::state_changed() {
  optimizer_.state_changed();
  largest_ = largest_size(parameters_.flat());
  norm_ = 0;
}

std::optional<UpdateGuard::Complaint> UpdateGuard::check() const {
  // In the order of the names: the optimiser's state, then the weights, which a step computes from it.
  for (const auto& [name, entry] : state_.entries()) {
    if (!is_differentiable(entry.type)) continue;
    const StateValue value = entry.get();
    const Tensor tensor = Tensor::from_bytes(value.bytes, Shape(value.shape), value.type);
    if (const NotFinite bad = not_finite(tensor); bad.count > 0) return Complaint{name, tensor, bad.first};
  }
  return std::nullopt;
}

bool UpdateGuard::safe(double learning_rate) {
  // Far below the largest number, so that rounding and intermediate results do not matter.
  const double limit = parameters_.dtype() == DType::f32 ? 1e30 : 1e290;
  const auto stays = [&] {
    return largest_ + optimizer_.largest_change(norm_, learning_rate, largest_) < limit;
  };
  if (stays()) return true;
  largest_ = largest_size(parameters_.flat());  // the bound grows with every step, the values need not
  return stays();
}

void UpdateGuard::begin_step() {
  complaint_.reset();
  for (auto& [now, before] : statistics_) before = now.clone();
}

void UpdateGuard::abandon_step() {
  for (auto& [now, before] : statistics_)
    if (before.defined()) now.assign(before);
}

void UpdateGuard::count_bad_statistics(DevicePtr<double> out) const {
  statistics_parts_.count_not_finite(parameters_.flat(), out);
}

std::optional<UpdateGuard::Complaint> UpdateGuard::check_statistics() const {
  if (statistics_.empty()) return std::nullopt;
  std::size_t next = 0;
  for (const ParameterInfo& part : parameters_.parts()) {
    if (!part.frozen || part.group != "statistics") continue;
    const Tensor& now = statistics_[next++].first;
    if (const NotFinite bad = not_finite(now); bad.count > 0)
      return Complaint{"weights/" + part.name, now.clone(), bad.first, true};
  }
  return std::nullopt;
}

bool UpdateGuard::projected() const {
  return std::any_of(parameters_.parts().begin(), parameters_.parts().end(),
                     [](const ParameterInfo& part) { return bool(part.projection); });
}

bool UpdateGuard::may_fail(double norm, double learning_rate) {
  norm_ = std::max(norm_, norm);
  return projected() || !safe(learning_rate) || check_statistics();
}

bool UpdateGuard::step(const Tensor& gradient, double norm, double learning_rate,
                       std::optional<bool> statistics_finite) {
  norm_ = std::max(norm_, norm);
  complaint_.reset();
  if (!statistics_finite.value_or(false)) complaint_ = check_statistics();
  if (complaint_) return false;
  if (!projected() && safe(learning_rate)) {
    largest_ += optimizer_.largest_change(norm_, learning_rate, largest_);
    optimizer_.step(parameters_, gradient, learning_rate);
    return true;
  }
  ++copies_;
  const StateSnapshot before = state_.save();
  optimizer_.step(parameters_, gradient, learning_rate);
  complaint_ = check();
  if (complaint_) state_.restore(before);
  largest_ = largest_size(parameters_.flat());
  return !complaint_;
}

}  // namespace rankine
