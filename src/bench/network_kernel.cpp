#include "src/bench/network_kernel.hpp"

#include "src/core/random.hpp"
#include "src/tensor/tape.hpp"

namespace rankine {

void NetworkKernel::Options::options(OptionVisitor& o) {
  o("input", input, {.help = "shape of a sample", .min = 1, .required = true, .min_size = 1, .max_size = 4});
  o("backward", backward, {.help = "and the gradient of all parameters, as in training"});
}

void NetworkKernel::describe(OptionVisitor& o) {
  Options options;
  options.options(o);
  std::string blocks;
  o("blocks", blocks, {.help = "a list of layers, see `rankine list block`", .required = true});
}

NetworkKernel::NetworkKernel(const DeckNode& node) : shards_(local_tile_sum(1)) {
  const DeckNode blocks = node.child("blocks");
  node.read(options_);
  Shape input;
  for (const int extent : options_.input) input.push_back(extent);
  network_ = std::make_unique<Network>(blocks.items(), input, DType::f32);
}

void NetworkKernel::prepare(const BenchProblem& problem) {
  parameters_ = network_->initial_parameters(0);
  const auto of_shard = [&](Shape shape) {
    shape.insert(0, problem.size.n);
    shape.insert(0, 1);
    return shape;
  };
  const Shape shape = of_shard(network_->input());
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  RandomStream(0, "bench/samples").fill_normal<float>(values, 0, 0);
  x_ = Tensor::from(values, shape);
  seed_ = Tensor::full(of_shard(network_->output()), DType::f32, 1);
  const CostAccount account;
  run();
  flops_ = account.total().flops;
}

void NetworkKernel::run() {
  std::optional<NoGrad> off;
  if (!options_.backward) off.emplace();
  Pass pass{.shards = shards_, .training = options_.backward};
  const BoundParameters bound = parameters_->bind(shards_);
  const Tensor y = network_->forward(bound, x_, pass);
  if (options_.backward) grad({y}, {seed_}, {bound.flat()});
}

}  // namespace rankine
