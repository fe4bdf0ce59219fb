#include "src/train/loop.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/clock.hpp"
#include "src/core/memory.hpp"
#include "src/core/statistics.hpp"
#include "src/run/snapshots.hpp"
#include "src/tensor/ops.hpp"
#include "src/tensor/profile.hpp"
#include "src/tensor/storage.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TrainingLoop::TrainingLoop(RunContext& context, const LoopOptions& options, TrainingTask& task,
                           LearningRule& rule, Optimizer& optimizer, ParameterSet& parameters)
    : context_(context),
      options_(options),
      task_(task),
      rule_(rule),
      parameters_(parameters),
      guard_(optimizer, parameters),
      faults_(context, options.on_fault, options.faults, parameters,
              [this] {
                guard_.state_changed();
                rule_.state_changed();
                if (options_.party != nullptr) options_.party->state_changed();
              }),
      validation_(nan),
      multiply_adds_(nan) {
  FaultHandler::require_checkpoints(context, options.on_fault);
  StateRegistry& state = context.checkpoint.state();
  constexpr StateKind replicated = StateKind::replicated;
  for (const ParameterInfo& part : parameters.parts())
    state.add("weights/" + part.name, replicated, parameters.view(part));
  optimizer.register_state(state, "optimizer", parameters);
  if (options.mechanisms != nullptr && options.mechanisms->average) {
    average_ = parameters.clone();
    const std::string prefix = std::string("snapshots/") + average_snapshot;
    for (const ParameterInfo& part : average_->parts()) {
      state.add(prefix + "/weights/" + part.name, replicated, average_->view(part));
      if (part.mask.defined()) state.add(prefix + "/masks/" + part.name, replicated, part.mask);
    }
  }
  rule.register_state(state, "rule");
  if (options.party != nullptr) options.party->register_state(state);
  context.checkpoint.before_saving([this] { rule_.synchronise(); });
  state.add("metrics/loss", replicated, losses_);
  state.add("metrics/gradient_norm", replicated, gradient_norms_);
  state.add("metrics/validation", replicated, validation_);
  state.add("metrics/steps_skipped", replicated, skipped_);
  state.add("metrics/multiply_adds", replicated, multiply_adds_);
  state.add("metrics/evaluated", replicated, evaluated_);
  state.add("metrics/acted", replicated, acted_);
  state.add("timing/step_seconds", replicated, step_seconds_);
  state.add("timing/elapsed_seconds", replicated, elapsed_);
  state.add("timing/evaluation_seconds", replicated, evaluation_seconds_);
  state.add("timing/arena_peak", replicated, arena_);
}

void TrainingLoop::at(std::int64_t step, std::function<void()> action) {
  const auto after = std::upper_bound(actions_.begin(), actions_.end(), step,
                                      [](std::int64_t s, const Action& a) { return s < a.step; });
  actions_.insert(after, {step, std::move(action)});
}

void TrainingLoop::act(std::int64_t step) {
  const auto due = [&] {
    return acted_ < static_cast<std::int64_t>(actions_.size()) &&
           actions_[static_cast<std::size_t>(acted_)].step <= step;
  };
  if (!due()) return;
  rule_.synchronise();
  while (due()) {
    actions_[static_cast<std::size_t>(acted_++)].happen();
    if (average_) follow(step == 0 ? 1 : 0);  // training starts from here, or weights were pruned
  }
  guard_.state_changed();
  rule_.state_changed();
}

void TrainingLoop::follow(double share) {
  const Uncounted no_memory;
  const Tensor now = average_->flat(), &next = parameters_.flat();
  if (share == 1)
    now.assign(next);
  else if (share > 0)
    now.assign(add(now, scale(sub(next, now), share)));  // equal parts stay so
  average_->project();
}

void TrainingLoop::evaluate(std::int64_t done) {
  if (options_.evaluate_every == 0) return;
  if (done % options_.evaluate_every != 0 && done != options_.steps) return;
  rule_.synchronise();
  const Metrics row = task_.evaluate(done, [&] { context_.checkpoint.within_step(done, options_.steps); });
  RANKINE_ASSERT(!row.empty(), "an evaluation measured nothing");
  validation_ = row.front().second;
  evaluated_ = done;
  context_.results.append_evaluation(done, row);
  evaluation_seconds_.push_back(elapsed_before_ + training_.seconds());
}

std::int64_t TrainingLoop::window(std::int64_t step, bool observed) const {
  // The first step's multiply-adds are counted.
  if (observed || step == 0) return 1;
  const auto acts = [&](std::int64_t at) {
    return std::any_of(actions_.begin(), actions_.end(), [&](const Action& a) { return a.step == at; });
  };
  const auto looked_at = [&](std::int64_t at) {
    return std::any_of(observers_.begin(), observers_.end(), [&](const auto* o) { return o->due(at); });
  };
  const std::int64_t most = std::min(rule_.window(), options_.steps - step);
  for (std::int64_t i = 1; i < most; ++i) {
    const std::int64_t next = step + i;
    if (looked_at(next) || acts(next) || context_.checkpoint.due_after(next) ||
        (options_.evaluate_every > 0 && next % options_.evaluate_every == 0))
      return i;
  }
  return most;
}

std::shared_ptr<RuleContext> TrainingLoop::prepare(std::int64_t step,
                                                   const std::vector<StepObserver*>& watchers) {
  std::shared_ptr<RuleContext> made = task_.prepare(step, rate(step));
  made->guard = &guard_;
  made->party = options_.party;
  made->rate_factor = faults_.rate_factor();
  made->seed = static_cast<std::uint64_t>(context_.seed);
  if (const StepMechanisms* with = options_.mechanisms; with != nullptr) {
    if (!with->gradient.none()) made->gradient = &with->gradient;
    if (!with->after_step.none()) made->after_step = &with->after_step;
  }
  if (made->pass != nullptr)
    for (StepObserver* observer : watchers) observer->watch(*made->pass);
  return made;
}

void TrainingLoop::run() {
  const std::int64_t total = options_.steps;
  const std::int64_t start = context_.checkpoint.resume();
  // A run that was shorter was evaluated after its last step, which need not be a multiple of the interval.
  if (start < total && options_.evaluate_every > 0 && start % options_.evaluate_every != 0)
    context_.results.drop_evaluation(start);
  elapsed_before_ = elapsed_.empty() ? 0 : elapsed_.back();
  training_ = Stopwatch();
  Progress progress(context_.log, context_.variant, context_.seed, total);
  faults_.check_start(start);
  // A run that was stopped during an evaluation makes it now.
  if (start > 0 && evaluated_ != start) evaluate(start);
  release_cached_memory();  // of sizes that the steps do not ask for

  for (std::int64_t step = start, count = 1; step < total; step += count) {
    context_.checkpoint.between_steps(step, total);
    act(step);
    std::vector<StepObserver*> watchers;
    for (StepObserver* observer : observers_)
      if (observer->due(step)) watchers.push_back(observer);
    for (StepObserver* observer : watchers) observer->before(step);
    count = window(step, !watchers.empty());

    const Stopwatch watch;
    const std::size_t live = memory_account().live;
    reset_memory_peak();
    std::optional<CostAccount> account;
    if (step == 0) account.emplace();
    Profile::begin_steps();
    guard_.begin_step();
    std::vector<StepOutcome> outcomes;
    std::optional<SharedNumericalError> thrown;
    try {
      outcomes = rule_.steps(step, count, [&](std::int64_t s) { return prepare(s, watchers); });
    } catch (const SharedNumericalError& error) {
      if (count > 1) throw;  // some of the steps may have been taken
      thrown = error;
      outcomes.assign(1, {nan, nan, false});
    }
    Profile::end_steps(count);
    arena_ = std::max(arena_, static_cast<double>(memory_account().peak - live));
    if (account) {
      const auto flops = static_cast<std::int64_t>(account->total().flops);
      multiply_adds_ = static_cast<double>(context_.communicator.sum(flops)) / 2;
    }
    account.reset();
    if (!watchers.empty()) rule_.synchronise();
    for (StepObserver* observer : watchers) observer->after(step, outcomes.front());

    const double seconds = watch.seconds() / static_cast<double>(count);
    std::optional<std::int64_t> back;
    for (std::int64_t i = 0; i < count && !back; ++i) {
      const StepOutcome& outcome = outcomes[static_cast<std::size_t>(i)];
      if (outcome.updated) {
        faults_.good_step();
        if (average_) follow(options_.mechanisms->average->share(step + i));
      } else {
        if (!rule_.spreads_blocks()) guard_.abandon_step();
        back = faults_.step_failed(step + i, [&] {
          const std::shared_ptr<RuleContext> made = prepare(step + i, {});
          return task_.find_fault(*made, outcome, thrown, faults_.report(step + i));
        });
        if (back) break;
        ++skipped_;
      }
      step_seconds_.push_back(seconds);
      elapsed_.push_back(elapsed_before_ + training_.seconds());
      losses_.push_back(outcome.loss);
      gradient_norms_.push_back(outcome.gradient_norm);
      Metrics row{{"loss", outcome.loss},
                  {"gradient_norm", outcome.gradient_norm},
                  {"learning_rate", rate(step + i)}};
      task_.record(step + i, outcome, thrown.has_value(), row);
      context_.results.append_step(step + i, row);
    }
    if (back) {
      step = *back;
      count = 0;
      if (evaluated_ != step) evaluate(step);
      continue;
    }

    const std::int64_t done = step + count;
    evaluate(done);
    progress.update(
        done, losses_.back(), validation_,
        quantile({step_seconds_.end() - std::min<std::int64_t>(done, 20), step_seconds_.end()}, 0.5));
  }
  rule_.synchronise();
  release_cached_memory();
  act(total);  // before the state at the end of the run is noted, from which restarts take snapshots
  context_.checkpoint.between_steps(total, total);
}

void TrainingLoop::write_timing(RunWriter& results) const {
  results.timing("step_seconds", step_seconds_);
  results.timing("elapsed_seconds", elapsed_);
  results.timing("evaluation_elapsed_seconds", evaluation_seconds_);
}

void take_steps(RunContext& context, std::int64_t total,
                const std::function<Metrics(std::int64_t step)>& take) {
  Stopwatch said;
  for (std::int64_t step = context.checkpoint.resume(); step < total; ++step) {
    context.checkpoint.between_steps(step, total);
    const Metrics row = take(step);
    context.results.append_step(step, row);
    if (said.seconds() <= context.log.progress_interval()) continue;
    std::string text = fmt::format("{} seed {}: step {}/{}", context.variant, context.seed, step + 1, total);
    for (const auto& [name, value] : row) text += fmt::format(", {} {:.4g}", name, value);
    context.log.status(text);
    said.lap();
  }
  context.checkpoint.between_steps(total, total);
}

}  // namespace rankine
