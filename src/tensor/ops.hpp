// The elementary ops, each recorded on the tape with a vjp made of ops. Binary ops broadcast as NumPy does.
// Where nothing is said, floating types real and complex are accepted and both operands have one dtype.
#pragma once

#include <vector>

#include "src/tensor/tape.hpp"

namespace rankine {

// Pointwise.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor neg(const Tensor& x);
Tensor scale(const Tensor& x, double factor);
Tensor add_scalar(const Tensor& x, double term);
Tensor square(const Tensor& x);
Tensor conj(const Tensor& x);  ///< the same for real types
Tensor exp(const Tensor& x);   ///< real
Tensor log(const Tensor& x);   ///< real
Tensor sqrt(const Tensor& x);  ///< real
Tensor tanh(const Tensor& x);  ///< real
/// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), real.
Tensor gelu(const Tensor& x);
/// The same elements under a new identity on the tape.
Tensor identity(const Tensor& x);
/// a where `condition` (bool, same shape), else b.
Tensor select(const Tensor& condition, const Tensor& a, const Tensor& b);
/// Converts between f32 and f64, c64 and c128 (with gradient), and between all real types (without).
Tensor cast(const Tensor& x, DType type);

// Reductions: the order of the sum depends on the shape only, never on ranks or threads.
/// Over `axes` (all, if empty); the axes stay with extent 1 if `keep`.
Tensor sum(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false);
Tensor mean(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false);

// Shape. reshape, permute, slice and expand share memory where strides allow it.
Tensor reshape(const Tensor& x, const Shape& shape);  ///< one extent may be -1
Tensor permute(const Tensor& x, const std::vector<int>& axes);
Tensor transpose(const Tensor& x, int a, int b);
/// Elements begin, begin + step, ... < end along `axis`; adjoint: place().
Tensor slice(const Tensor& x, int axis, std::int64_t begin, std::int64_t end, std::int64_t step = 1);
/// Zeros of extent `extent` along `axis`, with x at begin, begin + step, ...; adjoint: slice().
Tensor place(const Tensor& x, int axis, std::int64_t extent, std::int64_t begin, std::int64_t step = 1);
Tensor concat(const std::vector<Tensor>& parts, int axis);
/// Repeats axes of extent 1 (and new leading axes) with stride 0; adjoint: sum_to().
Tensor expand(const Tensor& x, const Shape& shape);
/// Sums over what expand() to x's shape would repeat; adjoint: expand().
Tensor sum_to(const Tensor& x, const Shape& shape);
/// Row-major copy, or x itself if it is already.
Tensor contiguous(const Tensor& x);
/// Rows `index` (i64, rank 1) along `axis`; adjoint: scatter_add().
Tensor gather(const Tensor& x, int axis, const Tensor& index);
/// Zeros of extent `extent` along `axis`, to whose rows `index` those of x are added in order; adjoint:
/// gather().
Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, std::int64_t extent);

/// Matrix product of the last two axes; leading axes broadcast. Transposed views are not copied.
Tensor matmul(const Tensor& a, const Tensor& b);
/// Sum of a * conj(b) over all elements: the inner product.
Tensor dot(const Tensor& a, const Tensor& b);

}  // namespace rankine
