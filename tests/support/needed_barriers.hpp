// Which barriers of emulated device bodies are needed: those without which the results are others.
#pragma once

#include <vector>

#include "kernels/emulate.hpp"

namespace rankine::test {

/// Leaves out each of the first `count` barriers in turn; `run` launches and returns what the kernels wrote.
template <class Run>
std::vector<int> needed_barriers(int count, const Run& run) {
  std::vector<int> needed;
  const auto whole = run();
  for (int i = 0; i < count; ++i) {
    kernels::emulated::left_out = i;
    if (run() != whole) needed.push_back(i);
  }
  kernels::emulated::left_out = -1;
  return needed;
}

}  // namespace rankine::test
