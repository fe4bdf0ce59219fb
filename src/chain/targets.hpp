// Targets that several methods use.
#pragma once

#include "src/chain/target.hpp"
#include "src/deck/node.hpp"

namespace rankine {

/// A normal density. Observables are the coordinates, their squares, and the energy, whose mean is half the
/// dimension.
class GaussianTarget final : public ChainTarget {
 public:
  struct Options {
    std::vector<double> covariance{1}, mean;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit GaussianTarget(const Options& options);
  ChainAbilities abilities() const override {
    return {.conditionals = true, .spins = false, .gradient = true, .improves = false};
  }
  std::size_t size() const override { return mean_.size(); }
  std::vector<MetricInfo> observables() const override;
  std::unique_ptr<ChainProblem> make(std::uint64_t seed, std::int64_t chain) const override;

 private:
  std::vector<double> mean_, precision_;
};

/// Ising spins with the energy -(J sum_<ij> x_i x_j + H sum_i x_i) / T. The pairs are neighbours on a grid,
/// or all pairs with J / N in place of J.
class IsingTarget final : public ChainTarget {
 public:
  struct Options {
    std::string graph = "grid";
    int rows = 8, columns = 8;
    bool periodic = true;
    double coupling = 1, field = 0, temperature = 1;
    void options(OptionVisitor& o);
  };
  explicit IsingTarget(const Options& options) : options_(options) {}
  ChainAbilities abilities() const override {
    return {.conditionals = true, .spins = true, .gradient = false, .improves = false};
  }
  std::size_t size() const override {
    return static_cast<std::size_t>(options_.rows) * static_cast<std::size_t>(options_.columns);
  }
  std::vector<MetricInfo> observables() const override;
  std::unique_ptr<ChainProblem> make(std::uint64_t seed, std::int64_t chain) const override;

 private:
  Options options_;
};

/// Spins with random patterns of the seed, energy -sum_mu ((sum_i p_i^mu x_i)^2 - N) / (2 N T) (Hopfield,
/// PNAS 79, 1982). Chains begin at the first pattern with a part of its spins flipped.
class HopfieldTarget final : public ChainTarget {
 public:
  struct Options {
    int spins = 100, patterns = 5;
    double temperature = 0.5, turned = 0.2;
    void options(OptionVisitor& o);
  };
  explicit HopfieldTarget(const Options& options) : options_(options) {}
  ChainAbilities abilities() const override {
    return {.conditionals = true, .spins = true, .gradient = false, .improves = false};
  }
  std::size_t size() const override { return static_cast<std::size_t>(options_.spins); }
  std::vector<MetricInfo> observables() const override;
  double seconds_of_sweep() const override { return 2e-9 * options_.spins * options_.patterns; }
  double bytes() const override { return 8.0 * options_.spins * options_.patterns; }
  std::unique_ptr<ChainProblem> make(std::uint64_t seed, std::int64_t chain) const override;

 private:
  Options options_;
};

/// A restricted Boltzmann machine of real numbers v and hidden units h in {0, 1}. Its sites are v, followed
/// by the spins 2 h - 1 (Cho, Ilin and Raiko, "Improved learning of Gaussian-Bernoulli restricted Boltzmann
/// machines", ICANN 2011):
///   E = sum_i (v_i - a)^2 / (2 s^2) - sum_j c h_j - sum_ij v_i W_ij h_j / s^2
/// The weights W are normal numbers that the seed draws.
class GaussianRbmTarget final : public ChainTarget {
 public:
  struct Options {
    int visible = 8, hidden = 4;
    double weight = 0.5, visible_bias = 0, hidden_bias = 0, deviation = 1;
    void options(OptionVisitor& o);
  };
  explicit GaussianRbmTarget(const Options& options) : options_(options) {}
  ChainAbilities abilities() const override {
    return {.conditionals = true, .spins = false, .gradient = false, .improves = false};
  }
  std::size_t size() const override { return static_cast<std::size_t>(options_.visible + options_.hidden); }
  std::vector<MetricInfo> observables() const override;
  double seconds_of_sweep() const override { return 2e-9 * options_.visible * options_.hidden; }
  std::unique_ptr<ChainProblem> make(std::uint64_t seed, std::int64_t chain) const override;

 private:
  Options options_;
};

}  // namespace rankine
