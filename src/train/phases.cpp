#include "src/train/phases.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "src/run/snapshots.hpp"

namespace rankine {

void PhaseOptions::options(OptionVisitor& o) {
  o("steps", steps, {.help = "training steps of the phase; 0 with 0 epochs: none", .min = 0});
  o("epochs", epochs, {.help = "passes over the training examples, instead of steps", .min = 0});
  o("learning_rate", learning_rate,
    {.help = "learning rate before the schedule's factor; left out: train.learning_rate",
     .min = 0,
     .exclusive_min = true});
  o("from_step", from_step,
    {.help =
         "trains as if the first step of the phase was this one: batches, random numbers and schedule are "
         "those from there on; left out: they go on, and the schedule begins anew",
     .min = 0});
  o("data_seed", data_seed, {.help = "another number: another order of the training examples", .min = 0});
  o("reset_optimizer", reset_optimizer, {.help = "begin with a fresh optimiser"});
  o("weights", weights,
    {.help = "take the weights, not the masks, of a snapshot: SNAPSHOT of an earlier phase or "
             "VARIANT@SNAPSHOT of a variant above",
     .snapshot = true});
  o("mean_of", mean_of,
    {.help = "take the mean of the weights, not the masks, of these snapshots, named as in `weights`",
     .snapshot = true});
  o("reinitialise", reinitialise, {.help = "draw fresh weights, others each time; masks stay"});
  o("norm_of", norm_of,
    {.help = "then scale all weights that are trained so that their norm is that of a snapshot's",
     .snapshot = true});
  o("norm", norm,
    {.help = "norm_of: the root of the sum of squares, or the sum of sizes", .choices = {"l2", "l1"}});
  o("freeze", freeze, {.help = "patterns of names of parameters that do not change in this phase"});
}

void PhasePruning::options(OptionVisitor& o) {
  o("density", density,
    {.help = "part of all weights that `sparsity` names that remains",
     .min = 0,
     .max = 1,
     .exclusive_min = true});
  o("rate", rate, {.help = "part of the remaining weights that is removed", .min = 0, .max = 1});
  o("permute", permute, {.help = "shuffle the masks: as many weights in each layer, others"});
}

void PhasePruning::validate(const DeckNode& node) const {
  if (int{density.has_value()} + int{rate.has_value()} + int{permute} != 1)
    node.error("sparsify: give one of density, rate and permute");
}

double Phase::learning_rate(std::int64_t step) const {
  const std::int64_t first = options.from_step.value_or(0);
  return *options.learning_rate * schedule->factor(first + step - begin, first + steps);
}

Phases::Phases(std::int64_t steps, double learning_rate, std::shared_ptr<const Schedule> schedule) {
  Phase phase;
  phase.options.learning_rate = learning_rate;
  phase.schedule = std::move(schedule);
  phase.steps = steps;
  phases_.push_back(std::move(phase));
}

Phases::Phases(const DeckNode& train, int repeat, std::int64_t steps_per_epoch, double learning_rate,
               std::int64_t longest)
    : given_(true) {
  const DeckNode list = train.child("phases");
  if (!list.is_sequence() || list.items().empty())
    list.error("'phases' must be a list of phases, for example [{steps: 100}, {sparsify: {density: 0.1}}]");
  std::int64_t begin = 0;
  std::set<std::string> names;
  for (int round = 1; round <= repeat; ++round) {
    for (const DeckNode& item : list.items()) {
      Phase phase;
      const DeckNode schedule = item.has("schedule") ? item.child("schedule") : train.section("schedule");
      phase.schedule = schedules().make_or("constant", schedule);
      if (item.has("sparsify")) item.child("sparsify").read(phase.sparsify.emplace());
      if (item.has("transform")) phase.transform = network_transforms().make(item.child("transform"));
      const DeckNode save = item.section("save");
      const std::vector<std::string> saved = save.keys();
      std::vector<std::int64_t> at;
      for (const std::string& name : saved) at.push_back(save.child(name).as_integer({.min = 0}));
      item.read(phase.options);
      if (phase.options.steps > 0 && phase.options.epochs > 0)
        item.error_at("epochs", "give steps or epochs of a phase, not both");
      const PhaseOptions& given = phase.options;
      if (int{!given.weights.empty()} + int{!given.mean_of.empty()} + int{given.reinitialise} > 1)
        item.error_at(given.reinitialise ? "reinitialise" : "mean_of",
                      "a phase takes the weights of a snapshot, the mean of several, or fresh ones; give one "
                      "of weights, mean_of and reinitialise");
      if (phase.transform && !phase.options.reset_optimizer)
        item.error_at(
            "reset_optimizer",
            "reset_optimizer: what the optimiser has gathered belongs to units in another order; leave it out");
      phase.steps = phase.options.steps > 0 ? phase.options.steps : phase.options.epochs * steps_per_epoch;
      if (!phase.options.learning_rate) phase.options.learning_rate = learning_rate;
      phase.begin = begin;
      for (std::size_t i = 0; i < saved.size(); ++i) {
        const std::string name = repeat > 1 ? saved[i] + std::to_string(round) : saved[i];
        if (at[i] > phase.steps)
          save.error_at(saved[i], fmt::format("save: {}: {} is beyond the {} steps of this phase", saved[i],
                                              at[i], phase.steps));
        if (saved[i].find_first_of("@/") != std::string::npos || name == final_snapshot ||
            name == average_snapshot || !names.insert(name).second)
          save.error_at(saved[i],
                        fmt::format("'{}' cannot name a snapshot: the name is taken, or holds @ or /", name));
        phase.saves.emplace_back(name, begin + (longest > 0 ? std::min(at[i], longest) : at[i]));
      }
      if (longest > 0) phase.steps = std::min(phase.steps, longest);
      begin += phase.steps;
      const auto check_known = [&](const char* key, const std::string& snapshot) {
        if (snapshot.empty() || snapshot.find('@') != std::string::npos) return;
        const auto known = [&](const Phase& p) {
          return std::any_of(p.saves.begin(), p.saves.end(),
                             [&](const auto& s) { return s.first == snapshot && s.second <= phase.begin; });
        };
        if (std::none_of(phases_.begin(), phases_.end(), known))
          item.error_at(key, fmt::format("{}: no earlier phase saves '{}'; the name of another variant's "
                                         "snapshot is VARIANT@SNAPSHOT",
                                         key, snapshot));
      };
      check_known("weights", given.weights);
      check_known("norm_of", given.norm_of);
      for (const std::string& snapshot : given.mean_of) check_known("mean_of", snapshot);
      phases_.push_back(std::move(phase));
    }
  }
}

void Phases::describe(OptionVisitor& o) {
  struct Described : PhaseOptions {
    std::optional<PhasePruning> sparsify;
    void options(OptionVisitor& v) {
      PhaseOptions::options(v);
      v.group("sparsify", sparsify,
              "one pruning at the beginning of the phase, before it takes other weights; see `sparsity`");
    }
  };
  std::vector<Described> items(1);
  o.list("phases", items,
         "phases of training one after the other, instead of steps; each may have a schedule of its own, "
         "save: {NAME: STEP, ...}, snapshots of weights and masks before steps of the phase, and a transform "
         "(`rankine list network_transform`) that orders its units anew, before its first step");
}

const Phase& Phases::at(std::int64_t step) const {
  const auto after = std::upper_bound(phases_.begin(), phases_.end(), step,
                                      [](std::int64_t s, const Phase& p) { return s < p.end(); });
  return after == phases_.end() ? phases_.back() : *after;
}

std::vector<std::string> Phases::snapshots() const {
  std::vector<std::string> out;
  for (const Phase& phase : phases_)
    for (const auto& save : phase.saves) out.push_back(save.first);
  return out;
}

}  // namespace rankine
