#include "src/methods/gating/permutation_search.hpp"

#include <cmath>
#include <limits>

#include "src/nn/initialisation.hpp"
#include "src/nn/softmax.hpp"

namespace rankine {

Tensor sinkhorn(const Tensor& z, std::int64_t sweeps) {
  Tensor log_p = z;  // a normalisation of rows and a transposition, twice a sweep
  for (std::int64_t half = 0; half < 2 * sweeps; ++half) log_p = transpose(log_softmax(log_p), 1, 2);
  return exp(log_p);
}

std::vector<std::size_t> best_permutation(std::span<const double> matrix, std::size_t n) {
  // Rows and columns count from 1; column 0 holds the row that is being placed.
  std::vector<double> row_price(n + 1), column_price(n + 1);
  std::vector<std::size_t> row_of(n + 1), from(n + 1);
  for (std::size_t row = 1; row <= n; ++row) {
    std::vector<double> slack(n + 1, std::numeric_limits<double>::infinity());
    std::vector<char> done(n + 1);
    std::size_t at = 0;
    row_of[0] = row;
    do {
      done[at] = 1;
      std::size_t next = 0;
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t c = 1; c <= n; ++c) {
        if (done[c]) continue;
        const double cost = -matrix[(row_of[at] - 1) * n + c - 1] - row_price[row_of[at]] - column_price[c];
        if (cost < slack[c]) slack[c] = cost, from[c] = at;
        if (slack[c] < least) least = slack[c], next = c;
      }
      for (std::size_t c = 0; c <= n; ++c) {
        if (done[c])
          row_price[row_of[c]] += least, column_price[c] -= least;
        else
          slack[c] -= least;
      }
      at = next;
    } while (row_of[at] != 0);
    for (; at != 0; at = from[at]) row_of[at] = row_of[from[at]];
  }
  std::vector<std::size_t> column(n);
  for (std::size_t c = 1; c <= n; ++c) column[row_of[c] - 1] = c - 1;
  return column;
}

void PermutationSearch::Options::options(OptionVisitor& o) {
  o("steps", steps, {.help = "steps of the search, after which the permutation stays; 0: none", .min = 0});
  o("tau", tau,
    {.help = "temperature in the first and in the last step of the search",
     .min = 0,
     .exclusive_min = true,
     .min_size = 2});
  o("sweeps", sweeps, {.help = "Sinkhorn sweeps in the first and the last step", .min = 1, .min_size = 2});
  o("noise", noise, {.help = "factor of the Gumbel noise", .min = 0});
  o("entropy", entropy,
    {.help = "factor of the entropy of the permutation's rows and columns in the loss", .min = 0});
}

void PermutationSearch::Options::validate(const DeckNode& node) const {
  if (tau.size() != 2)
    node.error_at("tau", "tau: two numbers, for the first and the last step of the search");
  if (sweeps.size() != 2)
    node.error_at("sweeps", "sweeps: two numbers, for the first and the last step of the search");
}

void PermutationSearch::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  if (options_.steps == 0) return;
  const Shape shape{experts(), experts()};
  add_parameter(parameters, {.name = name() + ".theta", .shape = shape}, Initialisation::uniform, 400, 1,
                seed);  // within 0.05
  parameters.add({.name = name() + ".permutation", .shape = shape, .group = "statistics", .frozen = true});
  std::vector<double> identity(static_cast<std::size_t>(shape.count()));
  for (std::int64_t e = 0; e < experts(); ++e) identity[static_cast<std::size_t>(e * (experts() + 1))] = 1;
  parameters.view(name() + ".permutation").assign(cast(Tensor::from(identity, shape), parameters.dtype()));
}

Products PermutationSearch::products() const {
  if (options_.steps == 0) return {};
  return {.weights = {{name() + ".permutation", 1}}};
}

Tensor PermutationSearch::soft(const Tensor& theta, std::int64_t step) const {
  const double part = options_.steps > 1 ? static_cast<double>(step) / (options_.steps - 1) : 1;
  const double tau = options_.tau[0] * std::pow(options_.tau[1] / options_.tau[0], part);
  return sinkhorn(scale(theta, 1 / tau),
                  std::llround(options_.sweeps[0] + part * (options_.sweeps[1] - options_.sweeps[0])));
}

Tensor PermutationSearch::assign(const BoundParameters& parameters, const Tensor& weights, Pass& pass) const {
  if (options_.steps == 0) return weights;
  const Tensor kept = parameters[name() + ".permutation"].detach();
  if (!pass.training || pass.step > options_.steps) return matmul(weights, kept);
  const std::int64_t n = experts();
  const auto keep = [&](const Tensor& p) {  // in the set itself, of which `kept` is a view
    if (pass.update_statistics)
      kept.view({n, n}, row_major_strides({n, n}))
          .assign(cast(reshape(slice(p, 0, 0, 1), {n, n}), kept.dtype()));
  };
  // In double precision, for theta / tau is large.
  const Tensor theta = cast(parameters[name() + ".theta"], DType::f64);
  if (pass.step == options_.steps) {
    const NoGrad off;
    const std::vector<double> p = soft(slice(theta, 0, 0, 1), options_.steps - 1).to_vector();
    const std::vector<std::size_t> best = best_permutation(p, static_cast<std::size_t>(n));
    std::vector<double> hard(p.size());
    for (std::size_t r = 0; r < best.size(); ++r) hard[r * best.size() + best[r]] = 1;
    keep(Tensor::from(hard, {1, n, n}));
    return matmul(weights, cast(Tensor::from(hard, {1, n, n}), weights.dtype()));
  }
  Tensor noisy = theta;
  if (options_.noise > 0) {
    const RandomStream stream(pass.seed, "gate/" + name());
    std::vector<double> gumbel(static_cast<std::size_t>(n * n));
    stream.fill_uniform(std::span(gumbel), pass.step, 0);
    for (double& u : gumbel) u = -options_.noise * std::log(-std::log(u));
    noisy = add(theta, Tensor::from(gumbel, {1, n, n}));
  }
  const Tensor p = soft(noisy, pass.step);
  keep(options_.noise > 0 ? soft(theta.detach(), pass.step) : p.detach());
  penalise(pass, 2 * options_.entropy,
           cast(mean_entropy(reshape(p, {p.extent(0), 1, n, n})), weights.dtype()));
  return matmul(weights, cast(p, weights.dtype()));
}

}  // namespace rankine
