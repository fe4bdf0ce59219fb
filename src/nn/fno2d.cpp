#include "src/nn/fno2d.hpp"

#include <cmath>

#include "src/core/random.hpp"

namespace rankine {

void Fno2dOptions::options(OptionVisitor& o) {
  o("widths", widths, {.help = "channels after the lift and after each block", .min = 1, .min_size = 1});
  o("modes_t", modes_t, {.help = "frequencies kept along t, of each sign", .min = 1});
  o("modes_x", modes_x, {.help = "frequencies kept along x, from 0 on", .min = 1});
  o("projection", projection, {.help = "width of the hidden pointwise layer before the outputs", .min = 1});
  o("spectral_gain", spectral_gain,
    {.help = "standard deviation of fresh spectral weights, times sqrt((in + out) / 2); the paper of the "
             "constraint has 1",
     .min = 0});
  o("precision", precision, {.help = "type of parameters and activations", .choices = {"float", "double"}});
}

Fno2d::Fno2d(const Fno2dOptions& options, const ModelContext& context)
    : options_(options),
      context_(context),
      dtype_(options.precision == "double" ? DType::f64 : DType::f32),
      spectrum_(std::make_shared<TileSpectrum>(context.partition, context.tiles, options.modes_t,
                                               options.modes_x)) {
  if (options.widths.empty())
    throw InputError("fno2d: 'widths' is empty; give the channels after the lift at least");
}

ParameterSet Fno2d::initial_parameters(std::uint64_t seed) const {
  ParameterSet set(dtype_);
  const auto fill = [&](const std::string& name, auto&& draw) {
    const RandomStream stream(seed, "parameters/" + name);
    const Tensor values = set.view(name);
    dispatch_real(dtype_, "initial_parameters", [&](auto zero) {
      using T = decltype(zero);
      const HostWrite<T> to(values);
      for (std::int64_t i = 0, end = values.count(); i < end; ++i) to[i] = static_cast<T>(draw(stream, i));
    });
  };
  const auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    const auto draw = [bound](const RandomStream& stream, std::int64_t i) {
      return stream.uniform(-bound, bound, 0, 0, i);
    };
    set.add({.name = name + ".weight", .shape = {out, in}});
    fill(name + ".weight", draw);
    set.add({.name = name + ".bias", .shape = {out}});
    fill(name + ".bias", draw);
  };
  const std::vector<int>& widths = options_.widths;
  linear("fc0", context_.inputs, widths[0]);
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    const std::string block = "block" + std::to_string(i);
    set.add({.name = block + ".spectral",
             .shape = {widths[i], widths[i + 1], 2, 2 * options_.modes_t, options_.modes_x},
             .group = "spectral",
             .on_tiles = false});
    const double deviation = options_.spectral_gain / std::sqrt(0.5 * (widths[i] + widths[i + 1]));
    fill(block + ".spectral", [deviation](const RandomStream& stream, std::int64_t k) {
      return deviation * stream.normal(0, 0, k);
    });
    linear(block + ".conv", widths[i], widths[i + 1]);
  }
  linear("fc1", widths.back(), options_.projection);
  linear("fc2", options_.projection, context_.outputs);
  return set;
}

Tensor Fno2d::forward(const BoundParameters& p, const Tensor& x) const {
  RANKINE_ASSERT(x.rank() == 5 && x.shape()[2] == context_.inputs, "fno2d: input " + x.shape().text());
  Tensor z = hooked("fc0", pointwise_linear(cast(x, dtype_), p["fc0.weight"], p["fc0.bias"]));
  const std::size_t blocks = options_.widths.size() - 1;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::string block = "block" + std::to_string(i);
    const Tensor& spectral = p[block + ".spectral"];
    const std::int64_t modes = std::int64_t{2} * options_.modes_t * options_.modes_x;
    z = hooked(block,
               fourier_layer(z, reshape(spectral, {spectral.shape()[0], spectral.shape()[1], 2, modes}),
                             p[block + ".conv.weight"], p[block + ".conv.bias"], i > 0, spectrum_));
  }
  const Tensor y = hooked(
      "fc2", blocks > 0 ? projection_head(z, p["fc1.weight"], p["fc1.bias"], p["fc2.weight"], p["fc2.bias"])
                        : pointwise_linear(gelu(pointwise_linear(z, p["fc1.weight"], p["fc1.bias"])),
                                           p["fc2.weight"], p["fc2.bias"]));
  return context_.final_gelu ? gelu(y) : y;
}

}  // namespace rankine
