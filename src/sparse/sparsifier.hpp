// Which weights of a network are held at zero: a criterion, the weights it judges, how the density is shared
// among layers, and when. The masks belong to the parameters (ParameterInfo::mask), which optimisers honour.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/nn/input_statistics.hpp"
#include "src/sparse/criterion.hpp"
#include "src/sparse/density_schedule.hpp"
#include "src/sparse/distribution.hpp"
#include "src/sparse/refinement.hpp"
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
    /// Of the network as it is, over `batches` batches. The same on all ranks.
    std::function<InputStatistics(int batches)> inputs = {};
  };
  /// Removes weights so that `density` of them remain, never one that is removed already. The masked
  /// parameters become zero. Deterministic; the same on all ranks.
  void prune(ParameterSet& parameters, double density, const Event& event) const;
  /// Removes the part `rate` of the weights that remain, in each layer or over all, as the scope says.
  void prune_rate(ParameterSet& parameters, double rate, const Event& event) const;
  /// Shuffles each mask: another choice of as many weights. The parameters are masked anew.
  void permute(ParameterSet& parameters, const Event& event) const;

  bool needs_inputs() const { return refinement_ != nullptr || criterion_->needs_inputs(); }
  /// InputError where the criterion looks at inputs, and these lack those of a part.
  void check_inputs(const DeckNode& node, const InputStatistics& inputs) const;
  /// How many weights of each part remain, by its name.
  std::map<std::string, std::int64_t> kept(const ParameterSet& parameters) const;
  /// The same after a pruning to this density. Where scores share it out among layers, as if each had it.
  std::map<std::string, std::int64_t> kept_at(double density) const;
  bool scores_share_out() const { return options_.scope == "global" || options_.layer_density == "snip"; }
  /// Weights that remain, and all that are judged.
  std::int64_t remaining(const ParameterSet& parameters) const;
  std::int64_t judged() const { return judged_; }
  /// Names of the parts that have masks.
  const std::vector<std::string>& parts() const { return parts_; }

 private:
  /// Of each of the parts first .. last - 1 (-1: all), minus infinity for weights that are removed already.
  std::vector<std::vector<double>> scores(const Criterion& criterion, const ParameterSet& parameters,
                                          const Event& event, const InputStatistics& inputs = {},
                                          std::size_t first = 0, std::size_t last = std::size_t(-1)) const;
  /// By the deck's criterion.
  std::vector<std::vector<double>> scores_of_all(const ParameterSet& parameters, const Event& event) const;
  /// Keeps `keep` weights of each part by the criterion. Where it looks at inputs, block after block: those of
  /// a block come from the blocks before it as they are pruned by then.
  void select(ParameterSet& parameters, const std::vector<std::int64_t>& keep, const Event& event) const;
  /// How many of the `keep` best of all parts are in each.
  std::vector<std::int64_t> best_of_all(const std::vector<std::vector<double>>& scores,
                                        std::int64_t keep) const;
  /// Keeps the best `keep` weights of each part from `first` on that has scores, or those that the refinement
  /// makes of them, where there are inputs.
  void keep_best(ParameterSet& parameters, const std::vector<std::vector<double>>& scores,
                 const std::vector<std::int64_t>& keep, const InputStatistics& inputs = {},
                 std::size_t first = 0) const;
  void refine(const ParameterInfo& part, const Tensor& weights, const InputMoments& inputs,
              std::vector<double>& mask) const;
  std::vector<std::int64_t> kept_of_parts(const ParameterSet& parameters) const;
  /// How many weights of each part a density leaves, where scores do not say it.
  std::vector<std::int64_t> shared_out(double density) const;

  std::map<std::string, std::int64_t> named(const std::vector<std::int64_t>& counts) const;

  SparsityOptions options_;
  std::unique_ptr<Criterion> criterion_;
  std::unique_ptr<DensitySchedule> schedule_;
  std::unique_ptr<Refinement> refinement_;  // null: masks stay as the criterion makes them
  std::vector<std::string> parts_;
  std::vector<Shape> shapes_;
  std::vector<double> factors_;  // on the rate of each part
  std::int64_t judged_ = 0;
};

}  // namespace rankine
