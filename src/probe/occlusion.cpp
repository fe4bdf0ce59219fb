#include "src/probe/occlusion.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "src/tensor/host_array.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

void Occlusion::Options::options(OptionVisitor& o) {
  o("size", size, {.help = "side of the square, in pixels", .min = 1});
  o("on", on, {.help = "split that is judged at the end of training", .choices = {"test", "validation"}});
}

void Occlusion::check(const ProbeSetup& setup) const {
  ChangedInputs::check(setup);
  const Shape image = setup.data.input_shape();
  if (image.rank() != 3)
    throw InputError("it hides a part of an image, and the inputs are " + image.text() + "; leave it out");
  if (options_.size > image[1] || options_.size > image[2])
    throw InputError(fmt::format("size: {}, larger than the images {}; choose at most {}", options_.size,
                                 image.text(), std::min(image[1], image[2])));
}

Tensor Occlusion::changed(const ProbeRun&, const EvaluatedBatch& batch) const {
  const std::int64_t rows = batch.inputs.extent(3), columns = batch.inputs.extent(4);
  const std::int64_t top = (rows - options_.size) / 2, left = (columns - options_.size) / 2;
  HostArray<double> seen({rows, columns});
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t x = 0; x < columns; ++x) {
      const bool hidden = y >= top && y < top + options_.size && x >= left && x < left + options_.size;
      seen[y * columns + x] = hidden ? 0 : 1;
    }
  return mul(batch.inputs, cast(seen.to_device(), batch.inputs.dtype()));
}

}  // namespace rankine
