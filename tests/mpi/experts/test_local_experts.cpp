// Corrections that stay on the tiles. By experts on their own tiles: against dense solves of the restricted
// march, the same bits on any number of ranks. By one march over all ranks: against the direct one. Derivatives
// of both against central differences. Experts' fits: against those of whole samples.
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "solvers/petsc_session.hpp"
#include "src/experts/local_experts.hpp"
#include "src/experts/spread_correction.hpp"
#include "src/experts/tile_fit.hpp"
#include "src/pde/burgers.hpp"
#include "src/pde/equation_pde.hpp"

namespace rankine {
namespace {

using Field = std::vector<double>;
constexpr int frames = 4, samples = 2;

struct Case {
  std::string name;
  std::shared_ptr<const Pde> pde;
  std::vector<int> cells, tiles, experts;
  int halo, sweeps;
  std::vector<int> learned = {};
};

std::shared_ptr<const Pde> equation(const std::string& yaml) {
  return std::make_shared<EquationPde>(parse_deck_text(yaml, "deck.yaml"));
}

std::vector<Case> cases() {
  const std::string plate = R"yaml(
length: [1, 2]
duration: 0.3
data_cells: 16
parameters: {D: 0.04, c: {minimum: 0.2, maximum: 0.6}}
unknowns: [u, v]
flux:
  u: {x: "-D*(1 + u^2)*d(u,x) + c*u*v - 0.01*d(v,y)", y: "-D*d(u,y)"}
  v: "-0.05*grad(v)"
source: {u: "v - u^3", v: "x*y - u"}
walls:
  left: {u: {value: "1 + t"}, v: {slope: 0}}
  right: {u: {slope: 0.1}, v: {v: 2, v_x: 1, value: y}}
  bottom: {u: {slope: -0.2}, v: {value: 0}}
  top: {u: {slope: 0}, v: {slope: 0}}
initial: {u: {expression: "1 + 0.3*sin(3*x)*y"}, v: {gaussian_random_field: {length_scale: 0.4}}}
)yaml";
  const std::string cylinder = R"yaml(
length: [1, 1]
duration: 0.5
data_cells: 16
convection: limited
flux: {x: "u^2/2 - 0.005*d(u,x)", y: "0.3*u - 0.005*d(u,y)"}
walls: {x: periodic, bottom: {value: 0.2}, top: {slope: 0}}
initial: {expression: "0.5 + 0.3*sin(2*pi*x)*y"}
)yaml";
  const std::string ground = R"yaml(
length: [1, 1]
data_cells: 16
steady: true
flux: -(1 + u^2)*grad(u)
source: "1 + x"
walls: {left: {value: 0}, right: {value: 0}, bottom: {slope: 0}, top: {slope: 0.1}}
)yaml";
  BurgersOptions ring;
  return {{"ring", std::make_shared<Burgers>(ring), {16}, {1, 4}, {1, 4}, 2, 2},
          {"ring_of_wide_experts", std::make_shared<Burgers>(ring), {16}, {1, 4}, {1, 2}, 4, 1},
          {"plate", equation(plate), {8, 8}, {1, 2, 2}, {1, 2, 2}, 2, 2, {0, 1}},
          {"plate_of_fewer_experts", equation(plate), {8, 8}, {1, 2, 2}, {1, 1, 2}, 1, 1, {1}},
          {"ground", equation(ground), {8, 8}, {1, 2, 2}, {1, 2, 2}, 1, 2},
          {"cylinder", equation(cylinder), {12, 12}, {1, 2, 2}, {1, 2, 2}, 2, 1}};
}

struct Problem {
  Problem(const Case& c, const Communicator& communicator)
      : of(c),
        grid(points(), PerAxis(c.tiles.begin(), c.tiles.end())),
        tiles(grid, communicator.size(), communicator.rank()) {
    const Pde& pde = *of.pde;
    for (int j = 0; j <= steps(); ++j) times.push_back(pde.duration() * j / steps());
    options.constraint = "local";
    options.experts = of.experts;
    options.halo = of.halo;
    options.sweeps = of.sweeps;
    options.march.state = "prediction";
    model = std::make_unique<StorageModel>(pde, pde.grid(of.cells), times, 0.5, 1, options.march);
    experts = std::make_unique<LocalExperts>(options, *model, communicator, tiles, of.learned);
    for (int s = 0; s < samples; ++s) {
      long redrawn = 0;
      batch.ids.push_back(5 + s);
      Field values;
      for (const PdeParameter& p : pde.parameters()) values.push_back(p.at(0.3 + 0.4 * s));
      batch.parameters.insert(batch.parameters.end(), values.begin(), values.end());
      Field initial(model->width());
      pde.initial_state(pde.draw_initial(RandomStream(1, "initial"), s, redrawn), values,
                        model->grid().centres(), initial);
      batch.initial.insert(batch.initial.end(), initial.begin(), initial.end());
    }
    Field learned;
    for (const int l : of.learned) learned.push_back(batch.parameters[l]);
    if (!learned.empty()) batch.learned = Tensor::from(learned, {static_cast<std::int64_t>(learned.size())});
  }
  int steps() const { return of.pde->steady() ? 1 : frames; }
  PerAxis points() const {
    PerAxis all{steps()};
    all.insert(all.end(), of.cells.begin(), of.cells.end());
    return all;
  }
  /// A field near the initial state: [sample][frame][cell][unknown].
  double value(int s, int j, int cell, int a) const {
    const double start =
        batch.initial[(static_cast<size_t>(s) * model->cells() + cell) * model->unknowns() + a];
    return start * (1 - 0.05 * (j + 1)) + 0.1 * std::sin(0.7 * cell + 1.3 * j + 2 * a + s);
  }
  Tensor field() const {
    Field all;
    const int cells = model->cells();
    for (std::int64_t tile = tiles.begin(); tile < tiles.end(); ++tile)
      for (int s = 0; s < samples; ++s)
        for (int a = 0; a < model->unknowns(); ++a)
          over_rows(0, grid.points(), grid.extent(tile).begin, grid.tile_shape(), [&](std::int64_t first) {
            for (std::int64_t i = 0; i < grid.tile_shape().back(); ++i)
              all.push_back(
                  value(s, static_cast<int>((first + i) / cells), static_cast<int>((first + i) % cells), a));
          });
    std::vector<std::int64_t> shape{tiles.local_tiles(), samples, model->unknowns()};
    shape.insert(shape.end(), grid.tile_shape().begin(), grid.tile_shape().end());
    return Tensor::from(all, Shape(shape));
  }

  Case of;
  TileGrid grid;
  TilePartition tiles;
  Field times;
  FormulationOptions options;
  std::unique_ptr<StorageModel> model;
  std::unique_ptr<LocalExperts> experts;
  PdeBatch batch;
};

class LocalExpertsTest : public testing::TestWithParam<Case> {};

/// x <- A^-1 x by elimination with pivoting.
void solve_dense(std::vector<Field> a, Field& x) {
  const size_t n = x.size();
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    for (size_t i = k; i < n; ++i)
      if (std::abs(a[i][k]) > std::abs(a[pivot][k])) pivot = i;
    std::swap(a[k], a[pivot]);
    std::swap(x[k], x[pivot]);
    for (size_t i = k + 1; i < n; ++i) {
      const double factor = a[i][k] / a[k][k];
      for (size_t j = k; j < n; ++j) a[i][j] -= factor * a[k][j];
      x[i] -= factor * x[k];
    }
  }
  for (size_t k = n; k-- > 0;) {
    for (size_t j = k + 1; j < n; ++j) x[k] -= a[k][j] * x[j];
    x[k] /= a[k][k];
  }
}

/// One sweep of one sample from the definition: rows and columns of the whole march outside an expert's tile
/// and halo are left out. u is [frame][cell][unknown] with the initial one.
Field swept(const Problem& p, const StorageProblem& sample, const Field& u) {
  SchemePoint point = sample.at(u);
  const Field r = point.residual();
  const MarchMatrices march = point.linearisation();
  const Grid& grid = p.model->grid();
  const int m = p.model->unknowns(), width = p.model->width();
  Field out(u);
  for (const Box& box : equal_boxes(p.steps(), grid, p.of.experts)) {
    std::vector<int> inside, kept;
    for (int cell = 0; cell < grid.cells(); ++cell) {
      bool near = true, own = true;
      for (int axis = 0; axis < grid.axes(); ++axis) {
        const int i = grid.index(cell, axis), n = grid.cells(axis), size = box.end[axis] - box.begin[axis];
        const bool ring = p.of.pde->periodic(axis);
        own = own && i >= box.begin[axis] && i < box.end[axis];
        // Where an expert would meet its own margin it has the whole ring.
        const int reach = p.of.pde->convection() == Convection::limited ? 2 : 1;
        if (ring && size + 2 * (p.of.halo + reach) >= n) continue;
        const int ahead = ring ? (i - box.begin[axis] + p.of.halo + n) % n : i - box.begin[axis] + p.of.halo;
        near = near && ahead >= 0 && ahead < size + 2 * p.of.halo;
      }
      if (near) inside.push_back(cell);
      if (own) kept.push_back(cell);
    }
    const size_t n = inside.size() * m;
    const auto dense = [&](const kernels::StencilFrames& from, int j) {
      std::vector<Field> a(n, Field(n));
      for (size_t i = 0; i < inside.size(); ++i)
        for (int s = -from.reach; s <= from.reach; ++s) {
          const auto to = std::find(inside.begin(), inside.end(), from.neighbour(inside[i], s));
          if (to == inside.end()) continue;
          for (int row = 0; row < m; ++row)
            for (int column = 0; column < m; ++column)
              a[i * m + row][(to - inside.begin()) * m + column] +=
                  from.at(j, inside[i], s)[row * m + column];
        }
      return a;
    };
    Field before(n);
    for (int j = 0; j < p.steps(); ++j) {
      Field e(n);
      const std::vector<Field> b = dense(march.previous, j);
      for (size_t i = 0; i < inside.size(); ++i)
        for (int a = 0; a < m; ++a) {
          double& x = e[i * m + a] = r[static_cast<long>(j) * width + inside[i] * m + a];
          for (size_t k = 0; k < n && j > 0; ++k) x += b[i * m + a][k] * before[k];
        }
      solve_dense(dense(march.implicit, j), e);
      for (size_t i = 0; i < inside.size(); ++i)
        if (std::find(kept.begin(), kept.end(), inside[i]) != kept.end())
          for (int a = 0; a < m; ++a) out[(j + 1L) * width + inside[i] * m + a] -= e[i * m + a];
      before = e;
    }
  }
  return out;
}

TEST_P(LocalExpertsTest, SolvesTheRestrictedMarch) {
  const Communicator world = Communicator::world();
  const Problem p(GetParam(), world);
  const Field found = p.experts->corrected(p.field(), p.batch).to_vector();
  const int m = p.model->unknowns(), cells = p.model->cells(), width = p.model->width();
  size_t at = 0;
  std::vector<Field> expected;
  for (int s = 0; s < samples; ++s) {
    const size_t count = p.batch.parameters.size() / samples;
    SchemeParameters parameters;
    parameters.values.assign(p.batch.parameters.begin() + s * count,
                             p.batch.parameters.begin() + (s + 1) * count);
    for (size_t l = 0; l < p.of.learned.size(); ++l)
      parameters.values[p.of.learned[l]] = p.batch.learned.to_vector()[l];
    const Field initial(p.batch.initial.begin() + s * width, p.batch.initial.begin() + (s + 1) * width);
    const StorageProblem sample = p.model->sample(initial, parameters);
    Field u(initial);
    for (int j = 0; j < p.steps(); ++j)
      for (int cell = 0; cell < cells; ++cell)
        for (int a = 0; a < m; ++a) u.push_back(p.value(s, j, cell, a));
    for (int sweep = 0; sweep < p.of.sweeps; ++sweep) u = swept(p, sample, u);
    expected.push_back(u);
  }
  for (std::int64_t tile = p.tiles.begin(); tile < p.tiles.end(); ++tile)
    for (int s = 0; s < samples; ++s)
      for (int a = 0; a < m; ++a)
        over_rows(0, p.grid.points(), p.grid.extent(tile).begin, p.grid.tile_shape(),
                  [&](std::int64_t first) {
                    for (std::int64_t i = 0; i < p.grid.tile_shape().back(); ++i, ++at)
                      EXPECT_NEAR(found[at], expected[s][width + (first + i) * m + a], 1e-10);
                  });
  EXPECT_EQ(at, found.size());
}

/// The gradients of <bar, correct(v)> by v and the learned parameters.
template <class Correction>
void check_derivatives(const Problem& p, const Communicator& world, const Correction& correction) {
  const Tensor v = p.field(), bar = add(square(v), Tensor::full({1}, DType::f64, 0.3));
  Field direction(v.count());
  for (size_t i = 0; i < direction.size(); ++i) direction[i] = std::cos(1.7 * i + p.tiles.begin());
  const auto loss = [&](double h, double by_parameter) {
    const NoGrad off;
    PdeBatch batch = p.batch;
    if (!p.of.learned.empty())
      batch.learned = add(batch.learned, Tensor::full({1}, DType::f64, by_parameter));
    const Tensor at = add(v, scale(Tensor::from(direction, v.shape()), h));
    const double own = sum(mul(correction.corrected(at, batch), bar)).item();
    double total = 0;
    for (const double part : world.all_gather(own)) total += part;
    return total;
  };
  PdeBatch batch = p.batch;
  std::vector<Tensor> inputs{variable(v)};
  if (!p.of.learned.empty()) inputs.push_back(batch.learned = variable(batch.learned));
  const Tensor u = correction.corrected(inputs[0], batch);
  const std::vector<Tensor> found = grad({u}, {bar}, inputs);
  const Field by_field = found[0].to_vector();
  double own = std::inner_product(by_field.begin(), by_field.end(), direction.begin(), 0.0), along = 0;
  for (const double part : world.all_gather(own)) along += part;
  const double h = 1e-4;
  const auto central = [&](auto&& f) { return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h); };
  const double expected = central([&](double x) { return loss(x, 0); });
  EXPECT_NEAR(along, expected, 1e-7 * (1 + std::abs(expected)));
  if (p.of.learned.empty()) return;
  double by_parameter = 0;
  for (const double x : found[1].to_vector()) by_parameter += x;
  const double of_parameter = central([&](double x) { return loss(0, 0.1 * x); }) * 10;
  EXPECT_NEAR(by_parameter, of_parameter, 1e-6 * (1 + std::abs(of_parameter)));
}

TEST_P(LocalExpertsTest, DerivativesAgreeWithDifferences) {
  const Communicator world = Communicator::world();
  const Problem p(GetParam(), world);
  check_derivatives(p, world, *p.experts);
}

/// Fields and gradients on ranks are those of one rank.
void check_same_bits(const Problem& here, const TileCorrection& of_ranks, const Problem& whole,
                     const TileCorrection& of_one) {
  const auto both = [](const Problem& p, const TileCorrection& correction) {
    PdeBatch batch = p.batch;
    std::vector<Tensor> inputs{variable(p.field())};
    if (!p.of.learned.empty()) inputs.push_back(batch.learned = variable(batch.learned));
    const Tensor u = correction.corrected(inputs[0], batch);
    std::vector<Field> out{u.to_vector()};
    for (const Tensor& g : grad({u}, {square(u.detach())}, inputs)) out.push_back(g.to_vector());
    return out;
  };
  const std::vector<Field> mine = both(here, of_ranks), all = both(whole, of_one);
  const size_t tile = all[0].size() / here.grid.tiles(), first = here.tiles.begin() * tile;
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(std::equal(mine[i].begin(), mine[i].end(), all[i].begin() + first)) << i;
  EXPECT_EQ(mine.back() == all.back() || mine.size() == 2, true);
}

TEST_P(LocalExpertsTest, SameBitsOnAnyNumberOfRanks) {
  const Communicator world = Communicator::world(), alone = Communicator::self();
  const Problem here(GetParam(), world), whole(GetParam(), alone);
  check_same_bits(here, *here.experts, whole, *whole.experts);
}

TEST_P(LocalExpertsTest, OneExpertCorrectsTheWhole) {
  Case c = GetParam();
  std::fill(c.experts.begin(), c.experts.end(), 1);
  c.sweeps = 1;
  const Communicator alone = Communicator::self();
  const Problem p(c, alone);
  const Field found = p.experts->corrected(p.field(), p.batch).to_vector();
  const int m = p.model->unknowns(), cells = p.model->cells();
  const StorageProblem sample = [&] {
    SchemeParameters parameters;
    const size_t count = p.batch.parameters.size() / samples;
    parameters.values.assign(p.batch.parameters.begin(), p.batch.parameters.begin() + count);
    parameters.learned = c.learned;
    return p.model->sample({p.batch.initial.begin(), p.batch.initial.begin() + p.model->width()}, parameters);
  }();
  Field u(sample.initial());
  for (int j = 0; j < p.steps(); ++j)
    for (int cell = 0; cell < cells; ++cell)
      for (int a = 0; a < m; ++a) u.push_back(p.value(0, j, cell, a));
  std::vector<Field> states;
  sample.correct_steps(u, {.steps = 1}, states);
  size_t at = 0;
  for (std::int64_t tile = 0; tile < p.grid.tiles(); ++tile, at += p.grid.tile_points() * m)
    for (int a = 0; a < m; ++a)
      over_rows(0, p.grid.points(), p.grid.extent(tile).begin, p.grid.tile_shape(), [&](std::int64_t first) {
        for (std::int64_t i = 0; i < p.grid.tile_shape().back(); ++i)
          EXPECT_EQ(found[at++], u[p.model->width() + (first + i) * m + a]);
      });
}

/// The first sample's field in tiles [tile][unknown][point] is `u` [frame][cell][unknown] with its first frame.
void expect_near(const Problem& p, const Field& found, int sample, const Field& u, double tolerance) {
  const int m = p.model->unknowns();
  size_t at = 0;
  for (std::int64_t tile = p.tiles.begin(); tile < p.tiles.end(); ++tile)
    for (int s = 0; s < samples; ++s)
      for (int a = 0; a < m; ++a)
        over_rows(0, p.grid.points(), p.grid.extent(tile).begin, p.grid.tile_shape(),
                  [&](std::int64_t first) {
                    for (std::int64_t i = 0; i < p.grid.tile_shape().back(); ++i, ++at)
                      if (s == sample) {
                        EXPECT_NEAR(found[at], u[p.model->width() + (first + i) * m + a], tolerance);
                      }
                  });
}

TEST_P(LocalExpertsTest, OneMarchOverAllRanksCorrectsAsTheDirectOne) {
  const PetscSession session(0, nullptr);
  const Communicator world = Communicator::world();
  const Problem p(GetParam(), world);
  for (const char* method : {"distributed", "tiles"}) {
    const SpreadCorrection spread({.method = method}, *p.model, world, p.tiles, p.of.learned);
    const Field found = spread.corrected(p.field(), p.batch).to_vector();
    for (int s = 0; s < samples; ++s) {
      SchemeParameters parameters;
      const size_t count = p.batch.parameters.size() / samples;
      const int width = p.model->width();
      parameters.values.assign(p.batch.parameters.begin() + s * count,
                               p.batch.parameters.begin() + (s + 1) * count);
      for (size_t l = 0; l < p.of.learned.size(); ++l)
        parameters.values[p.of.learned[l]] = p.batch.learned.to_vector()[l];
      const StorageProblem sample = p.model->sample(
          {p.batch.initial.begin() + s * width, p.batch.initial.begin() + (s + 1) * width}, parameters);
      Field u(sample.initial());
      for (int j = 0; j < p.steps(); ++j)
        for (int cell = 0; cell < p.model->cells(); ++cell)
          for (int a = 0; a < p.model->unknowns(); ++a) u.push_back(p.value(s, j, cell, a));
      std::vector<Field> states;
      sample.correct_steps(u, {.steps = 1}, states);
      expect_near(p, found, s, u, 1e-9);
      if (spread.reports().empty()) continue;
      EXPECT_TRUE(spread.reports()[s].converged);
      EXPECT_GT(spread.reports()[s].mean(), 0);
    }
    EXPECT_EQ(spread.reports().empty(), method == std::string("tiles"));
    check_derivatives(p, world, spread);
  }
}

TEST_P(LocalExpertsTest, FactorsOfTilesHaveTheSameBitsOnAnyNumberOfRanks) {
  const Communicator world = Communicator::world(), alone = Communicator::self();
  const Problem here(GetParam(), world), whole(GetParam(), alone);
  const SpreadCorrection of_ranks({.method = "tiles"}, *here.model, world, here.tiles, here.of.learned),
      of_one({.method = "tiles"}, *whole.model, alone, whole.tiles, whole.of.learned);
  check_same_bits(here, of_ranks, whole, of_one);
}

TEST(TileFit, FitsAsWholeSamplesAreFitted) {
  const Communicator world = Communicator::world();
  const TileGrid grid({4, 6, 8}, {2, 2, 2});
  const TilePartition tiles(grid, world.size(), world.rank());
  constexpr int basis = 3, unknowns = 2;
  constexpr double ridge = 1e-4;
  const auto field = [](int s, int b, std::int64_t point) {
    return std::cos(0.3 * point + 1.1 * b * (point % 5) + s) + (b == 1 ? 0.5 : 0);
  };
  for (const std::vector<int>& experts : {std::vector{1, 1, 1}, {1, 2, 1}, {2, 2, 2}}) {
    const SharedTileSum sum = distributed_tile_sum(TileTree(world, tiles));
    const TileFit fit(tiles, experts, sum, ridge);
    Field fields, goal;
    for (std::int64_t tile = tiles.begin(); tile < tiles.end(); ++tile)
      for (int s = 0; s < samples; ++s)
        for (int b = 0; b < unknowns * basis; ++b)
          over_rows(0, grid.points(), grid.extent(tile).begin, grid.tile_shape(), [&](std::int64_t first) {
            for (std::int64_t i = 0; i < grid.tile_shape().back(); ++i) {
              fields.push_back(field(s, b, first + i));
              if (b % basis == 0) goal.push_back(field(s, 7 + b, first + i));
            }
          });
    const PerAxis& shape = grid.tile_shape();
    const Tensor v = Tensor::from(
                     fields, {tiles.local_tiles(), samples, unknowns * basis, shape[0], shape[1], shape[2]}),
                 y = Tensor::from(goal,
                                  {tiles.local_tiles(), samples, unknowns, shape[0], shape[1], shape[2]});
    const Tensor basis_fields = variable(v);
    const Tensor u = fit.fitted(basis_fields, y);
    // Whole samples.
    const Grid space({6, 8}, {1, 1});
    const StorageMixture mixture(4, space, unknowns, equal_boxes(4, space, experts), basis, Coupling::none,
                                 Weighting::dual, {});
    const Field found = u.to_vector();
    const auto pde = equation(
        "length: [1, 1]\nunknowns: [u, v]\nflux: {u: -grad(u), v: -grad(v)}\nwalls: periodic\n"
        "initial: {u: {expression: x}, v: {expression: y}}\n");
    const StorageModel model(*pde, space, {0, 1, 2, 3, 4}, 1, 0, {.state = "prediction"});
    const StorageProblem any = model.sample(Field(2 * 48));
    for (int s = 0; s < samples; ++s) {
      Field whole, target;
      for (std::int64_t p = 0; p < 4 * 48; ++p)
        for (int b = 0; b < unknowns * basis; ++b) {
          whole.push_back(field(s, b, p));
          if (b % basis == 0) target.push_back(field(s, 7 + b, p));
        }
      const MixtureSolution expected = mixture.fit(any, whole, target, ridge);
      size_t at = 0;
      for (std::int64_t tile = tiles.begin(); tile < tiles.end(); ++tile)
        for (int of = 0; of < samples; ++of)
          for (int a = 0; a < unknowns; ++a)
            over_rows(0, grid.points(), grid.extent(tile).begin, grid.tile_shape(), [&](std::int64_t first) {
              for (std::int64_t i = 0; i < grid.tile_shape().back(); ++i, ++at)
                if (of == s) {
                  EXPECT_NEAR(found[at], expected.u[96 + (first + i) * unknowns + a], 1e-10);
                }
            });
    }
    // Gradient by the basis fields along a direction.
    const Tensor bar = add_scalar(y, 0.2);
    const Field g = grad({u}, {bar}, {basis_fields}).front().to_vector();
    Field direction(g.size());
    for (size_t i = 0; i < g.size(); ++i) direction[i] = std::sin(1.3 * i + tiles.begin());
    const auto all = [&](double own) {
      double total = 0;
      for (const double part : world.all_gather(own)) total += part;
      return total;
    };
    const auto loss = [&](double h) {
      const NoGrad off;
      return all(
          rankine::sum(mul(fit.fitted(add(v, scale(Tensor::from(direction, v.shape()), h)), y), bar)).item());
    };
    const double h = 1e-3, expected = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h);
    EXPECT_NEAR(all(std::inner_product(g.begin(), g.end(), direction.begin(), 0.0)), expected,
                1e-7 * (1 + std::abs(expected)));
  }
}

INSTANTIATE_TEST_SUITE_P(Equations, LocalExpertsTest, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace rankine
