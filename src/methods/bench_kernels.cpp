#include "src/bench/kernels.hpp"
#include "src/bench/network_kernel.hpp"

namespace rankine {

const BenchKernelRegistry& bench_kernels() {
  static const BenchKernelRegistry table("bench_kernel",
                                         {
                                             entry<ProductKernel>("product", "dense, the suite's own"),
                                             entry<BlasKernel>("blas", "dense, of the BLAS that is linked"),
                                             entry<ConvKernel>("conv", "dense, as a 1 x 1 convolution"),
                                             entry<CsrKernel>("csr", "sparse, by rows"),
                                             entry<NetworkKernel>("network", "layers, forward or both ways"),
                                         });
  return table;
}

}  // namespace rankine
