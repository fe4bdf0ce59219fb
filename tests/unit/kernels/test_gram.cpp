// Gram matrices against their sums written out, in the order that they promise: the same bits.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/gram.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine::kernels {
namespace {

class Gram : public testing::TestWithParam<int> {
 protected:
  std::vector<double> numbers(long count) {
    std::uniform_real_distribution<double> uniform(-1, 1);
    std::vector<double> out(count);
    for (double& x : out) x = uniform(rng_);
    return out;
  }

 private:
  std::mt19937 rng_{7};
};

TEST_P(Gram, IsOneChainOfRowsInOrder) {
  const int n = GetParam(), m = n + 1;
  for (const long rows : {0L, 1L, 37L}) {
    const std::vector<double> j = numbers(rows * n), rho = numbers(rows);
    std::vector<double> gram(static_cast<size_t>(m) * m, 3.0), expected(gram.size(), 0.0);
    augmented_gram(j, rho, n, gram);
    const auto at = [&](long r, int i) { return i < n ? j[r * n + i] : rho[r]; };
    for (long r = 0; r < rows; ++r)
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) {
          double& sum = expected[a * m + b];
          sum = multiply_add(at(r, a), at(r, b), sum);
        }
    EXPECT_EQ(gram, expected) << rows << " rows of " << n;
  }
}

TEST_P(Gram, OfSomeRowsIsThatOfACopy) {
  const int n = GetParam(), m = n + 1;
  const std::vector<double> columns = numbers(40L * n), rho = numbers(40);
  const std::vector<long> rows{3, 4, 17, 30, 39};
  std::vector<double> copy, values, gram(static_cast<size_t>(m) * m), expected(gram.size());
  for (const long r : rows) {
    copy.insert(copy.end(), &columns[r * n], &columns[r * n] + n);
    values.push_back(rho[r]);
  }
  augmented_gram(copy, values, n, expected);
  augmented_gram_of_rows(columns, rho, rows, n, gram);
  EXPECT_EQ(gram, expected);
}

TEST_P(Gram, ProductsAreAddedToWhatIsThere) {
  const int n = GetParam();
  const long rows = 21;
  const std::vector<double> a = numbers(rows * n), b = numbers(rows * n);
  std::vector<double> c = numbers(static_cast<long>(n) * n), expected(c);
  for (int i = 0; i < n; ++i)
    for (int k = 0; k < n; ++k) {
      double sum = 0;
      for (long r = 0; r < rows; ++r) sum = multiply_add(a[r * n + i], b[r * n + k], sum);
      expected[i * n + k] += sum;
    }
  add_transposed_product(a.data(), b.data(), rows, n, n, c.data());
  EXPECT_EQ(c, expected);
}

INSTANTIATE_TEST_SUITE_P(OfColumns, Gram, testing::Values(1, 3, 8, 13));

}  // namespace
}  // namespace rankine::kernels
