// How a training step that failed numerically is repeated and read: which layer, tile, sample, expert.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/experiments/pde_training.hpp"
#include "src/io/provenance.hpp"
#include "src/optim/optimizer.hpp"

namespace rankine {
namespace {

// Names of what a step starts from, beside weights and the optimiser's state.
constexpr const char* initial_states = "the initial states of the batch";
constexpr const char* sample_parameters = "the parameters of the batch's samples";

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The ops of a constraint on whole samples, whose first dimension counts this rank's samples.
bool acts_on_samples(const std::string& op) {
  constexpr const char* names[] = {"tiles_to_samples",   "reshape",        "constrained_solution",
                                   "fitted_solution",    "residual_norm",  "corrected_solution",
                                   "observation_misfit", "target_distance"};
  return std::any_of(std::begin(names), std::end(names), [&](const char* name) { return op == name; });
}

std::vector<long> indices_of(const Shape& shape, std::int64_t element) {
  std::vector<long> out(shape.rank());
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    out[axis] = element % shape[axis];
    element /= shape[axis];
  }
  return out;
}

/// Row `index` of the first dimension.
Tensor row_of(const Tensor& x, long index) {
  Shape shape = x.shape(), strides = x.strides();
  shape.erase(0);
  strides.erase(0);
  return x.view(shape, strides, index * x.strides()[0]).clone();
}

Tensor tensor_of(const std::vector<double>& values, const Shape& shape) {
  return values.empty() ? Tensor() : Tensor::from(values, shape);
}

}  // namespace

void PdeTraining::place_point(long frame, long cell, FaultReport& report) const {
  const TileGrid& grid = tiles_->grid();
  // Results count the initial state as frame 0; the storage form's network starts after it.
  report.frame = formulation_.collocated() ? frame : frame + 1;
  report.cell = cell;
  if (formulation_.soft()) return;
  const long t = frame / (grid.nt() / formulation_.experts[0]);
  const long x = cell / (grid.nx() / formulation_.experts[1]);
  report.expert = t * formulation_.experts[1] + x;
}

void PdeTraining::place_finding(const FaultProbe::Finding& found, const PdeBatch& batch,
                                const ParameterSet& parameters, const Communicator& communicator,
                                FaultReport& report) const {
  using Kind = FaultProbe::Finding::Kind;
  const TileGrid& grid = tiles_->grid();
  const Tensor& value = found.value;
  const Shape& shape = value.shape();
  const std::vector<long> at = indices_of(shape, found.elements.first);
  const int rank = shape.rank();
  const long samples = batch.size();
  const auto sample_id = [&](long s) { return batch.ids[static_cast<size_t>(s)]; };
  if (found.name == "parameters") {
    // The parts of the parameter set: one output each, and one gradient of all.
    if (found.kind == Kind::input_gradient) {
      report.rank = -1;
      for (const ParameterInfo& part : parameters.parts()) {
        if (found.elements.first < part.offset) continue;
        report.tensor = "weights/" + part.name;
        report.element = found.elements.first - part.offset;
      }
      return;
    }
    const ParameterInfo& part = parameters.parts()[static_cast<size_t>(found.slot)];
    report.tensor = "weights/" + part.name;
    report.layer.clear();
    if (!part.on_tiles) {
      report.rank = -1;
      return;
    }
    report.tile = tiles_->begin() + at[0];
    report.element = found.elements.first % part.shape.count();
    report.content = row_of(value, at[0]);
    return;
  }
  if (found.name.rfind("weights/", 0) == 0 || found.name.rfind("optimizer/", 0) == 0) {
    report.rank = -1;
    return;
  }
  if (found.name == initial_states || found.name == sample_parameters) {
    report.rank = -1;
    report.sample = sample_id(at[0]);
    if (found.name == initial_states) report.cell = at[1];
    report.content = row_of(value, at[0]);
    return;
  }
  if (rank >= 4 && shape[0] == tiles_->local_tiles() && shape[1] == samples &&
      (rank == 5 || formulation_.collocated())) {
    report.tile = tiles_->begin() + at[0];
    report.sample = sample_id(at[1]);
    if (rank == 5) report.channel = at[2];
    if (shape[rank - 2] == grid.tile_nt() && shape[rank - 1] == grid.tile_nx()) {
      const TileExtent extent = grid.extent(report.tile);
      place_point(extent.t_begin + at[rank - 2], extent.x_begin + at[rank - 1], report);
    }
    report.content = row_of(value, at[0]);
    return;
  }
  const BlockPartition blocks(samples, communicator.size());
  if (!formulation_.collocated() && acts_on_samples(found.name) && rank >= 1 &&
      shape[0] == blocks.size(communicator.rank())) {
    report.sample = sample_id(blocks.begin(communicator.rank()) + at[0]);
    if (rank == 3 && shape[1] == grid.nt()) place_point(at[1], at[2] / pde_->unknowns(), report);
    if (rank == 4 && shape[1] == grid.nt()) {
      place_point(at[1], at[2], report);
      report.channel = at[3];
    }
    report.content = row_of(value, at[0]);
  }
}

FaultReport PdeTraining::find_fault(const RunContext& context, const FailedStep& failed,
                                    Tensor& gradient) const {
  const Communicator& communicator = context.communicator;
  const PdeBatch& batch = failed.batch;
  FaultReport report{.variant = variant_, .seed = context.seed, .step = batch.step};
  report.loss = failed.outcome.loss;
  report.gradient_norm = failed.outcome.gradient_norm;

  FaultProbe probe;
  if (const auto bad = failed.guard.check()) probe.check(bad->tensor, bad->value);
  const std::int64_t samples = batch.size();
  probe.check(initial_states,
              tensor_of(batch.initial, {samples, grid_.cells, std::int64_t{pde_->unknowns()}}));
  probe.check(sample_parameters,
              tensor_of(batch.parameters, {samples, static_cast<std::int64_t>(batch.parameters.size()) /
                                                        std::max<std::int64_t>(samples, 1)}));
  probe.check("input of the network", failed.input);
  const std::int64_t before = probe.checks();

  // The rule's own state must not see the step twice.
  StateRegistry rule_state;
  rule_->register_state(rule_state, "rule");
  const StateSnapshot kept = rule_state.save();
  RuleContext again = failed.rule;
  again.update = [&](const Tensor& g, double) {
    gradient = g.clone();
    return true;
  };
  std::optional<SharedNumericalError> thrown;
  StepOutcome repeated;
  try {
    repeated = rule_->step(again);
  } catch (const SharedNumericalError& error) {
    thrown = error;
  }
  rule_state.restore(kept);
  if (!gradient.defined()) gradient = repeated.gradient;

  const auto describe = [&](const FaultProbe::Finding& found, FaultReport& out) {
    place_finding(found, batch, failed.rule.parameters, communicator, out);
    if (!found.layer.empty() || found.number < before || out.phase != "forward") return;
    out.term = failed.layer.bad_term();
    const std::optional<BadSolve> bad = failed.layer.bad_solve(batch);
    if (!bad || bad->reason.empty()) return;
    out.term = fmt::format("the solve of sample {}, expert {}: {}", bad->sample, bad->solve, bad->reason);
  };
  if (agree_on_fault(communicator, probe, describe, report)) return report;

  const std::optional<UpdateGuard::Complaint>& update = failed.guard.complaint();
  if (update) {  // the same on all ranks
    const NotFinite elements = not_finite(update->value);
    report.phase = "update";
    report.tensor = update->tensor;
    report.element = elements.first;
    report.count = elements.count;
    report.value = update->value.dtype() == DType::f32 || update->value.dtype() == DType::f64
                       ? update->value.to_vector()[static_cast<size_t>(elements.first)]
                       : nan;
    report.content = update->value;
    report.term = fmt::format("the learning rate of this step is {:g}", failed.rule.learning_rate);
    return report;
  }
  if (thrown) {
    const std::optional<BadSolve> bad = failed.layer.bad_solve(batch);
    const int owner = communicator.min(bad ? communicator.rank() : communicator.size());
    report.phase = "solve";
    report.tensor = "the computation of a sample";
    report.rank = thrown->rank;
    report.value = nan;
    report.term = thrown->own;
    if (owner < communicator.size()) {
      if (bad) {
        report.sample = bad->sample;
        report.expert = bad->solve;
        report.rank = owner;
      }
      share_fault(communicator, owner, report);
    }
    return report;
  }
  const bool by_loss = !std::isfinite(repeated.loss);
  if (by_loss || !std::isfinite(repeated.gradient_norm)) {
    report.phase = "loss";
    report.tensor = by_loss ? "the loss" : "the gradient's norm";
    report.value = by_loss ? repeated.loss : repeated.gradient_norm;
    report.term = by_loss ? failed.layer.bad_term() : "its elements are numbers, but their squares overflow";
    return report;
  }
  report.phase = "gone";
  report.tensor = "a value";
  report.value = nan;
  return report;
}

std::string PdeTraining::dump_fault(const RunContext& context, const FaultReport& report,
                                    const PdeBatch& batch, const ParameterSet& parameters,
                                    const Tensor& gradient) const {
  const std::string path =
      fmt::format("{}.fault-{}-seed_{}-step_{}.h5", context.output, variant_, context.seed, report.step);
  FaultFile file = fault_file(report);
  const BuildInfo build = build_info();
  file.texts = {{"deck", context.deck.text()},
                {"resolved_deck", context.deck.resolved()},
                {"version", build.version},
                {"revision", build.git_revision},
                {"ranks", std::to_string(context.communicator.size())}};
  const auto add = [&](const std::string& name, const Tensor& x) {
    if (x.defined()) file.arrays.emplace_back(name, value_of(x));
  };
  const std::int64_t samples = batch.size();
  if (samples > 0) {
    add("batch/ids", Tensor::from(std::vector<std::int64_t>(batch.ids.begin(), batch.ids.end()), {samples}));
    add("batch/initial", tensor_of(batch.initial, {samples, grid_.cells, std::int64_t{pde_->unknowns()}}));
    if (!batch.parameters.empty())
      add("batch/parameters",
          tensor_of(batch.parameters,
                    {samples, static_cast<std::int64_t>(batch.parameters.size()) / samples}));
  }
  const auto add_parts = [&](const std::string& group, const Tensor& flat) {
    if (!flat.defined()) return;
    for (const ParameterInfo& part : parameters.parts())
      add(group + "/" + part.name, flat.view(part.shape, row_major_strides(part.shape), part.offset));
  };
  add_parts("weights", parameters.flat());
  add_parts("gradient", gradient);
  for (const auto& [name, entry] : context.checkpoint.state().entries())
    if (name.starts_with("optimizer/") && entry.kind == StateKind::replicated)
      file.arrays.emplace_back(name, entry.get());
  try {
    write_fault_file(path, file);
  } catch (const std::exception& error) {
    context.log.warning(std::string("the state of the failed step could not be written: ") + error.what());
    return {};
  }
  return path;
}

}  // namespace rankine
