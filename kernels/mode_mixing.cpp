#include "kernels/mode_mixing.hpp"

#include <algorithm>

namespace rankine::kernels {
namespace {

// y += a x, or y += conj(a) x, along k; `first` overwrites.
template <bool kConjugate, class T>
inline void accumulate(std::int64_t modes, bool first, const T* __restrict a, const T* __restrict x,
                       T* __restrict y) {
  const T* ai = a + modes;
  const T* xi = x + modes;
  T* yi = y + modes;
  if (first) {
    for (std::int64_t k = 0; k < modes; ++k) {
      const T s = kConjugate ? -ai[k] : ai[k];
      y[k] = a[k] * x[k] - s * xi[k];
      yi[k] = a[k] * xi[k] + s * x[k];
    }
  } else {
    for (std::int64_t k = 0; k < modes; ++k) {
      const T s = kConjugate ? -ai[k] : ai[k];
      y[k] += a[k] * x[k] - s * xi[k];
      yi[k] += a[k] * xi[k] + s * x[k];
    }
  }
}

}  // namespace

template <class T>
void mix_modes(const ModeMixing& shape, const T* w, const T* x, T* y) {
  const std::int64_t row = 2 * shape.modes;
  if (shape.in == 0) std::fill_n(y, shape.batch * shape.out * row, T(0));
  for (std::int64_t o = 0; o < shape.out; ++o)
    for (std::int64_t i = 0; i < shape.in; ++i)
      for (std::int64_t b = 0; b < shape.batch; ++b)
        accumulate<false>(shape.modes, i == 0, w + (i * shape.out + o) * row, x + (b * shape.in + i) * row,
                          y + (b * shape.out + o) * row);
}

template <class T>
void mix_modes_backward_input(const ModeMixing& shape, const T* w, const T* dy, T* dx) {
  const std::int64_t row = 2 * shape.modes;
  if (shape.out == 0) std::fill_n(dx, shape.batch * shape.in * row, T(0));
  for (std::int64_t i = 0; i < shape.in; ++i)
    for (std::int64_t o = 0; o < shape.out; ++o)
      for (std::int64_t b = 0; b < shape.batch; ++b)
        accumulate<true>(shape.modes, o == 0, w + (i * shape.out + o) * row, dy + (b * shape.out + o) * row,
                         dx + (b * shape.in + i) * row);
}

template <class T>
void mix_modes_backward_weight(const ModeMixing& shape, const T* x, const T* dy, T* dw) {
  const std::int64_t row = 2 * shape.modes;
  if (shape.batch == 0) std::fill_n(dw, shape.in * shape.out * row, T(0));
  for (std::int64_t i = 0; i < shape.in; ++i)
    for (std::int64_t o = 0; o < shape.out; ++o)
      for (std::int64_t b = 0; b < shape.batch; ++b)
        accumulate<true>(shape.modes, b == 0, x + (b * shape.in + i) * row, dy + (b * shape.out + o) * row,
                         dw + (i * shape.out + o) * row);
}

template void mix_modes(const ModeMixing&, const float*, const float*, float*);
template void mix_modes(const ModeMixing&, const double*, const double*, double*);
template void mix_modes_backward_input(const ModeMixing&, const float*, const float*, float*);
template void mix_modes_backward_input(const ModeMixing&, const double*, const double*, double*);
template void mix_modes_backward_weight(const ModeMixing&, const float*, const float*, float*);
template void mix_modes_backward_weight(const ModeMixing&, const double*, const double*, double*);

}  // namespace rankine::kernels
