#include "src/pde/pdes.hpp"

#include "src/pde/burgers.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "src/pde/equation_pde.hpp"

namespace rankine {

const Registry<Pde>& pdes() {
  static const Registry<Pde> table(
      "pde",
      {
          entry<Burgers>("burgers", "viscous Burgers' equation, periodic or between walls"),
          entry<DiffusionSorption>("diffusion_sorption", "1-D diffusion with Freundlich sorption (PDEBench)"),
          entry<EquationPde>("equation", "an equation that the deck writes down (inputs/EQUATIONS.md)"),
      });
  return table;
}

}  // namespace rankine
