#include <gtest/gtest.h>

#include "src/tensor/ops.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

TEST(Storage, IsAlignedCountedAndReused) {
  const std::size_t before = memory_account().live;
  DevicePtr<double> first;
  {
    const Tensor x = Tensor::empty({1000, 1000}, DType::f64);
    first = x.data<double>();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.opaque()) % 64, 0u);
    EXPECT_GE(memory_account().live, before + 8000000);
  }
  EXPECT_EQ(memory_account().live, before);
  const Tensor y = Tensor::empty({1000, 1000}, DType::f64);
  EXPECT_TRUE(y.data<double>() == first);
}

TEST(Storage, BackwardFreesAsItGoes) {
  // A chain of n squares saves n tensors; while it runs back, each is freed once used, so the peak of the
  // backward pass is that of the forward pass and a few.
  const std::int64_t size = 1 << 16;
  const std::size_t one = static_cast<std::size_t>(size) * 8;
  const Tensor x = variable(Tensor::full({size}, DType::f64, 1.0));
  const std::size_t before = memory_account().live;
  Tensor y = x;
  for (int i = 0; i < 20; ++i) y = square(y);
  Tensor total = sum(y);
  y = Tensor();
  reset_memory_peak();
  const Tensor g = grad({total}, {}, {x})[0];
  EXPECT_EQ(g.to_vector()[7], 1048576.0);
  EXPECT_LE(memory_account().peak, before + 26 * one);
  total = Tensor();
  EXPECT_LE(memory_account().live, before + 2 * one);
}

TEST(Tensor, ViewsShareMemoryAndMessagesName) {
  const Tensor x = Tensor::from(std::vector<double>{0, 1, 2, 3, 4, 5}, {2, 3});
  const Tensor column = slice(x, 1, 1, 2);
  EXPECT_TRUE(column.shares_memory_with(x));
  EXPECT_FALSE(column.contiguous());
  EXPECT_EQ(column.to_vector(), (std::vector<double>{1, 4}));
  EXPECT_EQ(permute(x, {1, 0}).to_vector(), (std::vector<double>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(expand(slice(x, 0, 0, 1), {2, 3}).to_vector(), (std::vector<double>{0, 1, 2, 0, 1, 2}));
  EXPECT_THROW(x.data<float>(), std::logic_error);
  EXPECT_THROW(x.extent(2), InputError);
  EXPECT_THROW(variable(Tensor::zeros({2}, DType::i64)), InputError);
  EXPECT_EQ(Tensor::zeros({0, 4}, DType::f32).count(), 0);
}

}  // namespace
}  // namespace rankine
