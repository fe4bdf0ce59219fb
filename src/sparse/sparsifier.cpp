#include "src/sparse/sparsifier.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "src/core/pattern.hpp"
#include "src/core/strings.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

std::int64_t rounded(double x) { return static_cast<std::int64_t>(std::llround(x)); }

/// The score of a weight that is removed already.
constexpr double removed = -std::numeric_limits<double>::infinity();

ParameterInfo& part_named(ParameterSet& parameters, const std::string& name) {
  return *std::find_if(parameters.parts().begin(), parameters.parts().end(),
                       [&](const ParameterInfo& part) { return part.name == name; });
}

}  // namespace

void LayerRate::options(OptionVisitor& o) {
  o("on", on, {.help = "patterns of names of parameters", .required = true, .min_size = 1});
  o("factor", factor, {.help = "factor on the rate of a phase's pruning", .min = 0});
}

void SparsityOptions::options(OptionVisitor& o) {
  o("on", on, {.help = "patterns of names of the parameters that are made sparse; * stands for any text"});
  o("except", except, {.help = "patterns of names that are left dense"});
  o("density", density,
    {.help = "part of these weights that remains at the end of the schedule; 1: pruning is left to "
             "train.phases",
     .min = 0,
     .max = 1,
     .exclusive_min = true});
  o("scope", scope,
    {.help = "whether weights are compared within their layer, each of which has its density, or with those "
             "of all layers",
     .choices = {"layer", "global"}});
  o("layer_density", layer_density,
    {.help =
         "scope: layer: how the density is shared: the same everywhere; larger for small layers (by their "
         "inputs and outputs, or by all extents); or what the criterion would keep with scope: global, "
         "which leaves the choice within a layer to chance",
     .choices = {"uniform", "erdos_renyi", "erdos_renyi_kernel", "snip"}});
  o("rescale", rescale,
    {.help = "divide the weights that remain by the root of their layer's density at each pruning, so that "
             "the variance of activations stays; for pruning before the first step"});
  o("batches", batches, {.help = "batches that a gradient for the criterion is taken over", .min = 1});
  o.list("rates", rates, "factors on the rate of pruning by train.phases, for some layers");
}

void Sparsifier::describe(OptionVisitor& o) {
  SparsityOptions options;
  options.options(o);
}

Sparsifier::Sparsifier(const DeckNode& node, const ParameterSet& network)
    : criterion_(criteria().make_or("magnitude", node.section("criterion"))),
      schedule_(density_schedules().make_or("step", node.section("schedule"))) {
  node.read(options_);
  if (options_.scope == "global" && options_.layer_density != "uniform")
    node.error_at("layer_density", "layer_density: " + options_.layer_density +
                                       " is for scope: layer; with scope: global the criterion decides");
  if (options_.rescale && schedule_->last() > 0)
    node.error_at("rescale",
                  "rescale is for pruning before the first step, but the schedule prunes before step " +
                      std::to_string(schedule_->last()) + " too");
  std::vector<std::string> names;
  for (const ParameterInfo& part : network.parts()) {
    names.push_back(part.name);
    if (part.frozen || !matches_any(options_.on, part.name) || matches_any(options_.except, part.name))
      continue;
    parts_.push_back(part.name);
    shapes_.push_back(part.shape);
    judged_ += part.shape.count();
    factors_.push_back(1);
    for (const LayerRate& rate : options_.rates)
      if (matches_any(rate.on, part.name)) factors_.back() *= rate.factor;
  }
  for (const std::vector<std::string>* patterns : {&options_.on, &options_.except}) {
    for (const std::string& pattern : *patterns) {
      if (std::none_of(names.begin(), names.end(), [&](const auto& n) { return matches(pattern, n); }))
        node.error_at(patterns == &options_.on ? "on" : "except",
                      fmt::format("'{}' is the name of no parameter; the parameters are {}",
                                  printable(pattern), join(names)));
    }
  }
  if (parts_.empty())
    node.error_at("except", "except leaves no parameter to make sparse; the parameters are " + join(names));
}

void Sparsifier::attach(ParameterSet& parameters) const {
  for (const std::string& name : parts_) {
    ParameterInfo& part = part_named(parameters, name);
    part.mask = Tensor::full(part.shape, parameters.dtype(), 1);
  }
}

std::vector<std::pair<std::int64_t, double>> Sparsifier::events() const {
  if (options_.density == 1) return {};
  return schedule_->events(options_.density);
}

std::vector<std::int64_t> Sparsifier::kept(const ParameterSet& parameters) const {
  std::vector<std::int64_t> out;
  for (const std::string& name : parts_) {
    const std::vector<double> mask = parameters.part(name).mask.to_vector();
    out.push_back(std::count(mask.begin(), mask.end(), 1.0));
  }
  return out;
}

std::int64_t Sparsifier::remaining(const ParameterSet& parameters) const {
  const std::vector<std::int64_t> all = kept(parameters);
  return std::accumulate(all.begin(), all.end(), std::int64_t{0});
}

std::vector<std::vector<double>> Sparsifier::scores(const Criterion& criterion,
                                                    const ParameterSet& parameters,
                                                    const Event& event) const {
  Tensor gradient;
  if (criterion.needs_gradient()) gradient = event.gradient(options_.batches);
  std::vector<std::vector<double>> out;
  for (const std::string& name : parts_) {
    const ParameterInfo& part = parameters.part(name);
    const std::vector<double> weights = parameters.view(part).to_vector(), mask = part.mask.to_vector(),
                              slope =
                                  gradient.defined()
                                      ? gradient.view(part.shape, row_major_strides(part.shape), part.offset)
                                            .to_vector()
                                      : std::vector<double>();
    out.push_back(criterion.scores({name, weights, slope, event.seed, event.number}));
    for (std::size_t i = 0; i < mask.size(); ++i)
      if (mask[i] == 0) out.back()[i] = removed;
  }
  return out;
}

std::vector<std::int64_t> Sparsifier::best_of_all(const std::vector<std::vector<double>>& scores,
                                                  std::int64_t keep) const {
  std::vector<std::pair<double, std::size_t>> all;  // score, part: of equals the earlier stays
  for (std::size_t l = 0; l < scores.size(); ++l)
    for (const double score : scores[l])
      if (score != removed) all.emplace_back(-score, l);
  keep = std::min(keep, static_cast<std::int64_t>(all.size()));
  std::nth_element(all.begin(), all.begin() + keep, all.end());
  std::vector<std::int64_t> out(scores.size(), 0);
  for (std::int64_t i = 0; i < keep; ++i) ++out[all[static_cast<std::size_t>(i)].second];
  return out;
}

void Sparsifier::keep_best(ParameterSet& parameters, const std::vector<std::vector<double>>& scores,
                           const std::vector<std::int64_t>& keep) const {
  const NoGrad off;
  for (std::size_t l = 0; l < parts_.size(); ++l) {
    std::vector<std::size_t> order(scores[l].size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto better = [&](std::size_t a, std::size_t b) {
      return scores[l][a] != scores[l][b] ? scores[l][a] > scores[l][b] : a < b;
    };
    const auto count = std::min(static_cast<std::size_t>(keep[l]), order.size());
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), better);
    std::vector<double> mask(order.size(), 0.0);
    std::int64_t left = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (scores[l][order[i]] == removed) continue;
      mask[order[i]] = 1;
      ++left;
    }
    ParameterInfo& part = part_named(parameters, parts_[l]);
    part.mask.assign(cast(Tensor::from(mask, part.shape), parameters.dtype()));
    if (options_.rescale && left > 0) {
      const double density = static_cast<double>(left) / static_cast<double>(part.shape.count());
      const Tensor weights = parameters.view(part);
      weights.assign(scale(weights, 1 / std::sqrt(density)));
    }
  }
  parameters.project();
}

void Sparsifier::prune(ParameterSet& parameters, double density, const Event& event) const {
  const std::vector<std::vector<double>> own = scores(*criterion_, parameters, event);
  const std::int64_t all = rounded(density * static_cast<double>(judged_));
  if (options_.scope == "global") {
    keep_best(parameters, own, best_of_all(own, all));
    return;
  }
  if (options_.layer_density == "snip") {
    keep_best(parameters, own, best_of_all(scores(Snip(), parameters, event), all));
    return;
  }
  const LayerDensity kind = options_.layer_density == "erdos_renyi" ? LayerDensity::erdos_renyi
                            : options_.layer_density == "erdos_renyi_kernel"
                                ? LayerDensity::erdos_renyi_kernel
                                : LayerDensity::uniform;
  const std::vector<double> densities = layer_densities(kind, density, shapes_);
  std::vector<std::int64_t> keep;
  for (std::size_t l = 0; l < parts_.size(); ++l)
    keep.push_back(rounded(densities[l] * static_cast<double>(shapes_[l].count())));
  keep_best(parameters, own, keep);
}

void Sparsifier::prune_rate(ParameterSet& parameters, double rate, const Event& event) const {
  const std::vector<std::vector<double>> own = scores(*criterion_, parameters, event);
  std::vector<std::int64_t> keep = kept(parameters);
  if (options_.scope == "global") {
    const std::int64_t all = std::accumulate(keep.begin(), keep.end(), std::int64_t{0});
    keep_best(parameters, own, best_of_all(own, rounded((1 - rate) * static_cast<double>(all))));
    return;
  }
  for (std::size_t l = 0; l < keep.size(); ++l)
    keep[l] = rounded(std::max(0.0, 1 - rate * factors_[l]) * static_cast<double>(keep[l]));
  keep_best(parameters, own, keep);
}

void Sparsifier::permute(ParameterSet& parameters, const Event& event) const {
  // The best by random scores, as if nothing was removed yet.
  const std::vector<std::int64_t> keep = kept(parameters);
  const RandomScore random;
  for (std::size_t l = 0; l < parts_.size(); ++l) {
    const ParameterInfo& part = part_named(parameters, parts_[l]);
    part.mask.assign(Tensor::full(part.shape, parameters.dtype(), 1));
  }
  keep_best(parameters, scores(random, parameters, event), keep);
}

}  // namespace rankine
