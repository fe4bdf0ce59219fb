// Parts of a flat tensor, in the form in which kernels take all of them at once.
#pragma once

#include <vector>

#include "kernels/optimise.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

class FlatParts {
 public:
  struct Part {
    std::int64_t begin = 0, end = 0;  ///< elements
    double rate = 1, decay = 0;       ///< a factor on the learning rate, and the weight decay
    friend bool operator==(const Part&, const Part&) = default;
  };
  FlatParts() = default;
  explicit FlatParts(std::vector<Part> parts);

  const std::vector<Part>& parts() const { return parts_; }
  const kernels::PartPieces& pieces() const { return pieces_; }

  /// The sum of the squares, in double, of the parts' elements of `flat`, which is contiguous and real, to
  /// `out` in device memory. The order of the sum depends on the parts only.
  void sum_of_squares(const Tensor& flat, DevicePtr<double> out) const;
  /// The same of each part. Waits for the device.
  std::vector<double> sums_of_squares(const Tensor& flat) const;
  /// How many of them are NaN or infinite.
  void count_not_finite(const Tensor& flat, DevicePtr<double> out) const;

 private:
  std::vector<Part> parts_;
  kernels::PartPieces pieces_;
  Tensor table_, factors_, work_;  // what pieces_ points to, and memory for sums
};

}  // namespace rankine
