#include "src/run/checkpoint_state.hpp"

#include <string_view>
#include <utility>

#include "src/tensor/fault_probe.hpp"

namespace rankine {
namespace {

/// Before the names of a job's state, in checkpoints.
constexpr std::string_view start = "state/";

}  // namespace

StateSnapshot state_of(CheckpointContent content) {
  StateSnapshot snapshot;
  for (auto& [name, value] : content.state) {
    if (name.starts_with(start)) snapshot.emplace(name.substr(start.size()), std::move(value));
  }
  return snapshot;
}

void broadcast(const Communicator& communicator, StateSnapshot& snapshot) {
  auto count = static_cast<std::int64_t>(snapshot.size());
  communicator.broadcast(count);
  auto next = snapshot.begin();
  for (std::int64_t i = 0; i < count; ++i) {
    std::string name;
    StateValue value;
    if (communicator.is_root()) {
      name = next->first;
      value.type = next->second.type;
      value.shape = next->second.shape;
    }
    communicator.broadcast(name);
    communicator.broadcast(value.type);
    communicator.broadcast(value.shape);
    if (communicator.is_root()) {
      communicator.broadcast((next++)->second.bytes);
    } else {
      communicator.broadcast(value.bytes);
      snapshot.emplace(std::move(name), std::move(value));
    }
  }
}

bool must_be_finite(const std::string& state_name) {
  return state_name.starts_with("weights/") || state_name.starts_with("critic/") ||
         state_name.find("optimizer/") != std::string::npos ||
         (state_name.starts_with("rule/") && state_name.ends_with("/auxiliary"));
}

bool finite_state(const CheckpointContent& content) {
  for (const auto& [name, value] : content.state) {
    if (!name.starts_with(start) || !must_be_finite(name.substr(start.size()))) continue;
    if (not_finite(Tensor::from_bytes(value.bytes, Shape(value.shape), value.type)).count > 0) return false;
  }
  return true;
}

}  // namespace rankine
