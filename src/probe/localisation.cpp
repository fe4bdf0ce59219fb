#include "src/probe/localisation.hpp"

#include <algorithm>

namespace rankine {

ImageBox box_of_largest_region(const std::vector<double>& map, std::int64_t columns, double share) {
  const double least = share * *std::max_element(map.begin(), map.end());
  const auto count = static_cast<std::int64_t>(map.size());
  std::vector<bool> left(map.size());  // above, and in no region yet
  for (std::size_t i = 0; i < map.size(); ++i) left[i] = map[i] > least;
  ImageBox best;
  std::size_t size = 0;
  for (std::int64_t first = 0; first < count; ++first) {
    std::vector<std::int64_t> region;
    const auto take = [&](std::int64_t pixel) {
      if (!left[static_cast<std::size_t>(pixel)]) return;
      left[static_cast<std::size_t>(pixel)] = false;
      region.push_back(pixel);
    };
    take(first);
    ImageBox box{count / columns, columns, 0, 0};
    for (std::size_t i = 0; i < region.size(); ++i) {
      const std::int64_t pixel = region[i], y = pixel / columns, x = pixel % columns;
      box = {std::min(box.top, y), std::min(box.left, x), std::max(box.bottom, y + 1),
             std::max(box.right, x + 1)};
      if (x > 0) take(pixel - 1);
      if (x + 1 < columns) take(pixel + 1);
      if (y > 0) take(pixel - columns);
      if (pixel + columns < count) take(pixel + columns);
    }
    if (region.size() <= size) continue;
    size = region.size();
    best = box;
  }
  return best;
}

double overlap(const ImageBox& a, const ImageBox& b) {
  const auto area = [](const ImageBox& box) {
    return static_cast<double>(std::max<std::int64_t>(box.bottom - box.top, 0) *
                               std::max<std::int64_t>(box.right - box.left, 0));
  };
  const double both = area({std::max(a.top, b.top), std::max(a.left, b.left), std::min(a.bottom, b.bottom),
                            std::min(a.right, b.right)});
  return both > 0 ? both / (area(a) + area(b) - both) : 0;
}

}  // namespace rankine
