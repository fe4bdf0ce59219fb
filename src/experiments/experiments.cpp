#include "src/experiments/experiment.hpp"

namespace rankine {

const ExperimentRegistry& experiments() {
  static const ExperimentRegistry table("experiment", {});
  return table;
}

}  // namespace rankine
