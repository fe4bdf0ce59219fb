// The runs that a results file holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/io/hdf5.hpp"

namespace rankine {

/// Opens results.h5 for reading. InputError where the file is missing, damaged, or no results file.
hdf5::File open_results(const std::string& path);

/// A run in a results file: /runs/<variant>/seed_<s>.
struct StoredRun {
  std::string variant;
  std::int64_t seed;
  hdf5::Group group;
};

/// Names of the run's tables (results.hpp), in the file's order.
std::vector<std::string> stored_tables(const hdf5::Group& run);

/// The fields of a run that share one grid: floats [sample, t, x], [sample, t, x, y] or [sample, t, x, y, z]
/// beside coordinates of these names, with as many space axes as any field has. No names: no fields.
struct StoredFields {
  std::vector<std::string> axes;   ///< "sample_id", "t", "x", ...
  hdf5::Shape shape;               ///< of each field
  std::vector<std::string> names;  ///< in the file's order
};
StoredFields stored_fields(const hdf5::Group& run);

/// All runs, in the file's order. People put data of their own into results, at any place: what is not of
/// the layout in results.hpp is left aside, and its path added to `others` if that is given.
std::vector<StoredRun> stored_runs(const hdf5::Group& root, std::vector<std::string>* others = nullptr);

}  // namespace rankine
