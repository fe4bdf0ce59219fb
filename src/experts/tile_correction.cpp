#include "src/experts/tile_correction.hpp"

#include "src/experts/fourier_correction.hpp"
#include "src/experts/local_experts.hpp"
#include "src/experts/spread_correction.hpp"

namespace rankine {

std::unique_ptr<const TileCorrection> make_tile_correction(const FormulationOptions& options,
                                                           const StorageModel& model,
                                                           const Communicator& communicator,
                                                           const TilePartition& tiles,
                                                           std::vector<int> learned) {
  const bool waves = model.pde().discretisation() == Discretisation::fourier;
  if (waves && options.local())
    return std::make_unique<const FourierExperts>(options, model, communicator, tiles);
  if (waves) return std::make_unique<const FourierCorrection>(model, communicator, tiles);
  if (options.local())
    return std::make_unique<const LocalExperts>(options, model, communicator, tiles, std::move(learned));
  return std::make_unique<const SpreadCorrection>(options.march, model, communicator, tiles,
                                                  std::move(learned));
}

}  // namespace rankine
