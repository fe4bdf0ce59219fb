// The table of refinements of masks.
#include "src/methods/sparse/dsnot.hpp"

namespace rankine {

const Registry<Refinement>& refinements() {
  static const Registry<Refinement> table(
      "refinement",
      {
          entry<Dsnot>("dsnot", "swaps weights so that the mean outputs come near to the dense ones (DSnoT)"),
      });
  return table;
}

}  // namespace rankine
