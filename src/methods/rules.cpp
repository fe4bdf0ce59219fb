// The table of learning rules.
#include "src/methods/local/forward_graph.hpp"
#include "src/methods/local/momentum_auxiliary.hpp"
#include "src/rules/auglocal.hpp"
#include "src/rules/backprop.hpp"
#include "src/rules/lbfgs.hpp"
#include "src/rules/pipeline.hpp"
#include "src/rules/seco.hpp"
#include "src/rules/sltt.hpp"

namespace rankine {

const Registry<LearningRule>& rules() {
  static const Registry<LearningRule> table(
      "rule",
      {
          entry<Backprop>("backprop", "gradients through network, constraint and loss"),
          entry<Pipeline>("pipeline", "backprop, blocks dealt to ranks, shards as microbatches (1F1B)"),
          entry<Lbfgs>("lbfgs",
                       "a step minimises its batch's loss by limited-memory BFGS with a line search"),
          entry<AugLocal>("auglocal", "each block learns from a loss of its own (AugLocal)"),
          entry<ForwardGraph>("forwardgnn",
                              "layers on a graph that learn from losses of their own (ForwardGNN)"),
          entry<MomentumAuxiliary>("man",
                                   "each block learns from a loss behind moving averages of the next (MAN)"),
          entry<Seco>("seco",
                      "sequences chunk by chunk, one chunk's graph at a time (SeCO), or of a few (SpaCO)"),
          entry<Sltt>("sltt",
                      "spiking networks, gradients within each time step alone (SLTT), or through time"),
      });
  return table;
}

}  // namespace rankine
