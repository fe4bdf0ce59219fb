// The tables of gates and of searches over their assignment to experts.
#include "src/methods/gating/permutation_search.hpp"
#include "src/methods/gating/tree_gates.hpp"
#include "src/nn/gate.hpp"

namespace rankine {

const Registry<Gate, const GateContext&>& gates() {
  static const Registry<Gate, const GateContext&> table(
      "gate", {
                  entry<SoftmaxGate>("softmax", "softmax of a linear map; all experts are active"),
                  entry<TopKGate>("top_k", "softmax of the k largest of a linear map"),
                  entry<HashGate>("hash", "k experts drawn for each sample's id"),
                  entry<TreeGate>("comet", "trees of smooth steps, each of which leads to an expert"),
                  entry<SelectorGate>("dselect_k", "selectors whose binary code names an expert"),
              });
  return table;
}

const Registry<GateSearch, const GateContext&>& gate_searches() {
  static const Registry<GateSearch, const GateContext&> table(
      "search",
      {
          entry<PermutationSearch>("permutation", "a permutation of the experts, learned early in training"),
      });
  return table;
}

}  // namespace rankine
