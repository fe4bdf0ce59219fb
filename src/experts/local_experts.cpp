#include "src/experts/local_experts.hpp"

#include <algorithm>

#include "src/tensor/host_array.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

TileGrid tiles_of(const FormulationOptions& options, const TilePartition& network) {
  return {network.grid().points(), PerAxis(options.experts.begin(), options.experts.end())};
}

OwnedBoxes boxes_of(const TileGrid& experts, const BlockPartition& dealt) {
  OwnedBoxes out;
  for (std::int64_t k = 0; k < experts.tiles(); ++k) {
    out.boxes.push_back({experts.extent(k).begin, experts.tile_shape()});
    out.owner.push_back(dealt.owner(k));
  }
  return out;
}

int reach_on(const StorageModel& model) {
  return SpatialOperator::reach_of(model.pde(), convection_on(model.pde(), model.grid()));
}

}  // namespace

/// States that a sweep was linearised at: [expert of this rank][sample].
struct LocalExperts::Sweep {
  std::vector<std::vector<std::vector<std::vector<double>>>> states;
};

LocalExperts::LocalExperts(const FormulationOptions& options, const StorageModel& model,
                           const Communicator& communicator, const TilePartition& tiles,
                           std::vector<int> learned)
    : sweeps_(options.sweeps),
      dealt_(tiles_of(options, tiles).tiles(), communicator.size()),
      parts_(model, communicator, tiles, boxes_of(tiles_of(options, tiles), dealt_),
             options.halo + reach_on(model), std::move(learned)) {}

std::vector<double> LocalExperts::sweep(const BoxExchange& exchange, const std::vector<double>& from,
                                        const PdeBatch& batch, Sweep& states) const {
  const int samples = batch.size();
  const std::int64_t channels = static_cast<std::int64_t>(samples) * parts_.model().unknowns();
  std::vector<double> values(exchange.to_points() * channels), out(parts_.home().from_points() * channels);
  exchange.exchange(std::span<const double>(from), std::span<double>(values), channels);
  states.states.assign(parts_.mine().size(), std::vector<std::vector<std::vector<double>>>(samples));
  parts_.each(batch, [&](size_t k, int s) {
    const StorageProblem problem = parts_.problem(k, batch, s);
    std::vector<double> u = problem.whole(parts_.state(values, k, samples, s));
    problem.correct_steps(u, {.steps = 1}, states.states[k][s]);
    parts_.put_own_state(std::span(u).subspan(problem.width()), k, samples, s, out);
  });
  return out;
}

std::vector<double> LocalExperts::sweep_transpose(const BoxExchange& exchange, const std::vector<double>& bar,
                                                  const PdeBatch& batch, const Sweep& states,
                                                  std::vector<double>& by_parameter) const {
  const int samples = batch.size();
  const size_t learned = parts_.learned().size();
  const std::int64_t channels = static_cast<std::int64_t>(samples) * parts_.model().unknowns();
  std::vector<double> values(exchange.to_points() * channels), from(exchange.from_points() * channels);
  parts_.each(batch, [&](size_t k, int s) {
    std::vector<double> u_bar = parts_.own_state(bar, k, samples, s);
    parts_.problem(k, batch, s)
        .correct_transpose(states.states[k][s], {.steps = 1}, u_bar,
                           std::span(by_parameter).subspan(k * learned, learned));
    parts_.put_state(u_bar, k, samples, s, values);
  });
  exchange.exchange_adjoint(std::span<const double>(values), std::span<double>(from), channels);
  return from;
}

Tensor LocalExperts::corrected(const Tensor& v, const PdeBatch& batch) const {
  const Region<"local_correction"> region;
  const std::int64_t channels = static_cast<std::int64_t>(batch.size()) * parts_.model().unknowns();
  auto course = std::make_shared<std::vector<Sweep>>();
  std::vector<double> u = dense(v).to_vector();
  for (int sweep = 0; sweep < sweeps_; ++sweep)
    u = this->sweep(sweep == 0 ? parts_.fetch() : parts_.between(), u, batch, course->emplace_back());
  HostArray<double> out(v.shape());
  parts_.home().exchange(std::span<const double>(u), std::span<double>(out.data(), v.count()), channels);
  std::vector<Tensor> inputs{v};
  if (!parts_.learned().empty()) inputs.push_back(batch.learned);
  return apply_op("local_correction", inputs, out.to_device(),
                  [this, course, batch, channels](const std::vector<Tensor>& bar, const VjpContext&) {
                    const size_t learned = parts_.learned().size();
                    const std::vector<double> from = dense(bar[0]).to_vector();
                    std::vector<double> u_bar(parts_.home().from_points() * channels),
                        by_parameter(parts_.mine().size() * learned);
                    parts_.home().exchange_adjoint(std::span<const double>(from), std::span<double>(u_bar),
                                                   channels);
                    for (int sweep = sweeps_ - 1; sweep >= 0; --sweep)
                      u_bar = sweep_transpose(sweep == 0 ? parts_.fetch() : parts_.between(), u_bar, batch,
                                              (*course)[sweep], by_parameter);
                    std::vector<Tensor> gradients{Tensor::from(u_bar, bar[0].shape())};
                    if (learned > 0) {
                      std::vector<double> sums(learned);
                      TileTree(parts_.communicator(), dealt_)
                          .sum(std::span<const double>(by_parameter), std::span<double>(sums));
                      gradients.push_back(Tensor::from(sums, {static_cast<std::int64_t>(learned)}));
                    }
                    return gradients;
                  },
                  {.first_order_only = true});
}

}  // namespace rankine
