// Checks of generated references. Before a run, the reference solution of one sample of each split is
// computed again in other ways. A wrong reference differs from these.
#pragma once

#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/deck/options.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

/// The largest allowed differences between repetitions and reference, as relative L2 distances over all
/// frames. Infinity means that any difference is allowed.
struct ReferenceCheckOptions {
  double time_error = 1e-3;
  double space_error = 0.1;
  double flux_gap = 0.1;
  double flux_limit = 0.015;
  void options(OptionVisitor& o);
};

/// The largest differences over the samples that were checked; NaN if not measured.
struct ReferenceCheck {
  double time_error = std::numeric_limits<double>::quiet_NaN();  ///< with half the tolerance in time
  double space_error =
      std::numeric_limits<double>::quiet_NaN();  ///< with half the cells, or twice as many (Fourier)
  double flux_gap = std::numeric_limits<double>::quiet_NaN();  ///< with LimitedFlux; where flux_is_checked()
  double flux_limit = std::numeric_limits<double>::quiet_NaN();  ///< flux_gap for infinitely many cells
  /// The reference [time][cell][unknown] of each sample that was checked, on pde.data_cells cells.
  std::vector<std::vector<double>> references = {};
};

/// Whether references have a central convective flux, which is checked by a limited one.
bool flux_is_checked(const Pde& pde);
/// Whether it is checked on two grids, which `flux_limit` needs.
bool flux_is_checked_on_two_grids(const Grid& grid);

struct CheckedSample {
  std::string name;  ///< "training sample 12", for messages
  std::vector<double> numbers, parameters;
  std::vector<double> times;  ///< of its reference, rising from 0
  SchemeParameters on(const Pde& pde, const Grid& grid) const;
};

/// Computes the references of these samples again: with half of pde.reference_rtol; on half of pde.data_cells
/// cells, or on twice as many if that number is odd or below 8, or under the Fourier discretisation; and, where flux_is_checked(), with the
/// limited flux on both grids. The ranks share the work, and all of them have the result. Throws
/// NumericalError on all ranks if a solution fails, or differs by more than `options` allow; the message
/// names check, place, time and remedy. `between` is called on all ranks between solutions. Collective.
ReferenceCheck check_references(const Pde& pde, const ReferenceCheckOptions& options,
                                const std::vector<CheckedSample>& samples, const Communicator& communicator,
                                const std::function<void()>& between = {});

}  // namespace rankine
