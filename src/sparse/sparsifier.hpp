// Which weights of a network are held at zero: a criterion, the weights it judges, how the density is shared
// among layers, and when. The masks belong to the parameters (ParameterInfo::mask), which optimisers honour.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/sparse/criterion.hpp"
#include "src/sparse/density_schedule.hpp"
#include "src/sparse/distribution.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// Another rate of pruning for some layers.
struct LayerRate {
  std::vector<std::string> on{};
  double factor = 1;
  void options(OptionVisitor& o);
};

/// A deck's `sparsity`, beside criterion and schedule.
struct SparsityOptions {
  std::vector<std::string> on{"*.weight"}, except{};
  double density = 1;
  std::string scope = "layer", layer_density = "uniform";
  bool rescale = false;
  int batches = 1;
  std::vector<LayerRate> rates{};
  void options(OptionVisitor& o);
};

class Sparsifier {
 public:
  /// Reads `node`, which gives criterion and options. `network`: fresh parameters of what is made sparse.
  /// InputError where the patterns match none of them.
  Sparsifier(const DeckNode& node, const ParameterSet& network);
  static void describe(OptionVisitor& o);

  /// Gives the parts masks of ones. Once, before the parameters are trained.
  void attach(ParameterSet& parameters) const;
  /// Steps of training before which prune() is due, with the densities. None where the deck gives no density
  /// below 1: then pruning is left to the phases of training.
  std::vector<std::pair<std::int64_t, double>> events() const;

  struct Event {
    std::uint64_t seed = 0;
    std::int64_t number = 0;
    /// The gradient [count] of the loss over `batches` batches. Collective.
    std::function<Tensor(int batches)> gradient = {};
  };
  /// Removes weights so that `density` of them remain, never one that is removed already. The masked
  /// parameters become zero. Deterministic; the same on all ranks.
  void prune(ParameterSet& parameters, double density, const Event& event) const;
  /// Removes the part `rate` of the weights that remain, in each layer or over all, as the scope says.
  void prune_rate(ParameterSet& parameters, double rate, const Event& event) const;
  /// Shuffles each mask: another choice of as many weights. The parameters are masked anew.
  void permute(ParameterSet& parameters, const Event& event) const;

  /// Weights that remain, and all that are judged.
  std::int64_t remaining(const ParameterSet& parameters) const;
  std::int64_t judged() const { return judged_; }
  /// Names of the parts that have masks.
  const std::vector<std::string>& parts() const { return parts_; }

 private:
  /// Of each part, minus infinity for weights that are removed already.
  std::vector<std::vector<double>> scores(const Criterion& criterion, const ParameterSet& parameters,
                                          const Event& event) const;
  /// How many of the `keep` best of all parts are in each.
  std::vector<std::int64_t> best_of_all(const std::vector<std::vector<double>>& scores,
                                        std::int64_t keep) const;
  /// Keeps the best `keep` weights of each part.
  void keep_best(ParameterSet& parameters, const std::vector<std::vector<double>>& scores,
                 const std::vector<std::int64_t>& keep) const;
  /// How many weights of each part remain.
  std::vector<std::int64_t> kept(const ParameterSet& parameters) const;

  SparsityOptions options_;
  std::unique_ptr<Criterion> criterion_;
  std::unique_ptr<DensitySchedule> schedule_;
  std::vector<std::string> parts_;
  std::vector<Shape> shapes_;
  std::vector<double> factors_;  // on the rate of each part
  std::int64_t judged_ = 0;
};

}  // namespace rankine
