// What tests of probes look at: a network in double precision on a small set of classes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "src/data/generated.hpp"
#include "src/io/checkpoint.hpp"
#include "src/probe/probe_list.hpp"
#include "src/rules/backprop.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine::testing {

inline GaussianMixture::Options three_classes() {
  GaussianMixture::Options options;
  options.train = 22;
  options.validation = 10;
  options.test = 13;
  options.classes = 3;
  options.features = 4;
  return options;
}

struct ProbeProblem {
  explicit ProbeProblem(const std::string& blocks, const Communicator& communicator = Communicator::self())
      : ranks(communicator.duplicate()),
        made(three_classes(), {ranks}),
        data(made),
        network(network_from(blocks, {4})),
        parameters(network.initial_parameters(3)),
        setup{network, data, loss, 4},
        writer(ResultsWriter::in_memory(ranks.is_root())),
        run{setup, ranks, parameters, rule, writer.run("v", 0)} {}

  /// The training examples that a probe takes first.
  Examples first(std::int64_t count) const {
    std::vector<std::int64_t> which(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) which[static_cast<std::size_t>(i)] = i;
    Examples examples = data.examples(Split::training, which, DType::f64);
    examples.inputs = reshape(examples.inputs, {1, count, 4});
    examples.targets = reshape(examples.targets, {1, count});
    return examples;
  }
  Tensor outputs(const ParameterSet& of, const Tensor& inputs) const {
    const NoGrad off;
    Pass pass{.shards = local_tile_sum(1)};
    return network.forward(of.bind(pass.shards), inputs, pass);
  }
  /// A column of a table of the results.
  std::vector<double> column(const std::string& table, const std::string& metric) const {
    return columns().at("results/tables/" + table + "/columns/" + metric);
  }
  /// All columns of all tables.
  std::map<std::string, std::vector<double>> columns() const {
    CheckpointContent content;
    run.results.save(content);
    std::map<std::string, std::vector<double>> out;
    for (const auto& [name, value] : content.state)
      if (value.type == DType::f64)
        out[name] = Tensor::from_bytes(value.bytes, Shape(value.shape), value.type).to_vector();
    return out;
  }

  Communicator ranks;
  GaussianMixture made;
  const Dataset& data;
  Network network;
  CrossEntropy loss{CrossEntropy::Options{}};
  ParameterSet parameters;
  Backprop rule;
  ProbeSetup setup;
  ResultsWriter writer;
  ProbeRun run;
};

}  // namespace rankine::testing
