// Looking into result files: `rankine info` and `rankine compare`; other kinds of files go to
// src/io/inspect.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/io/stored_runs.hpp"

namespace rankine {

/// The content of results.h5 as JSON text, indented by two blanks:
///   file, format_version, title
///   variants      {<variant>: {<metric>: {mean, median, min, max, std, count, unit}}}  over the seeds
///   runs          [{variant, seed, steps, metrics: {<metric>: {value, unit, long_name}},
///                   tables: {<name>: {dimension, entries, rows, metrics: [name]}},
///                   timing: {<name>: {value, unit}}}]        one-dimensional timings are given by their
///                   median; a table without a dimension has dimension "" and 1 entry
///   expectations  [{expression, verdict: true|false, value_left, value_right, standard_error, outcome}]
///   provenance    {<name>: text or [numbers]}, nested where a name is a group
///   others        [path of what is not of Rankine's layout]
/// Numbers that are not finite are null. `std` is that of a sample (n - 1), null for one seed.
/// InputError where the file is missing, damaged, or no results file.
std::string info_json(const std::string& results_path);

/// The same as a table for people: metrics by variant with their spread over the seeds, what tables there
/// are, verdicts, where it was made.
std::string info_text(const std::string& results_path);

/// One difference between two files.
struct Difference {
  std::string path;  ///< of a dataset, or <path>@<name> for an attribute
  std::string what;  ///< "only in A", "3 of 64 values differ, by 1e-9 at most (relative 2e-8)", ...
};

/// Compares all groups, datasets and attributes bit by bit, except below /provenance and /timing. A NaN
/// equals a NaN. Empty: same. Order: that of the first file.
std::vector<Difference> compare_results(const std::string& a, const std::string& b);

/// The differences as text, a line for each, or one line that says that there are none.
std::string compare_text(const std::string& a, const std::string& b,
                         const std::vector<Difference>& differences);

}  // namespace rankine
