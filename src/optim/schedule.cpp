#include "src/optim/schedule.hpp"

#include <algorithm>
#include <charconv>
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

void StepsSchedule::options(OptionVisitor& o) {
  o("at", at_,
    {.help = "steps from which on the rate is reduced: numbers, or percentages of all steps such as 50%",
     .min_size = 1});
  o("factor", factor_, {.help = "of each reduction", .min = 0, .exclusive_min = true});
}

void StepsSchedule::validate(const DeckNode& node) {
  places_.clear();
  for (const std::string& text : at_) {
    Place place{0, !text.empty() && text.back() == '%'};
    const char* const end = text.data() + text.size() - (place.percent ? 1 : 0);
    const auto read = std::from_chars(text.data(), end, place.number);
    if (read.ec != std::errc() || read.ptr != end || !(place.number >= 0) ||
        (place.percent && place.number > 100))
      node.error_at("at", "at: '" + text +
                              "' is no step; allowed are numbers of at least 0, and percentages "
                              "such as 50%");
    places_.push_back(place);
  }
}

double StepsSchedule::factor(std::int64_t step, std::int64_t steps) const {
  double product = 1;
  for (const Place& place : places_) {
    const double begin = place.percent ? place.number * static_cast<double>(steps) / 100 : place.number;
    if (static_cast<double>(step) >= begin) product *= factor_;
  }
  return product;
}

const Registry<Schedule>& schedules() {
  static const Registry<Schedule> table(
      "schedule", {
                      entry<ConstantSchedule>("constant", "the full rate throughout"),
                      entry<CosineSchedule>("cosine", "linear warm-up, then half a cosine down"),
                      entry<StepSchedule>("step", "reduced by a factor every so many steps, down to a floor"),
                      entry<StepsSchedule>("steps", "reduced by a factor at the steps of a list"),
                  });
  return table;
}

}  // namespace rankine
