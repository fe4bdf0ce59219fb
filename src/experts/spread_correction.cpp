#include "src/experts/spread_correction.hpp"

#include <algorithm>
#include <numeric>

#include "src/tensor/host_array.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {

/// What the backward pass needs: [sample] or [sample][part].
struct SpreadCorrection::Course {
  std::vector<std::vector<std::vector<double>>> states;
  std::vector<std::vector<double>> errors;  // e = P^-1 r, as the march has it
  std::vector<std::unique_ptr<LinearMarch>> marches;
};

SpreadCorrection::SpreadCorrection(const MarchOptions& march, const StorageModel& model,
                                   const Communicator& communicator, const TilePartition& tiles,
                                   std::vector<int> learned)
    : krylov_(march.method == "distributed"),
      tiles_(tiles.blocks()),
      parts_(model, communicator, tiles, tiles_as_boxes(tiles),
             SpatialOperator::reach_of(model.pde(), convection_on(model.pde(), model.grid())),
             std::move(learned)) {}

std::vector<double> SpreadCorrection::gathered(const std::vector<std::vector<double>>& of_parts) const {
  const int m = parts_.model().unknowns(), frames = parts_.model().frames();
  std::vector<double> out;
  out.reserve(parts_.own_points());
  for (int j = 0; j < frames; ++j)
    for (size_t k = 0; k < of_parts.size(); ++k) {
      const GridPart& part = parts_.mine()[k];
      const double* frame = &of_parts[k][j * part.cells.size() * m];
      for (const int cell : part.inner) out.insert(out.end(), frame + cell * m, frame + (cell + 1) * m);
    }
  return out;
}

std::vector<std::vector<double>> SpreadCorrection::dealt(const std::vector<double>& own) const {
  const int m = parts_.model().unknowns(), frames = parts_.model().frames();
  std::vector<std::vector<double>> out;
  for (const GridPart& part : parts_.mine()) out.emplace_back(frames * part.cells.size() * m);
  const double* from = own.data();
  for (int j = 0; j < frames; ++j)
    for (size_t k = 0; k < out.size(); ++k)
      for (const int cell : parts_.mine()[k].inner) {
        std::copy_n(from, m, &out[k][(j * parts_.mine()[k].cells.size() + cell) * m]);
        from += m;
      }
  return out;
}

Tensor SpreadCorrection::corrected(const Tensor& v, const PdeBatch& batch) const {
  const Region<"spread_correction"> region;
  const int samples = batch.size();
  const size_t count = parts_.mine().size();
  const std::int64_t channels = static_cast<std::int64_t>(samples) * parts_.model().unknowns();
  auto course = std::make_shared<Course>();
  const std::vector<double> from = dense(v).to_vector();
  std::vector<double> values(parts_.fetch().to_points() * channels),
      u(parts_.home().from_points() * channels);
  parts_.fetch().exchange(std::span<const double>(from), std::span<double>(values), channels);
  const bool keep = would_record({v}) || (batch.learned.defined() && would_record({batch.learned}));
  failed_ = -1;
  reports_.clear();
  for (int s = 0; s < samples; ++s) {
    std::vector<std::vector<double>> states(count), residuals(count);
    std::vector<MarchMatrices> matrices(count);
    parts_.each(batch, s, [&](size_t k) {
      const StorageProblem problem = parts_.problem(k, batch, s);
      states[k] = problem.whole(parts_.state(values, k, samples, s));
      SchemePoint point(problem.scheme(), states[k], 1);
      residuals[k] = point.residual();
      matrices[k] = point.linearisation();
    });
    std::vector<MarchPart> rows;
    for (size_t k = 0; k < count; ++k)
      rows.push_back({&matrices[k], parts_.mine()[k].cells, parts_.mine()[k].inner});
    std::vector<double> error = gathered(residuals);
    std::unique_ptr<LinearMarch> march;
    try {
      const MPI_Comm ranks = *static_cast<const MPI_Comm*>(parts_.communicator().native());
      if (krylov_) {
        std::unique_ptr<DistributedMarch> iterative = make_distributed_march(ranks, rows);
        iterative->apply(error, error);
        reports_.push_back(iterative->report());
        march = std::move(iterative);
      } else {
        march = make_tile_march(ranks, rows);
        march->apply(error, error);
      }
    } catch (const NumericalError& failure) {
      failed_ = batch.ids[s];
      // All ranks fail alike.
      throw SharedNumericalError("sample " + std::to_string(batch.ids[s]) + ": " + failure.what(), 0,
                                 "sample " + std::to_string(batch.ids[s]) + ": " + failure.what());
    }
    const std::vector<std::vector<double>> errors = dealt(error);
    for (size_t k = 0; k < count; ++k) {
      std::vector<double> next(states[k].end() - static_cast<long>(errors[k].size()), states[k].end());
      for (size_t p = 0; p < next.size(); ++p) next[p] -= errors[k][p];
      parts_.put_own_state(next, k, samples, s, u);
    }
    if (!keep) continue;
    course->states.push_back(std::move(states));
    course->errors.push_back(std::move(error));
    course->marches.push_back(std::move(march));
  }
  HostArray<double> out(v.shape());
  parts_.home().exchange(std::span<const double>(u), std::span<double>(out.data(), v.count()), channels);
  std::vector<Tensor> inputs{v};
  if (!parts_.learned().empty()) inputs.push_back(batch.learned);
  return apply_op("spread_correction", inputs, out.to_device(),
                  [this, course, batch, channels](const std::vector<Tensor>& bar, const VjpContext&) {
                    const size_t learned = parts_.learned().size();
                    const std::vector<double> from = dense(bar[0]).to_vector();
                    std::vector<double> u_bar(parts_.home().from_points() * channels),
                        by_parameter(parts_.mine().size() * learned);
                    parts_.home().exchange_adjoint(std::span<const double>(from), std::span<double>(u_bar),
                                                   channels);
                    std::vector<Tensor> gradients{
                        Tensor::from(transposed(*course, u_bar, batch, by_parameter), bar[0].shape())};
                    if (learned > 0) {
                      std::vector<double> sums(learned);
                      TileTree(parts_.communicator(), tiles_)
                          .sum(std::span<const double>(by_parameter), std::span<double>(sums));
                      gradients.push_back(Tensor::from(sums, {static_cast<std::int64_t>(learned)}));
                    }
                    return gradients;
                  },
                  {.first_order_only = true});
}

std::vector<double> SpreadCorrection::transposed(const Course& course, const std::vector<double>& u_bar,
                                                 const PdeBatch& batch,
                                                 std::vector<double>& by_parameter) const {
  // With P = r'(v) and e = P^-1 r: d(v - e) = P^-1 r''[e, dv] - P^-1 dr/dp dp + P^-1 (dP/dp) e dp.
  const int samples = batch.size();
  const size_t count = parts_.mine().size(), learned = parts_.learned().size();
  const std::int64_t channels = static_cast<std::int64_t>(samples) * parts_.model().unknowns();
  std::vector<double> own(parts_.home().from_points() * channels),
      errors(parts_.fetch().to_points() * channels), v_bar(errors.size()),
      from(parts_.fetch().from_points() * channels);
  for (int s = 0; s < samples; ++s) {
    const std::vector<std::vector<double>> of_parts = dealt(course.errors[s]);
    for (size_t k = 0; k < count; ++k) parts_.put_own_state(of_parts[k], k, samples, s, own);
  }
  parts_.between().exchange(std::span<const double>(own), std::span<double>(errors), channels);
  for (int s = 0; s < samples; ++s) {
    std::vector<std::vector<double>> bars;
    for (size_t k = 0; k < count; ++k) bars.push_back(parts_.own_state(u_bar, k, samples, s));
    std::vector<double> dual = gathered(bars);
    course.marches[s]->apply_transpose(dual, dual);
    const std::vector<std::vector<double>> duals = dealt(dual);
    parts_.each(batch, s, [&](size_t k) {
      const StorageProblem problem = parts_.problem(k, batch, s);
      SchemePoint point(problem.scheme(), course.states[s][k], 2);
      std::vector<double> bar(problem.points()), by(learned);
      point.second(duals[k], parts_.state(errors, k, samples, s), bar, by);
      parts_.put_state(bar, k, samples, s, v_bar);
      const std::vector<double> gradient = point.parameter_gradient();
      for (size_t l = 0; l < learned; ++l)
        by_parameter[k * learned + l] +=
            by[l] - std::inner_product(duals[k].begin(), duals[k].end(),
                                       gradient.begin() + static_cast<long>(l * duals[k].size()), 0.0);
    });
  }
  parts_.fetch().exchange_adjoint(std::span<const double>(v_bar), std::span<double>(from), channels);
  return from;
}

}  // namespace rankine
