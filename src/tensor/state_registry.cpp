#include "src/tensor/state_registry.hpp"

#include <utility>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine {

namespace {

std::string describe(DType type, const std::vector<std::int64_t>& shape) {
  std::vector<std::string> extents;
  for (const std::int64_t extent : shape) extents.push_back(std::to_string(extent));
  return std::string(name_of(type)) + " [" + join(extents) + "]";
}

std::int64_t count(const std::vector<std::int64_t>& shape) {
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) product *= extent;
  return product;
}

/// Why `saved` cannot be restored into `entry`, or "".
std::string mismatch(const StateRegistry::Entry& entry, const StateValue& saved) {
  if (saved.type != entry.type || (entry.shape && *entry.shape != saved.shape)) {
    return "is saved as " + describe(saved.type, saved.shape) + ", but this run needs " +
           (entry.shape ? describe(entry.type, *entry.shape) : std::string(name_of(entry.type)));
  }
  if (static_cast<std::int64_t>(saved.bytes.size()) !=
      count(saved.shape) * static_cast<std::int64_t>(size_of(saved.type))) {
    return "is damaged: " + std::to_string(saved.bytes.size()) + " bytes for " +
           describe(saved.type, saved.shape);
  }
  return "";
}

}  // namespace

StateView StateRegistry::Entry::view() const {
  if (look) {
    if (std::optional<StateView> there = look()) return *std::move(there);
  }
  const auto copy = std::make_shared<const StateValue>(get());
  return {copy->type, copy->shape, copy->bytes, copy};
}

void StateRegistry::add(const std::string& name, Entry entry) {
  RANKINE_ASSERT(!name.empty() && !entries_.contains(name),
                 "state '" + name + "' is registered twice or has no name");
  entries_.emplace(name, std::move(entry));
}

void StateRegistry::add(const std::string& name, StateKind kind, const Tensor& tensor) {
  RANKINE_ASSERT(tensor.defined(), "state '" + name + "' is an undefined tensor");
  const std::vector<std::int64_t> shape(tensor.shape().begin(), tensor.shape().end());
  const Tensor handle = tensor.detach();
  add(name, {kind, tensor.dtype(), shape,
             [handle, shape] {
               return StateValue{handle.dtype(), shape, handle.to_bytes()};
             },
             [handle](const StateValue& saved) { handle.assign_bytes(saved.bytes); },
             [handle, shape]() -> std::optional<StateView> {
               const auto bytes = handle.bytes_in_place();
               if (!bytes) return std::nullopt;
               return StateView{handle.dtype(), shape, *bytes};
             },
             true});
}

void StateRegistry::remove(const std::string& name) {
  std::erase_if(entries_, [&](const auto& entry) {
    return entry.first == name || entry.first.compare(0, name.size() + 1, name + "/") == 0;
  });
}

StateSnapshot StateRegistry::save() const {
  StateSnapshot snapshot;
  for (const auto& [name, entry] : entries_) snapshot.emplace(name, entry.get());
  return snapshot;
}

void StateRegistry::restore(const StateSnapshot& snapshot) const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  for (const auto& [name, saved] : snapshot) {
    const auto entry = entries_.find(name);
    if (entry == entries_.end()) {
      throw InputError("saved state '" + name + "' belongs to nothing in this run" +
                       did_you_mean(name, names) + "; use the deck that the state was saved with");
    }
    if (const std::string why = mismatch(entry->second, saved); !why.empty()) {
      throw InputError("saved state '" + name + "' " + why + "; use the deck that the state was saved with");
    }
  }
  for (const std::string& name : names) {
    if (!snapshot.contains(name)) {
      throw InputError("the saved state has no '" + name + "'; use the deck that the state was saved with");
    }
  }
  for (const auto& [name, saved] : snapshot) entries_.at(name).set(saved);
}

}  // namespace rankine
