// What ops need around their kernels.
#pragma once

#include <string>

#include "src/tensor/ops.hpp"

namespace rankine {

/// x off the tape, row-major.
inline Tensor dense(const Tensor& x) { return x.contiguous() ? x.detach() : x.clone(); }

/// x [L, ...] off the tape, each of its L slices row-major: parameters, which are repeated along L, are not
/// copied. An undefined tensor stays one.
inline Tensor dense_slices(const Tensor& x) {
  if (!x.defined()) return x;
  std::int64_t step = 1;
  for (int i = x.rank() - 1; i > 0; --i) {
    if (x.shape()[i] != 1 && x.strides()[i] != step) return x.clone();
    step *= x.shape()[i];
  }
  return x.detach();
}

/// Elements from a slice of what dense_slices() gave to the next one: 0 where all are the same.
inline std::int64_t slice_step(const Tensor& x) { return x.defined() ? x.strides()[0] : 0; }

/// Null of an undefined tensor.
template <class T>
DevicePtr<T> device_or_null(const Tensor& x) {
  return x.defined() ? x.data<T>() : DevicePtr<T>();
}

inline double bytes_of(const Tensor& x) {
  return static_cast<double>(x.count()) * static_cast<double>(size_of(x.dtype()));
}

/// Product of the extents begin .. end - 1 (negative: from the end; 0 as end: all).
inline std::int64_t extents(const Shape& shape, int begin, int end = 0) {
  if (begin < 0) begin += shape.rank();
  if (end <= 0) end += shape.rank();
  std::int64_t product = 1;
  for (int i = begin; i < end; ++i) product *= shape[i];
  return product;
}

}  // namespace rankine
