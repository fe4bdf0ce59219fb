#include "kernels/error.hpp"

namespace rankine {

void invariant_failed(const char* file, int line, const char* expression, const std::string& what) {
  throw std::logic_error(std::string(file) + ":" + std::to_string(line) + ": internal error: " + what + " (" +
                         expression + " is false)");
}

}  // namespace rankine
