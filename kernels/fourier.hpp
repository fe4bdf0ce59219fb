// The parts of the Fourier network at the points of the tiles: linear maps of the channels and what lies
// around them. One call does all local tiles and samples. No Kokkos here.
//
// Arrays are [tiles][batch][channels][points]. A parameter of tile l begins l steps behind its first one; the
// step is 0 where tiles share it. Gradients of parameters come as parts, one for each tile and sample, which
// sum_parts() of kernels/product.hpp adds up: so their order of sums is one on any number of ranks.
#pragma once

#include <cstdint>

#include "kernels/dft.hpp"
#include "kernels/mode_mixing.hpp"

namespace rankine::kernels {

/// y = gelu(x), n elements.
template <class T>
void gelu(std::int64_t n, DevicePtr<const T> x, DevicePtr<T> y);

/// Channel mixing (kernels/mode_mixing.hpp). All results are overwritten.
template <class T>
void mix_modes(const ModeMixing& shape, DevicePtr<const T> w, DevicePtr<const T> x, DevicePtr<T> y);
template <class T>
void mix_modes_backward_input(const ModeMixing& shape, DevicePtr<const T> w, DevicePtr<const T> dy,
                              DevicePtr<T> dx);
template <class T>
void mix_modes_backward_weight(const ModeMixing& shape, DevicePtr<const T> x, DevicePtr<const T> dy,
                               DevicePtr<T> dw);

/// y[o,p] = sum_c weight[o,c] x[c,p] + bias[o]: a linear map of the channels at each point.
struct PointwiseShape {
  std::int64_t tiles, batch, in, out, points;
};
/// What a tile has of a parameter: it begins `step` elements behind that of the tile before.
template <class T>
struct TileValues {
  DevicePtr<const T> values;
  std::int64_t step;
};

template <class T>
void pointwise_forward(const PointwiseShape& shape, DevicePtr<const T> x, const TileValues<T>& weight,
                       const TileValues<T>& bias, DevicePtr<T> y);

/// The adjoint of y = weight a + bias + synthesise(waves), a = gelu(z) or z.
template <class T>
struct PointwiseBackward {
  PointwiseShape shape;
  bool activate;                          ///< a = gelu(z)
  DevicePtr<const T> z, dy;               // [tiles][batch][in or out][points]
  TileValues<T> weight;                   // [out][in]
  DevicePtr<const T> waves;               // [batch][in][rows][columns], what is added to da; or null
  DevicePtr<T> dz;                        // or null: not wanted
  DevicePtr<T> weight_parts, bias_parts;  // [tiles][batch][out][in], [tiles][batch][out]
};
/// Elements of `work` that it needs. `transform` is not read where waves is null.
template <class T>
std::int64_t pointwise_backward_work(const PointwiseBackward<T>& b, const TileWaves<T>& transform);
template <class T>
void pointwise_backward(const PointwiseBackward<T>& b, const TileWaves<T>& transform, DevicePtr<T> work);

/// The head: y = weight2 gelu(weight1 gelu(z) + bias1) + bias2.
template <class T>
struct Head {
  std::int64_t tiles, batch, in, hidden, out, points;
  DevicePtr<const T> z;
  TileValues<T> weight1, bias1, weight2, bias2;  // [hidden][in], [hidden], [out][hidden], [out]
};
template <class T>
std::int64_t head_forward_work(const Head<T>& head);
template <class T>
void head_forward(const Head<T>& head, DevicePtr<T> y, DevicePtr<T> work);

template <class T>
struct HeadBackward {
  Head<T> head;  // without bias2
  DevicePtr<const T> dy;
  DevicePtr<T> dz;  // or null: not wanted
  DevicePtr<T> weight1_parts, bias1_parts, weight2_parts, bias2_parts;
};
template <class T>
std::int64_t head_backward_work(const HeadBackward<T>& b);
template <class T>
void head_backward(const HeadBackward<T>& b, DevicePtr<T> work);

// What a device does, and what the tests hold the host's own loops against. Mixing goes a mode at a time
// there. The last three the host does a tile and sample at a time, so that what belongs together stays in its
// caches, and a device one product or map after the other.
template <class T>
void mix_modes_portable(const ModeMixing& shape, DevicePtr<const T> w, DevicePtr<const T> x, DevicePtr<T> y);
template <class T>
void mix_modes_backward_input_portable(const ModeMixing& shape, DevicePtr<const T> w, DevicePtr<const T> dy,
                                       DevicePtr<T> dx);
template <class T>
void mix_modes_backward_weight_portable(const ModeMixing& shape, DevicePtr<const T> x, DevicePtr<const T> dy,
                                        DevicePtr<T> dw);
template <class T>
std::int64_t pointwise_backward_portable_work(const PointwiseBackward<T>& b, const TileWaves<T>& transform);
template <class T>
void pointwise_backward_portable(const PointwiseBackward<T>& b, const TileWaves<T>& transform,
                                 DevicePtr<T> work);
template <class T>
std::int64_t head_forward_portable_work(const Head<T>& head);
template <class T>
void head_forward_portable(const Head<T>& head, DevicePtr<T> y, DevicePtr<T> work);
template <class T>
std::int64_t head_backward_portable_work(const HeadBackward<T>& b);
template <class T>
void head_backward_portable(const HeadBackward<T>& b, DevicePtr<T> work);

}  // namespace rankine::kernels
