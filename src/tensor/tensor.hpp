// The tensor handle: dtype, shape and strides at run time, a shared block of memory, and a place on the tape.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/host_access.hpp"
#include "src/tensor/dtype.hpp"
#include "src/tensor/storage.hpp"

namespace rankine {

class Node;

inline constexpr int kMaxRank = 8;

/// Up to eight extents (or strides).
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(const std::vector<std::int64_t>& extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t& operator[](int axis) { return extents_[static_cast<std::size_t>(axis)]; }
  const std::int64_t* begin() const { return extents_.data(); }
  const std::int64_t* end() const { return extents_.data() + rank_; }
  /// The product of the extents: 1 for a scalar.
  std::int64_t count() const;
  /// Throws beyond rank 8.
  void push_back(std::int64_t extent);
  void erase(int axis);
  void insert(int axis, std::int64_t extent);
  std::string text() const;
  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

/// Strides of a row-major array.
Shape row_major_strides(const Shape& shape);

/// A handle: copies share memory. Ops (src/tensor/ops.hpp) never change their inputs; who writes through
/// data() sees to it that no tape still needs the old values.
class Tensor {
 public:
  /// Undefined; as a cotangent it stands for zero.
  Tensor() = default;
  static Tensor empty(const Shape& shape, DType type);
  static Tensor zeros(const Shape& shape, DType type);
  static Tensor full(const Shape& shape, DType type, double value);
  /// A scalar.
  static Tensor scalar(double value, DType type = DType::f64) { return full({}, type, value); }
  /// Copies `values` (row-major); their number must be shape.count().
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape);
  /// Copies elements in row-major order from host memory, as to_bytes() gives them.
  static Tensor from_bytes(std::span<const std::byte> bytes, const Shape& shape, DType type);

  bool defined() const { return storage_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  std::int64_t count() const { return shape_.count(); }
  /// The extent along `axis`; negative axes count from the end.
  std::int64_t extent(int axis) const;
  bool contiguous() const;
  /// Elements from the first one to the last one of this view, those between that it passes over included.
  std::int64_t reach() const;
  /// The address of the first element in device memory; throws if T is not the dtype.
  template <class T>
  DevicePtr<T> data() const;
  /// The same, of whatever type it is.
  DevicePtr<std::byte> address() const;
  /// The one element, as a double (the real part of a complex one). Throws if there are more.
  double item() const;
  /// Real elements in row-major order as double.
  std::vector<double> to_vector() const;
  /// The elements in row-major order as they lie in memory.
  std::vector<std::byte> to_bytes() const;
  /// The same without a copy, where host and device share memory and the tensor is contiguous.
  std::optional<std::span<const std::byte>> bytes_in_place() const;
  /// Sets the elements, row-major, as to_bytes() gives them, off the tape.
  void assign_bytes(std::span<const std::byte> bytes) const;
  /// A view with other shape, strides and offset in elements; off the tape.
  Tensor view(const Shape& shape, const Shape& strides, std::int64_t offset = 0) const;
  /// A copy of the elements in row-major order, off the tape.
  Tensor clone() const;
  /// Copies the elements of `from` (same shape and dtype) into this memory, off the tape.
  void assign(const Tensor& from) const;
  bool shares_memory_with(const Tensor& other) const { return storage_ && storage_ == other.storage_; }

  // The tape.
  /// Whether gradients flow to this tensor.
  bool on_tape() const { return node_ != nullptr; }
  /// The same elements, unknown to the tape.
  Tensor detach() const;
  const std::shared_ptr<Node>& node() const { return node_; }
  int node_output() const { return node_output_; }
  /// The same elements as output `output` of `node`.
  Tensor with_node(std::shared_ptr<Node> node, int output) const;

 private:
  std::shared_ptr<Storage> storage_;
  std::int64_t offset_ = 0;
  Shape shape_, strides_;
  std::shared_ptr<Node> node_;
  int node_output_ = 0;
  DType dtype_ = DType::f64;
};

/// An axis counted from the front; negative ones count from the end. Throws where there is no such axis.
int normal_axis(int axis, int rank, const char* what);

template <class T>
DevicePtr<T> Tensor::data() const {
  RANKINE_ASSERT(defined(), "undefined tensor");
  RANKINE_ASSERT(dtype_of<T> == dtype_ || (sizeof(T) == 1 && size_of(dtype_) == 1),
                 std::string("tensor holds ") + name_of(dtype_));
  return storage_->data().as<T>() + offset_;
}

template <class T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape) {
  RANKINE_ASSERT(static_cast<std::int64_t>(values.size()) == shape.count(),
                 std::to_string(values.size()) + " values for shape " + shape.text());
  Tensor out = empty(shape, dtype_of<T>);
  if constexpr (std::is_same_v<T, bool>) {
    const HostWrite<T> to(out);
    for (std::size_t i = 0; i < values.size(); ++i) to[i] = values[i];
  } else {
    copy_to_device(out.template data<T>(), values.data(), out.count());
  }
  return out;
}

}  // namespace rankine
