// How a training step that failed numerically is repeated and read: which layer, tile, sample, expert.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/experiments/pde_training.hpp"
#include "src/optim/optimizer.hpp"

namespace rankine {
namespace {

// Names of what a step starts from, beside weights and the optimiser's state.
constexpr const char* initial_states = "the initial states of the batch";
constexpr const char* sample_fields = "the coefficient fields of the batch's samples";
constexpr const char* sample_parameters = "the parameters of the batch's samples";

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
  report.expert = frame / (grid.points()[0] / formulation_.experts[0]);
  const Grid cells = space();
  for (int axis = 0; axis < cells.axes(); ++axis) {
    const int parts = formulation_.experts[1 + axis];
    report.expert =
        report.expert * parts + cells.index(static_cast<int>(cell), axis) / (cells.cells(axis) / parts);
  }
}

void PdeTraining::place_finding(const FaultProbe::Finding& found, const PdeBatch& batch,
                                const ParameterSet& parameters, const Communicator& communicator,
                                FaultReport& report) const {
  const TileGrid& grid = tiles_->grid();
  const Tensor& value = found.value;
  const Shape& shape = value.shape();
  const std::vector<long> at = indices_of(shape, found.elements.first);
  const int rank = shape.rank();
  const long samples = batch.size();
  const auto sample_id = [&](long s) { return batch.ids[static_cast<size_t>(s)]; };
  if (place_parameter(found, parameters, tiles_->begin(), report)) return;
  if (found.name == initial_states || found.name == sample_parameters || found.name == sample_fields) {
    report.rank = -1;
    report.sample = sample_id(at[0]);
    if (found.name == initial_states) report.cell = at[1];
    if (found.name == sample_fields) report.cell = at[2];
    report.content = row_of(value, at[0]);
    return;
  }
  if (rank >= 4 && shape[0] == tiles_->local_tiles() && shape[1] == samples &&
      (rank == 3 + grid.axes() || formulation_.collocated())) {
    report.tile = tiles_->begin() + at[0];
    report.sample = sample_id(at[1]);
    if (rank == 3 + grid.axes()) report.channel = at[2];
    const int first = rank - grid.axes();
    bool of_points = true;
    for (int axis = 0; axis < grid.axes(); ++axis)
      of_points = of_points && shape[first + axis] == grid.tile_shape()[axis];
    if (of_points) {
      const TileExtent extent = grid.extent(report.tile);
      const Grid cells = space();
      long cell = 0;
      for (int axis = 0; axis < cells.axes(); ++axis)
        cell += (extent.begin[1 + axis] + at[first + 1 + axis]) * cells.stride(axis);
      place_point(extent.begin[0] + at[first], cell, report);
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

FoundFault PdeTraining::find_fault(const Communicator& communicator, const PdeBatch& batch,
                                   const ConstraintLayer& layer, FailedStep failed,
                                   const FaultReport& report) const {
  const std::int64_t samples = batch.size();
  const Tensor initial = tensor_of(batch.initial, {samples, space().cells(), std::int64_t{pde_->unknowns()}});
  const Tensor parameters = tensor_of(
      batch.parameters,
      {samples, static_cast<std::int64_t>(batch.parameters.size()) / std::max<std::int64_t>(samples, 1)});
  const Tensor fields = tensor_of(batch.fields, {samples, static_cast<std::int64_t>(pde_->fields().size()),
                                                 std::int64_t{space().cells()}});
  failed.inputs.insert(failed.inputs.begin(),
                       {{initial_states, initial}, {sample_parameters, parameters}, {sample_fields, fields}});
  failed.describe = [&](const FaultProbe::Finding& found, bool in_step, FaultReport& out) {
    place_finding(found, batch, failed.context.parameters, communicator, out);
    if (!found.layer.empty() || !in_step || out.phase != "forward") return;
    out.term = layer.bad_term();
    const std::optional<BadSolve> bad = layer.bad_solve(batch);
    if (!bad || bad->reason.empty()) return;
    out.term = fmt::format("the solve of sample {}, expert {}: {}", bad->sample, bad->solve, bad->reason);
  };
  failed.describe_thrown = [&](FaultReport& out) {
    const std::optional<BadSolve> bad = layer.bad_solve(batch);
    const int owner = communicator.min(bad ? communicator.rank() : communicator.size());
    if (owner == communicator.size()) return;
    if (bad) {
      out.sample = bad->sample;
      out.expert = bad->solve;
      out.rank = owner;
    }
    share_fault(communicator, owner, out);
  };
  failed.explain_loss = [&] { return layer.bad_term(); };
  FoundFault found = rankine::find_fault(communicator, failed, report);
  found.batch = {
      {"ids", Tensor::from(std::vector<std::int64_t>(batch.ids.begin(), batch.ids.end()), {samples})},
      {"initial", initial},
      {"parameters", parameters},
      {"fields", fields}};
  return found;
}

}  // namespace rankine
