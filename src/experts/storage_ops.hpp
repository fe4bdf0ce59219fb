// The operations on the tape from a network's fields to a solution of the storage form and its losses. All
// tensors are f64; `u` is [local sample][frame][cell * unknowns + unknown] without the initial frame, `whole`
// the fields as the network gave them, [local sample][frame][cell][unknown * basis + b]. Every operation is
// collective, shares its batch with the tape, and has first derivatives only.
#pragma once

#include "src/experts/device_experts.hpp"
#include "src/experts/storage_batch.hpp"

namespace rankine {

using SharedBatch = std::shared_ptr<StorageBatch>;

/// u by the experts' nonlinear least squares on the residual: all problems at once by `device`, or sample by
/// sample on the host where that is null.
Tensor constrained_solution(const SharedBatch& batch, const Tensor& whole,
                            const std::shared_ptr<const DeviceExperts>& device);

/// u by the experts' linear fits of one shared target, the corrected prediction, which stays in the batch.
Tensor fitted_solution(const SharedBatch& batch, const Tensor& whole);

/// u after `options.steps` corrections, trained through.
Tensor corrected_solution(const SharedBatch& batch, const Tensor& u, const CorrectionOptions& options);

/// |Q r(u)| of each local sample; by `device`, or sample by sample on the host where that is null.
Tensor residual_norms(const SharedBatch& batch, const Tensor& u, const DeviceResidual* device);

/// weight sqrt(mean(((H u - d) / sigma)^2)) of each local sample, 0 of those without observations.
Tensor observation_misfits(const SharedBatch& batch, const Tensor& u);

/// (|u - u_hat| + |b_0 - u_hat|) / |u_0| of each local sample, without b_0 for a soft constraint. u_hat is
/// the batch's target, |u_0| the norm of the initial state in all frames, or of the target where that is
/// larger.
Tensor target_distances(const SharedBatch& batch, const Tensor& u, const Tensor& whole);

}  // namespace rankine
