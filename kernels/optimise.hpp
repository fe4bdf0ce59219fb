// What a training step does to a flat vector of parameters: sums of squares, checks, clipping, updates. Each
// launch takes all parts of the vector at once. No Kokkos here: src/ includes this.
#pragma once

#include <cstdint>

#include "kernels/device.hpp"

namespace rankine::kernels {

/// Elements of a part that are summed and updated as one piece: part of the order of sums.
inline constexpr std::int64_t kPiece = 1024;
/// Pieces whose sums are added as one group.
inline constexpr std::int64_t kPieceGroup = 256;

/// Parts of a flat vector, cut into pieces of at most kPiece elements, and these into groups of at most
/// kPieceGroup. No piece has elements of two parts, no group pieces of two parts.
struct PartPieces {
  std::int64_t parts = 0, groups = 0, pieces = 0, elements = 0;
  DevicePtr<const std::int64_t> begin, end;  ///< [pieces], elements
  DevicePtr<const double> rate, decay;       ///< [pieces], a factor on the step's rate, and the weight decay
  DevicePtr<const std::int64_t> first;       ///< [groups + 1], pieces
  DevicePtr<const std::int64_t> group;       ///< [parts + 1], groups
};
/// Elements of work memory that sums over the parts need.
std::int64_t sum_workspace(const PartPieces& p);

/// out[0] = the sum of the squares of all parts. Squares are rounded before they are added. T: float, double.
template <class T>
void sum_of_squares(const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work, DevicePtr<double> out);
/// The same for each part: out[parts].
template <class T>
void sums_of_squares(const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                     DevicePtr<double> out);
/// The sum over all parts by the body that devices run.
template <class T>
void sum_of_squares_portable(const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                             DevicePtr<double> out);
/// out[0] = how many elements of all parts are NaN or infinite. T: float, double.
template <class T>
void count_not_finite(const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                      DevicePtr<double> out);

/// Elements of work memory that the two below need.
std::int64_t extreme_workspace(std::int64_t n);
/// out[0] = max |x|, NaN if an element is NaN; 0 of no elements. T: float, double.
template <class T>
void largest_size(std::int64_t n, DevicePtr<const T> x, DevicePtr<double> work, DevicePtr<double> out);
/// out[0] = how many elements are negative, infinite or NaN.
void count_no_square(std::int64_t n, DevicePtr<const double> x, DevicePtr<double> work,
                     DevicePtr<double> out);

/// x[i] *= factor. T: float, double.
template <class T>
void scale_in_place(std::int64_t n, T factor, DevicePtr<T> x);
/// total[i] += x[i]. T: float, double.
template <class T>
void accumulate(std::int64_t n, DevicePtr<const T> x, DevicePtr<T> total);

/// A step of Adam. The moments are kept in double, and count from the start of the vector.
struct AdamStep {
  double beta1, beta2, epsilon;
  double rate;         ///< learning rate over the first moment's correction
  double correction2;  ///< of the second moment
  double pull;         ///< learning rate: a step takes pull * decay * parameter away
};
template <class T>
void adam(const AdamStep& s, const PartPieces& p, DevicePtr<const T> gradient, DevicePtr<double> first,
          DevicePtr<double> second, DevicePtr<T> parameters);

/// A step of gradient descent with momentum.
struct SgdStep {
  double momentum, rate;
  bool nesterov;
};
template <class T>
void sgd(const SgdStep& s, const PartPieces& p, DevicePtr<const T> gradient, DevicePtr<double> velocity,
         DevicePtr<T> parameters);

}  // namespace rankine::kernels
