#include "src/data/transforms/images.hpp"

#include <algorithm>

namespace rankine {

void check_images(const char* what, const Dataset& data) {
  if (data.input_shape().rank() != 3)
    throw InputError(std::string(what) + ": an example is " + data.input_shape().text() +
                     "; it needs images [channels, height, width]");
}

void Shift::options(OptionVisitor& o) {
  o("reach", reach_, {.help = "longest move along each axis (0: none)", .unit = "pixels", .min = 0});
}

void Shift::apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const {
  const std::int64_t channels = batch.input[0], height = batch.input[1], width = batch.input[2];
  const std::vector<double> before = batch.inputs;
  std::fill(batch.inputs.begin(), batch.inputs.end(), 0);
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    const std::int64_t id = batch.ids[static_cast<std::size_t>(i)];
    const std::int64_t down = random.integer(2 * reach_ + 1, time.step, id, 0) - reach_,
                       right = random.integer(2 * reach_ + 1, time.step, id, 1) - reach_;
    const std::int64_t first = std::max<std::int64_t>(0, right), last = std::min(width, width + right);
    if (first >= last) continue;
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t y = std::max<std::int64_t>(0, down); y < std::min(height, height + down); ++y) {
        const std::int64_t to = ((i * channels + c) * height + y) * width, from = to - down * width - right;
        std::copy(before.begin() + from + first, before.begin() + from + last,
                  batch.inputs.begin() + to + first);
      }
  }
}

void Cutout::options(OptionVisitor& o) {
  o("size", size_, {.help = "side of the square (0: none)", .unit = "pixels", .min = 0});
}

void Cutout::apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const {
  const std::int64_t channels = batch.input[0], height = batch.input[1], width = batch.input[2];
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    const std::int64_t id = batch.ids[static_cast<std::size_t>(i)];
    const std::int64_t top = random.integer(height, time.step, id, 0) - size_ / 2,
                       left = random.integer(width, time.step, id, 1) - size_ / 2;
    const std::int64_t first = std::max<std::int64_t>(0, left), last = std::min(width, left + size_);
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t y = std::max<std::int64_t>(0, top); y < std::min(height, top + size_); ++y) {
        const auto row = batch.inputs.begin() + ((i * channels + c) * height + y) * width;
        std::fill(row + first, row + last, 0);
      }
  }
}

}  // namespace rankine
