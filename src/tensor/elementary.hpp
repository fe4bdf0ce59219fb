// Further elementary ops, beside those of ops.hpp.
#pragma once

#include <utility>

#include "src/tensor/ops.hpp"

namespace rankine {

// Pointwise, real.
Tensor abs(const Tensor& x);   ///< derivative 0 at 0
Tensor sign(const Tensor& x);  ///< -1, 0 or 1; derivative 0
/// x^p; x > 0, or p a whole number (p = 0: 1).
Tensor pow(const Tensor& x, double p);
/// The larger of x and `bound`; derivative 1 where x is.
Tensor maximum(const Tensor& x, double bound);
Tensor minimum(const Tensor& x, double bound);
/// The larger of both, which broadcast; the gradient goes to a where a >= b.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);
/// x within [low, high]; derivative 1 there, 0 outside.
Tensor clamp(const Tensor& x, double low, double high);

// Along an axis, real; its extent is at least 1.
/// Indices (i64) of the first largest element; the axis goes.
Tensor argmax(const Tensor& x, int axis);
Tensor argmin(const Tensor& x, int axis);
/// The largest element; the gradient goes to the first that is. The axis stays with extent 1 if `keep`.
Tensor max(const Tensor& x, int axis, bool keep = false);
Tensor min(const Tensor& x, int axis, bool keep = false);
/// Running sum y[i] = x[0] + ... + x[i] (from the end if `reverse`); real or complex.
Tensor cumulative_sum(const Tensor& x, int axis, bool reverse = false);

// Values that the gradient passes by.
/// The elements of `value` (same shape and dtype) with the gradient of x.
Tensor straight_through(const Tensor& x, const Tensor& value);
/// `step` times x/step rounded to the nearest whole number (halves to even) within [low, high]; the
/// derivative is 1 where x/step is within [low - 1/2, high + 1/2], else 0 (Bengio et al., arXiv 1308.3432).
Tensor fake_quantise(const Tensor& x, double step, double low, double high);

}  // namespace rankine
