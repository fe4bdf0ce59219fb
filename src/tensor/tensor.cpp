#include "src/tensor/tensor.hpp"

#include <cstring>

#include "kernels/indexing.hpp"
#include "src/tensor/strided.hpp"

namespace rankine {

const char* name_of(DType type) {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::c64:
      return "c64";
    case DType::c128:
      return "c128";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::i8:
      return "i8";
    case DType::u8:
      return "u8";
    case DType::boolean:
      return "bool";
  }
  return "?";
}

Shape::Shape(std::initializer_list<std::int64_t> extents) {
  for (const std::int64_t extent : extents) push_back(extent);
}

Shape::Shape(const std::vector<std::int64_t>& extents) {
  for (const std::int64_t extent : extents) push_back(extent);
}

std::int64_t Shape::count() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : *this) product *= extent;
  return product;
}

void Shape::push_back(std::int64_t extent) { insert(rank_, extent); }

void Shape::erase(int axis) {
  for (int i = axis; i + 1 < rank_; ++i) (*this)[i] = (*this)[i + 1];
  --rank_;
}

void Shape::insert(int axis, std::int64_t extent) {
  RANKINE_ASSERT(rank_ < kMaxRank, "a tensor has at most 8 axes");
  for (int i = rank_; i > axis; --i) (*this)[i] = (*this)[i - 1];
  (*this)[axis] = extent;
  ++rank_;
}

std::string Shape::text() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
  return text + "]";
}

Shape row_major_strides(const Shape& shape) {
  Shape strides = shape;
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

int normal_axis(int axis, int rank, const char* what) {
  const int normal = axis < 0 ? axis + rank : axis;
  if (normal < 0 || normal >= rank)
    throw InputError(std::string(what) + ": no axis " + std::to_string(axis) + " in a tensor of rank " +
                     std::to_string(rank));
  return normal;
}

Tensor Tensor::empty(const Shape& shape, DType type) {
  Tensor out;
  out.storage_ = std::make_shared<Storage>(static_cast<std::size_t>(shape.count()) * size_of(type));
  out.shape_ = shape;
  out.strides_ = row_major_strides(shape);
  out.dtype_ = type;
  return out;
}

Tensor Tensor::zeros(const Shape& shape, DType type) { return full(shape, type, 0); }

Tensor Tensor::full(const Shape& shape, DType type, double value) {
  Tensor out = empty(shape, type);
  dispatch_any(type, [&](auto zero) {
    using T = decltype(zero);
    const T filler = static_cast<T>(value);
    kernels::fill(sizeof(T), out.count(), &filler, out.address());
  });
  return out;
}

Tensor Tensor::from_bytes(std::span<const std::byte> bytes, const Shape& shape, DType type) {
  Tensor out = empty(shape, type);
  out.assign_bytes(bytes);
  return out;
}

std::int64_t Tensor::extent(int axis) const { return shape_[normal_axis(axis, rank(), "extent")]; }

std::int64_t Tensor::reach() const {
  if (count() == 0) return 0;
  std::int64_t last = 0;
  for (int i = 0; i < rank(); ++i) last += (shape_[i] - 1) * strides_[i];
  return last + 1;
}

bool Tensor::contiguous() const {
  std::int64_t step = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != step) return false;
    step *= shape_[i];
  }
  return true;
}

DevicePtr<std::byte> Tensor::address() const {
  RANKINE_ASSERT(defined(), "undefined tensor");
  return storage_->data() + offset_ * static_cast<std::int64_t>(size_of(dtype_));
}

std::vector<std::byte> Tensor::to_bytes() const {
  const Tensor dense = contiguous() ? *this : clone();
  std::vector<std::byte> out(static_cast<std::size_t>(count()) * size_of(dtype_));
  copy_bytes_to_host(out.data(), dense.address(), out.size());
  return out;
}

std::optional<std::span<const std::byte>> Tensor::bytes_in_place() const {
  if (separate_memory() || !contiguous()) return std::nullopt;
  return std::span<const std::byte>(address().opaque(), static_cast<std::size_t>(count()) * size_of(dtype_));
}

void Tensor::assign_bytes(std::span<const std::byte> bytes) const {
  RANKINE_ASSERT(bytes.size() == static_cast<std::size_t>(count()) * size_of(dtype_),
                 std::to_string(bytes.size()) + " bytes for " + name_of(dtype_) + " " + shape_.text());
  if (contiguous())
    copy_bytes_to_device(address(), bytes.data(), bytes.size());
  else
    assign(from_bytes(bytes, shape_, dtype_));
}

double Tensor::item() const {
  RANKINE_ASSERT(defined() && count() == 1, "item() of a tensor of shape " + shape_.text());
  return to_vector()[0];
}

std::vector<double> Tensor::to_vector() const {
  std::vector<double> out(static_cast<std::size_t>(count()));
  const std::vector<std::byte> bytes = to_bytes();
  dispatch_any(dtype_, [&](auto zero) {
    using T = decltype(zero);
    for (std::size_t i = 0; i < out.size(); ++i) {
      T value;
      std::memcpy(static_cast<void*>(&value), bytes.data() + i * sizeof(T), sizeof(T));
      if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
        out[i] = value.real();
      } else {
        out[i] = static_cast<double>(value);
      }
    }
  });
  return out;
}

Tensor Tensor::view(const Shape& shape, const Shape& strides, std::int64_t offset) const {
  Tensor out = detach();
  out.shape_ = shape;
  out.strides_ = strides;
  out.offset_ += offset;
  return out;
}

Tensor Tensor::clone() const {
  Tensor out = empty(shape_, dtype_);
  out.assign(*this);
  return out;
}

void Tensor::assign(const Tensor& from) const {
  RANKINE_ASSERT(from.shape_ == shape_ && from.dtype_ == dtype_, "assign " + from.shape_.text() + " " +
                                                                     name_of(from.dtype_) + " to " +
                                                                     shape_.text() + " " + name_of(dtype_));
  if (count() == 0) return;
  if (address() == from.address() && strides_ == from.strides_) return;
  kernels::copy(size_of(dtype_), strided<2>(shape_, {strides_, from.strides_}), from.address(), address());
}

Tensor Tensor::detach() const {
  Tensor out = *this;
  out.node_.reset();
  out.node_output_ = 0;
  return out;
}

Tensor Tensor::with_node(std::shared_ptr<Node> node, int output) const {
  Tensor out = *this;
  out.node_ = std::move(node);
  out.node_output_ = output;
  return out;
}

}  // namespace rankine
