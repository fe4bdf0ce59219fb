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
  double share(std::int64_t step) const override {
    const auto n = static_cast<double>(step);
    return 1 - (warm_up_ ? std::min(decay_, (1 + n) / (10 + n)) : decay_);
  }

 private:
  double decay_ = 0.999;
  bool warm_up_ = false;
};

/// Stochastic weight averaging (Izmailov et al., UAI 2018, arXiv 1803.05407): the mean of the parameters
/// after step `from` and every `every` steps from there on; until then, the parameters.
class UniformAverage final : public Average {
 public:
  void options(OptionVisitor& o) {
    o("from", from_, {.help = "the first step that counts, from 0", .unit = "steps", .min = 0});
    o("every", every_, {.help = "steps from one addend to the next", .unit = "steps", .min = 1});
  }
  double share(std::int64_t step) const override {
    if (step <= from_) return 1;
    const std::int64_t later = step - from_;
    return later % every_ == 0 ? 1 / (1 + static_cast<double>(later / every_)) : 0;
  }

 private:
  int from_ = 0, every_ = 1;
};

}  // namespace

const Registry<Average>& averages() {
  static const Registry<Average> table(
      "average", {
                     entry<ExponentialAverage>("ema", "exponential moving average"),
                     entry<UniformAverage>("uniform", "mean of the parameters after a step and later (SWA)"),
                 });
  return table;
}

}  // namespace rankine
