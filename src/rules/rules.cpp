#include "src/rules/auglocal.hpp"
#include "src/rules/backprop.hpp"
#include "src/rules/pipeline.hpp"

namespace rankine {

const Registry<LearningRule>& rules() {
  static const Registry<LearningRule> table(
      "rule",
      {
          entry<Backprop>("backprop", "gradients through network, constraint and loss"),
          entry<Pipeline>("pipeline", "backprop, blocks dealt to ranks, shards as microbatches (1F1B)"),
          entry<AugLocal>("auglocal", "each block learns from a loss of its own (AugLocal)"),
      });
  return table;
}

}  // namespace rankine
