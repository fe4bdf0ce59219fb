// The products that the suite has.
#pragma once

#include "kernels/product.hpp"
#include "src/bench/kernel.hpp"
#include "src/nn/csr.hpp"

namespace rankine {

/// Operands in device memory.
class DeviceKernel : public BenchKernel {
 public:
  void options(OptionVisitor&) {}
  void prepare(const BenchProblem& problem) override;
  std::vector<float> result() const override;

 protected:
  BenchSize size_;
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

/// kernels::csr_product; the values are those of W that are not 0.
class CsrKernel final : public DeviceKernel {
 public:
  void prepare(const BenchProblem& problem) override;
  void run() override;

 private:
  SharedPattern pattern_;
};

/// The dense product of the BLAS that is linked, on host memory.
class BlasKernel final : public BenchKernel {
 public:
  void options(OptionVisitor&) {}
  void prepare(const BenchProblem& problem) override;
  void run() override;
  std::vector<float> result() const override { return y_; }

 private:
  BenchProblem problem_;
  std::vector<float> y_;
};

}  // namespace rankine
