#include "src/train/course.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "src/core/pattern.hpp"
#include "src/core/random.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

Course::Course(Setup setup) : s_(std::move(setup)), seed_(static_cast<std::uint64_t>(s_.context.seed)) {
  if (s_.sparsifier != nullptr) s_.sparsifier->attach(s_.parameters);
  for (const ParameterInfo& part : s_.parameters.parts()) frozen_.push_back(part.frozen);
}

Course::Snapshot Course::take_snapshot(const ParameterSet& parameters) const {
  Snapshot out{parameters.clone(), {}};
  for (const ParameterInfo& part : s_.parameters.parts())
    if (part.mask.defined()) out.masks.emplace(part.name, part.mask.clone());
  return out;
}

std::vector<std::pair<std::string, Tensor>> Course::entries(const Snapshot& snapshot) {
  std::vector<std::pair<std::string, Tensor>> out;
  for (const ParameterInfo& part : snapshot.parameters.parts())
    out.emplace_back("weights/" + part.name, snapshot.parameters.view(part));
  for (const auto& [name, mask] : snapshot.masks) out.emplace_back("masks/" + name, mask);
  return out;
}

StateSnapshot Course::snapshot(const std::string& name) const {
  if (const std::size_t at = name.find('@'); at != std::string::npos)
    return s_.context.snapshots->get({name.substr(0, at), s_.context.seed}, name.substr(at + 1));
  StateSnapshot own;
  for (const auto& [entry, tensor] : entries(snapshots_.at(name))) own.emplace(entry, value_of(tensor));
  return own;
}

void Course::load(const std::string& name, bool masks) {
  const StateSnapshot from = snapshot(name);
  std::optional<ParameterSet> fresh;  // drawn where the snapshot lacks a part
  for (const ParameterInfo& part : s_.parameters.parts()) {
    const auto weights = from.find("weights/" + part.name);
    if (weights != from.end()) {
      s_.parameters.view(part).assign_bytes(weights->second.bytes);
    } else {
      if (!fresh) fresh = s_.initial(seed_);
      s_.parameters.view(part).assign(fresh->view(part.name));
    }
    const auto mask = from.find("masks/" + part.name);
    if (masks && mask != from.end()) part.mask.assign_bytes(mask->second.bytes);
  }
  s_.parameters.project();
}

void Course::load_mean(const std::vector<std::string>& names) {
  Tensor sum;
  for (const std::string& name : names) {
    load(name, false);
    const Tensor one = cast(s_.parameters.flat(), DType::f64);
    sum = sum.defined() ? add(sum, one) : one;
  }
  const double share = 1 / static_cast<double>(names.size());
  s_.parameters.flat().assign(cast(scale(sum, share), s_.parameters.dtype()));
}

double Course::norm(const std::string& kind, const std::string& snapshot) const {
  const StateSnapshot from = snapshot.empty() ? StateSnapshot() : this->snapshot(snapshot);
  double sum = 0;
  for (std::size_t p = 0; p < frozen_.size(); ++p) {
    const ParameterInfo& part = s_.parameters.parts()[p];
    if (frozen_[p]) continue;
    const auto found = from.find("weights/" + part.name);
    const Tensor values = found == from.end()
                              ? s_.parameters.view(part)
                              : Tensor::from_bytes(found->second.bytes, part.shape, found->second.type);
    for (const double value : values.to_vector()) sum += kind == "l1" ? std::abs(value) : value * value;
  }
  return kind == "l1" ? sum : std::sqrt(sum);
}

Sparsifier::Event Course::pruning(std::int64_t first_batch) {
  return {.seed = seed_,
          .number = pruned_++,
          .evidence =
              [this, first_batch](Evidence needs, int batches) {
                return needs == Evidence::movement ? movement_->sum()
                                                   : s_.evidence(needs, batches, first_batch);
              },
          .loss = s_.loss,
          .inputs = s_.inputs};
}

void Course::begin_phase(const Phase& phase) {
  // Pruning judges the weights as the phase before has left them.
  if (phase.sparsify) {
    if (phase.sparsify->permute) s_.sparsifier->permute(s_.parameters, pruning());
    if (phase.sparsify->density) s_.sparsifier->prune(s_.parameters, *phase.sparsify->density, pruning());
    if (phase.sparsify->rate) s_.sparsifier->prune_rate(s_.parameters, *phase.sparsify->rate, pruning());
  }
  if (!phase.options.weights.empty()) load(phase.options.weights, false);
  if (!phase.options.mean_of.empty()) load_mean(phase.options.mean_of);
  if (phase.options.reinitialise) {
    const RandomStream stream(seed_, "reinitialise");
    const auto fresh = static_cast<std::uint64_t>(stream.integer(std::int64_t{1} << 62, 0, 0, drawn_++));
    s_.parameters.flat().assign(s_.initial(fresh).flat());
    s_.parameters.project();
  }
  if (phase.transform) s_.transform(*phase.transform);
  if (!phase.options.norm_of.empty()) {
    const std::string& kind = phase.options.norm;
    const double own = norm(kind, ""), factor = own > 0 ? norm(kind, phase.options.norm_of) / own : 1;
    for (std::size_t p = 0; p < frozen_.size(); ++p) {
      if (frozen_[p]) continue;
      const Tensor weights = s_.parameters.view(s_.parameters.parts()[p]);
      weights.assign(scale(weights, factor));
    }
  }
  if (phase.options.reset_optimizer) s_.optimizer.reset();
}

void Course::plan(TrainingLoop& loop) {
  StateRegistry& state = s_.context.checkpoint.state();
  constexpr StateKind replicated = StateKind::replicated;
  for (const ParameterInfo& part : s_.parameters.parts())
    if (part.mask.defined()) state.add("masks/" + part.name, replicated, part.mask);
  state.add("metrics/pruned", replicated, pruned_);
  state.add("metrics/drawn", replicated, drawn_);
  if (s_.sparsifier != nullptr && s_.sparsifier->needs(Evidence::movement)) {
    state.add("sparsity/movement", replicated, movement_.emplace(s_.parameters).sum());
    loop.observe(*movement_);
  }
  if (!s_.start.empty()) loop.at(0, [this] { load(s_.start, true); });
  if (s_.sparsifier != nullptr) {
    for (const auto& [step, density] : s_.sparsifier->events())
      loop.at(step, [this, density = density] { s_.sparsifier->prune(s_.parameters, density, pruning()); });
    for (const std::int64_t step : s_.sparsifier->regrowth_steps(s_.phases.steps()))
      loop.at(step, [this, step] {
        s_.optimizer.forget(s_.sparsifier->regrow(s_.parameters, step, s_.phases.steps(), pruning(step)));
      });
  }
  for (const Phase& phase : s_.phases.all()) {
    if (s_.phases.given()) loop.at(phase.begin, [this, &phase] { begin_phase(phase); });
    for (const auto& [name, step] : phase.saves) {
      const auto kept = entries(snapshots_.emplace(name, take_snapshot(s_.parameters)).first->second);
      for (const auto& [entry, tensor] : kept)
        state.add("snapshots/" + name + "/" + entry, replicated, tensor);
      loop.at(step, [this, kept] {
        const auto now = entries(take_snapshot(s_.parameters));
        for (std::size_t i = 0; i < kept.size(); ++i) kept[i].second.assign(now[i].second);
      });
    }
  }
}

const Phase& Course::turn_to(std::int64_t step) {
  const Phase& phase = s_.phases.at(step);
  if (phase_ == &phase) return phase;
  phase_ = &phase;
  for (std::size_t p = 0; p < frozen_.size(); ++p) {
    ParameterInfo& part = s_.parameters.parts()[p];
    part.frozen = frozen_[p] || matches_any(phase.options.freeze, part.name);
  }
  return phase;
}

void Course::leave_snapshots(const ParameterSet* average) const {
  if (s_.context.snapshots == nullptr) return;
  const auto leave = [&](const std::string& name, const Snapshot& snapshot) {
    StateSnapshot out;
    for (const auto& [entry, tensor] : entries(snapshot)) out.emplace(entry, value_of(tensor));
    s_.context.snapshots->keep({s_.context.variant, s_.context.seed}, name, std::move(out));
  };
  for (const auto& [name, snapshot] : snapshots_) leave(name, snapshot);
  leave(final_snapshot, take_snapshot(s_.parameters));
  if (average != nullptr) leave(average_snapshot, take_snapshot(*average));
}

void check_course(const DeckNode& variant, const Phases& phases, const Sparsifier* sparsifier) {
  if (sparsifier != nullptr && sparsifier->needs(Evidence::movement)) {
    const auto events = sparsifier->events();
    const bool by_phase = std::any_of(phases.all().begin(), phases.all().end(),
                                      [](const Phase& p) { return p.sparsify && p.begin == 0; });
    if (by_phase || (!events.empty() && events.front().first == 0))
      variant.child("sparsity")
          .error_at(
              "criterion",
              "movement: the first pruning is before the first step, and nothing has moved by then; prune "
              "later, for example with schedule: {name: cubic, from: 100, to: 1000}");
  }
  for (const Phase& phase : phases.all()) {
    if (!phase.sparsify) continue;
    if (sparsifier == nullptr)
      variant.child("train").error_at("phases",
                                      "a phase has `sparsify`, but the variant has no `sparsity` that says "
                                      "which weights; give sparsity: {criterion: magnitude}");
    try {
      sparsifier->check(phase.sparsify->density.value_or(1));
    } catch (const InputError& error) {
      variant.child("train").error_at("phases", error.what());
    }
  }
  if (sparsifier == nullptr || sparsifier->events().empty()) return;
  const std::int64_t last = sparsifier->events().back().first;
  if (last > phases.steps())
    variant.child("sparsity")
        .error_at("schedule",
                  fmt::format("schedule: prunes before step {}, but training has {} steps; choose an "
                              "earlier step",
                              last, phases.steps()));
}

}  // namespace rankine
