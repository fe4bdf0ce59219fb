#include "src/experts/storage_batch.hpp"

#include <algorithm>

#include "src/core/random.hpp"
#include "src/experts/solve_reports.hpp"

namespace rankine {

StorageSetup::StorageSetup(const FormulationOptions& o, const StorageModel& of, const Communicator& ranks,
                           const TilePartition& tiles, std::vector<int> parameters, std::uint64_t key)
    : options(o),
      model(of),
      communicator(ranks),
      transpose(ranks, tiles),
      learned(std::move(parameters)),
      seed(key) {
  if (o.soft()) return;
  mixture = std::make_unique<const StorageMixture>(
      model.frames(), model.grid(), model.unknowns(), equal_boxes(model.frames(), model.grid(), o.experts),
      o.basis, o.coupling == "assembled" ? Coupling::assembled : Coupling::none, o.row_weighting(), o.solver);
}

std::int64_t StorageBatch::local() const {
  return setup_->transpose.samples(batch_.size()).size(setup_->communicator.rank());
}
std::int64_t StorageBatch::first() const {
  return setup_->transpose.samples(batch_.size()).begin(setup_->communicator.rank());
}

void StorageBatch::each_sample(const std::function<void(std::int64_t)>& work) {
  failed_ = -1;
  setup_->communicator.together([&] {
    for (std::int64_t s = 0; s < local(); ++s) {
      const long id = batch_.ids[first() + s];
      try {
        work(s);
      } catch (const NumericalError& error) {
        failed_ = id;
        throw NumericalError("sample " + std::to_string(id) + ": " + error.what());
      }
    }
  });
}

void StorageBatch::make_problems() {
  const std::vector<double> learned =
      batch_.learned.defined() ? batch_.learned.to_vector() : std::vector<double>();
  each_sample([&](std::int64_t s) { problems_.push_back(make_problem(learned, s)); });
}

StorageProblem StorageBatch::make_problem(std::span<const double> learned, std::int64_t s) const {
  const StorageModel& model = setup_->model;
  const size_t sample = first() + s, width = model.width();
  const size_t count = batch_.parameters.size() / batch_.size();
  SchemeParameters parameters;
  parameters.values.assign(batch_.parameters.begin() + sample * count,
                           batch_.parameters.begin() + (sample + 1) * count);
  parameters.learned = setup_->learned;
  const size_t fields = batch_.fields.size() / batch_.size();
  parameters.fields.assign(batch_.fields.begin() + sample * fields,
                           batch_.fields.begin() + (sample + 1) * fields);
  for (size_t l = 0; l < learned.size(); ++l) parameters.values[setup_->learned[l]] = learned[l];
  return model.sample(
      {batch_.initial.begin() + sample * width, batch_.initial.begin() + (sample + 1) * width},
      std::move(parameters));
}

std::span<const double> StorageBatch::field(const double* u, std::int64_t s) const {
  const long points = setup_->model.points();
  return {u + s * points, static_cast<size_t>(points)};
}

std::span<const double> StorageBatch::basis_of(const double* whole, std::int64_t s) const {
  const long size = setup_->model.points() * options().basis;
  return {whole + s * size, static_cast<size_t>(size)};
}

std::vector<double> StorageBatch::own_prediction(const double* whole, std::int64_t s) const {
  std::vector<double> v(setup_->model.points());
  const std::span<const double> basis = basis_of(whole, s);
  for (size_t p = 0; p < v.size(); ++p) v[p] = basis[p * options().basis];
  return v;
}

std::vector<double> StorageBatch::corrected_target(std::int64_t s, std::span<const double> later) const {
  const StorageProblem& problem = problems_[s];
  std::vector<double> u = problem.whole(later);
  std::vector<std::vector<double>> states;
  const bool frozen = setup_->model.march_options().frozen();
  problem.correct_steps(u, {.steps = 1, .state = frozen ? "frozen" : "prediction"}, states);
  return {u.begin() + problem.width(), u.end()};
}

ObservedRows StorageBatch::observed_rows(std::int64_t s) const {
  if (!options().observations.rows || batch_.observations.empty()) return {};
  return {batch_.observations[first() + s].get(), options().observations.row_weight};
}

std::vector<std::vector<long>> StorageBatch::sampled_rows(std::int64_t s) const {
  const RandomStream stream(setup_->seed, batch_.training ? "training-points" : "evaluation-points");
  const StorageMixture& mixture = *setup_->mixture;
  const int points = options().points;
  std::vector<std::vector<long>> rows;
  for (int k = 0; k < mixture.solves(); ++k) {
    std::vector<long> all = mixture.all_rows(k);
    if (points > 0 && points < static_cast<long>(all.size())) {
      std::vector<long> chosen;
      for (long r : stream.choose(points, static_cast<long>(all.size()), batch_.step,
                                  batch_.ids[first() + s] * mixture.solves() + k))
        chosen.push_back(all[r]);
      std::sort(chosen.begin(), chosen.end());
      all = std::move(chosen);
    }
    rows.push_back(std::move(all));
  }
  return rows;
}

void StorageBatch::keep(const MixtureSolution& solved, HostArray<double>& u, std::int64_t s) {
  const StorageModel& model = setup_->model;
  std::copy(solved.u.begin() + model.width(), solved.u.end(), u.data() + s * model.points());
  reports.push_back(solved.reports);
  coefficients.push_back(solved.coefficients);
}

void StorageBatch::check_solves() const {
  stop_if_told(setup_->communicator, options().solver, batch_, first(), reports);
}

bool StorageBatch::skipped(std::int64_t s) const {
  return !reports.empty() && rankine::skipped(options().solver, reports[s]);
}

std::vector<Tensor> StorageBatch::with_learned(Tensor first) const {
  std::vector<Tensor> inputs{std::move(first)};
  if (!setup_->learned.empty()) inputs.push_back(batch_.learned);
  return inputs;
}

void StorageBatch::add_learned_gradient(const std::vector<double>& by_sample,
                                        std::vector<Tensor>& gradients) const {
  const size_t count = setup_->learned.size();
  if (count == 0) return;
  const size_t local = by_sample.size() / count;
  const TileTree tree(setup_->communicator, setup_->transpose.samples(batch_.size()));
  std::vector<double> sums(count);
  for (size_t l = 0; l < count; ++l) {
    std::vector<double> values(local);
    for (size_t s = 0; s < local; ++s) values[s] = by_sample[s * count + l];
    sums[l] = tree.sum_values(std::span<const double>(values));
  }
  gradients.push_back(Tensor::from(sums, {static_cast<std::int64_t>(count)}));
}

}  // namespace rankine
