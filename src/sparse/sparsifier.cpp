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
    {.help = "what weights are compared with: those of their layer, each of which has its density; those of "
             "one output in it, each of which keeps as many; or those of all layers",
     .choices = {"layer", "row", "global"}});
  o("layer_density", layer_density,
    {.help =
         "scope: layer: how the density is shared: the same everywhere; larger for small layers (by their "
         "inputs and outputs, or by all extents); or what the criterion would keep with scope: global, "
         "which leaves the choice within a layer to chance",
     .choices = {"uniform", "erdos_renyi", "erdos_renyi_kernel", "snip"}});
  o("rescale", rescale,
    {.help = "divide the weights that remain by the root of their layer's density at each pruning, so that "
             "the variance of activations stays; for pruning before the first step"});
  o("batches", batches,
    {.help = "batches that a gradient or inputs for the criterion are taken over", .min = 1});
  o.list("rates", rates, "factors on the rate of pruning by train.phases, for some layers");
}

void Sparsifier::describe(OptionVisitor& o) {
  SparsityOptions options;
  options.options(o);
}

Sparsifier::Sparsifier(const DeckNode& node, const ParameterSet& network)
    : criterion_(criteria().make_or("magnitude", node.section("criterion"))),
      schedule_(density_schedules().make_or("step", node.section("schedule"))) {
  if (node.has("refine")) refinement_ = refinements().make(node.child("refine"));
  node.read(options_);
  if (refinement_ && scores_share_out())
    node.error_at(
        "refine",
        "refine goes through the layers one after the other, so each needs its own density: use scope: "
        "layer or row, and layer_density: uniform or erdos_renyi");
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

std::vector<std::int64_t> Sparsifier::kept_of_parts(const ParameterSet& parameters) const {
  std::vector<std::int64_t> out;
  for (const std::string& name : parts_) {
    const std::vector<double> mask = parameters.part(name).mask.to_vector();
    out.push_back(std::count(mask.begin(), mask.end(), 1.0));
  }
  return out;
}

std::vector<std::int64_t> Sparsifier::shared_out(double density) const {
  const LayerDensity kind = options_.layer_density == "erdos_renyi" ? LayerDensity::erdos_renyi
                            : options_.layer_density == "erdos_renyi_kernel"
                                ? LayerDensity::erdos_renyi_kernel
                                : LayerDensity::uniform;
  const std::vector<double> densities = layer_densities(kind, density, shapes_);
  std::vector<std::int64_t> keep;
  for (std::size_t l = 0; l < parts_.size(); ++l)
    keep.push_back(rounded(densities[l] * static_cast<double>(shapes_[l].count())));
  return keep;
}

std::map<std::string, std::int64_t> Sparsifier::kept(const ParameterSet& parameters) const {
  return named(kept_of_parts(parameters));
}

std::map<std::string, std::int64_t> Sparsifier::kept_at(double density) const {
  return named(shared_out(density));
}

std::map<std::string, std::int64_t> Sparsifier::named(const std::vector<std::int64_t>& counts) const {
  std::map<std::string, std::int64_t> out;
  for (std::size_t l = 0; l < parts_.size(); ++l) out.emplace(parts_[l], counts[l]);
  return out;
}

std::int64_t Sparsifier::remaining(const ParameterSet& parameters) const {
  const std::vector<std::int64_t> all = kept_of_parts(parameters);
  return std::accumulate(all.begin(), all.end(), std::int64_t{0});
}

std::vector<std::vector<double>> Sparsifier::scores(const Criterion& criterion,
                                                    const ParameterSet& parameters, const Event& event,
                                                    const InputStatistics& inputs, std::size_t first,
                                                    std::size_t last) const {
  Tensor gradient;
  if (criterion.needs_gradient()) gradient = event.gradient(options_.batches);
  std::vector<std::vector<double>> out;
  for (std::size_t l = first; l < std::min(last, parts_.size()); ++l) {
    const std::string& name = parts_[l];
    const ParameterInfo& part = parameters.part(name);
    const std::vector<double> weights = parameters.view(part).to_vector(), mask = part.mask.to_vector(),
                              slope =
                                  gradient.defined()
                                      ? gradient.view(part.shape, row_major_strides(part.shape), part.offset)
                                            .to_vector()
                                      : std::vector<double>();
    std::vector<double> norms;
    if (const InputMoments* moments = inputs.find(name))
      for (const std::size_t feature : moments->features(part.shape)) norms.push_back(moments->norm(feature));
    out.push_back(criterion.scores({name, weights, slope, norms, event.seed, event.number}));
    for (std::size_t i = 0; i < mask.size(); ++i)
      if (mask[i] == 0) out.back()[i] = removed;
  }
  return out;
}

std::vector<std::vector<double>> Sparsifier::scores_of_all(const ParameterSet& parameters,
                                                           const Event& event) const {
  return scores(*criterion_, parameters, event,
                criterion_->needs_inputs() ? event.inputs(options_.batches) : InputStatistics());
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
                           const std::vector<std::int64_t>& keep, const InputStatistics& inputs,
                           std::size_t first) const {
  const NoGrad off;
  for (std::size_t s = 0; s < scores.size(); ++s) {
    const std::size_t l = first + s;
    const std::vector<double>& own = scores[s];
    const auto better = [&](std::size_t a, std::size_t b) {
      return own[a] != own[b] ? own[a] > own[b] : a < b;
    };
    std::vector<std::size_t> order(own.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::vector<double> mask(order.size(), 0.0);
    std::int64_t left = 0;
    const std::size_t rows = options_.scope == "row" ? static_cast<std::size_t>(shapes_[l][0]) : 1,
                      in_row = order.size() / rows, wanted = static_cast<std::size_t>(keep[l]);
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t count = std::min(wanted * (row + 1) / rows - wanted * row / rows, in_row);
      const auto begin = order.begin() + static_cast<std::ptrdiff_t>(row * in_row),
                 end = begin + static_cast<std::ptrdiff_t>(in_row),
                 middle = begin + static_cast<std::ptrdiff_t>(count);
      std::nth_element(begin, middle, end, better);
      for (auto i = begin; i != middle; ++i) {
        if (own[*i] == removed) continue;
        mask[*i] = 1;
        ++left;
      }
    }
    ParameterInfo& part = part_named(parameters, parts_[l]);
    const InputMoments* moments = refinement_ ? inputs.find(part.name) : nullptr;
    if (moments != nullptr) refine(part, parameters.view(part), *moments, mask);
    part.mask.assign(cast(Tensor::from(mask, part.shape), parameters.dtype()));
    if (options_.rescale && left > 0) {
      const double density = static_cast<double>(left) / static_cast<double>(part.shape.count());
      const Tensor weights = parameters.view(part);
      weights.assign(scale(weights, 1 / std::sqrt(density)));
    }
  }
  parameters.project();
}

void Sparsifier::select(ParameterSet& parameters, const std::vector<std::int64_t>& keep,
                        const Event& event) const {
  const auto block = [&](std::size_t l) { return parts_[l].substr(0, parts_[l].find('.')); };
  for (std::size_t first = 0, last = parts_.size(); first < parts_.size(); first = last) {
    InputStatistics inputs;
    if (needs_inputs()) {
      inputs = event.inputs(options_.batches);
      for (last = first + 1; last < parts_.size() && block(last) == block(first);) ++last;
    }
    keep_best(parameters, scores(*criterion_, parameters, event, inputs, first, last), keep, inputs, first);
  }
}

void Sparsifier::refine(const ParameterInfo& part, const Tensor& weights, const InputMoments& inputs,
                        std::vector<double>& mask) const {
  const auto rows = static_cast<std::size_t>(part.shape[0]);
  RefinedPart out{rows, mask.size() / rows, weights.to_vector()};
  for (const std::size_t feature : inputs.features(part.shape)) {
    out.means.push_back(inputs.mean(feature));
    out.variances.push_back(inputs.variance(feature));
    out.norms.push_back(inputs.norm(feature));
  }
  refinement_->refine(out, mask);
}

void Sparsifier::check_inputs(const DeckNode& node, const InputStatistics& inputs) const {
  for (const std::string& name : parts_)
    if (inputs.find(name) == nullptr)
      node.error_at("except", fmt::format("the criterion needs the inputs of the weights, and there are none "
                                          "of '{}', which no layer multiplies or experts have side by side; "
                                          "leave it out with `except`",
                                          name));
}

void Sparsifier::prune(ParameterSet& parameters, double density, const Event& event) const {
  if (!scores_share_out()) {
    select(parameters, shared_out(density), event);
    return;
  }
  const std::int64_t all = rounded(density * static_cast<double>(judged_));
  const std::vector<std::vector<double>> own = scores_of_all(parameters, event);
  if (options_.scope == "global")
    keep_best(parameters, own, best_of_all(own, all));
  else
    keep_best(parameters, own, best_of_all(scores(Snip(), parameters, event), all));
}

void Sparsifier::prune_rate(ParameterSet& parameters, double rate, const Event& event) const {
  std::vector<std::int64_t> keep = kept_of_parts(parameters);
  if (options_.scope == "global") {
    const std::vector<std::vector<double>> own = scores_of_all(parameters, event);
    const std::int64_t all = std::accumulate(keep.begin(), keep.end(), std::int64_t{0});
    keep_best(parameters, own, best_of_all(own, rounded((1 - rate) * static_cast<double>(all))));
    return;
  }
  for (std::size_t l = 0; l < keep.size(); ++l)
    keep[l] = rounded(std::max(0.0, 1 - rate * factors_[l]) * static_cast<double>(keep[l]));
  select(parameters, keep, event);
}

void Sparsifier::permute(ParameterSet& parameters, const Event& event) const {
  // The best by random scores, as if nothing was removed yet.
  const std::vector<std::int64_t> keep = kept_of_parts(parameters);
  const RandomScore random;
  for (std::size_t l = 0; l < parts_.size(); ++l) {
    const ParameterInfo& part = part_named(parameters, parts_[l]);
    part.mask.assign(Tensor::full(part.shape, parameters.dtype(), 1));
  }
  keep_best(parameters, scores(random, parameters, event), keep);
}

}  // namespace rankine
