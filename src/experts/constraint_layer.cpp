#include "src/experts/constraint_layer.hpp"

#include "src/experts/collocated_layer.hpp"
#include "src/experts/storage_layer.hpp"
#include "src/experts/tile_layer.hpp"

namespace rankine {

int network_frames(const FormulationOptions& options, int frames) {
  return options.collocated() ? frames + 1 : frames;
}

std::unique_ptr<ConstraintLayer> make_constraint_layer(const FormulationOptions& options,
                                                       const StorageModel& model,
                                                       const Communicator& communicator,
                                                       const TilePartition& tiles, std::vector<int> learned,
                                                       std::uint64_t seed) {
  if (options.collocated()) return make_collocated_layer(options, model, communicator, tiles, seed);
  if (options.on_tiles()) return make_tile_layer(options, model, communicator, tiles, std::move(learned));
  return make_storage_layer(
      std::make_shared<const StorageSetup>(options, model, communicator, tiles, std::move(learned), seed));
}

}  // namespace rankine
