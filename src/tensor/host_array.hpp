// Elements that host code writes one by one, and which then go to device memory in one copy.
#pragma once

#include <algorithm>
#include <memory>

#include "src/tensor/tensor.hpp"

namespace rankine {

/// [shape], row-major; not initialised.
template <class T>
class HostArray {
 public:
  explicit HostArray(const Shape& shape)
      : shape_(shape),
        values_(std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(shape.count()))) {}
  T* data() { return values_.get(); }
  T& operator[](std::int64_t i) { return values_[static_cast<std::size_t>(i)]; }
  void fill(T value) { std::fill_n(values_.get(), shape_.count(), value); }
  /// A tensor with these elements.
  Tensor to_device() const {
    const Tensor out = Tensor::empty(shape_, dtype_of<T>);
    copy_to_device(out.data<T>(), values_.get(), out.count());
    return out;
  }

 private:
  Shape shape_;
  std::unique_ptr<T[]> values_;
};

}  // namespace rankine
