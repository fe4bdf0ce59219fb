#include <complex>

#include "src/tensor/complex_ops.hpp"
#include "src/tensor/scan.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using testing::expect_gradient;
using testing::expect_second_gradient;
using testing::random_tensor;
using List = std::vector<Tensor>;
using C = std::complex<double>;

class Complex : public ::testing::Test {
 protected:
  std::mt19937 rng{3};
  Tensor random(const Shape& shape) { return random_tensor(shape, rng); }
  // fn of complex tensors, whose parts come as pairs of real ones, so that differences apply.
  static Function on_pairs(const Function& fn) {
    return [fn](const List& x) {
      List in, out;
      for (std::size_t i = 0; i + 1 < x.size(); i += 2) in.push_back(complex_of(x[i], x[i + 1]));
      for (const Tensor& y : fn(in)) {
        out.push_back(real_part(y));
        out.push_back(imaginary_part(y));
      }
      return out;
    };
  }
};

TEST_F(Complex, MatrixProduct) {
  const Tensor a = complex_of(random({2, 3, 4}), random({2, 3, 4})),
               b = complex_of(random({4, 2}), random({4, 2}));
  const Tensor y = matmul(a, b);
  for (std::int64_t l = 0; l < 2; ++l)
    for (std::int64_t i = 0; i < 3; ++i)
      for (std::int64_t j = 0; j < 2; ++j) {
        C sum = 0;
        for (std::int64_t k = 0; k < 4; ++k)
          sum += host_read<C>(a)[(l * 3 + i) * 4 + k] * host_read<C>(b)[k * 2 + j];
        EXPECT_NEAR(std::abs(host_read<C>(y)[(l * 3 + i) * 2 + j] - sum), 0, 1e-14);
      }
  const List parts{random({2, 3, 4}), random({2, 3, 4}), random({4, 2}), random({4, 2})};
  const Function product = on_pairs([](const List& x) { return List{matmul(x[0], x[1])}; });
  expect_gradient(product, parts);
  expect_second_gradient(product, {random({2, 2}), random({2, 2}), random({2, 1}), random({2, 1})});
}

TEST_F(Complex, TransformOfAnyLength) {
  for (const std::int64_t n : {1, 2, 3, 4, 8, 12, 35, 64, 97, 210}) {
    const Tensor x = complex_of(random({2, n, 2}), random({2, n, 2}));
    const Tensor y = fft(x, 1), back = inverse_fft(y, 1);
    for (std::int64_t o = 0; o < 2; ++o)
      for (std::int64_t i = 0; i < 2; ++i)
        for (std::int64_t k = 0; k < n; ++k) {
          C sum = 0;
          for (std::int64_t j = 0; j < n; ++j)
            sum += host_read<C>(x)[(o * n + j) * 2 + i] *
                   std::polar(1.0, -2 * M_PI * static_cast<double>(j * k % n) / static_cast<double>(n));
          ASSERT_NEAR(std::abs(host_read<C>(y)[(o * n + k) * 2 + i] - sum), 0,
                      2e-13 * std::sqrt(static_cast<double>(n)));
          ASSERT_NEAR(
              std::abs(host_read<C>(back)[(o * n + k) * 2 + i] - host_read<C>(x)[(o * n + k) * 2 + i]), 0,
              1e-14);
        }
  }
}

TEST_F(Complex, Gradients) {
  expect_gradient(on_pairs([](const List& x) {
                    return List{fft(x[0], 0), inverse_fft(x[0], 1), complex_exp(x[0])};
                  }),
                  {random({3, 4}), random({3, 4})});
  expect_second_gradient(on_pairs([](const List& x) {
                           const Tensor y = fft(x[0], 0);
                           return List{mul(y, y), complex_exp(x[0])};
                         }),
                         {random({3, 2}), random({3, 2})}, 1e-7);
  expect_gradient(on_pairs([](const List& x) { return List{diagonal_scan(x[0], x[1], 0)}; }),
                  {random({4, 2}), random({4, 2}), random({4, 2}), random({4, 2})});
}

}  // namespace
}  // namespace rankine
