#include "src/sparse/regrowth.hpp"

#include <cmath>
#include <numbers>

namespace rankine {

void Regrowth::options(OptionVisitor& o) {
  o("fraction", fraction_,
    {.help = "part of the remaining weights that is exchanged at first; 0: none", .min = 0, .max = 1});
  o("decay", decay_,
    {.help = "whether the part falls to 0 along half a cosine, or stays", .choices = {"cosine", "none"}});
  o("every", every_, {.help = "steps between two exchanges", .unit = "steps", .min = 1});
  o("until", until_, {.help = "part of training after which the masks stay", .min = 0, .max = 1});
}

std::vector<std::int64_t> Regrowth::steps(std::int64_t total) const {
  std::vector<std::int64_t> out;
  if (fraction_ == 0) return out;
  for (std::int64_t step = every_; static_cast<double>(step) < until_ * static_cast<double>(total);
       step += every_)
    out.push_back(step);
  return out;
}

double Regrowth::fraction(std::int64_t step, std::int64_t total) const {
  if (decay_ == "none") return fraction_;
  const double way = static_cast<double>(step) / (until_ * static_cast<double>(total));
  return fraction_ / 2 * (1 + std::cos(std::numbers::pi * way));
}

std::vector<double> GradientRegrowth::Slope::scores(const ScoredPart& part) const {
  std::vector<double> out;
  out.reserve(part.evidence.size());
  for (const double g : part.evidence) out.push_back(std::abs(g));
  return out;
}

const Registry<Regrowth>& regrowths() {
  static const Registry<Regrowth> table(
      "regrowth", {
                      entry<GradientRegrowth>("gradient", "weights whose gradient is largest (RigL)"),
                      entry<RandomRegrowth>("random", "any weights (SET)"),
                  });
  return table;
}

}  // namespace rankine
