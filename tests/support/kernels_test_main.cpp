#include <gtest/gtest.h>

#include "kernels/runtime.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const rankine::KokkosSession kokkos;
  return RUN_ALL_TESTS();
}
