// Where in an image a network finds a class: a number for each pixel.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "src/probe/probe.hpp"

namespace rankine {

/// Maps from the outputs X of blocks and the gradients G that reach them, both [C, H, W]:
///   normgrad   |X_u| |G_u| at each pixel u, norms over the channels (Rebuffi et al., arXiv 2004.02866); G of
///              the loss
///   gradient   the largest |G| of the channels; of the loss
///   grad_cam   relu(sum over c of mean(G_c) X_c) (Selvaraju et al., arXiv 1610.02391); G of the class's
///   score
std::vector<double> saliency_map(const std::string& kind, std::span<const double> x,
                                 std::span<const double> g, std::int64_t channels);

/// Bilinear between the centres of pixels, from [height, width] to [rows, columns].
std::vector<double> resized(const std::vector<double>& map, std::int64_t height, std::int64_t width,
                            std::int64_t rows, std::int64_t columns);

/// Of each example the map [H W].
using SaliencyMaps = std::vector<std::vector<double>>;

/// Maps for the classes [1, n] of inputs [1, n, C, H, W], in evaluation mode, each resized to the input and
/// scaled to [0, 1]: those of each block of `at`, and, where there are several, their product.
std::vector<SaliencyMaps> saliency_maps(const ProbeRun& run, const ParameterSet& parameters,
                                        const std::string& kind, const std::vector<int>& at,
                                        const Tensor& inputs, const Tensor& classes,
                                        const std::vector<std::int64_t>& ids);

}  // namespace rankine
