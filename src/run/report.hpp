// What is said about the metrics of a run or of a sweep: the table, and the verdicts on the expectations.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "src/deck/expect.hpp"
#include "src/run/experiment.hpp"

namespace rankine {

/// The metrics of one variant over its seeds.
struct VariantMetrics {
  std::string variant;
  std::vector<MetricInfo> metrics;                    ///< the rows of the table
  std::map<std::string, std::vector<double>> values;  ///< one for each seed; may hold more than the rows
};

/// Rows are metrics, columns are variants: mean and standard deviation over the seeds.
std::string metrics_table(const std::vector<const VariantMetrics*>& variants);

struct Verdicts {
  std::vector<ExpectationResult> results;
  bool all_true = true;  ///< all hold, and the run says something
  std::string text;      ///< a line for each expectation
};
/// Expectations about variants that are not among `variants` are not checked. Where a void condition does not
/// hold, all are void.
Verdicts judge(const std::vector<Expectation>& expectations,
               const std::vector<const VariantMetrics*>& variants);

}  // namespace rankine
