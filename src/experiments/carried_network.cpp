#include "src/experiments/carried_network.hpp"

#include "src/experts/sample_fields.hpp"

namespace rankine {

void AnsatzOptions::options(OptionVisitor& o) {
  o("name", name,
    {.help =
         "field: the network gives the solution; carried: it gives a displacement that carries the initial "
         "state, which is diffused, and small additions (one unknown, two periodic axes, "
         "pde.discretisation: fourier)",
     .choices = {"field", "carried"}});
  o("cells", carried.cells,
    {.help = "cells along each axis that the network stands on (carried)",
     .min = 4,
     .min_size = 1,
     .max_size = 2,
     .or_one = true});
  o("coefficients", carried.coefficients,
    {.help = "cosines in time of each output of the network (carried)", .min = 1, .max = 32});
  o("displacement", carried.displacement,
    {.help = "factor of the network's displacement, a length over the window's time (carried)", .min = 0});
  o("spreading", carried.spreading,
    {.help = "factor of the network's second derivatives, a squared length over time (carried)", .min = 0});
  o("addition", carried.addition,
    {.help = "factor of what the network adds, an unknown over time (carried)", .min = 0});
}

TilePartition CarriedNetwork::network_tiles(const CarriedOptions& options, const TilePartition& tiles) {
  PerAxis points{1};
  points.insert(points.end(), options.cells.begin(), options.cells.end());
  return {TileGrid(points, tiles.grid().tiling()), tiles.ranks(), tiles.rank()};
}

CarriedNetwork::CarriedNetwork(const CarriedOptions& options, const StorageModel& model,
                               const Communicator& communicator, const TilePartition& tiles)
    : model_(model),
      ansatz_(options, model.pde(), model.grid(), {model.times().begin() + 1, model.times().end()}),
      fine_(communicator, tiles),
      coarse_(communicator, network_tiles(options, tiles)) {}

std::shared_ptr<const CarriedAnsatz::Start> CarriedNetwork::start(const PdeBatch& batch) const {
  const BlockPartition samples = fine_.samples(batch.size());
  const int rank = fine_.communicator().rank();
  const auto width = static_cast<std::int64_t>(model_.width());
  std::shared_ptr<const CarriedAnsatz::Start> out;
  fine_.communicator().together([&] {
    out = std::make_shared<const CarriedAnsatz::Start>(ansatz_.start(
        std::span(batch.initial).subspan(samples.begin(rank) * width, samples.size(rank) * width)));
  });
  return out;
}

Tensor CarriedNetwork::inputs(const CarriedAnsatz::Start& start, std::int64_t batch, DType type) const {
  const NoGrad off;
  const Tensor own = ansatz_.inputs(start);
  const Tensor samples =
      reshape(contiguous(permute(own, {0, 2, 1})), {own.extent(0), 1, own.extent(2), own.extent(1)});
  return cast(samples_to_tiles(samples, batch, coarse_), type);
}

Tensor CarriedNetwork::fields(const Tensor& outputs, const CarriedAnsatz::Start& start) const {
  const std::int64_t batch = outputs.extent(1);
  const Tensor samples = tiles_to_samples(outputs, coarse_);  // [sample][1][coarse cell][6 q]
  const Tensor v = ansatz_.fields(
      contiguous(
          permute(reshape(samples, {samples.extent(0), samples.extent(2), samples.extent(3)}), {0, 2, 1})),
      start);
  return samples_to_tiles(reshape(v, {v.extent(0), v.extent(1), v.extent(2), 1}), batch, fine_);
}

}  // namespace rankine
