#include "src/methods/gating/gated_mixture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "src/core/random.hpp"

namespace rankine {
namespace {

struct Measured {
  const char *name, *help;
};
constexpr std::array<Measured, 5> measured{{
    {"hellinger", "Hellinger distance of the fit from the truth, mean over the chains"},
    {"simple_error", "|b1| + |b0| + |a| + |c| + |s| errors of experts alone in their Voronoi cell, mean"},
    {"doubled_gate_error", "|b1| + |c| errors of experts that share a Voronoi cell, mean; 0 where none does"},
    {"doubled_expert_error",
     "|a| + |s| errors of experts that share a Voronoi cell, mean; 0 where none does"},
    {"likelihood_gain", "mean log-likelihood of the fit minus that of the truth, on the draws"},
}};

class GatedMixtureProblem final : public ChainProblem {
 public:
  GatedMixtureProblem(const GatedMixtureOptions& options, const GatedGaussians& truth, std::uint64_t seed,
                      std::int64_t chain)
      : o_(options), truth_(truth), seed_(seed), chain_(chain) {
    const RandomStream draws(seed, "gated-mixture/draws");
    std::vector<double> w(truth_.size());
    for (std::int64_t n = 0; n < o_.points; ++n) {
      x_.push_back(draws.uniform(-1, 1, 0, chain, 2 * n));
      gate_weights(truth_, o_.truth_active, x_.back(), w);
      double left = draws.uniform(0, chain, 2 * n + 1);
      std::size_t i = 0;
      while (i + 1 < truth_.size() && left >= w[i]) left -= w[i++];
      y_.push_back(truth_[i].a * x_.back() + truth_[i].c +
                   std::sqrt(truth_[i].s) * draws.normal(0, chain, n));
    }
  }

  std::vector<double> start() const override {
    const RandomStream noise(seed_, "gated-mixture/start");
    std::map<int, int> sharing, placed;
    for (const int near : o_.start_near) ++sharing[near];
    GatedGaussians model;
    for (std::size_t i = 0; i < o_.start_near.size(); ++i) {
      const int near = o_.start_near[i], many = sharing[near];
      GatedGaussian e = truth_[static_cast<std::size_t>(near)];
      const auto draw = [&](std::int64_t which) {
        return o_.noise * noise.normal(0, chain_, 8 * static_cast<std::int64_t>(i) + which);
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
    return numbers(model);
  }

  void improve(std::span<double> state) const override {
    GatedGaussians model = experts(state);
    em_sweep(model, o_.active, x_, y_);
    if (o_.ball > 0) project(model);
    const std::vector<double> after = numbers(model);
    std::copy(after.begin(), after.end(), state.begin());
  }

  double objective(std::span<const double> state) const override {
    return mean_log_likelihood(experts(state), o_.active, x_, y_);
  }

  void measure(std::span<const double> state, std::span<double> values) const override {
    const GatedGaussians model = experts(state);
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
    const std::array<double, measured.size()> found{
        hellinger_distance(model, o_.active, truth_, o_.truth_active), alone > 0 ? simple / alone : 0,
        shared > 0 ? gate / shared : 0, shared > 0 ? expert / shared : 0,
        mean_log_likelihood(model, o_.active, x_, y_) - mean_log_likelihood(truth_, o_.truth_active, x_, y_)};
    std::copy(found.begin(), found.end(), values.begin());
  }

 private:
  static GatedGaussians experts(std::span<const double> state) {
    GatedGaussians model;
    for (std::size_t i = 0; i < state.size(); i += 5)
      model.push_back({state[i], state[i + 1], state[i + 2], state[i + 3], state[i + 4]});
    return model;
  }
  static std::vector<double> numbers(const GatedGaussians& model) {
    std::vector<double> out;
    for (const GatedGaussian& e : model) out.insert(out.end(), {e.b1, e.b0, e.a, e.c, e.s});
    return out;
  }
  /// Pulls each expert into the ball around the true one that it started near, and shares out the gate's mass
  /// of that one.
  void project(GatedGaussians& model) const {
    std::map<int, int> sharing;
    for (const int near : o_.start_near) ++sharing[near];
    for (std::size_t i = 0; i < model.size(); ++i) {
      GatedGaussian& e = model[i];
      const GatedGaussian& t = truth_[static_cast<std::size_t>(o_.start_near[i])];
      const double distance =
          std::hypot(std::hypot(e.b1 - t.b1, e.a - t.a), std::hypot(e.c - t.c, e.s - t.s));
      const double factor = distance > o_.ball ? o_.ball / distance : 1;
      e.b1 = t.b1 + factor * (e.b1 - t.b1);
      e.a = t.a + factor * (e.a - t.a);
      e.c = t.c + factor * (e.c - t.c);
      e.s = t.s + factor * (e.s - t.s);
      e.b0 = t.b0 - std::log(sharing[o_.start_near[i]]);
    }
  }

  GatedMixtureOptions o_;
  GatedGaussians truth_;
  std::uint64_t seed_;
  std::int64_t chain_;
  std::vector<double> x_, y_;
};

}  // namespace

void GatedMixtureOptions::options(OptionVisitor& o) {
  o("b1", b1, {.help = "slopes of the true gates", .min_size = 1});
  o("b0", b0, {.help = "offsets of the true gates"});
  o("a", a, {.help = "slopes of the true experts"});
  o("c", c, {.help = "offsets of the true experts"});
  o("s", s, {.help = "variances of the true experts", .min = 0, .exclusive_min = true});
  o("truth_active", truth_active, {.help = "experts that the true gate takes", .min = 1});
  o("points", points, {.help = "draws: x uniform in [-1, 1], y from the truth", .min = 2});
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

GatedMixtureTarget::GatedMixtureTarget(const Options& options) : o_(options) {
  for (std::size_t i = 0; i < o_.b1.size(); ++i)
    truth_.push_back({o_.b1[i], o_.b0[i], o_.a[i], o_.c[i], o_.s[i]});
}

std::vector<MetricInfo> GatedMixtureTarget::observables() const {
  std::vector<MetricInfo> out;
  for (const Measured& m : measured) out.push_back({m.name, "1", m.help});
  return out;
}

std::unique_ptr<ChainProblem> GatedMixtureTarget::make(std::uint64_t seed, std::int64_t chain) const {
  return std::make_unique<GatedMixtureProblem>(o_, truth_, seed, chain);
}

}  // namespace rankine
