#include "src/nn/layer.hpp"
#include "src/nn/layers/dense.hpp"

namespace rankine {

const Registry<Layer, const LayerContext&>& layers() {
  static const Registry<Layer, const LayerContext&> table(
      "block", {
                   entry<Dense>("dense", "linear layer along the last axis"),
                   entry<Flatten>("flatten", "a sample as one vector"),
               });
  return table;
}

}  // namespace rankine
