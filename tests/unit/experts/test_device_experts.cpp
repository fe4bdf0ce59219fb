// The experts of many samples in device memory against each sample's on the host: the same bits.
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "src/experts/device_experts.hpp"
#include "src/pde/diffusion_sorption.hpp"

namespace rankine {
namespace {

constexpr int cells = 16, frames = 8;

struct Case {
  const char* name;
  std::vector<int> experts;
  int samples, basis;
  SolverOptions solver;
};

class DeviceExpertsTest : public testing::TestWithParam<Case> {
 protected:
  std::vector<double> numbers(size_t count, double least, double greatest) {
    std::uniform_real_distribution<double> uniform(least, greatest);
    std::vector<double> out(count);
    for (double& v : out) v = uniform(rng_);
    return out;
  }
  std::mt19937 rng_{11};
};

TEST_P(DeviceExpertsTest, HaveTheBitsOfTheSamplesAlone) {
  const Case& c = GetParam();
  FormulationOptions formulation;
  const DiffusionSorption pde{DiffusionSorptionOptions{}};
  const StorageModel model(pde, pde.grid({cells}), formulation.times(pde.duration(), frames), 0.5, 2,
                           formulation.march);
  const StorageMixture mixture(frames, model.grid(), 1, equal_boxes(frames, model.grid(), c.experts), c.basis,
                               Coupling::none, Weighting::dual, c.solver);
  const long points = model.points(), size = points * c.basis;
  // A first field near a solution, and others that make the problems nonlinear.
  std::vector<double> initial = numbers(static_cast<size_t>(c.samples) * cells, 0.02, 0.2),
                      fields = numbers(c.samples * size, -0.1, 0.1),
                      u_bar = numbers(c.samples * points, -1, 1);
  for (size_t i = 0; i < fields.size(); i += c.basis) fields[i] = 0.3 + fields[i];
  std::vector<StorageProblem> problems;
  for (int s = 0; s < c.samples; ++s)
    problems.push_back(
        model.sample({initial.begin() + s * long{cells}, initial.begin() + (s + 1) * long{cells}}));

  const auto residual =
      std::make_shared<const DeviceResidual>(model.sample(std::vector<double>(cells, 0.1)), Weighting::dual);
  DeviceSolves solves(std::make_shared<const DeviceExperts>(residual, mixture, c.solver),
                      Tensor::from(fields, {c.samples, frames, cells, c.basis}),
                      Tensor::from(initial, {c.samples, cells}));
  ASSERT_TRUE(solves.solve(problems));
  const std::vector<double> u = solves.solution().to_vector();
  const std::vector<double> fields_bar =
      solves.pull_back(Tensor::from(u_bar, {c.samples, frames, cells})).to_vector();

  for (int s = 0; s < c.samples; ++s) {
    const auto part = [s](const std::vector<double>& all, long count) {
      return std::vector<double>(all.begin() + s * count, all.begin() + (s + 1) * count);
    };
    std::vector<std::vector<long>> rows;
    for (int k = 0; k < mixture.solves(); ++k) rows.push_back(mixture.all_rows(k));
    const std::vector<double> basis = part(fields, size);
    MixtureSolution expected = mixture.solve(problems[s], basis, rows);
    EXPECT_EQ(solves.coefficients(s), expected.coefficients) << "sample " << s;
    EXPECT_EQ(part(u, points), std::vector<double>(expected.u.begin() + model.width(), expected.u.end()));
    std::vector<double> expected_bar(size);
    mixture.pull_back(problems[s], basis, expected, part(u_bar, points), expected_bar);
    EXPECT_EQ(part(fields_bar, size), expected_bar) << "sample " << s;
    const std::vector<SolveReport> reports = solves.reports(s);
    for (int k = 0; k < mixture.solves(); ++k) {
      EXPECT_EQ(reports[k].status, expected.reports[k].status);
      EXPECT_EQ(reports[k].iterations, expected.reports[k].iterations);
      EXPECT_EQ(reports[k].objective, expected.reports[k].objective);
      EXPECT_EQ(reports[k].gradient_norm, expected.reports[k].gradient_norm);
      EXPECT_EQ(reports[k].reason, expected.reports[k].reason);
    }
  }
}

SolverOptions levenberg_marquardt() {
  SolverOptions o;
  o.method = "levenberg_marquardt";
  o.start = "ones";
  o.max_steps = 30;
  o.rtol = o.atol = 1e-4;
  o.damping = 1;
  o.adjoint = "full_if_spd";
  return o;
}
SolverOptions to_convergence() {
  SolverOptions o;
  o.start = "zeros";
  o.max_steps = 40;
  o.rtol = 1e-9;
  o.adjoint = "gauss_newton";
  return o;
}

INSTANTIATE_TEST_SUITE_P(Of, DeviceExpertsTest,
                         testing::Values(Case{"OneExpert", {1, 1}, 3, 8, {}},
                                         Case{"FourExperts", {1, 4}, 5, 8, {}},
                                         Case{"PartsOfTheTime", {2, 2}, 2, 8, {}},
                                         Case{"ThreeFields", {1, 2}, 2, 3, {}},
                                         Case{"ElevenFields", {1, 1}, 2, 11, {}},
                                         Case{"LevenbergMarquardt", {1, 4}, 3, 8, levenberg_marquardt()},
                                         Case{"ToConvergence", {1, 2}, 3, 4, to_convergence()},
                                         Case{"NoSamples", {1, 4}, 0, 8, {}}),
                         [](const auto& info) { return info.param.name; });

TEST(DeviceExperts, LeaveNumbersThatAreNotFiniteToTheSamples) {
  const FormulationOptions formulation;
  const DiffusionSorption pde{DiffusionSorptionOptions{}};
  const StorageModel model(pde, pde.grid({cells}), formulation.times(pde.duration(), frames), 0.5, 2,
                           formulation.march);
  const StorageMixture mixture(frames, model.grid(), 1, equal_boxes(frames, model.grid(), std::vector{1, 2}),
                               2, Coupling::none, Weighting::dual, {});
  const std::vector<StorageProblem> problems{model.sample(std::vector<double>(cells, 0.1))};
  std::vector<double> fields(frames * cells * 2, 0.5);
  fields[17] = std::numeric_limits<double>::quiet_NaN();
  const auto residual = std::make_shared<const DeviceResidual>(problems[0], Weighting::dual);
  DeviceSolves solves(std::make_shared<const DeviceExperts>(residual, mixture, SolverOptions{}),
                      Tensor::from(fields, {1, frames, cells, 2}),
                      Tensor::from(std::vector<double>(cells, 0.1), {1, cells}));
  EXPECT_FALSE(solves.solve(problems));
}

TEST(DeviceExperts, FitWhatTheyKnow) {
  const auto fits = [](auto change) {
    FormulationOptions o;
    o.experts = {1, 4};
    change(o);
    return DeviceExperts::fits(o);
  };
  EXPECT_TRUE(fits([](auto&) {}));
  EXPECT_FALSE(fits([](auto& o) { o.method = "soft"; }));
  EXPECT_FALSE(fits([](auto& o) { o.constraint = "target"; }));
  EXPECT_FALSE(fits([](auto& o) { o.coupling = "assembled"; }));
  EXPECT_FALSE(fits([](auto& o) { o.points = 10; }));
  EXPECT_FALSE(fits([](auto& o) { o.rows = "spatial"; }));
  EXPECT_FALSE(fits([](auto& o) { o.loss = "plain"; }));
  EXPECT_FALSE(fits([](auto& o) { o.observations.rows = true; }));
  EXPECT_FALSE(fits([](auto& o) { o.solver.method = "tao_brgn"; }));
  EXPECT_FALSE(fits([](auto& o) { o.solver.reduction = "qr"; }));
  EXPECT_FALSE(fits([](auto& o) { o.solver.ridge = 1e-4; }));
}

}  // namespace
}  // namespace rankine
