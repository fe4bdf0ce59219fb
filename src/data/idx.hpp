// IDX files, in which the MNIST family comes: zero, zero, type, rank, extents as big-endian 32-bit numbers,
// then the elements, the last index fastest (Y. LeCun, C. Cortes, "The MNIST database of handwritten
// digits").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rankine {

/// Unsigned bytes.
struct IdxArray {
  std::vector<std::int64_t> extents;
  std::string bytes;       ///< of the file
  std::size_t header = 0;  ///< how many of them come before the values
  std::span<const std::uint8_t> values() const {
    return {reinterpret_cast<const std::uint8_t*>(bytes.data()) + header, bytes.size() - header};
  }
};

/// Throws InputError where `bytes` is no IDX array of unsigned bytes with `rank` extents, or has fewer or
/// more elements than it says. `name` names the file in messages.
IdxArray parse_idx(std::string bytes, int rank, const std::string& name);

}  // namespace rankine
