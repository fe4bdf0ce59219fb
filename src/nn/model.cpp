#include "src/nn/model.hpp"

#include "src/nn/fno.hpp"

namespace rankine {

const Registry<Model, const ModelContext&>& models() {
  static const Registry<Model, const ModelContext&> table(
      "model", {
                   entry<Fno>("fno", "Fourier neural operator over t and one to three axes of space"),
                   entry<Fno2d>("fno2d", "Fourier neural operator over t and x"),
               });
  return table;
}

}  // namespace rankine
