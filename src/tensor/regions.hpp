// The names under which ops run, for tools that watch the program: Kokkos Tools and PETSc's -log_view. They
// are the names of `rankine run --profile`. While nobody watches, a region costs two tests of a flag.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace rankine {

/// Text as an argument of a template.
template <std::size_t N>
struct RegionName {
  char text[N];
  consteval RegionName(const char (&from)[N]) { std::copy_n(from, N, text); }
};

/// The names of all regions of the program, in the same order on all ranks. After each op's name follows that
/// of its backward pass.
const std::vector<std::string>& region_names();

/// Is told of regions by their place in region_names(), on the thread that made the RegionWatch.
class RegionWatcher {
 public:
  virtual ~RegionWatcher() = default;
  virtual void begin(std::size_t region) = 0;
  virtual void end(std::size_t region) = 0;
  virtual void flops(double /*count*/) {}
};

/// Watches while it lives; there is one at a time.
class RegionWatch {
 public:
  explicit RegionWatch(std::vector<std::unique_ptr<RegionWatcher>> watchers);
  ~RegionWatch();
  RegionWatch(const RegionWatch&) = delete;
  RegionWatch& operator=(const RegionWatch&) = delete;
};

/// Passes regions on to Kokkos Tools; null where no tool is loaded.
std::unique_ptr<RegionWatcher> kokkos_tools_watcher();

/// Where regions are made of: what follows is for Region and the tape.
namespace regions {
extern constinit thread_local bool watched;
std::size_t add(const char* name);
void begin(std::size_t region);
void end(std::size_t region);
void flops(double count);
}  // namespace regions

/// A scope that runs under a name known to the compiler.
template <RegionName Name>
class Region {
 public:
  Region() : open_(regions::watched) {
    if (open_) regions::begin(place);
  }
  ~Region() {
    if (open_) regions::end(place);
  }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

 private:
  static inline const std::size_t place = regions::add(Name.text);
  bool open_;
};

/// The scope of the backward pass of the op `op`.
class BackwardRegion {
 public:
  explicit BackwardRegion(std::string_view op);
  ~BackwardRegion();
  BackwardRegion(const BackwardRegion&) = delete;
  BackwardRegion& operator=(const BackwardRegion&) = delete;

 private:
  std::size_t place_ = 0;  // an op's, and so none of a backward pass: not open
};

}  // namespace rankine
