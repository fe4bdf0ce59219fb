#include "src/bench/kernels.hpp"

#include <fmt/format.h>

#include "kernels/blas.hpp"
#include "kernels/conv.hpp"
#include "kernels/error.hpp"
#include "kernels/sparse_product.hpp"

namespace rankine {

void BenchSize::options(OptionVisitor& o) {
  o("m", m, {.help = "rows of the matrix: outputs", .min = 1, .max = 1e5});
  o("n", n, {.help = "what it is applied to: pixels or samples", .min = 1, .max = 1e6});
  o("k", k, {.help = "columns of the matrix: inputs", .min = 1, .max = 1e5});
}

std::string BenchSize::text() const { return fmt::format("{}x{}x{}", m, n, k); }

void DeviceKernel::prepare(const BenchProblem& problem) {
  ProductOfMatrices::prepare(problem);
  w_ = Tensor::from(problem.w, {size_.m, size_.k});
  x_ = Tensor::from(problem.x, {size_.k, size_.n});
  y_ = Tensor::empty({size_.m, size_.n}, DType::f32);
}

std::vector<float> DeviceKernel::result() const {
  const std::vector<double> values = y_.to_vector();
  return {values.begin(), values.end()};
}

void ProductKernel::run() {
  const kernels::Product p{
      .m = size_.m, .n = size_.n, .k = size_.k, .lda = size_.k, .ldb = size_.n, .ldc = size_.n};
  kernels::product<float>(p, 1, w_.data<float>(), x_.data<float>(), 0, y_.data<float>());
}

void ConvKernel::run() {
  kernels::ConvExtents e;
  e.batch = e.height = e.out_height = e.kernel_height = e.kernel_width = 1;
  e.channels = size_.k;
  e.outputs = size_.m;
  e.width = e.out_width = size_.n;
  kernels::conv_forward<float>(e, 1, x_.data<float>(), w_.data<float>(), 0, nullptr, 0, y_.data<float>());
}

void CsrKernel::Options::options(OptionVisitor& o) {
  o("outputs", outputs, {.help = "neighbouring rows whose weights are stored together", .min = 1});
}

void CsrKernel::check(const BenchSize& size) const {
  if (size.m % options_.outputs != 0)
    throw InputError(
        fmt::format("{} has {} rows, which blocks of {} outputs do not fill; choose a divisor of {}",
                    size.text(), size.m, options_.outputs, size.m));
}

void CsrKernel::prepare(const BenchProblem& problem) {
  DeviceKernel::prepare(problem);
  SparseMatrix matrix = sparse_matrix({problem.w.begin(), problem.w.end()}, size_.m, options_.outputs);
  pattern_ = std::move(matrix.pattern);
  w_ = cast(matrix.values, DType::f32);
  pattern_->on_device();
}

void CsrKernel::run() {
  const CsrPattern::OnDevice& index = pattern_->on_device();
  const kernels::CsrRows matrix{pattern_->rows,
                                pattern_->entries(),
                                index.offsets.data<std::int64_t>(),
                                index.columns.data<std::int64_t>(),
                                {},
                                pattern_->outputs};
  kernels::csr_product<float>(matrix, 1, size_.k, size_.n, w_.data<float>(), 0, x_.data<float>(),
                              y_.data<float>());
}

void BlasKernel::prepare(const BenchProblem& problem) {
  ProductOfMatrices::prepare(problem);
  w_ = problem.w;
  x_ = problem.x;
  y_.resize(static_cast<std::size_t>(size_.m) * static_cast<std::size_t>(size_.n));
}

void BlasKernel::run() { blas::library_gemm(size_.m, size_.n, size_.k, w_.data(), x_.data(), y_.data()); }

}  // namespace rankine
