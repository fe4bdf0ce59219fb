#include "src/data/graphs.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "src/core/random.hpp"
#include "src/data/stored_dataset.hpp"
#include "src/nn/csr.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {

double BlockModel::Options::probability() const {
  const double own = static_cast<double>(nodes) / classes;
  return degree / (own - 1 + (nodes - own) / ratio);
}

void BlockModel::Options::options(OptionVisitor& o) {
  o("nodes", nodes,
    {.help = "nodes of the graph; a number is drawn for each pair of them", .min = 2, .max = 2e4});
  o("classes", classes, {.help = "classes, which divide the nodes evenly", .min = 2});
  o("features", features, {.help = "numbers of a node", .min = 1});
  o("degree", degree, {.help = "mean number of edges of a node", .min = 0});
  o("ratio", ratio,
    {.help = "how much likelier an edge is within a class than across", .min = 0, .exclusive_min = true});
  o("separation", separation,
    {.help = "standard deviation of the classes' means, in each feature", .min = 0});
  o("train_per_class", train_per_class, {.help = "training nodes of each class", .min = 1});
  o("validation", validation,
    {.help = "nodes to choose hyper-parameters on; the others are to test", .min = 1});
  o("parts", parts,
    {.help = "examples that share the training nodes evenly, each with the whole graph; a batch holds some",
     .min = 1});
  o("virtual_nodes", virtual_nodes,
    {.help = "whether a node with random features stands for each class, behind the others, with an edge to "
             "each training node of it"});
  o("label_columns", label_columns,
    {.help = "whether the classes of training nodes are features too, one-hot; 1 / classes at other nodes"});
  o("seed", seed, {.help = "seed of all that is drawn, beside the run's", .min = 0});
}

void BlockModel::Options::validate(const DeckNode& node) const {
  if (nodes % classes != 0)
    node.error_at("nodes", fmt::format("nodes: {} cannot be divided into {} equal classes; choose a multiple",
                                       nodes, classes));
  if (nodes / classes < train_per_class || nodes - classes * train_per_class <= validation)
    node.error_at("validation",
                  fmt::format("validation: {} nodes beside {} for training of each of {} classes "
                              "leave none of {} to test; choose fewer",
                              validation, train_per_class, classes, nodes));
  if (classes * train_per_class % parts != 0)
    node.error_at("parts", fmt::format("parts: {} do not divide the {} training nodes; choose a divisor",
                                       parts, classes * train_per_class));
  if (probability() > 1 || probability() / ratio > 1)
    node.error_at("degree",
                  fmt::format("degree: {} edges a node are more than {} nodes have in classes of {}; "
                              "choose fewer, or more nodes",
                              degree, nodes, nodes / classes));
}

const BlockModel::Draw& BlockModel::draw(std::uint64_t seed) const {
  if (draw_ && seed_ == seed) return *draw_;
  const std::uint64_t key = static_cast<std::uint64_t>(options_.seed) * 0x9E3779B97F4A7C15U + seed;
  const int n = options_.nodes, classes = options_.classes, width = static_cast<int>(input_shape()[1]);
  auto made = std::make_unique<Draw>();
  // Nodes get classes in turn, in a random order. Of each class the first are for training, the next for
  // validation, and the rest for testing.
  const std::vector<std::int64_t> order = RandomStream(key, "data/nodes").permutation(n, 0);
  made->label.resize(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    const auto node = static_cast<int>(order[static_cast<std::size_t>(i)]);
    made->label[static_cast<std::size_t>(node)] = i % classes;
    const int rest = i - classes * options_.train_per_class;
    made->nodes[rest < 0                     ? Split::training
                : rest < options_.validation ? Split::validation
                                             : Split::test]
        .push_back(node);
  }
  const RandomStream edges(key, "data/edges"), means(key, "data/means"), features(key, "data/features"),
      stand_ins(key, "data/virtual");
  const double within = options_.probability(), across = within / options_.ratio;
  std::vector<double> draws(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    edges.fill_uniform(std::span(draws), 0, i);
    for (int j = i + 1; j < n; ++j) {
      const bool same = made->label[static_cast<std::size_t>(i)] == made->label[static_cast<std::size_t>(j)];
      if (draws[static_cast<std::size_t>(j)] < (same ? within : across)) made->edges.emplace_back(i, j);
    }
  }
  made->features.assign(static_cast<std::size_t>(all_nodes() * width), 0);
  const auto row = [&](std::int64_t node) { return made->features.data() + node * width; };
  const auto f = static_cast<std::size_t>(options_.features);
  std::vector<std::vector<double>> mean(static_cast<std::size_t>(classes), std::vector<double>(f));
  for (int c = 0; c < classes; ++c) means.fill_normal(std::span(mean[static_cast<std::size_t>(c)]), 0, c);
  for (int i = 0; i < n; ++i) {
    features.fill_normal(std::span(row(i), f), 0, i);
    const std::vector<double>& m = mean[static_cast<std::size_t>(made->label[static_cast<std::size_t>(i)])];
    for (std::size_t k = 0; k < f; ++k) row(i)[k] += options_.separation * m[k];
  }
  if (options_.virtual_nodes) {
    for (int c = 0; c < classes; ++c) stand_ins.fill_normal(std::span(row(n + c), f), 0, c);
    for (const int node : made->nodes[Split::training])
      made->edges.emplace_back(node, n + made->label[static_cast<std::size_t>(node)]);
  }
  if (options_.label_columns) {
    for (std::int64_t i = 0; i < all_nodes(); ++i) std::fill_n(row(i) + f, classes, 1.0 / classes);
    for (const int node : made->nodes[Split::training])
      for (int c = 0; c < classes; ++c)
        row(node)[f + static_cast<std::size_t>(c)] = c == made->label[static_cast<std::size_t>(node)] ? 1 : 0;
  }
  seed_ = seed;
  draw_ = std::move(made);
  graphs_.clear();
  return *draw_;
}

std::shared_ptr<const Graph> BlockModel::graph(std::uint64_t seed, DType type) const {
  const Draw& d = draw(seed);
  std::shared_ptr<const Graph>& known = graphs_[type];
  if (!known) {
    Graph made = normalised_graph(all_nodes(), d.edges, type);
    made.virtual_nodes = all_nodes() - options_.nodes;
    made.label_columns = input_shape()[1] - options_.features;
    known = std::make_shared<const Graph>(std::move(made));
  }
  return known;
}

Examples BlockModel::examples(Split split, std::span<const std::int64_t> which, DType type,
                              std::uint64_t seed, std::int64_t) const {
  const Draw& d = draw(seed);
  const auto n = static_cast<std::int64_t>(which.size()), nodes = all_nodes();
  HostArray<double> inputs({n, nodes, input_shape()[1]}), targets({n, nodes, classes()});
  targets.fill(0);
  Examples out;
  const std::vector<int>& labelled = d.nodes[split];
  for (std::int64_t e = 0; e < n; ++e) {
    std::copy(d.features.begin(), d.features.end(),
              inputs.data() + e * static_cast<std::int64_t>(d.features.size()));
    const std::int64_t part = which[static_cast<std::size_t>(e)], count = size(split);
    const double weight = static_cast<double>(nodes * count) / static_cast<double>(labelled.size());
    for (auto i = static_cast<std::size_t>(part); i < labelled.size(); i += static_cast<std::size_t>(count)) {
      const int node = labelled[i];
      targets[(e * nodes + node) * classes() + d.label[static_cast<std::size_t>(node)]] = weight;
    }
    out.ids.push_back(generated_id(split, part));
  }
  out.inputs = cast(inputs.to_device(), type);
  out.targets = cast(targets.to_device(), type);
  return out;
}

}  // namespace rankine
