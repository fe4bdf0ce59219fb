#include "kernels/error.hpp"
#include "src/data/canvas.hpp"
#include "src/data/dataset.hpp"
#include "src/data/fashion_mnist.hpp"
#include "src/data/generated.hpp"
#include "src/data/graphs.hpp"
#include "src/data/table.hpp"
#include "src/data/text.hpp"

namespace rankine {

const char* name_of(Split split) {
  switch (split) {
    case Split::training:
      return "training";
    case Split::validation:
      return "validation";
    case Split::test:
      return "test";
  }
  return "";
}

Split split_of(const std::string& name) {
  for (const Split split : {Split::training, Split::validation})
    if (name == name_of(split)) return split;
  RANKINE_ASSERT(name == name_of(Split::test), "no split is called '" + name + "'");
  return Split::test;
}

const Registry<Dataset, const DatasetContext&>& datasets() {
  static const Registry<Dataset, const DatasetContext&> table(
      "dataset",
      {
          entry<FashionMnist>("fashion_mnist",
                              "grey images of clothes in ten classes, 28 x 28 or pooled to 14 x 14"),
          entry<Canvas>("canvas", "images of another data set in one quadrant of a striped picture"),
          entry<Table>("table", "scikit-learn's small tables, or any table as text"),
          entry<Text>("text", "windows of texts, byte by byte, and the byte after each"),
          entry<GaussianMixture>("gaussian_mixture", "classes that are mixtures of Gaussians"),
          entry<Teacher>("teacher", "regression on a network drawn at random"),
          entry<ClusterRegression>("cluster_regression",
                                   "regression on a linear map for each of some clusters"),
          entry<Sine>("sine", "regression on a sum of sines of one variable"),
          entry<Circle>("circle", "regression on the unit circle"),
          entry<Parity>("parity", "the parity of a few of many bits"),
          entry<ModularAddition>("modular_addition", "sums, differences or products modulo p"),
          entry<BlockModel>("csbm", "nodes of a graph drawn by the contextual stochastic block model"),
          entry<LatencySpikes>("latency_spikes", "spike trains whose times carry the class"),
      });
  return table;
}

}  // namespace rankine
