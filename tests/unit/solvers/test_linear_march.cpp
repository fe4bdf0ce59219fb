#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>

#include <gmock/gmock.h>

#include "kernels/error.hpp"
#include "solvers/linear_march.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

constexpr double eps = 2.2e-16;

double uniform(std::mt19937& generator) { return std::uniform_real_distribution<double>(-1, 1)(generator); }

std::vector<double> random_field(size_t size, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<double> field(size);
  for (double& value : field) value = uniform(generator);
  return field;
}

/// Diagonally dominant, no symmetry, every frame another matrix (or `distinct` of them in turn).
MarchMatrices random_march(int frames, int cells, bool history, int distinct = 1000) {
  MarchMatrices matrices{TridiagonalFrames(frames, cells), TridiagonalFrames(frames, cells), history};
  for (int frame = 0; frame < frames; ++frame) {
    std::mt19937 generator(17 + frame % distinct);
    for (int i = 0; i < cells; ++i) {
      const size_t at = static_cast<size_t>(frame) * cells + i;
      matrices.implicit.lower[at] = uniform(generator);
      matrices.implicit.upper[at] = uniform(generator);
      matrices.implicit.diagonal[at] = 2.5 + 0.4 * uniform(generator);
      matrices.previous.lower[at] = 0.5 * uniform(generator);
      matrices.previous.upper[at] = 0.5 * uniform(generator);
      matrices.previous.diagonal[at] = uniform(generator);
    }
  }
  return matrices;
}

/// The whole march as one dense matrix over (frame, cell), solved by Gaussian elimination with pivoting.
std::vector<double> dense_solve(const MarchMatrices& march, std::vector<double> b, bool transposed) {
  const int cells = march.implicit.cells;
  const int n = march.implicit.frames * cells;
  std::vector<double> a(static_cast<size_t>(n) * n);
  const auto entry = [&](int row, int column) -> double& {
    return transposed ? a[static_cast<size_t>(column) * n + row] : a[static_cast<size_t>(row) * n + column];
  };
  for (int row = 0; row < n; ++row) {
    const int i = row % cells;
    const auto add = [&](const TridiagonalFrames& bands, int first_column, double sign) {
      if (i > 0) entry(row, first_column + i - 1) += sign * bands.lower[row];
      entry(row, first_column + i) += sign * bands.diagonal[row];
      if (i + 1 < cells) entry(row, first_column + i + 1) += sign * bands.upper[row];
    };
    add(march.implicit, row - i, 1);
    if (march.history && row >= cells) add(march.previous, row - i - cells, -1);
  }
  for (int k = 0; k < n; ++k) {
    int pivot = k;
    for (int i = k + 1; i < n; ++i) {
      if (std::abs(a[static_cast<size_t>(i) * n + k]) > std::abs(a[static_cast<size_t>(pivot) * n + k]))
        pivot = i;
    }
    for (int j = 0; j < n; ++j)
      std::swap(a[static_cast<size_t>(k) * n + j], a[static_cast<size_t>(pivot) * n + j]);
    std::swap(b[k], b[pivot]);
    for (int i = k + 1; i < n; ++i) {
      const double factor = a[static_cast<size_t>(i) * n + k] / a[static_cast<size_t>(k) * n + k];
      for (int j = k; j < n; ++j)
        a[static_cast<size_t>(i) * n + j] -= factor * a[static_cast<size_t>(k) * n + j];
      b[i] -= factor * b[k];
    }
  }
  for (int i = n - 1; i >= 0; --i) {
    for (int j = i + 1; j < n; ++j) b[i] -= a[static_cast<size_t>(i) * n + j] * b[j];
    b[i] /= a[static_cast<size_t>(i) * n + i];
  }
  return b;
}

double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

struct Case {
  int frames, cells, columns;
  bool history;
};

class LinearMarchTest : public testing::TestWithParam<Case> {};

TEST_P(LinearMarchTest, BothImplementationsAgreeWithADenseSolve) {
  const auto [frames, cells, columns, history] = GetParam();
  const MarchMatrices matrices = random_march(frames, cells, history, 3);
  const auto r = random_field(static_cast<size_t>(frames) * cells * columns, 5);
  const auto banded = make_banded_march(matrices);
  const auto petsc = make_petsc_march(matrices);

  for (const bool transposed : {false, true}) {
    std::vector<double> a(r.size()), b(r.size());
    transposed ? banded->apply_transpose(r, a, columns) : banded->apply(r, a, columns);
    transposed ? petsc->apply_transpose(r, b, columns) : petsc->apply(r, b, columns);

    EXPECT_LT(relative_difference(a, b), 1e-13) << "transposed " << transposed;
    for (int column = 0; column < columns; ++column) {
      std::vector<double> one(static_cast<size_t>(frames) * cells), solution(one.size());
      for (size_t i = 0; i < one.size(); ++i) {
        one[i] = r[i * columns + column];
        solution[i] = a[i * columns + column];
      }
      // The condition number of a dominant march is of order 10.
      EXPECT_LT(relative_difference(solution, dense_solve(matrices, one, transposed)), 100 * eps);
    }
  }
}

TEST_P(LinearMarchTest, TransposeIsTheAdjoint) {
  const auto [frames, cells, columns, history] = GetParam();
  const MarchMatrices matrices = random_march(frames, cells, history);
  const size_t size = static_cast<size_t>(frames) * cells * columns;
  const auto r = random_field(size, 1), s = random_field(size, 2);
  std::vector<double> e(size), l(size);
  for (const auto& march : {make_banded_march(matrices), make_petsc_march(matrices)}) {
    march->apply(r, e, columns);
    march->apply_transpose(s, l, columns);

    double left = 0, right = 0, norm_e = 0, norm_s = 0;
    for (size_t i = 0; i < size; ++i) {
      left += e[i] * s[i];
      right += r[i] * l[i];
      norm_e += e[i] * e[i];
      norm_s += s[i] * s[i];
    }
    EXPECT_LT(std::abs(left - right), 1e-14 * std::sqrt(norm_e * norm_s));
  }
}

TEST_P(LinearMarchTest, BitsDoNotDependOnTheBatchAndInPlaceIsAllowed) {
  const auto [frames, cells, columns, history] = GetParam();
  const auto march = make_banded_march(random_march(frames, cells, history));
  const size_t rows = static_cast<size_t>(frames) * cells;
  const auto r = random_field(rows * columns, 3);
  for (const bool transposed : {false, true}) {
    std::vector<double> batch = r;
    transposed ? march->apply_transpose(batch, batch, columns) : march->apply(batch, batch, columns);
    for (int column = 0; column < columns; ++column) {
      std::vector<double> one(rows), solution(rows);
      for (size_t i = 0; i < rows; ++i) one[i] = r[i * columns + column];
      transposed ? march->apply_transpose(one, solution) : march->apply(one, solution);

      for (size_t i = 0; i < rows; ++i) ASSERT_EQ(solution[i], batch[i * columns + column]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, LinearMarchTest,
                         testing::Values(Case{1, 1, 1, true}, Case{5, 1, 2, true}, Case{4, 2, 3, true},
                                         Case{7, 13, 29, true}, Case{7, 13, 29, false},
                                         Case{11, 17, 5, true}));

TEST(LinearMarch, EqualMatricesAreFactoredOnce) {
  std::vector<int> matrix_of_frame;
  const auto firsts = distinct_matrices(random_march(7, 5, true, 3).implicit, matrix_of_frame);
  EXPECT_THAT(firsts, testing::ElementsAre(0, 1, 2));
  EXPECT_THAT(matrix_of_frame, testing::ElementsAre(0, 1, 2, 0, 1, 2, 0));
}

TEST(LinearMarch, AVanishingPivotIsNamed) {
  MarchMatrices matrices = random_march(3, 4, false);
  for (int i = 0; i < 4; ++i) matrices.implicit.lower[4 + i] = 0;
  matrices.implicit.diagonal[4 + 2] = 0;
  try {
    make_banded_march(matrices);
    FAIL() << "nothing was thrown";
  } catch (const NumericalError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("frame 1, cell 2"));
  }
}

TEST(LinearMarch, ThroughputIsPrinted) {
  const int frames = 40, cells = 64;
  const auto march = make_banded_march(random_march(frames, cells, true));
  for (const int columns : {1, 4, 8, 32}) {
    std::vector<double> field = random_field(static_cast<size_t>(frames) * cells * columns, 4),
                        error(field.size());
    for (const bool transposed : {false, true}) {
      double best = 1e9;
      for (int repeat = 0; repeat < 30; ++repeat) {
        const auto start = std::chrono::steady_clock::now();
        transposed ? march->apply_transpose(field, error, columns) : march->apply(field, error, columns);
        best =
            std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
      std::printf("march %s, %2d columns: %.2f ns per unknown and column\n",
                  transposed ? "backward" : "forward ", columns,
                  1e9 * best / static_cast<double>(field.size()));
    }
  }
}

}  // namespace
}  // namespace rankine
