// Graphs as data: who hears whom, which nodes have labels, and what is refused.
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/data/splits.hpp"
#include "src/nn/csr.hpp"
#include "tests/support/data_files.hpp"

namespace rankine {
namespace {

using test::all_of;
using test::make_dataset;
using test::refusal;
using testing::HasSubstr;

constexpr int kNodes = 400, kClasses = 4, kTrain = 5;
const std::string deck =
    "name: csbm, nodes: 400, degree: 10, ratio: 4, features: 3, train_per_class: 5, validation: 80";

/// Classes of a split's nodes, by node; `weight`: of each.
std::map<std::int64_t, int> labels(const Dataset& data, Split split, double* weight = nullptr) {
  std::map<std::int64_t, int> out;
  const Examples e = data.examples(split, all_of(data, split), DType::f64, 7);
  const std::vector<double> targets = e.targets.to_vector();
  const std::int64_t nodes = e.targets.extent(1);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] == 0) continue;
    const bool fresh =
        out.emplace(static_cast<std::int64_t>(i) / kClasses % nodes, static_cast<int>(i % kClasses)).second;
    EXPECT_TRUE(fresh) << "a node with two labels";
    if (weight != nullptr) *weight = targets[i];
  }
  return out;
}

TEST(BlockModel, EveryNodeIsOfOneSplitAndClassesAreEqual) {
  const auto data = make_dataset(deck);
  std::map<std::int64_t, int> all;
  for (const Split split : all_splits) {
    double weight = 0;
    const auto of = labels(*data, split, &weight);
    EXPECT_EQ(of.size(), split == Split::training     ? kTrain * kClasses
                         : split == Split::validation ? 80u
                                                      : 300u);
    EXPECT_DOUBLE_EQ(weight * static_cast<double>(of.size()), kNodes);  // a mean over nodes is one over these
    for (const auto& [node, label] : of) EXPECT_TRUE(all.emplace(node, label).second);
  }
  std::vector<int> counts(kClasses);
  for (const auto& [node, label] : all) ++counts[static_cast<std::size_t>(label)];
  EXPECT_EQ(counts, std::vector<int>(kClasses, kNodes / kClasses));
}

TEST(BlockModel, EdgesAreAsLikelyAsTheDeckSays) {
  const auto data = make_dataset(deck);
  std::map<std::int64_t, int> all;
  for (const Split split : all_splits) all.merge(labels(*data, split));
  double within = 0, across = 0;
  const auto graph = data->graph(7, DType::f64);
  for (std::int64_t i = 0; i < kNodes; ++i)
    for (std::int64_t e = graph->pattern->offsets[static_cast<std::size_t>(i)];
         e < graph->pattern->offsets[static_cast<std::size_t>(i) + 1]; ++e)
      if (const std::int64_t j = graph->pattern->columns[static_cast<std::size_t>(e)]; j > i)
        (all.at(i) == all.at(j) ? within : across) += 1;
  // 2000 edges are expected: their standard deviation is 45, that of those within a class 34.
  EXPECT_NEAR(within + across, 2000, 4 * 45);
  const double p = 10 / (99 + 300 / 4.0);
  EXPECT_NEAR(within, p * 4 * 100 * 99 / 2, 4 * 34);
}

TEST(BlockModel, ASeedIsAGraph) {
  const auto data = make_dataset(deck), other = make_dataset(deck + ", seed: 1");
  const auto edges = [](const Dataset& of, std::uint64_t seed) {
    return of.graph(seed, DType::f64)->pattern->columns;
  };
  const auto first = edges(*data, 0), second = edges(*data, 1);
  EXPECT_NE(first, second);
  EXPECT_EQ(first, edges(*data, 0));
  EXPECT_NE(first, edges(*other, 0));
  // Options that add to the nodes change nothing of them.
  const auto more = make_dataset(deck + ", virtual_nodes: true, label_columns: true");
  EXPECT_EQ(labels(*data, Split::training), labels(*more, Split::training));
}

TEST(BlockModel, VirtualNodesHearTheTrainingNodesOfTheirClass) {
  const auto data = make_dataset(deck + ", virtual_nodes: true");
  const auto graph = data->graph(7, DType::f64);
  EXPECT_EQ(graph->virtual_nodes, kClasses);
  EXPECT_EQ(data->input_shape(), Shape({kNodes + kClasses, 3}));
  const auto training = labels(*data, Split::training);
  for (int c = 0; c < kClasses; ++c) {
    std::set<std::int64_t> expected{kNodes + c}, heard;
    for (const auto& [node, label] : training)
      if (label == c) expected.insert(node);
    for (std::int64_t e = graph->pattern->offsets[static_cast<std::size_t>(kNodes + c)];
         e < graph->pattern->offsets[static_cast<std::size_t>(kNodes + c) + 1]; ++e)
      heard.insert(graph->pattern->columns[static_cast<std::size_t>(e)]);
    EXPECT_EQ(heard, expected);
  }
}

TEST(BlockModel, LabelColumnsAreOfTrainingNodesAlone) {
  const auto data = make_dataset(deck + ", label_columns: true");
  EXPECT_EQ(data->graph(7, DType::f64)->label_columns, kClasses);
  const std::vector<double> x =
      data->examples(Split::test, all_of(*data, Split::test), DType::f64, 7).inputs.to_vector();
  const auto training = labels(*data, Split::training);
  for (int node = 0; node < kNodes; ++node)
    for (int c = 0; c < kClasses; ++c) {
      const auto known = training.find(node);
      EXPECT_EQ(x[static_cast<std::size_t>(node * (3 + kClasses) + 3 + c)], known == training.end() ? 0.25
                                                                            : known->second == c    ? 1
                                                                                                    : 0);
    }
}

TEST(BlockModel, PartsShareTheTrainingNodes) {
  const auto whole = make_dataset(deck), parts = make_dataset(deck + ", parts: 4");
  EXPECT_EQ(parts->size(Split::training), 4);
  double weight = 0;
  EXPECT_EQ(labels(*parts, Split::training, &weight), labels(*whole, Split::training));
  EXPECT_DOUBLE_EQ(weight, kNodes / 5.0);
}

TEST(BlockModel, RefusesWhatNoGraphCanBe) {
  EXPECT_THAT(refusal("name: csbm, nodes: 10, classes: 4"),
              HasSubstr("10 cannot be divided into 4 equal classes"));
  EXPECT_THAT(refusal("name: csbm, nodes: 280"), HasSubstr("leave none of 280 to test; choose fewer"));
  EXPECT_THAT(refusal("name: csbm, parts: 7"), HasSubstr("7 do not divide the 80 training nodes"));
  EXPECT_THAT(refusal("name: csbm, degree: 800"), HasSubstr("choose fewer, or more nodes"));
}

}  // namespace
}  // namespace rankine
