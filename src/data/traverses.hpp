// For place recognition: views of places on several traverses of a route, which are the same image under
// another light, displaced, and with noise; and the patch normalisation that precedes a comparison of such
// images.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/core/random.hpp"
#include "src/deck/options.hpp"

namespace rankine {

struct TraverseOptions {
  double gain = 0.2, offset = 0.1, noise = 0.02;
  int shift = 1;
  void options(OptionVisitor& o);
};

/// A grey image, row-major, 0 (black) to 1.
struct GreyImage {
  int height = 0, width = 0;
  std::vector<double> pixels;
};

/// The view of a place on a traverse: gain * image + offset, with gain and offset drawn once for each
/// traverse. The image is displaced by up to `shift` pixels along each axis, where the border repeats. Each
/// pixel gets normal noise, is clipped to [0, 1] and rounded to 8 bits. Random numbers are keyed by (stream,
/// traverse, id).
GreyImage view_of(const GreyImage& place, const TraverseOptions& options, const RandomStream& stream,
                  std::int64_t traverse, std::int64_t id);

/// Patch normalisation as in SeqSLAM (M. Milford, G. Wyeth, ICRA 2012): (pixel - mean) / deviation over the
/// patch of `size` x `size` pixels about each pixel, as far as it lies within the image; `size` is odd. The
/// result is clipped to [-1, 1] and stored as 0 to 255. A deviation of 0 gives 127.
std::vector<std::uint8_t> patch_normalised(const GreyImage& image, int size);

}  // namespace rankine
