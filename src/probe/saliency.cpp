#include "src/probe/saliency.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "src/core/statistics.hpp"
#include "src/probe/calibration.hpp"
#include "src/probe/localisation.hpp"
#include "src/probe/saliency_maps.hpp"
#include "src/tensor/elementary.hpp"

namespace rankine {
namespace {

/// 0 where one of them is constant.
double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double a0 = mean(a), b0 = mean(b);
  double aa = 0, ab = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += (a[i] - a0) * (a[i] - a0);
    ab += (a[i] - a0) * (b[i] - b0);
    bb += (b[i] - b0) * (b[i] - b0);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

}  // namespace

void Saliency::Options::options(OptionVisitor& o) {
  o("map", map,
    {.help = "norms of outputs times norms of gradients, largest gradients, or outputs weighted by mean "
             "gradients",
     .choices = {"normgrad", "gradient", "grad_cam"}});
  o("at", at,
    {.help = "blocks whose outputs are looked at, counted from 0",
     .min = 0,
     .required = true,
     .min_size = 1});
  o("inner_rate", inner_rate,
    {.help = "step of gradient descent for the class asked for before the map is made (0: none)", .min = 0});
  o("box_above", box_above,
    {.help = "a map's box is that of its largest region above this share of its largest value (0: no boxes)",
     .min = 0,
     .max = 1,
     .exclusive_max = true});
  o("on", on, {.help = "split that is judged at the end of training", .choices = {"test", "validation"}});
}

void Saliency::check(const ProbeSetup& setup) const {
  check_classes(setup);
  const std::vector<std::int64_t> first{0};
  const Examples example = setup.data.examples(split(), first, setup.network.dtype());
  if (!setup.data.box(example.ids.front()))
    throw InputError(
        "the data set does not say where in an image its thing is; take data: {name: canvas, ...}");
  for (const int b : options_.at) {
    if (b >= setup.network.size())
      throw InputError(
          fmt::format("at: {}, and the network has the blocks 0 to {}", b, setup.network.size() - 1));
    if (setup.network.block(b).output().rank() != 3)
      throw InputError(fmt::format("at: the output {} of block {} is no image [channels, height, width]",
                                   setup.network.block(b).output().text(), b));
  }
}

std::vector<MetricInfo> Saliency::metrics() const {
  const std::string name = options_.map + (options_.inner_rate > 0 ? "_inner" : "");
  std::vector<MetricInfo> out;
  const auto add = [&](const std::string& of, const std::string& what) {
    out.push_back(
        {name + "_pointing_" + of, "1", "share of examples whose map is largest in the box, " + what});
    out.push_back({name + "_energy_" + of, "1", "share of the map's sum in the box, " + what});
    if (options_.box_above > 0)
      out.push_back({name + "_localisation_" + of, "1",
                     "share of examples whose map's box overlaps the box by half or more, " + what});
  };
  for (const int b : options_.at) add(fmt::format("block{}", b), fmt::format("output of block {}", b));
  if (options_.at.size() > 1) add("combined", "product of the blocks' maps");
  out.push_back({name + "_class_correlation", "1", "of the maps for the most and the least probable class"});
  return out;
}

ParameterSet after_inner_step(const ProbeRun& run, const Tensor& input, const Tensor& asked, std::int64_t id,
                              double rate) {
  const WithTape on;
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = {id};
  const BoundParameters bound = run.parameters.bind(pass.shards);
  const Tensor loss = sum(run.setup.loss.per_sample(run.predict(bound, input, pass), asked, 2));
  const Tensor gradient = grad({loss}, {Tensor()}, {bound.flat()}).front();
  const NoGrad off;
  const ParameterSet out = run.parameters.with_values(sub(run.parameters.flat(), scale(gradient, rate)));
  const ParameterSet fresh = run.setup.network.initial_parameters(0);
  for (const ParameterInfo& part : fresh.parts())
    if (part.frozen) out.view(part).assign(run.parameters.view(part));  // running statistics
  out.project();
  return out;
}

std::vector<SaliencyMaps> Saliency::maps(const ProbeRun& run, const Tensor& inputs, const Tensor& classes,
                                         const std::vector<std::int64_t>& ids) const {
  if (options_.inner_rate == 0)
    return saliency_maps(run, run.parameters, options_.map, options_.at, inputs, classes, ids);
  std::vector<SaliencyMaps> out;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const Tensor x = slice(inputs, 1, at, at + 1), asked = slice(classes, 1, at, at + 1);
    const ParameterSet stepped = after_inner_step(run, x, asked, ids[i], options_.inner_rate);
    std::vector<SaliencyMaps> one =
        saliency_maps(run, stepped, options_.map, options_.at, x, asked, {ids[i]});
    out.resize(one.size());
    for (std::size_t k = 0; k < one.size(); ++k) out[k].push_back(std::move(one[k].front()));
  }
  return out;
}

void Saliency::see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const {
  const std::int64_t columns = batch.inputs.extent(4);
  const std::vector<SaliencyMaps> found = maps(run, batch.inputs, batch.targets, batch.ids);
  const auto class_maps = [&](const Tensor& asked) {
    return maps(run, batch.inputs, cast(asked, DType::i32), batch.ids).back();
  };
  const SaliencyMaps most = class_maps(argmax(batch.outputs, 2)),
                     least = class_maps(argmin(batch.outputs, 2));
  for (std::size_t i = 0; i < batch.ids.size(); ++i) {
    const ImageBox box = *run.setup.data.box(batch.ids[i]);
    for (const SaliencyMaps& of_block : found) {
      const std::vector<double>& map = of_block[i];
      const auto inside = [&](std::size_t u) {
        const auto pixel = static_cast<std::int64_t>(u);
        return box.holds(pixel / columns, pixel % columns);
      };
      double in = 0;
      for (std::size_t u = 0; u < map.size(); ++u) in += inside(u) ? map[u] : 0;
      const double all = std::accumulate(map.begin(), map.end(), 0.0);
      const auto top = std::max_element(map.begin(), map.end());
      // A map of zeros points nowhere.
      numbers.push_back(all > 0 && inside(static_cast<std::size_t>(top - map.begin())) ? 1 : 0);
      numbers.push_back(all > 0 ? in / all : 0);
      if (options_.box_above > 0)
        numbers.push_back(overlap(box_of_largest_region(map, columns, options_.box_above), box) >= 0.5 ? 1
                                                                                                       : 0);
    }
    numbers.push_back(correlation(most[i], least[i]));
  }
}

void Saliency::conclude(const std::vector<double>& numbers) {
  const std::size_t width = metrics().size();
  values_.assign(width, 0);
  for (std::size_t i = 0; i < numbers.size(); ++i) values_[i % width] += numbers[i];
  for (double& value : values_) value /= static_cast<double>(numbers.size() / width);
}

}  // namespace rankine
