// What is measured of a network that solves a PDE, sample by sample.
#pragma once

#include <cmath>
#include <map>

#include "src/data/interpolation.hpp"
#include "src/experiments/pde_training.hpp"

namespace rankine {

/// What an evaluation measures of one sample.
enum Measure {
  rel_l2,
  rel_l2_corrected,
  rel_l2_discrete,
  pde_residual,
  reference_residual,
  reference_error,
  ic_error,
  bc_error,
  rel_l2_final,
  correction_residual,
  correction_steps,
  correction_converged,
  measures
};

struct MeasureInfo {
  const char* name;
  const char* help;
};
inline constexpr MeasureInfo measure_info[measures] = {
    {"rel_l2", "relative L2 error on the reference's frames"},
    {"rel_l2_corrected", "the same after one march correction u - P(u)^-1 r(u)"},
    {"rel_l2_discrete", "relative L2 distance from the exact discrete solution, own frames"},
    {"pde_residual", "root mean square of the conservative residual"},
    {"reference_residual", "the same of the reference on the method's own frames; NaN where it has others"},
    {"reference_error", "relative L2 distance of the reference from the exact solution that pde.exact gives"},
    {"ic_error", "relative L2 error of the initial frame"},
    {"bc_error", "root mean square error of the outermost cells"},
    {"rel_l2_final", "rel_l2 after the corrections that formulation.correct asks for"},
    {"correction_residual", "root mean square of the residual that they reached"},
    {"correction_steps", "corrections applied"},
    {"correction_converged", "1 where they reached their tolerance"},
};

/// Whether a measure applies to the equation at all.
inline bool measured(const Pde& pde, int measure) {
  if (measure == ic_error) return !pde.steady();
  return measure != reference_error || pde.has_exact();
}

/// Everything that an evaluation of a split gives. All ranks have the same bits, times apart.
struct PdeTraining::Evaluation {
  std::vector<double> measures[rankine::measures];  // [measure][sample]
  double seconds_per_sample = 0, seconds_per_correction = 0;
  double iterations = 0;
  MissingMetrics missing;
};

/// What the deck alone says of the samples of a split: known before training.
struct PdeTraining::Known {
  struct Sample {
    std::vector<double> exact;  // the discrete solution; empty where it cannot be computed
    double reference_residual = NAN, reference_error = NAN;
  };
  std::map<long, Sample> samples;  // those that this rank evaluates
  double seconds_classical = NAN;
  MissingMetrics missing;
};

/// Measures networks on the samples of a split, which are dealt to ranks.
class PdeTraining::Evaluator {
 public:
  Evaluator(const PdeTraining& owner, const PdeData& data, const Communicator& communicator,
            const StorageModel& model, const Pde& pde);

  /// What is known of the split before training. Calls `between` on all ranks between the samples.
  Known know(const PdeSplit& split, const std::function<void()>& between) const;

  /// `known`: of this split; null: the cheap form, which measures rel_l2 only. `between` is called on all
  /// ranks between the batches. `fields`: takes the first `save` samples at the reference's frames (root
  /// only).
  Evaluation operator()(const ParameterSet& parameters, ConstraintLayer& layer, const PdeSplit& split,
                        const Known* known, const std::function<void()>& between, int save = 0,
                        std::vector<double>* fields = nullptr) const;

 private:
  static constexpr const char* not_finite = "its value is not finite";

  struct Timing {
    double correction = 0;
    int samples = 0;
  };

  /// The samples of a split that this rank measures: its part of each batch.
  std::vector<long> own_samples(const PdeSplit& split) const;

  static std::vector<double> parameters_of(const PdeSplit& split, long sample) {
    const size_t count = split.parameters.size() / split.size();
    return {split.parameters.begin() + sample * count, split.parameters.begin() + (sample + 1) * count};
  }

  /// With the true values of the parameters, or with `learned` in their places.
  std::unique_ptr<DiscreteProblem> problem_of(const PdeSplit& split, long sample,
                                              std::span<const double> learned) const;
  /// The layer's predictions of a batch, window after window: [local sample][frames + 1][cell][unknown].
  std::vector<double> rolled_out(const BoundParameters& bound, ConstraintLayer& layer, PdeBatch& batch) const;

  double residual_of(const DiscreteProblem& problem, const PdeSplit& split, long sample) const;

  std::span<const double> reference_of(const PdeSplit& split, long sample) const {
    const size_t each = data_.times.size() * model_.width();
    return {&split.reference[sample * each], each};
  }

  double error_of_reference(const PdeSplit& split, long sample) const;

  /// What was known before training, for a sample's measures.
  void recall(const Known& known, long sample, double* values) const;

  /// Appends the measures of a sample that has no prediction.
  void give_up(const PdeSplit& split, long sample, const std::string& why, const Known* known,
               std::vector<double>& out, MissingMetrics& missing) const;

  /// Appends the measures of one sample to `out`; `u` ends with the corrections that the deck asks for.
  /// Residual and corrections are those of the learned parameters, the exact solution is that of the true
  /// ones. What cannot be computed is NaN and noted.
  void measure(std::vector<double>& u, const PdeSplit& split, long sample, std::span<const double> learned,
               const Known* known, std::vector<double>& out, Timing& timing, MissingMetrics& missing) const;

  const PdeTraining& owner_;
  const Pde& pde_;  // whose unknowns the data and the network have
  const PdeData& data_;
  const Communicator& communicator_;
  const StorageModel& model_;
  double unit_;  // of residuals, in the deck's units
  FrameInterpolation to_frames_;
};

}  // namespace rankine
