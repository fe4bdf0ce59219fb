#include "src/rules/backprop.hpp"

namespace rankine {

const Registry<LearningRule>& rules() {
  static const Registry<LearningRule> table(
      "rule", {
                  entry<Backprop>("backprop", "gradients through network, constraint and loss"),
              });
  return table;
}

}  // namespace rankine
