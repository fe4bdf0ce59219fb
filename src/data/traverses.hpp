// Views of places on several traverses of a route, for place recognition: the same image under another
// light, displaced, with noise; and the patch normalisation that such images are compared after.
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

/// What a camera sees of a place on a traverse: gain * image + offset, both drawn once a traverse, displaced
/// by up to `shift` pixels along each axis (the border repeats), with normal noise in each pixel, cut to
/// [0, 1] and rounded to 8 bits. Keyed by (stream, traverse, id).
GreyImage view_of(const GreyImage& place, const TraverseOptions& options, const RandomStream& stream,
                  std::int64_t traverse, std::int64_t id);

/// (pixel - mean) / deviation over the patch of `size` x `size` pixels (odd) about each pixel, as far as it
/// lies in the image, cut to [-1, 1] and written as 0 to 255. 0 deviation gives 127. As in SeqSLAM (M.
/// Milford, G. Wyeth, ICRA 2012).
std::vector<std::uint8_t> patch_normalised(const GreyImage& image, int size);

}  // namespace rankine
