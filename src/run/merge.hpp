// One table from the results files of a sweep whose runs were spread over jobs: `rankine compare --merge`.
#pragma once

#include <string>
#include <vector>

#include "src/core/log.hpp"

namespace rankine {

/// Checks that `files` are all parts of one sweep, and none is missing or there twice; prints the table of
/// all runs and the verdicts on the deck's expectations; writes one results file if `output` is not empty.
/// Returns the exit code. InputError, naming what differs or is missing, where the files do not make a sweep.
int merge_sweep(const std::vector<std::string>& files, const std::string& output,
                const std::vector<std::string>& argv, Log& log);

}  // namespace rankine
