// The products that the suite has.
#pragma once

#include "kernels/product.hpp"
#include "src/bench/kernel.hpp"
#include "src/nn/csr.hpp"

namespace rankine {

class ProductOfMatrices : public BenchKernel {
 public:
  void options(OptionVisitor&) {}
  void prepare(const BenchProblem& problem) override {
    size_ = problem.size;
    flops_ = 2.0 * static_cast<double>(problem.nonzeros) * size_.n;
  }
  double flops() const override { return flops_; }

 protected:
  BenchSize size_;

 private:
  double flops_ = 0;
};

/// Operands in device memory.
class DeviceKernel : public ProductOfMatrices {
 public:
  void prepare(const BenchProblem& problem) override;
  std::vector<float> result() const override;

 protected:
  Tensor w_, x_, y_;
};

/// kernels::product, which dense layers use.
class ProductKernel final : public DeviceKernel {
 public:
  void run() override;
};

/// kernels::conv_forward with 1 x 1 taps: X is one image of k channels and n pixels.
class ConvKernel final : public DeviceKernel {
 public:
  void run() override;
};

/// kernels::csr_product; what is stored are the blocks of W that are not all 0.
class CsrKernel final : public DeviceKernel {
 public:
  struct Options {
    int outputs = 1;
    void options(OptionVisitor& o);
  };
  explicit CsrKernel(const Options& options) : options_(options) {}
  void check(const BenchSize& size) const override;
  void prepare(const BenchProblem& problem) override;
  void run() override;

 private:
  Options options_;
  SharedPattern pattern_;
};

/// The dense product of the BLAS that is linked, on host memory.
class BlasKernel final : public ProductOfMatrices {
 public:
  void prepare(const BenchProblem& problem) override;
  void run() override;
  std::vector<float> result() const override { return y_; }

 private:
  std::vector<float> w_, x_, y_;
};

}  // namespace rankine
