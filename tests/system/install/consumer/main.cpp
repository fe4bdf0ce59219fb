// Uses one thing of each layer that needs the layers below it at link time.
#include <iostream>

#include "kernels/error.hpp"

int main() {
  try {
    RANKINE_ASSERT(1 + 1 == 3, "arithmetic");
  } catch (const std::logic_error& error) {
    std::cout << error.what() << '\n';
    return 0;
  }
  return 1;
}
