// The table of PDEs that a deck's `pde:` can name.
#pragma once

#include "src/deck/registry.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

const Registry<Pde>& pdes();

}  // namespace rankine
