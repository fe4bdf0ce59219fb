// What is written down where a training step failed numerically: an HDF5 file that `rankine info` shows and
// h5py reads.
//
//   /            attributes format = "rankine-fault", format_version, and what is known: message, variant,
//                step, tensor, layer, ...
//   /texts/<name>    deck, resolved deck, versions
//   /tensor      the offending tensor, or its tile or sample
//   /batch/ids, initial, parameters;  /weights/<part>;  /gradient/<part>;  /optimizer/<name>
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "src/tensor/state_registry.hpp"

namespace rankine {

struct FaultFile {
  /// Attributes of the root, in order.
  std::vector<std::pair<std::string, std::variant<std::string, std::int64_t, double>>> facts;
  std::vector<std::pair<std::string, std::string>> texts;
  std::vector<std::pair<std::string, StateValue>> arrays;  ///< by path; real and integer types
};

/// A copy of a tensor for a file.
StateValue value_of(const Tensor& tensor);

/// Complete or not at all. IoError or InputError where it cannot be written.
void write_fault_file(const std::string& path, const FaultFile& content);
/// Reads it; arrays without their values where `with_arrays` is false. InputError where it is no such file.
FaultFile read_fault_file(const std::string& path, bool with_arrays = true);

}  // namespace rankine
