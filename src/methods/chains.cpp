// The tables of what chains move on, and how.
#include "src/chain/kernel.hpp"
#include "src/chain/targets.hpp"
#include "src/methods/gating/gated_mixture.hpp"
#include "src/methods/theory/multitask_hebb.hpp"

namespace rankine {

const Registry<ChainTarget>& chain_targets() {
  static const Registry<ChainTarget> table(
      "target",
      {
          entry<GaussianTarget>("gaussian", "a normal density with a covariance of the deck"),
          entry<IsingTarget>("ising", "spins on a grid, or all coupled to each other"),
          entry<HopfieldTarget>("hopfield", "spins that remember random patterns"),
          entry<GatedMixtureTarget>("gated_mixture",
                                    "mixtures behind a top-K gate, fitted to draws from one"),
          entry<MultitaskHebbTarget>("multitask_hebb", "spins that hold several diluted patterns at once"),
      });
  return table;
}

const Registry<ChainKernel>& chain_kernels() {
  static const Registry<ChainKernel> table(
      "chain_kernel",
      {
          entry<GibbsKernel>("gibbs", "draws each site given the others"),
          entry<MetropolisKernel>("metropolis", "proposes another value for each site"),
          entry<LangevinKernel>("langevin", "steps along the gradient with noise"),
          entry<MeanFieldKernel>("mean_field", "the mean of each site given the means of the others"),
          entry<EnumerateKernel>("enumerate", "all states of a few spins: exact means"),
          entry<EmKernel>("em", "sweeps of expectation and maximisation of the target's own"),
      });
  return table;
}

}  // namespace rankine
