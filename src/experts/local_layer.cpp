#include "src/experts/local_layer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/experts/local_experts.hpp"
#include "src/experts/sample_fields.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/tile_ops.hpp"

namespace rankine {
namespace {

class LocalLayer final : public ConstraintLayer {
 public:
  LocalLayer(const FormulationOptions& options, const StorageModel& model, const Communicator& communicator,
             const TilePartition& tiles, std::vector<int> learned)
      : soft_(options.soft()),
        model_(model),
        transpose_(communicator, tiles),
        tiles_(distributed_tile_sum(TileTree(communicator, tiles))),
        experts_(options, model, communicator, tiles, std::move(learned)) {}

  int network_frames() const override { return model_.frames(); }
  int outputs() const override { return model_.unknowns(); }
  int solves() const override { return 0; }

  TapeLoss loss(const Tensor& fields, const PdeBatch& batch) override {
    const Tensor v = cast(fields, DType::f64);
    // The corrected field is what v is drawn to; no gradient flows into it.
    const Tensor target = corrected(v.detach(), batch);
    const Region<"target_distance"> region;
    const Tensor distance = sum_over_tiles(sums_of(square(sub(v, target))), tiles_);
    const Tensor size = Tensor::from(sizes(sum_over_tiles(sums_of(square(target)), tiles_), batch),
                                     {static_cast<std::int64_t>(batch.size())});
    // The smallest number keeps the root's slope finite where v is its own target.
    const Tensor total = mean(
        div(sqrt(add(distance, Tensor::full({1}, DType::f64, std::numeric_limits<double>::min()))), size));
    TapeLoss loss;
    loss.value = LossValue(total.detach(), 1);
    loss.outputs = {total};
    loss.seeds = {Tensor::scalar(1.0)};
    return loss;
  }

  std::vector<double> predict(const Tensor& fields, const PdeBatch& batch) override {
    const NoGrad no_grad;
    const Tensor v = cast(fields, DType::f64);
    const Tensor u = tiles_to_samples(soft_ ? v : corrected(v, batch), transpose_);
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
    if (experts_.failed() < 0) return std::nullopt;
    return BadSolve{experts_.failed(), -1, ""};
  }
  BatchStatistics statistics() const override { return {}; }

 private:
  Tensor corrected(const Tensor& v, const PdeBatch& batch) const { return experts_.corrected(v, batch); }
  /// [tile][sample][unknown][point] to [tile][sample].
  static Tensor sums_of(const Tensor& x) {
    return sum(reshape(x, {x.extent(0), x.extent(1), x.count() / (x.extent(0) * x.extent(1))}), {2});
  }
  /// What distances of samples are measured in: the length of the target, or that of the initial state in all
  /// frames where it is larger.
  std::vector<double> sizes(const Tensor& squares, const PdeBatch& batch) const {
    std::vector<double> out = squares.to_vector();
    const long width = model_.width();
    for (int s = 0; s < batch.size(); ++s) {
      double initial = 0;
      for (long i = 0; i < width; ++i) initial += std::pow(batch.initial[s * width + i], 2) * model_.frames();
      out[s] = std::sqrt(std::max(initial, out[s]));
      if (!(out[s] > 0)) out[s] = 1;
    }
    return out;
  }

  bool soft_;
  const StorageModel& model_;
  SampleTranspose transpose_;
  SharedTileSum tiles_;
  LocalExperts experts_;
};

}  // namespace

std::unique_ptr<ConstraintLayer> make_local_layer(const FormulationOptions& options,
                                                  const StorageModel& model, const Communicator& communicator,
                                                  const TilePartition& tiles, std::vector<int> learned) {
  return std::make_unique<LocalLayer>(options, model, communicator, tiles, std::move(learned));
}

}  // namespace rankine
