#include "src/experts/collocated_layer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/core/random.hpp"
#include "src/experts/collocated_problem.hpp"
#include "src/experts/solve_reports.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

class CollocatedLayer final : public ConstraintLayer {
 public:
  CollocatedLayer(const FormulationOptions& options, const StorageModel& model,
                  const Communicator& communicator, const TilePartition& tiles, std::uint64_t seed)
      : o_(options),
        communicator_(communicator),
        tiles_(tiles),
        transpose_(communicator, tiles),
        problem_(std::make_shared<const CollocatedProblem>(
            *model.pde().collocated(), communicator, tiles, model.times(),
            cell_centres(model.pde(), model.cells()),
            TileGrid(tiles.grid().nt(), tiles.grid().nx(), o_.experts[0], o_.experts[1]), outputs(),
            o_.collocation, o_.solver)),
        seed_(seed) {}

  int network_frames() const override { return static_cast<int>(tiles_.grid().nt()); }
  int outputs() const override { return o_.soft() ? 1 : o_.basis; }
  int solves() const override { return o_.soft() ? 0 : problem_->experts(); }

  TapeLoss loss(const Tensor& fields, const PdeBatch& batch) override {
    const Tensor u = solution(fields, batch);
    const Region<"collocated_loss"> region;
    std::vector<double> weight(batch.size(), 1.0);
    if (!o_.soft())
      for (int s = 0; s < batch.size(); ++s)
        weight[s] = skipped(o_.solver, solution_->reports[s]) ? 0.0 : 1.0;
    const bool record = would_record({u});
    HostArray<double> derivative(record ? u.shape() : Shape{0});
    const HostRead<double> values(u);
    const CollocatedLoss value =
        problem_->loss(conditions(batch), std::span<const double>(values.get(), u.count()), weight,
                       record ? std::span(derivative.data(), u.count()) : std::span<double>());
    const Tensor u_bar = record ? derivative.to_device() : Tensor();
    TapeLoss loss;
    value_ = value;
    loss.value = value.total;
    loss.outputs = {apply_op("collocated_loss", {u}, Tensor::scalar(value.total),
                             [u_bar](const std::vector<Tensor>& bar, const VjpContext&) {
                               return std::vector<Tensor>{scale(u_bar, bar[0].item())};
                             },
                             {.first_order_only = true})};
    loss.seeds = {Tensor::scalar(1.0)};
    return loss;
  }

  std::vector<double> predict(const Tensor& fields, const PdeBatch& batch) override {
    const NoGrad no_grad;
    const Tensor u = solution(fields, batch);
    std::vector<double> out(transpose_.samples_size(batch.size(), 1));
    const HostRead<double> values(u);
    transpose_.to_samples(std::span<const double>(values.get(), u.count()), std::span<double>(out),
                          batch.size(), 1);
    return out;
  }

  std::optional<BadSolve> bad_solve(const PdeBatch& batch) const override {
    return first_not_finite(solution_->reports, batch, 0);
  }

  std::string bad_term() const override {
    const std::pair<const char*, double> terms[] = {{"residual of the equation", value_.pde},
                                                    {"initial condition", value_.initial},
                                                    {"condition at the left wall", value_.left_wall},
                                                    {"condition at the right wall", value_.right_wall}};
    for (const auto& [name, value] : terms)
      if (!std::isfinite(value)) return name;
    return {};
  }

  BatchStatistics statistics() const override {
    if (o_.soft()) return {};
    std::vector<PackedReport> all;
    for (size_t s = 0; s < solution_->reports.size(); ++s)
      for (int k = 0; k < problem_->experts(); ++k)
        all.push_back(
            pack(solution_->reports[s][k], std::span<const double>(solution_->coefficients)
                                               .subspan((s * problem_->experts() + k) * o_.basis, o_.basis)));
    return summarise(all, problem_->experts());
  }

 private:
  static std::vector<double> cell_centres(const Pde& pde, int cells) {
    std::vector<double> x(cells);
    for (int i = 0; i < cells; ++i) x[i] = pde.length(0) * (i + 0.5) / cells;
    return x;
  }

  static CollocatedBatch conditions(const PdeBatch& batch) {
    CollocatedBatch out;
    out.size = batch.size();
    out.initial = batch.initial;
    out.right_reference = batch.right_reference;
    return out;
  }

  SampledPoints sampled_points(const PdeBatch& batch) const {
    const RandomStream stream(seed_, batch.training ? "training-points" : "evaluation-points");
    const TileGrid& grid = tiles_.grid();
    const TileGrid experts(grid.nt(), grid.nx(), o_.experts[0], o_.experts[1]);
    SampledPoints points(batch.size(), std::vector<std::vector<long>>(experts.tiles()));
    for (int s = 0; s < batch.size(); ++s)
      for (long k = 0; k < experts.tiles(); ++k) {
        const TileExtent box = experts.extent(k);
        const long width = box.end[1] - box.begin[1], count = experts.tile_points();
        std::vector<long>& chosen = points[s][k];
        if (o_.points > 0 && o_.points < count) {
          const auto drawn = stream.choose(o_.points, count, batch.step, batch.ids[s] * experts.tiles() + k);
          chosen.assign(drawn.begin(), drawn.end());
          std::sort(chosen.begin(), chosen.end());
        } else {
          chosen.resize(count);
          std::iota(chosen.begin(), chosen.end(), 0L);
        }
        for (long& p : chosen) p = (box.begin[0] + p / width) * grid.nx() + box.begin[1] + p % width;
      }
    return points;
  }

  Tensor solution(const Tensor& fields, const PdeBatch& batch) {
    const Region<"constrained_solution"> region;
    const Tensor wide = cast(contiguous(fields), DType::f64);
    solution_ = std::make_shared<CollocatedSolution>();
    if (o_.soft()) {
      return reshape(wide, {fields.extent(0), fields.extent(1), fields.extent(3), fields.extent(4)});
    }
    const auto points = std::make_shared<SampledPoints>(sampled_points(batch));
    {
      const HostRead<double> values(wide);
      *solution_ =
          problem_->solve(conditions(batch), std::span<const double>(values.get(), wide.count()), *points);
    }
    stop_if_told(communicator_, o_.solver, batch, 0, solution_->reports);
    const Tensor u =
        Tensor::from(solution_->u, {fields.extent(0), fields.extent(1), fields.extent(3), fields.extent(4)});
    const Tensor kept = wide.detach();
    return apply_op(
        "constrained_solution", {wide}, u,
        [problem = problem_, &communicator = communicator_, solver = o_.solver, solved = solution_, points,
         batch, kept](const std::vector<Tensor>& bar, const VjpContext&) {
          HostArray<double> out(kept.shape());
          const Tensor u_bar = bar[0].contiguous() ? bar[0] : bar[0].clone();
          const HostRead<double> wide(kept), from(u_bar);
          problem->pull_back(conditions(batch), std::span<const double>(wide.get(), kept.count()), *points,
                             *solved, std::span<const double>(from.get(), u_bar.count()),
                             std::span(out.data(), kept.count()));
          stop_if_told(communicator, solver, batch, 0, solved->reports);
          const std::int64_t each = kept.count() / (kept.extent(0) * kept.extent(1));
          for (std::int64_t l = 0; l < kept.extent(0); ++l)
            for (std::int64_t s = 0; s < kept.extent(1); ++s)
              if (skipped(solver, solved->reports[s]))
                std::fill_n(out.data() + (l * kept.extent(1) + s) * each, each, 0.0);
          return std::vector<Tensor>{out.to_device()};
        },
        {.first_order_only = true});
  }

  FormulationOptions o_;
  const Communicator& communicator_;
  TilePartition tiles_;
  SampleTranspose transpose_;
  std::shared_ptr<const CollocatedProblem> problem_;
  std::uint64_t seed_;
  CollocatedLoss value_;  // of the latest loss()
  std::shared_ptr<CollocatedSolution> solution_ = std::make_shared<CollocatedSolution>();
};

}  // namespace

std::unique_ptr<ConstraintLayer> make_collocated_layer(const FormulationOptions& options,
                                                       const StorageModel& model,
                                                       const Communicator& communicator,
                                                       const TilePartition& tiles, std::uint64_t seed) {
  return std::make_unique<CollocatedLayer>(options, model, communicator, tiles, seed);
}

}  // namespace rankine
