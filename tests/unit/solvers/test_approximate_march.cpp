// The marches that approximate P^-1: IMEX, and GMRES with it as a preconditioner.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numbers>
#include <random>

#include <gmock/gmock.h>

#include "kernels/error.hpp"
#include "solvers/linear_march.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

using kernels::StencilFrames;
using std::numbers::pi;

std::vector<double> random_field(size_t size, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<double> field(size);
  for (double& value : field) value = uniform(generator);
  return field;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double norm(const std::vector<double>& a) { return std::sqrt(dot(a, a)); }

double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> difference(a);
  for (size_t i = 0; i < a.size(); ++i) difference[i] -= b[i];
  return norm(difference) / norm(b);
}

/// |<P^-1 r, s> - <r, P^-T s>| / (|P^-1 r| |s|)
double adjoint_defect(const LinearMarch& march, int columns) {
  const size_t size = static_cast<size_t>(march.frames()) * march.width() * columns;
  const auto r = random_field(size, 1), s = random_field(size, 2);
  std::vector<double> e(size), l(size);
  march.apply(r, e, columns);
  march.apply_transpose(s, l, columns);
  return std::abs(dot(e, s) - dot(r, l)) / (norm(e) * norm(s));
}

struct Shape {
  int steps, cells, unknowns, reach;
  bool periodic;
  int substeps;
};

SplitMatrices random_split(const Shape& shape) {
  const int m = shape.unknowns;
  SplitMatrices split;
  split.slope = StencilFrames(shape.steps + 1, shape.cells, m, 0, shape.periodic);
  split.stiff = StencilFrames(shape.steps + 1, shape.cells, m, 1, shape.periodic);
  split.gentle = StencilFrames(shape.steps + 1, shape.cells, m, shape.reach, shape.periodic);
  unsigned seed = 3;
  for (StencilFrames* part : {&split.slope, &split.stiff, &split.gentle}) {
    const auto values = random_field(part->values.size(), seed++);
    for (int j = 0; j <= shape.steps; ++j)
      for (int i = 0; i < shape.cells; ++i)
        for (int s = -part->reach; s <= part->reach; ++s)
          for (int k = 0; k < m * m && part->neighbour(i, s) >= 0; ++k) {
            double* value = part->at(j, i, s) + k;
            *value = 0.4 * values[value - part->values.data()];
            if (s == 0 && k % (m + 1) == 0)
              *value += part == &split.slope ? 1.5 : part == &split.stiff ? -4 : 0;
          }
  }
  for (int j = 0; j < shape.steps; ++j) {
    split.dt.push_back(0.1 + 0.02 * (j % 3));
    split.theta.push_back(j < 2 ? 1 : j == 3 ? 0.3 : 0.5);
  }
  split.substeps = shape.substeps;
  return split;
}

TEST(ImexMarch, TransposeIsTheAdjoint) {
  for (const Shape& shape : {Shape{5, 12, 1, 1, true, 2}, Shape{5, 9, 1, 2, false, 1},
                             Shape{6, 7, 2, 1, true, 3}, Shape{4, 8, 2, 2, false, 2}})
    for (const int columns : {1, 3}) {
      const auto march = make_imex_march(random_split(shape));
      EXPECT_LT(adjoint_defect(*march, columns), 1e-14);
      EXPECT_TRUE(march->exact());
      std::vector<double> r = random_field(static_cast<size_t>(march->frames()) * march->width(), 4),
                          e(r.size());
      for (const bool transposed : {false, true}) {
        std::vector<double> in_place = r;
        transposed ? march->apply_transpose(r, e) : march->apply(r, e);
        transposed ? march->apply_transpose(in_place, in_place) : march->apply(in_place, in_place);
        EXPECT_EQ(e, in_place);
      }
    }
}

TEST(ImexMarch, IsBackwardEulerWithoutAnExplicitPart) {
  SplitMatrices split = random_split({5, 12, 2, 1, true, 1});
  std::fill(split.gentle.values.begin(), split.gentle.values.end(), 0.0);
  std::fill(split.theta.begin(), split.theta.end(), 1.0);
  const int steps = 5, cells = 12;
  MarchMatrices full{StencilFrames(steps, cells, 2, 1, true), StencilFrames(steps, cells, 2, 0, true), true};
  for (int j = 0; j < steps; ++j)
    for (int i = 0; i < cells; ++i)
      for (int s = -1; s <= 1; ++s)
        for (int k = 0; k < 4; ++k) {
          full.implicit.at(j, i, s)[k] = -split.dt[j] * split.stiff.at(j + 1, i, s)[k];
          if (s == 0) full.implicit.at(j, i, s)[k] += split.slope.at(j + 1, i, 0)[k];
          if (s == 0) full.previous.at(j, i, s)[k] = split.slope.at(j, i, 0)[k];
        }
  const auto r = random_field(static_cast<size_t>(steps) * cells * 2, 4);
  std::vector<double> imex(r.size()), direct(r.size());
  make_imex_march(split)->apply(r, imex);
  make_direct_march(full)->apply(r, direct);
  EXPECT_LT(relative_difference(imex, direct), 1e-14);
}

/// Burgers with storage M(u) = u + c u^2 / 2 on a ring: G(u) = -(u^2 / 2)_x + nu u_xx by central differences.
struct Burgers {
  int cells, steps;
  double duration, nu, curvature;

  double dt() const { return duration / steps; }
  double dx() const { return 1.0 / cells; }
  double storage(double u) const { return u + curvature * u * u / 2; }

  /// Of the state v: [steps + 1][cells].
  SplitMatrices split(const std::vector<double>& v, int substeps) const {
    SplitMatrices out;
    out.slope = StencilFrames(steps + 1, cells, 1, 0, true);
    out.stiff = out.gentle = StencilFrames(steps + 1, cells, 1, 1, true);
    for (int j = 0; j <= steps; ++j)
      for (int i = 0; i < cells; ++i) {
        const double* u = &v[static_cast<size_t>(j) * cells];
        *out.slope.at(j, i, 0) = 1 + curvature * u[i];
        for (const int s : {-1, 1}) {
          *out.stiff.at(j, i, s) = nu / (dx() * dx());
          *out.gentle.at(j, i, s) = -s * u[(i + s + cells) % cells] / (2 * dx());
        }
        *out.stiff.at(j, i, 0) = -2 * nu / (dx() * dx());
      }
    out.dt.assign(steps, dt());
    out.theta.assign(steps, 0.5);
    out.substeps = substeps;
    return out;
  }

  /// The trapezoid march linearised at v.
  MarchMatrices march(const std::vector<double>& v) const {
    const SplitMatrices parts = split(v, 1);
    MarchMatrices out{StencilFrames(steps, cells, 1, 1, true), StencilFrames(steps, cells, 1, 1, true), true};
    for (int j = 0; j < steps; ++j)
      for (int i = 0; i < cells; ++i)
        for (int s = -1; s <= 1; ++s) {
          const auto slope_of_flux = [&](int frame) {
            return *parts.stiff.at(frame, i, s) + *parts.gentle.at(frame, i, s);
          };
          *out.implicit.at(j, i, s) =
              (s ? 0 : *parts.slope.at(j + 1, i, 0)) - dt() / 2 * slope_of_flux(j + 1);
          *out.previous.at(j, i, s) = (s ? 0 : *parts.slope.at(j, i, 0)) + dt() / 2 * slope_of_flux(j);
        }
    return out;
  }

  /// The nonlinear residual, [steps][cells].
  std::vector<double> residual(const std::vector<double>& v) const {
    std::vector<double> r(static_cast<size_t>(steps) * cells);
    for (int j = 0; j < steps; ++j)
      for (int i = 0; i < cells; ++i) {
        const auto rate = [&](int frame) {
          const double* u = &v[static_cast<size_t>(frame) * cells];
          const double left = u[(i + cells - 1) % cells], right = u[(i + 1) % cells];
          return -(right * right - left * left) / (4 * dx()) + nu * (left - 2 * u[i] + right) / (dx() * dx());
        };
        const size_t at = static_cast<size_t>(j) * cells + i;
        r[at] = storage(v[at + cells]) - storage(v[at]) - dt() / 2 * (rate(j) + rate(j + 1));
      }
    return r;
  }

  std::vector<double> field(const std::function<double(double x, double t)>& u) const {
    std::vector<double> v;
    for (int j = 0; j <= steps; ++j)
      for (int i = 0; i < cells; ++i) v.push_back(u((i + 0.5) * dx(), j * dt()));
    return v;
  }

  /// v minus `march`^-1 r(v), the initial frame kept.
  std::vector<double> corrected(std::vector<double> v, const LinearMarch& march) const {
    std::vector<double> e = residual(v);
    march.apply(e, e);
    for (size_t i = 0; i < e.size(); ++i) v[cells + i] -= e[i];
    return v;
  }
};

TEST(ImexMarch, IsOfFirstOrderInTimeAndOfSecondWithoutDiffusion) {
  const auto wave = [](double x, double t) { return 0.6 + 0.3 * std::sin(2 * pi * (x - 0.5 * t)); };
  for (const double nu : {0.02, 0.0}) {
    std::vector<double> differences;
    for (const int steps : {80, 160, 320}) {
      const Burgers burgers{32, steps, 1, nu, 0.4};
      const auto v = burgers.field(wave);
      std::vector<double> r;
      for (int j = 1; j <= steps; ++j)
        for (int i = 0; i < burgers.cells; ++i)
          r.push_back(burgers.dt() * std::cos(2 * pi * i / burgers.cells + 2 * burgers.dt() * (j - 0.5)));
      std::vector<double> imex(r.size()), direct(r.size());
      make_imex_march(burgers.split(v, 2))->apply(r, imex);
      make_direct_march(burgers.march(v))->apply(r, direct);
      differences.push_back(relative_difference(imex, direct));
    }
    for (size_t k = 1; k < differences.size(); ++k) {
      const double order = std::log2(differences[k - 1] / differences[k]);
      std::printf("nu %.2f: difference from the direct march %.2e, order %.2f\n", nu, differences[k], order);
      EXPECT_NEAR(order, nu > 0 ? 1 : 2, 0.2);
    }
  }
}

/// A steepening wave, its discrete solution and a smooth state that is wrong by about a tenth.
struct WrongWave {
  Burgers burgers{64, 40, 1, 0.01, 0};
  std::vector<double> exact, wrong;

  WrongWave() {
    exact = burgers.field([](double x, double) { return 0.3 + 0.6 * std::sin(2 * pi * x); });
    for (int iteration = 0; iteration < 30; ++iteration)
      exact = burgers.corrected(exact, *make_direct_march(burgers.march(exact)));
    wrong = exact;
    for (int j = 0; j <= burgers.steps; ++j)
      for (int i = 0; i < burgers.cells; ++i) {
        const double x = (i + 0.5) * burgers.dx(), t = j * burgers.dt();
        wrong[static_cast<size_t>(j) * burgers.cells + i] +=
            0.12 * std::sin(3 * t) * std::cos(4 * pi * (x - 0.4 * t));
      }
  }
  double error(const std::vector<double>& v) const { return relative_difference(v, exact); }
};

TEST(ImexMarch, CorrectsAWaveAlmostAsWellAsTheDirectMarch) {
  const WrongWave wave;
  EXPECT_LT(norm(wave.burgers.residual(wave.exact)), 1e-12);
  const auto direct = make_direct_march(wave.burgers.march(wave.wrong));
  const auto imex = make_imex_march(wave.burgers.split(wave.wrong, 2));
  const double before = wave.error(wave.wrong),
               by_direct = wave.error(wave.burgers.corrected(wave.wrong, *direct)),
               by_imex = wave.error(wave.burgers.corrected(wave.wrong, *imex));
  std::printf("error %.4f; after one correction: direct %.4f, IMEX %.4f\n", before, by_direct, by_imex);
  EXPECT_LT(by_imex, before / 4);
}

TEST(ImexMarch, SaysWhereItCannotMarch) {
  SplitMatrices split = random_split({3, 5, 2, 1, true, 2});
  for (int k = 0; k < 4; ++k) split.slope.at(1, 3, 0)[k] = 1;
  try {
    make_imex_march(split);
    FAIL() << "nothing was thrown";
  } catch (const NumericalError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("frame 1, cell 3"));
  }

  const Burgers burgers{64, 400, 1e6, 0.01, 0};
  const auto march = make_imex_march(burgers.split(burgers.field([](double, double) { return 1.0; }), 1));
  std::vector<double> r = random_field(64 * 400, 1);
  EXPECT_THROW(march->apply(r, r), NumericalError);
}

TEST(GmresMarch, EqualsTheDirectMarch) {
  const WrongWave wave;
  const MarchMatrices matrices = wave.burgers.march(wave.wrong);
  const auto direct = make_direct_march(matrices);
  const auto gmres = make_gmres_march(matrices, make_imex_march(wave.burgers.split(wave.wrong, 2)));
  EXPECT_TRUE(gmres->exact());
  EXPECT_LT(adjoint_defect(*gmres, 2), 1e-9);
  const auto r = random_field(wave.burgers.residual(wave.wrong).size() * 2, 5);
  for (const bool transposed : {false, true}) {
    std::vector<double> a(r.size()), b(r.size());
    transposed ? gmres->apply_transpose(r, a, 2) : gmres->apply(r, a, 2);
    transposed ? direct->apply_transpose(r, b, 2) : direct->apply(r, b, 2);
    EXPECT_LT(relative_difference(a, b), 1e-9);
  }
}

TEST(GmresMarch, AFewIterationsAreNotAnAdjointPair) {
  const WrongWave wave;
  const std::shared_ptr<const LinearMarch> imex = make_imex_march(wave.burgers.split(wave.wrong, 2));
  for (const int iterations : {1, 3, 10}) {
    const auto gmres = make_gmres_march(wave.burgers.march(wave.wrong), imex, {.max_iterations = iterations});
    EXPECT_FALSE(gmres->exact());
    const double error = wave.error(wave.burgers.corrected(wave.wrong, *gmres));
    std::printf("error after a correction by %d iterations: %.4f\n", iterations, error);
    EXPECT_LT(error, wave.error(wave.wrong) / 4);
  }
}

// The Krylov space of a singular march breaks down, after which GMRES's own residual is noise: it may claim
// anything.
TEST(GmresMarch, SaysThatItDidNotConverge) {
  MarchMatrices good{StencilFrames(2, 6), {}, false};
  for (double& value : good.implicit.values) value = 0;
  for (int j = 0; j < 2; ++j)
    for (int i = 0; i < 6; ++i) *good.implicit.at(j, i, 0) = 1 + 0.1 * i;
  MarchMatrices singular = good;
  *singular.implicit.at(1, 2, 0) = 0;
  const auto march = make_gmres_march(singular, make_direct_march(good));
  std::vector<double> r(12, 1.0);
  try {
    march->apply(r, r);
    FAIL() << "nothing was thrown";
  } catch (const NumericalError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("linear march: GMRES, column 0: "));
  }
}

template <class Body>
double best_milliseconds(Body&& body) {
  double best = 1e9;
  for (int repeat = 0; repeat < 10; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 1e3 * best;
}

TEST(ApproximateMarch, CostIsPrinted) {
  const WrongWave wave;
  const MarchMatrices matrices = wave.burgers.march(wave.wrong);
  const SplitMatrices split = wave.burgers.split(wave.wrong, 2);
  const std::shared_ptr<const LinearMarch> imex = make_imex_march(split);
  const std::pair<const char*, std::function<std::unique_ptr<LinearMarch>()>> kinds[] = {
      {"direct", [&] { return make_direct_march(matrices); }},
      {"PETSc LU", [&] { return make_petsc_march(matrices); }},
      {"IMEX", [&] { return make_imex_march(split); }},
      {"GMRES to 1e-12", [&] { return make_gmres_march(matrices, imex); }},
      {"GMRES, 5 iterations", [&] { return make_gmres_march(matrices, imex, {.max_iterations = 5}); }}};
  for (const auto& [name, make] : kinds) {
    std::unique_ptr<LinearMarch> march;
    std::vector<double> r = wave.burgers.residual(wave.wrong), e(r.size());
    const double build = best_milliseconds([&] { march = make(); });
    const double forward = best_milliseconds([&] { march->apply(r, e); });
    const double backward = best_milliseconds([&] { march->apply_transpose(r, e); });
    std::printf("%-20s built in %.3f ms, forward %.3f ms, transposed %.3f ms\n", name, build, forward,
                backward);
  }
}

}  // namespace
}  // namespace rankine
