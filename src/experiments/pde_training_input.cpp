// The samples of a step or an evaluation, and what the network sees of them.
#include <cmath>

#include "src/experiments/pde_training.hpp"
#include "src/experts/fourier_problem.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {

PdeBatch PdeTraining::make_batch(const PdeSplit& split, const std::vector<long>& which, long step,
                                 bool training,
                                 const std::shared_ptr<const ObservationRows>& observations) const {
  PdeBatch batch;
  batch.step = step;
  batch.training = training;
  const auto append = [&](const std::vector<double>& from, long s, std::vector<double>& to) {
    const long each = static_cast<long>(from.size()) / split.size();
    to.insert(to.end(), from.begin() + s * each, from.begin() + (s + 1) * each);
  };
  for (long s : which) {
    batch.ids.push_back(split.ids[s]);
    append(split.initial, s, batch.initial);
    append(split.parameters, s, batch.parameters);
    append(split.fields, s, batch.fields);
    append(split.right_wall, s, batch.right_reference);
    if (training && observations)
      batch.observations.push_back(s == data_.observations.sample ? observations : nullptr);
  }
  return batch;
}

void PdeTraining::advance(PdeBatch& batch, const std::vector<int>& windows, const StorageModel& model,
                          const Communicator& communicator) const {
  const BlockPartition blocks(batch.size(), communicator.size());
  const size_t width = model.width();
  std::vector<double> own;
  communicator.together([&] {
    for (std::int64_t s = blocks.begin(communicator.rank()); s < blocks.end(communicator.rank()); ++s) {
      const std::vector<double> u =
          discrete_problem(model, batch, static_cast<int>(s))->solve_frames(windows[s] * grid_.frames);
      own.insert(own.end(), u.end() - static_cast<long>(width), u.end());
    }
  });
  batch.initial = communicator.all_gather_varying(std::span<const double>(own));
}

void PdeTraining::check_substeps(const PdeData& data, const StorageModel& model,
                                 const Communicator& communicator) const {
  communicator.together([&] {
    for (const PdeSplit* split : {&data.train, &data.validation, &data.test}) {
      const BlockPartition blocks(split->size(), communicator.size());
      for (std::int64_t s = blocks.begin(communicator.rank()); s < blocks.end(communicator.rank()); ++s) {
        const PdeBatch one = make_batch(*split, {static_cast<long>(s)}, 0, false);
        const FourierProblem problem(model, one.initial, one.parameters, one.fields);
        if (const std::string why = problem.unstable(); !why.empty())
          throw InputError(variant_ + ": formulation.march.substeps: from the initial state of sample " +
                           std::to_string(one.ids[0]) + " " + why);
      }
    }
  });
}

/// Time, the place along each axis with walls, one channel an initial state, a coefficient field, a sampled
/// parameter. A steady problem has neither time nor initial state.
int PdeTraining::input_channels() const {
  int channels = (pde_->steady() ? 0 : 1 + pde_->unknowns()) + static_cast<int>(pde_->fields().size());
  for (int axis = 0; axis < pde_->axes(); ++axis) channels += pde_->periodic(axis) ? 0 : 1;
  for (const PdeParameter& p : pde_->parameters()) channels += p.sampled ? 1 : 0;
  return channels;
}

/// The channels on the local tiles: [L, B, channels, points of a tile].
Tensor PdeTraining::network_fields(const BoundParameters& parameters, const NetworkInput& input) const {
  const Tensor outputs = model_->forward(parameters, input.x);
  return carried_ ? carried_->fields(outputs, *input.start) : outputs;
}

PdeTraining::NetworkInput PdeTraining::network_input(const PdeBatch& batch) const {
  if (carried_) {
    NetworkInput out{{}, carried_->start(batch)};
    out.x = carried_->inputs(*out.start, batch.size(), model_->dtype());
    return out;
  }
  const TileGrid& tiles = tiles_->grid();
  const Grid grid = space();
  const int channels = input_channels(), m = pde_->unknowns();
  std::vector<std::int64_t> extents{tiles_->local_tiles(), batch.size(), channels};
  extents.insert(extents.end(), tiles.tile_shape().begin(), tiles.tile_shape().end());
  const Shape shape(extents);
  // The collocated grid has a frame at t = 0, the storage form's starts after the first step; x runs to 1 at
  // the last cell in the paper.
  const size_t first_time = formulation_.collocated() ? 0 : 1;
  const double beyond = formulation_.collocated() ? 0.5 : 0;
  const std::vector<PdeParameter> parameters = pde_->parameters();
  const auto sampled = [&](int s) {  // the sample's drawn parameters, scaled to [0, 1]
    std::vector<double> out;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const PdeParameter& p = parameters[i];
      const double value = batch.parameters[s * parameters.size() + i];
      if (p.sampled)
        out.push_back(p.logarithmic ? std::log(value / p.minimum) / std::log(p.maximum / p.minimum)
                                    : (value - p.minimum) / (p.maximum - p.minimum));
    }
    return out;
  };
  const auto fill = [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    for (long l = 0; l < tiles_->local_tiles(); ++l) {
      const TileExtent extent = tiles.extent(tiles_->begin() + l);
      for (int s = 0; s < batch.size(); ++s) {
        const auto channel = [&](const auto& value) {  // of the frame and the cell
          PerAxis size = tiles.tile_shape();
          const std::int64_t row = size.back();
          over_rows(0, tiles.points(), extent.begin, size, [&](std::int64_t first) {
            const long t = first / grid.cells();
            const int cell = static_cast<int>(first % grid.cells());
            for (int i = 0; i < row; ++i) *out++ = static_cast<T>(value(t, cell + i));
          });
        };
        if (!pde_->steady())
          channel([&](long t, int) {
            const double time = window_times_[first_time + t] / window_times_.back();
            return formulation_.time_input == "sqrt" ? std::sqrt(time) : time;
          });
        for (int axis = 0; axis < grid.axes(); ++axis)
          if (!pde_->periodic(axis))
            channel([&](long, int cell) {
              return (static_cast<double>(grid.index(cell, axis)) + 0.5) / (grid.cells(axis) - beyond);
            });
        for (int a = 0; a < m && !pde_->steady(); ++a)
          channel([&](long, int cell) {
            return formulation_.initial_input_scale *
                   batch.initial[(static_cast<size_t>(s) * grid.cells() + cell) * m + a];
          });
        const size_t fields = pde_->fields().size();
        for (size_t k = 0; k < fields; ++k)
          channel([&](long, int cell) { return batch.fields[(s * fields + k) * grid.cells() + cell]; });
        for (double value : sampled(s)) channel([&](long, int) { return value; });
      }
    }
  };
  Tensor x;
  dispatch_real(model_->dtype(), "network_input", [&](auto zero) {
    HostArray<decltype(zero)> values(shape);
    fill(values.data());
    x = values.to_device();
  });
  return {x};
}

}  // namespace rankine
