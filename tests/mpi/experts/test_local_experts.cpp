// Corrections by experts on their own tiles: against dense solves of the restricted march, derivatives against
// central differences, the same bits on any number of ranks.
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "src/experts/local_experts.hpp"
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

TEST_P(LocalExpertsTest, DerivativesAgreeWithDifferences) {
  const Communicator world = Communicator::world();
  const Problem p(GetParam(), world);
  const Tensor v = p.field(), bar = add(square(v), Tensor::full({1}, DType::f64, 0.3));
  Field direction(v.count());
  for (size_t i = 0; i < direction.size(); ++i) direction[i] = std::cos(1.7 * i + p.tiles.begin());
  const auto loss = [&](double h, double by_parameter) {
    const NoGrad off;
    PdeBatch batch = p.batch;
    if (!p.of.learned.empty())
      batch.learned = add(batch.learned, Tensor::full({1}, DType::f64, by_parameter));
    const Tensor at = add(v, scale(Tensor::from(direction, v.shape()), h));
    const double own = sum(mul(p.experts->corrected(at, batch), bar)).item();
    double total = 0;
    for (const double part : world.all_gather(own)) total += part;
    return total;
  };
  PdeBatch batch = p.batch;
  std::vector<Tensor> inputs{variable(v)};
  if (!p.of.learned.empty()) inputs.push_back(batch.learned = variable(batch.learned));
  const Tensor u = p.experts->corrected(inputs[0], batch);
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

TEST_P(LocalExpertsTest, SameBitsOnAnyNumberOfRanks) {
  const Communicator world = Communicator::world(), alone = Communicator::self();
  const Problem here(GetParam(), world), whole(GetParam(), alone);
  const auto both = [](const Problem& p) {
    PdeBatch batch = p.batch;
    std::vector<Tensor> inputs{variable(p.field())};
    if (!p.of.learned.empty()) inputs.push_back(batch.learned = variable(batch.learned));
    const Tensor u = p.experts->corrected(inputs[0], batch);
    std::vector<Field> out{u.to_vector()};
    for (const Tensor& g : grad({u}, {square(u.detach())}, inputs)) out.push_back(g.to_vector());
    return out;
  };
  const std::vector<Field> mine = both(here), all = both(whole);
  const size_t tile = all[0].size() / here.grid.tiles(), first = here.tiles.begin() * tile;
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(std::equal(mine[i].begin(), mine[i].end(), all[i].begin() + first)) << i;
  EXPECT_EQ(mine.back() == all.back() || mine.size() == 2, true);
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

INSTANTIATE_TEST_SUITE_P(Equations, LocalExpertsTest, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace rankine
