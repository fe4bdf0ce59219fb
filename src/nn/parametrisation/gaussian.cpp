#include "src/nn/parametrisation/gaussian.hpp"

#include <cmath>

#include "src/nn/initialisation.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

void Gaussian::Options::options(OptionVisitor& o) {
  o("sigma", sigma, {.help = "first standard deviation; 0: weights are not random", .min = 0});
  o("draws", draws,
    {.help =
         "draws whose outputs (of classes: probabilities) an evaluation takes the mean of; 0: it sees the "
         "means of the weights",
     .min = 0});
}

void Gaussian::add_parameters(ParameterSet& set, const std::string& name, std::uint64_t) const {
  if (options_.sigma == 0) return;
  add_constant(set, {.name = name + std::string(suffix), .shape = set.part(name).shape, .group = "gaussian"},
               2 * std::log(options_.sigma));
}

Tensor Gaussian::value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const {
  const Tensor& mean = parameters[name];
  if (options_.sigma == 0 || (!pass.training && pass.draw == 0)) return mean;
  const RandomStream stream(pass.seed, (pass.training ? "gaussian/" : "gaussian/evaluation/") + name);
  const Tensor noise = repeated(
      [&](const Tensor& one) {
        std::vector<double> values(static_cast<std::size_t>(one.count()));
        stream.fill_normal(std::span(values), pass.training ? pass.step : 0, pass.draw);
        const Tensor e = cast(Tensor::from(values, one.shape()), one.dtype()), mask = parameters.mask(name);
        return mask.defined() ? mul(e, mask) : e;
      },
      mean);
  return add(mean, mul(exp(scale(parameters[name + std::string(suffix)], 0.5)), noise));
}

}  // namespace rankine
