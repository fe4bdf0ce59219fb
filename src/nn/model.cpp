#include "src/nn/model.hpp"

#include "src/nn/fno2d.hpp"

namespace rankine {

const Registry<Model, const ModelContext&>& models() {
  static const Registry<Model, const ModelContext&> table(
      "model", {
                   entry<Fno2d>("fno2d", "Fourier neural operator over t and x"),
               });
  return table;
}

}  // namespace rankine
