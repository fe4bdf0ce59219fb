// What the kernels compute, as bytes: the same source is compiled once for the test program and once for each
// other width of vectors, there in a namespace of another name.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace rankine::kernels {

/// Results of all kernels that use vectors, by name, at sizes with tails.
std::vector<std::pair<std::string, std::vector<std::byte>>> probe_widths();
/// Bytes of a vector where this was compiled.
int probed_width();

}  // namespace rankine::kernels
