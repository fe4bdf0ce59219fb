// Parameters of a model as named arrays, in the formats that other programs read: NumPy's .npz, .safetensors,
// HDF5.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/io/hdf5.hpp"

namespace rankine {

/// One array, little-endian and row-major, as it stands in a file.
struct WeightArray {
  std::string name;
  hdf5::Type type;  ///< every type but text and other
  std::vector<std::uint64_t> shape;
  std::string bytes;

  bool operator==(const WeightArray&) const = default;
};
using WeightArrays = std::vector<WeightArray>;

/// The format is told by the ending: .npz, .safetensors, .h5/.hdf5. From an HDF5 file come the arrays of
/// `group`, which for results is runs/<variant>/seed_<s>/weights. Where `group` is "", /weights is taken,
/// else the only run there is. A checkpoint gives those of its state. InputError for a missing or malformed
/// file, a compressed or big-endian array, a type that has no counterpart.
WeightArrays read_weights(const std::string& path, const std::string& group = {});

/// Writes by way of a temporary name. An HDF5 file gets them as /weights/<name>.
void write_weights(const std::string& path, const WeightArrays& arrays);

/// Reads the one, writes the other: `rankine convert`.
void convert_weights(const std::string& from, const std::string& to, const std::string& group = {});

}  // namespace rankine
