#include "src/experiments/pde_training.hpp"

namespace rankine {

const ExperimentRegistry& experiments() {
  static const ExperimentRegistry table(
      "experiment",
      {
          entry<PdeTraining>("pde_training", "train on a parametric PDE under a soft or hard constraint"),
      });
  return table;
}

}  // namespace rankine
