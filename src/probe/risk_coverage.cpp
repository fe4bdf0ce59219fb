#include "src/probe/risk_coverage.hpp"

#include "src/probe/calibration.hpp"
#include "src/probe/scores.hpp"

namespace rankine {

void RiskCoverage::Options::options(OptionVisitor& o) {
  o("on", on, {.help = "split that is judged at the end of training", .choices = {"test", "validation"}});
}

Split RiskCoverage::split() const { return split_of(options_.on); }

void RiskCoverage::check(const ProbeSetup& setup) const { check_classes(setup); }

std::vector<MetricInfo> RiskCoverage::metrics() const {
  const std::string of = ", " + options_.on + " examples";
  return {{options_.on + "_risk_coverage", "1", "mean share of errors among the surest" + of},
          {options_.on + "_excess_risk_coverage", "1", "the same over that of the best order" + of}};
}

void RiskCoverage::see(const ProbeRun&, const EvaluatedBatch& batch, std::vector<double>& numbers) const {
  for (const Judgement& j : judge(batch.outputs, batch.targets))
    numbers.insert(numbers.end(), {j.confidence, j.right ? 1.0 : 0.0});
}

void RiskCoverage::conclude(const std::vector<double>& numbers) {
  std::vector<double> columns[2];
  for (std::size_t i = 0; i < numbers.size(); ++i) columns[i % 2].push_back(numbers[i]);
  const RiskCoverageArea found = risk_coverage_area(columns[0], columns[1]);
  values_ = {found.area, found.excess};
}

}  // namespace rankine
