#include "src/experts/constraint_layer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.hpp"
#include "src/core/random.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/op_support.hpp"

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

/// Throws on all ranks if a solve of any rank ended in a way for which the deck says stop: SolverStop, or
/// what a fault throws where the solve met a NaN or an infinity.
void stop_if_told(const Communicator& communicator, const SolverOptions& solver, const PdeBatch& batch,
                  long first_sample, const std::vector<std::vector<SolveReport>>& reports) {
  std::string complaint;
  bool fault = false;
  for (size_t s = 0; s < reports.size(); ++s)
    for (size_t k = 0; k < reports[s].size() && complaint.empty(); ++k)
      if (solver.policy(reports[s][k].status) == FailurePolicy::stop) {
        fault = reports[s][k].status == SolveStatus::not_finite;
        complaint = "step " + std::to_string(batch.step) + ", sample " +
                    std::to_string(batch.ids[first_sample + s]) + ", expert " + std::to_string(k) +
                    ": the solve ended as " + to_string(reports[s][k].status) + " after " +
                    std::to_string(reports[s][k].iterations) + " steps (" + reports[s][k].reason +
                    "), for which the deck says stop; formulation.solver.on_... may say skip";
      }
  try {
    communicator.together([&] {
      if (!complaint.empty()) throw NumericalError(complaint);
    });
  } catch (const SharedNumericalError& error) {
    if (communicator.any(fault)) throw;
    throw SolverStop(error.what());
  }
}

std::optional<BadSolve> first_not_finite(const std::vector<std::vector<SolveReport>>& reports,
                                         const PdeBatch& batch, long first_sample) {
  for (size_t s = 0; s < reports.size(); ++s)
    for (size_t k = 0; k < reports[s].size(); ++k)
      if (reports[s][k].status == SolveStatus::not_finite)
        return BadSolve{batch.ids[first_sample + s], static_cast<int>(k), reports[s][k].reason};
  return std::nullopt;
}

bool skipped(const SolverOptions& solver, const std::vector<SolveReport>& reports) {
  return std::any_of(reports.begin(), reports.end(),
                     [&](const SolveReport& r) { return solver.policy(r.status) != FailurePolicy::accept; });
}

class StorageLayer final : public ConstraintLayer {
 public:
  StorageLayer(const FormulationOptions& options, const StorageModel& model, const Communicator& communicator,
               const TilePartition& tiles, std::vector<int> learned, std::uint64_t seed)
      : o_(options),
        model_(model),
        communicator_(communicator),
        transpose_(communicator, tiles),
        learned_(std::move(learned)),
        seed_(seed) {
    if (o_.soft()) return;
    const TileGrid experts(model.frames(), model.cells(), o_.experts[0], o_.experts[1]);
    std::vector<Box> boxes;
    for (long k = 0; k < experts.tiles(); ++k) {
      const TileExtent e = experts.extent(k);
      boxes.push_back({static_cast<int>(e.t_begin), static_cast<int>(e.t_end), static_cast<int>(e.x_begin),
                       static_cast<int>(e.x_end)});
    }
    mixture_ = std::make_unique<StorageMixture>(
        model.frames(), model.cells(), model.unknowns(), boxes, o_.basis,
        o_.coupling == "assembled" ? Coupling::assembled : Coupling::none, o_.row_weighting(), o_.solver);
  }

  int network_frames() const override { return model_.frames(); }
  int outputs() const override { return model_.unknowns() * (o_.soft() ? 1 : o_.basis); }
  int solves() const override {
    return mixture_ ? (o_.target() ? mixture_->experts() : mixture_->solves()) : 0;
  }

  TapeLoss loss(const Tensor& fields, const PdeBatch& batch) override {
    const Solution solved = solution(fields, batch);
    const std::int64_t local = solved.u.extent(0);
    const Tensor norms = o_.target() ? target_distance(solved, batch) : residual_norms(solved.u, batch);
    const bool observed = o_.observations.weight > 0 && !batch.observations.empty();
    const Tensor misfits = observed ? observation_misfits(misfit_state(solved.u, batch), batch) : Tensor();
    TapeLoss loss;
    std::vector<double> seeds(local), values(local);
    {
      const HostRead<double> norm(norms), misfit(misfits);
      for (std::int64_t s = 0; s < local; ++s) {
        const bool skip = !state_->reports.empty() && skipped(o_.solver, state_->reports[s]);
        seeds[s] = skip ? 0.0 : 1.0 / batch.size();
        values[s] = norm[s];
        if (observed) values[s] += misfit[s];
        values[s] *= seeds[s];
      }
    }
    const Tensor seed = Tensor::from(seeds, {local});
    const TileTree tree(communicator_, transpose_.samples(batch.size()));
    loss.value = tree.sum_values(std::span<const double>(values));
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
      const std::vector<double> full = (*problems_)[s].whole(field(values, s));
      out.insert(out.end(), full.begin(), full.end());
    }
    return out;
  }

  std::optional<BadSolve> bad_solve(const PdeBatch& batch) const override {
    if (const auto bad = first_not_finite(state_->reports, batch, first_sample(batch))) return bad;
    if (failed_sample_ < 0) return std::nullopt;
    return BadSolve{failed_sample_, -1, ""};
  }

  BatchStatistics statistics() const override {
    if (!mixture_) return {};
    std::vector<PackedReport> local;
    for (size_t s = 0; s < state_->reports.size(); ++s) {
      const std::span<const double> all = state_->coefficients[s];
      const size_t columns = all.size() / solves();
      for (int k = 0; k < solves(); ++k)
        local.push_back(pack(state_->reports[s][k], all.subspan(k * columns, columns)));
    }
    return summarise(communicator_.all_gather_varying(std::span<const PackedReport>(local)), solves());
  }

 private:
  /// What a backward pass still adds to: shared with the tape.
  struct State {
    std::vector<std::vector<SolveReport>> reports;  // [local sample][solve]
    std::vector<std::vector<double>> coefficients;  // [local sample]
  };
  /// Fields as the network gave them, the solution, both [local sample][frame][cell][...], and the corrected
  /// state that a target formulation fits (no gradient flows into it).
  struct Solution {
    Tensor whole, u;
    std::shared_ptr<std::vector<std::vector<double>>> targets;  // [local sample][frames * width]
  };

  /// work(s) for each local sample, on all ranks together; a failure names its sample.
  void each_sample(const PdeBatch& batch, std::int64_t local,
                   const std::function<void(std::int64_t)>& work) const {
    failed_sample_ = -1;
    communicator_.together([&] {
      for (std::int64_t s = 0; s < local; ++s) {
        const long id = batch.ids[first_sample(batch) + s];
        try {
          work(s);
        } catch (const NumericalError& error) {
          failed_sample_ = id;
          throw NumericalError("sample " + std::to_string(id) + ": " + error.what());
        }
      }
    });
  }

  std::int64_t first_sample(const PdeBatch& batch) const {
    return transpose_.samples(batch.size()).begin(communicator_.rank());
  }
  /// `learned`: of the batch, on the host.
  StorageProblem make_problem(const PdeBatch& batch, const double* learned, std::int64_t local) const {
    const size_t sample = first_sample(batch) + local, width = model_.width();
    const size_t count = batch.parameters.size() / batch.size();
    SchemeParameters parameters;
    parameters.values.assign(batch.parameters.begin() + sample * count,
                             batch.parameters.begin() + (sample + 1) * count);
    parameters.learned = learned_;
    for (size_t l = 0; l < learned_.size(); ++l) parameters.values[learned_[l]] = learned[l];
    return model_.sample(
        {batch.initial.begin() + sample * width, batch.initial.begin() + (sample + 1) * width},
        std::move(parameters));
  }
  ObservedRows observed_rows(const PdeBatch& batch, std::int64_t local) const {
    if (!o_.observations.rows || batch.observations.empty()) return {};
    return {batch.observations[first_sample(batch) + local].get(), o_.observations.row_weight};
  }
  std::span<const double> field(const double* u, std::int64_t local) const {
    return {u + local * model_.points(), static_cast<size_t>(model_.points())};
  }

  /// Tiles of all samples -> whole fields of this rank's samples, in double: [local][frame][cell][channel].
  Tensor whole_samples(const Tensor& fields, int batch) const {
    const Region<"tiles_to_samples"> region;
    const Tensor tiles = fields.contiguous() ? fields : fields.clone();
    const std::int64_t channels = fields.extent(2), local = transpose_.local_samples(batch);
    const long points = static_cast<long>(model_.frames()) * model_.cells();
    std::vector<double> samples(transpose_.samples_size(batch, channels));
    const auto convert = [&](auto zero) {
      using T = decltype(zero);
      const HostRead<T> values(tiles);
      transpose_.to_samples(std::span<const T>(values.get(), tiles.count()), std::span(samples), batch,
                            channels);
    };
    if (fields.dtype() == DType::f32)
      convert(0.0f);
    else
      convert(0.0);
    HostArray<double> whole({local, model_.frames(), model_.cells(), channels});
    for (std::int64_t s = 0; s < local; ++s)
      for (std::int64_t c = 0; c < channels; ++c)
        for (long p = 0; p < points; ++p)
          whole[(s * points + p) * channels + c] = samples[(s * channels + c) * points + p];
    const Tensor out = whole.to_device();
    const SampleTranspose& transpose = transpose_;
    return apply_op(
        "tiles_to_samples", {fields}, out,
        [&transpose, batch, channels, local, points, shape = fields.shape(), type = fields.dtype()](
            const std::vector<Tensor>& bar, const VjpContext&) {
          const Tensor from = bar[0].contiguous() ? bar[0] : bar[0].clone();
          std::vector<double> back_samples(from.count());
          const HostRead<double> values(from);
          for (std::int64_t s = 0; s < local; ++s)
            for (std::int64_t c = 0; c < channels; ++c)
              for (long p = 0; p < points; ++p)
                back_samples[(s * channels + c) * points + p] = values[(s * points + p) * channels + c];
          Tensor back;
          dispatch_real(type, "tiles_to_samples", [&](auto zero) {
            HostArray<decltype(zero)> tiles(shape);
            transpose.to_tiles(std::span<const double>(back_samples),
                               std::span(tiles.data(), static_cast<size_t>(shape.count())), batch, channels);
            back = tiles.to_device();
          });
          count_cost("tiles_to_samples_backward", {0, bytes_of(from) + bytes_of(back)});
          return std::vector<Tensor>{back};
        },
        {.cost = {0, bytes_of(tiles) + bytes_of(out)}, .first_order_only = true});
  }

  /// v - P(v)^-1 r(v) for the state `later` [frames][width].
  std::vector<double> corrected_target(const StorageProblem& problem, std::span<const double> later) const {
    std::vector<double> u = problem.whole(later);
    std::vector<std::vector<double>> states;
    problem.correct_steps(u, {.steps = 1, .state = model_.march_options().frozen() ? "frozen" : "prediction"},
                          states);
    return {u.begin() + problem.width(), u.end()};
  }

  Solution solution(const Tensor& fields, const PdeBatch& batch) {
    state_ = std::make_shared<State>();
    Solution out;
    out.whole = whole_samples(fields, batch.size());
    out.targets = std::make_shared<std::vector<std::vector<double>>>();
    const std::int64_t local = out.whole.extent(0);
    auto problems = std::make_shared<std::vector<StorageProblem>>();
    {
      const HostRead<double> learned(batch.learned);
      each_sample(batch, local,
                  [&](std::int64_t s) { problems->push_back(make_problem(batch, learned, s)); });
    }
    problems_ = problems;
    const Shape shape{local, model_.frames(), model_.width()};
    if (o_.soft()) {
      out.u = reshape(out.whole, shape);
      if (o_.target()) {
        const HostRead<double> u(out.u);
        each_sample(batch, local, [&](std::int64_t s) {
          out.targets->push_back(corrected_target((*problems_)[s], field(u, s)));
        });
      }
    } else {
      out.u = o_.target() ? fitted(out, batch, shape) : constrained(out.whole, batch, shape);
    }
    if (o_.correct.train && o_.correct.steps > 0) out.u = corrected(out.u, batch, o_.correct);
    return out;
  }

  std::span<const double> basis_of(const double* whole, std::int64_t local) const {
    const long size = model_.points() * o_.basis;
    return {whole + local * size, static_cast<size_t>(size)};
  }
  /// The first basis field: in a target formulation the network's own prediction.
  std::vector<double> own_prediction(const double* whole, std::int64_t local) const {
    std::vector<double> v(model_.points());
    const std::span<const double> basis = basis_of(whole, local);
    for (long p = 0; p < model_.points(); ++p) v[p] = basis[p * o_.basis];
    return v;
  }

  /// u by the experts' nonlinear least squares on the residual.
  Tensor constrained(const Tensor& whole, const PdeBatch& batch, const Shape& shape) {
    const Region<"constrained_solution"> region;
    const long points = model_.points();
    HostArray<double> solved_u(shape);
    auto solutions = std::make_shared<std::vector<MixtureSolution>>();
    {
      const HostRead<double> basis(whole);
      each_sample(batch, shape[0], [&](std::int64_t s) {
        const StorageProblem& sample = (*problems_)[s];
        solutions->push_back(
            mixture_->solve(sample, basis_of(basis, s), sampled_rows(batch, s), observed_rows(batch, s)));
        keep(solutions->back(), solved_u, s);
      });
    }
    const Tensor u = solved_u.to_device();
    stop_if_told(communicator_, o_.solver, batch, first_sample(batch), state_->reports);
    return apply_op("constrained_solution", with_learned(whole, batch), u,
                    [this, state = state_, problems = problems_, solutions, batch, whole = whole.detach(),
                     points](const std::vector<Tensor>& bar, const VjpContext&) {
                      HostArray<double> out(whole.shape());
                      out.fill(0);
                      const Tensor from = bar[0].contiguous() ? bar[0] : bar[0].clone();
                      const HostRead<double> u_bar(from), basis(whole);
                      std::vector<double> by_sample(whole.extent(0) * learned_.size());
                      each_sample(batch, whole.extent(0), [&](std::int64_t s) {
                        const std::span<double> by_parameter =
                            std::span(by_sample).subspan(s * learned_.size(), learned_.size());
                        MixtureSolution& solved = (*solutions)[s];
                        const std::span<double> to(out.data() + s * points * o_.basis, points * o_.basis);
                        mixture_->pull_back((*problems)[s], basis_of(basis, s), solved, field(u_bar, s), to,
                                            by_parameter);
                        state->reports[s] = solved.reports;
                        if (!skipped(o_.solver, solved.reports)) return;
                        std::fill(to.begin(), to.end(), 0.0);
                        std::fill(by_parameter.begin(), by_parameter.end(), 0.0);
                      });
                      stop_if_told(communicator_, o_.solver, batch, first_sample(batch), state->reports);
                      std::vector<Tensor> gradients{out.to_device()};
                      if (!learned_.empty()) gradients.push_back(summed_over_samples(by_sample, batch));
                      return gradients;
                    },
                    {.first_order_only = true});
  }

  /// u by the experts' linear fits of one shared target, the corrected prediction.
  Tensor fitted(Solution& solution, const PdeBatch& batch, const Shape& shape) {
    const Region<"fitted_solution"> region;
    const long points = model_.points();
    HostArray<double> fitted_u(shape);
    auto solutions = std::make_shared<std::vector<MixtureSolution>>();
    const Tensor whole = solution.whole;
    {
      const HostRead<double> basis(whole);
      each_sample(batch, shape[0], [&](std::int64_t s) {
        const StorageProblem& sample = (*problems_)[s];
        std::vector<double> state = own_prediction(basis, s), target;
        MixtureSolution solved;
        for (int fit = 0; fit < o_.target_fits; ++fit) {
          target = corrected_target(sample, state);
          solved = mixture_->fit(sample, basis_of(basis, s), target, o_.target_ridge);
          state.assign(solved.u.begin() + sample.width(), solved.u.end());
        }
        solutions->push_back(std::move(solved));
        solution.targets->push_back(std::move(target));
        keep(solutions->back(), fitted_u, s);
      });
    }
    const Tensor u = fitted_u.to_device();
    stop_if_told(communicator_, o_.solver, batch, first_sample(batch), state_->reports);
    return apply_op("fitted_solution", {whole}, u,
                    [this, state = state_, solutions, targets = solution.targets, whole = whole.detach(),
                     points](const std::vector<Tensor>& bar, const VjpContext&) {
                      HostArray<double> out(whole.shape());
                      out.fill(0);
                      const Tensor from = bar[0].contiguous() ? bar[0] : bar[0].clone();
                      const HostRead<double> u_bar(from), basis(whole);
                      for (std::int64_t s = 0; s < whole.extent(0); ++s) {
                        if (skipped(o_.solver, state->reports[s])) continue;
                        mixture_->pull_back_fit(
                            basis_of(basis, s), (*targets)[s], (*solutions)[s], o_.target_ridge,
                            field(u_bar, s),
                            std::span(out.data() + s * points * o_.basis, points * o_.basis));
                      }
                      return std::vector<Tensor>{out.to_device()};
                    },
                    {.first_order_only = true});
  }

  void keep(const MixtureSolution& solved, HostArray<double>& u, std::int64_t s) {
    std::copy(solved.u.begin() + model_.width(), solved.u.end(), u.data() + s * model_.points());
    state_->reports.push_back(solved.reports);
    state_->coefficients.push_back(solved.coefficients);
  }

  /// A gradient by the learned parameters, summed over all samples in tree order.
  Tensor summed_over_samples(const std::vector<double>& by_sample, const PdeBatch& batch) const {
    const size_t count = learned_.size(), local = by_sample.size() / std::max<size_t>(count, 1);
    const TileTree tree(communicator_, transpose_.samples(batch.size()));
    std::vector<double> sums(count);
    for (size_t l = 0; l < count; ++l) {
      std::vector<double> values(local);
      for (size_t s = 0; s < local; ++s) values[s] = by_sample[s * count + l];
      sums[l] = tree.sum_values(std::span<const double>(values));
    }
    return Tensor::from(sums, {static_cast<std::int64_t>(count)});
  }
  std::vector<Tensor> with_learned(Tensor first, const PdeBatch& batch) const {
    std::vector<Tensor> inputs{std::move(first)};
    if (!learned_.empty()) inputs.push_back(batch.learned);
    return inputs;
  }

  /// The u whose values the observations are compared with.
  Tensor misfit_state(const Tensor& u, const PdeBatch& batch) {
    return o_.observations.corrections > 0 ? corrected(u, batch, o_.observations.correct()) : u;
  }

  /// u after `options.steps` corrections, trained through.
  Tensor corrected(const Tensor& u, const PdeBatch& batch, const CorrectionOptions& options) {
    const Region<"corrected_solution"> region;
    const std::int64_t local = u.extent(0);
    HostArray<double> corrections(u.shape());
    auto states = std::make_shared<std::vector<std::vector<std::vector<double>>>>(local);
    {
      const HostRead<double> values(u);
      each_sample(batch, local, [&](std::int64_t s) {
        const StorageProblem& sample = (*problems_)[s];
        std::vector<double> full = sample.whole(field(values, s));
        sample.correct_steps(full, options, (*states)[s]);
        std::copy(full.begin() + sample.width(), full.end(), corrections.data() + s * model_.points());
      });
    }
    const Tensor out = corrections.to_device();
    return apply_op("corrected_solution", with_learned(u, batch), out,
                    [this, problems = problems_, states, batch, options](const std::vector<Tensor>& bar,
                                                                         const VjpContext&) {
                      Tensor u_bar = bar[0].clone();
                      std::vector<double> by_sample(u_bar.extent(0) * learned_.size());
                      {
                        const HostUpdate<double> values(u_bar);
                        each_sample(batch, u_bar.extent(0), [&](std::int64_t s) {
                          (*problems)[s].correct_transpose(
                              (*states)[s], options,
                              std::span(values.get() + s * model_.points(), model_.points()),
                              std::span(by_sample).subspan(s * learned_.size(), learned_.size()));
                        });
                      }
                      std::vector<Tensor> gradients{u_bar};
                      if (!learned_.empty()) gradients.push_back(summed_over_samples(by_sample, batch));
                      return gradients;
                    },
                    {.first_order_only = true});
  }

  /// |Q r(u)| of each local sample; the gradient is at hand with the value, so it is formed at once.
  Tensor residual_norms(const Tensor& u, const PdeBatch& batch) {
    const Region<"residual_norm"> region;
    const std::int64_t local = u.extent(0);
    std::vector<double> norms(local);
    const bool record = would_record(with_learned(u, batch));
    HostArray<double> derivative(record ? u.shape() : Shape{0});
    derivative.fill(0);
    auto learned_bar = std::make_shared<std::vector<double>>(record ? local * learned_.size() : 0);
    {
      const HostRead<double> values(u);
      each_sample(batch, local, [&](std::int64_t s) {
        const StorageProblem& sample = (*problems_)[s];
        const long points = model_.points();
        norms[s] = sample.residual_norm(
            o_.loss_weighting(), sample.whole(field(values, s)),
            record ? std::span<double>(derivative.data() + s * points, points) : std::span<double>(),
            record ? std::span(*learned_bar).subspan(s * learned_.size(), learned_.size())
                   : std::span<double>());
      });
    }
    const Tensor u_bar = derivative.to_device();
    return apply_op("residual_norm", with_learned(u, batch), Tensor::from(norms, {local}),
                    [this, u_bar, learned_bar, batch](const std::vector<Tensor>& bar, const VjpContext&) {
                      Tensor out = u_bar.clone();
                      std::vector<double> by_sample(*learned_bar);
                      const long points = model_.points();
                      {
                        const HostRead<double> factors(bar[0]);
                        const HostUpdate<double> values(out);
                        for (std::int64_t s = 0; s < out.extent(0); ++s) {
                          const double factor = factors[s];
                          for (long p = 0; p < points; ++p) values[s * points + p] *= factor;
                          for (size_t l = 0; l < learned_.size(); ++l)
                            by_sample[s * learned_.size() + l] *= factor;
                        }
                      }
                      std::vector<Tensor> gradients{out};
                      if (!learned_.empty()) gradients.push_back(summed_over_samples(by_sample, batch));
                      return gradients;
                    },
                    {.first_order_only = true});
  }

  /// weight sqrt(mean(((H u - d) / sigma)^2)) of each local sample, 0 of those without observations.
  Tensor observation_misfits(const Tensor& u, const PdeBatch& batch) {
    const Region<"observation_misfit"> region;
    const std::int64_t local = u.extent(0);
    const long points = model_.points();
    std::vector<double> misfits(local);
    HostArray<double> derivative(u.shape());
    derivative.fill(0);
    {
      const HostRead<double> values(u);
      for (std::int64_t s = 0; s < local; ++s) {
        const ObservationRows* rows = batch.observations[first_sample(batch) + s].get();
        if (!rows) continue;
        const std::span<double> gradient(derivative.data() + s * points, points);
        misfits[s] = o_.observations.weight *
                     rows->root_mean_square((*problems_)[s].whole(field(values, s)), gradient);
        for (double& g : gradient) g *= o_.observations.weight;
      }
    }
    return apply_op(
        "observation_misfit", {u}, Tensor::from(misfits, {local}),
        [u_bar = derivative.to_device(), points](const std::vector<Tensor>& bar, const VjpContext&) {
          Tensor out = u_bar.clone();
          {
            const HostRead<double> factors(bar[0]);
            const HostUpdate<double> values(out);
            for (std::int64_t s = 0; s < out.extent(0); ++s)
              for (long p = 0; p < points; ++p) values[s * points + p] *= factors[s];
          }
          return std::vector<Tensor>{out};
        },
        {.first_order_only = true});
  }

  /// (|u - u_hat| + |b_0 - u_hat|) / |u_0| of each local sample, without b_0 for a soft constraint; |u_0| is
  /// the norm of the initial state in all frames, or of the target where that is larger.
  Tensor target_distance(const Solution& solved, const PdeBatch& batch) {
    const Region<"target_distance"> region;
    const std::int64_t local = solved.u.extent(0);
    const long points = model_.points();
    const bool soft = o_.soft();
    std::vector<double> distances(local);
    const HostRead<double> u(solved.u), whole(solved.whole);
    // Derivatives of the distance by u and by b_0.
    auto by_u = std::make_shared<std::vector<double>>(local * points),
         by_own = std::make_shared<std::vector<double>>(soft ? 0 : local * points);
    for (std::int64_t s = 0; s < local; ++s) {
      const std::vector<double>& target = (*solved.targets)[s];
      const size_t sample = first_sample(batch) + s, width = model_.width();
      double size = 0;
      for (size_t i = 0; i < width; ++i)
        size += std::pow(batch.initial[sample * width + i], 2) * model_.frames();
      size = std::sqrt(std::max(size, std::inner_product(target.begin(), target.end(), target.begin(), 0.0)));
      if (!(size > 0)) size = 1;
      const auto add = [&](std::span<const double> v, double* gradient) {
        double sum = 0;
        for (long p = 0; p < points; ++p) sum += (v[p] - target[p]) * (v[p] - target[p]);
        const double length = std::sqrt(sum);
        for (long p = 0; p < points; ++p) gradient[p] = length > 0 ? (v[p] - target[p]) / (length * size) : 0;
        distances[s] += length / size;
      };
      add(field(u, s), by_u->data() + s * points);
      if (!soft) add(own_prediction(whole, s), by_own->data() + s * points);
    }
    std::vector<Tensor> inputs{solved.u};
    if (!soft) inputs.push_back(solved.whole);
    return apply_op("target_distance", inputs, Tensor::from(distances, {local}),
                    [this, by_u, by_own, soft, points, u_shape = solved.u.shape(),
                     shape = solved.whole.shape()](const std::vector<Tensor>& bar, const VjpContext&) {
                      HostArray<double> u_bar(u_shape), whole_bar(soft ? Shape{0} : shape);
                      whole_bar.fill(0);
                      const HostRead<double> factors(bar[0]);
                      for (std::int64_t s = 0; s < u_shape[0]; ++s) {
                        const double factor = factors[s];
                        for (long p = 0; p < points; ++p) {
                          u_bar[s * points + p] = factor * (*by_u)[s * points + p];
                          if (!soft)
                            whole_bar[(s * points + p) * o_.basis] = factor * (*by_own)[s * points + p];
                        }
                      }
                      std::vector<Tensor> gradients{u_bar.to_device()};
                      if (!soft) gradients.push_back(whole_bar.to_device());
                      return gradients;
                    },
                    {.first_order_only = true});
  }

  std::vector<std::vector<long>> sampled_rows(const PdeBatch& batch, std::int64_t local) const {
    const RandomStream stream(seed_, batch.training ? "training-points" : "evaluation-points");
    std::vector<std::vector<long>> rows;
    for (int k = 0; k < mixture_->solves(); ++k) {
      std::vector<long> all = mixture_->all_rows(k);
      if (o_.points > 0 && o_.points < static_cast<long>(all.size())) {
        std::vector<long> chosen;
        for (long r : stream.choose(o_.points, static_cast<long>(all.size()), batch.step,
                                    batch.ids[first_sample(batch) + local] * mixture_->solves() + k))
          chosen.push_back(all[r]);
        std::sort(chosen.begin(), chosen.end());
        all = std::move(chosen);
      }
      rows.push_back(std::move(all));
    }
    return rows;
  }

  FormulationOptions o_;
  const StorageModel& model_;
  const Communicator& communicator_;
  SampleTranspose transpose_;
  std::unique_ptr<StorageMixture> mixture_;
  std::vector<int> learned_;
  std::uint64_t seed_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
  /// Of the latest batch's local samples: schemes and marches are made once a step.
  std::shared_ptr<const std::vector<StorageProblem>> problems_;
  mutable long failed_sample_ = -1;  // id of the sample that each_sample() failed at
};

class CollocatedLayer final : public ConstraintLayer {
 public:
  CollocatedLayer(const FormulationOptions& options, const StorageModel& model,
                  const Communicator& communicator, const TilePartition& tiles, std::uint64_t seed)
      : o_(options),
        communicator_(communicator),
        tiles_(tiles),
        transpose_(communicator, tiles),
        problem_(*model.pde().collocated(), communicator, tiles, model.times(),
                 cell_centres(model.pde(), model.cells()),
                 TileGrid(tiles.grid().nt(), tiles.grid().nx(), o_.experts[0], o_.experts[1]), outputs(),
                 o_.collocation, o_.solver),
        seed_(seed) {}

  int network_frames() const override { return static_cast<int>(tiles_.grid().nt()); }
  int outputs() const override { return o_.soft() ? 1 : o_.basis; }
  int solves() const override { return o_.soft() ? 0 : problem_.experts(); }

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
        problem_.loss(conditions(batch), std::span<const double>(values.get(), u.count()), weight,
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
          problem_.solve(conditions(batch), std::span<const double>(values.get(), wide.count()), *points);
    }
    stop_if_told(communicator_, o_.solver, batch, 0, solution_->reports);
    const Tensor u =
        Tensor::from(solution_->u, {fields.extent(0), fields.extent(1), fields.extent(3), fields.extent(4)});
    const Tensor kept = wide.detach();
    return apply_op(
        "constrained_solution", {wide}, u,
        [this, solved = solution_, points, batch, kept](const std::vector<Tensor>& bar, const VjpContext&) {
          HostArray<double> out(kept.shape());
          const Tensor u_bar = bar[0].contiguous() ? bar[0] : bar[0].clone();
          const HostRead<double> wide(kept), from(u_bar);
          problem_.pull_back(conditions(batch), std::span<const double>(wide.get(), kept.count()), *points,
                             *solved, std::span<const double>(from.get(), u_bar.count()),
                             std::span(out.data(), kept.count()));
          stop_if_told(communicator_, o_.solver, batch, 0, solved->reports);
          const std::int64_t each = kept.count() / (kept.extent(0) * kept.extent(1));
          for (std::int64_t l = 0; l < kept.extent(0); ++l)
            for (std::int64_t s = 0; s < kept.extent(1); ++s)
              if (skipped(o_.solver, solved->reports[s]))
                std::fill_n(out.data() + (l * kept.extent(1) + s) * each, each, 0.0);
          return std::vector<Tensor>{out.to_device()};
        },
        {.first_order_only = true});
  }

  FormulationOptions o_;
  const Communicator& communicator_;
  TilePartition tiles_;
  SampleTranspose transpose_;
  CollocatedProblem problem_;
  std::uint64_t seed_;
  CollocatedLoss value_;  // of the latest loss()
  std::shared_ptr<CollocatedSolution> solution_ = std::make_shared<CollocatedSolution>();
};

}  // namespace

int network_frames(const FormulationOptions& options, int frames) {
  return options.collocated() ? frames + 1 : frames;
}

std::unique_ptr<ConstraintLayer> make_constraint_layer(const FormulationOptions& options,
                                                       const StorageModel& model,
                                                       const Communicator& communicator,
                                                       const TilePartition& tiles, std::vector<int> learned,
                                                       std::uint64_t seed) {
  if (options.collocated())
    return std::make_unique<CollocatedLayer>(options, model, communicator, tiles, seed);
  return std::make_unique<StorageLayer>(options, model, communicator, tiles, std::move(learned), seed);
}

}  // namespace rankine
