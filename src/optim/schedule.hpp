// Learning rates as functions of the step: no state, so a restart has nothing to restore.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"

namespace rankine {

class Schedule {
 public:
  virtual ~Schedule() = default;
  /// The factor on the deck's learning rate at `step` (from 0) of `steps`.
  virtual double factor(std::int64_t step, std::int64_t steps) const = 0;
};

class ConstantSchedule final : public Schedule {
 public:
  void options(OptionVisitor&) {}
  double factor(std::int64_t, std::int64_t) const override { return 1; }
};

/// Rises linearly over `warm_up` steps to 1, then falls along half a cosine to `final_fraction` at the last
/// step.
class CosineSchedule final : public Schedule {
 public:
  void options(OptionVisitor& o);
  double factor(std::int64_t step, std::int64_t steps) const override;

 private:
  int warm_up_ = 100;
  double final_fraction_ = 0.01;
};

/// Times `decay` after every `every` steps, but not below `floor`.
class StepSchedule final : public Schedule {
 public:
  void options(OptionVisitor& o);
  double factor(std::int64_t step, std::int64_t steps) const override;

 private:
  int every_ = 800;
  double decay_ = 0.5, floor_ = 0.1;
};

/// Times `factor` from each of some steps on.
class StepsSchedule final : public Schedule {
 public:
  void options(OptionVisitor& o);
  /// Throws InputError for what is no step.
  void validate(const DeckNode& node);
  double factor(std::int64_t step, std::int64_t steps) const override;

 private:
  struct Place {
    double number;
    bool percent;
  };
  std::vector<std::string> at_{"50%", "80%"};
  double factor_ = 0.1;
  std::vector<Place> places_{{50, true}, {80, true}};
};

const Registry<Schedule>& schedules();

}  // namespace rankine
