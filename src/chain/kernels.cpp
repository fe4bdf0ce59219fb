#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/chain/kernel.hpp"

namespace rankine {
namespace {

constexpr std::size_t most_spins = 30;

[[noreturn]] void not_offered(const char* what) {
  throw std::logic_error(std::string("the target says that it has ") + what + ", and has not");
}

double mean_of(const SiteConditional& site) {
  return site.deviation > 0 ? site.value : std::tanh(site.value);
}

void need(bool there, const char* what, const char* instead) {
  if (!there)
    throw InputError(
        fmt::format("this kernel needs {}, which the target does not have; use {}", what, instead));
}

}  // namespace

double ChainProblem::energy(std::span<const double>) const { not_offered("an energy"); }
void ChainProblem::gradient(std::span<const double>, std::span<double>) const { not_offered("a gradient"); }
SiteConditional ChainProblem::conditional(std::span<const double>, std::size_t) const {
  not_offered("conditionals");
}
void ChainProblem::improve(std::span<double>) const { not_offered("a sweep of its own"); }
double ChainProblem::objective(std::span<const double>) const { not_offered("an objective"); }
double ChainKernel::progress(ChainProblem&, std::span<const double>) const { return 0; }

void GibbsKernel::options(OptionVisitor& o) {
  o("order", order_,
    {.help = "in which a sweep goes through the sites; random: as many draws as there are sites",
     .choices = {"sequential", "random"}});
}

void GibbsKernel::check(const ChainTarget& target) const {
  need(target.abilities().conditionals, "each site's distribution given the others", "em or langevin");
}

double GibbsKernel::sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const {
  problem.begin(x);
  const auto sites = static_cast<std::int64_t>(x.size());
  std::int64_t moved = 0;
  for (std::int64_t i = 0; i < sites; ++i) {
    const bool random = order_ == "random";
    const std::int64_t site = random ? sweep.random.integer(sites, sweep.number, sweep.chain, i) : i;
    moved += move(problem, x, static_cast<std::size_t>(site), sweep, i) ? 1 : 0;
  }
  return static_cast<double>(moved) / static_cast<double>(sites);
}

bool GibbsKernel::move(ChainProblem& problem, std::span<double> x, std::size_t site, const ChainSweep& sweep,
                       std::int64_t draw) const {
  const SiteConditional given = problem.conditional(x, site);
  const double before = x[site];
  if (given.deviation > 0)
    x[site] = given.value + given.deviation * sweep.random.normal(sweep.number, sweep.chain, draw);
  else
    x[site] =
        sweep.random.uniform(sweep.number, sweep.chain, draw) < 1 / (1 + std::exp(-2 * given.value)) ? 1 : -1;
  if (x[site] != before) problem.changed(x, site, before);
  return true;
}

void MetropolisKernel::options(OptionVisitor& o) {
  GibbsKernel::options(o);
  o("step", step_, {.help = "deviation of a proposal for a real number", .min = 0, .exclusive_min = true});
}

bool MetropolisKernel::move(ChainProblem& problem, std::span<double> x, std::size_t site,
                            const ChainSweep& sweep, std::int64_t draw) const {
  const SiteConditional given = problem.conditional(x, site);
  const double before = x[site];
  double proposal = -before, rise = 2 * before * given.value;
  if (given.deviation > 0) {
    proposal = before + step_ * sweep.random.normal(sweep.number, sweep.chain, draw);
    const double from = (before - given.value) / given.deviation,
                 to = (proposal - given.value) / given.deviation;
    rise = 0.5 * (to * to - from * from);
  }
  if (rise > 0 && sweep.random.uniform(sweep.number, sweep.chain, draw) >= std::exp(-rise)) return false;
  x[site] = proposal;
  problem.changed(x, site, before);
  return true;
}

void LangevinKernel::options(OptionVisitor& o) {
  o("step", step_, {.help = "step size", .min = 0, .exclusive_min = true});
  o("adjust", adjust_, {.help = "accept or refuse steps, so that the density is exact"});
}

void LangevinKernel::check(const ChainTarget& target) const {
  need(target.abilities().gradient, "the gradient of the energy", "gibbs, metropolis or em");
}

double LangevinKernel::sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const {
  const std::size_t n = x.size();
  std::vector<double> noise(n), slope(n), to(x.begin(), x.end());
  sweep.random.fill_normal<double>(noise, sweep.number, sweep.chain);
  problem.gradient(x, slope);
  for (std::size_t i = 0; i < n; ++i) to[i] += std::sqrt(2 * step_) * noise[i] - step_ * slope[i];
  if (adjust_) {
    // log q(to | x) - log q(x | to); the first term is minus half the square of the noise.
    std::vector<double> back(n);
    problem.gradient(to, back);
    double rise = problem.energy(to) - problem.energy(x);
    for (std::size_t i = 0; i < n; ++i) {
      const double d = x[i] - to[i] + step_ * back[i];
      rise += d * d / (4 * step_) - 0.5 * noise[i] * noise[i];
    }
    // A proposal whose energy is NaN is rejected.
    if (!(rise <= 0) && !(sweep.random.uniform(sweep.number, sweep.chain, 0) < std::exp(-rise))) return 0;
  }
  std::copy(to.begin(), to.end(), x.begin());
  return 1;
}

void MeanFieldKernel::options(OptionVisitor& o) {
  o("damping", damping_,
    {.help = "part of the old mean that stays in a new one", .min = 0, .max = 1, .exclusive_max = true});
  o("parallel", parallel_, {.help = "all sites at once, instead of one after the other"});
}

void MeanFieldKernel::check(const ChainTarget& target) const {
  need(target.abilities().conditionals, "each site's distribution given the others", "em or langevin");
}

double MeanFieldKernel::sweep(ChainProblem& problem, std::span<double> x, ChainSweep&) const {
  problem.begin(x);
  const std::vector<double> old(x.begin(), x.end());
  const std::span<const double> from = parallel_ ? std::span<const double>(old) : x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double before = x[i], mean = mean_of(problem.conditional(from, i));
    x[i] = damping_ * before + (1 - damping_) * mean;
    if (!parallel_) problem.changed(x, i, before);
  }
  return 1;
}

double MeanFieldKernel::progress(ChainProblem& problem, std::span<const double> x) const {
  problem.begin(x);
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    largest = std::max(largest, std::abs(x[i] - mean_of(problem.conditional(x, i))));
  return largest;
}

MetricInfo MeanFieldKernel::progress_metric() const {
  return {"residual", "1", "largest distance of a site's mean from that given the others, over all chains"};
}

void EnumerateKernel::check(const ChainTarget& target) const {
  need(target.abilities().spins, "sites that are 1 or -1", "gibbs, metropolis or langevin");
  if (target.size() > most_spins)
    throw InputError(fmt::format("{} spins have too many states to go through; use {} at most, or gibbs",
                                 target.size(), most_spins));
}

double EnumerateKernel::sweep(ChainProblem& problem, std::span<double> x, ChainSweep& sweep) const {
  const std::int64_t states = std::int64_t{1} << x.size(), first = sweep.number * states / sweep.of,
                     last = (sweep.number + 1) * states / sweep.of;
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = ((first ^ (first >> 1)) >> i & 1) != 0 ? 1 : -1;
  problem.begin(x);
  const std::size_t observables = sweep.values.size();
  std::vector<double> here(observables);
  double energy = first < last ? problem.energy(x) : 0, least = energy, weights = 0;
  std::fill(sweep.values.begin(), sweep.values.end(), 0.0);
  for (std::int64_t s = first; s < last; ++s) {
    if (energy < least) {  // sums are relative to the largest weight so far
      const double factor = std::exp(energy - least);
      weights *= factor;
      for (double& v : sweep.values) v *= factor;
      least = energy;
    }
    const double weight = std::exp(least - energy);
    problem.measure(x, here);
    weights += weight;
    for (std::size_t v = 0; v < observables; ++v) sweep.values[v] += weight * here[v];
    if (s + 1 == last) break;
    const auto flipped = static_cast<std::size_t>(std::countr_zero(static_cast<std::uint64_t>(s + 1)));
    const double before = x[flipped];
    energy += 2 * before * problem.conditional(x, flipped).value;
    x[flipped] = -before;
    problem.changed(x, flipped, before);
  }
  for (double& v : sweep.values) v = weights > 0 ? v / weights : 0;
  sweep.log_weight = weights > 0 ? std::log(weights) - least : -HUGE_VAL;
  return 1;
}

void EmKernel::check(const ChainTarget& target) const {
  need(target.abilities().improves, "a sweep of expectation and maximisation",
       "gibbs, metropolis or langevin");
}

double EmKernel::sweep(ChainProblem& problem, std::span<double> x, ChainSweep&) const {
  problem.improve(x);
  return 1;
}

double EmKernel::progress(ChainProblem& problem, std::span<const double> x) const {
  return problem.objective(x);
}

}  // namespace rankine
