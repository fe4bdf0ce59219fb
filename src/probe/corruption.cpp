#include "src/probe/corruption.hpp"

#include <fmt/format.h>

#include "src/core/random.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

void Corruption::Options::options(OptionVisitor& o) {
  o("noise", noise, {.help = "standard deviation of the noise on each entry of an input", .min = 0});
  o("shift", shift, {.help = "pixels that an image moves along both axes", .min = 0});
  o("on", on, {.help = "split that is judged at the end of training", .choices = {"test", "validation"}});
}

void Corruption::check(const ProbeSetup& setup) const {
  ChangedInputs::check(setup);
  const Shape image = setup.data.input_shape();
  if (options_.shift > 0 && image.rank() != 3)
    throw InputError("shift: it moves images, and the inputs are " + image.text() + "; leave it out");
  if (options_.shift > 0 && (options_.shift >= image[1] || options_.shift >= image[2]))
    throw InputError(fmt::format("shift: {} moves all of an image {} out of sight; choose less",
                                 options_.shift, image.text()));
}

Tensor Corruption::changed(const ProbeRun&, const EvaluatedBatch& batch) const {
  const std::vector<double> x = batch.inputs.to_vector();
  HostArray<double> out(batch.inputs.shape());
  const std::int64_t each = batch.inputs.count() / static_cast<std::int64_t>(batch.ids.size()),
                     s = options_.shift;
  const std::int64_t rows = s > 0 ? batch.inputs.extent(3) : 1,
                     columns = s > 0 ? batch.inputs.extent(4) : each;
  const RandomStream random(0, "probe/corruption");
  for (std::int64_t i = 0; i < batch.inputs.count(); ++i) {
    const std::int64_t row = i / columns % rows, column = i % columns;
    const double from = row < s || column < s ? 0 : x[static_cast<std::size_t>(i - s * columns - s)];
    out[i] =
        from + options_.noise * random.normal(0, batch.ids[static_cast<std::size_t>(i / each)], i % each);
  }
  return cast(out.to_device(), batch.inputs.dtype());
}

}  // namespace rankine
