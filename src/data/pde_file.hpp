// A file of solutions that others made, compared with the equation that a deck gives before it is believed.
#pragma once

#include <optional>
#include <vector>

#include "src/io/pdebench.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

/// Throws InputError where the first `samples` samples of the file cannot be solutions of `pde`:
/// - grid/x is not the cell centres of [0, length], or grid/t does not run from 0 to the duration, to within
///   the rounding of float32 (and a thousandth of a cell);
/// - the file has another number of frames than `frames`, where that is given;
/// - an attribute, or a number in an attribute `config` (YAML or JSON), differs from the equation's constant
///   of that name by more than the rounding of float32. Names that the equation does not know are passed
///   over;
/// - it names another equation: a `pde`, or a `name` in PDEBench's way ("1d_burgers");
/// - a value is not finite, or a tenth of their range outside the equation's bounds.
/// Reads all these samples.
void check_pde_file(const PdebenchFile& file, const Pde& pde, long samples, std::optional<int> frames);

/// The times of the file's frames without the rounding of float32, where they are uniform; otherwise those in
/// the file, from 0 to the duration exactly.
std::vector<double> file_times(const PdebenchFile& file, const Pde& pde);

/// Whether the times agree to within the rounding of float32.
bool same_times(const std::vector<double>& a, const std::vector<double>& b);

/// `frames` equal steps from 0 to `duration`, both ends included.
std::vector<double> uniform_times(double duration, int frames);

}  // namespace rankine
