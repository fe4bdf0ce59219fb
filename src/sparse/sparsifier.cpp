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
    {.help =
         "batches that gradients or inputs for the criterion are taken over; of one example at a time for fisher",
     .min = 1});
  o("rounds", rounds,
    {.help =
         "prunings one after the other, each with fresh scores, by which a density is reached; each removes "
         "the same part of what is left",
     .min = 1});
  o("draws", draws,
    {.help =
         "criterion: random: masks that are drawn to reach a density; the one with the smallest loss over "
         "the first `batches` batches, before any training with it, stays",
     .min = 1,
     .max = 4096});
  o.list("rates", rates, "factors on the rate of pruning by train.phases, for some layers");
}

void Sparsifier::describe(OptionVisitor& o) {
  SparsityOptions options;
  options.options(o);
}

Sparsifier::Sparsifier(const DeckNode& node, const ParameterSet& network)
    : criterion_(criteria().make_or("magnitude", node.section("criterion"))),
      schedule_(density_schedules().make_or("step", node.section("schedule"))),
      structure_(structures().make_or("weight", node.section("structure"))) {
  if (node.has("regrow")) {
    const DeckNode regrow = node.child("regrow");
    if (regrow.is_mapping())
      drop_ = criteria().make_or("magnitude", regrow.section("drop"));
    else
      drop_ = std::make_unique<Magnitude>();
    regrowth_ = regrowths().make(regrow);
  }
  if (node.has("refine")) refinement_ = refinements().make(node.child("refine"));
  node.read(options_);
  if (refinement_ && scores_share_out())
    node.error_at(
        "refine",
        "refine goes through the layers one after the other, so each needs its own density: use scope: "
        "layer or row, and layer_density: uniform or erdos_renyi");
  if (refinement_ && !structure_->single())
    node.error_at("refine", "refine exchanges single weights; leave `structure` out");
  if (structure_->local() && (options_.scope != "layer" || options_.layer_density != "uniform"))
    node.error_at(
        "structure",
        "structure: each group of weights keeps the same share, which scope: layer and layer_density: "
        "uniform ask for");
  if (options_.density < 1) try {
      check(options_.density);
    } catch (const InputError& error) {
      node.error_at("density", error.what());
    }
  if (options_.draws > 1 && dynamic_cast<const RandomScore*>(criterion_.get()) == nullptr)
    node.error_at("draws", "draws: only criterion: random draws another mask each time; leave it out");
  if (options_.scope == "global" && options_.layer_density != "uniform")
    node.error_at("layer_density", "layer_density: " + options_.layer_density +
                                       " is for scope: layer; with scope: global the criterion decides");
  if (options_.rescale && schedule_->last() > 0)
    node.error_at("rescale",
                  "rescale is for pruning before the first step, but the schedule prunes before step " +
                      std::to_string(schedule_->last()) + " too");
  const auto chosen = [&](const std::string& name) {
    return matches_any(options_.on, name) && !matches_any(options_.except, name);
  };
  std::vector<std::string> names;
  for (const ParameterInfo& part : network.parts()) {
    names.push_back(part.name);
    if (part.frozen || !chosen(part.name)) continue;
    try {
      layouts_.push_back(structure_->layout(part.shape));
      if (options_.scope == "row" && layouts_.back().unit > 1)
        throw InputError("has no units that are compared within one output, as scope: row does");
      if (options_.scope == "row") layouts_.back().group = part.shape.count() / part.shape[0];
    } catch (const InputError& error) {
      node.error_at("structure", fmt::format("structure: {} {}; leave it out with `except`, or choose other "
                                             "groups",
                                             part.name, error.what()));
    }
    for (const Criterion* criterion : {criterion_.get(), drop_.get()})
      if (criterion != nullptr) try {
          criterion->check(network, part.name);
        } catch (const InputError& error) {
          node.error_at(criterion == drop_.get() ? "regrow" : "criterion", error.what());
        }
    parts_.push_back(part.name);
    masked_.push_back(part.name);
    shapes_.push_back(part.shape);
    const std::string bias = part.name.substr(0, part.name.rfind('.')) + ".bias";
    biases_.push_back(structure_->with_bias() && network.contains(bias) && !chosen(bias) ? bias : "");
    if (!biases_.back().empty()) masked_.push_back(bias);
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
  for (const std::string& name : masked_) {
    ParameterInfo& part = part_named(parameters, name);
    part.mask = Tensor::full(part.shape, parameters.dtype(), 1);
  }
}

std::vector<std::int64_t> Sparsifier::regrowth_steps(std::int64_t total) const {
  return regrowth_ ? regrowth_->steps(total) : std::vector<std::int64_t>();
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
    keep.push_back(rounded(densities[l] * static_cast<double>(shapes_[l].count()) /
                           static_cast<double>(layouts_[l].unit)) *
                   layouts_[l].unit);
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

Sparsifier::Scores Sparsifier::scores(const Criterion& criterion, const ParameterSet& parameters,
                                      const Event& event, const InputStatistics& inputs, std::size_t first,
                                      std::size_t last, bool also_removed) const {
  const bool by_inputs = criterion.needs() == Evidence::inputs;
  const Tensor all = criterion.needs() == Evidence::none || by_inputs
                         ? Tensor()
                         : event.evidence(criterion.needs(), options_.batches);
  Scores out;
  for (std::size_t l = first; l < std::min(last, parts_.size()); ++l) {
    const std::string& name = parts_[l];
    const ParameterInfo& part = parameters.part(name);
    const std::vector<double> weights = parameters.view(part).to_vector(), mask = part.mask.to_vector();
    std::vector<double> evidence;
    if (all.defined())
      evidence = all.view(part.shape, row_major_strides(part.shape), part.offset).to_vector();
    const InputMoments* moments = by_inputs ? inputs.find(name) : nullptr;
    if (moments != nullptr)
      for (const std::size_t feature : moments->features(part.shape))
        evidence.push_back(moments->norm(feature));
    const std::vector<double> each =
        criterion.scores({name, weights, evidence, event.seed, event.number, &parameters});
    const UnitLayout& layout = layouts_[l];
    const auto size = static_cast<std::size_t>(layout.unit);
    std::vector<double>& units = out.emplace_back(each.size() / size, 0.0);
    for (std::size_t i = 0; i < each.size(); ++i) {
      const std::size_t w = layout.order.empty() ? i : static_cast<std::size_t>(layout.order[i]);
      units[i / size] += mask[w] == 0 && !also_removed ? removed : each[w] / static_cast<double>(size);
    }
  }
  return out;
}

std::vector<std::int64_t> Sparsifier::best_of_all(const Scores& scores, std::int64_t keep) const {
  std::vector<std::pair<double, std::size_t>> all;  // score, part: of equals the earlier stays
  for (std::size_t l = 0; l < scores.size(); ++l)
    for (const double score : scores[l])
      if (score != removed) all.emplace_back(-score, l);
  std::sort(all.begin(), all.end());
  std::vector<std::int64_t> out(scores.size(), 0);
  for (const auto& [score, l] : all) {
    if (keep <= 0) break;
    out[l] += layouts_[l].unit;
    keep -= layouts_[l].unit;
  }
  return out;
}

void Sparsifier::set_mask(ParameterSet& parameters, std::size_t l,
                          const std::vector<double>& of_units) const {
  const UnitLayout& layout = layouts_[l];
  std::vector<double> mask(static_cast<std::size_t>(shapes_[l].count()));
  for (std::size_t i = 0; i < mask.size(); ++i)
    mask[layout.order.empty() ? i : static_cast<std::size_t>(layout.order[i])] =
        of_units[i / static_cast<std::size_t>(layout.unit)];
  const auto set = [&](const std::string& name, const std::vector<double>& values) {
    const ParameterInfo& part = parameters.part(name);
    part.mask.assign(cast(Tensor::from(values, part.shape), parameters.dtype()));
  };
  set(parts_[l], mask);
  if (!biases_[l].empty()) set(biases_[l], of_units);
}

std::vector<double> Sparsifier::best_units(std::size_t l, const std::vector<double>& scores,
                                           std::int64_t keep) const {
  const UnitLayout& layout = layouts_[l];
  const std::size_t units = scores.size(),
                    in_group = layout.group == 0 ? units : static_cast<std::size_t>(layout.group),
                    groups = units / in_group;
  const auto wanted =
      static_cast<std::size_t>(rounded(static_cast<double>(keep) / static_cast<double>(layout.unit)));
  const auto better = [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  std::vector<std::size_t> order(units);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<double> mask(units, 0.0);
  for (std::size_t group = 0; group < groups; ++group) {
    const std::size_t count = std::min(wanted * (group + 1) / groups - wanted * group / groups, in_group);
    const auto begin = order.begin() + static_cast<std::ptrdiff_t>(group * in_group),
               end = begin + static_cast<std::ptrdiff_t>(in_group),
               middle = begin + static_cast<std::ptrdiff_t>(count);
    std::nth_element(begin, middle, end, better);
    for (auto unit = begin; unit != middle; ++unit) mask[*unit] = scores[*unit] == removed ? 0 : 1;
  }
  return mask;
}

void Sparsifier::keep_best(ParameterSet& parameters, const Scores& scores,
                           const std::vector<std::int64_t>& keep, const InputStatistics& inputs,
                           std::size_t first) const {
  const NoGrad off;
  for (std::size_t s = 0; s < scores.size(); ++s) {
    std::vector<double> mask = best_units(first + s, scores[s], keep[first + s]);
    const ParameterInfo& part = parameters.part(parts_[first + s]);
    const InputMoments* moments = refinement_ ? inputs.find(part.name) : nullptr;
    if (moments != nullptr) refine(part, parameters.view(part), *moments, mask);
    set_mask(parameters, first + s, mask);
    const double density = std::accumulate(mask.begin(), mask.end(), 0.0) / static_cast<double>(mask.size());
    if (options_.rescale && density > 0) {
      const Tensor weights = parameters.view(part);
      weights.assign(scale(weights, 1 / std::sqrt(density)));
    }
  }
  parameters.project();
}

Tensor Sparsifier::regrow(ParameterSet& parameters, std::int64_t step, std::int64_t total,
                          const Event& event) const {
  const NoGrad off;
  const std::vector<std::int64_t> active = kept_of_parts(parameters);
  const double stay = 1 - regrowth_->fraction(step, total);
  const Scores own = scores(*drop_, parameters, event, inputs_for(*drop_, event)),
               others = scores(regrowth_->criterion(), parameters, event, {}, 0, parts_.size(), true);
  const Tensor same = Tensor::full({parameters.count()}, parameters.dtype(), 1);
  for (std::size_t l = 0; l < parts_.size(); ++l) {
    // Those that stay, and then the best of the others.
    const std::vector<double> first = best_units(l, own[l], rounded(stay * static_cast<double>(active[l])));
    std::vector<double> growth = others[l];
    for (std::size_t i = 0; i < first.size(); ++i)
      if (first[i] == 1) growth[i] = -removed;
    const ParameterInfo& part = parameters.part(parts_[l]);
    const Tensor before = part.mask.clone();
    set_mask(parameters, l, best_units(l, growth, active[l]));
    same.view(part.shape, row_major_strides(part.shape), part.offset)
        .assign(add_scalar(neg(mul(part.mask, add_scalar(neg(before), 1))), 1));
  }
  parameters.project();
  return same;
}

void Sparsifier::select(ParameterSet& parameters, const std::vector<std::int64_t>& keep,
                        const Event& event) const {
  const auto block = [&](std::size_t l) { return parts_[l].substr(0, parts_[l].find('.')); };
  for (std::size_t first = 0, last = parts_.size(); first < parts_.size(); first = last) {
    InputStatistics inputs;
    if (needs(Evidence::inputs)) {
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
  if (options_.draws == 1) return prune_to(parameters, density, event);
  const auto masks = [&] {
    std::vector<Tensor> out;
    for (const std::string& name : masked_) out.push_back(parameters.part(name).mask.clone());
    return out;
  };
  const Tensor weights = parameters.flat().clone();
  const std::vector<Tensor> before = masks();
  const auto set = [&](const std::vector<Tensor>& to) {
    for (std::size_t i = 0; i < to.size(); ++i) parameters.part(masked_[i]).mask.assign(to[i]);
    parameters.flat().assign(weights);
    parameters.project();
  };
  std::vector<Tensor> best;
  double least = std::numeric_limits<double>::infinity();
  for (std::int64_t draw = 0; draw < options_.draws; ++draw) {
    set(before);
    Event one = event;
    one.number += draw << 20;  // the first is the one that a single draw gives
    prune_to(parameters, density, one);
    const double loss = event.loss(options_.batches);
    if (best.empty() || loss < least) {
      least = loss;
      best = masks();
    }
  }
  set(best);
}

void Sparsifier::prune_to(ParameterSet& parameters, double density, const Event& event) const {
  const double before = static_cast<double>(remaining(parameters)) / static_cast<double>(judged_);
  for (int round = 1; round < options_.rounds && density < before; ++round)
    prune_once(parameters, before * std::pow(density / before, static_cast<double>(round) / options_.rounds),
               event);
  prune_once(parameters, density, event);
}

void Sparsifier::prune_once(ParameterSet& parameters, double density, const Event& event) const {
  if (!scores_share_out()) {
    select(parameters, shared_out(density), event);
    return;
  }
  const std::int64_t all = rounded(density * static_cast<double>(judged_));
  const Scores own = scores(*criterion_, parameters, event, inputs_for(*criterion_, event));
  if (options_.scope == "global")
    keep_best(parameters, own, best_of_all(own, all));
  else
    keep_best(parameters, own, best_of_all(scores(Snip(), parameters, event), all));
}

void Sparsifier::prune_rate(ParameterSet& parameters, double rate, const Event& event) const {
  std::vector<std::int64_t> keep = kept_of_parts(parameters);
  if (options_.scope == "global") {
    const Scores own = scores(*criterion_, parameters, event, inputs_for(*criterion_, event));
    const std::int64_t all = std::accumulate(keep.begin(), keep.end(), std::int64_t{0});
    keep_best(parameters, own, best_of_all(own, rounded((1 - rate) * static_cast<double>(all))));
    return;
  }
  for (std::size_t l = 0; l < keep.size(); ++l)
    keep[l] = rounded(std::max(0.0, 1 - rate * factors_[l]) * static_cast<double>(keep[l]));
  select(parameters, keep, event);
}

void Sparsifier::permute(ParameterSet& parameters, const Event& event) const {
  keep_best(parameters, scores(RandomScore(), parameters, event, {}, 0, parts_.size(), true),
            kept_of_parts(parameters));
}

}  // namespace rankine
