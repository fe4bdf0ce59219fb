// Results files that hold parts of one sweep: what they say of themselves, and one file made of several.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/io/results.hpp"

namespace rankine {

/// A results file, without its fields and weights.
struct SweepFile {
  struct Metric {
    std::string name, unit;
  };
  struct Run {
    std::string variant;
    std::int64_t seed = 0;
    std::vector<Metric> metrics;           ///< of /runs/<variant>/seed_<s>/summary, in the file's order
    std::map<std::string, double> values;  ///< of these, and scalars of /timing
  };
  std::string path, title;
  std::string deck_path, deck, fragments;
  std::string revision;                      ///< with "(with changes)" behind it if it had any
  std::vector<std::string> overrides, only;  ///< --set and --only
  bool smoke = false;
  int task = 0, tasks = 0;  ///< --task; 0 of 0: none
  std::vector<Run> runs;
};

/// InputError where the file is missing, damaged, no results file, or of a version that did not note what
/// belongs together.
SweepFile read_sweep_file(const std::string& path);

/// A run and the file that holds it.
struct SweepMember {
  std::string path, variant;
  std::int64_t seed = 0;
};

/// Writes the results file that one run of the whole sweep would have written, with runs in the order of
/// `members` and the provenance of every file below /provenance/parts. As safe as ResultsWriter.
void write_merged_results(const std::string& output, const std::string& title,
                          const std::vector<SweepMember>& members,
                          const std::vector<ExpectationResult>& expectations,
                          const std::vector<std::pair<std::string, std::string>>& provenance);

}  // namespace rankine
