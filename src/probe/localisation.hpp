// Boxes of things from maps of where a network looks.
#pragma once

#include <vector>

#include "src/data/dataset.hpp"

namespace rankine {

/// The smallest box around the largest region of pixels above `share` of the map's largest value; pixels are
/// neighbours along rows and columns, and of equal regions the first counts. map: [rows, columns], not
/// negative; an empty box where it is 0 (Zhou et al., arXiv 1512.04150, section 3.2).
ImageBox box_of_largest_region(const std::vector<double>& map, std::int64_t columns, double share);

/// Area of the intersection over that of the union; 0 where one is empty.
double overlap(const ImageBox& a, const ImageBox& b);

}  // namespace rankine
