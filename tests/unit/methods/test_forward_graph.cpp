// What ForwardGNN is, against plain loops: each layer steps down its own loss, and no other layer's.
#include <cmath>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/methods/local/forward_losses.hpp"
#include "src/nn/csr.hpp"
#include "tests/support/data_files.hpp"
#include "tests/support/rule_problem.hpp"
#include "tests/unit/tensor/difference.hpp"

namespace rankine {
namespace {

using Numbers = std::vector<double>;
using Matrix = std::vector<Numbers>;  // [nodes][features]

constexpr std::int64_t kNodes = 12, kClasses = 2, kFeatures = 3, kWidth = 4;
constexpr double kRate = 0.3, kTemperature = 0.7, kThreshold = 0.4;

/// Two layers of tanh on twelve nodes, the six training nodes in two shards.
struct Problem : testing::RuleProblem {
  explicit Problem(const std::string& loss)
      : RuleProblem("[" + layer() + ", " + layer() + "]", loss == "goodness"
                                                              ? Shape{kNodes, kFeatures + kClasses}
                                                              : Shape{kNodes + kClasses, kFeatures}),
        goodness(loss == "goodness") {
    ForwardGraphOptions options;
    options.loss = loss;
    options.temperature = kTemperature;
    options.threshold = kThreshold;
    rule = std::make_unique<ForwardGraph>(options);
    data = test::make_dataset(
        "name: csbm, nodes: 12, classes: 2, features: 3, degree: 4, train_per_class: 3, validation: 2, "
        "parts: 2, " +
        std::string(goodness ? "label_columns: true" : "virtual_nodes: true"));
    const Examples e = data->examples(Split::training, std::vector<std::int64_t>{0, 1}, DType::f64);
    const Shape one = data->input_shape();
    batch = {reshape(e.inputs, {2, 1, one[0], one[1]}), reshape(e.targets, {2, 1, one[0], kClasses}), e.ids};
    pass.graph = data->graph(0, DType::f64);
    RuleSetup all = setup();
    all.graph = pass.graph;
    rule->check(all);
    rule->begin(all, parameters);
  }
  static std::string layer() { return "{name: chain, blocks: [{name: graph_conv, units: 4}, {name: tanh}]}"; }
  void step() {
    Sgd sgd{SgdOptions{}};
    RuleContext context{{}, parameters, sgd, tiles, kRate, 0, done++, &batch, &pass};
    EXPECT_TRUE(rule->step(context).updated);
  }
  Matrix input() const {
    const Shape one = data->input_shape();
    const Numbers x = batch.inputs.to_vector();
    Matrix out;
    for (std::int64_t i = 0; i < one[0]; ++i)
      out.emplace_back(x.begin() + i * one[1], x.begin() + (i + 1) * one[1]);
    return out;
  }
  /// The class of each training node.
  std::map<std::size_t, std::size_t> labels() const {
    std::map<std::size_t, std::size_t> out;
    const Numbers t = batch.targets.to_vector();
    const auto nodes = static_cast<std::size_t>(data->input_shape()[0]);
    for (std::size_t i = 0; i < t.size(); ++i)
      if (t[i] != 0) out[i / kClasses % nodes] = i % kClasses;
    return out;
  }
  /// tanh(A x W^T + b) with the parameters of layer `l`, without ops.
  Matrix forward(const Numbers& theta, std::size_t l, const Matrix& x) const {
    const CsrPattern& p = *pass.graph->pattern;
    const Numbers weights = pass.graph->weights.to_vector();
    const std::size_t in = x[0].size();
    const std::size_t first = l == 0 ? 0 : kWidth * (input()[0].size() + 1);
    Matrix out;
    for (std::size_t i = 0; i < x.size(); ++i) {
      Numbers y;
      for (std::size_t o = 0; o < kWidth; ++o) {
        double sum = theta[first + kWidth * in + o];
        for (auto e = static_cast<std::size_t>(p.offsets[i]); e < static_cast<std::size_t>(p.offsets[i + 1]);
             ++e)
          for (std::size_t k = 0; k < in; ++k)
            sum += weights[e] * x[static_cast<std::size_t>(p.columns[e])][k] * theta[first + o * in + k];
        y.push_back(std::tanh(sum));
      }
      out.push_back(y);
    }
    return out;
  }

  bool goodness;
  std::unique_ptr<ForwardGraph> rule;
  std::unique_ptr<Dataset> data;
  std::int64_t done = 0;
};

Matrix normalised(Matrix x) {
  for (Numbers& row : x) {
    double square = 0;
    for (const double v : row) square += v * v;
    for (double& v : row) v /= std::sqrt(square) + 1e-8;
  }
  return x;
}

Matrix mean(const Matrix& a, const Matrix& b) {
  Matrix out = a;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t k = 0; k < a[i].size(); ++k) out[i][k] = (a[i][k] + b[i][k]) / 2;
  return out;
}

double product(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// exp of the scores against the virtual nodes, of a node.
Numbers weights_of_classes(const Matrix& e, std::size_t node) {
  Numbers out;
  for (std::size_t c = 0; c < kClasses; ++c)
    out.push_back(std::exp(product(e[node], e[e.size() - kClasses + c]) / kTemperature));
  return out;
}

/// Mean cross entropy of the training nodes.
double entropy(const Problem& p, const Matrix& e) {
  double total = 0;
  for (const auto& [node, label] : p.labels()) {
    const Numbers w = weights_of_classes(e, node);
    total -= std::log(w[label] / (w[0] + w[1]));
  }
  return total / static_cast<double>(p.labels().size());
}

/// theta - rate times the central differences of the sum of the layers' losses, each of which depends on its
/// own layer's parameters alone.
Numbers stepped(const Numbers& theta, const std::function<double(const Numbers&)>& losses) {
  Numbers out = theta;
  constexpr double h = 1e-5;
  for (std::size_t i = 0; i < theta.size(); ++i) {
    Numbers up = theta, down = theta;
    up[i] += h;
    down[i] -= h;
    out[i] -= kRate * (losses(up) - losses(down)) / (2 * h);
  }
  return out;
}

TEST(ForwardGraph, ProductsWithTheLastNodes) {
  std::mt19937 rng(3);
  const auto f = [](const std::vector<Tensor>& x) {
    return std::vector<Tensor>{products_with_last(x[0], 2)};
  };
  const Tensor e = testing::random_tensor({2, 1, 5, 3}, rng);
  const Tensor last = slice(e, 2, 3, 5);
  EXPECT_LT(testing::distance(f({e})[0].to_vector(), matmul(e, transpose(last, 2, 3)).to_vector()), 1e-15);
  testing::expect_gradient(f, {e});
  testing::expect_second_gradient(f, {e});
}

TEST(ForwardGraph, SingleForwardStepsDownEachLayersEntropy) {
  Problem p("single");
  const Numbers theta = p.parameters.flat().to_vector();
  const Matrix x = normalised(p.input()), h = normalised(p.forward(theta, 0, x));
  const Numbers expected = stepped(theta, [&](const Numbers& t) {
    return entropy(p, p.forward(t, 0, x)) + entropy(p, p.forward(t, 1, h));
  });
  p.step();
  EXPECT_LT(testing::distance(p.parameters.flat().to_vector(), expected), 1e-9);
}

TEST(ForwardGraph, TopDownTakesTheStatesOfTheStepBefore) {
  Problem p("top_down");
  Numbers theta = p.parameters.flat().to_vector();
  const Matrix x = normalised(p.input());
  // Before the first step: one pass.
  Matrix s1 = normalised(p.forward(theta, 0, x)), s2 = normalised(p.forward(theta, 1, s1));
  for (int step = 0; step < 3; ++step) {
    const Numbers expected = stepped(theta, [&](const Numbers& t) {
      return entropy(p, mean(p.forward(t, 0, x), s2)) + entropy(p, p.forward(t, 1, s1));
    });
    const Matrix o2 = p.forward(theta, 1, s1);
    s1 = normalised(p.forward(theta, 0, x));
    s2 = normalised(o2);
    p.step();
    theta = p.parameters.flat().to_vector();
    EXPECT_LT(testing::distance(theta, expected), 1e-9) << "step " << step;
  }
}

/// |o|^2 of each node.
Numbers goodness(const Matrix& o) {
  Numbers out;
  for (const Numbers& row : o) out.push_back(product(row, row));
  return out;
}

TEST(ForwardGraph, GoodnessTellsRightLabelsFromWrongOnes) {
  Problem p("goodness");
  const Numbers theta = p.parameters.flat().to_vector();
  const Matrix right = normalised(p.input());
  Matrix changed = p.input();
  for (const auto& [node, label] : p.labels())  // of two classes, the other one is wrong
    std::swap(changed[node][kFeatures], changed[node][kFeatures + 1]);
  const Matrix wrong = normalised(changed);
  const auto loss = [&](const Matrix& with_right, const Matrix& with_wrong) {
    const Numbers good = goodness(with_right), bad = goodness(with_wrong);
    double total = 0;
    for (const auto& [node, label] : p.labels())
      total += std::log1p(std::exp(kThreshold - good[node])) + std::log1p(std::exp(bad[node] - kThreshold));
    return total / static_cast<double>(p.labels().size());
  };
  const Matrix h_right = normalised(p.forward(theta, 0, right)),
               h_wrong = normalised(p.forward(theta, 0, wrong));
  const Numbers expected = stepped(theta, [&](const Numbers& t) {
    return loss(p.forward(t, 0, right), p.forward(t, 0, wrong)) +
           loss(p.forward(t, 1, h_right), p.forward(t, 1, h_wrong));
  });
  p.step();
  EXPECT_LT(testing::distance(p.parameters.flat().to_vector(), expected), 1e-9);
}

Tensor prediction(Problem& p) {
  const NoGrad off;
  const Tensor x = slice(p.batch.inputs, 0, 0, 1);
  return p.rule->predict(p.network, p.parameters.bind(local_tile_sum(1)), x, p.pass);
}

TEST(ForwardGraph, PredictsByTheMeanOfTheLayersProbabilities) {
  for (const bool top_down : {false, true}) {
    Problem p(top_down ? "top_down" : "single");
    const Numbers theta = p.parameters.flat().to_vector(), found = prediction(p).to_vector();
    const Matrix o1 = p.forward(theta, 0, normalised(p.input())), o2 = p.forward(theta, 1, normalised(o1));
    const Matrix e1 = top_down ? mean(o1, normalised(o2)) : o1;
    for (std::size_t node = 0; node < o1.size(); ++node) {
      const Numbers a = weights_of_classes(e1, node), b = weights_of_classes(o2, node);
      for (std::size_t c = 0; c < kClasses; ++c)
        EXPECT_NEAR(found[node * kClasses + c], std::log((a[c] / (a[0] + a[1]) + b[c] / (b[0] + b[1])) / 2),
                    1e-13);
    }
  }
}

TEST(ForwardGraph, PredictsTheLabelOfMostGoodness) {
  Problem p("goodness");
  const Numbers theta = p.parameters.flat().to_vector(), found = prediction(p).to_vector();
  const auto training = p.labels();
  for (std::size_t c = 0; c < kClasses; ++c) {
    Matrix x = p.input();
    for (std::size_t node = 0; node < x.size(); ++node)
      for (std::size_t k = 0; k < kClasses && !training.contains(node); ++k)
        x[node][kFeatures + k] = k == c ? 1 : 0;
    const Matrix o1 = p.forward(theta, 0, normalised(x)), o2 = p.forward(theta, 1, normalised(o1));
    for (std::size_t node = 0; node < x.size(); ++node)
      EXPECT_NEAR(found[node * kClasses + c], goodness(o1)[node] + goodness(o2)[node], 1e-13);
  }
}

TEST(ForwardGraph, LayersAboveAreNoPartOfALayersGradient) {
  for (const char* loss : {"single", "top_down", "goodness"}) {
    Problem p(loss), perturbed(loss);
    p.step();
    perturbed.step();  // top_down has states then, which belong to the step before
    const auto& parts = p.parameters.parts();
    const std::int64_t first = std::find_if(parts.begin(), parts.end(), [](const ParameterInfo& part) {
                                 return part.name.starts_with("block1.");
                               })->offset;
    for (std::int64_t i = first; i < p.parameters.count(); ++i)
      host_update<double>(perturbed.parameters.flat())[i] += 0.5;
    p.step();
    perturbed.step();
    const Numbers a = p.parameters.flat().to_vector(), b = perturbed.parameters.flat().to_vector();
    EXPECT_TRUE(std::equal(a.begin(), a.begin() + first, b.begin())) << loss;
    EXPECT_FALSE(std::equal(a.begin() + first, a.end(), b.begin() + first)) << loss;
  }
}

TEST(ForwardGraph, RefusesWhatHasNoLabelsWhereItLooks) {
  const auto refusal = [](const std::string& loss, const std::string& set, const std::string& blocks) {
    const auto data = test::make_dataset(
        "name: csbm, nodes: 12, classes: 2, features: 3, degree: 4, "
        "train_per_class: 3, validation: 2" +
        set);
    const Network network = testing::network_from(blocks, data->input_shape());
    const CrossEntropy entropy({});
    ForwardGraphOptions options;
    options.loss = loss;
    const Communicator self = Communicator::self();
    const RuleSetup setup{.communicator = self,
                          .shards = local_tile_sum(1),
                          .network = &network,
                          .inputs = DType::f64,
                          .loss = &entropy,
                          .graph = data->graph(0, DType::f64)};
    try {
      ForwardGraph(options).check(setup);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  using ::testing::HasSubstr;
  const std::string layers = "[{name: graph_conv, units: 4}, {name: graph_conv, units: 4}]";
  EXPECT_THAT(refusal("single", "", layers), HasSubstr("set data.virtual_nodes: true"));
  EXPECT_THAT(refusal("goodness", ", virtual_nodes: true", layers),
              HasSubstr("set data.label_columns: true"));
  EXPECT_THAT(refusal("top_down", ", virtual_nodes: true",
                      "[{name: graph_conv, units: 4}, {name: graph_conv, units: 5}]"),
              HasSubstr("use equal widths"));
  EXPECT_THAT(refusal("single", ", virtual_nodes: true", "[{name: flatten}, {name: dense, units: 4}]"),
              HasSubstr("a layer gives [nodes, F]"));
  EXPECT_EQ(refusal("single", ", virtual_nodes: true", layers), "");
}

}  // namespace
}  // namespace rankine
