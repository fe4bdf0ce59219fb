// Fresh parameters: drawn from the seed and the parameter's name alone.
#pragma once

#include <cstdint>
#include <string>

#include "src/tensor/parameters.hpp"

namespace rankine {

/// How weights are drawn; `fan_in` is the number of inputs that one output sums over.
enum class Initialisation {
  uniform,        ///< within 1 / sqrt(fan_in), as PyTorch's layers do
  he_normal,      ///< normal of variance 2 / fan_in (He et al., arXiv 1502.01852)
  he_normal_out,  ///< normal of variance 2 / fan_out
  xavier_normal,  ///< normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio, AISTATS 2010)
  lecun_normal,   ///< normal of variance 1 / fan_in
  zeros,
  ones,
};

/// The enumerators' names, for an option's `choices`, and back.
extern const std::vector<std::string> initialisation_names;
Initialisation initialisation_of(const std::string& name);

/// Appends `info` to the set and fills it.
void add_parameter(ParameterSet& set, ParameterInfo info, Initialisation how, double fan_in, double fan_out,
                   std::uint64_t seed);
/// Appends `info`, all entries `value`.
void add_constant(ParameterSet& set, ParameterInfo info, double value);
/// Appends `info`, normal of the given standard deviation.
void add_normal(ParameterSet& set, ParameterInfo info, double deviation, std::uint64_t seed);

}  // namespace rankine
