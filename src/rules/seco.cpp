#include "src/rules/seco.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "src/core/random.hpp"
#include "src/core/statistics.hpp"
#include "src/nn/layers/attention.hpp"
#include "src/rules/accumulate.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {
namespace {

Tensor tokens(const Tensor& x, std::int64_t from, std::int64_t to) {
  return from == 0 && to == x.extent(2) ? x : slice(x, 2, from, to);
}

/// Of cached keys and values [L, B, heads, past, dim].
Tensor part(const Tensor& cache, std::int64_t from, std::int64_t to) {
  return from == 0 && to == cache.extent(3) ? cache : slice(cache, 3, from, to).clone();
}

bool is_cache(const std::string& name) { return name.ends_with(".keys") || name.ends_with(".values"); }

std::string fresh_name(const std::string& cache) {
  const std::size_t dot = cache.rfind('.');
  return cache.substr(0, dot) + ".fresh_" + cache.substr(dot + 1);
}

std::vector<double> difference(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> d(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) d[i] = a[i] - b[i];
  return d;
}

double largest(const std::vector<double>& x) {
  double m = 0;
  for (const double v : x) m = std::max(m, std::abs(v));
  return m;
}

}  // namespace

void SecoOptions::options(OptionVisitor& o) {
  o("chunk", chunk, {.help = "tokens whose graph is alive at a time", .min = 1});
  o("keep", keep,
    {.help = "chunks that have a backward pass, drawn anew each step (0: all, which is SeCO)", .min = 0});
  o("draw", draw,
    {.help = "bernoulli: each chunk by itself, so that 'keep' is the mean; fixed: always 'keep' of them",
     .choices = {"bernoulli", "fixed"}});
  o("compensation", compensation,
    {.help =
         "factor chunks / keep: once for each chunk that a path visits, on the chunks' losses, or nowhere",
     .choices = {"paths", "loss", "none"}});
  o("draws", draws,
    {.help = "gradients that are drawn in the first step to measure their mean's distance from "
             "backpropagation's (0: none)",
     .min = 0});
}

void Seco::check(const RuleSetup& setup) const {
  if (setup.network == nullptr) throw InputError("seco: what is trained is no list of blocks");
  const Network& network = *setup.network;
  if (network.input().rank() < 1) throw InputError("seco: needs sequences, [T] or [T, ...]");
  if (network.input().rank() == 1 && setup.inputs != DType::i32)
    throw InputError(
        fmt::format("seco: needs sequences of tokens or [T, ...], but an example is a vector of {} numbers",
                    network.input()[0]));
  const std::int64_t all = network.input()[0], c = options_.chunk, count = (all + c - 1) / c;
  if (options_.keep > count)
    throw InputError(fmt::format("seco: keep: {}, but sequences of {} tokens have {} chunks of {}",
                                 options_.keep, all, count, c));
  if (options_.draws > 0 && (options_.keep == 0 || options_.draws == 1))
    throw InputError("seco: draws measures what 'keep' draws, and needs two at least; give keep as well");
  for (int b = 0; b < network.size(); ++b)
    if (network.block(b).output().rank() == 0 || network.block(b).output()[0] != all)
      throw InputError(
          fmt::format("seco: the edge after {} carries {}, which is not one value for each of "
                      "the {} tokens; chunks cannot cross it",
                      network.block(b).name(), network.block(b).output().text(), all));

  // Three chunks at once against the same one by one.
  const NoGrad off;
  const std::int64_t n = std::min(all, 3 * c);
  Shape shape = network.input();
  shape[0] = n;
  shape.insert(0, 1);
  shape.insert(0, 1);
  const RandomStream random(0, "seco/check");
  Tensor x;
  const std::int64_t elements = shape.count();
  if (network.input().rank() == 1) {
    HostArray<std::int32_t> values(shape);
    for (std::int64_t i = 0; i < elements; ++i)
      values[i] = static_cast<std::int32_t>(random.integer(2, 0, 0, i));
    x = values.to_device();
  } else {
    dispatch_real(network.dtype(), "seco", [&](auto zero) {
      using T = decltype(zero);
      HostArray<T> values(shape);
      for (std::int64_t i = 0; i < elements; ++i) values[i] = static_cast<T>(random.normal(0, 0, i));
      x = values.to_device();
    });
  }
  const SharedTileSum one = local_tile_sum(1);
  const ParameterSet parameters = network.initial_parameters(0);
  const BoundParameters bound = parameters.bind(one);
  std::vector<std::vector<double>> whole(static_cast<std::size_t>(network.size())), parts = whole;
  std::vector<std::vector<double>>* to = &whole;
  std::size_t at = 0;
  Pass pass{.shards = one};
  pass.hooks.emplace_back([&](const std::string&, const Tensor&, const Tensor& value) {
    const std::vector<double> v = value.to_vector();
    std::vector<double>& kept = (*to)[at++ % whole.size()];
    kept.insert(kept.end(), v.begin(), v.end());
    return Tensor();
  });
  network.forward(bound, x, pass);
  to = &parts;
  CarriedState state;
  pass.state = &state;
  std::string trouble = "gives other values chunk by chunk than at once";
  try {
    for (std::int64_t from = 0; from < n; from += c) {
      pass.position = from;
      network.forward(bound, tokens(x, from, std::min(from + c, n)), pass);
      append_fresh_keys(state);
    }
  } catch (const std::exception& error) {
    trouble = std::string("does not take chunks: ") + error.what();
  }
  const double tolerance = network.dtype() == DType::f32 ? 1e-3 : 1e-9;
  for (std::size_t b = 0; b < whole.size(); ++b)
    if (parts[b].size() != whole[b].size() ||
        largest(difference(parts[b], whole[b])) > tolerance * std::max(largest(whole[b]), 1e-30))
      throw InputError(fmt::format("seco: {} {}; tokens may meet in causal attention only",
                                   network.block(static_cast<int>(b)).name(), trouble));
}

void Seco::begin(const RuleSetup& setup, const ParameterSet&) {
  setup_ = std::make_unique<RuleSetup>(setup);
  measured_.assign(metrics().size(), std::numeric_limits<double>::quiet_NaN());
}

Seco::Plan Seco::plan(const std::string& compensation, const std::string& stream, std::int64_t number) const {
  const std::int64_t count = chunks();
  Plan out;
  out.kept.assign(static_cast<std::size_t>(count), options_.keep == 0);
  if (options_.keep == 0) return out;
  const RandomStream random(setup_->seed, stream);
  const double share = static_cast<double>(options_.keep) / static_cast<double>(count);
  if (options_.draw == "fixed")
    for (const std::int64_t i : random.choose(options_.keep, count, number))
      out.kept[static_cast<std::size_t>(i)] = true;
  else
    for (std::int64_t i = 0; i < count; ++i)
      out.kept[static_cast<std::size_t>(i)] = random.uniform(number, 0, i) < share;
  if (compensation != "none") out.loss_factor = 1 / share;
  if (compensation == "paths") out.cache_factor = 1 / share;
  return out;
}

Seco::Gradient Seco::gradient(const ParameterSet& parameters, const SharedTileSum& tiles,
                              const NetworkBatch& batch, const Pass& pass, const Plan& plan) const {
  const Network& network = *setup_->network;
  const std::int64_t all = length(), c = options_.chunk, count = chunks();
  const double share = 1 / static_cast<double>(setup_->shard_count);
  Gradient out;
  CarriedState state;
  Pass now = pass;
  now.state = &state;
  now.hooks.clear();
  // [L], a chunk's part of the mean over all tokens.
  const auto chunk_loss = [&](const BoundParameters& bound, std::int64_t from, std::int64_t to) {
    now.position = from;
    const Tensor y = network.forward(bound, tokens(batch.inputs, from, to), now);
    const Tensor loss = mean(setup_->loss->per_sample(y, tokens(batch.targets, from, to), 2), {1});
    return scale(loss, static_cast<double>(to - from) / static_cast<double>(all));
  };

  Tensor values;
  {
    const NoGrad off;
    const BoundParameters bound = parameters.bind(tiles);
    for (std::int64_t i = 0; i < count; ++i) {
      const Tensor value = cast(chunk_loss(bound, i * c, std::min((i + 1) * c, all)), DType::f64);
      values = values.defined() ? add(values, value) : value;
      if (i + 1 < count) append_fresh_keys(state);
    }
  }
  out.loss = LossValue(sum_over_tiles(values, tiles), share);

  // Constant keys and values of all earlier chunks, and what later chunks want of them, cut shorter as chunks
  // are done with.
  CarriedState cache, wanted;
  for (auto& [name, value] : state)
    if (is_cache(name)) cache.emplace(name, std::move(value));
  state.clear();
  now.update_statistics = false;
  bool watched = true;
  for (std::int64_t i = count - 1; i >= 0; --i) {
    if (!plan.kept[static_cast<std::size_t>(i)]) continue;
    const std::int64_t from = i * c, to = std::min(from + c, all);
    std::vector<std::string> names;
    std::vector<Tensor> leaves;
    state.clear();
    for (auto& [name, value] : cache) {
      names.push_back(name);
      if (from == 0) continue;
      value = part(value, 0, from);
      leaves.push_back(variable(value));
      state.emplace(name, leaves.back());
    }
    now.hooks = watched ? pass.hooks : std::vector<ActivationHook>();
    watched = false;
    const BoundParameters bound = parameters.bind(tiles);
    const Tensor loss = chunk_loss(bound, from, to);
    std::vector<Tensor> outputs{loss},
        seeds{Tensor::full(loss.shape(), loss.dtype(), share * plan.loss_factor)};
    for (auto& [name, gradients] : wanted) {
      outputs.push_back(state.at(fresh_name(name)));
      const Tensor enters = part(gradients, from, to);
      seeds.push_back(plan.cache_factor == 1 ? enters : scale(enters, plan.cache_factor));
      gradients = from == 0 ? Tensor() : part(gradients, 0, from);
    }
    if (from == 0) wanted.clear();
    state.clear();
    std::vector<Tensor> inputs{bound.flat()};
    inputs.insert(inputs.end(), leaves.begin(), leaves.end());
    std::vector<Tensor> found = grad(outputs, seeds, inputs);
    accumulate(out.flat, found[0]);
    found[0] = Tensor();
    for (std::size_t p = 0; p < leaves.size(); ++p) {
      Tensor& sum = wanted[names[p]];
      sum = sum.defined() ? add(sum, found[p + 1]) : found[p + 1];
      found[p + 1] = Tensor();
    }
  }
  const Uncounted scope;
  if (!out.flat.defined()) out.flat = Tensor::zeros({parameters.count()}, parameters.dtype());
  return out;
}

void Seco::measure(const RuleContext& context) {
  // No part of what the step costs.
  const Uncounted no_memory;
  const CostAccount no_cost;
  Pass pass = *context.pass;
  pass.hooks.clear();
  pass.update_statistics = false;
  const auto one = [&](const Plan& how) {
    return gradient(context.parameters, context.tiles, *context.batch, pass, how).flat.to_vector();
  };
  std::vector<double> exact;
  {
    const BoundParameters bound = context.parameters.bind(context.tiles);
    const Tensor y = setup_->network->forward(bound, context.batch->inputs, pass);
    const TapeLoss loss = mean_loss(*setup_, y, *context.batch);
    exact = grad(loss.outputs, loss.seeds, {bound.flat()}).front().to_vector();
  }
  const Plan whole{std::vector<bool>(static_cast<std::size_t>(chunks()), true)};
  measured_[0] = largest(difference(one(whole), exact)) / largest(exact);
  const double size = norm(exact), n = options_.draws;
  std::size_t place = 1;
  for (const char* compensation : {"paths", "loss", "none"}) {
    std::vector<double> mean(exact.size(), 0), squares = mean;
    for (int d = 0; d < options_.draws; ++d) {
      const std::vector<double> g = one(plan(compensation, "seco/draws", d));
      for (std::size_t i = 0; i < g.size(); ++i) {
        const double before = g[i] - mean[i];
        mean[i] += before / (d + 1);
        squares[i] += before * (g[i] - mean[i]);
      }
    }
    measured_[place++] = distance(mean, exact) / size;
    double variance = 0;
    for (const double s : squares) variance += s / (n - 1);
    if (place == 2) measured_[place++] = std::sqrt(variance / n) / size;
  }
  measured_[place] = measured_[1] / measured_[2];
}

StepOutcome Seco::step(RuleContext& context) {
  if (options_.draws > 0 && context.step == 0) measure(context);
  StepReport report;
  const Gradient found = gradient(context.parameters, context.tiles, *context.batch, *context.pass,
                                  plan(options_.compensation, "seco/chunks", context.step));
  return apply_gradient(context, report, found.loss, found.flat);
}

void Seco::register_state(StateRegistry& registry, const std::string& prefix) {
  registry.add(prefix + "/measured", StateKind::replicated, measured_);
}

std::vector<MetricInfo> Seco::metrics() const {
  const bool none = options_.draws == 0;
  return {{"gradient_error", "1",
           "largest difference between SeCO's gradient and backpropagation's, over the largest entry", false,
           none},
          {"draw_error", "1",
           "|mean of drawn gradients - exact| / |exact|, a factor for each chunk on a path", false, none},
          {"draw_standard_error", "1", "what that would be by chance, from the draws' variance", false, none},
          {"draw_error_loss_factor", "1", "the same error with factors on the losses alone", false, none},
          {"draw_error_no_factor", "1", "the same error without factors", false, none},
          {"draw_deviation", "1", "draw_error over draw_standard_error: about 1 where nothing is biased",
           false, none}};
}

}  // namespace rankine
