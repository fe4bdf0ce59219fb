// Redistribution between tiles of all samples and whole fields of some samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/comm/communicator.hpp"
#include "src/comm/tiles.hpp"

namespace rankine {

/// Two distributions of fields over ranks: a rank has its own tiles of all B samples, or the whole grid of
/// its own samples:
///   tiles    [local_tile][B][channels][tile_nt][tile_nx]
///   samples  [local_sample][channels][nt][nx]
/// BlockPartition(B, ranks) distributes the samples over the ranks; a rank may have none. The two directions
/// permute the values; each is the inverse and the adjoint of the other. All methods are collective.
class SampleTranspose {
 public:
  /// The communicator must outlive the transpose. Not collective.
  SampleTranspose(const Communicator& communicator, const TilePartition& partition);

  const Communicator& communicator() const { return communicator_; }
  const TilePartition& partition() const { return partition_; }
  BlockPartition samples(std::int64_t batch) const { return {batch, communicator_.size()}; }
  std::int64_t local_samples(std::int64_t batch) const { return samples(batch).size(communicator_.rank()); }
  std::size_t tiles_size(std::int64_t batch, std::int64_t channels) const;
  std::size_t samples_size(std::int64_t batch, std::int64_t channels) const;

  /// From tiles to samples; overwrites `samples`. From and To are float or double; messages use the shorter
  /// type.
  template <class From, class To>
  void to_samples(std::span<const From> tiles, std::span<To> samples, std::int64_t batch,
                  std::int64_t channels) const;

  /// From samples to tiles; overwrites `tiles`.
  template <class From, class To>
  void to_tiles(std::span<const From> samples, std::span<To> tiles, std::int64_t batch,
                std::int64_t channels) const;

 private:
  const Communicator& communicator_;
  TilePartition partition_;
};

}  // namespace rankine
