// The march over ranks against the direct march on one, for matrices of real equations: any distribution of
// tiles, rows out of whole matrices and out of boxes with margins, failures.
#include <cmath>
#include <numeric>
#include <random>

#include <gmock/gmock.h>

#include "solvers/distributed_march.hpp"
#include "solvers/petsc_session.hpp"
#include "src/comm/communicator.hpp"
#include "src/comm/tiles.hpp"
#include "src/deck/node.hpp"
#include "src/pde/burgers.hpp"
#include "src/pde/conservative_scheme.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "src/pde/equation_pde.hpp"
#include "src/pde/method_of_lines.hpp"
#include "tests/support/exercise_pde.hpp"

namespace rankine {
namespace {

using Field = std::vector<double>;
using kernels::StencilFrames;

constexpr int frames = 5;

Field random_field(size_t size, double low, double high, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Field out(size);
  for (double& x : out) x = uniform(engine);
  return out;
}

/// A PDE on a grid that is cut into tiles, which each rank owns a block of.
struct Case {
  const char* name;
  std::shared_ptr<const Pde> pde;
  std::vector<int> cells;
  PerAxis tiles;
};

/// Linearised at a random state: each frame has matrices of its own.
MarchMatrices march_of(const Case& c) {
  const Grid grid = c.pde->grid(c.cells);
  Field times, values;
  for (int j = 0; j <= frames; ++j)
    times.push_back(c.pde->duration() * (j + 0.3 * j * j) / (1 + 0.3 * frames) / frames);
  for (const PdeParameter& p : c.pde->parameters()) values.push_back(p.value);
  const ConservativeScheme scheme(*c.pde, grid, times, 0.5, 2,
                                  {values, {}, field_cells(*c.pde, {}, values, grid)});
  SchemePoint point(scheme, random_field(scheme.points() + scheme.width(), 0.2, 0.7, 1));
  return point.linearisation();
}

/// The march's rows of the cells of a tile, out of matrices on these cells and `margin` more around them. Rows
/// of the margin hold nonsense.
struct Cut {
  MarchMatrices matrices;
  MarchPart part;
};
std::unique_ptr<Cut> cut(const Case& c, const MarchMatrices& whole, const TileExtent& tile, int margin) {
  auto out = std::make_unique<Cut>();
  const int axes = static_cast<int>(c.cells.size());
  std::vector<std::vector<int>> along(axes);
  std::vector<int> sizes;
  for (int axis = 0; axis < axes; ++axis) {
    const int n = c.cells[axis];
    for (int i = static_cast<int>(tile.begin[axis + 1]) - margin; i < tile.end[axis + 1] + margin; ++i)
      if (c.pde->periodic(axis) || (i >= 0 && i < n)) along[axis].push_back(i);
    sizes.push_back(static_cast<int>(along[axis].size()));
  }
  const int total = std::accumulate(sizes.begin(), sizes.end(), 1, std::multiplies<>());
  std::vector<bool> owned(total, true);
  for (int cell = 0; cell < total; ++cell) {
    int number = 0, stride = total, rest = cell;
    for (int axis = 0; axis < axes; ++axis) {
      const int n = c.cells[axis];
      stride /= sizes[axis];
      const int i = along[axis][rest / stride];
      rest %= stride;
      owned[cell] = owned[cell] && i >= tile.begin[axis + 1] && i < tile.end[axis + 1];
      number = number * n + (i % n + n) % n;
    }
    out->part.numbers.push_back(number);
    if (owned[cell]) out->part.owned.push_back(cell);
  }
  out->matrices.history = whole.history;
  for (const auto which : {&MarchMatrices::implicit, &MarchMatrices::previous}) {
    const StencilFrames& from = whole.*which;
    StencilFrames& to = out->matrices.*which;
    if (axes == 1 || from.reach == 0) {
      to = StencilFrames(from.frames, total, from.unknowns, from.reach);
    } else {
      const int reach = c.pde->mixed_derivatives() ? from.reach - axes * (axes - 1) : from.reach;
      to = StencilFrames(from.frames,
                         std::make_shared<const kernels::StencilLayout>(
                             sizes, std::vector<bool>(axes, false), c.pde->mixed_derivatives(), reach / axes),
                         from.unknowns);
    }
    const long row = static_cast<long>(from.points() * from.block());
    for (int frame = 0; frame < from.frames; ++frame)
      for (int cell = 0; cell < total; ++cell)
        if (owned[cell])
          std::copy_n(from.at(frame, out->part.numbers[cell], -from.reach), row,
                      to.at(frame, cell, -to.reach));
        else
          std::fill_n(to.at(frame, cell, -to.reach), row, 7e77);
  }
  out->part.matrices = &out->matrices;
  return out;
}

/// The parts of this rank, and the numbers of its cells in the order of fields.
struct Share {
  std::vector<std::unique_ptr<Cut>> cuts;
  std::vector<MarchPart> parts;
  std::vector<int> cells;
};
Share share_of(const Communicator& ranks, const Case& c, const MarchMatrices& whole, bool boxes) {
  Share share;
  PerAxis points{1}, tiles{1};
  points.insert(points.end(), c.cells.begin(), c.cells.end());
  tiles.insert(tiles.end(), c.tiles.begin(), c.tiles.end());
  const TileGrid grid(points, tiles);
  const TilePartition partition(grid, ranks.size(), ranks.rank());
  for (auto tile = partition.begin(); tile < partition.end(); ++tile) {
    auto made = cut(c, whole, grid.extent(tile), 2);
    for (const int cell : made->part.owned) share.cells.push_back(made->part.numbers[cell]);
    if (boxes) share.parts.push_back(made->part);
    share.cuts.push_back(std::move(made));
  }
  if (!boxes) {
    std::vector<int> all(whole.implicit.cells);
    std::iota(all.begin(), all.end(), 0);
    share.parts.push_back({&whole, std::move(all), share.cells});
  }
  return share;
}

/// A rank's cells of a field of the whole grid.
Field part_of(const Field& whole, const std::vector<int>& cells, size_t per_cell) {
  Field out;
  const size_t frame = whole.size() / frames;
  for (int j = 0; j < frames; ++j)
    for (const int cell : cells) {
      const auto from = whole.begin() + static_cast<long>(j * frame + cell * per_cell);
      out.insert(out.end(), from, from + static_cast<long>(per_cell));
    }
  return out;
}

/// <a, b> over all ranks.
double dot(const Field& a, const Field& b) {
  double sum = std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  return sum;
}
double relative_difference(Field a, const Field& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return std::sqrt(dot(a, a) / dot(b, b));
}

class DistributedMarchTest : public testing::TestWithParam<Case> {
 protected:
  const Communicator world = Communicator::world();
};

TEST_P(DistributedMarchTest, AgreesWithTheDirectMarch) {
  const PetscSession session(0, nullptr);
  const Case& c = GetParam();
  MarchMatrices whole = march_of(c);
  const int m = whole.implicit.unknowns;
  struct Kind {
    bool history, boxes;
    int columns;
  };
  for (const auto& [history, boxes, columns] : {Kind{true, false, 1}, {true, true, 3}, {false, true, 1}}) {
    SCOPED_TRACE(testing::Message() << "history " << history << ", boxes " << boxes << ", columns "
                                    << columns);
    whole.history = history;
    const Share share = share_of(world, c, whole, boxes);
    const auto march = make_distributed_march(MPI_COMM_WORLD, share.parts);
    EXPECT_EQ(march->report().matrices, frames);
    const auto direct = make_direct_march(whole);
    const size_t size = static_cast<size_t>(whole.implicit.width()) * frames * columns;
    const Field r = random_field(size, -1, 1, 2), s = random_field(size, -1, 1, 3);
    Field e(size), l(size);
    direct->apply(r, e, columns);
    direct->apply_transpose(s, l, columns);
    const auto here = [&](const Field& field) { return part_of(field, share.cells, m * columns); };
    const Field own_r = here(r), own_s = here(s);
    Field own_e(own_r.size()), own_l(own_s);
    march->apply(own_r, own_e, columns);
    march->apply_transpose(own_l, own_l, columns);  // in place
    EXPECT_LT(relative_difference(own_e, here(e)), 1e-10);
    EXPECT_LT(relative_difference(own_l, here(l)), 1e-10);
    EXPECT_NEAR(dot(own_e, own_s), dot(own_r, own_l),
                1e-9 * std::sqrt(dot(own_e, own_e) * dot(own_s, own_s)));
    const MarchReport& report = march->report();
    EXPECT_TRUE(report.converged);
    EXPECT_EQ(report.solves, 2L * frames * columns);
    EXPECT_GE(report.least, 1);
    EXPECT_LE(report.least, report.mean());
    EXPECT_LE(report.mean(), report.most);
    EXPECT_LE(report.most, 60);
  }
}

TEST_P(DistributedMarchTest, OverTilesHasTheSameBitsOnAnyNumberOfRanks) {
  const Case& c = GetParam();
  MarchMatrices whole = march_of(c);
  const Communicator self = Communicator::self();
  for (const bool history : {true, false}) {
    SCOPED_TRACE(testing::Message() << "history " << history);
    whole.history = history;
    const Share share = share_of(world, c, whole, true), all = share_of(self, c, whole, true);
    const auto march = make_tile_march(MPI_COMM_WORLD, share.parts),
               alone = make_tile_march(MPI_COMM_SELF, all.parts);
    const auto direct = make_direct_march(whole);
    for (const int columns : {1, 3, 13}) {
      const int m = whole.implicit.unknowns * columns;
      const Field r = random_field(static_cast<size_t>(whole.implicit.cells) * m * frames, -1, 1, 2);
      const Field own = part_of(r, share.cells, m), of_all = part_of(r, all.cells, m);
      for (const bool transposed : {false, true}) {
        const auto apply = [&](const LinearMarch& by, const Field& field) {
          Field out(field);
          transposed ? by.apply_transpose(out, out, columns) : by.apply(out, out, columns);
          return out;
        };
        const Field found = apply(*march, own), found_alone = apply(*alone, of_all),
                    exact = apply(*direct, r);
        EXPECT_LT(relative_difference(found, part_of(exact, share.cells, m)), 1e-12);
        // The tiles of a rank stand together among those of all.
        const auto first =
            std::find(all.cells.begin(), all.cells.end(), share.cells.front()) - all.cells.begin();
        std::vector<int> here(share.cells.size());
        std::iota(here.begin(), here.end(), static_cast<int>(first));
        EXPECT_EQ(found, part_of(found_alone, here, m));
        // A column has the same bits whatever stands beside it.
        Field one;
        for (size_t i = 0; i < own.size(); i += columns) one.push_back(own[i]);
        transposed ? march->apply_transpose(one, one) : march->apply(one, one);
        for (size_t i = 0; i < one.size(); ++i) ASSERT_EQ(one[i], found[i * columns]);
      }
    }
  }
}

/// Solvers of the user's choice, with preconditioners of every kind that has a transpose.
TEST_P(DistributedMarchTest, TakesOtherSolvers) {
  const Case& c = GetParam();
  const MarchMatrices whole = march_of(c);
  const Share share = share_of(world, c, whole, true);
  const size_t size = static_cast<size_t>(whole.implicit.width()) * frames;
  const Field r = random_field(size, -1, 1, 2);
  Field e(size), l(size);
  const auto direct = make_direct_march(whole);
  direct->apply(r, e);
  direct->apply_transpose(r, l);
  const auto here = [&](const Field& field) { return part_of(field, share.cells, whole.implicit.unknowns); };
  for (const auto& [name, options] : std::initializer_list<std::pair<const char*, const char*>>{
           {"preonly with lu",
            "-march_ksp_type preonly -march_pc_type lu -march_pc_factor_mat_solver_type mumps"},
           {"ibcgs with bjacobi", "-march_ksp_type ibcgs -march_pc_type bjacobi"},
           {"gmres with asm", "-march_ksp_type gmres -march_pc_type asm"},
           {"gmres with jacobi", "-march_ksp_type gmres -march_pc_type jacobi -march_ksp_pc_side right"}}) {
    SCOPED_TRACE(name);
    const PetscSession session(0, nullptr, {options});
    const auto march = make_distributed_march(MPI_COMM_WORLD, share.parts);
    EXPECT_EQ(march->report().solver, name);
    Field own_e = here(r), own_l = own_e;
    march->apply(own_e, own_e);
    march->apply_transpose(own_l, own_l);
    EXPECT_LT(relative_difference(own_e, here(e)), 1e-10);
    EXPECT_LT(relative_difference(own_l, here(l)), 1e-10);
  }
}

std::shared_ptr<const Pde> equation(const std::string& yaml) {
  return std::make_shared<EquationPde>(parse_deck_text(yaml, "deck.yaml"));
}
const char* const box_2d = R"(
length: [1, 0.8]
duration: 0.5
flux: -(0.1 + u)*grad(u)
walls: {left: {value: 0.4}, right: {u: 2, u_x: 1, value: 0}, bottom: {slope: 0}, top: {slope: 0}}
initial: {expression: x*y}
)";

INSTANTIATE_TEST_SUITE_P(
    Equations, DistributedMarchTest,
    testing::Values(
        Case{"DiffusionSorption", std::make_shared<DiffusionSorption>(DiffusionSorptionOptions{}), {12}, {6}},
        Case{"PeriodicBurgers", std::make_shared<Burgers>(BurgersOptions{}), {12}, {4}},
        Case{"PeriodicSystem", std::make_shared<ExercisePde>(true), {10}, {5}},
        Case{"SystemBetweenWalls", std::make_shared<ExercisePde>(false), {12}, {4}},
        Case{"DiffusionOnABox", equation(box_2d), {9, 4}, {3, 2}},
        Case{"SystemOfTwoAxes", std::make_shared<ExercisePde>(false, 2), {6, 6}, {2, 3}},
        Case{"SystemOfTwoAxesWithARing", std::make_shared<ExercisePde>(true, 2), {6, 4}, {2, 4}},
        Case{"LimitedSystemOfTwoAxesWithARing",
             std::make_shared<ExercisePde>(true, 2, Convection::limited),
             {6, 4},
             {3, 2}},
        Case{"SystemOfThreeAxesWithARing", std::make_shared<ExercisePde>(true, 3), {4, 2, 6}, {2, 1, 3}}),
    [](const auto& info) { return info.param.name; });

Case diffusion() { return {"", equation(box_2d), {9, 4}, {3, 2}}; }

/// What the march says where it fails; the same on all ranks, or the test would wait for ever.
std::string failure(const std::vector<MarchPart>& parts, MarchReport* report = nullptr) {
  try {
    const auto march = make_distributed_march(MPI_COMM_WORLD, parts);
    Field r(static_cast<size_t>(frames) * march->width(), 1);
    try {
      march->apply(r, r);
    } catch (const NumericalError&) {
      if (report) *report = march->report();
      throw;
    }
  } catch (const NumericalError& error) {
    return error.what();
  }
  return "";
}

TEST(DistributedMarch, SharesMatricesThatAllRanksFindEqual) {
  const PetscSession session(0, nullptr);
  const Communicator world = Communicator::world();
  MarchMatrices whole = march_of(diffusion());
  StencilFrames& a = whole.implicit;
  for (int frame = 1; frame < frames; ++frame)
    std::copy_n(a.at(0, 0, -a.reach), a.frame_size(), a.at(frame, 0, -a.reach));
  // Frames 1 and 3 differ from the others in one row, which one rank owns.
  for (const int frame : {1, 3}) *a.at(frame, 35, 0) *= 2;
  const Share share = share_of(world, diffusion(), whole, true);
  const auto march = make_distributed_march(MPI_COMM_WORLD, share.parts);
  EXPECT_EQ(march->report().matrices, 2);
  const Field r = random_field(static_cast<size_t>(a.width()) * frames, -1, 1, 4);
  Field e(r.size()), own = part_of(r, share.cells, 1);
  make_direct_march(whole)->apply(r, e);
  march->apply(own, own);
  EXPECT_LT(relative_difference(own, part_of(e, share.cells, 1)), 1e-10);
}

TEST(DistributedMarch, SaysWhichSolveDidNotConverge) {
  const Communicator world = Communicator::world();
  const MarchMatrices whole = march_of(diffusion());
  const Share share = share_of(world, diffusion(), whole, true);
  const PetscSession session(0, nullptr, {"-march_ksp_max_it 1 -march_pc_type jacobi"});
  MarchReport report;
  const std::string ranks = std::to_string(world.size()) + (world.size() > 1 ? " ranks" : " rank");
  EXPECT_EQ(
      failure(share.parts, &report),
      "linear march over " + ranks +
          ": frame 0, column 0: bcgs with jacobi ended with DIVERGED_ITS after 1 iterations; change solver, "
          "preconditioner or iterations through PETSc options with the prefix march_, for example "
          "'-march_ksp_type preonly -march_pc_type lu -march_pc_factor_mat_solver_type mumps' for a direct "
          "solve");
  EXPECT_FALSE(report.converged);
  EXPECT_EQ(report.most, 1);
}

TEST(DistributedMarch, RefusesSingularMatrices) {
  const PetscSession session(0, nullptr);
  const Communicator world = Communicator::world();
  MarchMatrices whole = march_of(diffusion());
  StencilFrames& a = whole.implicit;
  // Insulated walls and no storage: rows that sum to zero.
  for (int cell = 0; cell < a.cells; ++cell) {
    double sum = 0;
    for (int s = -a.reach; s <= a.reach; ++s) {
      double& entry = *a.at(2, cell, s);
      if (s != 0) entry = a.neighbour(cell, s) < 0 ? 0 : -1;
      if (s != 0) sum += entry;
    }
    *a.at(2, cell, 0) = -sum;
  }
  const Share share = share_of(world, diffusion(), whole, true);
  EXPECT_THAT(failure(share.parts), testing::HasSubstr(": frame 2, "));
  // One row of zeros, which one rank owns.
  for (int s = -a.reach; s <= a.reach; ++s) *a.at(2, 17, s) = 0;
  const Share zero = share_of(world, diffusion(), whole, true);
  EXPECT_THAT(failure(zero.parts),
              testing::HasSubstr(": frame 2, the preconditioner cannot be made (a pivot vanishes); change"));
}

TEST(TileMarch, TakesATileWithoutNeighboursOrWithoutInnerCells) {
  Case c = diffusion();
  const MarchMatrices whole = march_of(c);
  const Communicator self = Communicator::self();
  const Field r = random_field(static_cast<size_t>(whole.implicit.cells) * frames, -1, 1, 2);
  for (const PerAxis& tiles : {PerAxis{1, 1}, {9, 4}}) {
    c.tiles = tiles;
    const Share share = share_of(self, c, whole, true);
    const auto march = make_tile_march(MPI_COMM_SELF, share.parts);
    for (const bool transposed : {false, true}) {
      Field e(r), own = part_of(r, share.cells, 1);
      const auto direct = make_direct_march(whole);
      transposed ? direct->apply_transpose(e, e) : direct->apply(e, e);
      transposed ? march->apply_transpose(own, own) : march->apply(own, own);
      EXPECT_LT(relative_difference(own, part_of(e, share.cells, 1)), 1e-12);
    }
  }
}

TEST(TileMarch, RefusesSingularMatrices) {
  const Communicator world = Communicator::world();
  MarchMatrices whole = march_of(diffusion());
  StencilFrames& a = whole.implicit;
  const auto failure_with_zeros = [&](int cell) {
    const Field kept = a.values;
    for (int s = -a.reach; s <= a.reach; ++s) *a.at(2, cell, s) = 0;
    const Share share = share_of(world, diffusion(), whole, true);
    a.values = kept;
    try {
      make_tile_march(MPI_COMM_WORLD, share.parts);
    } catch (const NumericalError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(
      failure_with_zeros(35),
      "linear march over tiles: the matrix of frame 2 is singular in tile 5; take smaller time steps, linearise "
      "about another state or march by GMRES");
  EXPECT_THAT(failure_with_zeros(8), testing::HasSubstr(" is singular in the interface of the tiles; "));
}

TEST(DistributedMarch, FindsCellsWithoutAnOwnerOrWithTwo) {
  const PetscSession session(0, nullptr);
  const Communicator world = Communicator::world();
  const MarchMatrices whole = march_of(diffusion());
  Share share = share_of(world, diffusion(), whole, false);
  MarchPart& part = share.parts.front();
  if (world.rank() == 0) part.owned.front() = part.owned.back();
  EXPECT_THROW(make_distributed_march(MPI_COMM_WORLD, share.parts), std::logic_error);
  if (world.rank() == 0) part.owned.pop_back();
  EXPECT_THROW(make_distributed_march(MPI_COMM_WORLD, share.parts), std::logic_error);
}

}  // namespace
}  // namespace rankine
