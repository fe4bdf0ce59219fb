#include "src/train/average.hpp"

#include <algorithm>

namespace rankine {
namespace {

/// decay * average + (1 - decay) * parameters. With `warm_up` the decay is at most (1 + n) / (10 + n) after n
/// steps, so that the first parameters are forgotten soon.
class ExponentialAverage final : public Average {
 public:
  void options(OptionVisitor& o) {
    o("decay", decay_,
      {.help = "part of the average that a step leaves; 0: the average is the parameters",
       .min = 0,
       .max = 1});
    o("warm_up", warm_up_,
      {.help = "a smaller decay in the first steps, at most (1 + n) / (10 + n) after n"});
  }
  double share(std::int64_t step, std::int64_t) const override {
    const auto n = static_cast<double>(step);
    return 1 - (warm_up_ ? std::min(decay_, (1 + n) / (10 + n)) : decay_);
  }

 private:
  double decay_ = 0.999;
  bool warm_up_ = false;
};

/// Stochastic weight averaging (Izmailov et al., UAI 2018, arXiv 1803.05407): the mean of the parameters
/// after every `every`-th step of the last part of training; before, the parameters.
class UniformAverage final : public Average {
 public:
  void options(OptionVisitor& o) {
    o("from", from_, {.help = "part of training after which it begins", .min = 0, .max = 1});
    o("every", every_, {.help = "steps from one addend to the next", .unit = "steps", .min = 1});
  }
  double share(std::int64_t step, std::int64_t steps) const override {
    const auto first = static_cast<std::int64_t>(from_ * static_cast<double>(steps));
    if (step <= first) return 1;
    return (step - first) % every_ == 0 ? 1 / (1 + static_cast<double>((step - first) / every_)) : 0;
  }

 private:
  double from_ = 0.75;
  int every_ = 1;
};

}  // namespace

const Registry<Average>& averages() {
  static const Registry<Average> table(
      "average", {
                     entry<ExponentialAverage>("ema", "exponential moving average"),
                     entry<UniformAverage>("uniform", "mean of the last part of training (SWA)"),
                 });
  return table;
}

}  // namespace rankine
