#include "src/sparse/density_schedule.hpp"

#include <fmt/format.h>

namespace rankine {

void CubicSchedule::options(OptionVisitor& o) {
  o("from", from_, {.help = "step of the first pruning", .unit = "steps", .min = 0});
  o("to", to_,
    {.help = "step of the last one, after which the density is reached", .unit = "steps", .min = 1});
  o("every", every_, {.help = "steps between two prunings", .unit = "steps", .min = 1});
}

void CubicSchedule::validate(const DeckNode& node) const {
  if (to_ <= from_)
    node.error_at("to", fmt::format("to: {} is not after from: {}; pruning takes some steps", to_, from_));
}

std::vector<std::pair<std::int64_t, double>> CubicSchedule::events(double density) const {
  std::vector<std::pair<std::int64_t, double>> out;
  for (std::int64_t step = from_;; step = step + every_ < to_ ? step + every_ : std::int64_t{to_}) {
    const double left = 1 - static_cast<double>(step - from_) / static_cast<double>(to_ - from_);
    out.emplace_back(step, density + (1 - density) * left * left * left);
    if (step == to_) return out;
  }
}

const Registry<DensitySchedule>& density_schedules() {
  static const Registry<DensitySchedule> table(
      "density_schedule", {
                              entry<OneShot>("step", "all at once before a step"),
                              entry<CubicSchedule>("cubic", "gradually, the more the denser it is"),
                          });
  return table;
}

}  // namespace rankine
