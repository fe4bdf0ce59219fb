#include "src/experts/local_experts.hpp"

#include <algorithm>
#include <string>

#include "src/tensor/host_array.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

/// The box of an expert and `margin` cells around it, cut at walls; all of a ring that it would meet itself on.
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

/// States that a sweep was linearised at: [expert of this rank][sample].
struct LocalExperts::Sweep {
  std::vector<std::vector<std::vector<std::vector<double>>>> states;
};
struct LocalExperts::Course {
  std::vector<Sweep> sweeps;
};

LocalExperts::LocalExperts(const FormulationOptions& options, const StorageModel& model,
                           const Communicator& communicator, const TilePartition& tiles,
                           std::vector<int> learned)
    : model_(model),
      communicator_(communicator),
      learned_(std::move(learned)),
      sweeps_(options.sweeps),
      dealt_(1, communicator.size()) {
  const Grid& grid = model.grid();
  const PerAxis points = tiles.grid().points();
  const TileGrid experts(points, PerAxis(options.experts.begin(), options.experts.end()));
  dealt_ = BlockPartition(experts.tiles(), communicator.size());
  tile_cells_ = experts.tile_points() / points[0];
  const int margin = options.halo + SpatialOperator::reach_of(model.pde(), convection_on(model.pde(), grid));
  OwnedBoxes own;
  std::vector<bool> rings;
  for (int axis = 0; axis < grid.axes(); ++axis) rings.push_back(model.pde().periodic(axis));
  for (std::int64_t k = 0; k < experts.tiles(); ++k) {
    GridBox box{experts.extent(k).begin, experts.tile_shape()};
    own.boxes.push_back(box);
    for (int axis = 0; axis < grid.axes(); ++axis)
      widen(box, 1 + axis, margin, points[1 + axis], rings[axis]);
    domains_.boxes.push_back(box);
    domains_.owner.push_back(dealt_.owner(k));
  }
  own.owner = domains_.owner;

  for (const int k : domains_.of_rank(communicator.rank())) {
    const GridBox &box = domains_.boxes[k], &tile = own.boxes[k];
    const std::vector<int> begin(box.begin.begin() + 1, box.begin.end()),
        size(box.size.begin() + 1, box.size.end());
    const Grid part = grid.part(begin, size, rings);
    Domain domain;
    for (int cell = 0; cell < part.cells(); ++cell) {
      int whole = 0;
      bool inner = true;
      for (int axis = 0; axis < grid.axes(); ++axis) {
        const int n = grid.cells(axis), at = (begin[axis] + part.index(cell, axis) + n) % n;
        whole += at * grid.stride(axis);
        inner = inner && at >= tile.begin[1 + axis] && at < tile.begin[1 + axis] + tile.size[1 + axis];
      }
      domain.cells.push_back(whole);
      if (inner) domain.inner.push_back(cell);
    }
    domain.model = std::make_unique<StorageModel>(model.on(part));
    mine_.push_back(std::move(domain));
  }
  const OwnedBoxes network = tiles_as_boxes(tiles);
  fetch_ = std::make_unique<BoxExchange>(communicator, points, network, domains_);
  between_ = std::make_unique<BoxExchange>(communicator, points, own, domains_);
  home_ = std::make_unique<BoxExchange>(communicator, points, own, network);
}

StorageProblem LocalExperts::problem(int expert, const PdeBatch& batch, int sample) const {
  const int m = model_.unknowns(), all = model_.cells();
  const std::vector<int>& cells = mine_[expert].cells;
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
  return mine_[expert].model->sample(std::move(initial), std::move(parameters));
}

template <class Work>
void LocalExperts::each(const PdeBatch& batch, const Work& work) const {
  failed_ = -1;
  communicator_.together([&] {
    for (size_t k = 0; k < mine_.size(); ++k)
      for (int s = 0; s < batch.size(); ++s) try {
          work(static_cast<int>(k), s);
        } catch (const NumericalError& error) {
          failed_ = batch.ids[s];
          throw NumericalError("expert " + std::to_string(dealt_.begin(communicator_.rank()) + k) +
                               ", sample " + std::to_string(batch.ids[s]) + ": " + error.what());
        }
  });
}

std::vector<double> LocalExperts::sweep(const BoxExchange& exchange, const std::vector<double>& from,
                                        const PdeBatch& batch, Sweep& states) const {
  const int m = model_.unknowns(), frames = model_.frames();
  const std::int64_t channels = static_cast<std::int64_t>(batch.size()) * m;
  std::vector<double> values(exchange.to_points() * channels), out(home_->from_points() * channels);
  exchange.exchange(std::span<const double>(from), std::span<double>(values), channels);
  states.states.assign(mine_.size(), std::vector<std::vector<std::vector<double>>>(batch.size()));
  std::int64_t first = 0;
  std::vector<std::int64_t> begin;
  for (const Domain& domain : mine_) {
    begin.push_back(first);
    first += static_cast<std::int64_t>(domain.cells.size()) * frames * channels;
  }
  each(batch, [&](int k, int s) {
    const Domain& domain = mine_[k];
    const std::int64_t cells = static_cast<std::int64_t>(domain.cells.size());
    const StorageProblem problem = this->problem(k, batch, s);
    std::vector<double> u = problem.initial();
    u.resize((frames + 1) * cells * m);
    for (int a = 0; a < m; ++a)
      for (std::int64_t p = 0; p < frames * cells; ++p)
        u[(cells + p) * m + a] =
            values[begin[k] + (static_cast<std::int64_t>(s) * m + a) * frames * cells + p];
    problem.correct_steps(u, {.steps = 1}, states.states[k][s]);
    double* to = &out[(k * channels + static_cast<std::int64_t>(s) * m) * frames * tile_cells_];
    for (int a = 0; a < m; ++a)
      for (int j = 0; j < frames; ++j)
        for (const int cell : domain.inner) *to++ = u[((j + 1) * cells + cell) * m + a];
  });
  return out;
}

std::vector<double> LocalExperts::sweep_transpose(const BoxExchange& exchange,
                                                  const std::vector<double>& tiles_bar, const PdeBatch& batch,
                                                  const Sweep& states,
                                                  std::vector<double>& by_parameter) const {
  const int m = model_.unknowns(), frames = model_.frames();
  const std::int64_t channels = static_cast<std::int64_t>(batch.size()) * m;
  std::vector<double> values(exchange.to_points() * channels), from(exchange.from_points() * channels);
  std::int64_t first = 0;
  std::vector<std::int64_t> begin;
  for (const Domain& domain : mine_) {
    begin.push_back(first);
    first += static_cast<std::int64_t>(domain.cells.size()) * frames * channels;
  }
  each(batch, [&](int k, int s) {
    const Domain& domain = mine_[k];
    const std::int64_t cells = static_cast<std::int64_t>(domain.cells.size());
    const StorageProblem problem = this->problem(k, batch, s);
    std::vector<double> bar(frames * cells * m);
    const double* tile = &tiles_bar[(k * channels + static_cast<std::int64_t>(s) * m) * frames * tile_cells_];
    for (int a = 0; a < m; ++a)
      for (int j = 0; j < frames; ++j)
        for (const int cell : domain.inner) bar[(j * cells + cell) * m + a] = *tile++;
    const size_t count = learned_.size();
    problem.correct_transpose(states.states[k][s], {.steps = 1}, bar,
                              std::span(by_parameter).subspan(k * count, count));
    for (int a = 0; a < m; ++a)
      for (std::int64_t p = 0; p < frames * cells; ++p)
        values[begin[k] + (static_cast<std::int64_t>(s) * m + a) * frames * cells + p] = bar[p * m + a];
  });
  exchange.exchange_adjoint(std::span<const double>(values), std::span<double>(from), channels);
  return from;
}

Tensor LocalExperts::corrected(const Tensor& v, const PdeBatch& batch) const {
  const Region<"local_correction"> region;
  const std::int64_t channels = static_cast<std::int64_t>(batch.size()) * model_.unknowns();
  auto course = std::make_shared<Course>();
  const Tensor values = dense(v);
  std::vector<double> u = values.to_vector();
  for (int sweep = 0; sweep < sweeps_; ++sweep)
    u = this->sweep(sweep == 0 ? *fetch_ : *between_, u, batch, course->sweeps.emplace_back());
  HostArray<double> out(v.shape());
  home_->exchange(std::span<const double>(u), std::span<double>(out.data(), v.count()), channels);
  std::vector<Tensor> inputs{v};
  if (!learned_.empty()) inputs.push_back(batch.learned);
  return apply_op(
      "local_correction", inputs, out.to_device(),
      [this, course, batch, channels](const std::vector<Tensor>& bar, const VjpContext&) {
        const std::vector<double> from = dense(bar[0]).to_vector();
        std::vector<double> u_bar(home_->from_points() * channels),
            by_parameter(mine_.size() * learned_.size());
        home_->exchange_adjoint(std::span<const double>(from), std::span<double>(u_bar), channels);
        for (int sweep = sweeps_ - 1; sweep >= 0; --sweep)
          u_bar = sweep_transpose(sweep == 0 ? *fetch_ : *between_, u_bar, batch, course->sweeps[sweep],
                                  by_parameter);
        std::vector<Tensor> gradients{Tensor::from(u_bar, bar[0].shape())};
        if (!learned_.empty()) {
          std::vector<double> sums(learned_.size());
          TileTree(communicator_, dealt_).sum(std::span<const double>(by_parameter), std::span<double>(sums));
          gradients.push_back(Tensor::from(sums, {static_cast<std::int64_t>(sums.size())}));
        }
        return gradients;
      },
      {.first_order_only = true});
}

}  // namespace rankine
