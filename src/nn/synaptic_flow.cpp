#include "src/nn/synaptic_flow.hpp"

#include "src/tensor/elementary.hpp"

namespace rankine {

Tensor synaptic_flow(const Network& network, const ParameterSet& parameters,
                     std::shared_ptr<const Graph> graph) {
  Shape shape = network.input();
  shape.insert(0, 1);
  shape.insert(0, 1);
  Pass pass{.shards = local_tile_sum(1)};
  pass.graph = std::move(graph);
  const BoundParameters bound = parameters.with_values(abs(parameters.flat().detach())).bind(pass.shards);
  const Tensor sum_of_all = sum(network.forward(bound, Tensor::full(shape, network.dtype(), 1), pass));
  return grad({sum_of_all}, {Tensor::full(sum_of_all.shape(), network.dtype(), 1)}, {bound.flat()}).front();
}

}  // namespace rankine
