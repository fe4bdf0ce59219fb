#include "src/experts/storage_layer.hpp"

#include "src/experts/sample_fields.hpp"
#include "src/experts/solve_reports.hpp"
#include "src/experts/storage_ops.hpp"
#include "src/tensor/fault_probe.hpp"
#include "src/tensor/op_support.hpp"
#include "src/tensor/tile_ops.hpp"

namespace rankine {
namespace {

class StorageLayer final : public ConstraintLayer {
 public:
  explicit StorageLayer(std::shared_ptr<const StorageSetup> setup)
      : setup_(std::move(setup)), latest_(std::make_shared<StorageBatch>(setup_, PdeBatch{})) {}

  int network_frames() const override { return setup_->model.frames(); }
  int outputs() const override { return setup_->model.unknowns() * options().fields(); }
  int solves() const override {
    const StorageMixture* mixture = setup_->mixture.get();
    return mixture == nullptr ? 0 : options().target() ? mixture->experts() : mixture->solves();
  }

  TapeLoss loss(const Tensor& fields, const PdeBatch& samples) override {
    const FormulationOptions& o = options();
    const auto [whole, u] = solution(fields, samples);
    const SharedBatch& batch = latest_;
    const Tensor norms =
        o.target() ? target_distances(batch, u, whole) : residual_norms(batch, u, device_residual().get());
    const bool observed = o.observations.weight > 0 && !samples.observations.empty();
    Tensor misfits;
    if (observed)
      misfits = observation_misfits(
          batch, o.observations.corrections > 0 ? corrected_solution(batch, u, o.observations.correct()) : u);
    TapeLoss loss;
    std::vector<double> seeds(batch->local());
    for (size_t s = 0; s < seeds.size(); ++s)
      seeds[s] = batch->skipped(static_cast<std::int64_t>(s)) ? 0.0 : 1.0 / samples.size();
    const Tensor seed = Tensor::from(seeds, {batch->local()});
    const Tensor values = mul(observed ? add(norms.detach(), misfits.detach()) : norms.detach(), seed);
    const BlockPartition dealt = setup_->transpose.samples(samples.size());
    loss.value = LossValue(sum_over_tiles(values, distributed_tile_sum({setup_->communicator, dealt})), 1);
    loss.outputs = {norms};
    loss.seeds = {seed};
    if (observed) {
      loss.outputs.push_back(misfits);
      loss.seeds.push_back(seed);
    }
    return loss;
  }

  std::vector<double> predict(const Tensor& fields, const PdeBatch& batch) override {
    const NoGrad no_grad;
    const Tensor u = solution(fields, batch).u;
    const HostRead<double> values(u);
    std::vector<double> out;
    for (std::int64_t s = 0; s < u.extent(0); ++s) {
      const std::vector<double> full = latest_->problems()[s].whole(latest_->field(values, s));
      out.insert(out.end(), full.begin(), full.end());
    }
    return out;
  }

  std::optional<BadSolve> bad_solve(const PdeBatch& batch) const override {
    const long first = setup_->transpose.samples(batch.size()).begin(setup_->communicator.rank());
    if (const auto bad = first_not_finite(latest_->reports, batch, first)) return bad;
    if (latest_->failed() < 0) return std::nullopt;
    return BadSolve{latest_->failed(), -1, ""};
  }

  BatchStatistics statistics() const override {
    if (!setup_->mixture) return {};
    std::vector<PackedReport> local;
    for (size_t s = 0; s < latest_->reports.size(); ++s) {
      const std::span<const double> all = latest_->coefficients[s];
      const size_t columns = all.size() / solves();
      for (int k = 0; k < solves(); ++k)
        local.push_back(pack(latest_->reports[s][k], all.subspan(k * columns, columns)));
    }
    return summarise(setup_->communicator.all_gather_varying(std::span<const PackedReport>(local)), solves());
  }

 private:
  const FormulationOptions& options() const { return setup_->options; }

  /// The network's fields and the solution, as in storage_ops.hpp.
  struct Solution {
    Tensor whole, u;
  };
  Solution solution(const Tensor& fields, const PdeBatch& samples) {
    const FormulationOptions& o = options();
    latest_ = std::make_shared<StorageBatch>(setup_, samples);
    const SharedBatch& batch = latest_;
    Solution out{tiles_to_samples(fields, setup_->transpose), {}};
    batch->make_problems();
    if (!o.soft()) {
      out.u = o.target() ? fitted_solution(batch, out.whole)
                         : constrained_solution(batch, out.whole, device_experts());
    } else {
      out.u = reshape(out.whole, {batch->local(), setup_->model.frames(), setup_->model.width()});
      if (o.target()) {
        const HostRead<double> u(out.u);
        batch->each_sample([&](std::int64_t s) {
          batch->targets.push_back(batch->corrected_target(s, batch->field(u, s)));
        });
      }
    }
    if (o.correct.train && o.correct.steps > 0) out.u = corrected_solution(batch, out.u, o.correct);
    return out;
  }

  /// Of all samples at once, where they share what the device needs to know; nullptr elsewhere. The same
  /// answer on all ranks. A fault is looked for on the host, which says where a term is not finite.
  std::shared_ptr<const DeviceResidual> device_residual() {
    const PdeBatch& batch = latest_->batch();
    if (FaultProbe::active() || !setup_->learned.empty() || batch.size() == 0) return nullptr;
    const size_t count = batch.parameters.size() / batch.size();
    for (size_t i = count; i < batch.parameters.size(); ++i)
      if (batch.parameters[i] != batch.parameters[i - count]) return nullptr;
    const std::vector<StorageProblem>& problems = latest_->problems();
    const StorageProblem problem =
        problems.empty() ? latest_->make_problem({}, -latest_->first()) : problems.front();
    const Weighting weighting = options().loss_weighting();
    if (!DeviceResidual::fits(problem, weighting)) return nullptr;
    if (!device_residual_ || !device_residual_->is_of(problem))
      device_residual_ = std::make_shared<const DeviceResidual>(problem, weighting);
    return device_residual_;
  }
  /// The same for the experts' problems.
  std::shared_ptr<const DeviceExperts> device_experts() {
    if (!DeviceExperts::fits(options())) return nullptr;
    const std::shared_ptr<const DeviceResidual> residual = device_residual();
    if (!residual) return nullptr;
    if (!device_experts_ || &device_experts_->residual() != residual.get())
      device_experts_ = std::make_shared<const DeviceExperts>(residual, *setup_->mixture, options().solver);
    return device_experts_;
  }

  std::shared_ptr<const StorageSetup> setup_;
  SharedBatch latest_;
  std::shared_ptr<const DeviceResidual> device_residual_;
  std::shared_ptr<const DeviceExperts> device_experts_;
};

}  // namespace

std::unique_ptr<ConstraintLayer> make_storage_layer(std::shared_ptr<const StorageSetup> setup) {
  return std::make_unique<StorageLayer>(std::move(setup));
}

}  // namespace rankine
