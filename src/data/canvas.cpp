#include "src/data/canvas.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "src/core/random.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

void CanvasOptions::options(OptionVisitor& o) {
  o("background", background, {.help = "how bright the stripes are at most", .min = 0});
  o("seed", seed, {.help = "of quadrants and stripes", .min = 0});
}

void Canvas::describe(OptionVisitor& o) {
  CanvasOptions().options(o);
  std::string items = "fashion_mnist";
  o("items", items, {.help = "data set of images, a mapping as in `data`", .required = true});
}

Canvas::Canvas(const DeckNode& node, const DatasetContext& context) {
  options_.options(*node.reader());
  items_ = datasets().make(node.child("items"), context);
  if (items_->input_shape().rank() != 3)
    node.error_at("items", "items: must be images, and have inputs " + items_->input_shape().text() +
                               "; take fashion_mnist");
  node.reject_unread_keys();
}

Shape Canvas::input_shape() const {
  const Shape item = items_->input_shape();
  return {item[0], 2 * item[1], 2 * item[2]};
}

std::optional<ImageBox> Canvas::box(std::int64_t id) const {
  const std::int64_t quadrant =
      RandomStream(static_cast<std::uint64_t>(options_.seed), "data/quadrants").integer(4, 0, id, 0);
  const std::int64_t h = items_->input_shape()[1], w = items_->input_shape()[2];
  const std::int64_t top = quadrant / 2 * h, left = quadrant % 2 * w;
  return ImageBox{top, left, top + h, left + w};
}

Examples Canvas::examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t seed,
                          std::int64_t step) const {
  Examples out = items_->examples(split, which, type, seed, step);
  const std::vector<double> items = out.inputs.to_vector();
  const Shape canvas = input_shape(), item = items_->input_shape();
  const RandomStream random(static_cast<std::uint64_t>(options_.seed), "data/stripes");
  HostArray<double> pixels({static_cast<std::int64_t>(which.size()), canvas[0], canvas[1], canvas[2]});
  std::int64_t to = 0, image = 0;
  for (const std::int64_t id : out.ids) {
    const ImageBox place = *box(id);
    const double down = random.uniform(-1.5, 1.5, 0, id, 0), right = random.uniform(-1.5, 1.5, 0, id, 1),
                 phase = random.uniform(0, 2 * std::numbers::pi, 0, id, 2);
    for (std::int64_t c = 0; c < canvas[0]; ++c)
      for (std::int64_t y = 0; y < canvas[1]; ++y)
        for (std::int64_t x = 0; x < canvas[2]; ++x, ++to) {
          const double wave =
              std::sin(down * static_cast<double>(y) + right * static_cast<double>(x) + phase);
          pixels[to] = options_.background * (0.5 + 0.5 * wave);
          if (!place.holds(y, x)) continue;
          const std::int64_t from =
              ((image * item[0] + c) * item[1] + y - place.top) * item[2] + x - place.left;
          pixels[to] = std::max(pixels[to], items[static_cast<std::size_t>(from)]);
        }
    ++image;
  }
  out.inputs = cast(pixels.to_device(), type);
  return out;
}

}  // namespace rankine
