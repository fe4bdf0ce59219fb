// Gram matrices of the gradients of a network's outputs.
#pragma once

#include <vector>

#include "src/probe/probe.hpp"

namespace rankine {

/// The first examples of a split, with inputs as [1, n, ...].
Examples first_examples(const ProbeSetup& setup, Split split, int count);

/// Theta(x, x') = mean over the outputs f_k of <df_k(x)/dw, df_k(x')/dw> (Jacot et al., arXiv 1806.07572), in
/// evaluation mode, [n, n] for the examples, whose inputs are [1, n, ...]. Dense blocks on vectors take
/// (A A' + 1) o (D D') with their inputs A and their outputs' gradients D; of all other blocks the gradients
/// of each example are formed.
std::vector<double> tangent_kernel(const ProbeRun& run, const Examples& examples);

/// Its limit for infinitely wide hidden layers of a network of dense blocks with parametrisation: ntk and
/// relu between them, for inputs [1, n, d]. InputError for another network.
std::vector<double> infinite_width_kernel(const Network& network, const Tensor& inputs);

}  // namespace rankine
