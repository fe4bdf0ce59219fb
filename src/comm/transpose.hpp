// Redistribution between tiles of all samples and whole fields of some samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "src/comm/communicator.hpp"
#include "src/comm/tiles.hpp"

namespace rankine {

/// Every rank has its tiles of all B samples, or all of the grid for its block of samples:
///   tiles    [local_tile][B][channels][points of a tile]
///   samples  [local_sample][channels][points of the grid]
/// Samples are dealt to the ranks as BlockPartition(B, ranks) says; a rank may get none. The two directions
/// are inverse and, as permutations of the values, adjoint to one another. All methods are collective.
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
