#include "src/experts/grid_parts.hpp"

#include <algorithm>
#include <string>

namespace rankine {
namespace {

/// A box and `margin` cells around it, cut at walls; all of a ring that it would meet itself on.
void widen(GridBox& box, int axis, std::int64_t margin, std::int64_t cells, bool ring) {
  std::int64_t &begin = box.begin[axis], &size = box.size[axis];
  if (size + 2 * margin >= cells && ring) {
    begin = 0;
    size = cells;
    return;
  }
  std::int64_t end = begin + size + margin;
  begin -= margin;
  if (!ring) {
    begin = std::max<std::int64_t>(begin, 0);
    end = std::min(end, cells);
  }
  size = end - begin;
}

}  // namespace

GridParts::GridParts(const StorageModel& model, const Communicator& communicator,
                     const TilePartition& network, OwnedBoxes own, int margin, std::vector<int> learned)
    : model_(model),
      communicator_(communicator),
      learned_(std::move(learned)),
      numbers_(own.of_rank(communicator.rank())) {
  const Grid& grid = model.grid();
  const PerAxis points = network.grid().points();
  std::vector<bool> rings;
  for (int axis = 0; axis < grid.axes(); ++axis) rings.push_back(model.pde().periodic(axis));
  OwnedBoxes wide = own;
  for (GridBox& box : wide.boxes)
    for (int axis = 0; axis < grid.axes(); ++axis)
      widen(box, 1 + axis, margin, points[1 + axis], rings[axis]);

  std::int64_t cells = 0;
  for (const int number : numbers_) {
    const GridBox &box = wide.boxes[number], &tile = own.boxes[number];
    RANKINE_ASSERT(tile.begin[0] == 0 && tile.size[0] == points[0], "a part has all frames");
    const std::vector<int> begin(box.begin.begin() + 1, box.begin.end()),
        size(box.size.begin() + 1, box.size.end());
    const Grid in_part = grid.part(begin, size, rings);
    GridPart part;
    for (int cell = 0; cell < in_part.cells(); ++cell) {
      int whole = 0;
      bool inner = true;
      for (int axis = 0; axis < grid.axes(); ++axis) {
        const int n = grid.cells(axis), at = (begin[axis] + in_part.index(cell, axis) + n) % n;
        whole += at * grid.stride(axis);
        inner = inner && at >= tile.begin[1 + axis] && at < tile.begin[1 + axis] + tile.size[1 + axis];
      }
      part.cells.push_back(whole);
      if (inner) part.inner.push_back(cell);
    }
    part.model = std::make_unique<StorageModel>(model.on(in_part));
    begin_.push_back(cells);
    own_begin_.push_back(own_cells_);
    cells += static_cast<std::int64_t>(part.cells.size());
    own_cells_ += static_cast<std::int64_t>(part.inner.size());
    mine_.push_back(std::move(part));
  }
  const OwnedBoxes tiles = tiles_as_boxes(network);
  fetch_ = std::make_unique<BoxExchange>(communicator, points, tiles, wide);
  between_ = std::make_unique<BoxExchange>(communicator, points, own, std::move(wide));
  home_ = std::make_unique<BoxExchange>(communicator, points, std::move(own), tiles);
}

StorageProblem GridParts::problem(size_t part, const PdeBatch& batch, int sample) const {
  const int m = model_.unknowns(), all = model_.cells();
  const std::vector<int>& cells = mine_[part].cells;
  SchemeParameters parameters;
  const size_t count = batch.parameters.size() / batch.size(), fields = model_.pde().fields().size();
  parameters.values.assign(batch.parameters.begin() + sample * count,
                           batch.parameters.begin() + (sample + 1) * count);
  parameters.learned = learned_;
  if (!learned_.empty()) {
    const std::vector<double> values = batch.learned.to_vector();
    for (size_t l = 0; l < learned_.size(); ++l) parameters.values[learned_[l]] = values[l];
  }
  for (size_t f = 0; f < fields; ++f)
    for (const int cell : cells)
      parameters.fields.push_back(batch.fields[(sample * fields + f) * all + cell]);
  std::vector<double> initial;
  for (const int cell : cells)
    for (int a = 0; a < m; ++a)
      initial.push_back(batch.initial[(static_cast<size_t>(sample) * all + cell) * m + a]);
  return mine_[part].model->sample(std::move(initial), std::move(parameters));
}

void GridParts::each(const PdeBatch& batch, const std::function<void(size_t, int)>& work) const {
  failed_ = -1;
  communicator_.together([&] {
    for (int s = 0; s < batch.size(); ++s)
      for (size_t part = 0; part < mine_.size(); ++part) try_part(batch, part, s, work);
  });
}

void GridParts::each(const PdeBatch& batch, int sample, const std::function<void(size_t)>& work) const {
  failed_ = -1;
  communicator_.together([&] {
    for (size_t part = 0; part < mine_.size(); ++part)
      try_part(batch, part, sample, [&](size_t p, int) { work(p); });
  });
}

void GridParts::try_part(const PdeBatch& batch, size_t part, int sample,
                         const std::function<void(size_t, int)>& work) const try {
  work(part, sample);
} catch (const NumericalError& error) {
  failed_ = batch.ids[sample];
  throw NumericalError("sample " + std::to_string(batch.ids[sample]) + ", part " +
                       std::to_string(numbers_[part]) + " of the grid: " + error.what());
}

namespace {

/// [box][sample][unknown][frame][cell]: where the first unknown of a sample lies, of boxes with `before` cells
/// before this one.
std::int64_t first_of(std::int64_t before, std::int64_t cells, int samples, int sample, int m, int frames) {
  return (before * samples + cells * sample) * m * frames;
}

}  // namespace

std::vector<double> GridParts::state(const std::vector<double>& fields, size_t part, int samples,
                                     int sample) const {
  const int m = model_.unknowns(), frames = model_.frames();
  const auto cells = static_cast<std::int64_t>(mine_[part].cells.size());
  const double* from = &fields[first_of(begin_[part], cells, samples, sample, m, frames)];
  std::vector<double> out(frames * cells * m);
  for (int a = 0; a < m; ++a)
    for (std::int64_t p = 0; p < frames * cells; ++p) out[p * m + a] = *from++;
  return out;
}

void GridParts::put_state(std::span<const double> state, size_t part, int samples, int sample,
                          std::vector<double>& fields) const {
  const int m = model_.unknowns(), frames = model_.frames();
  const auto cells = static_cast<std::int64_t>(mine_[part].cells.size());
  double* to = &fields[first_of(begin_[part], cells, samples, sample, m, frames)];
  for (int a = 0; a < m; ++a)
    for (std::int64_t p = 0; p < frames * cells; ++p) *to++ = state[p * m + a];
}

std::vector<double> GridParts::own_state(const std::vector<double>& fields, size_t part, int samples,
                                         int sample) const {
  const int m = model_.unknowns(), frames = model_.frames();
  const GridPart& of = mine_[part];
  const auto cells = static_cast<std::int64_t>(of.cells.size()),
             own = static_cast<std::int64_t>(of.inner.size());
  const double* from = &fields[first_of(own_begin_[part], own, samples, sample, m, frames)];
  std::vector<double> out(frames * cells * m);
  for (int a = 0; a < m; ++a)
    for (int j = 0; j < frames; ++j)
      for (const int cell : of.inner) out[(j * cells + cell) * m + a] = *from++;
  return out;
}

void GridParts::put_own_state(std::span<const double> state, size_t part, int samples, int sample,
                              std::vector<double>& fields) const {
  const int m = model_.unknowns(), frames = model_.frames();
  const GridPart& of = mine_[part];
  const auto cells = static_cast<std::int64_t>(of.cells.size()),
             own = static_cast<std::int64_t>(of.inner.size());
  double* to = &fields[first_of(own_begin_[part], own, samples, sample, m, frames)];
  for (int a = 0; a < m; ++a)
    for (int j = 0; j < frames; ++j)
      for (const int cell : of.inner) *to++ = state[(j * cells + cell) * m + a];
}

}  // namespace rankine
