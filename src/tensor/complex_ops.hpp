// Ops between real and complex tensors, and the Fourier transform. Gradients: see grad() in tape.hpp.
#pragma once

#include "src/tensor/ops.hpp"

namespace rankine {

/// re + i im; same shape, f32 or f64.
Tensor complex_of(const Tensor& re, const Tensor& im);
Tensor real_part(const Tensor& x);
Tensor imaginary_part(const Tensor& x);
/// exp(x) of a complex tensor.
Tensor complex_exp(const Tensor& x);

/// Complex x along `axis`: y[k] = sum_j x[j] exp(-2 pi i j k / n).
Tensor fft(const Tensor& x, int axis = -1);
/// y[j] = 1/n sum_k x[k] exp(2 pi i j k / n).
Tensor inverse_fft(const Tensor& x, int axis = -1);

}  // namespace rankine
