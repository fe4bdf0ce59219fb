// Snapshots of parameters that runs leave for other variants of the same seed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "src/tensor/state_registry.hpp"

namespace rankine {

/// What a snapshot holds, or what a run wants of one that it starts from.
struct SnapshotEntry {
  std::string name;  ///< of a parameter ("weights/...") or its mask ("masks/..."), and the type
  Shape shape;
  bool optional = false;  ///< a run does without it: a mask, or what a parametrisation adds to the weights
};

/// The snapshots of a run. Every rank has them whole, as parameters are replicated.
class SnapshotStore {
 public:
  using Job = std::pair<std::string, std::int64_t>;  ///< variant and seed

  void keep(const Job& job, const std::string& name, StateSnapshot snapshot) {
    kept_[job][name] = std::move(snapshot);
  }
  /// A missing snapshot is a defect of the program: the driver checks names before work starts.
  const StateSnapshot& get(const Job& job, const std::string& name) const;
  void forget(const Job& job) { kept_.erase(job); }

 private:
  std::map<Job, std::map<std::string, StateSnapshot>> kept_;
};

/// The snapshot that a run always leaves: its parameters after the last step.
inline constexpr const char* final_snapshot = "end";
/// The one that a run with `train.average` leaves: the average after the last step.
inline constexpr const char* average_snapshot = "average";

/// All snapshots in the state of a run that is done: "snapshots/<name>/<entry>", and the final one from
/// "weights/..." and "masks/...".
std::map<std::string, StateSnapshot> snapshots_in(const StateSnapshot& state);

}  // namespace rankine
