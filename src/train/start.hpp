// What a run begins with that another variant of the deck has left.
#pragma once

#include <string>

#include "src/deck/options.hpp"

namespace rankine {

struct StartOptions {
  std::string start;
  void options(OptionVisitor& o) {
    o("start", start,
      {.help = "VARIANT@SNAPSHOT: begin with the weights and masks that a variant above leaves for the same "
               "seed; `end` is every variant's last; empty: fresh weights",
       .snapshot = true});
  }
};

}  // namespace rankine
