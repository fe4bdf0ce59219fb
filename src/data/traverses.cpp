#include "src/data/traverses.hpp"

#include <algorithm>
#include <cmath>

namespace rankine {

void TraverseOptions::options(OptionVisitor& o) {
  o("gain", gain,
    {.help = "a traverse's contrast is drawn from 1 - gain to 1 + gain",
     .min = 0,
     .max = 1,
     .exclusive_max = true});
  o("offset", offset, {.help = "and its brightness from -offset to offset, of 1", .min = 0, .max = 1});
  o("shift", shift,
    {.help = "largest displacement of a view along each axis", .unit = "pixels", .min = 0, .max = 8});
  o("noise", noise, {.help = "standard deviation of the noise in each pixel, of 1", .min = 0, .max = 1});
}

GreyImage view_of(const GreyImage& place, const TraverseOptions& options, const RandomStream& stream,
                  std::int64_t traverse, std::int64_t id) {
  // Random numbers of places have keys above 0; key 0 is that of the traverse.
  const double gain = stream.uniform(1 - options.gain, 1 + options.gain, traverse, 0, 0);
  const double offset = stream.uniform(-options.offset, options.offset, traverse, 0, 1);
  const std::int64_t span = 2 * options.shift + 1;
  const auto down = static_cast<int>(stream.integer(span, traverse, id + 1, 0)) - options.shift;
  const auto right = static_cast<int>(stream.integer(span, traverse, id + 1, 1)) - options.shift;
  GreyImage view{place.height, place.width, std::vector<double>(place.pixels.size())};
  stream.fill_normal(std::span<double>(view.pixels), traverse, id + 1);
  for (int y = 0; y < place.height; ++y) {
    for (int x = 0; x < place.width; ++x) {
      const int from =
          std::clamp(y - down, 0, place.height - 1) * place.width + std::clamp(x - right, 0, place.width - 1);
      double& pixel = view.pixels[static_cast<std::size_t>(y * place.width + x)];
      const double seen =
          gain * place.pixels[static_cast<std::size_t>(from)] + offset + options.noise * pixel;
      pixel = std::round(255 * std::clamp(seen, 0.0, 1.0)) / 255;
    }
  }
  return view;
}

std::vector<std::uint8_t> patch_normalised(const GreyImage& image, int size) {
  const int half = size / 2;
  std::vector<std::uint8_t> out(image.pixels.size());
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      double sum = 0, squares = 0;
      int count = 0;
      // Sums of integers are exact, so that a patch of equal pixels has deviation 0.
      for (int v = std::max(0, y - half); v <= std::min(image.height - 1, y + half); ++v) {
        for (int u = std::max(0, x - half); u <= std::min(image.width - 1, x + half); ++u) {
          const double p = std::round(255 * image.pixels[static_cast<std::size_t>(v * image.width + u)]);
          sum += p;
          squares += p * p;
          ++count;
        }
      }
      const double variance = (count * squares - sum * sum) / count / count;
      const double here = std::round(255 * image.pixels[static_cast<std::size_t>(y * image.width + x)]);
      const double value =
          variance > 0 ? std::clamp((here - sum / count) / std::sqrt(variance), -1.0, 1.0) : 0.0;
      out[static_cast<std::size_t>(y * image.width + x)] = static_cast<std::uint8_t>(255 * (1 + value) / 2);
    }
  }
  return out;
}

}  // namespace rankine
