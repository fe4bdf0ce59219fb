// Elements of tensors for assertions, wherever the tensor's memory is.
#pragma once

#include <vector>

#include "src/tensor/tensor.hpp"

namespace rankine {

/// host_read<T>(x)[i], for the length of the expression.
template <class T>
HostRead<T> host_read(const Tensor& x) {
  return HostRead<T>(x);
}
/// host_update<T>(x)[i] = value.
template <class T>
HostUpdate<T> host_update(const Tensor& x) {
  return HostUpdate<T>(x);
}
/// All elements of a contiguous tensor.
template <class T>
std::vector<T> host_values(const Tensor& x) {
  std::vector<T> values(static_cast<std::size_t>(x.count()));
  copy_to_host(values.data(), x.data<T>(), x.count());
  return values;
}

}  // namespace rankine
