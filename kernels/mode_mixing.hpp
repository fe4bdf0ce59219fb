// Channel mixing on the retained modes k; b batch, i/o input/output channel, all complex.
//   forward   y[b,o,k]  = sum_i      w[i,o,k]  x[b,i,k]
//   backward  dx[b,i,k] = sum_o conj(w[i,o,k]) dy[b,o,k],   dw[i,o,k] = sum_b conj(x[b,i,k]) dy[b,o,k]
// The gradient of a real loss is dL/dRe + i dL/dIm, hence the conjugates. Arrays are [..][2][k]: all real
// parts of a channel, then all imaginary parts, so that loops over k vectorise. Each part of a
// result is one chain of multiply_add in the order of the index, for a x:
//   re = multiply_add(re a, re x, re);  re = multiply_add(-im a, im x, re)
//   im = multiply_add(re a, im x, im);  im = multiply_add( im a, re x, im),
// and with the other sign of im a for conj(a) x.
#pragma once

#include <cstdint>

namespace rankine::kernels {

struct ModeMixing {
  std::int64_t batch, in, out, modes;
};

/// On the host, the results of `count` channels from `first` on: of the outputs in mix_modes, else of the
/// inputs. They are overwritten. kernels/fourier.hpp has the same on device memory. T: float or double.
template <class T>
void mix_modes(const ModeMixing& shape, std::int64_t first, std::int64_t count, const T* w, const T* x, T* y);
template <class T>
void mix_modes_backward_input(const ModeMixing& shape, std::int64_t first, std::int64_t count, const T* w,
                              const T* dy, T* dx);
template <class T>
void mix_modes_backward_weight(const ModeMixing& shape, std::int64_t first, std::int64_t count, const T* x,
                               const T* dy, T* dw);

}  // namespace rankine::kernels
