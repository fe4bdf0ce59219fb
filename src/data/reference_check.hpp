// References that check themselves: before a run, the reference solution of one sample of each split is
// computed again in ways that change it where it is wrong.
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

/// How far the repetitions may differ from the reference, as relative L2 distances over all frames. Infinite:
/// not judged.
struct ReferenceCheckOptions {
  double time_error = 1e-3;
  double space_error = 0.1;
  double flux_gap = 0.1;
  double flux_limit = 0.015;
  void options(OptionVisitor& o);
};

/// The largest distances over the samples that were checked. NaN: not measured.
struct ReferenceCheck {
  double time_error = std::numeric_limits<double>::quiet_NaN();   ///< half the tolerance in time
  double space_error = std::numeric_limits<double>::quiet_NaN();  ///< half the cells
  double flux_gap = std::numeric_limits<double>::quiet_NaN();     ///< LimitedFlux; where flux_is_checked()
  double flux_limit = std::numeric_limits<double>::quiet_NaN();   ///< the gap as cells shrink to nothing
  /// The references themselves, of each checked sample on all of pde.data_cells: [time][cell][unknown].
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

/// Repeats the references of these samples: with half of pde.reference_rtol; on half of
/// pde.data_cells (where these are odd or fewer than 8: on twice as many); and, where the flux has a
/// convective part that is central, with the limited flux, on both grids. The solutions are dealt over the ranks; all ranks
/// have the result. Throws NumericalError on all ranks where a solution fails or differs by more than
/// `options` allow; it names the check, place, time and remedy. `between` is called on all ranks between
/// solutions. Collective.
ReferenceCheck check_references(const Pde& pde, const ReferenceCheckOptions& options,
                                const std::vector<CheckedSample>& samples, const Communicator& communicator,
                                const std::function<void()>& between = {});

}  // namespace rankine
