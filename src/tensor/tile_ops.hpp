// From tiles to all of them and back. A tensor is either local, [L, ...] with one slice for each tile of this
// rank, or replicated, [...] with the same bits on every rank. These two ops are the only crossings, and each
// is the other's adjoint; everything else acts on tiles alone or on replicated values alone.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/reductions.hpp"
#include "src/comm/tile_tree.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

/// Sums buffers, one for each local tile, over all tiles of the run in an order that the tile numbers alone
/// fix.
class TileSum {
 public:
  virtual ~TileSum() = default;
  virtual std::int64_t local_tiles() const = 0;
  /// Of the run, and the first of them that is here.
  virtual std::int64_t tiles() const = 0;
  virtual std::int64_t first_tile() const = 0;
  /// Parts [L][m_i] to total, the m_i side by side.
  virtual void sum_parts(std::span<const std::span<const float>> parts, std::span<float> total) const = 0;
  virtual void sum_parts(std::span<const std::span<const double>> parts, std::span<double> total) const = 0;
  /// The same in device memory.
  virtual void sum_parts(const std::vector<kernels::Part<float>>& parts, DevicePtr<float> total) const = 0;
  virtual void sum_parts(const std::vector<kernels::Part<double>>& parts, DevicePtr<double> total) const = 0;
  /// [L][m] to [m].
  template <class T>
  void sum(std::span<const T> values, std::span<T> total) const {
    sum_parts(std::span<const std::span<const T>>(&values, 1), total);
  }
  template <class T>
  void sum(DevicePtr<const T> values, std::int64_t m, DevicePtr<T> total) const {
    sum_parts(std::vector<kernels::Part<T>>{{values, m}}, total);
  }
};
using SharedTileSum = std::shared_ptr<const TileSum>;

/// All tiles are here.
SharedTileSum local_tile_sum(std::int64_t tiles);
/// Tiles dealt to ranks; collective on the tree's communicator, which must outlive it.
SharedTileSum distributed_tile_sum(TileTree tree);

/// Parts [L, ...] of one type, not on the tape, to their sums, flat and side by side.
Tensor sum_parts_over_tiles(const std::vector<Tensor>& parts, DType type, const SharedTileSum& tiles);
/// [L, ...] to [...].
Tensor sum_over_tiles(const Tensor& x, const SharedTileSum& tiles);
/// [...] to [L, ...], with stride 0.
Tensor replicate_over_tiles(const Tensor& x, const SharedTileSum& tiles);

}  // namespace rankine
