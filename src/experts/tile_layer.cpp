#include "src/experts/tile_layer.hpp"

#include "src/experts/sample_fields.hpp"
#include "src/experts/tile_correction.hpp"
#include "src/experts/tile_distance.hpp"
#include "src/experts/tile_fit.hpp"

namespace rankine {
namespace {

class TileLayer final : public ConstraintLayer {
 public:
  TileLayer(const FormulationOptions& options, const StorageModel& model, const Communicator& communicator,
            const TilePartition& tiles, std::vector<int> learned)
      : options_(options),
        model_(model),
        transpose_(communicator, tiles),
        tiles_(distributed_tile_sum(TileTree(communicator, tiles))),
        correction_(make_tile_correction(options, model, communicator, tiles, std::move(learned))) {
    if (!options.local() && !options.soft())
      fit_ = std::make_unique<const TileFit>(tiles, options.experts, tiles_, options.target_ridge);
  }

  int network_frames() const override { return model_.frames(); }
  int outputs() const override { return model_.unknowns() * options_.fields(); }
  int solves() const override { return options_.march.method == "distributed" ? 1 : 0; }

  TapeLoss loss(const Tensor& fields, const PdeBatch& batch) override {
    const Prediction p = prediction(fields, batch);
    const int frames = model_.frames();
    Tensor total = target_distance(p.v, p.target, batch, frames, tiles_);
    if (fit_) total = add(total, target_distance(p.u, p.target, batch, frames, tiles_));
    TapeLoss loss;
    loss.value = LossValue(total.detach(), 1);
    loss.outputs = {total};
    loss.seeds = {Tensor::scalar(1.0)};
    return loss;
  }

  std::vector<double> predict(const Tensor& fields, const PdeBatch& batch) override {
    const NoGrad no_grad;
    const Prediction p = prediction(fields, batch);
    const Tensor u = tiles_to_samples(options_.soft() ? p.v : fit_ ? p.u : p.target, transpose_);
    const std::vector<double> later = u.to_vector();
    const long width = model_.width(), points = model_.points();
    const std::int64_t first = transpose_.samples(batch.size()).begin(transpose_.communicator().rank());
    std::vector<double> out;
    for (std::int64_t s = 0; s < u.extent(0); ++s) {
      const auto initial = batch.initial.begin() + (first + s) * width;
      out.insert(out.end(), initial, initial + width);
      out.insert(out.end(), later.begin() + s * points, later.begin() + (s + 1) * points);
    }
    return out;
  }

  std::optional<BadSolve> bad_solve(const PdeBatch&) const override {
    if (correction_->failed() < 0) return std::nullopt;
    return BadSolve{correction_->failed(), -1, ""};
  }

  /// Iterations of the march's solves, a mean over frames and samples; one that does not converge is an error.
  BatchStatistics statistics() const override {
    if (solves() == 0) return {};
    ExpertStatistics out;
    const std::vector<MarchReport> reports = correction_->reports();
    for (const MarchReport& report : reports) {
      out.iterations += report.mean() / static_cast<double>(reports.size());
      out.status_count[static_cast<size_t>(SolveStatus::converged)] += 1;
    }
    return {out};
  }

 private:
  /// [tile][sample][unknown][point]: the network's first field, what it is drawn to, and the experts' fit of
  /// that.
  struct Prediction {
    Tensor v, target, u;
  };
  Tensor corrected(const Tensor& v, const PdeBatch& batch) const { return correction_->corrected(v, batch); }
  Prediction prediction(const Tensor& fields, const PdeBatch& batch) const {
    Prediction out;
    const Tensor all = cast(fields, DType::f64);
    out.v = fit_ ? slice(all, 2, 0, all.extent(2), options_.basis) : all;
    if (options_.correct.train)
      for (int step = 0; step < options_.correct.steps; ++step) out.v = corrected(out.v, batch);
    // The corrected field is what v is drawn to; no gradient flows into it.
    Tensor state = out.v.detach();
    for (int fit = 0; fit < (fit_ ? options_.target_fits : 1); ++fit) {
      out.target = corrected(state, batch).detach();
      if (!fit_) continue;
      out.u = fit_->fitted(all, out.target);
      state = out.u.detach();
    }
    return out;
  }

  FormulationOptions options_;
  const StorageModel& model_;
  SampleTranspose transpose_;
  SharedTileSum tiles_;
  std::unique_ptr<const TileCorrection> correction_;
  std::unique_ptr<const TileFit> fit_;
};

}  // namespace

std::unique_ptr<ConstraintLayer> make_tile_layer(const FormulationOptions& options, const StorageModel& model,
                                                 const Communicator& communicator, const TilePartition& tiles,
                                                 std::vector<int> learned) {
  return std::make_unique<TileLayer>(options, model, communicator, tiles, std::move(learned));
}

}  // namespace rankine
