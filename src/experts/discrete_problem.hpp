// The discretised PDE of one sample as evaluations see it, whatever the discretisation.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "src/deck/options.hpp"

namespace rankine {

/// What a correction of a prediction reached.
/// diverged: a correction raised the residual or made it not finite, or it was not finite before the first.
enum class CorrectionStatus { converged, step_limit, diverged };
const char* to_string(CorrectionStatus status);

struct CorrectionReport {
  CorrectionStatus status = CorrectionStatus::step_limit;
  int steps = 0;
  double residual_before = 0, residual_after = 0;  ///< |r|_2 / sqrt(points)
};

struct CorrectionOptions {
  int steps = 0;
  double rtol = 1e-8;
  std::string state = "prediction";
  bool train = false;
  void options(OptionVisitor& o);
};

/// Fields u are [frames + 1][cell][unknown] with the initial state in frame 0; residuals are
/// [frames][cell][unknown].
class DiscreteProblem {
 public:
  virtual ~DiscreteProblem() = default;
  virtual int width() const = 0;    ///< numbers in a frame
  virtual long points() const = 0;  ///< numbers of a residual
  /// r(u).
  virtual std::vector<double> evaluate(std::span<const double> u) const = 0;
  /// u <- u - P(u)^-1 r(u), at most `options.steps` times, until |r| <= rtol |r of the start|. A step that more
  /// than doubles the residual is taken back and ends it as diverged.
  CorrectionReport correct(std::vector<double>& u, const CorrectionOptions& options) const;
  virtual int frames() const = 0;
  /// The u with r(u) = 0 from the sample's initial state. NumericalError where it is lost.
  std::vector<double> solve_exactly() const { return solve_frames(frames()); }
  /// Its first frames, the initial one included.
  virtual std::vector<double> solve_frames(int frames) const = 0;

 protected:
  /// P(u)^-1 r for the residual r of u.
  virtual std::vector<double> error_of(const std::vector<double>& u, std::vector<double> r,
                                       const CorrectionOptions& options) const = 0;
};

}  // namespace rankine
