#include "src/probe/saliency_maps.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "src/core/statistics.hpp"

namespace rankine {
namespace {

void scale_to_one(std::vector<double>& map) {
  const auto [low, high] = std::minmax_element(map.begin(), map.end());
  const double least = *low, range = *high - *low;
  for (double& value : map) value = range > 0 ? (value - least) / range : 0;
}

}  // namespace

std::vector<double> saliency_map(const std::string& kind, std::span<const double> x,
                                 std::span<const double> g, std::int64_t channels) {
  const std::size_t pixels = x.size() / static_cast<std::size_t>(channels);
  std::vector<double> map(pixels), other(pixels);
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    const std::span<const double> xc = x.subspan(c * pixels, pixels), gc = g.subspan(c * pixels, pixels);
    const double weight = mean(gc);
    for (std::size_t u = 0; u < pixels; ++u) {
      if (kind == "normgrad") {
        map[u] += xc[u] * xc[u];
        other[u] += gc[u] * gc[u];
      } else if (kind == "gradient") {
        map[u] = std::max(map[u], std::abs(gc[u]));
      } else {
        map[u] += weight * xc[u];
      }
    }
  }
  for (std::size_t u = 0; u < pixels; ++u) {
    if (kind == "normgrad") map[u] = std::sqrt(map[u]) * std::sqrt(other[u]);
    if (kind == "grad_cam") map[u] = std::max(map[u], 0.0);
  }
  return map;
}

std::vector<double> resized(const std::vector<double>& map, std::int64_t height, std::int64_t width,
                            std::int64_t rows, std::int64_t columns) {
  struct Place {
    std::size_t low, high;
    double share;  // of high
  };
  const auto place = [](std::int64_t i, std::int64_t to, std::int64_t from) {
    const double at =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    const double inside = std::clamp(at, 0.0, static_cast<double>(from - 1));
    const auto low = static_cast<std::size_t>(inside);
    return Place{low, std::min(low + 1, static_cast<std::size_t>(from - 1)), inside - std::floor(inside)};
  };
  std::vector<double> out;
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t x = 0; x < columns; ++x) {
      const Place v = place(y, rows, height), h = place(x, columns, width);
      const auto along = [&](std::size_t row) {
        const double* values = map.data() + row * static_cast<std::size_t>(width);
        return (1 - h.share) * values[h.low] + h.share * values[h.high];
      };
      out.push_back((1 - v.share) * along(v.low) + v.share * along(v.high));
    }
  return out;
}

std::vector<SaliencyMaps> saliency_maps(const ProbeRun& run, const ParameterSet& parameters,
                                        const std::string& kind, const std::vector<int>& at,
                                        const Tensor& inputs, const Tensor& classes,
                                        const std::vector<std::int64_t>& ids) {
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = ids;
  std::vector<Tensor> watched(at.size());
  pass.hooks.emplace_back([&](const std::string& name, const Tensor&, const Tensor& output) {
    for (std::size_t k = 0; k < watched.size(); ++k)
      if (name == run.setup.network.block(at[k]).name()) watched[k] = output;
    return Tensor();
  });
  const BoundParameters bound = parameters.bind(pass.shards);
  const WithTape on;
  const Tensor outputs = run.predict(bound, variable(inputs), pass);
  Tensor value;
  if (kind == "grad_cam") {
    const std::vector<double> asked = classes.to_vector();
    std::vector<double> chosen(static_cast<std::size_t>(outputs.count()));
    const std::size_t width = chosen.size() / asked.size();
    for (std::size_t i = 0; i < asked.size(); ++i) chosen[i * width + static_cast<std::size_t>(asked[i])] = 1;
    value = sum(mul(outputs, cast(Tensor::from(chosen, outputs.shape()), outputs.dtype())));
  } else {
    value = sum(run.setup.loss.per_sample(outputs, classes, 2));
  }
  const std::vector<Tensor> gradients = grad({value}, {Tensor()}, watched);
  const std::int64_t rows = inputs.extent(3), columns = inputs.extent(4);
  std::vector<SaliencyMaps> out;
  for (std::size_t k = 0; k < watched.size(); ++k) {
    const std::vector<double> x = watched[k].to_vector(), g = gradients[k].to_vector();
    const std::size_t each = x.size() / ids.size();
    SaliencyMaps& of_block = out.emplace_back();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::vector<double> map =
          saliency_map(kind, std::span(x).subspan(i * each, each), std::span(g).subspan(i * each, each),
                       watched[k].extent(2));
      of_block.push_back(resized(map, watched[k].extent(3), watched[k].extent(4), rows, columns));
      scale_to_one(of_block.back());
    }
  }
  if (out.size() == 1) return out;
  SaliencyMaps product = out.front();
  for (std::size_t k = 1; k < out.size(); ++k)
    for (std::size_t i = 0; i < ids.size(); ++i)
      std::transform(product[i].begin(), product[i].end(), out[k][i].begin(), product[i].begin(),
                     std::multiplies<>());
  out.push_back(std::move(product));
  return out;
}

}  // namespace rankine
