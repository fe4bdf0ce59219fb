#include "src/optim/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rankine {

void CosineSchedule::options(OptionVisitor& o) {
  o("warm_up", warm_up_, {.help = "steps over which the rate rises from near 0", .unit = "steps", .min = 0});
  o("final_fraction", final_fraction_,
    {.help = "rate at the last step, as a part of the full rate", .min = 0, .max = 1});
}

double CosineSchedule::factor(std::int64_t step, std::int64_t steps) const {
  if (step < warm_up_) return static_cast<double>(step + 1) / warm_up_;
  const double length = static_cast<double>(std::max<std::int64_t>(steps - 1 - warm_up_, 1));
  const double part = std::min(1.0, static_cast<double>(step - warm_up_) / length);
  return final_fraction_ + (1 - final_fraction_) * 0.5 * (1 + std::cos(std::numbers::pi * part));
}

void StepSchedule::options(OptionVisitor& o) {
  o("every", every_, {.help = "steps between two reductions", .unit = "steps", .min = 1});
  o("decay", decay_, {.help = "factor of each reduction", .min = 0, .max = 1, .exclusive_min = true});
  o("floor", floor_, {.help = "smallest rate, as a part of the full rate", .min = 0, .max = 1});
}

double StepSchedule::factor(std::int64_t step, std::int64_t) const {
  return std::max(floor_, std::pow(decay_, static_cast<double>(step / every_)));
}

const Registry<Schedule>& schedules() {
  static const Registry<Schedule> table(
      "schedule", {
                      entry<ConstantSchedule>("constant", "the full rate throughout"),
                      entry<CosineSchedule>("cosine", "linear warm-up, then half a cosine down"),
                      entry<StepSchedule>("step", "reduced by a factor every so many steps, down to a floor"),
                  });
  return table;
}

}  // namespace rankine
