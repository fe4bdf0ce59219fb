// The paper's formulation against the values of an independent implementation (tests/golden/README.md):
// terms, stationarity of the stored coefficients, assembled solution, loss and its terms, and our own solve.
// Reads every tests/golden/*.h5 and every file named in RANKINE_GOLDEN (separated by colons).
#include <cmath>

#include <gtest/gtest.h>

#include "src/experts/collocated_problem.hpp"
#include "src/io/hdf5.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "tests/support/golden.hpp"

namespace rankine {
namespace {

using testing::GoldenCase;

class Golden : public ::testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override { g.load(GetParam()); }

  CollocatedProblem problem(const SolverOptions& solver) const {
    CollocatedOptions options;
    options.ic_rows = g.method == "hc" ? "per_frame" : "once";
    options.right_bc_loss = "reference";
    return CollocatedProblem(pde, communicator, tiles(), g.t, g.x, TileGrid(g.nt(), g.nx(), 1, g.experts),
                             g.basis, options, solver);
  }
  TilePartition tiles() const { return TilePartition(TileGrid(g.nt(), g.nx(), 1, g.tiles), 1, 0); }
  std::vector<double> to_tiles(const std::vector<double>& whole, long channels) const {
    std::vector<double> out(whole.size());
    SampleTranspose(communicator, tiles())
        .to_tiles(std::span<const double>(whole), std::span<double>(out), g.batch, channels);
    return out;
  }
  SolverOptions paper_solver() const {
    SolverOptions o;
    o.method = "gauss_newton";
    o.start = "ones";
    o.reduction = "qr";
    o.max_steps = 400;
    o.rtol = 0;
    o.atol = 1e-11;
    o.ridge = 1e-4;
    o.damping = 1e-3;
    o.adjoint_damping = 0;
    return o;
  }
  CollocatedBatch batch() const {
    CollocatedBatch b;
    b.size = g.batch;
    b.initial = g.initial();
    for (int s = 0; s < g.batch; ++s)
      for (int t = 0; t < g.nt(); ++t)
        b.right_reference.push_back(g.reference[(s * g.nt() + t) * g.nx() + g.nx() - 1]);
    return b;
  }

  Communicator communicator = Communicator::self();
  DiffusionSorption pde{DiffusionSorptionOptions{}};
  testing::GoldenData g;
};

double largest(const std::vector<double>& a) {
  double m = 0;
  for (double x : a) m = std::max(m, std::abs(x));
  return m;
}

void expect_close(const std::vector<double>& a, const std::vector<double>& b, double relative,
                  const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  EXPECT_LE(worst, relative * largest(b))
      << what << ": largest difference relative to the largest value is " << worst / largest(b);
}

TEST_P(Golden, TermsOfTheBasesAgree) {
  const auto terms =
      problem(paper_solver()).terms(to_tiles(g.bases, g.basis), static_cast<long>(g.batch) * g.basis);
  expect_close(terms.u_t, to_tiles(g.u_t, g.basis), 1e-11, "u_t");
  expect_close(terms.u_x, to_tiles(g.u_x, g.basis), 1e-11, "u_x");
  expect_close(terms.u_xx, to_tiles(g.u_xx, g.basis), 1e-11, "u_xx");
}

TEST_P(Golden, StoredCoefficientsAreStationary) {
  if (g.method == "sc") return;
  const auto reports =
      problem(paper_solver()).inspect(batch(), to_tiles(g.bases, g.basis), g.points, g.omega);
  for (int s = 0; s < g.batch; ++s)
    for (int k = 0; k < g.experts; ++k) {
      EXPECT_LE(reports[s][k].gradient_norm, 1e-9) << "sample " << s << " expert " << k;
      EXPECT_NEAR(reports[s][k].objective, g.objective[s * g.experts + k],
                  1e-10 * g.objective[s * g.experts + k]);
    }
}

TEST_P(Golden, SolutionAndLossAgree) {
  const CollocatedProblem p = problem(paper_solver());
  const std::vector<double> bases = to_tiles(g.bases, g.basis);
  const std::vector<double> u = g.method == "sc" ? bases : p.assemble(g.batch, bases, g.omega);
  expect_close(u, to_tiles(g.solution, 1), 1e-12, "solution");
  const CollocatedLoss loss = p.loss(batch(), u, std::vector<double>(g.batch, 1.0), {});
  EXPECT_NEAR(loss.total, g.loss, 1e-10 * g.loss);
  EXPECT_NEAR(loss.pde, g.pde_loss, 1e-10 * g.pde_loss);
  EXPECT_NEAR(loss.initial, g.ic_loss, 1e-10 * g.ic_loss);
  EXPECT_NEAR(loss.left_wall, g.left_bc_loss, 1e-10 * g.left_bc_loss);
  EXPECT_NEAR(loss.right_wall, g.right_bc_loss, 1e-10 * g.right_bc_loss);
}

TEST_P(Golden, OwnSolveFromOnesIsNoWorse) {
  if (g.method == "sc") return;
  for (const char* method : {"gauss_newton", "levenberg_marquardt"}) {
    SolverOptions solver = paper_solver();
    solver.method = method;
    if (solver.method == "levenberg_marquardt") {
      solver.damping = 1;
      solver.atol = solver.rtol = 1e-12;
      solver.max_steps = 2000;
    }
    const CollocatedSolution solution = problem(solver).solve(batch(), to_tiles(g.bases, g.basis), g.points);
    for (int s = 0; s < g.batch; ++s)
      for (int k = 0; k < g.experts; ++k) {
        const SolveReport& report = solution.reports[s][k];
        EXPECT_LE(report.objective, g.objective[s * g.experts + k] * (1 + 1e-8))
            << method << ", sample " << s << " expert " << k << ": " << to_string(report.status) << " after "
            << report.iterations << " steps";
      }
  }
}

TEST_P(Golden, GradientWithRespectToTheBasesAgreesWithDifferences) {
  const CollocatedProblem p = problem(paper_solver());
  const CollocatedBatch b = batch();
  const std::vector<double> ones(g.batch, 1.0), bases = to_tiles(g.bases, g.basis);
  const auto loss_of = [&](const std::vector<double>& fields, std::vector<double>* bar) {
    if (g.method == "sc") {
      if (bar) bar->resize(fields.size());
      return p.loss(b, fields, ones, bar ? std::span<double>(*bar) : std::span<double>()).total;
    }
    CollocatedSolution solution = p.solve(b, fields, g.points);
    std::vector<double> u_bar(bar ? solution.u.size() : 0);
    const double total = p.loss(b, solution.u, ones, u_bar).total;
    if (bar) {
      bar->resize(fields.size());
      p.pull_back(b, fields, g.points, solution, u_bar, *bar);
    }
    return total;
  };
  std::vector<double> bar;
  loss_of(bases, &bar);
  double length = 0;
  for (double x : bar) length += x * x;
  length = std::sqrt(length);
  const auto along = [&](double h) {
    std::vector<double> moved(bases);
    for (size_t i = 0; i < moved.size(); ++i) moved[i] += h * bar[i] / length;
    return loss_of(moved, nullptr);
  };
  double error = 1;
  for (double h : {1e-4, 1e-5, 1e-6}) {
    const auto difference = [&](double step) { return (along(step) - along(-step)) / (2 * step); };
    error = std::min(error, std::abs((4 * difference(h) - difference(2 * h)) / 3 - length) / length);
  }
  EXPECT_LE(error, 1e-6);
}

TEST_P(Golden, EveryParameterGradientAgrees) {
  // Network, stencils, the implicit gradient of the solve at the stored coefficients, and the loss.
  const testing::GoldenNetwork network(g, g.tiles);
  const CollocatedProblem p = problem(paper_solver());
  const CollocatedBatch b = batch();
  const BoundParameters bound = network.parameters.bind(local_tile_sum(g.tiles));
  const Tensor output = network.model.forward(bound, network.input);
  const std::vector<double> fields = output.to_vector(), ones(g.batch, 1.0);
  std::vector<double> fields_bar(fields.size());
  if (g.method == "sc") {
    p.loss(b, fields, ones, fields_bar);
  } else {
    CollocatedSolution solution;
    solution.coefficients = g.omega;
    solution.reports.assign(g.batch, std::vector<SolveReport>(g.experts));
    solution.u = p.assemble(g.batch, fields, g.omega);
    std::vector<double> u_bar(solution.u.size());
    p.loss(b, solution.u, ones, u_bar);
    p.pull_back(b, fields, g.points, solution, u_bar, fields_bar);
  }
  const Tensor gradient = grad({output}, {Tensor::from(fields_bar, output.shape())}, {bound.flat()}).front();
  const ParameterSet gradients = network.parameters.with_values(gradient);
  for (const ParameterInfo& part : gradients.parts()) {
    const std::vector<double> expected =
        testing::GoldenNetwork::flattened(g.loss_gradient, part.name, g, part.shape);
    expect_close(gradients.view(part).to_vector(), expected, 1e-6, part.name.c_str());
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, ::testing::ValuesIn(testing::golden_cases()),
                         testing::golden_case_name);

}  // namespace
}  // namespace rankine
