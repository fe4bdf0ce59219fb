#include <chrono>
#include <cmath>
#include <cstdio>
#include <ostream>
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

struct Shape {
  int frames, cells, columns;
  bool history;
  int unknowns = 1, reach = 1;
  bool periodic = false;

  size_t rows() const { return static_cast<size_t>(frames) * cells * unknowns; }
};

void PrintTo(const Shape& s, std::ostream* out) {
  *out << s.frames << " frames, " << s.cells << " cells, " << s.unknowns << " unknowns, reach " << s.reach
       << (s.periodic ? ", periodic, " : ", ") << s.columns << " columns"
       << (s.history ? "" : ", no history");
}

/// Diagonally dominant, no symmetry, every frame another matrix (or `distinct` of them in turn). B reaches
/// one cell further than A where there are several unknowns.
MarchMatrices random_march(const Shape& shape, int distinct = 1000) {
  const int m = shape.unknowns;
  kernels::StencilFrames a(shape.frames, shape.cells, m, shape.reach, shape.periodic);
  kernels::StencilFrames b(shape.frames, shape.cells, m, shape.reach + (m > 1 ? 1 : 0), shape.periodic);
  for (int frame = 0; frame < shape.frames; ++frame) {
    std::mt19937 generator(17 + frame % distinct);
    for (kernels::StencilFrames* matrices : {&a, &b})
      for (int i = 0; i < shape.cells; ++i)
        for (int s = -matrices->reach; s <= matrices->reach; ++s) {
          if (matrices->neighbour(i, s) < 0) continue;
          double* block = matrices->at(frame, i, s);
          for (int k = 0; k < m * m; ++k) block[k] = uniform(generator) / (matrices == &a ? 1 : 2 * m);
        }
    for (int i = 0; i < shape.cells; ++i)
      for (int k = 0; k < m; ++k)
        a.at(frame, i, 0)[k * m + k] = (2 * shape.reach + 1) * m - 0.5 + 0.4 * uniform(generator);
  }
  return {std::move(a), std::move(b), shape.history};
}

/// The whole march as one dense matrix over (frame, cell, unknown), solved by Gaussian elimination with
/// pivoting.
std::vector<double> dense_solve(const MarchMatrices& march, std::vector<double> b, bool transposed) {
  const int width = march.implicit.width(), m = march.implicit.unknowns;
  const int n = march.implicit.frames * width;
  std::vector<double> a(static_cast<size_t>(n) * n);
  const auto entry = [&](int row, int column) -> double& {
    return transposed ? a[static_cast<size_t>(column) * n + row] : a[static_cast<size_t>(row) * n + column];
  };
  const auto add = [&](const kernels::StencilFrames& matrices, int frame, int from_frame, double sign) {
    for (int i = 0; i < matrices.cells; ++i)
      for (int s = -matrices.reach; s <= matrices.reach; ++s)
        for (int k = 0; k < m * m && matrices.neighbour(i, s) >= 0; ++k)
          entry(frame * width + i * m + k / m, from_frame * width + matrices.neighbour(i, s) * m + k % m) +=
              sign * matrices.at(frame, i, s)[k];
  };
  for (int frame = 0; frame < march.implicit.frames; ++frame) {
    add(march.implicit, frame, frame, 1);
    if (march.history && frame > 0) add(march.previous, frame, frame - 1, -1);
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

class LinearMarchTest : public testing::TestWithParam<Shape> {};

TEST_P(LinearMarchTest, BothImplementationsAgreeWithADenseSolve) {
  const Shape shape = GetParam();
  const int columns = shape.columns;
  const MarchMatrices matrices = random_march(shape, 3);
  const auto r = random_field(shape.rows() * columns, 5);
  const auto direct = make_direct_march(matrices);
  const auto petsc = make_petsc_march(matrices);

  for (const bool transposed : {false, true}) {
    std::vector<double> a(r.size()), b(r.size());
    transposed ? direct->apply_transpose(r, a, columns) : direct->apply(r, a, columns);
    transposed ? petsc->apply_transpose(r, b, columns) : petsc->apply(r, b, columns);

    EXPECT_LT(relative_difference(a, b), 1e-13) << "transposed " << transposed;
    for (int column = 0; column < columns; ++column) {
      std::vector<double> one(shape.rows()), solution(one.size());
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
  const Shape shape = GetParam();
  const int columns = shape.columns;
  const MarchMatrices matrices = random_march(shape);
  const size_t size = shape.rows() * columns;
  const auto r = random_field(size, 1), s = random_field(size, 2);
  std::vector<double> e(size), l(size);
  for (const auto& march : {make_direct_march(matrices), make_petsc_march(matrices)}) {
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
  const Shape shape = GetParam();
  const int columns = shape.columns;
  const auto march = make_direct_march(random_march(shape));
  const size_t rows = shape.rows();
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

TEST_P(LinearMarchTest, TheProductUndoesTheSolve) {
  const Shape shape = GetParam();
  const int columns = shape.columns;
  const MarchMatrices matrices = random_march(shape, 3);
  const auto march = make_direct_march(matrices);
  const size_t rows = shape.rows();
  const auto r = random_field(rows * columns, 4);
  std::vector<double> e(r.size()), back(r.size());
  march->apply(r, e, columns);
  apply_march(matrices, e, columns, back);
  EXPECT_LT(relative_difference(back, r), 100 * eps);
  for (int column = 0; column < columns; ++column) {
    std::vector<double> one(rows), product(rows);
    for (size_t i = 0; i < rows; ++i) one[i] = e[i * columns + column];
    apply_march(matrices, one, 1, product);
    for (size_t i = 0; i < rows; ++i)
      ASSERT_EQ(product[i], back[i * columns + column]) << "bits must not depend on the columns beside";
    march->apply_transpose(one, product);
    std::vector<double> again(rows);
    apply_march_transpose(matrices, product, again);
    EXPECT_LT(relative_difference(again, one), 100 * eps);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LinearMarchTest,
    testing::Values(Shape{1, 1, 1, true}, Shape{5, 1, 2, true}, Shape{4, 2, 3, true}, Shape{7, 13, 29, true},
                    Shape{7, 13, 29, false}, Shape{11, 17, 5, true},
                    // Periodic, also shorter than the stencil and of even and odd length.
                    Shape{5, 1, 2, true, 1, 1, true}, Shape{5, 2, 2, true, 1, 1, true},
                    Shape{4, 4, 3, true, 1, 2, true}, Shape{5, 12, 13, true, 1, 1, true},
                    Shape{5, 13, 13, false, 1, 2, true}, Shape{5, 12, 5, true, 1, 2, true},
                    Shape{4, 13, 1, true, 2, 1, true}, Shape{4, 12, 13, true, 2, 2, true},
                    // With walls.
                    Shape{5, 13, 13, true, 1, 2}, Shape{4, 12, 7, true, 2, 1}, Shape{4, 11, 12, true, 2, 2},
                    Shape{3, 7, 3, false, 3, 2}));

TEST(LinearMarch, EqualMatricesAreFactoredOnce) {
  std::vector<int> matrix_of_frame;
  const auto firsts = distinct_matrices(random_march({7, 5, 1, true}, 3).implicit, matrix_of_frame);
  EXPECT_THAT(firsts, testing::ElementsAre(0, 1, 2));
  EXPECT_THAT(matrix_of_frame, testing::ElementsAre(0, 1, 2, 0, 1, 2, 0));
}

TEST(LinearMarch, AVanishingPivotIsNamed) {
  for (const bool periodic : {false, true}) {
    MarchMatrices matrices = random_march({3, 4, 1, false, 1, 1, periodic});
    for (int i = 0; i < 4; ++i)
      for (const int s : {-1, 1}) *matrices.implicit.at(1, i, s) = 0;
    *matrices.implicit.at(1, 2, 0) = 0;
    try {
      make_direct_march(matrices);
      FAIL() << "nothing was thrown";
    } catch (const NumericalError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("frame 1, cell 2"));
    }
  }
}

TEST(LinearMarch, RowsThatTheDiagonalDoesNotDominateArePivoted) {
  // Zeros on the diagonals: solvable, but not without exchanges.
  for (const bool periodic : {false, true}) {
    const Shape shape{4, 6, 2, true, 1, 1, periodic};
    MarchMatrices matrices = random_march(shape);
    for (int frame = 0; frame < shape.frames; ++frame)
      for (int i = 0; i < shape.cells; ++i) *matrices.implicit.at(frame, i, 0) = i % 2 ? 0.0 : 1e-8;
    const auto march = make_direct_march(matrices);
    const auto r = random_field(shape.rows(), 8);
    for (const bool transposed : {false, true}) {
      std::vector<double> e(r.size());
      transposed ? march->apply_transpose(r, e) : march->apply(r, e);
      EXPECT_LT(relative_difference(e, dense_solve(matrices, r, transposed)), 1e-10);
    }
  }
}

template <class Body>
double best_seconds(int repeats, Body&& body) {
  double best = 1e9;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

TEST(LinearMarch, CostIsPrinted) {
  for (const Shape& shape : {Shape{40, 64, 0, true}, Shape{40, 64, 0, true, 1, 1, true},
                             Shape{40, 64, 0, true, 1, 2, true}, Shape{40, 64, 0, true, 2, 1, true}}) {
    const MarchMatrices matrices = random_march(shape);
    std::unique_ptr<LinearMarch> march;
    const double build = best_seconds(10, [&] { march = make_direct_march(matrices); });
    std::printf("%s: built in %.3f ms, ns per number forward/backward:",
                testing::PrintToString(shape).c_str(), 1e3 * build);
    for (const int columns : {1, 4, 8, 32}) {
      std::vector<double> field = random_field(shape.rows() * columns, 4), error(field.size());
      const double forward = best_seconds(20, [&] { march->apply(field, error, columns); });
      const double backward = best_seconds(20, [&] { march->apply_transpose(field, error, columns); });
      const double scale = 1e9 / static_cast<double>(field.size());
      std::printf(" %.2f/%.2f (%d columns)", scale * forward, scale * backward, columns);
    }
    std::printf("\n");
  }
}

}  // namespace
}  // namespace rankine
