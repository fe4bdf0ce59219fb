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
#include "src/sparse/regrowth.hpp"
#include "src/sparse/structure.hpp"
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
  int batches = 1, rounds = 1, draws = 1;
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
  /// Steps, of `total`, before which regrow() is due.
  std::vector<std::int64_t> regrowth_steps(std::int64_t total) const;
  /// InputError where the structure knows no mask of this density.
  void check(double density) const { structure_->check(density); }

  struct Event {
    std::uint64_t seed = 0;
    std::int64_t number = 0;
    /// What a criterion needs [count], but for inputs, over `batches` batches. Collective; the same on all ranks.
    std::function<Tensor(Evidence needs, int batches)> evidence = {};
    /// The loss over the first `batches` batches. Collective; the same on all ranks.
    std::function<double(int batches)> loss = {};
    /// Of the network as it is, over `batches` batches. The same on all ranks.
    std::function<InputStatistics(int batches)> inputs = {};
  };
  /// Removes weights so that `density` of them remain, never one that is removed already. The masked
  /// parameters become zero. Deterministic; the same on all ranks.
  void prune(ParameterSet& parameters, double density, const Event& event) const;
  /// Removes the part `rate` of the weights that remain, in each layer or over all, as the scope says.
  void prune_rate(ParameterSet& parameters, double rate, const Event& event) const;
  /// Exchanges weights before step `step` of `total`, in each part: as many come back as are removed. Returns
  /// 0 for those that have come back and 1 for all others, [count].
  Tensor regrow(ParameterSet& parameters, std::int64_t step, std::int64_t total, const Event& event) const;
  /// Shuffles each mask: another choice of as many weights. The parameters are masked anew.
  void permute(ParameterSet& parameters, const Event& event) const;

  /// Whether a criterion needs it, or the refinement.
  bool needs(Evidence what) const {
    return criterion_->needs() == what || (drop_ != nullptr && drop_->needs() == what) ||
           (refinement_ != nullptr && what == Evidence::inputs);
  }
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
  const std::vector<std::string>& masked() const { return masked_; }

 private:
  using Scores = std::vector<std::vector<double>>;
  /// Of each unit of the parts first .. last - 1 (-1: all) the mean over its weights; minus infinity for units
  /// that are removed already, unless these are asked for too.
  Scores scores(const Criterion& criterion, const ParameterSet& parameters, const Event& event,
                const InputStatistics& inputs = {}, std::size_t first = 0, std::size_t last = std::size_t(-1),
                bool also_removed = false) const;
  /// The inputs that a criterion asks for.
  InputStatistics inputs_for(const Criterion& criterion, const Event& event) const {
    return criterion.needs() == Evidence::inputs ? event.inputs(options_.batches) : InputStatistics();
  }
  void prune_to(ParameterSet& parameters, double density, const Event& event) const;
  void prune_once(ParameterSet& parameters, double density, const Event& event) const;
  /// Keeps `keep` weights of each part by the criterion. Where it looks at inputs, block after block: those of
  /// a block come from the blocks before it as they are pruned by then.
  void select(ParameterSet& parameters, const std::vector<std::int64_t>& keep, const Event& event) const;
  /// How many weights each part has among the best of all units, which have `keep` weights.
  std::vector<std::int64_t> best_of_all(const Scores& scores, std::int64_t keep) const;
  /// 1 for the units of part l that have the best scores, and `keep` weights, else 0. Each group has its share.
  std::vector<double> best_units(std::size_t l, const std::vector<double>& scores, std::int64_t keep) const;
  /// Keeps the best units of each part from `first` on that has scores, with `keep` weights, or those that the
  /// refinement makes of them, where there are inputs.
  void keep_best(ParameterSet& parameters, const Scores& scores, const std::vector<std::int64_t>& keep,
                 const InputStatistics& inputs = {}, std::size_t first = 0) const;
  void refine(const ParameterInfo& part, const Tensor& weights, const InputMoments& inputs,
              std::vector<double>& mask) const;
  /// The mask of part l from those of its units.
  void set_mask(ParameterSet& parameters, std::size_t l, const std::vector<double>& of_units) const;
  std::vector<std::int64_t> kept_of_parts(const ParameterSet& parameters) const;
  /// How many weights of each part a density leaves, where scores do not say it.
  std::vector<std::int64_t> shared_out(double density) const;

  std::map<std::string, std::int64_t> named(const std::vector<std::int64_t>& counts) const;

  SparsityOptions options_;
  std::unique_ptr<Criterion> criterion_;
  std::unique_ptr<DensitySchedule> schedule_;
  std::unique_ptr<Refinement> refinement_;  // null: masks stay as the criterion makes them
  std::unique_ptr<Structure> structure_;
  std::unique_ptr<Regrowth> regrowth_;                // null: what is removed stays removed
  std::unique_ptr<Criterion> drop_;                   // what it removes
  std::vector<std::string> parts_, biases_, masked_;  // judged; theirs ("": none, or not masked); both
  std::vector<UnitLayout> layouts_;
  std::vector<Shape> shapes_;
  std::vector<double> factors_;  // on the rate of each part
  std::int64_t judged_ = 0;
};

}  // namespace rankine
