#include "src/nn/layers/dense.hpp"

#include "src/nn/affine.hpp"
#include "src/nn/initialisation.hpp"

namespace rankine {

void Dense::Options::options(OptionVisitor& o) {
  o("units", units, {.help = "outputs", .min = 1, .required = true});
  o("bias", bias, {.help = "whether a bias is added"});
  o("initialisation", initialisation, {.help = "how weights are drawn", .choices = initialisation_names});
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
  const auto fan_in = static_cast<double>(in), fan_out = static_cast<double>(out);
  add_parameter(parameters, {.name = name() + ".weight", .shape = {out, in}},
                initialisation_of(options_.initialisation), fan_in, fan_out, seed);
  if (!options_.bias) return;
  ParameterInfo bias{.name = name() + ".bias", .shape = {out}, .group = "bias"};
  add_parameter(parameters, std::move(bias),
                options_.initialisation == "uniform" ? Initialisation::uniform : Initialisation::zeros,
                fan_in, fan_out, seed);
}

Tensor Dense::forward(const BoundParameters& parameters, const Tensor& x, Pass&) const {
  return affine(x, parameters[name() + ".weight"], options_.bias ? parameters[name() + ".bias"] : Tensor());
}

Tensor Flatten::forward(const BoundParameters&, const Tensor& x, Pass&) const {
  return reshape(x, {x.extent(0), x.extent(1), -1});
}

}  // namespace rankine
