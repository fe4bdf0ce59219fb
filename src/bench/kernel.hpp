// What `experiment: bench` times: ways to multiply a matrix with another, each with a storage of its own, or
// other work. The table is that of a deck's `bench.kernel` and `bench.against`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

/// Y [m, n] = W [m, k] X [k, n], row-major. n counts pixels, samples or whatever the matrix is applied to.
struct BenchSize {
  int m = 256, n = 196, k = 256;
  void options(OptionVisitor& o);
  std::string text() const;
};

struct BenchProblem {
  BenchSize size;
  std::vector<float> w, x;  ///< weights that are left out are 0
  std::int64_t nonzeros = 0;
};

class BenchKernel {
 public:
  virtual ~BenchKernel() = default;
  /// InputError, without the kernel's name, for sizes that it cannot take.
  virtual void check(const BenchSize& size) const { (void)size; }
  /// Brings the problem into the form that the kernel wants. Not timed.
  virtual void prepare(const BenchProblem& problem) = 0;
  /// Does it once; the caller waits for it.
  virtual void run() = 0;
  /// Y; empty of kernels that do other work, which is not compared.
  virtual std::vector<float> result() const { return {}; }
  /// What run() is for: of products 2 nonzeros n, whatever the kernel does for it.
  virtual double flops() const = 0;
};

using BenchKernelRegistry = Registry<BenchKernel>;
const BenchKernelRegistry& bench_kernels();

}  // namespace rankine
