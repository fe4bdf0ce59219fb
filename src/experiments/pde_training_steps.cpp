#include "src/experiments/pde_training_steps.hpp"

#include "src/core/statistics.hpp"
#include "src/tensor/fault_probe.hpp"
#include "src/tensor/profile.hpp"

namespace rankine {
namespace {

/// How the experts' solves of a step ended, as rows of a table.
void record_experts(RunContext& context, long step, const BatchStatistics& statistics) {
  if (statistics.empty()) return;
  TableWriter table = context.results.table("experts", {"expert"});
  const auto write = [&](const std::string& name, const auto& get) {
    std::vector<double> values;
    for (const ExpertStatistics& s : statistics) values.push_back(get(s));
    table.row(step, name, values);
  };
  write("iterations", [](const ExpertStatistics& s) { return s.iterations; });
  write("gradient_norm", [](const ExpertStatistics& s) { return s.gradient_norm; });
  write("objective", [](const ExpertStatistics& s) { return s.objective; });
  write("coefficient_norm", [](const ExpertStatistics& s) { return s.weight_norm; });
  for (int i = 0; i < solve_status_count; ++i)
    write(std::string("status_") + to_string(static_cast<SolveStatus>(i)),
          [i](const ExpertStatistics& s) { return s.status_count[i]; });
}

}  // namespace

PdeTraining::Steps::Steps(const PdeTraining& owner, RunContext& context, const PdeData& data,
                          std::shared_ptr<const ObservationRows> observations, const StorageModel& model,
                          ConstraintLayer& layer, ParameterSet& parameters, const Evaluator& evaluator)
    : owner_(owner),
      context_(context),
      data_(data),
      observations_(std::move(observations)),
      model_(model),
      layer_(layer),
      evaluator_(evaluator),
      order_(static_cast<std::uint64_t>(context.seed), "batch-order"),
      windows_(static_cast<std::uint64_t>(context.seed), "windows"),
      optimizer_(owner.make_optimizer_()),
      rule_(begun_rule(parameters)),
      loop_(context,
            {.steps = owner.train_.steps,
             .evaluate_every = owner.train_.evaluate_every,
             .on_fault = owner.train_.on_fault,
             .faults = owner.train_.faults,
             .mechanisms = &owner.mechanisms_},
            *this, *rule_, *optimizer_, parameters),
      parameters_(parameters) {
  for (int i = 0; i < solve_status_count; ++i)
    context.checkpoint.state().add(std::string("metrics/status_") + to_string(static_cast<SolveStatus>(i)),
                                   StateKind::replicated, status_total_[i]);
}

std::unique_ptr<LearningRule> PdeTraining::Steps::begun_rule(const ParameterSet& parameters) const {
  std::unique_ptr<LearningRule> rule = owner_.make_rule_();
  rule->begin({.communicator = context_.communicator,
               .shards = owner_.model_context_->tiles,
               .seed = static_cast<std::uint64_t>(context_.seed),
               .steps = owner_.train_.steps,
               .make_optimizer = owner_.make_optimizer_},
              parameters);
  return rule;
}

std::shared_ptr<RuleContext> PdeTraining::Steps::prepare(std::int64_t step, double learning_rate) {
  StepPart<"batch"> part;
  const std::int64_t batch = owner_.train_.batch, batches_per_epoch = owner_.data_.train / batch;
  if (step / batches_per_epoch != epoch_) {
    epoch_ = step / batches_per_epoch;
    permutation_ = order_.permutation(owner_.data_.train, epoch_);
  }
  const auto first = permutation_.begin() + (step % batches_per_epoch) * batch;
  auto made = std::make_shared<Step>();
  made->batch =
      owner_.make_batch(data_.train, std::vector<long>(first, first + batch), step, true, observations_);
  if (owner_.grid_.windows > 1) {
    std::vector<int> windows;
    for (std::int64_t s = 0; s < batch; ++s)
      windows.push_back(static_cast<int>(windows_.uniform(step, s, 0) * owner_.grid_.windows));
    owner_.advance(made->batch, windows, model_, context_.communicator);
  }
  made->input = owner_.network_input(made->batch);
  part.done();
  made->context = std::make_unique<RuleContext>(RuleContext{
      [this, &data = *made](const BoundParameters& bound) {
        PdeBatch bound_batch = data.batch;
        bound_batch.learned = owner_.learned_.values(bound);
        FaultProbe::layer_done("", {});
        return layer_.loss(owner_.network_fields(bound, data.input), bound_batch);
      },
      parameters_, *optimizer_, owner_.model_context_->tiles, learning_rate, owner_.train_.clip, step});
  latest_ = made;
  return {made, made->context.get()};
}

Metrics PdeTraining::Steps::evaluate(std::int64_t, const std::function<void()>& between) {
  const Evaluation found = evaluator_(loop_.judged(), layer_, data_.validation, nullptr, between);
  found.missing.warn(context_.log, owner_.variant_, context_.seed);
  return {{"rel_l2_validation", mean(found.measures[rel_l2])}};
}

void PdeTraining::Steps::record(std::int64_t step, const StepOutcome&, bool interrupted, Metrics& row) {
  const std::vector<double> learned = owner_.learned_.values(parameters_);
  for (int l = 0; l < owner_.learned_.size(); ++l)
    row.emplace_back("learned_" + owner_.learned_.names()[l], learned[l]);
  if (interrupted) return;  // what an interrupted solve leaves depends on who solved what
  const BatchStatistics statistics = layer_.statistics();
  record_experts(context_, step, statistics);
  for (const ExpertStatistics& s : statistics)
    for (int i = 0; i < solve_status_count; ++i) status_total_[i] += s.status_count[i];
}

FoundFault PdeTraining::Steps::find_fault(RuleContext& made, const StepOutcome& outcome,
                                          const std::optional<SharedNumericalError>& thrown,
                                          FaultReport report) {
  const FailedStep failed{.rule = *rule_,
                          .context = made,
                          .guard = *made.guard,
                          .outcome = outcome,
                          .inputs = {{"input of the network", latest_->input.x}},
                          .describe = {},
                          .thrown = thrown};
  return owner_.find_fault(context_.communicator, latest_->batch, layer_, failed, report);
}

}  // namespace rankine
