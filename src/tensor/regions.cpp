#include "src/tensor/regions.hpp"

#include <map>
#include <utility>

#include "kernels/error.hpp"
#include "kernels/runtime.hpp"

namespace rankine {
namespace {

struct Names {
  std::vector<std::string> all;
  std::map<std::string, std::size_t, std::less<>> places;
};
// Regions add themselves before main() begins.
Names& names() {
  static Names instance;
  return instance;
}

thread_local std::vector<std::unique_ptr<RegionWatcher>> watchers;

class KokkosTools final : public RegionWatcher {
 public:
  void begin(std::size_t region) override { push_tool_region(region_names()[region]); }
  void end(std::size_t /*region*/) override { pop_tool_region(); }
};

}  // namespace

const std::vector<std::string>& region_names() { return names().all; }

RegionWatch::RegionWatch(std::vector<std::unique_ptr<RegionWatcher>> all) {
  RANKINE_ASSERT(watchers.empty(), "two watches of regions at once");
  watchers = std::move(all);
  regions::watched = !watchers.empty();
}
RegionWatch::~RegionWatch() {
  regions::watched = false;
  watchers.clear();
}

std::unique_ptr<RegionWatcher> kokkos_tools_watcher() {
  return tools_are_loaded() ? std::make_unique<KokkosTools>() : nullptr;
}

namespace regions {

constinit thread_local bool watched = false;

std::size_t add(const char* name) {
  Names& known = names();
  const std::size_t place = known.all.size();
  known.all.emplace_back(name);
  known.all.emplace_back(std::string(name) + "_backward");
  known.places.emplace(name, place);
  return place;
}
void begin(std::size_t region) {
  for (const auto& watcher : watchers) watcher->begin(region);
}
void end(std::size_t region) {
  for (const auto& watcher : watchers) watcher->end(region);
}
void flops(double count) {
  for (const auto& watcher : watchers) watcher->flops(count);
}

}  // namespace regions

BackwardRegion::BackwardRegion(std::string_view op) {
  if (!regions::watched) return;
  const auto& places = names().places;
  const auto found = places.find(op);
  if (found == places.end()) return;
  place_ = found->second + 1;
  regions::begin(place_);
}
BackwardRegion::~BackwardRegion() {
  if (place_ != 0) regions::end(place_);
}

}  // namespace rankine
