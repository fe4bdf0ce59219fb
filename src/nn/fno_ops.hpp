// The ops of the Fourier neural operator on tiles. Activations are [L, B, C, ...]: local tiles, batch,
// channels, the tile's points along t and up to three axes of space. Products are formed tile by tile and sample by sample, so no result depends on
// how tiles are dealt to ranks. Parameters that act on tiles come as [L, ...] (ParameterSet::bind).
//
// The fused ops below are the fast first-order path: they keep one tensor a layer for the backward pass and
// recompute the rest. Each also exists as a composition of elementary ops; second derivatives go through
// that.
#pragma once

#include <memory>

#include "kernels/dft.hpp"
#include "src/comm/tiles.hpp"
#include "src/tensor/tile_ops.hpp"

namespace rankine {

/// The transform of all layers with these modes, for one rank's tiles.
struct TileSpectrum {
  /// One number of modes for each axis. Along the last one these are k = 0 .. m-1, along each other
  /// k = 0 .. m-1, -m .. -1, or k = 0 alone on an axis of one point. Throws InputError if there are more modes
  /// than points.
  TileSpectrum(const TilePartition& partition, SharedTileSum sum, const PerAxis& modes);
  /// The waves at the points of the local tiles.
  template <class T>
  const kernels::TileWaves<T>& waves() const;
  std::int64_t tiles;  // local ones
  Shape tile;          // the points of each
  Shape modes;         // along each axis, of both signs
  SharedTileSum sum;

 private:
  template <class T>
  void prepare(const kernels::PartialDft<T>& dft, const std::vector<PerAxis>& origins, const PerAxis& points,
               Tensor& tables, kernels::TileWaves<T>& waves);
  Tensor single_tables_, double_tables_;
  kernels::TileWaves<float> single_;
  kernels::TileWaves<double> double_;
};
using SharedSpectrum = std::shared_ptr<const TileSpectrum>;

// Elementary, each the adjoint of its neighbour, and differentiable as often as asked.
/// u [L, B, C, ...] to each tile's share of the wave coefficients [L, B, C, rows, columns]
/// (kernels/dft.hpp).
Tensor analyse_tiles(const Tensor& u, const SharedSpectrum& spectrum);
Tensor synthesise_tiles(const Tensor& s, const SharedSpectrum& spectrum);
/// Coefficients [B, C, rows, columns] to modes [B, C, 2, modes]; `weighted` as in kernels/dft.hpp.
Tensor modes_of_waves(const Tensor& s, const SharedSpectrum& spectrum, bool weighted);
Tensor waves_of_modes(const Tensor& modes, const SharedSpectrum& spectrum, bool weighted);
/// y[b,o,k] = sum_i w[i,o,k] x[b,i,k], complex, real and imaginary parts along the last axis but one.
Tensor mix_modes(const Tensor& w, const Tensor& x);

/// W u + b at each point: u [L, B, Ci, ...], weight [L, Co, Ci], bias [L, Co].
Tensor pointwise_linear(const Tensor& u, const Tensor& weight, const Tensor& bias);

/// One layer from pre-activation to pre-activation: with a = gelu(z) (or z, if not `activate`),
///   IDFT(spectral * DFT(a)) + weight a + bias.
/// z [L, B, Ci, ...], spectral [Ci, Co, 2, modes], weight [L, Co, Ci], bias [L, Co]. One message forward,
/// one backward. Keeps z and the modes of a.
Tensor fourier_layer(const Tensor& z, const Tensor& spectral, const Tensor& weight, const Tensor& bias,
                     bool activate, const SharedSpectrum& spectrum);
Tensor fourier_layer_composed(const Tensor& z, const Tensor& spectral, const Tensor& weight,
                              const Tensor& bias, bool activate, const SharedSpectrum& spectrum);

/// The two pointwise layers at the end: weight2 gelu(weight1 gelu(z) + bias1) + bias2. The hidden layer,
/// which is the widest, exists for a few hundred points at a time and is recomputed in the backward pass.
/// Keeps z.
Tensor projection_head(const Tensor& z, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                       const Tensor& bias2);
Tensor projection_head_composed(const Tensor& z, const Tensor& weight1, const Tensor& bias1,
                                const Tensor& weight2, const Tensor& bias2);

}  // namespace rankine
