#include "src/nn/layers/dense.hpp"

#include <cmath>

#include "src/nn/affine.hpp"
#include "src/nn/initialisation.hpp"

namespace rankine {

void Dense::Options::options(OptionVisitor& o) {
  o("units", units, {.help = "outputs", .min = 1, .required = true});
  o("bias", bias, {.help = "whether a bias is added"});
  o("initialisation", initialisation, {.help = "how weights are drawn", .choices = initialisation_names});
  o("parametrisation", parametrisation,
    {.help = "ntk: standard normal weights and biases, which are multiplied by 1/sqrt(inputs) and bias_scale "
             "where they are used",
     .choices = {"standard", "ntk"}});
  o("bias_scale", bias_scale, {.help = "for parametrisation: ntk", .min = 0});
}

double Dense::weight_factor() const {
  if (!ntk()) return 1;
  return 1 / std::sqrt(static_cast<double>(input()[input().rank() - 1]));
}

double Dense::bias_factor() const {
  if (!options_.bias) return 0;
  return ntk() ? options_.bias_scale : 1;
}

Dense::Dense(const Options& options, const LayerContext& context) : Layer(context), options_(options) {
  if (input().rank() == 0)
    throw InputError("dense: the input is a single number; it needs an axis to act on");
}

Shape Dense::output() const {
  Shape out = input();
  out[out.rank() - 1] = options_.units;
  return out;
}

void Dense::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  const std::int64_t in = input()[input().rank() - 1], out = options_.units;
  if (ntk()) {
    add_normal(parameters, {.name = name() + ".weight", .shape = {out, in}}, 1, seed);
    if (options_.bias)
      add_normal(parameters, {.name = name() + ".bias", .shape = {out}, .group = "bias"}, 1, seed);
    return;
  }
  const auto fan_in = static_cast<double>(in), fan_out = static_cast<double>(out);
  add_parameter(parameters, {.name = name() + ".weight", .shape = {out, in}},
                initialisation_of(options_.initialisation), fan_in, fan_out, seed);
  if (!options_.bias) return;
  ParameterInfo bias{.name = name() + ".bias", .shape = {out}, .group = "bias"};
  add_parameter(parameters, std::move(bias),
                options_.initialisation == "uniform" ? Initialisation::uniform : Initialisation::zeros,
                fan_in, fan_out, seed);
}

Products Dense::products() const {
  return {.weights = {{name() + ".weight", static_cast<double>(output().count() / options_.units)}}};
}

Tensor Dense::forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const {
  pass.multiplies(name() + ".weight", x, x.rank() - 1);
  Tensor weight = parameters[name() + ".weight"],
         bias = options_.bias ? parameters[name() + ".bias"] : Tensor();
  if (ntk()) {
    weight = scale(weight, weight_factor());
    if (bias.defined()) bias = scale(bias, bias_factor());
  }
  return affine(x, weight, bias);
}

Tensor Flatten::forward(const BoundParameters&, const Tensor& x, Pass&) const {
  return reshape(x, {x.extent(0), x.extent(1), -1});
}

}  // namespace rankine
