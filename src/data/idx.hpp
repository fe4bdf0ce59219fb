// IDX files, the format of MNIST and its relatives: two zero bytes, type, rank, the extents as big-endian
// 32-bit numbers, and then the elements in row-major order (Y. LeCun, C. Cortes, "The MNIST database of
// handwritten digits").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rankine {

/// An array of unsigned bytes.
struct IdxArray {
  std::vector<std::int64_t> extents;
  std::string bytes;       ///< the content of the file
  std::size_t header = 0;  ///< number of bytes before the values
  std::span<const std::uint8_t> values() const {
    return {reinterpret_cast<const std::uint8_t*>(bytes.data()) + header, bytes.size() - header};
  }
};

/// Parses an IDX array. Throws InputError if `bytes` is no array of unsigned bytes with `rank` extents, or if
/// the number of its elements does not fit the extents. Messages call the file `name`.
IdxArray parse_idx(std::string bytes, int rank, const std::string& name);

}  // namespace rankine
