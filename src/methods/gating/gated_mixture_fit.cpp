#include "src/methods/gating/gated_mixture_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "src/comm/tile_tree.hpp"
#include "src/core/memory.hpp"
#include "src/core/random.hpp"
#include "src/core/statistics.hpp"

namespace rankine {
namespace {

struct Measured {
  const char *name, *help;
};
constexpr std::array<Measured, 6> measured{{
    {"hellinger", "Hellinger distance of the fit from the truth, mean over the repeats"},
    {"simple_error", "|b1| + |b0| + |a| + |c| + |s| errors of experts alone in their Voronoi cell, mean"},
    {"doubled_gate_error", "|b1| + |c| errors of experts that share a Voronoi cell, mean; 0 where none does"},
    {"doubled_expert_error",
     "|a| + |s| errors of experts that share a Voronoi cell, mean; 0 where none does"},
    {"likelihood_gain", "mean log-likelihood of the fit minus that of the truth, on the draws"},
    {"sweeps", "sweeps of expectation maximisation, mean"},
}};

}  // namespace

void GatedMixtureOptions::options(OptionVisitor& o) {
  o("b1", b1, {.help = "slopes of the true gates", .min_size = 1});
  o("b0", b0, {.help = "offsets of the true gates"});
  o("a", a, {.help = "slopes of the true experts"});
  o("c", c, {.help = "offsets of the true experts"});
  o("s", s, {.help = "variances of the true experts", .min = 0, .exclusive_min = true});
  o("truth_active", truth_active, {.help = "experts that the true gate takes", .min = 1});
  o("points", points, {.help = "draws: x uniform in [-1, 1], y from the truth", .min = 2});
  o("repeats", repeats, {.help = "data sets, each with a fit", .min = 1});
  o("start_near", start_near,
    {.help =
         "for each expert of the model the true one, from 0, that it starts near; the last one's gate stays "
         "as it is",
     .min = 0,
     .min_size = 1});
  o("active", active, {.help = "experts that the model's gate takes", .min = 1});
  o("noise", noise, {.help = "deviation of the start from the truth", .min = 0});
  o("spread", spread,
    {.help = "experts that start near the same true one are this times points^(-1/8) apart in c", .min = 0});
  o("ball", ball,
    {.help = "experts stay within this distance, in (b1, a, c, s), of the true one that they start near, and "
             "share its gate's mass equally; 0: free",
     .min = 0});
  o("sweeps", sweeps, {.help = "sweeps at most", .min = 1});
  o("change", change, {.help = "stop where the mean log-likelihood changes less", .min = 0});
}

void GatedMixtureOptions::validate(const DeckNode& node) const {
  for (const auto& [key, list] :
       std::map<const char*, const std::vector<double>*>{{"b0", &b0}, {"a", &a}, {"c", &c}, {"s", &s}})
    if (list->size() != b1.size())
      node.error_at(key, fmt::format("{}: {} values for {} true experts (b1)", key, list->size(), b1.size()));
  for (const int near : start_near)
    if (static_cast<std::size_t>(near) >= b1.size())
      node.error_at("start_near",
                    fmt::format("start_near: {} is not one of the {} true experts, from 0", near, b1.size()));
  if (static_cast<std::size_t>(active) > start_near.size())
    node.error_at("active", fmt::format("active: {} of {} experts", active, start_near.size()));
  if (static_cast<std::size_t>(truth_active) > b1.size())
    node.error_at("truth_active", fmt::format("truth_active: {} of {} experts", truth_active, b1.size()));
}

void GatedMixtureFit::describe(OptionVisitor& o) {
  GatedMixtureOptions options;
  o.group("mixture", options, "the truth, the model and its fit");
}

GatedMixtureFit::GatedMixtureFit(const DeckNode& variant, const ExperimentSetup&) {
  variant.section("mixture").read(o_);
  for (std::size_t i = 0; i < o_.b1.size(); ++i)
    truth_.push_back({o_.b1[i], o_.b0[i], o_.a[i], o_.c[i], o_.s[i]});
  variant.reject_unread_keys();
}

std::vector<MetricInfo> GatedMixtureFit::metrics() const {
  std::vector<MetricInfo> out;
  for (const Measured& m : measured) out.push_back({m.name, "1", m.help});
  out.push_back({"peak_memory", "B", "largest memory of a rank", true});
  return out;
}

RunEstimate GatedMixtureFit::estimate() const {
  RunEstimate e;
  const double points = o_.points, experts = static_cast<double>(o_.start_near.size());
  e.partition = fmt::format("{} repeats of {} points", o_.repeats, o_.points);
  e.bytes_per_rank = 64e6 + 16 * points;
  e.seconds_per_seed = 3e-8 * points * experts * o_.repeats * std::min(o_.sweeps, 300);
  e.file_bytes = static_cast<std::uint64_t>(4000 + 100 * o_.repeats);
  return e;
}

GatedGaussians GatedMixtureFit::start(std::uint64_t seed, std::int64_t repeat) const {
  const RandomStream noise(seed, "gated-mixture/start");
  std::map<int, int> sharing, placed;
  for (const int near : o_.start_near) ++sharing[near];
  GatedGaussians model;
  for (std::size_t i = 0; i < o_.start_near.size(); ++i) {
    const int near = o_.start_near[i], many = sharing[near];
    GatedGaussian e = truth_[static_cast<std::size_t>(near)];
    const auto draw = [&](std::int64_t which) {
      return o_.noise * noise.normal(0, repeat, 8 * static_cast<std::int64_t>(i) + which);
    };
    e.b0 -= std::log(many);
    e.c += o_.spread * std::pow(o_.points, -0.125) * (placed[near]++ - 0.5 * (many - 1));
    e.a += draw(0);
    e.c += draw(1);
    e.s *= std::exp(draw(2));
    if (i + 1 < o_.start_near.size()) {
      e.b1 += draw(3);
      e.b0 += draw(4);
    }
    model.push_back(e);
  }
  return model;
}

void GatedMixtureFit::project(GatedGaussians& model) const {
  if (o_.ball == 0) return;
  std::map<int, int> sharing;
  for (const int near : o_.start_near) ++sharing[near];
  for (std::size_t i = 0; i < model.size(); ++i) {
    GatedGaussian& e = model[i];
    const GatedGaussian& t = truth_[static_cast<std::size_t>(o_.start_near[i])];
    const double distance = std::hypot(std::hypot(e.b1 - t.b1, e.a - t.a), std::hypot(e.c - t.c, e.s - t.s));
    const double factor = distance > o_.ball ? o_.ball / distance : 1;
    e.b1 = t.b1 + factor * (e.b1 - t.b1);
    e.a = t.a + factor * (e.a - t.a);
    e.c = t.c + factor * (e.c - t.c);
    e.s = t.s + factor * (e.s - t.s);
    e.b0 = t.b0 - std::log(sharing[o_.start_near[i]]);
  }
}

std::vector<double> GatedMixtureFit::fit(std::uint64_t seed, std::int64_t repeat) const {
  const RandomStream draws(seed, "gated-mixture/draws");
  std::vector<double> x, y, w(truth_.size());
  for (std::int64_t n = 0; n < o_.points; ++n) {
    x.push_back(draws.uniform(-1, 1, 0, repeat, 2 * n));
    gate_weights(truth_, o_.truth_active, x.back(), w);
    double left = draws.uniform(0, repeat, 2 * n + 1);
    std::size_t i = 0;
    while (i + 1 < truth_.size() && left >= w[i]) left -= w[i++];
    y.push_back(truth_[i].a * x.back() + truth_[i].c + std::sqrt(truth_[i].s) * draws.normal(0, repeat, n));
  }
  GatedGaussians model = start(seed, repeat);
  double likelihood = -HUGE_VAL;
  int sweeps = 0;
  while (sweeps < o_.sweeps) {
    em_sweep(model, o_.active, x, y);
    project(model);
    // Looking costs as much as half a sweep.
    if (++sweeps % 10 != 0) continue;
    const double before = std::exchange(likelihood, mean_log_likelihood(model, o_.active, x, y));
    if (std::abs(likelihood - before) < 10 * o_.change) break;
  }
  const std::vector<int> cells = voronoi_cells(model, truth_);
  double simple = 0, gate = 0, expert = 0, alone = 0, shared = 0;
  for (std::size_t i = 0; i < model.size(); ++i) {
    const GatedGaussian &e = model[i], &t = truth_[static_cast<std::size_t>(cells[i])];
    const double b1 = std::abs(e.b1 - t.b1), a = std::abs(e.a - t.a), c = std::abs(e.c - t.c),
                 s = std::abs(e.s - t.s);
    if (std::count(cells.begin(), cells.end(), cells[i]) == 1) {
      simple += b1 + std::abs(e.b0 - t.b0) + a + c + s;
      ++alone;
    } else {
      gate += b1 + c;
      expert += a + s;
      ++shared;
    }
  }
  return {hellinger_distance(model, o_.active, truth_, o_.truth_active),
          alone > 0 ? simple / alone : 0,
          shared > 0 ? gate / shared : 0,
          shared > 0 ? expert / shared : 0,
          mean_log_likelihood(model, o_.active, x, y) - mean_log_likelihood(truth_, o_.truth_active, x, y),
          static_cast<double>(sweeps)};
}

Metrics GatedMixtureFit::run(RunContext& context) {
  const Communicator& communicator = context.communicator;
  const BlockPartition dealt(o_.repeats, communicator.size());
  const std::int64_t first = dealt.begin(communicator.rank()), local = dealt.size(communicator.rank());
  std::vector<double> values(static_cast<std::size_t>(local) * measured.size(), 0.0);
  context.checkpoint.state().add("repeats", StateKind::per_tile, values);
  // Repeats are done in rounds, so that what is done at a restart does not depend on the ranks.
  const std::int64_t rounds = std::min(o_.repeats, 10), start = context.checkpoint.resume();
  for (std::int64_t round = start; round < rounds; ++round) {
    context.checkpoint.between_steps(round, rounds);
    for (std::int64_t r = 0; r < dealt.size(0); ++r) {  // the first rank has most
      context.checkpoint.within_step(round, rounds);
      communicator.together([&] {
        if (r >= local || (first + r) % rounds != round) return;
        const std::vector<double> found = fit(static_cast<std::uint64_t>(context.seed), first + r);
        std::copy(found.begin(), found.end(), values.begin() + r * static_cast<std::int64_t>(found.size()));
      });
    }
  }
  context.checkpoint.between_steps(rounds, rounds);
  const std::vector<double> all = communicator.all_gather_varying(std::span<const double>(values));
  Metrics out;
  for (std::size_t m = 0; m < measured.size(); ++m) {
    std::vector<double> of_repeats;
    for (std::size_t at = m; at < all.size(); at += measured.size()) of_repeats.push_back(all[at]);
    out.emplace_back(measured[m].name, mean(of_repeats));
    context.results.per_sample(measured[m].name, of_repeats, {.long_name = measured[m].help});
  }
  out.emplace_back("peak_memory", static_cast<double>(communicator.max(peak_memory_bytes())));
  return out;
}

}  // namespace rankine
