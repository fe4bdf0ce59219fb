#include "src/probe/calibration.hpp"

#include "src/core/statistics.hpp"
#include "src/probe/scores.hpp"

namespace rankine {

void check_classes(const ProbeSetup& setup) {
  if (setup.data.classes() == 0)
    throw InputError(
        "it judges classes, and the targets of this data set are real numbers; leave it out, or take a data "
        "set with classes");
}

void Calibration::Options::options(OptionVisitor& o) {
  o("bins", bins, {.help = "of the confidence, equally wide", .min = 1});
  o("on", on, {.help = "split that is judged at the end of training", .choices = {"test", "validation"}});
}

Split Calibration::split() const { return split_of(options_.on); }

void Calibration::check(const ProbeSetup& setup) const { check_classes(setup); }

std::vector<MetricInfo> Calibration::metrics() const {
  const std::string of = ", " + options_.on + " examples";
  return {{options_.on + "_calibration_error", "1", "expected calibration error" + of},
          {options_.on + "_log_loss", "1", "mean negative log likelihood of the true class" + of},
          {options_.on + "_brier", "1", "mean squared error of the probabilities, summed over classes" + of}};
}

void Calibration::see(const ProbeRun&, const EvaluatedBatch& batch, std::vector<double>& numbers) const {
  for (const Judgement& j : judge(batch.outputs, batch.targets))
    numbers.insert(numbers.end(), {j.confidence, j.right ? 1.0 : 0.0, j.log_loss, j.brier});
}

void Calibration::conclude(const std::vector<double>& numbers) {
  std::vector<double> columns[4];
  for (std::size_t i = 0; i < numbers.size(); ++i) columns[i % 4].push_back(numbers[i]);
  values_ = {calibration_error(columns[0], columns[1], options_.bins), mean(columns[2]), mean(columns[3])};
}

}  // namespace rankine
