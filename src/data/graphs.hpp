// Data sets whose examples are the nodes of one graph: a network sees all of them, and labels of some.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/data/dataset.hpp"
#include "src/data/splits.hpp"

namespace rankine {

/// The contextual stochastic block model (Deshpande et al., arXiv 1807.09596): nodes of `classes` equal
/// classes, an edge between two of them with probability p within a class and p / ratio across, such that a
/// node has `degree` edges in the mean; features separation * mean of the class + normal. The run's seed
/// draws another graph each, together with `seed`.
///
/// An example is the whole graph [nodes, features] with the labels of a split's nodes: targets [nodes,
/// classes] are nodes / labelled at a labelled node's class, else 0, so that a mean over the nodes is the
/// mean over the labelled ones. `parts` examples share the training nodes evenly.
class BlockModel final : public Dataset {
 public:
  struct Options {
    int nodes = 1200, classes = 4, features = 64;
    double degree = 8, ratio = 6, separation = 0.35;
    int train_per_class = 20, validation = 200, parts = 1;
    bool virtual_nodes = false, label_columns = false;
    long seed = 0;
    /// Of an edge within a class.
    double probability() const;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  BlockModel(const Options& options, const DatasetContext& context) : options_(options) {
    static_cast<void>(context);
  }

  Shape input_shape() const override {
    return {all_nodes(), options_.features + (options_.label_columns ? options_.classes : 0)};
  }
  std::int64_t classes() const override { return options_.classes; }
  Shape target_shape() const override { return {all_nodes()}; }
  std::int64_t size(Split split) const override { return split == Split::training ? options_.parts : 1; }
  Examples examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t seed,
                    std::int64_t step) const override;
  std::shared_ptr<const Graph> graph(std::uint64_t seed, DType type) const override;

 private:
  struct Draw {
    std::vector<int> label;            // of each node
    PerSplit<std::vector<int>> nodes;  // of each split
    std::vector<double> features;      // [all nodes, input width]
    std::vector<std::pair<std::int64_t, std::int64_t>> edges;
  };
  std::int64_t all_nodes() const { return options_.nodes + (options_.virtual_nodes ? options_.classes : 0); }
  const Draw& draw(std::uint64_t seed) const;

  Options options_;
  // The newest, which all steps of a run ask for.
  mutable std::uint64_t seed_ = 0;
  mutable std::unique_ptr<const Draw> draw_;
  mutable std::map<DType, std::shared_ptr<const Graph>> graphs_;
};

}  // namespace rankine
