#include "src/run/snapshots.hpp"

#include <string_view>

#include "kernels/error.hpp"

namespace rankine {

const StateSnapshot& SnapshotStore::get(const Job& job, const std::string& name) const {
  const auto of_job = kept_.find(job);
  RANKINE_ASSERT(of_job != kept_.end() && of_job->second.contains(name),
                 "no snapshot '" + name + "' of " + job.first + " seed " + std::to_string(job.second));
  return of_job->second.at(name);
}

std::map<std::string, StateSnapshot> snapshots_in(const StateSnapshot& state) {
  std::map<std::string, StateSnapshot> out;
  constexpr std::string_view begin = "snapshots/";
  for (const auto& [name, value] : state) {
    if (name.starts_with("weights/") || name.starts_with("masks/")) {
      out[final_snapshot].emplace(name, value);
    } else if (name.starts_with(begin)) {
      const std::size_t end = name.find('/', begin.size());
      if (end != std::string::npos)
        out[name.substr(begin.size(), end - begin.size())].emplace(name.substr(end + 1), value);
    }
  }
  return out;
}

}  // namespace rankine
