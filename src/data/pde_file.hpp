// Checks whether a file of solutions from elsewhere fits the equation of a deck.
#pragma once

#include <optional>
#include <vector>

#include "src/io/pdebench.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

/// Throws InputError if the first `samples` samples of the file cannot be solutions of `pde`. That is so if
/// - grid/x is not the cell centres of [0, length], or grid/t does not run from 0 to the duration, to within
///   the rounding of float32 (and a thousandth of a cell);
/// - the file has another number of frames than `frames`, if that is given;
/// - an attribute, or a number in an attribute `config` (YAML or JSON), differs from the equation's constant
///   of that name by more than the rounding of float32; names that the equation does not know are ignored;
/// - the file names another equation, by `pde`, or by `name` as PDEBench does ("1d_burgers");
/// - a value is not finite, or lies outside of the equation's bounds by more than a tenth of their range.
/// All these samples are read.
void check_pde_file(const PdebenchFile& file, const Pde& pde, long samples, std::optional<int> frames);

/// The times of the file's frames. Uniform times are computed without the rounding of float32. Others are
/// those of the file, with the first and last set to 0 and the duration exactly.
std::vector<double> file_times(const PdebenchFile& file, const Pde& pde);

/// Whether two lists of times agree to within the rounding of float32.
bool same_times(const std::vector<double>& a, const std::vector<double>& b);

/// `frames` equidistant times from 0 to `duration`, both included.
std::vector<double> uniform_times(double duration, int frames);

}  // namespace rankine
