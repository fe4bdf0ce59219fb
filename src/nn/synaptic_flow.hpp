// The gradient of SynFlow (Tanaka et al., arXiv 2006.05467), which needs no data.
#pragma once

#include "src/nn/network.hpp"

namespace rankine {

/// dR / d|w| [count], R being the sum of the outputs of the network with |w| for all parameters w at an input
/// of ones (algorithm 1). InputError for a network whose inputs are no real numbers.
Tensor synaptic_flow(const Network& network, const ParameterSet& parameters,
                     std::shared_ptr<const Graph> graph);

}  // namespace rankine
