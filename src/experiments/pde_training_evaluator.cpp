#include "src/experiments/pde_training_evaluator.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numeric>
#include <utility>

#include "kernels/error.hpp"
#include "src/core/clock.hpp"
#include "src/core/statistics.hpp"
#include "src/experts/fourier_problem.hpp"
#include "src/pde/method_of_lines.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The scale of all unknowns where it is the same; else residuals stay in those of their unknowns.
double common_scale(const Pde& pde) {
  for (int a = 1; a < pde.unknowns(); ++a)
    if (pde.scale(a) != pde.scale(0)) return 1;
  return pde.scale(0);
}

/// The cells that touch the surface of the box.
std::vector<int> outermost_cells(const Grid& grid) {
  std::vector<int> out;
  for (int cell = 0; cell < grid.cells(); ++cell)
    for (int axis = 0; axis < grid.axes(); ++axis)
      if (const int i = grid.index(cell, axis); i == 0 || i + 1 == grid.cells(axis)) {
        out.push_back(cell);
        break;
      }
  return out;
}

}  // namespace

PdeTraining::Evaluator::Evaluator(const PdeTraining& owner, const PdeData& data,
                                  const Communicator& communicator, const StorageModel& model, const Pde& pde)
    : owner_(owner),
      pde_(pde),
      data_(data),
      communicator_(communicator),
      model_(model),
      unit_(common_scale(pde)),
      to_frames_(owner.times_, data.times, owner.pde_->has_walls()) {}

PdeTraining::Known PdeTraining::Evaluator::know(const PdeSplit& split,
                                                const std::function<void()>& between) const {
  Known known;
  const std::vector<long> own = own_samples(split);
  double seconds = 0;
  int solved = 0;
  for (std::int64_t turn = 0, turns = communicator_.max(static_cast<std::int64_t>(own.size())); turn < turns;
       ++turn) {
    between();
    communicator_.together([&] {
      if (turn >= static_cast<std::int64_t>(own.size())) return;
      const long sample = own[turn];
      const auto number = [&](Measure measure, const auto& compute) {
        double value = nan;
        try {
          value = compute();
          if (!std::isfinite(value))
            known.missing.add(measure_info[measure].name, split.ids[sample], not_finite);
        } catch (const NumericalError& error) {
          known.missing.add(measure_info[measure].name, split.ids[sample], error.what());
        }
        return value;
      };
      Known::Sample& s = known.samples[sample];
      const std::unique_ptr<DiscreteProblem> problem = problem_of(split, sample, {});
      number(rel_l2_discrete, [&] {
        const Stopwatch watch;
        s.exact = problem->solve_exactly();
        seconds += watch.seconds();
        ++solved;
        return norm(s.exact);
      });
      if (!split.own_reference.empty() && owner_.learned_.empty())
        s.reference_residual =
            number(reference_residual, [&] { return residual_of(*problem, split, sample); });
      if (pde_.has_exact())
        s.reference_error = number(reference_error, [&] { return error_of_reference(split, sample); });
    });
  }
  known.seconds_classical = communicator_.max(solved > 0 ? seconds / solved : 0);
  if (communicator_.sum(solved) == 0) {
    known.seconds_classical = nan;
    if (communicator_.is_root())
      known.missing.add("seconds_classical", -1, "no sample has an exact discrete solution");
  }
  known.missing.share(communicator_);
  return known;
}

PdeTraining::Evaluation PdeTraining::Evaluator::operator()(const ParameterSet& parameters,
                                                           ConstraintLayer& layer, const PdeSplit& split,
                                                           const Known* known,
                                                           const std::function<void()>& between, int save,
                                                           std::vector<double>* fields) const {
  const NoGrad no_grad;
  Evaluation result;
  const std::vector<double> learned = owner_.learned_.values(parameters);
  const int batch_size = owner_.train_.batch, width = model_.width();
  const long all_frames = static_cast<long>(owner_.times_.size()) * width;
  double seconds = 0, solves = 0;
  Timing timing;
  for (int first = 0; first < split.size(); first += batch_size) {
    between();
    std::vector<long> which(std::min(batch_size, split.size() - first));
    std::iota(which.begin(), which.end(), static_cast<long>(first));
    PdeBatch batch = owner_.make_batch(split, which, 0, false);
    const BlockPartition blocks(batch.size(), communicator_.size());
    const long own = blocks.size(communicator_.rank()), first_own = blocks.begin(communicator_.rank());
    const Stopwatch watch;
    std::vector<double> u;
    std::string lost;
    try {
      const BoundParameters bound = parameters.bind(owner_.model_context_->tiles);
      batch.learned = owner_.learned_.values(bound);
      u = rolled_out(bound, layer, batch);
      seconds += watch.seconds();
      for (const ExpertStatistics& s : layer.statistics()) {
        result.iterations += s.iterations * batch.size();
        solves += batch.size();
      }
    } catch (const SharedNumericalError& error) {  // on all ranks
      lost = error.own;
    } catch (const SolverStop& error) {
      lost = error.what();
    }
    if (!lost.empty()) u.assign(static_cast<std::size_t>(own * all_frames), nan);

    std::vector<double> local, kept;
    communicator_.together([&] {
      for (long s = 0; s < own; ++s) {
        std::vector<double> solution(u.begin() + s * all_frames, u.begin() + (s + 1) * all_frames);
        const long sample = first + first_own + s;
        if (lost.empty())
          measure(solution, split, sample, learned, known, local, timing, result.missing);
        else
          give_up(split, sample, lost, known, local, result.missing);
        if (sample < save) {
          const std::vector<double> frames = to_frames_(solution, width);
          kept.insert(kept.end(), frames.begin(), frames.end());
        }
      }
    });
    const std::vector<double> all = communicator_.all_gather_varying(std::span<const double>(local));
    for (size_t i = 0; i < all.size(); ++i) result.measures[i % rankine::measures].push_back(all[i]);
    if (fields && first < save) {
      const std::vector<double> gathered = communicator_.gather_varying(std::span<const double>(kept));
      fields->insert(fields->end(), gathered.begin(), gathered.end());
    }
  }
  result.seconds_per_sample = communicator_.max(seconds) / split.size();
  result.seconds_per_correction = communicator_.max(timing.correction / std::max(1, timing.samples));
  if (solves > 0) result.iterations /= solves;
  result.missing.share(communicator_);
  return result;
}

std::vector<long> PdeTraining::Evaluator::own_samples(const PdeSplit& split) const {
  std::vector<long> own;
  for (int first = 0; first < split.size(); first += owner_.train_.batch) {
    const BlockPartition blocks(std::min(owner_.train_.batch, split.size() - first), communicator_.size());
    for (long s = 0; s < blocks.size(communicator_.rank()); ++s)
      own.push_back(first + blocks.begin(communicator_.rank()) + s);
  }
  return own;
}

std::unique_ptr<DiscreteProblem> PdeTraining::Evaluator::problem_of(const PdeSplit& split, long sample,
                                                                    std::span<const double> learned) const {
  PdeBatch one = owner_.make_batch(split, {sample}, 0, false);
  if (!learned.empty()) one.parameters = owner_.learned_.insert(one.parameters, learned).values;
  return discrete_problem(model_, one, 0);
}

std::vector<double> PdeTraining::Evaluator::rolled_out(const BoundParameters& bound, ConstraintLayer& layer,
                                                       PdeBatch& batch) const {
  const int windows = owner_.grid_.windows, width = model_.width();
  const long one = static_cast<long>(owner_.window_times_.size()) * width, later = one - width;
  std::vector<std::vector<double>> solutions;
  for (int w = 0; w < windows; ++w) {
    const std::vector<double> u =
        layer.predict(owner_.network_fields(bound, owner_.network_input(batch)), batch);
    std::vector<double> last;
    solutions.resize(u.size() / one);
    for (size_t s = 0; s < solutions.size(); ++s) {
      const auto begin = u.begin() + static_cast<long>(s) * one;
      solutions[s].insert(solutions[s].end(), begin + (w == 0 ? 0 : width), begin + one);
      last.insert(last.end(), begin + later, begin + one);
    }
    if (w + 1 < windows) batch.initial = communicator_.all_gather_varying(std::span<const double>(last));
  }
  std::vector<double> all;
  for (const std::vector<double>& solution : solutions)
    all.insert(all.end(), solution.begin(), solution.end());
  return all;
}

double PdeTraining::Evaluator::residual_of(const DiscreteProblem& problem, const PdeSplit& split,
                                           long sample) const {
  const size_t own = owner_.times_.size() * model_.width();
  return norm(problem.evaluate(std::span(&split.own_reference[sample * own], own))) /
         std::sqrt(static_cast<double>(problem.points())) * unit_;
}

double PdeTraining::Evaluator::error_of_reference(const PdeSplit& split, long sample) const {
  std::vector<double> frames;
  for (double t : data_.times) {
    const std::vector<double> frame = exact_cells(pde_, t, parameters_of(split, sample), model_.grid());
    frames.insert(frames.end(), frame.begin(), frame.end());
  }
  return distance(reference_of(split, sample), frames) / norm(frames);
}

void PdeTraining::Evaluator::recall(const Known& known, long sample, double* values) const {
  const Known::Sample& s = known.samples.at(sample);
  values[reference_residual] = s.reference_residual;
  values[reference_error] = s.reference_error;
}

void PdeTraining::Evaluator::give_up(const PdeSplit& split, long sample, const std::string& why,
                                     const Known* known, std::vector<double>& out,
                                     MissingMetrics& missing) const {
  double values[rankine::measures];
  std::fill(std::begin(values), std::end(values), nan);
  if (known) recall(*known, sample, values);
  for (int m = 0; m < rankine::measures; ++m) {
    const bool of_prediction = m != reference_error && (m != reference_residual || !owner_.learned_.empty());
    if (of_prediction && (known || m == rel_l2)) missing.add(measure_info[m].name, split.ids[sample], why);
  }
  out.insert(out.end(), std::begin(values), std::end(values));
}

void PdeTraining::Evaluator::measure(std::vector<double>& u, const PdeSplit& split, long sample,
                                     std::span<const double> learned, const Known* known,
                                     std::vector<double>& out, Timing& timing,
                                     MissingMetrics& missing) const {
  const int width = model_.width();
  const size_t frames = data_.times.size();
  const std::span<const double> reference = reference_of(split, sample);
  const std::vector<double> at_frames = to_frames_(u, width);
  double values[rankine::measures];
  std::fill(std::begin(values), std::end(values), nan);
  bool noted[rankine::measures] = {};
  const auto note = [&](int m, const std::string& why) {
    if (!std::exchange(noted[m], true)) missing.add(measure_info[m].name, split.ids[sample], why);
  };
  const auto attempt = [&](std::initializer_list<int> what, const auto& compute) {
    try {
      compute();
    } catch (const NumericalError& error) {
      for (int m : what) note(m, error.what());
    }
  };
  const double size = norm(reference);
  values[rel_l2] = distance(at_frames, reference) / size;
  if (known) {
    const std::span<const double> initial(&split.initial[sample * width], width);
    const std::unique_ptr<DiscreteProblem> problem = problem_of(split, sample, learned);
    // The correction and the residual know the initial state: a method's own first frame does not enter.
    std::vector<double> corrected(u);
    std::copy(initial.begin(), initial.end(), corrected.begin());
    std::vector<double> final_state(corrected);
    attempt({rel_l2_corrected}, [&] {
      const Stopwatch watch;
      const CorrectionReport once =
          problem->correct(corrected, {.steps = 1, .rtol = 0, .state = owner_.formulation_.correct.state});
      timing.correction += watch.seconds();
      ++timing.samples;
      values[pde_residual] = once.residual_before * unit_;
      values[rel_l2_corrected] = distance(to_frames_(corrected, width), reference) / size;
    });
    if (std::isnan(values[pde_residual]))  // of a prediction that cannot be corrected
      attempt({pde_residual}, [&] {
        values[pde_residual] =
            norm(problem->evaluate(corrected)) / std::sqrt(static_cast<double>(problem->points())) * unit_;
      });
    const CorrectionOptions& correct = owner_.formulation_.correct;
    attempt({rel_l2_final, correction_residual, correction_steps, correction_converged}, [&] {
      const CorrectionReport report = problem->correct(final_state, correct);
      values[rel_l2_final] = distance(to_frames_(final_state, width), reference) / size;
      values[correction_residual] = report.residual_after * unit_;
      values[correction_steps] = report.steps;
      values[correction_converged] = report.status == CorrectionStatus::converged ? 1 : 0;
    });
    recall(*known, sample, values);
    const std::vector<double>& exact = known->samples.at(sample).exact;
    // Of a steady problem the last frame alone is the solution.
    const size_t all = pde_.steady() ? width : exact.size();
    if (!exact.empty())
      values[rel_l2_discrete] =
          distance(std::span(u).last(all), std::span(exact).last(all)) / norm(std::span(exact).last(all));
    if (!split.own_reference.empty() && !owner_.learned_.empty())
      attempt({reference_residual},
              [&] { values[reference_residual] = residual_of(*problem, split, sample); });
    double walls = 0;
    const int m = model_.unknowns();
    std::vector<double> difference(at_frames.size());  // in the deck's units
    for (size_t p = 0; p < difference.size(); ++p)
      difference[p] = (at_frames[p] - reference[p]) * pde_.scale(static_cast<int>(p) % m);
    const std::vector<int> outermost = outermost_cells(model_.grid());
    for (size_t j = 0; j < frames; ++j)
      for (const int cell : outermost)
        for (int a = 0; a < m; ++a) walls += std::pow(difference[j * width + cell * m + a], 2);
    values[ic_error] = pde_.steady() ? 0 : distance(std::span(u).first(width), initial) / norm(initial);
    values[bc_error] =
        std::sqrt(walls / (static_cast<double>(outermost.size()) * m * static_cast<double>(frames)));
    if (correct.steps > 0) u = std::move(final_state);
  }
  const auto expected_nan = [&](int m) {
    if (m == rel_l2) return false;
    if (!known) return true;
    if (m == rel_l2_discrete) return known->samples.at(sample).exact.empty();  // noted before training
    return m == reference_error || m == reference_residual;
  };
  for (int m = 0; m < rankine::measures; ++m)
    if (!std::isfinite(values[m]) && !expected_nan(m)) note(m, not_finite);
  out.insert(out.end(), std::begin(values), std::end(values));
}

}  // namespace rankine
