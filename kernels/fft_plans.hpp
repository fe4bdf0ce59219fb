// Plans of transforms, made once for each key and kept to the end of the process.
#pragma once

#include <map>
#include <mutex>

namespace rankine::kernels {

/// A plan must not change once it is made, because several threads use it at the same time.
template <class Key, class Plan>
class FftPlans {
 public:
  /// The plan of `key`; the first call makes it by make(key). Planners need not be thread-safe: only one call
  /// of make() runs at a time.
  template <class Make>
  const Plan& find(const Key& key, const Make& make) {
    const std::scoped_lock lock(mutex_);
    const auto found = plans_.find(key);
    return found != plans_.end() ? found->second : plans_.emplace(key, make(key)).first->second;
  }

 private:
  std::mutex mutex_;
  std::map<Key, Plan> plans_;  // a map, because its elements stay where they are
};

}  // namespace rankine::kernels
