// |Q r(u)| of many samples at once, in device memory: for PDEs of one unknown with a linear flux and a
// storage that the device knows, and Q by the tridiagonal factors of the frozen march. All other problems are
// solved sample by sample on the host (StorageProblem::residual_norm), with the same bits.
#pragma once

#include "kernels/linear_scheme.hpp"
#include "kernels/tridiagonal_march.hpp"
#include "src/experts/storage_problem.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

class DeviceResidual {
 public:
  static bool fits(const StorageProblem& problem, Weighting weighting);
  /// Of the scheme and the march of `problem`, which fits.
  DeviceResidual(const StorageProblem& problem, Weighting weighting);
  /// Whether `problem` has the same scheme, and with the frozen march then the same Q.
  bool is_of(const StorageProblem& problem) const { return problem.shared_scheme() == scheme_; }

  const ConservativeScheme& scheme() const { return *scheme_; }
  const kernels::LinearScheme& linear() const { return linear_; }
  /// Q and its transpose; none where Q is the identity.
  bool weighs() const { return !march_.empty(); }
  const kernels::TridiagonalMarchOnDevice& march(bool transposed) const { return march_[transposed].march; }

  struct Norms {
    Tensor values;    ///< [sample]
    Tensor gradient;  ///< by u, [sample][frame][cell]; only where it was asked for
  };
  /// `initial` [sample][1][cell] and `u` [sample][frame][cell], f64, off the tape.
  Norms norms(const Tensor& initial, const Tensor& u, bool gradient) const;

 private:
  struct Direction {
    Tensor down, inverse_diagonal, up, lower, diagonal, upper;
    kernels::TridiagonalMarchOnDevice march;
  };

  std::shared_ptr<const ConservativeScheme> scheme_;
  Tensor stencil_, constant_, now_, before_, factor_of_frame_, history_of_frame_;
  kernels::LinearScheme linear_;
  std::vector<Direction> march_;  // forward and transposed; empty for the identity
};

}  // namespace rankine
