#include "src/nn/fno.hpp"

#include <cmath>

#include "src/core/random.hpp"

namespace rankine {

namespace {

/// The options of both, with those of the modes in their place.
template <class Options, class Modes>
void visit(OptionVisitor& o, Options& all, const Modes& modes) {
  o("widths", all.widths, {.help = "channels after the lift and after each block", .min = 1, .min_size = 1});
  modes();
  o("projection", all.projection,
    {.help = "width of the hidden pointwise layer before the outputs", .min = 1});
  o("spectral_gain", all.spectral_gain,
    {.help = "standard deviation of fresh spectral weights, times sqrt((in + out) / 2); the paper of the "
             "constraint has 1",
     .min = 0});
  o("precision", all.precision,
    {.help = "type of parameters and activations", .choices = {"float", "double"}});
}

std::string axes_of(const TileGrid& grid) {
  std::string text;
  for (int axis = 0; axis < grid.axes(); ++axis)
    text += (axis > 0 ? ", " : "") + std::string(axis_name(axis));
  return text;
}

FnoOptions over_t_and_x(const Fno2dOptions& o, const TileGrid& grid) {
  if (grid.axes() != 2)
    throw InputError("fno2d: it is for t and x, and the grid has the axes " + axes_of(grid) +
                     "; take fno with modes: [..], a number for each");
  return {o.widths, {o.modes_t, o.modes_x}, o.projection, o.spectral_gain, o.precision};
}

SharedSpectrum spectrum_of(const FnoOptions& options, const ModelContext& context) {
  const TileGrid& grid = context.partition.grid();
  if (static_cast<int>(options.modes.size()) != grid.axes())
    throw InputError("modes: " + std::to_string(options.modes.size()) +
                     " numbers, and the grid has the axes " + axes_of(grid) + "; give one for each");
  return std::make_shared<TileSpectrum>(context.partition, context.tiles,
                                        PerAxis(options.modes.begin(), options.modes.end()));
}

}  // namespace

void FnoOptions::options(OptionVisitor& o) {
  visit(o, *this, [&] {
    o("modes", modes,
      {.help =
           "frequencies kept along each axis of the grid, t first: of each sign, along the last axis from 0 "
           "on; 1 along an axis of one point",
       .min = 1,
       .min_size = 2,
       .max_size = max_axes});
  });
}

void Fno2dOptions::options(OptionVisitor& o) {
  visit(o, *this, [&] {
    o("modes_t", modes_t, {.help = "frequencies kept along t, of each sign", .min = 1});
    o("modes_x", modes_x, {.help = "frequencies kept along x, from 0 on", .min = 1});
  });
}

Fno2d::Fno2d(const Fno2dOptions& options, const ModelContext& context)
    : Fno(over_t_and_x(options, context.partition.grid()), context) {}

Fno::Fno(const FnoOptions& options, const ModelContext& context)
    : options_(options),
      context_(context),
      dtype_(options.precision == "double" ? DType::f64 : DType::f32),
      spectrum_(spectrum_of(options, context)) {
  if (options.widths.empty())
    throw InputError("'widths' is empty; give the channels after the lift at least");
}

ParameterSet Fno::initial_parameters(std::uint64_t seed) const {
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
    Shape spectral{widths[i], widths[i + 1], 2};
    for (const std::int64_t m : spectrum_->modes) spectral.push_back(m);
    set.add({.name = block + ".spectral", .shape = spectral, .group = "spectral", .on_tiles = false});
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

Tensor Fno::forward(const BoundParameters& p, const Tensor& x) const {
  RANKINE_ASSERT(x.shape()[2] == context_.inputs, "fno: input " + x.shape().text());
  Tensor z = hooked("fc0", pointwise_linear(cast(x, dtype_), p["fc0.weight"], p["fc0.bias"]));
  const std::size_t blocks = options_.widths.size() - 1;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::string block = "block" + std::to_string(i);
    const Tensor& spectral = p[block + ".spectral"];
    z = hooked(block, fourier_layer(z,
                                    reshape(spectral, {spectral.shape()[0], spectral.shape()[1], 2,
                                                       spectrum_->modes.count()}),
                                    p[block + ".conv.weight"], p[block + ".conv.bias"], i > 0, spectrum_));
  }
  const Tensor y = hooked(
      "fc2", blocks > 0 ? projection_head(z, p["fc1.weight"], p["fc1.bias"], p["fc2.weight"], p["fc2.bias"])
                        : pointwise_linear(gelu(pointwise_linear(z, p["fc1.weight"], p["fc1.bias"])),
                                           p["fc2.weight"], p["fc2.bias"]));
  return context_.final_gelu ? gelu(y) : y;
}

}  // namespace rankine
