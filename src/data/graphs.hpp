// Data sets on graphs: a network sees all nodes of one graph, and learns from the labels of some of them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "src/data/dataset.hpp"
#include "src/data/splits.hpp"

namespace rankine {

/// The contextual stochastic block model (Deshpande et al., arXiv 1807.09596). The nodes belong to `classes`
/// classes of equal size. Two nodes are joined by an edge with probability p if they are of one class, else p
/// / ratio; p is such that a node has `degree` edges on average. The features of a node are separation * mean
/// of its class + a normal number. Each seed of a run has a graph of its own, which the run's seed and `seed`
/// draw together.
///
/// An example is the whole graph [nodes, features] with the labels of the nodes of a split. Targets [nodes,
/// classes] are nodes / labelled for the class of a labelled node, and 0 elsewhere, so that a mean over all
/// nodes is the mean over the labelled ones. The training nodes are divided evenly among `parts` examples.
class BlockModel final : public Dataset {
 public:
  struct Options {
    int nodes = 1200, classes = 4, features = 64;
    double degree = 8, ratio = 6, separation = 0.35;
    int train_per_class = 20, validation = 200, parts = 1;
    bool virtual_nodes = false, label_columns = false;
    long seed = 0;
    /// The probability p of an edge within a class.
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
  // A cache of the latest graph, which all steps of a run use.
  mutable std::uint64_t seed_ = 0;
  mutable std::unique_ptr<const Draw> draw_;
  mutable std::map<DType, std::shared_ptr<const Graph>> graphs_;
};

}  // namespace rankine
