// Hard constraints of all samples and experts of a batch at once, in device memory, where DeviceResidual knows
// the residual: experts without coupling, by Gauss-Newton or Levenberg-Marquardt on normal equations. All
// other problems are solved sample by sample (StorageMixture), with the same bits. What a step launches and
// reads back does not depend on the numbers of samples and experts.
#pragma once

#include <memory>
#include <vector>

#include "kernels/linear_experts.hpp"
#include "src/experts/device_residual.hpp"
#include "src/experts/formulation.hpp"
#include "src/experts/storage_mixture.hpp"

namespace rankine {

/// What all batches of a scheme share.
class DeviceExperts {
 public:
  /// Whether the experts' problems are of the kind above, where the residual is.
  static bool fits(const FormulationOptions& options);
  /// `residual` must weigh as the experts' rows do.
  DeviceExperts(std::shared_ptr<const DeviceResidual> residual, const StorageMixture& mixture,
                SolverOptions options);

  const DeviceResidual& residual() const { return *residual_; }
  const StorageMixture& mixture() const { return mixture_; }
  const SolverOptions& options() const { return options_; }
  /// Everything but fields and problems.
  const kernels::LinearExperts& tables() const { return tables_; }

 private:
  std::shared_ptr<const DeviceResidual> residual_;
  const StorageMixture& mixture_;
  SolverOptions options_;
  Tensor now_rows_, before_rows_, boxes_, owner_;
  kernels::LinearExperts tables_;
};

/// The problems of one batch: [sample][expert], numbered in this order.
class DeviceSolves {
 public:
  /// `fields` [sample][frame][cell][basis] and `initial` [sample][cell], f64, dense, off the tape.
  DeviceSolves(std::shared_ptr<const DeviceExperts> experts, Tensor fields, Tensor initial);

  /// Solves all. False where a number was not finite: then nothing is known, and the samples have to be
  /// solved one by one, which says where it was. `problems`: of the samples.
  bool solve(const std::vector<StorageProblem>& problems);
  /// u [sample][frame][cell].
  Tensor solution();
  /// The gradient of <u_bar, u> by the fields, as StorageMixture::pull_back(). Reports tell how it went.
  Tensor pull_back(const Tensor& u_bar);

  std::vector<SolveReport> reports(std::int64_t sample) const;
  std::vector<double> coefficients(std::int64_t sample) const;

 private:
  using List = std::vector<std::int32_t>;
  /// States, storage slopes and weighed residuals of the problems `list` at w [problem of the list][basis].
  void evaluate(const List& list, const std::vector<double>& w);
  void weigh(const Tensor& residuals, bool transposed) const;
  void make_list(const List& list);
  /// Tables with the fields and the problems of the latest evaluation.
  kernels::LinearExperts experts() const;
  /// [basis + 1][basis + 1] of each problem, linearised at the latest evaluation.
  std::vector<double> systems() const;
  std::vector<double> starts(const std::vector<StorageProblem>& problems);

  std::shared_ptr<const DeviceExperts> experts_;
  Tensor fields_, initial_;
  std::int64_t frames_, cells_;
  int basis_;
  List all_;
  std::vector<double> w_;             // [problem][basis]
  std::vector<SolveReport> reports_;  // [problem]

  List at_list_;  // of the latest evaluation
  std::vector<double> at_w_;
  Tensor samples_, expert_, w_there_, u_, slope_, weighed_;
};

}  // namespace rankine
