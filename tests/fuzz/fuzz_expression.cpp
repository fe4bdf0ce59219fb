// libFuzzer's entry: fuzz_expression [corpus folder]. Built with -DRANKINE_FUZZ=ON and clang.
#include <cstddef>
#include <cstdint>

#include "kernels/portability.hpp"
#include "tests/fuzz/expression_fuzz.hpp"

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  rankine::ensure_kokkos();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rankine::fuzz_expression(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
