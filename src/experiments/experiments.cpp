#include "src/experiments/pde_training.hpp"
#include "src/experiments/training.hpp"

namespace rankine {

const ExperimentRegistry& experiments() {
  static const ExperimentRegistry table(
      "experiment",
      {
          entry<PdeTraining>("pde_training", "train on a parametric PDE under a soft or hard constraint"),
          entry<Training>("training", "train a network on a data set by a learning rule"),
      });
  return table;
}

}  // namespace rankine
