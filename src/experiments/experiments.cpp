#include "src/experiments/monte_carlo.hpp"
#include "src/experiments/pde_training.hpp"
#include "src/experiments/place_recognition.hpp"
#include "src/experiments/training.hpp"
#include "src/methods/gating/gated_mixture_fit.hpp"

namespace rankine {

const ExperimentRegistry& experiments() {
  static const ExperimentRegistry table(
      "experiment",
      {
          entry<GatedMixtureFit>("gated_mixture",
                                 "fit mixtures behind a top-K gate to draws from one, by EM"),
          entry<MonteCarlo>("monte_carlo", "estimate an expectation over random inputs"),
          entry<PdeTraining>("pde_training", "train on a parametric PDE under a soft or hard constraint"),
          entry<PlaceRecognition>("place_recognition", "learn places with modules of spiking neurons"),
          entry<Training>("training", "train a network on a data set by a learning rule"),
      });
  return table;
}

}  // namespace rankine
