// Data beside physics: interpolation to points, files of observations, the gradient of physics and data by
// network and PDE parameters against central differences, the implicit gradient of experts with observation
// rows, and the bound and the polishing of learned parameters.
#include <cmath>
#include <numbers>
#include <numeric>

#include <gtest/gtest.h>

#include "src/experiments/inverse.hpp"
#include "src/experts/constraint_layer.hpp"
#include "src/io/hdf5.hpp"
#include "src/pde/burgers.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "tests/unit/experts/near_solution.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

constexpr int cells = 16, frames = 8, batch_size = 2, observed = 1;

template <class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

#define EXPECT_IN(part, text) EXPECT_NE(std::string(text).find(part), std::string::npos) << text

std::vector<double> graded_times() {
  std::vector<double> times;
  for (int j = 0; j <= frames; ++j) times.push_back(500.0 * j * j / (frames * frames));
  return times;
}

TEST(ObservationOperator, IsExactForCubicsInSpaceAndInTheRootOfTime) {
  const DiffusionSorption pde{DiffusionSorptionOptions{}};
  const std::vector<double> times = graded_times();
  const auto f = [](double t, double x) {
    const double s = std::sqrt(t) / 20;
    return (1 - 2 * s + s * s - 0.5 * s * s * s) * (0.3 + x - 3 * x * x + 2 * x * x * x);
  };
  std::vector<double> u;
  for (double t : times)
    for (int i = 0; i < cells; ++i) u.push_back(f(t, (i + 0.5) / cells));
  const std::vector<double> t{0, 1, 33, 250, 499, 500}, x{0.01, 0, 0.5, 0.31, 1, 0.97};
  const ObservationOperator h(pde, times, cells, t, x, std::vector<int>(t.size(), 0));
  const std::vector<double> found = h.apply(u);
  for (size_t i = 0; i < t.size(); ++i) EXPECT_NEAR(found[i], f(t[i], x[i]), 1e-13) << i;
}

TEST(ObservationOperator, WrapsWherePeriodic) {
  const Burgers pde{BurgersOptions{}};
  std::vector<double> times;
  for (int j = 0; j <= frames; ++j) times.push_back(1.0 * j / frames);
  std::vector<double> u, rotated;
  const auto f = [](double t, int i) {
    return (1 + t - t * t + t * t * t) * std::sin(2 * std::numbers::pi * (i + 0.5) / cells);
  };
  for (double t : times)
    for (int i = 0; i < cells; ++i) {
      u.push_back(f(t, i));
      rotated.push_back(f(t, i + 5));
    }
  const std::vector<double> t{0.1, 0.77, 0.3, 1}, x{0.99, 0.01, 0, 1};
  std::vector<double> moved(x);
  for (double& at : moved) at = std::fmod(at + 1 - 5.0 / cells, 1.0);
  const std::vector<int> unknown(t.size(), 0);
  const std::vector<double> a = ObservationOperator(pde, times, cells, t, x, unknown).apply(u);
  const std::vector<double> b = ObservationOperator(pde, times, cells, t, moved, unknown).apply(rotated);
  for (size_t i = 0; i < t.size(); ++i) {
    EXPECT_NEAR(a[i], b[i], 1e-13) << i;
    EXPECT_NEAR(a[i], f(t[i], 0) / std::sin(std::numbers::pi / cells) * std::sin(2 * std::numbers::pi * x[i]),
                2e-3)
        << i;
  }
}

Observations some_observations(const Pde& pde, const StorageModel& model, int points, double noise) {
  return draw_observations(pde, points, noise, 7, cells, [&](std::span<const double> times) {
    const StorageModel at(
        pde, pde.grid({cells}),
        [&] {
          std::vector<double> all{0.0};
          all.insert(all.end(), times.begin(), times.end());
          return all;
        }(),
        0.5, 2, model.march_options());
    const std::vector<double> u = at.sample(std::vector<double>(cells, 0.14)).solve_exactly();
    return std::vector<double>(u.begin() + cells, u.end());
  });
}

class ObservationTest : public ::testing::Test {
 protected:
  DiffusionSorption pde{DiffusionSorptionOptions{}};
  StorageModel model{pde, pde.grid({cells}), graded_times(), 0.5, 2, {}};
  Observations data = some_observations(pde, model, 30, 0.05);
  ObservationRows rows{ObservationOperator(pde, model.times(), cells, data.t, data.x, data.unknown), data,
                       cells};
};

TEST_F(ObservationTest, OperatorAndTransposeAreAdjoint) {
  std::vector<double> u((frames + 1) * cells), r(data.size());
  for (size_t p = 0; p < u.size(); ++p) u[p] = std::sin(1.0 + p);
  for (size_t i = 0; i < r.size(); ++i) r[i] = std::cos(2.0 * i);
  const std::vector<double> hu = rows.h().apply(u);
  std::vector<double> back(u.size());
  rows.h().add_transpose(r, back);
  const double left = std::inner_product(hu.begin(), hu.end(), r.begin(), 0.0);
  EXPECT_NEAR(left, std::inner_product(u.begin(), u.end(), back.begin(), 0.0), 1e-13 * std::abs(left));
  const std::span<const double> later = std::span(u).subspan(cells);
  const std::vector<double> along = rows.along(later);
  std::vector<double> pulled(later.size());
  rows.add_transpose(r, pulled);
  const double weighed = std::inner_product(along.begin(), along.end(), r.begin(), 0.0);
  EXPECT_NEAR(weighed, std::inner_product(later.begin(), later.end(), pulled.begin(), 0.0),
              1e-13 * std::abs(weighed));
}

TEST_F(ObservationTest, FilesReadBackAsWritten) {
  const testing::Scratch scratch;
  const std::string path = scratch / "observations.h5";
  write_observations(path, data, pde);
  const Observations read = read_observations(path, pde, 0.01);
  EXPECT_EQ(read.t, data.t);
  EXPECT_EQ(read.x, data.x);
  EXPECT_EQ(read.value, data.value);
  EXPECT_EQ(read.sigma, data.sigma);
  EXPECT_EQ(read.unknown, data.unknown);
}

TEST_F(ObservationTest, ReadsWholeFieldsAndTakesTheNoiseLevelWhereThereIsNoSigma) {
  const testing::Scratch scratch;
  const std::string path = scratch / "field.h5";
  hdf5::File file = hdf5::File::create(path);
  file.root().write("t", {2}, std::vector<double>{10, 20});
  file.root().write("x", {3}, std::vector<double>{0.1, 0.2, 0.3});
  file.root().write("value", {2, 3}, std::vector<double>{1, 1, 1, 1, 1, -1});
  file.close();
  const Observations read = read_observations(path, pde, 0.02);
  ASSERT_EQ(read.size(), 6);
  EXPECT_EQ(read.t[3], 20);
  EXPECT_EQ(read.x[5], 0.3);
  EXPECT_NEAR(read.sigma[2], 0.02, 1e-15);
}

TEST_F(ObservationTest, BadFilesAreAnsweredWithPlaceAndRemedy) {
  const testing::Scratch scratch;
  const auto message = [&](const auto& change, const char* leave_out = "") {
    Observations changed = data;
    change(changed);
    const std::string path = scratch / "bad.h5";
    hdf5::File file = hdf5::File::create(path);
    const hdf5::Shape shape{static_cast<std::uint64_t>(data.size())};
    const auto write = [&](const char* name, const std::vector<double>& values) {
      if (std::string(name) != leave_out) file.root().write(name, shape, values);
    };
    write("t", changed.t);
    write("x", changed.x);
    write("value", changed.value);
    write("sigma", changed.sigma);
    file.root().write("unknown", shape,
                      std::vector<std::int32_t>(changed.unknown.begin(), changed.unknown.end()));
    file.close();
    return message_of([&] { read_observations(path, pde, 0.01); });
  };
  const auto same = [](Observations&) {};
  EXPECT_EQ(message(same), "no error");
  EXPECT_IN("missing.h5", message_of([&] { read_observations(scratch / "missing.h5", pde, 0.01); }));
  const std::string lacks = message(same, "x");
  EXPECT_IN("dataset 'x' is missing", lacks);
  EXPECT_IN("'value' of one length", lacks);
  const std::string outside = message([](Observations& o) { o.x[3] = 1.25; });
  EXPECT_IN("entry 3", outside);
  EXPECT_IN("x = 1.25", outside);
  EXPECT_IN("leave it out", outside);
  EXPECT_IN("t = -1", message([](Observations& o) { o.t[0] = -1; }));
  const std::string sigma = message([](Observations& o) { o.sigma[5] = 0; });
  EXPECT_IN("sigma is 0 at entry 5", sigma);
  EXPECT_IN("must be positive", sigma);
  EXPECT_IN("'value' is nan at entry 2", message([](Observations& o) { o.value[2] = NAN; }));
  EXPECT_IN("unknowns 0 to 0", message([](Observations& o) { o.unknown[1] = 1; }));
}

TEST_F(ObservationTest, LearnedNamesAreChecked) {
  const auto message = [](const Pde& of, const std::string& deck) {
    LearnedParameters learned;
    return message_of([&] { learned.read(parse_deck_text(deck, "deck.yaml").section("learn"), of); });
  };
  EXPECT_EQ(message(pde, "learn: {diffusion: {initial: 1e-3}}"), "no error");
  const std::string unknown = message(pde, "learn: {difusion: {initial: 1e-3}}");
  EXPECT_IN("deck.yaml:1", unknown);
  EXPECT_IN("did you mean 'diffusion'?", unknown);
  EXPECT_IN("initial", message(pde, "learn: {diffusion: {}}"));
  EXPECT_IN("initial: 0 cannot grow", message(pde, "learn: {diffusion: {initial: 0}}"));
  BurgersOptions sampled;
  sampled.viscosity_minimum = 0.005;
  const std::string drawn = message(Burgers(sampled), "learn: {viscosity: {initial: 0.02}}");
  EXPECT_IN("'viscosity' is sampled", drawn);
  EXPECT_IN("fix it in pde", drawn);
}

/// The deck of the learned diffusion.
LearnedParameters learned_diffusion(const Pde& pde, const std::string& initial) {
  LearnedParameters learned;
  learned.read(
      parse_deck_text("learn: {diffusion: {initial: " + initial + "}}", "deck.yaml").section("learn"), pde);
  return learned;
}

TEST_F(ObservationTest, SensitivitiesAgreeWithDifferencesOfTheExactDiscreteSolution) {
  const std::vector<double> initial(cells, 0.14);
  const StorageProblem problem = model.sample(initial, {{5e-4}, {0}});
  const std::vector<double> found = observation_sensitivities(problem, problem.solve_exactly(), rows);
  const auto at = [&](double h) {
    return rows.misfit(model.sample(initial, {{5e-4 * std::exp(h)}, {}}).solve_exactly());
  };
  const double h = 1e-3;
  const std::vector<double> a = at(h), b = at(-h), c = at(2 * h), d = at(-2 * h);
  double error = 0, size = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double difference = (8 * (a[i] - b[i]) - (c[i] - d[i])) / (12 * h);
    error = std::max(error, std::abs(found[i] - difference));
    size = std::max(size, std::abs(difference));
  }
  EXPECT_LE(error, 1e-7 * size);
  EXPECT_NEAR(cramer_rao_bound(problem, rows).front(),
              1 / std::sqrt(std::inner_product(found.begin(), found.end(), found.begin(), 0.0)), 1e-14);
}

TEST_F(ObservationTest, PolishingFindsTheValueOfExactData) {
  const std::vector<double> initial(cells, 0.14);
  const std::vector<double> exact = model.sample(initial).solve_exactly();
  Observations noiseless = data;
  noiseless.value = rows.h().apply(exact);
  const ObservationRows perfect(rows.h(), noiseless, cells);
  std::vector<double> u = model.sample(initial, {{8e-4}, {}}).solve_exactly();
  const std::vector<double> found =
      refine_parameters(model, {initial, {5e-4}}, learned_diffusion(pde, "8e-4"), perfect, 8, {8e-4}, u);
  EXPECT_NEAR(found.front(), 5e-4, 5e-4 * 1e-8);
  EXPECT_LE(perfect.root_mean_square(u, {}), 1e-6);
}

struct Setting {
  const char* name;
  const char* method;
  int experts;
  const char* coupling;
  const char* loss;
  const char* march;
  int corrections;
  bool rows, learn;
};

class ObservedLossTest : public ::testing::TestWithParam<Setting> {
 protected:
  ObservedLossTest() {
    const Setting& s = GetParam();
    options.method = s.method;
    options.experts = {1, s.experts};
    options.coupling = s.coupling;
    options.loss = s.loss;
    options.march.state = s.march;
    options.basis = 3;
    options.solver.max_steps = 400;
    options.solver.atol = 1e-11;
    options.solver.adjoint_damping = 0;
    options.observations = {.weight = 0.3, .corrections = s.corrections, .rows = s.rows, .row_weight = 2e-2};
    storage = std::make_unique<StorageModel>(pde, pde.grid({cells}), graded_times(), 0.5, 2, options.march);
    if (s.learn) learned = learned_diffusion(pde, "6e-4");
    layer = make_constraint_layer(options, *storage, communicator, TilePartition(grid, 1, 0),
                                  learned.indices(), 0);
    const Observations data = some_observations(pde, *storage, 25, 0.05);
    for (int s = 0; s < batch_size; ++s) {
      batch.ids.push_back(s);
      batch.initial.insert(batch.initial.end(), cells, testing::initial_state(s));
      batch.parameters.push_back(pde.parameters()[0].value);
      batch.observations.push_back(nullptr);
    }
    batch.observations[observed] = std::make_shared<const ObservationRows>(
        ObservationOperator(pde, storage->times(), cells, data.t, data.x, data.unknown), data, cells);
  }

  double loss_of(const Fno2d& net, const ParameterSet& parameters, Tensor* gradient) {
    const BoundParameters bound = parameters.bind(local_tile_sum(grid.tiles()));
    PdeBatch own = batch;
    own.learned = learned.values(bound);
    const Tensor near = testing::near_solution(*storage, grid, batch_size, layer->outputs(), DType::f64);
    const Tensor inputs = testing::inputs(grid, batch_size, DType::f64);
    const TapeLoss loss = layer->loss(add(near, scale(net.forward(bound, inputs), 0.1)), own);
    if (gradient) *gradient = grad(loss.outputs, loss.seeds, {bound.flat()}).front();
    return loss.value.read();
  }

  Communicator communicator = Communicator::self();
  DiffusionSorption pde{DiffusionSorptionOptions{}};
  TileGrid grid{frames, cells, 1, 4};
  FormulationOptions options;
  LearnedParameters learned;
  std::unique_ptr<StorageModel> storage;
  std::unique_ptr<ConstraintLayer> layer;
  PdeBatch batch;
};

TEST_P(ObservedLossTest, GradientAgreesWithCentralDifferencesOfTheWholeLoss) {
  const Fno2d net = testing::small_fno(grid, layer->outputs(), "double");
  ParameterSet parameters = net.initial_parameters(4);
  learned.add_to(parameters);
  Tensor gradient;
  loss_of(net, parameters, &gradient);
  const std::vector<double> g = gradient.to_vector();
  const auto error_along = [&](const std::vector<double>& direction) {
    return testing::error_along(direction, g, parameters,
                                [&](const ParameterSet& at) { return loss_of(net, at, nullptr); });
  };
  // Along the network's part of the gradient, and along the PDE's parameter.
  std::vector<double> direction(g);
  std::fill(direction.end() - static_cast<std::ptrdiff_t>(learned.size()), direction.end(), 0.0);
  EXPECT_LE(error_along(testing::unit(direction)), 1e-6);
  if (learned.empty()) return;
  std::vector<double> alone(g.size(), 0.0);
  alone.back() = 1;
  EXPECT_GT(std::abs(g.back()), 1e-3);
  EXPECT_LE(error_along(alone), 1e-6);
}

const Setting settings[] = {
    {"Soft", "soft", 1, "none", "dual", "frozen", 0, false, true},
    {"SoftSpatial", "soft", 1, "none", "spatial", "frozen", 0, false, true},
    {"SoftSpatialInitial", "soft", 1, "none", "spatial", "initial", 0, false, true},
    {"SoftOneCorrection", "soft", 1, "none", "dual", "frozen", 1, false, true},
    {"SoftTwoCorrectionsPlain", "soft", 1, "none", "plain", "frozen", 2, false, true},
    {"SoftInitialOneCorrection", "soft", 1, "none", "dual", "initial", 1, false, true},
    {"OneExpertRows", "hard", 1, "none", "dual", "frozen", 0, true, false},
    {"FourExpertsRows", "hard", 4, "none", "dual", "frozen", 0, true, false},
    {"OneExpertLearns", "hard", 1, "none", "dual", "frozen", 0, true, true},
    {"OneExpertLearnsInitial", "hard", 1, "none", "dual", "initial", 0, false, true},
    {"FourExpertsLearn", "hard", 4, "none", "dual", "frozen", 1, true, true},
    {"FourCoupledExpertsLearn", "hard", 4, "assembled", "plain", "frozen", 0, false, true},
    {"FourExpertsRowsOneCorrection", "hard", 4, "none", "dual", "frozen", 1, true, false},
    {"FourCoupledExpertsRows", "hard", 4, "assembled", "plain", "frozen", 0, true, false},
};
INSTANTIATE_TEST_SUITE_P(Formulations, ObservedLossTest, ::testing::ValuesIn(settings),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace rankine
