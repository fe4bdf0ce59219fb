// Probes against independent computations.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/lapack.hpp"
#include "src/io/fault_file.hpp"
#include "src/probe/attack.hpp"
#include "src/probe/block_angle.hpp"
#include "src/probe/block_gradient.hpp"
#include "src/probe/block_removal.hpp"
#include "src/probe/curvature.hpp"
#include "src/probe/distance.hpp"
#include "src/probe/gate_load.hpp"
#include "src/probe/ntk.hpp"
#include "src/probe/out_of_distribution.hpp"
#include "src/probe/overlap.hpp"
#include "src/probe/second_moment.hpp"
#include "src/probe/tangent_kernel.hpp"
#include "tests/support/probe_problem.hpp"

namespace rankine {
namespace {

using testing::ProbeProblem;

constexpr const char* perceptron = "[{name: dense, units: 4}, {name: tanh}, {name: dense, units: 3}]";

TEST(Hooks, EachSeesWhatTheOneBeforeMadeOfAnOutput) {
  const ProbeProblem p("[{name: tanh}, {name: relu}]");
  const Tensor x = p.first(2).inputs;
  Pass pass{.shards = local_tile_sum(1)};
  std::vector<double> second_saw, second_input;
  pass.hooks.emplace_back([&](const std::string& name, const Tensor& input, const Tensor&) {
    return name == "block0" ? scale(input, 2) : Tensor();
  });
  pass.hooks.emplace_back([&](const std::string& name, const Tensor& input, const Tensor& output) {
    (name == "block0" ? second_saw : second_input) = (name == "block0" ? output : input).to_vector();
    return Tensor();
  });
  const NoGrad off;
  p.network.forward(p.parameters.bind(pass.shards), x, pass);
  EXPECT_EQ(second_saw, scale(x, 2).to_vector());
  EXPECT_EQ(second_input, second_saw);
}

TEST(GateLoad, CountsTheExpertsOfEachExample) {
  const ProbeProblem p(
      "[{name: dense, units: 4}, {name: moe, experts: 3, gate: {name: top_k, k: 2}, expert: [{name: dense, "
      "units: 3}]}]");
  const Examples examples = p.first(7);
  const Tensor outputs = p.outputs(p.parameters, examples.inputs);
  const NoGrad off;
  SideOutputs side;
  Pass pass{.shards = local_tile_sum(1)};
  pass.side = &side;
  p.network.forward(p.parameters.bind(pass.shards), examples.inputs, pass);
  const std::vector<double> weights = side.gates.at("block1").to_vector();
  GateLoad probe({});
  probe.check(p.setup);
  EXPECT_EQ(probe.metrics().size(), 7U);
  std::vector<double> numbers;
  probe.see(p.run, {examples.inputs, examples.targets, outputs, examples.ids}, numbers);
  EXPECT_EQ(numbers, weights);
  probe.conclude(numbers);
  const std::vector<double> found = probe.measured();
  EXPECT_NEAR(found[0], 2, 1e-15);
  for (std::size_t e = 0; e < 3; ++e) {
    double users = 0, weight = 0;
    for (std::size_t i = 0; i < 7; ++i) users += weights[3 * i + e] > 0 ? 1 : 0, weight += weights[3 * i + e];
    EXPECT_NEAR(found[1 + 2 * e], users / 7, 1e-15);
    EXPECT_NEAR(found[2 + 2 * e], weight / 7, 1e-15);
  }
  const ProbeProblem none(perceptron);
  EXPECT_THROW(probe.check(none.setup), InputError);
  EXPECT_THROW(GateLoad({.block = "block0"}).check(p.setup), InputError);
}

TEST(Attack, StepsAlongTheSignOfTheGradientOfALinearModel) {
  const ProbeProblem p("[{name: dense, units: 3}]");
  const Examples examples = p.first(5);
  const Tensor outputs = p.outputs(p.parameters, examples.inputs);
  const NoGrad off;
  const EvaluatedBatch batch{examples.inputs, examples.targets, outputs, examples.ids};
  const std::vector<double> x = examples.inputs.to_vector(), z = outputs.to_vector(),
                            label = examples.targets.to_vector(),
                            w = p.parameters.view("block0.weight").to_vector();
  const std::vector<double> found =
      Attack({.epsilon = 0.25, .low = {}, .high = 1.5}).changed(p.run, batch).to_vector();
  for (std::size_t i = 0; i < 5; ++i) {
    double sum = 0;
    for (std::size_t c = 0; c < 3; ++c) sum += std::exp(z[3 * i + c]);
    for (std::size_t k = 0; k < 4; ++k) {
      double gradient = 0;  // W^T (softmax - onehot)
      for (std::size_t c = 0; c < 3; ++c)
        gradient +=
            w[4 * c + k] * (std::exp(z[3 * i + c]) / sum - (label[i] == static_cast<double>(c) ? 1 : 0));
      EXPECT_NEAR(found[4 * i + k], std::min(x[4 * i + k] + (gradient > 0 ? 0.25 : -0.25), 1.5), 1e-15);
    }
  }
}

TEST(Ntk, IsTheGramMatrixOfDifferenceQuotients) {
  for (const char* blocks :
       {perceptron, "[{name: dense, units: 5, bias: false}, {name: relu}, {name: dense, units: 2}]",
        "[{name: skip, blocks: [{name: dense, units: 4}, {name: tanh}]}, {name: layer_norm}, {name: dense, "
        "units: 2}]"}) {
    const ProbeProblem p(blocks);
    const Examples examples = p.first(6);
    const std::size_t n = 6;
    const std::vector<double> found = tangent_kernel(p.run, examples);
    std::vector<std::vector<double>> columns;  // df/dw, one for each parameter
    const ParameterSet moved = p.parameters.clone();
    constexpr double h = 1e-5;
    for (std::int64_t i = 0; i < p.parameters.count(); ++i) {
      std::vector<double> at[2];
      for (int side : {0, 1}) {
        moved.flat().assign(p.parameters.flat());
        host_update<double>(moved.flat())[i] += side == 1 ? h : -h;
        at[side] = p.outputs(moved, examples.inputs).to_vector();
      }
      for (std::size_t k = 0; k < at[0].size(); ++k) at[1][k] = (at[1][k] - at[0][k]) / (2 * h);
      columns.push_back(at[1]);
    }
    const std::size_t width = columns[0].size() / n;
    double largest = 0;
    for (const double value : found) largest = std::max(largest, std::abs(value));
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        double sum = 0;
        for (const std::vector<double>& column : columns)
          for (std::size_t k = 0; k < width; ++k) sum += column[i * width + k] * column[j * width + k];
        // Difference quotients of order h^2, with rounding of order eps / h.
        EXPECT_NEAR(found[i * n + j], sum / static_cast<double>(width), 1e-8 * largest) << blocks;
      }
  }
}

TEST(Ntk, LimitOfInfiniteWidthIsThatOfNormalVariables) {
  const Network network = testing::network_from(
      "[{name: dense, units: 7, parametrisation: ntk, bias_scale: 0.3}, {name: relu}, "
      "{name: dense, units: 1, parametrisation: ntk, bias_scale: 0.2}]",
      {2});
  const double x[2][2] = {{0.8, -0.4}, {0.3, 1.1}};
  const std::vector<double> found = infinite_width_kernel(
      network, Tensor::from(std::vector<double>{x[0][0], x[0][1], x[1][0], x[1][1]}, {1, 2, 2}));
  // Means over f(x) = <w, x> / sqrt(2) + 0.3 b for standard normal w and b: f = (f_0, f_1) is normal with the
  // covariance sigma, and is drawn on a grid in the plane.
  double sigma[2][2];
  for (int i : {0, 1})
    for (int j : {0, 1}) sigma[i][j] = (x[i][0] * x[j][0] + x[i][1] * x[j][1]) / 2 + 0.09;
  const double a = std::sqrt(sigma[0][0]), b = sigma[0][1] / a, c = std::sqrt(sigma[1][1] - b * b);
  double values[2][2] = {}, slopes[2][2] = {}, total = 0;
  constexpr int points = 2000;
  for (int p = 0; p < points; ++p)
    for (int q = 0; q < points; ++q) {
      const double u = -8 + 16 * (p + 0.5) / points, v = -8 + 16 * (q + 0.5) / points;
      const double weight = std::exp(-(u * u + v * v) / 2), f[2] = {a * u, b * u + c * v};
      total += weight;
      for (int i : {0, 1})
        for (int j : {0, 1}) {
          if (f[i] <= 0 || f[j] <= 0) continue;
          values[i][j] += weight * f[i] * f[j];
          slopes[i][j] += weight;
        }
    }
  for (int i : {0, 1})
    for (int j : {0, 1})
      // The slopes jump: the grid's error is of the order of its spacing.
      EXPECT_NEAR(found[static_cast<std::size_t>(2 * i + j)],
                  sigma[i][j] * slopes[i][j] / total + values[i][j] / total + 0.04, 2e-3);
  EXPECT_THROW(infinite_width_kernel(testing::network_from("[{name: dense, units: 1}]", {2}),
                                     Tensor::zeros({1, 1, 2}, DType::f64)),
               InputError);
}

TEST(Ntk, PredictsTheTrainingOfALinearModel) {
  Circle::Options options;
  options.train = 6;
  options.validation = options.test = 1;
  const Communicator self = Communicator::self();
  const Circle data(options, {self});
  const Network network =
      testing::network_from("[{name: dense, units: 1, parametrisation: ntk, bias_scale: 0.5}]", {2});
  ParameterSet parameters = network.initial_parameters(2);
  const MeanSquaredError loss;
  Backprop rule;
  const ProbeSetup setup{network, data, loss, 6};
  const ProbeRun run{setup, self, parameters, rule, {}};
  NeuralTangentKernel probe({.against = "infinite_width", .examples = 6, .learning_rate = 0.2});
  probe.check(setup);
  StateRegistry state;
  probe.begin(run, state, "ntk");
  probe.measure(run, 0);
  for (int step = 0; step < 5; ++step) {
    const std::vector<double> gradient = mean_gradient(run, Split::training, 6);
    parameters.flat().assign(sub(parameters.flat(), scale(Tensor::from(gradient, {3}), 0.2)));
  }
  probe.measure(run, 5);
  const std::vector<double> found = probe.measured();  // drift, smallest eigenvalue, error, prediction error
  EXPECT_NEAR(found[0], 0, 1e-14) << "the kernel of a linear model stays";
  EXPECT_NEAR(found[2], 0, 1e-14) << "and is its limit";
  EXPECT_NEAR(found[3], 0, 1e-13);
}

TEST(Ntk, EigenvaluesOfAKnownMatrix) {
  std::vector<double> a{2, 1, 0, 1, 2, 0, 0, 0, -1};
  const std::vector<double> found = lapack::symmetric_eigenvalues(a, 3);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_NEAR(found[0], -1, 1e-14);
  EXPECT_NEAR(found[1], 1, 1e-14);
  EXPECT_NEAR(found[2], 3, 1e-14);
  std::vector<double> bad{1, 0, 0, std::nan("")};
  EXPECT_TRUE(lapack::symmetric_eigenvalues(bad, 2).empty());
}

TEST(BlockGradient, IsThatOfTheMeanLoss) {
  const ProbeProblem p(perceptron);
  constexpr std::int64_t count = 10;  // batches of 4, 4, 2
  const Examples examples = p.first(count);
  const std::vector<double> found = mean_gradient(p.run, Split::training, count);
  const ParameterSet moved = p.parameters.clone();
  constexpr double h = 1e-5;
  std::vector<double> squares(2);
  for (std::int64_t i = 0; i < p.parameters.count(); ++i) {
    double at[2];
    for (int side : {0, 1}) {
      moved.flat().assign(p.parameters.flat());
      host_update<double>(moved.flat())[i] += side == 1 ? h : -h;
      at[side] = mean(p.loss.per_sample(p.outputs(moved, examples.inputs), examples.targets, 2)).item();
    }
    const double quotient = (at[1] - at[0]) / (2 * h);
    EXPECT_NEAR(found[static_cast<std::size_t>(i)], quotient, 1e-9);
    squares[i < p.parameters.part("block2.weight").offset ? 0 : 1] += quotient * quotient;
  }
  BlockGradient::Options options;
  options.examples = count;
  BlockGradient probe(options);
  probe.measure(p.run, 0);
  const std::vector<double> norms = p.column("gradient_norm", "norm");
  ASSERT_EQ(norms.size(), 2U);
  EXPECT_NEAR(norms[0], std::sqrt(squares[0]), 1e-8);
  EXPECT_NEAR(norms[1], std::sqrt(squares[1]), 1e-8);
  const double centre = (norms[0] + norms[1]) / 2;
  EXPECT_NEAR(probe.measured()[1], std::abs(norms[0] - norms[1]) / std::sqrt(2.0) / centre, 1e-12);
}

TEST(Curvature, IsThatOfTheExplicitHessian) {
  for (const char* blocks : {perceptron, "[{name: dense, units: 3}]",
                             "[{name: skip, blocks: [{name: dense, units: 4}, {name: gelu}]}, {name: "
                             "layer_norm}, {name: dense, units: 3}]"}) {
    SCOPED_TRACE(blocks);
    ProbeProblem p(blocks);
    // What a mask holds at zero is no parameter.
    ParameterInfo& masked = p.parameters.parts().front();
    std::vector<double> kept(static_cast<std::size_t>(masked.shape.count()), 1.0);
    kept[1] = kept[4] = 0;
    masked.mask = Tensor::from(kept, masked.shape);
    p.parameters.project();
    constexpr std::int64_t count = 11;
    constexpr double h = 1e-5;
    std::vector<std::int64_t> live;
    for (std::int64_t i = 0; i < p.parameters.count(); ++i)
      if (i != masked.offset + 1 && i != masked.offset + 4) live.push_back(i);
    const std::size_t m = live.size();
    std::vector<double> hessian(m * m);
    for (std::size_t j = 0; j < m; ++j) {
      std::vector<double> at[2];
      for (const int side : {0, 1}) {
        host_update<double>(p.parameters.flat())[live[j]] += side == 1 ? h : -h;
        at[side] = mean_gradient(p.run, Split::training, count);
        host_update<double>(p.parameters.flat())[live[j]] -= side == 1 ? h : -h;
      }
      for (std::size_t i = 0; i < m; ++i) {
        const auto k = static_cast<std::size_t>(live[i]);
        hessian[i * m + j] = (at[1][k] - at[0][k]) / (2 * h);
      }
    }
    double trace = 0, square = 0;
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < m; ++j) {
        hessian[i * m + j] = hessian[j * m + i];
        if (i == j)
          trace += hessian[i * m + i];
        else
          square += 2 * hessian[i * m + j] * hessian[i * m + j];
      }
    Curvature::Options options;
    options.examples = count;
    options.iterations = 200;
    options.draws = 400;
    Curvature probe(options);
    probe.measure(p.run, 0);
    const std::vector<double> found = probe.measured(),
                              exact = lapack::symmetric_eigenvalues(hessian, static_cast<int>(m));
    EXPECT_NEAR(found[0], exact.back(), 1e-7 * exact.back());
    EXPECT_NEAR(found[1], exact.front(), 1e-7 * exact.back());
    // The variance of z^T H z is 2 sum over i != j of H_ij^2.
    EXPECT_NEAR(found[2], trace, 4 * std::sqrt(square / options.draws));
    EXPECT_EQ(p.column("curvature", "largest"), std::vector<double>{found[0]});
  }
}

TEST(Curvature, OfALinearModelIsTheMeanOfProducts) {
  Circle::Options options;
  options.train = 6;
  options.validation = options.test = 1;
  const Communicator self = Communicator::self();
  const Circle data(options, {self});
  const Network network = testing::network_from("[{name: dense, units: 1}]", {2});
  const ParameterSet parameters = network.initial_parameters(2);
  const MeanSquaredError loss;
  Backprop rule;
  const ProbeSetup setup{network, data, loss, 4};
  const ProbeRun run{setup, self, parameters, rule, {}};
  Curvature probe({.examples = 6, .iterations = 3, .draws = 4000});
  StateRegistry state;
  probe.begin(run, state, "curvature");
  probe.measure(run, 0);
  // The Hessian of mean (w x + b - y)^2 is 2 mean (x, 1) (x, 1)^T.
  const std::vector<double> x = first_examples(setup, Split::training, 6).inputs.to_vector();
  std::vector<double> hessian(9);
  for (std::size_t i = 0; i < 6; ++i) {
    const double row[] = {x[2 * i], x[2 * i + 1], 1};
    for (std::size_t a = 0; a < 3; ++a)
      for (std::size_t b = 0; b < 3; ++b) hessian[3 * a + b] += 2 * row[a] * row[b] / 6;
  }
  const double trace = hessian[0] + hessian[4] + hessian[8];
  const std::vector<double> exact = lapack::symmetric_eigenvalues(hessian, 3), found = probe.measured();
  EXPECT_NEAR(found[0], exact[2], 1e-13);
  EXPECT_NEAR(found[1], exact[0], 1e-13);
  EXPECT_NEAR(found[2], trace, 0.05);  // by chance
}

TEST(BlockAngle, OfTurnsAndReflections) {
  ProbeProblem p("[{name: dense, units: 4, bias: false}, {name: dense, units: 3}]");
  std::vector<double> turn(16);
  // (a, b, c, d) -> (-b, a, -d, c) is at right angles to what it turns.
  turn[1] = turn[11] = -1;
  turn[4] = turn[14] = 1;
  const auto set = [&](const std::vector<double>& w) {
    p.parameters.view("block0.weight").assign(Tensor::from(w, {4, 4}));
  };
  BlockAngle::Options options;
  options.examples = 7;
  BlockAngle probe(options);
  set(turn);
  probe.measure(p.run, 0);
  EXPECT_NEAR(probe.measured()[0], 0.5, 1e-15);
  std::vector<double> mirror(16);
  for (const std::size_t i : {0, 5, 10, 15}) mirror[i] = -2;
  set(mirror);
  probe.measure(p.run, 1);
  EXPECT_NEAR(probe.measured()[0], 1, 1e-7);         // of arccos near -1
  EXPECT_EQ(p.column("angle", "angle").size(), 2U);  // one block, two measurements

  const Tensor a = Tensor::from(std::vector<double>{5, 5, 1, 0, 5, 5, 0, 3}, {1, 2, 2, 2}),
               b = Tensor::from(std::vector<double>{-5, 5, 0, 1, 0, 0, 0, 1}, {1, 2, 2, 2});
  EXPECT_THAT(angles(a, b, true), ::testing::ElementsAre(0.5, 0));
  EXPECT_NEAR(angles(a, b, false)[1], std::acos(3 / std::sqrt(59.0)) / std::acos(-1.0), 1e-15);
}

TEST(BlockRemoval, IsTheLossOfTheNetworkWithoutTheBlock) {
  const ProbeProblem whole(perceptron);
  const Network without = testing::network_from("[{name: dense, units: 4}, {name: dense, units: 3}]", {4});
  ParameterSet same = without.initial_parameters(0);
  same.flat().assign(whole.parameters.flat());
  BlockRemoval::Options options;
  options.blocks = {1, 1};
  BlockRemoval probe(options);
  probe.measure(whole.run, 5);
  std::vector<std::int64_t> all(10);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  const Examples examples = whole.data.examples(Split::validation, all, DType::f64);
  const NoGrad off;
  Pass pass{.shards = local_tile_sum(1)};
  const Tensor inputs = reshape(examples.inputs, {1, 10, 4}), targets = reshape(examples.targets, {1, 10});
  const auto loss = [&](const Tensor& outputs) {
    return mean(whole.loss.per_sample(outputs, targets, 2)).item();
  };
  const double left = loss(without.forward(same.bind(pass.shards), inputs, pass)),
               before = loss(whole.outputs(whole.parameters, inputs));
  EXPECT_NEAR(whole.column("removal", "loss").at(0), left, 1e-14);
  EXPECT_NEAR(whole.column("removal", "increase").at(0), left - before, 1e-14);
  EXPECT_NEAR(probe.measured()[0], left - before, 1e-14);
}

TEST(Distance, FollowsTheWeights) {
  ProbeProblem p(perceptron);
  Distance probe({.fit_from = 1});
  StateRegistry state;
  probe.begin(p.run, state, "distance");
  const Tensor start = p.parameters.flat().clone();
  const auto count = static_cast<double>(p.parameters.count());
  for (const std::int64_t step : {0, 1, 10, 100}) {
    const double along = step == 0 ? 0 : 0.5 + std::log10(static_cast<double>(step));
    p.parameters.flat().assign(add_scalar(start, along));
    probe.measure(p.run, step);
  }
  const std::vector<double> found = p.column("distance", "euclidean");
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_NEAR(found[i + 1], (0.5 + static_cast<double>(i)) * std::sqrt(count), 1e-12);
  EXPECT_EQ(found[0], 0);
  const double own = dot(p.parameters.flat(), p.parameters.flat()).item(), other = dot(start, start).item(),
               both = dot(p.parameters.flat(), start).item();
  EXPECT_NEAR(probe.measured()[1], std::acos(both / std::sqrt(own * other)), 1e-12);
  EXPECT_NEAR(probe.measured()[2], 1, 1e-12) << "a straight line over log(step)";
  EXPECT_LT(probe.measured()[3], 0.95);
}

TEST(Distance, FromASnapshotWithoutWhatAMaskHoldsAtZero) {
  ProbeProblem p(perceptron);
  p.setup.snapshots["early"] = 2;
  for (ParameterInfo& part : p.parameters.parts())
    if (part.name == "block2.weight") part.mask = Tensor::zeros(part.shape, DType::f64);
  p.run.snapshot = [&](const std::string& name) {
    EXPECT_EQ(name, "early");
    StateSnapshot out;
    for (const ParameterInfo& part : p.parameters.parts())
      out["weights/" + part.name] = value_of(add_scalar(p.parameters.view(part), 3));
    return out;
  };
  Distance probe({.from = "early", .every = "1"});
  probe.check(p.setup);
  StateRegistry state;
  probe.begin(p.run, state, "distance");
  for (const std::int64_t step : probe.steps(3)) probe.measure(p.run, step);
  const auto kept =
      static_cast<double>(p.parameters.count() - p.parameters.part("block2.weight").shape.count());
  const std::vector<double> found = p.column("distance_early", "euclidean");
  ASSERT_EQ(found.size(), 2U) << "none before the snapshot";
  EXPECT_NEAR(found[1], 3 * std::sqrt(kept), 1e-13);
  EXPECT_EQ(probe.metrics()[0].name, "distance_early");
}

TEST(Overlap, ComparesWhatIsNotZero) {
  ProbeProblem p(perceptron);
  const auto set = [&](const char* name, const std::vector<double>& first) {
    const Tensor part = p.parameters.view(name);
    std::vector<double> values(static_cast<std::size_t>(part.count()), 0.0);
    std::copy(first.begin(), first.end(), values.begin());
    part.assign(Tensor::from(values, part.shape()));
  };
  StateSnapshot snapshot;
  set("block0.weight", {1, 2, 0, 3});
  set("block2.weight", {0, 1});
  for (const ParameterInfo& part : p.parameters.parts())
    snapshot["weights/" + part.name] = value_of(p.parameters.view(part).clone());
  p.run.snapshot = [&](const std::string&) { return snapshot; };
  Overlap probe({.with = "dense@end"}), own({.on = {"block0.weight"}});
  StateRegistry state;
  probe.begin(p.run, state, "overlap");
  own.begin(p.run, state, "own");
  own.measure(p.run, 0);
  set("block0.weight", {5, 0, 0, -1, 7});
  probe.measure(p.run, 3);
  own.measure(p.run, 3);
  // A: 3 and 1 weights, B: 3 and 1, shared: 2 and 1, of 16 + 12.
  EXPECT_THAT(probe.measured(), ::testing::ElementsAre(3.0 / 5, 3.0 / 4, 4.0 / 28));
  EXPECT_EQ(own.measured()[0], 2.0 / 4);
  EXPECT_EQ(probe.metrics()[2].name, "overlap_dense_end_share");
  EXPECT_EQ(own.metrics()[0].name, "overlap");
}

TEST(SecondMoment, IsThatOfTheOptimiserWhereWeightsAreZero) {
  ProbeProblem p(perceptron);
  Adam adam({.beta2 = 0.5});
  std::vector<double> gradient(static_cast<std::size_t>(p.parameters.count()));
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = static_cast<double>(i);
  adam.step(p.parameters, Tensor::from(gradient, {p.parameters.count()}), 1e-3);
  const ParameterInfo& part = p.parameters.part("block2.weight");
  std::vector<double> weights(12, 1.0);
  weights[0] = weights[7] = 0;
  p.parameters.view(part).assign(Tensor::from(weights, part.shape));
  SecondMoment probe({.from = 2, .on = {"block2.weight"}});
  StateRegistry state;
  probe.begin(p.run, state, "moment");
  p.run.optimizer = &adam;
  probe.measure(p.run, 1);  // before those that count
  probe.measure(p.run, 2);
  const auto square = [&](std::int64_t i) { return 0.5 * std::pow(static_cast<double>(part.offset + i), 2); };
  double kept = 0;
  for (std::int64_t i = 0; i < 12; ++i) kept += i == 0 || i == 7 ? 0 : square(i) / 10;
  EXPECT_NEAR(probe.measured()[0], (square(0) + square(7)) / 2, 1e-12);
  EXPECT_NEAR(probe.measured()[1], kept, 1e-12);
  EXPECT_EQ(p.column("second_moment", "zero").size(), 1U);
}

TEST(OutOfDistribution, StrangeInputsKeepWhatTheyShall) {
  std::vector<double> values(2 * 3 * 2 * 2);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  const Tensor images = Tensor::from(values, {1, 2, 3, 2, 2});
  const std::vector<double> found = permuted_pixels(images).to_vector();
  // The order of the first channel of the first image is that of all.
  EXPECT_NE(found, values);
  for (std::size_t map = 0; map < 6; ++map)
    for (std::size_t k = 0; k < 4; ++k)
      EXPECT_EQ(found[4 * map + k], found[k] + 4.0 * static_cast<double>(map));

  std::vector<double> wide(2000);
  for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = i < 1000 ? (i % 2 ? 5.0 : 3.0) : -1.0;
  const std::vector<double> noise = noise_like(Tensor::from(wide, {1, 2, 1000}), {4, 9}).to_vector();
  double mean = 0, square = 0;
  for (std::size_t i = 0; i < 1000; ++i) {
    mean += noise[i] / 1000;
    square += (noise[i] - 4) * (noise[i] - 4) / 1000;
    EXPECT_EQ(noise[1000 + i], -1) << "an input without deviation";
  }
  EXPECT_NEAR(mean, 4, 4 / std::sqrt(1000.0));
  EXPECT_NEAR(square, 1, 4 * std::sqrt(2 / 1000.0));
}

/// What is said of a list of probes.
std::string complaint(const std::string& list, const std::string& blocks = perceptron) {
  const ProbeProblem p(blocks);
  try {
    const ProbeList made(parse_deck_text("probes: " + list, "deck"), p.setup);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(ProbeList, RefusesWhatDoesNotFit) {
  using ::testing::HasSubstr;
  EXPECT_EQ(complaint("[distance, {name: ntk, every: 100, examples: 3}, calibration, {name: calibration, on: "
                      "validation}]"),
            "");
  EXPECT_THAT(complaint("distance"), HasSubstr("'probes' must be a list, such as [distance,"));
  EXPECT_THAT(complaint("[distanse]"), HasSubstr("unknown probe 'distanse'"));
  EXPECT_THAT(complaint("[distance, {name: distance, every: 5}]"), HasSubstr("leave one of them out"));
  EXPECT_THAT(complaint("[{name: distance, every: now}]"),
              HasSubstr("every: 'now' is no moment; give a number"));
  EXPECT_THAT(complaint("[{name: distance, from: early}]"),
              HasSubstr("the run leaves no snapshot 'early'; allowed: initial, and VARIANT@SNAPSHOT"));
  EXPECT_THAT(complaint("[{name: angle, blocks: [1, 3]}]"), HasSubstr("the network has the blocks 0 to 2"));
  EXPECT_THAT(complaint("[remove]", "[{name: dense, units: 3}]"),
              HasSubstr("none of the blocks has an output of its input's shape"));
  EXPECT_THAT(complaint("[{name: gradient_norm, blocks: [1]}]"),
              HasSubstr("none of the blocks has anything to learn"));
  EXPECT_THAT(complaint("[{name: ntk, examples: 23}]"),
              HasSubstr("23 are more than the 22 training examples"));
  EXPECT_THAT(complaint("[{name: attack, low: 1, high: 0}]"), HasSubstr("high: must be above low"));
  EXPECT_THAT(complaint("[{name: ood, against: [noise, noise]}]"), HasSubstr("names a kind twice"));
}

TEST(ProbeList, JudgesClassesOnly) {
  Sine::Options options;
  options.train = options.validation = options.test = 4;
  const Communicator self = Communicator::self();
  const Sine data(options, {self});
  const Network network = testing::network_from("[{name: dense, units: 1}]", {1});
  const MeanSquaredError loss;
  const ProbeSetup setup{network, data, loss, 4};
  for (const char* name : {"calibration", "risk_coverage", "ood", "attack"})
    EXPECT_THROW(ProbeList(parse_deck_text(std::string("probes: [") + name + "]", "deck"), setup), InputError)
        << name;
}

}  // namespace
}  // namespace rankine
