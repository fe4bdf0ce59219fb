// What kernels tell a profile about their work, against counts by hand.
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/attention.hpp"
#include "kernels/conv.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/fft.hpp"
#include "kernels/gram.hpp"
#include "kernels/norm.hpp"
#include "kernels/product.hpp"
#include "kernels/reductions.hpp"
#include "kernels/row_ops.hpp"
#include "kernels/tridiagonal_march.hpp"
#include "tests/support/on_device.hpp"

namespace rankine::kernels {
namespace {

using testing::OnDevice;

template <class T>
OnDevice<T> array(std::int64_t n) {
  return OnDevice<T>(std::vector<T>(static_cast<std::size_t>(n), T(1)));
}

/// The entry of `name` after work().
template <class Work>
TimedCost told(const char* name, Work&& work) {
  forget_launch_costs();
  time_launches(true);
  work();
  time_launches(false);
  const auto found = launch_costs().find(name);
  EXPECT_NE(found, launch_costs().end()) << name;
  EXPECT_EQ(launch_costs().size(), 1U) << name;
  return found == launch_costs().end() ? TimedCost() : found->second;
}

void expect_cost(const TimedCost& cost, double flops, double bytes) {
  EXPECT_EQ(cost.flops, flops);
  EXPECT_EQ(cost.bytes, bytes);
  EXPECT_GE(cost.calls, 1);
  EXPECT_GT(cost.seconds, 0);
}

TEST(Work, OfElementwiseKernelsCountsARepeatedOperandOnce) {
  // y [3][70] = a [3][70] + b [70]
  const auto a = array<double>(210), b = array<double>(70), y = array<double>(210);
  Strided<3> s;
  s.append(3, {70, 70, 0});
  s.append(70, {1, 1, 1});
  expect_cost(told("add", [&] { binary<double>(Binary::add, s, a.read(), b.read(), y.data()); }), 210,
              8 * (210 + 210 + 70));
}

TEST(Work, OfProductsCountsEachMatrixOnce) {
  // Six products of 4 x 6 by 6 x 5, two different A.
  const auto a = array<float>(2 * 24), b = array<float>(6 * 30), c = array<float>(6 * 20);
  Product p{.m = 4, .n = 5, .k = 6, .lda = 6, .ldb = 5, .ldc = 5, .batch = {2, 3, 1}};
  p.a_step[0] = 24;
  p.b_step[0] = 90, p.b_step[1] = 30;
  p.c_step[0] = 60, p.c_step[1] = 20;
  const double flops = 2 * 6 * 4 * 5 * 6;
  expect_cost(told("product", [&] { product<float>(p, 1, a.read(), b.read(), 0, c.data()); }), flops,
              4 * (2 * 24 + 6 * 30 + 6 * 20));
  // What is added to is read too.
  expect_cost(told("product", [&] { product<float>(p, 1, a.read(), b.read(), 1, c.data()); }), flops,
              4 * (2 * 24 + 6 * 30 + 2 * 6 * 20));
}

TEST(Work, OfConvolutionsIsThatOfTheTrilinearForm) {
  // Two shards of two images of 3 channels, 8 x 8, to 4 channels of 6 x 6; the shards share the weights.
  const ConvExtents e{.batch = 2,
                      .channels = 3,
                      .height = 8,
                      .width = 8,
                      .outputs = 4,
                      .out_height = 6,
                      .out_width = 6,
                      .kernel_height = 3,
                      .kernel_width = 3};
  const auto x = array<float>(4 * 192), y = array<float>(4 * 144), w = array<float>(2 * 108),
             work = array<float>(conv_weights_workspace(e, 2) + 1);
  const double flops = 2.0 * 4 * 4 * 36 * 27, images = 4 * (192 + 144);
  expect_cost(
      told("conv_forward", [&] { conv_forward<float>(e, 2, x.read(), w.read(), 0, {}, 0, y.data()); }), flops,
      4 * (images + 108));
  expect_cost(
      told("conv_backward_data", [&] { conv_backward_data<float>(e, 2, y.read(), w.read(), 0, x.data()); }),
      flops, 4 * (images + 108));
  expect_cost(told("conv_backward_weights",
                   [&] { conv_backward_weights<float>(e, 2, x.read(), y.read(), w.data(), work.data()); }),
              flops, 4 * (images + 2 * 108));
}

TEST(Work, OfAttentionHasNoMatrixOfWeights) {
  // Six heads of 5 queries and 7 keys of 8 numbers.
  const AttentionShape shape{{5, 0, 7, 8, false}, 2, 3};
  const auto q = array<double>(6 * 40), k = array<double>(6 * 56), v = array<double>(6 * 56),
             o = array<double>(6 * 40), log_sum = array<double>(6 * 5);
  const AttentionInputs<double> in{q.read(), {}, {}, k.read(), v.read()};
  expect_cost(told("attention", [&] { attention_forward<double>(shape, 1, in, o.data(), log_sum.data()); }),
              6 * 4 * 35 * 8, 8 * 6 * (2 * 40 + 2 * 56 + 5));
}

TEST(Work, OfRowsAndSums) {
  const auto x = array<float>(300), y = array<float>(300), sums = array<float>(3), work = array<float>(300);
  expect_cost(told("softmax", [&] { softmax<float>(3, 100, x.read(), y.data()); }), 22 * 300, 4 * 600);
  expect_cost(told("sum_rows", [&] { sum_rows<float>(3, 100, x.read(), sums.data(), work.data()); }), 300,
              4 * 303);
  const RowNormExtents e{.rows = 3, .channels = 100};
  const auto mean = array<float>(3), inverse = array<float>(3);
  expect_cost(told("row_norm_forward",
                   [&] {
                     row_norm_forward<float>(e, 1e-5F, x.read(), {}, {}, y.data(), mean.data(),
                                             inverse.data());
                   }),
              8 * 300, 4 * 600);
}

TEST(Work, OfTransforms) {
  const FftLines lines{2, 16, 3};
  using C = std::complex<double>;
  const auto x = array<C>(96), y = array<C>(96), work = array<C>(fft_work<double>(lines) + 1);
  const TimedCost cost =
      told("fft", [&] { fft<double>(lines, FftDirection::forward, 1, x.read(), y.data(), work.data()); });
  EXPECT_EQ(cost.flops, 5 * 96 * 4);
  EXPECT_GE(cost.bytes, 2 * 16 * 96);  // cuFFT's lines are copied together before
}

TEST(Work, OfLoopsOnTheHost) {
  // The constraint's march: 4 frames of 10 cells, 3 right-hand sides.
  TridiagonalMarch march;
  march.cells = 10;
  march.with_history = false;
  for (TridiagonalFactors* factors : {&march.factors, &march.transposed_factors}) factors->resize(1, 10);
  march.factor_of_frame = march.history_of_frame = {0, 0, 0, 0};
  std::vector<double> rhs(120, 1), solution(120);
  expect_cost(
      told("tridiagonal_march", [&] { tridiagonal_march(march, false, rhs.data(), solution.data(), 4, 3); }),
      5 * 120, 8 * 2 * 120);

  std::vector<double> jacobian(20 * 3, 1), rho(20, 1), gram(16);
  // Half of a symmetric product of 4 columns.
  expect_cost(told("gram", [&] { augmented_gram(jacobian, rho, 3, gram); }), 20 * 4 * 5, 8 * (20 * 4 + 16));
}

TEST(Work, IsCountedWhileLaunchesAreTimed) {
  forget_launch_costs();
  const double before = launched_cost().bytes;
  const auto x = array<float>(300), y = array<float>(300);
  softmax<float>(3, 100, x.read(), y.data());
  fence();
  EXPECT_TRUE(launch_costs().empty());
  EXPECT_EQ(launched_cost().bytes, before);
  told("softmax", [&] { softmax<float>(3, 100, x.read(), y.data()); });
  EXPECT_EQ(launched_cost().bytes, before + 2400);
}

}  // namespace
}  // namespace rankine::kernels
