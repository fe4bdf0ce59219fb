// Corrections under the Fourier discretisation on ranks: those of whole samples are Newton's, experts whose box is
// the whole ring find the same, narrow ones come near it, and all have the same bits on any number of ranks.
#include <cmath>

#include <gtest/gtest.h>

#include "src/experts/fourier_correction.hpp"
#include "src/experts/fourier_problem.hpp"
#include "src/pde/equation_pde.hpp"

namespace rankine {
namespace {

using Field = std::vector<double>;
constexpr int cells = 24, frames = 4, samples = 3;

/// Vorticity and a tracer that it carries, with a drawn diffusivity: samples 0 and 2 are alike.
const EquationPde& flow() {
  static const EquationPde pde(parse_deck_text(R"yaml(
length: [1, 1]
duration: 0.4
data_cells: 24
unknowns: [w, c]
discretisation: fourier
auxiliary: {psi: laplacian(psi) = -w}
parameters: {nu: {minimum: 0.002, maximum: 0.02}}
flux:
  w: {x: "w*d(psi,y) - nu*d(w,x)", y: "-w*d(psi,x) - nu*d(w,y)"}
  c: {x: "c*d(psi,y) - nu*d(c,x)", y: "-c*d(psi,x) - nu*d(c,y)"}
source: {w: "0.3*c", c: "0"}
walls: periodic
initial: {w: {fourier: {modes: 4, amplitude: 2}}, c: {fourier: {modes: 4, amplitude: 1}}}
)yaml",
                                               "deck.yaml"));
  return pde;
}

struct Case {
  explicit Case(const Communicator& communicator, PerAxis tiling = {1, 2, 4})
      : grid({frames, cells, cells}, std::move(tiling)),
        tiles(grid, communicator.size(), communicator.rank()),
        model(flow(), flow().grid({cells, cells}), {0, 0.1, 0.2, 0.3, 0.4}, 0.5, 0, {.state = "prediction"}) {
    const Field nu{0.004, 0.01, 0.004};
    for (int s = 0; s < samples; ++s) {
      long redrawn = 0;
      batch.ids.push_back(s);
      batch.parameters.push_back(nu[s]);
      Field initial(model.width());
      flow().initial_state(flow().draw_initial(RandomStream(2, "initial"), s, redrawn), {&nu[s], 1},
                           model.grid().centres(), initial);
      batch.initial.insert(batch.initial.end(), initial.begin(), initial.end());
      const FourierProblem problem(model, initial, {nu[s]}, {});
      exact.push_back(problem.solve_exactly());
      // A smooth error that grows with time.
      Field u(exact.back());
      for (long p = model.width(); p < static_cast<long>(u.size()); ++p) {
        const int cell = static_cast<int>(p / 2 % model.cells());
        const Place at = model.grid().centre(cell);
        u[p] += 0.02 * static_cast<double>(p / model.width()) *
                std::sin(2 * M_PI * (3 * at[0] + 2 * at[1]) + static_cast<double>(p % 2) + s);
      }
      given.push_back(std::move(u));
    }
  }
  Tensor on_tiles(const std::vector<Field>& u) const {
    Field all;
    for (std::int64_t tile = tiles.begin(); tile < tiles.end(); ++tile)
      for (int s = 0; s < samples; ++s)
        for (int a = 0; a < 2; ++a)
          over_rows(0, grid.points(), grid.extent(tile).begin, grid.tile_shape(), [&](std::int64_t first) {
            for (std::int64_t i = 0; i < grid.tile_shape().back(); ++i)
              all.push_back(u[s][model.width() + (first + i) * 2 + a]);
          });
    const PerAxis& shape = grid.tile_shape();
    return Tensor::from(all, {tiles.local_tiles(), samples, 2, shape[0], shape[1], shape[2]});
  }
  FormulationOptions local(std::vector<int> experts, int halo, int sweeps) const {
    FormulationOptions o;
    o.constraint = "local";
    o.experts = std::move(experts);
    o.halo = halo;
    o.sweeps = sweeps;
    return o;
  }
  /// Root mean square distance of what is on this rank from `u`.
  double distance(const Tensor& found, const std::vector<Field>& u) const {
    const Field a = found.to_vector(), b = on_tiles(u).to_vector();
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return std::sqrt(sum / static_cast<double>(a.size()));
  }

  TileGrid grid;
  TilePartition tiles;
  StorageModel model;
  PdeBatch batch;
  std::vector<Field> exact, given;
};

TEST(FourierCorrection, IsNewtonsOnWholeSamples) {
  const Communicator world = Communicator::world();
  const Case c(world);
  const Tensor found = FourierCorrection(c.model, world, c.tiles).corrected(c.on_tiles(c.given), c.batch);
  std::vector<Field> expected;
  for (int s = 0; s < samples; ++s) {
    const FourierProblem problem(c.model, {c.exact[s].begin(), c.exact[s].begin() + c.model.width()},
                                 {c.batch.parameters[s]}, {});
    Field u(c.given[s]);
    const CorrectionReport report = problem.correct(u, {.steps = 1, .rtol = 0});
    EXPECT_EQ(report.steps, 1);
    EXPECT_LT(report.residual_after, 0.1 * report.residual_before);
    expected.push_back(u);
  }
  EXPECT_LT(c.distance(found, expected), 1e-12);
  // Quadratic: the error falls by far more than a factor of ten.
  EXPECT_LT(c.distance(found, c.exact), 0.03 * c.distance(c.on_tiles(c.given), c.exact));
}

TEST(FourierCorrection, ExpertsOnTheWholeRingFindTheSame) {
  const Communicator world = Communicator::world();
  const Case c(world);
  const Tensor v = c.on_tiles(c.given);
  const Field whole = FourierCorrection(c.model, world, c.tiles).corrected(v, c.batch).to_vector();
  for (const std::vector<int>& experts : {std::vector{1, 1, 1}, {1, 2, 4}, {1, 2, 2}}) {
    const FourierExperts all(c.local(experts, cells / 2, 1), c.model, world, c.tiles);
    const Field found = all.corrected(v, c.batch).to_vector();
    for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(found[i], whole[i], 1e-11);
  }
}

TEST(FourierCorrection, AWiderHaloAndAnotherSweepComeNearer) {
  const Communicator world = Communicator::world();
  const Case c(world);
  const Tensor v = c.on_tiles(c.given);
  const auto error = [&](int halo, int sweeps) {
    const double own = c.distance(
        FourierExperts(c.local({1, 2, 2}, halo, sweeps), c.model, world, c.tiles).corrected(v, c.batch),
        c.exact);
    return world.max(own);
  };
  const double start = world.max(c.distance(v, c.exact)), narrow = error(2, 1);
  EXPECT_LT(narrow, 0.5 * start);
  EXPECT_LT(error(5, 1), 0.8 * narrow);
  EXPECT_LT(error(2, 2), 0.5 * narrow);
}

TEST(FourierCorrection, SameBitsOnAnyNumberOfRanks) {
  const Communicator world = Communicator::world(), alone = Communicator::self();
  const Case here(world), whole(alone);
  const auto check = [&](const TileCorrection& of_ranks, const TileCorrection& of_one) {
    const Field mine = of_ranks.corrected(here.on_tiles(here.given), here.batch).to_vector(),
                all = of_one.corrected(whole.on_tiles(whole.given), whole.batch).to_vector();
    const size_t tile = all.size() / here.grid.tiles();
    EXPECT_TRUE(std::equal(mine.begin(), mine.end(), all.begin() + here.tiles.begin() * tile));
  };
  check(FourierCorrection(here.model, world, here.tiles), FourierCorrection(whole.model, alone, whole.tiles));
  for (const std::vector<int>& experts : {std::vector{1, 2, 2}, {1, 1, 2}, {1, 2, 4}})
    check(FourierExperts(here.local(experts, 2, 2), here.model, world, here.tiles),
          FourierExperts(whole.local(experts, 2, 2), whole.model, alone, whole.tiles));
}

}  // namespace
}  // namespace rankine
