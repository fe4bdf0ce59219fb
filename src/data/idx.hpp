// IDX files, in which the MNIST family comes: zero, zero, type, rank, extents as big-endian 32-bit numbers,
// then the elements, the last index fastest (Y. LeCun, C. Cortes, "The MNIST database of handwritten
// digits").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rankine {

/// Unsigned bytes.
struct IdxArray {
  std::vector<std::int64_t> extents;
  std::vector<std::uint8_t> values;
};

/// Throws InputError where `bytes` is no IDX array of unsigned bytes with `rank` extents, or has fewer or
/// more elements than it says. `name` names the file in messages.
IdxArray parse_idx(std::string_view bytes, int rank, const std::string& name);

}  // namespace rankine
