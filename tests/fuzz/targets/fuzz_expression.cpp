// Formulas of user-defined equations.
#include <cstdint>

#include "kernels/runtime.hpp"
#include "tests/fuzz/expression_fuzz.hpp"
#include "tests/fuzz/targets/guard.hpp"

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  rankine::ensure_kokkos();
  rankine::fuzz::install_hooks();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rankine::fuzz::watch(
      [&] { rankine::fuzz_expression(std::string(reinterpret_cast<const char*>(data), size)); });
  return 0;
}
