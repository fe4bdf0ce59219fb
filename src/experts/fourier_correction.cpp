#include "src/experts/fourier_correction.hpp"

#include <algorithm>
#include <cmath>

#include "src/experts/fourier_problem.hpp"
#include "src/experts/sample_fields.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

std::vector<double> parameters_of(const PdeBatch& batch, int sample) {
  const size_t count = batch.parameters.size() / batch.size();
  return {batch.parameters.begin() + sample * count, batch.parameters.begin() + (sample + 1) * count};
}

std::span<const double> fields_of(const PdeBatch& batch, int sample) {
  const size_t count = batch.fields.size() / batch.size();
  return std::span(batch.fields).subspan(sample * count, count);
}

}  // namespace

FourierCorrection::FourierCorrection(const StorageModel& model, const Communicator& communicator,
                                     const TilePartition& tiles)
    : model_(model), transpose_(communicator, tiles) {}

Tensor FourierCorrection::corrected(const Tensor& v, const PdeBatch& batch) const {
  const Region<"fourier_correction"> region;
  const NoGrad off;
  const Tensor samples = tiles_to_samples(v, transpose_);
  const std::vector<double> values = samples.to_vector();
  const std::int64_t local = samples.extent(0),
                     first = transpose_.samples(batch.size()).begin(transpose_.communicator().rank());
  const long width = model_.width(), points = model_.points();
  HostArray<double> out(samples.shape());
  transpose_.communicator().together([&] {
    for (const std::vector<int>& group : alike(batch)) {
      std::vector<int> own;
      for (const int s : group)
        if (s >= first && s < first + local) own.push_back(s);
      if (own.empty()) continue;
      const long frame = width * static_cast<long>(own.size());
      std::vector<double> u(frame * (model_.frames() + 1));
      for (size_t k = 0; k < own.size(); ++k) {
        std::copy_n(&batch.initial[own[k] * width], width, &u[k * width]);
        for (int j = 0; j < model_.frames(); ++j)
          std::copy_n(&values[(own[k] - first) * points + j * width], width,
                      &u[(j + 1) * frame + static_cast<long>(k) * width]);
      }
      const FourierProblem problem(model_, {u.begin(), u.begin() + frame}, parameters_of(batch, own[0]),
                                   fields_of(batch, own[0]));
      const std::vector<double> e = problem.error(u, problem.residual(u));
      for (size_t k = 0; k < own.size(); ++k)
        for (int j = 0; j < model_.frames(); ++j)
          for (long i = 0; i < width; ++i) {
            const long p = j * frame + static_cast<long>(k) * width + i;
            out[(own[k] - first) * points + j * width + i] = u[frame + p] - e[p];
          }
    }
  });
  return samples_to_tiles(out.to_device(), batch.size(), transpose_);
}

FourierExperts::FourierExperts(const FormulationOptions& options, const StorageModel& model,
                               const Communicator& communicator, const TilePartition& tiles)
    : model_(model),
      communicator_(communicator),
      sweeps_(options.sweeps),
      dealt_(1, communicator.size()),
      frames_(model.frames(), communicator.size()) {
  const Grid& grid = model.grid();
  const PerAxis points = tiles.grid().points();
  const TileGrid experts(points, PerAxis(options.experts.begin(), options.experts.end()));
  dealt_ = BlockPartition(experts.tiles(), communicator.size());
  OwnedBoxes own, wide, read, computed;
  for (int axis = 0; axis < grid.axes(); ++axis) {
    const auto tile = static_cast<int>(experts.tile_shape()[1 + axis]);
    const bool all = tile + 2 * options.halo >= grid.cells(axis);
    box_cells_.push_back(all ? grid.cells(axis) : tile + 2 * options.halo);
    taper_.push_back(all ? 0 : std::min(options.taper, options.halo));
  }
  for (std::int64_t k = 0; k < experts.tiles(); ++k) {
    GridBox box{experts.extent(k).begin, experts.tile_shape()};
    own.boxes.push_back(box);
    for (int axis = 0; axis < grid.axes(); ++axis)
      if (box_cells_[axis] < grid.cells(axis)) {
        box.begin[1 + axis] -= options.halo;
        box.size[1 + axis] = box_cells_[axis];
      } else {
        // A box that has all of a ring begins where its tile does, so that all boxes are alike.
        box.size[1 + axis] = box_cells_[axis];
      }
    wide.boxes.push_back(box);
    own.owner.push_back(dealt_.owner(k));
  }
  wide.owner = own.owner;
  for (int r = 0; r < communicator.size(); ++r) {
    if (frames_.size(r) == 0) continue;
    GridBox box{PerAxis(points.size(), 0), points};
    box.begin[0] = frames_.begin(r);
    box.size[0] = frames_.size(r);
    computed.boxes.push_back(box);
    computed.owner.push_back(r);
    // The frame before the first one, too.
    const std::int64_t before = box.begin[0] > 0 ? 1 : 0;
    box.begin[0] -= before;
    box.size[0] += before;
    read.boxes.push_back(box);
    read.owner.push_back(r);
  }
  const Grid box(box_cells_, std::vector<double>(grid.axes(), 1.0));
  for (int cell = 0; cell < box.cells(); ++cell) {
    bool inner = true;
    for (int axis = 0; axis < grid.axes(); ++axis) {
      const int from = box_cells_[axis] < grid.cells(axis) ? options.halo : 0,
                i = box.index(cell, axis) - from;
      inner = inner && i >= 0 && i < experts.tile_shape()[1 + axis];
    }
    if (inner) inner_.push_back(cell);
  }
  for (const int k : wide.of_rank(communicator.rank())) {
    std::vector<int>& cells = mine_.emplace_back();
    for (int cell = 0; cell < box.cells(); ++cell) {
      int whole = 0;
      for (int axis = 0; axis < grid.axes(); ++axis) {
        const int n = grid.cells(axis),
                  at = static_cast<int>(wide.boxes[k].begin[1 + axis]) + box.index(cell, axis);
        whole += (at % n + n) % n * grid.stride(axis);
      }
      cells.push_back(whole);
    }
  }
  const OwnedBoxes network = tiles_as_boxes(tiles);
  to_frames_ = std::make_unique<BoxExchange>(communicator, points, network, std::move(read));
  to_boxes_ = std::make_unique<BoxExchange>(communicator, points, std::move(computed), std::move(wide));
  home_ = std::make_unique<BoxExchange>(communicator, points, std::move(own), network);
}

FourierExperts::Whole FourierExperts::whole(const std::vector<double>& v, const PdeBatch& batch) const {
  const int m = model_.unknowns(), samples = batch.size();
  const long cells = model_.cells(), width = model_.width();
  const std::vector<double>& times = model_.times();
  std::vector<double> read(to_frames_->to_points() * samples * m);
  to_frames_->exchange(std::span<const double>(v), std::span<double>(read),
                       static_cast<std::int64_t>(samples) * m);
  const int rank = communicator_.rank();
  const long own = frames_.size(rank), first = frames_.begin(rank), before = first > 0 ? 1 : 0,
             all = own > 0 ? own + before : 0;
  Whole out;
  communicator_.together([&] {
    for (const std::vector<int>& group : alike(batch)) {
      const long members = static_cast<long>(group.size());
      std::vector<int> everywhere(cells);
      for (long i = 0; i < cells; ++i) everywhere[i] = static_cast<int>(i);
      const FourierScheme scheme(model_.pde(), model_.grid(), parameters_of(batch, group[0]),
                                 positions_at(model_, everywhere, fields_of(batch, group[0])));
      const int rows = out.rows = static_cast<int>(scheme.rows().size());
      out.frames.resize(own * samples * (m + rows) * cells);
      out.initial.resize(static_cast<size_t>(samples) * rows * cells);
      std::vector<double> initial;
      for (const int s : group)
        initial.insert(initial.end(), batch.initial.begin() + s * width,
                       batch.initial.begin() + (s + 1) * width);
      const std::vector<double> of_initial = scheme.arguments(initial);
      for (int row = 0; row < rows; ++row)
        for (long k = 0; k < members; ++k)
          std::copy_n(&of_initial[(row * members + k) * cells], cells,
                      &out.initial[(static_cast<long>(group[k]) * rows + row) * cells]);
      // All own frames at once: members are [frame][sample].
      std::vector<double> old, now, at;
      for (long j = 0; j < own; ++j) {
        at.insert(at.end(), members, times[first + j]);
        for (const int s : group)
          for (long i = 0; i < cells; ++i)
            for (int a = 0; a < m; ++a) {
              const auto value = [&](long frame) {
                return read[((static_cast<long>(s) * m + a) * all + frame) * cells + i];
              };
              old.push_back(first + j == 0 ? batch.initial[s * width + i * m + a] : value(j + before - 1));
              now.push_back(value(j + before));
            }
      }
      if (own == 0) continue;
      // Steps of one length, to the bit, are one call: which frames are here must not matter.
      std::vector<double> next;
      for (long j = 0; j < own;) {
        long end = j + 1;
        const double step = times[first + j + 1] - times[first + j];
        while (end < own && times[first + end + 1] - times[first + end] == step) ++end;
        const auto part = std::span(old).subspan(j * members * width, (end - j) * members * width);
        const std::vector<double> stepped =
            scheme.advance(part, std::span(at).subspan(j * members, (end - j) * members), step,
                           model_.march_options().substeps);
        next.insert(next.end(), stepped.begin(), stepped.end());
        j = end;
      }
      const std::vector<double> arguments = scheme.arguments(now);
      for (long j = 0; j < own; ++j)
        for (long k = 0; k < members; ++k) {
          const long member = j * members + k;
          const auto to = [&](int channel) {
            return &out.frames[((static_cast<long>(group[k]) * (m + rows) + channel) * own + j) * cells];
          };
          for (int a = 0; a < m; ++a)
            for (long i = 0; i < cells; ++i) {
              const long p = member * width + i * m + a;
              to(a)[i] = now[p] - next[p];
            }
          for (int row = 0; row < rows; ++row)
            std::copy_n(&arguments[(row * own * members + member) * cells], cells, to(m + row));
        }
    }
  });
  out.rows = static_cast<int>(communicator_.max(static_cast<std::int64_t>(out.rows)));
  return out;
}

std::vector<double> FourierExperts::errors(const Whole& whole, const PdeBatch& batch) const {
  const int m = model_.unknowns(), samples = batch.size(), rows = whole.rows, frames = model_.frames();
  const Grid& grid = model_.grid();
  std::vector<double> lengths;
  for (int axis = 0; axis < grid.axes(); ++axis) lengths.push_back(grid.spacing(axis) * box_cells_[axis]);
  const Grid box(box_cells_, lengths);
  const std::int64_t channels = static_cast<std::int64_t>(samples) * (m + rows);
  const long cells = box.cells(), boxes = static_cast<long>(mine_.size());
  std::vector<double> read(to_boxes_->to_points() * channels), out(home_->from_points() * samples * m);
  to_boxes_->exchange(std::span<const double>(whole.frames), std::span<double>(read), channels);
  const std::vector<double> taper = box_taper(box, taper_);
  communicator_.together([&] {
    for (const std::vector<int>& group : alike(batch)) {
      if (boxes == 0) break;
      // All boxes of all samples at once: members are [box][sample].
      const long of_group = static_cast<long>(group.size()), members = boxes * of_group;
      const int axes_and_fields = grid.axes() + static_cast<int>(model_.pde().fields().size());
      std::vector<double> positions(axes_and_fields * members * cells);
      for (long b = 0; b < boxes; ++b) {
        const std::vector<double> own = positions_at(model_, mine_[b], fields_of(batch, group[0]));
        for (int row = 0; row < axes_and_fields; ++row)
          for (long k = 0; k < of_group; ++k)
            std::copy_n(&own[row * cells], cells, &positions[((row * boxes + b) * of_group + k) * cells]);
      }
      const FourierScheme scheme(model_.pde(), box, parameters_of(batch, group[0]), std::move(positions));
      std::vector<double> arguments((frames + 1) * rows * members * cells), r(frames * members * cells * m);
      for (long b = 0; b < boxes; ++b)
        for (long k = 0; k < of_group; ++k) {
          const long member = b * of_group + k;
          const auto from = [&](int channel, int j) {
            return &read[((b * channels + static_cast<long>(group[k]) * (m + rows) + channel) * frames + j) *
                         cells];
          };
          for (int row = 0; row < rows; ++row) {
            double* first = &arguments[(row * members + member) * cells];
            const double* initial = &whole.initial[(static_cast<long>(group[k]) * rows + row) * grid.cells()];
            for (long i = 0; i < cells; ++i) first[i] = initial[mine_[b][i]];
            for (int j = 0; j < frames; ++j)
              std::copy_n(from(m + row, j), cells,
                          &arguments[(((j + 1) * rows + row) * members + member) * cells]);
          }
          for (int j = 0; j < frames; ++j)
            for (int a = 0; a < m; ++a)
              for (long i = 0; i < cells; ++i)
                r[((j * members + member) * cells + i) * m + a] = from(a, j)[i];
        }
      const std::vector<double> e =
          scheme.correct({model_.times(), model_.march_options().substeps, arguments, taper}, r);
      const long tile = static_cast<long>(inner_.size());
      for (long b = 0; b < boxes; ++b)
        for (long k = 0; k < of_group; ++k)
          for (int a = 0; a < m; ++a)
            for (int j = 0; j < frames; ++j) {
              double* to = &out[(((b * samples + group[k]) * m + a) * frames + j) * tile];
              for (long i = 0; i < tile; ++i)
                to[i] = e[((j * members + b * of_group + k) * cells + inner_[i]) * m + a];
            }
    }
  });
  return out;
}

Tensor FourierExperts::corrected(const Tensor& v, const PdeBatch& batch) const {
  const Region<"local_correction"> region;
  const NoGrad off;
  Tensor u = dense(v);
  const std::int64_t channels = static_cast<std::int64_t>(batch.size()) * model_.unknowns();
  for (int sweep = 0; sweep < sweeps_; ++sweep) {
    const std::vector<double> e = errors(whole(u.to_vector(), batch), batch);
    HostArray<double> on_tiles(v.shape());
    home_->exchange(std::span<const double>(e), std::span<double>(on_tiles.data(), v.count()), channels);
    u = sub(u, on_tiles.to_device());
  }
  return u;
}

}  // namespace rankine
