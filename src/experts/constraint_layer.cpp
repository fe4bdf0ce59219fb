#include "src/experts/constraint_layer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.hpp"
#include "src/core/random.hpp"

namespace rankine {
namespace {

/// A report as numbers that travel between ranks.
struct PackedReport {
  double status, iterations, objective, gradient_norm, weight_norm;
};

PackedReport pack(const SolveReport& report, std::span<const double> w) {
  return {static_cast<double>(report.status), static_cast<double>(report.iterations), report.objective,
          report.gradient_norm, std::sqrt(std::inner_product(w.begin(), w.end(), w.begin(), 0.0))};
}

BatchStatistics summarise(const std::vector<PackedReport>& reports, int solves) {
  BatchStatistics out(solves);
  const double samples = static_cast<double>(reports.size()) / std::max(solves, 1);
  for (size_t i = 0; i < reports.size(); ++i) {
    ExpertStatistics& s = out[i % solves];
    const PackedReport& r = reports[i];
    s.iterations += r.iterations / samples;
    s.objective += r.objective / samples;
    s.weight_norm += r.weight_norm / samples;
    s.gradient_norm = std::max(s.gradient_norm, r.gradient_norm);
    s.status_count[static_cast<int>(r.status)] += 1;
  }
  return out;
}

/// Ends the run on all ranks if a solve of any rank ended in a way for which the deck says stop.
void stop_if_told(const Communicator& communicator, const SolverOptions& solver, const PdeBatch& batch,
                  long first_sample, const std::vector<std::vector<SolveReport>>& reports) {
  std::string complaint;
  for (size_t s = 0; s < reports.size(); ++s)
    for (size_t k = 0; k < reports[s].size() && complaint.empty(); ++k)
      if (solver.policy(reports[s][k].status) == FailurePolicy::stop)
        complaint = "step " + std::to_string(batch.step) + ", sample " +
                    std::to_string(batch.ids[first_sample + s]) + ", expert " + std::to_string(k) +
                    ": the solve ended as " + to_string(reports[s][k].status) + " after " +
                    std::to_string(reports[s][k].iterations) + " steps (" + reports[s][k].reason +
                    "), for which the deck says stop; formulation.solver.on_... may say skip";
  communicator.together([&] {
    if (!complaint.empty()) throw NumericalError(complaint);
  });
}

bool skipped(const SolverOptions& solver, const std::vector<SolveReport>& reports) {
  return std::any_of(reports.begin(), reports.end(),
                     [&](const SolveReport& r) { return solver.policy(r.status) != FailurePolicy::accept; });
}

class StorageLayer final : public ConstraintLayer {
 public:
  StorageLayer(const FormulationOptions& options, const StorageProblem& problem,
               const Communicator& communicator, const TilePartition& tiles, std::uint64_t seed)
      : o_(options),
        problem_(problem),
        communicator_(communicator),
        transpose_(communicator, tiles),
        seed_(seed) {
    if (o_.soft()) return;
    const TileGrid experts(problem.frames(), problem.cells(), o_.experts[0], o_.experts[1]);
    std::vector<Box> boxes;
    for (long k = 0; k < experts.tiles(); ++k) {
      const TileExtent e = experts.extent(k);
      boxes.push_back({static_cast<int>(e.t_begin), static_cast<int>(e.t_end), static_cast<int>(e.x_begin),
                       static_cast<int>(e.x_end)});
    }
    mixture_ = std::make_unique<StorageMixture>(
        problem, boxes, o_.basis, o_.coupling == "assembled" ? Coupling::assembled : Coupling::none,
        o_.row_weighting(), o_.solver);
  }

  int network_frames() const override { return problem_.frames(); }
  int outputs() const override { return o_.soft() ? 1 : o_.basis; }
  int solves() const override { return mixture_ ? mixture_->solves() : 0; }

  TapeLoss loss(const Tensor& fields, const PdeBatch& batch) override {
    const Tensor u = solution(fields, batch);
    const std::int64_t local = u.extent(0);
    // |Q r(u)| of each local sample; the gradient is at hand with the value, so it is formed at once.
    Tensor norms = Tensor::zeros({local}, DType::f64);
    const bool record = would_record({u});
    Tensor u_bar = Tensor::zeros(record ? u.shape() : Shape{0}, DType::f64);
    communicator_.together([&] {
      for (std::int64_t s = 0; s < local; ++s) {
        const std::vector<double> full = with_initial(batch, s, u.data<double>() + s * problem_.points());
        const std::span<double> bar =
            record ? std::span(u_bar.data<double>() + s * problem_.points(), problem_.points())
                   : std::span<double>();
        norms.data<double>()[s] = problem_.residual_norm(o_.loss_weighting(), full, bar);
      }
    });
    const Tensor on_tape =
        apply_op("residual_norm", {u}, norms,
                 [u_bar, points = problem_.points()](const std::vector<Tensor>& bar, const VjpContext&) {
                   Tensor out = u_bar.clone();
                   for (std::int64_t s = 0; s < out.extent(0); ++s)
                     for (long p = 0; p < points; ++p)
                       out.data<double>()[s * points + p] *= bar[0].data<double>()[s];
                   return std::vector<Tensor>{out};
                 },
                 {.first_order_only = true});
    TapeLoss loss;
    Tensor seed = Tensor::zeros({local}, DType::f64);
    std::vector<double> values(local);
    for (std::int64_t s = 0; s < local; ++s) {
      const bool skip = !state_->reports.empty() && skipped(o_.solver, state_->reports[s]);
      seed.data<double>()[s] = skip ? 0.0 : 1.0 / batch.size();
      values[s] = seed.data<double>()[s] * norms.data<double>()[s];
    }
    const TileTree tree(communicator_, transpose_.samples(batch.size()));
    loss.value = tree.sum_values(std::span<const double>(values));
    loss.outputs = {on_tape};
    loss.seeds = {seed};
    return loss;
  }

  std::vector<double> predict(const Tensor& fields, const PdeBatch& batch) override {
    const NoGrad no_grad;
    const Tensor u = solution(fields, batch);
    std::vector<double> out;
    for (std::int64_t s = 0; s < u.extent(0); ++s) {
      const std::vector<double> full = with_initial(batch, s, u.data<double>() + s * problem_.points());
      out.insert(out.end(), full.begin(), full.end());
    }
    return out;
  }

  BatchStatistics statistics() const override {
    if (!mixture_) return {};
    std::vector<PackedReport> local;
    const size_t columns =
        o_.coupling == "assembled" ? static_cast<size_t>(mixture_->experts()) * o_.basis : o_.basis;
    for (size_t s = 0; s < state_->reports.size(); ++s)
      for (int k = 0; k < solves(); ++k)
        local.push_back(pack(state_->reports[s][k],
                             std::span<const double>(state_->coefficients[s]).subspan(k * columns, columns)));
    return summarise(communicator_.all_gather_varying(std::span<const PackedReport>(local)), solves());
  }

 private:
  /// What a backward pass still adds to: shared with the tape.
  struct State {
    std::vector<std::vector<SolveReport>> reports;  // [local sample][solve]
    std::vector<std::vector<double>> coefficients;  // [local sample]
  };

  std::vector<double> initial(const PdeBatch& batch, std::int64_t local) const {
    return std::vector<double>(problem_.cells(), batch.u0[first_sample(batch) + local]);
  }
  std::int64_t first_sample(const PdeBatch& batch) const {
    return transpose_.samples(batch.size()).begin(communicator_.rank());
  }
  std::vector<double> with_initial(const PdeBatch& batch, std::int64_t local, const double* later) const {
    std::vector<double> u = initial(batch, local);
    u.insert(u.end(), later, later + problem_.points());
    return u;
  }

  /// Tiles of all samples -> whole fields of this rank's samples, in double.
  Tensor whole_samples(const Tensor& fields, int batch) const {
    const Tensor tiles = fields.contiguous() ? fields : fields.clone();
    const std::int64_t channels = fields.extent(2);
    Tensor out = Tensor::empty(
        {transpose_.local_samples(batch), channels, problem_.frames(), problem_.cells()}, DType::f64);
    const std::span<double> to(out.data<double>(), out.count());
    const auto convert = [&](auto zero) {
      using T = decltype(zero);
      transpose_.to_samples(std::span<const T>(tiles.data<T>(), tiles.count()), to, batch, channels);
    };
    if (fields.dtype() == DType::f32)
      convert(0.0f);
    else
      convert(0.0);
    const SampleTranspose& transpose = transpose_;
    return apply_op(
        "tiles_to_samples", {fields}, out,
        [&transpose, batch, channels, shape = fields.shape(), type = fields.dtype()](
            const std::vector<Tensor>& bar, const VjpContext&) {
          const Tensor from = bar[0].contiguous() ? bar[0] : bar[0].clone();
          Tensor back = Tensor::empty(shape, type);
          const std::span<const double> samples(from.data<double>(), from.count());
          if (type == DType::f32)
            transpose.to_tiles(samples, std::span(back.data<float>(), back.count()), batch, channels);
          else
            transpose.to_tiles(samples, std::span(back.data<double>(), back.count()), batch, channels);
          return std::vector<Tensor>{back};
        },
        {.first_order_only = true});
  }

  /// u [local sample][frame][cell] without the initial frame, on the tape.
  Tensor solution(const Tensor& fields, const PdeBatch& batch) {
    state_ = std::make_shared<State>();
    const Tensor whole = whole_samples(fields, batch.size());
    const std::int64_t local = whole.extent(0);
    const long points = problem_.points();
    if (o_.soft()) return reshape(whole, {local, problem_.frames(), problem_.cells()});

    Tensor u = Tensor::empty({local, problem_.frames(), problem_.cells()}, DType::f64);
    auto solutions = std::make_shared<std::vector<MixtureSolution>>();
    auto bases = std::make_shared<std::vector<std::vector<double>>>();  // [frame][cell][basis] of each sample
    communicator_.together([&] {
      for (std::int64_t s = 0; s < local; ++s) {
        bases->push_back(column_fastest(whole.data<double>() + s * points * o_.basis));
        solutions->push_back(mixture_->solve(initial(batch, s), bases->back(), sampled_rows(batch, s)));
        const MixtureSolution& solved = solutions->back();
        std::copy(solved.u.begin() + problem_.cells(), solved.u.end(), u.data<double>() + s * points);
        state_->reports.push_back(solved.reports);
        state_->coefficients.push_back(solved.coefficients);
      }
    });
    stop_if_told(communicator_, o_.solver, batch, first_sample(batch), state_->reports);
    return apply_op("constrained_solution", {whole}, u,
                    [this, state = state_, solutions, bases, batch, points, shape = whole.shape()](
                        const std::vector<Tensor>& bar, const VjpContext&) {
                      Tensor out = Tensor::zeros(shape, DType::f64);
                      const Tensor u_bar = bar[0].contiguous() ? bar[0] : bar[0].clone();
                      std::vector<double> fields_bar(points * o_.basis);
                      communicator_.together([&] {
                        for (std::int64_t s = 0; s < shape[0]; ++s) {
                          MixtureSolution& solved = (*solutions)[s];
                          mixture_->pull_back(
                              initial(batch, s), (*bases)[s], solved,
                              std::span<const double>(u_bar.data<double>() + s * points, points), fields_bar);
                          state->reports[s] = solved.reports;
                          if (skipped(o_.solver, solved.reports)) continue;
                          double* to = out.data<double>() + s * points * o_.basis;
                          for (long p = 0; p < points; ++p)
                            for (int i = 0; i < o_.basis; ++i)
                              to[i * points + p] = fields_bar[p * o_.basis + i];
                        }
                      });
                      stop_if_told(communicator_, o_.solver, batch, first_sample(batch), state->reports);
                      return std::vector<Tensor>{out};
                    },
                    {.first_order_only = true});
  }

  std::vector<double> column_fastest(const double* fields) const {
    const long points = problem_.points();
    std::vector<double> out(points * o_.basis);
    for (int i = 0; i < o_.basis; ++i)
      for (long p = 0; p < points; ++p) out[p * o_.basis + i] = fields[i * points + p];
    return out;
  }

  std::vector<std::vector<long>> sampled_rows(const PdeBatch& batch, std::int64_t local) const {
    const RandomStream stream(seed_, batch.training ? "training-points" : "evaluation-points");
    std::vector<std::vector<long>> rows;
    for (int k = 0; k < solves(); ++k) {
      std::vector<long> all = mixture_->all_rows(k);
      if (o_.points > 0 && o_.points < static_cast<long>(all.size())) {
        std::vector<long> chosen;
        for (long r : stream.choose(o_.points, static_cast<long>(all.size()), batch.step,
                                    batch.ids[first_sample(batch) + local] * solves() + k))
          chosen.push_back(all[r]);
        std::sort(chosen.begin(), chosen.end());
        all = std::move(chosen);
      }
      rows.push_back(std::move(all));
    }
    return rows;
  }

  FormulationOptions o_;
  const StorageProblem& problem_;
  const Communicator& communicator_;
  SampleTranspose transpose_;
  std::unique_ptr<StorageMixture> mixture_;
  std::uint64_t seed_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class CollocatedLayer final : public ConstraintLayer {
 public:
  CollocatedLayer(const FormulationOptions& options, const Pde& pde, const StorageProblem& problem,
                  const Communicator& communicator, const TilePartition& tiles, std::uint64_t seed)
      : o_(options),
        communicator_(communicator),
        tiles_(tiles),
        transpose_(communicator, tiles),
        problem_(pde, communicator, tiles, problem.times(), cell_centres(pde, problem.cells()),
                 TileGrid(tiles.grid().nt(), tiles.grid().nx(), o_.experts[0], o_.experts[1]), outputs(),
                 o_.collocation, o_.solver),
        seed_(seed) {}

  int network_frames() const override { return static_cast<int>(tiles_.grid().nt()); }
  int outputs() const override { return o_.soft() ? 1 : o_.basis; }
  int solves() const override { return o_.soft() ? 0 : problem_.experts(); }

  TapeLoss loss(const Tensor& fields, const PdeBatch& batch) override {
    const Tensor u = solution(fields, batch);
    std::vector<double> weight(batch.size(), 1.0);
    if (!o_.soft())
      for (int s = 0; s < batch.size(); ++s)
        weight[s] = skipped(o_.solver, solution_->reports[s]) ? 0.0 : 1.0;
    const bool record = would_record({u});
    Tensor u_bar = record ? Tensor::empty(u.shape(), DType::f64) : Tensor();
    const CollocatedLoss value =
        problem_.loss(conditions(batch), std::span<const double>(u.data<double>(), u.count()), weight,
                      record ? std::span(u_bar.data<double>(), u_bar.count()) : std::span<double>());
    TapeLoss loss;
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
    transpose_.to_samples(std::span<const double>(u.data<double>(), u.count()), std::span<double>(out),
                          batch.size(), 1);
    return out;
  }

  BatchStatistics statistics() const override {
    if (o_.soft()) return {};
    std::vector<PackedReport> all;
    for (size_t s = 0; s < solution_->reports.size(); ++s)
      for (int k = 0; k < problem_.experts(); ++k)
        all.push_back(
            pack(solution_->reports[s][k], std::span<const double>(solution_->coefficients)
                                               .subspan((s * problem_.experts() + k) * o_.basis, o_.basis)));
    return summarise(all, problem_.experts());
  }

 private:
  static std::vector<double> cell_centres(const Pde& pde, int cells) {
    std::vector<double> x(cells);
    for (int i = 0; i < cells; ++i) x[i] = pde.length() * (i + 0.5) / cells;
    return x;
  }

  CollocatedBatch conditions(const PdeBatch& batch) const {
    CollocatedBatch out;
    out.size = batch.size();
    for (double u0 : batch.u0) out.initial.insert(out.initial.end(), tiles_.grid().nx(), u0);
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
        const long width = box.x_end - box.x_begin, count = experts.tile_points();
        std::vector<long>& chosen = points[s][k];
        if (o_.points > 0 && o_.points < count) {
          const auto drawn = stream.choose(o_.points, count, batch.step, batch.ids[s] * experts.tiles() + k);
          chosen.assign(drawn.begin(), drawn.end());
          std::sort(chosen.begin(), chosen.end());
        } else {
          chosen.resize(count);
          std::iota(chosen.begin(), chosen.end(), 0L);
        }
        for (long& p : chosen) p = (box.t_begin + p / width) * grid.nx() + box.x_begin + p % width;
      }
    return points;
  }

  Tensor solution(const Tensor& fields, const PdeBatch& batch) {
    const Tensor wide = cast(contiguous(fields), DType::f64);
    solution_ = std::make_shared<CollocatedSolution>();
    if (o_.soft()) {
      return reshape(wide, {fields.extent(0), fields.extent(1), fields.extent(3), fields.extent(4)});
    }
    const auto points = std::make_shared<SampledPoints>(sampled_points(batch));
    *solution_ = problem_.solve(conditions(batch), std::span<const double>(wide.data<double>(), wide.count()),
                                *points);
    stop_if_told(communicator_, o_.solver, batch, 0, solution_->reports);
    Tensor u =
        Tensor::empty({fields.extent(0), fields.extent(1), fields.extent(3), fields.extent(4)}, DType::f64);
    std::copy(solution_->u.begin(), solution_->u.end(), u.data<double>());
    const Tensor kept = wide.detach();
    return apply_op(
        "constrained_solution", {wide}, u,
        [this, solved = solution_, points, batch, kept](const std::vector<Tensor>& bar, const VjpContext&) {
          Tensor out = Tensor::empty(kept.shape(), DType::f64);
          const Tensor u_bar = bar[0].contiguous() ? bar[0] : bar[0].clone();
          problem_.pull_back(conditions(batch), std::span<const double>(kept.data<double>(), kept.count()),
                             *points, *solved, std::span<const double>(u_bar.data<double>(), u_bar.count()),
                             std::span(out.data<double>(), out.count()));
          stop_if_told(communicator_, o_.solver, batch, 0, solved->reports);
          const std::int64_t each = out.count() / (out.extent(0) * out.extent(1));
          for (std::int64_t l = 0; l < out.extent(0); ++l)
            for (std::int64_t s = 0; s < out.extent(1); ++s)
              if (skipped(o_.solver, solved->reports[s]))
                std::fill_n(out.data<double>() + (l * out.extent(1) + s) * each, each, 0.0);
          return std::vector<Tensor>{out};
        },
        {.first_order_only = true});
  }

  FormulationOptions o_;
  const Communicator& communicator_;
  TilePartition tiles_;
  SampleTranspose transpose_;
  CollocatedProblem problem_;
  std::uint64_t seed_;
  std::shared_ptr<CollocatedSolution> solution_ = std::make_shared<CollocatedSolution>();
};

}  // namespace

int network_frames(const FormulationOptions& options, int frames) {
  return options.collocated() ? frames + 1 : frames;
}

std::unique_ptr<ConstraintLayer> make_constraint_layer(const FormulationOptions& options, const Pde& pde,
                                                       const StorageProblem& problem,
                                                       const Communicator& communicator,
                                                       const TilePartition& tiles, std::uint64_t seed) {
  if (options.collocated())
    return std::make_unique<CollocatedLayer>(options, pde, problem, communicator, tiles, seed);
  return std::make_unique<StorageLayer>(options, problem, communicator, tiles, seed);
}

}  // namespace rankine
