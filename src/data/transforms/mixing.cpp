#include "src/data/transforms/mixing.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "src/data/transforms/images.hpp"

namespace rankine {

void Mixing::options(OptionVisitor& o) {
  o("probability", probability_, {.help = "share of the steps that mix (0: none)", .min = 0, .max = 1});
  o("alpha", alpha_,
    {.help = "the share that an example keeps is Beta(alpha, alpha)", .min = 0, .exclusive_min = true});
}

void Mixing::apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const {
  const std::int64_t step = time.step, n = batch.size();
  if (random.uniform(step, 0, 0) >= probability_) return;
  const double a = random.gamma(alpha_, step, 0, 0), b = random.gamma(alpha_, step, 0, 1);
  const double lam = a + b > 0 ? a / (a + b) : 0.5;
  const std::vector<std::int64_t> partners = random.permutation(n, step);
  const std::vector<double> inputs = batch.inputs, targets = batch.targets;
  const auto width = static_cast<std::int64_t>(targets.size()) / n;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t partner = partners[static_cast<std::size_t>(i)];
    const double kept = mix(batch, inputs, i, partner, lam, random, step);
    for (std::int64_t k = 0; k < width; ++k)
      batch.targets[static_cast<std::size_t>(i * width + k)] =
          kept * targets[static_cast<std::size_t>(i * width + k)] +
          (1 - kept) * targets[static_cast<std::size_t>(partner * width + k)];
  }
}

void CutMix::check(const Dataset& data) const { check_images("cutmix", data); }

double CutMix::mix(TransformBatch& batch, const std::vector<double>& from, std::int64_t i,
                   std::int64_t partner, double lam, const RandomStream& random, std::int64_t step) const {
  const std::int64_t channels = batch.input[0], height = batch.input[1], width = batch.input[2];
  const double side = std::sqrt(1 - lam);
  const auto range = [&](std::int64_t extent, std::int64_t index) {
    const auto length = static_cast<std::int64_t>(side * static_cast<double>(extent));
    const std::int64_t centre = random.integer(extent, step, 0, index), begin = centre - length / 2;
    return std::pair{std::max<std::int64_t>(0, begin), std::min(extent, begin + length)};
  };
  const auto [top, bottom] = range(height, 0);
  const auto [left, right] = range(width, 1);
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t y = top; y < bottom; ++y) {
      const std::int64_t row = (c * height + y) * width, size = channels * height * width;
      const auto source = from.begin() + partner * size + row;
      std::copy(source + left, source + right, batch.inputs.begin() + i * size + row + left);
    }
  return 1 - static_cast<double>((bottom - top) * (right - left)) / static_cast<double>(height * width);
}

double Mixup::mix(TransformBatch& batch, const std::vector<double>& from, std::int64_t i,
                  std::int64_t partner, double lam, const RandomStream&, std::int64_t) const {
  const std::int64_t size = batch.input.count();
  for (std::int64_t k = 0; k < size; ++k)
    batch.inputs[static_cast<std::size_t>(i * size + k)] =
        lam * from[static_cast<std::size_t>(i * size + k)] +
        (1 - lam) * from[static_cast<std::size_t>(partner * size + k)];
  return lam;
}

}  // namespace rankine
