#include "src/experiments/bench.hpp"
#include "src/experiments/chain.hpp"
#include "src/experiments/monte_carlo.hpp"
#include "src/experiments/pde_training.hpp"
#include "src/experiments/place_recognition.hpp"
#include "src/experiments/training.hpp"

namespace rankine {

const ExperimentRegistry& experiments() {
  static const ExperimentRegistry table(
      "experiment",
      {
          entry<Bench>("bench", "time kernels against each other"),
          entry<Chains>("chain", "sample or climb a target: Gibbs, Metropolis, Langevin, mean field, EM"),
          entry<MonteCarlo>("monte_carlo", "estimate an expectation over random inputs"),
          entry<PdeTraining>("pde_training", "train on a parametric PDE under a soft or hard constraint"),
          entry<PlaceRecognition>("place_recognition", "learn places with modules of spiking neurons"),
          entry<Training>("training", "train a network on a data set by a learning rule"),
      });
  return table;
}

}  // namespace rankine
