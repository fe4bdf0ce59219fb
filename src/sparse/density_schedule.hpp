// When a network is pruned, and how far each time.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "src/deck/registry.hpp"

namespace rankine {

class DensitySchedule {
 public:
  virtual ~DensitySchedule() = default;
  /// The last step before which the schedule prunes.
  virtual std::int64_t last() const = 0;
  /// Steps before which to prune, ascending, with the densities to reach; the last is `density`.
  virtual std::vector<std::pair<std::int64_t, double>> events(double density) const = 0;
};

/// All at once.
class OneShot final : public DensitySchedule {
 public:
  void options(OptionVisitor& o) {
    o("at", at_, {.help = "step before which all is removed at once", .unit = "steps", .min = 0});
  }
  std::int64_t last() const override { return at_; }
  std::vector<std::pair<std::int64_t, double>> events(double density) const override {
    return {{at_, density}};
  }

 private:
  int at_ = 0;
};

/// d + (1 - d) (1 - (t - from) / (to - from))^3 at step t (Zhu and Gupta, arXiv 1710.01878, eq. 1).
class CubicSchedule final : public DensitySchedule {
 public:
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
  std::int64_t last() const override { return to_; }
  std::vector<std::pair<std::int64_t, double>> events(double density) const override;

 private:
  int from_ = 0, to_ = 100, every_ = 10;
};

/// The table of what a deck's `sparsity.schedule` can name.
const Registry<DensitySchedule>& density_schedules();

}  // namespace rankine
