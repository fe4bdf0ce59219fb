// The residual of a linear scheme for many samples, its march and its storage: each sample has the bits that
// plain loops over it alone give. Compiled a second time with the bodies of a device.
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "kernels/linear_scheme.hpp"
#include "kernels/tridiagonal_march.hpp"
#include "tests/support/on_device.hpp"
#ifdef RANKINE_EMULATE_DEVICE
#include "tests/support/needed_barriers.hpp"
#endif

namespace rankine::kernels {
namespace {

using testing::OnDevice;
using Index = std::int64_t;
using Numbers = std::vector<double>;

Numbers draw(Index count, std::mt19937& rng, double low = -1, double high = 1) {
  std::uniform_real_distribution<double> uniform(low, high);
  Numbers values(static_cast<std::size_t>(count));
  for (double& v : values) v = uniform(rng);
  return values;
}
double at(const Numbers& v, Index i) { return v[static_cast<std::size_t>(i)]; }

constexpr Index kSamples[] = {1, 3, 4, 13};
constexpr std::pair<int, int> kExtents[] = {{1, 1}, {2, 2}, {5, 7}};  // frames, cells

struct Problem {
  int frames, cells;
  std::mt19937 rng{static_cast<unsigned>(10 * frames + cells)};
  Numbers stencil = draw(3 * cells, rng), constant = draw(cells, rng), now = draw(frames, rng, 1, 2),
          before = draw(frames, rng, 1, 2);
  OnDevice<double> stencil_there{stencil}, constant_there{constant}, now_there{now}, before_there{before};
  LinearScheme scheme{
      frames, cells, 3.5, stencil_there.read(), constant_there.read(), now_there.read(), before_there.read()};

  Index later(Index samples) const { return samples * frames * cells; }
  Index states(Index samples) const { return samples * (frames + 1) * cells; }
  Numbers residual(Index samples, const Numbers& u, const Numbers& storage) const {
    const OnDevice<double> state(u), stored(storage), r(Numbers(static_cast<std::size_t>(later(samples))));
    linear_residual(scheme, samples, state.read(), stored.read(), r.data());
    return r.values();
  }
  double spatial(const Numbers& u, Index frame, Index i) const {
    const Index p = frame * cells + i;
    double sum = at(constant, i);
    if (i > 0) sum = multiply_add(at(stencil, 3 * i), at(u, p - 1), sum);
    sum = multiply_add(at(stencil, 3 * i + 1), at(u, p), sum);
    return i + 1 < cells ? multiply_add(at(stencil, 3 * i + 2), at(u, p + 1), sum) : sum;
  }
};

TEST(LinearScheme, ResidualsAreThoseOfTheSamplesAlone) {
  for (const auto& [frames, cells] : kExtents)
    for (const Index samples : kSamples) {
      Problem p{frames, cells};
      const Numbers u = draw(p.states(samples), p.rng), storage = draw(p.states(samples), p.rng),
                    r = p.residual(samples, u, storage);
      for (Index s = 0; s < samples; ++s)
        for (Index j = 0; j < frames; ++j)
          for (Index i = 0; i < cells; ++i) {
            const Index old = s * (frames + 1) + j, q = old * cells + i;
            const double change = multiply_add(-at(p.now, j), p.spatial(u, old + 1, i),
                                               at(storage, q + cells) - at(storage, q));
            EXPECT_EQ(at(r, (j * cells + i) * samples + s),
                      multiply_add(-at(p.before, j), p.spatial(u, old, i), change) / 3.5);
          }
    }
}

// r is affine in u and M(u) together, so that r'(u) v is a difference of residuals.
TEST(LinearScheme, TransposedIsTheAdjoint) {
  for (const auto& [frames, cells] : kExtents)
    for (const Index samples : kSamples) {
      Problem p{frames, cells};
      const Numbers u = draw(p.states(samples), p.rng), storage = draw(p.states(samples), p.rng),
                    slope = draw(p.states(samples), p.rng), s = draw(p.later(samples), p.rng);
      Numbers v = draw(p.states(samples), p.rng), moved = u, moved_storage = storage;
      for (Index q = 0; q < p.states(samples); ++q) {
        if (q / cells % (frames + 1) == 0) v[static_cast<std::size_t>(q)] = 0;
        moved[static_cast<std::size_t>(q)] += at(v, q);
        moved_storage[static_cast<std::size_t>(q)] += at(slope, q) * at(v, q);
      }
      const OnDevice<double> slopes(slope), seed(s), out(Numbers(static_cast<std::size_t>(p.later(samples))));
      linear_residual_transposed(p.scheme, samples, slopes.read(), seed.read(), out.data());
      const Numbers pulled = out.values(), before = p.residual(samples, u, storage),
                    after = p.residual(samples, moved, moved_storage);
      double forward = 0, backward = 0;
      for (Index q = 0; q < p.later(samples); ++q) {
        forward += at(s, q) * (at(after, q) - at(before, q));
        const Index sample = q / (frames * cells);
        backward += at(pulled, q) * at(v, q + (sample + 1) * cells);
      }
      EXPECT_NEAR(forward, backward, 1e-14 * static_cast<double>(p.states(samples)));
    }
}

TEST(LinearScheme, LengthsAddSquaresInOrder) {
  constexpr Index rows = 37;
  for (const Index columns : kSamples) {
    std::mt19937 rng(static_cast<unsigned>(columns));
    Numbers x = draw(rows * columns, rng);
    for (Index r = 0; r < rows; ++r) x[static_cast<std::size_t>(r * columns)] = 0;
    const OnDevice<double> there(x), length(Numbers(static_cast<std::size_t>(columns))),
        inverse(Numbers(static_cast<std::size_t>(columns)));
    column_lengths(rows, columns, there.read(), length.data(), inverse.data());
    for (Index c = 0; c < columns; ++c) {
      double sum = 0;
      for (Index r = 0; r < rows; ++r) sum += rounded_product(at(x, r * columns + c), at(x, r * columns + c));
      EXPECT_EQ(at(length.values(), c), std::sqrt(sum));
      EXPECT_EQ(at(inverse.values(), c), c == 0 ? 0 : 1 / std::sqrt(sum));
    }
  }
}

TEST(LinearScheme, StorageIsFreundlichs) {
  const Freundlich law{2.15691, 0.874, 1e-6};
  std::mt19937 rng(5);
  Numbers u = draw(200, rng, -0.1, 1);
  u.push_back(0);
  u.push_back(std::numeric_limits<double>::quiet_NaN());
  const auto storage = [&](const Numbers& states) {
    const OnDevice<double> there(states), value(states), slope(states);
    freundlich_storage(law, static_cast<Index>(states.size()), there.read(), value.data(), slope.data());
    return std::pair(value.values(), slope.values());
  };
  const auto [value, slope] = storage(u);
  for (Index i = 0; i < 201; ++i) {
    const double x = at(u, i), v = std::max(x, 0.0) + 1e-6, least = std::pow(1e-6, 0.874);
    const double expected_slope = 1 + 2.15691 * std::pow(v, 0.874 - 1);
    EXPECT_NEAR(at(slope, i), expected_slope, 1e-14 * expected_slope) << x;
    const double expected = x <= 0 ? x * expected_slope : x + 2.15691 / 0.874 * (std::pow(v, 0.874) - least);
    EXPECT_NEAR(at(value, i), expected, 1e-14) << x;
    const auto [alone, slope_alone] = storage({x});
    EXPECT_EQ(alone.front(), at(value, i));
    EXPECT_EQ(slope_alone.front(), at(slope, i));
  }
  EXPECT_TRUE(std::isnan(value.back()));
}

// A march of random factors, and the same on the device.
struct Marches {
  int frames, cells;
  std::mt19937 rng{7};
  TridiagonalMarch march;

  Marches(int frames_, int cells_) : frames(frames_), cells(cells_) {
    march.cells = cells;
    for (TridiagonalFactors* f : {&march.factors, &march.transposed_factors})
      for (Numbers* band : {&f->down, &f->inverse_diagonal, &f->up}) *band = draw(2 * cells, rng);
    for (TridiagonalBands* b : {&march.history, &march.transposed_history})
      for (Numbers* band : {&b->lower, &b->diagonal, &b->upper}) *band = draw(2 * cells, rng);
    for (int j = 0; j < frames; ++j) {
      march.factor_of_frame.push_back(j % 2);
      march.history_of_frame.push_back(j / 2 % 2);
    }
  }
  Numbers on_device(bool backward, int columns, const Numbers& rhs) const {
    const TridiagonalFactors& f = backward ? march.transposed_factors : march.factors;
    const TridiagonalBands& b = backward ? march.transposed_history : march.history;
    const OnDevice<std::int32_t> factor(march.factor_of_frame), history(march.history_of_frame);
    const OnDevice<double> down(f.down), inverse(f.inverse_diagonal), up(f.up), lower(b.lower),
        diagonal(b.diagonal), upper(b.upper), there(rhs);
    tridiagonal_march(
        {frames, cells, march.with_history, backward, down.read(), inverse.read(), up.read(), lower.read(),
         diagonal.read(), upper.read(), DevicePtr<const std::int32_t>(factor.data()),
         DevicePtr<const std::int32_t>(history.data())},
        columns, there.read(), there.data());
    return there.values();
  }
};

TEST(LinearScheme, MarchesAreThoseOfTheHost) {
  for (const auto& [frames, cells] : {std::pair(1, 1), std::pair(6, 5), std::pair(3, 32), std::pair(4, 71)}) {
    Marches m(frames, cells);
    for (const bool backward : {false, true})
      for (const bool with_history : {true, false})
        for (const int columns : {1, 2, 3, 4, 7, 8, 9, 12, 21}) {
          m.march.with_history = with_history;
          const Numbers rhs = draw(Index(frames) * cells * columns, m.rng);
          Numbers expected(rhs.size());
          tridiagonal_march(m.march, backward, rhs.data(), expected.data(), frames, columns);
          EXPECT_EQ(m.on_device(backward, columns, rhs), expected)
              << columns << " columns of " << cells << " cells" << (backward ? ", backward" : "");
        }
  }
}

#ifdef RANKINE_EMULATE_DEVICE
TEST(LinearScheme, EachBarrierOfTheMarchIsNeeded) {
  Marches m(3, 40);
  const Numbers rhs = draw(3 * 40, m.rng);
  // All but that after the last frame.
  EXPECT_EQ(test::needed_barriers(3, [&] { return m.on_device(false, 1, rhs); }), (std::vector<int>{0, 1}));
}
#endif

}  // namespace
}  // namespace rankine::kernels
