// Times kernels against each other: the same products by each of them in turn, so that what the machine does
// beside it meets all alike. The first rank measures, the others wait.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/bench/kernel.hpp"
#include "src/deck/node.hpp"
#include "src/run/experiment.hpp"
#include "src/sparse/structure.hpp"

namespace rankine {

struct BenchOptions {
  std::vector<BenchSize> sizes{BenchSize{}};
  double density = 1;
  int repetitions = 15;
  double at_least = 1e-3;
  void options(OptionVisitor& o);
};

class Bench final : public Experiment {
 public:
  Bench(const DeckNode& variant, const ExperimentSetup& setup);
  static void describe(OptionVisitor& o);

  std::vector<MetricInfo> metrics() const override;
  RunEstimate estimate() const override;
  Metrics run(RunContext& context) override;

 private:
  /// For each kernel the shortest and the median seconds, then the work of the first one.
  std::vector<double> measure(std::uint64_t seed, std::int64_t place) const;

  std::string variant_;
  std::int64_t first_seed_;  // whose times are said
  BenchOptions options_;
  std::unique_ptr<Structure> structure_;  // of the weights that are 0
  std::vector<std::string> names_;        // the kernel that is judged, then the others
  std::vector<DeckNode> nodes_;
};

}  // namespace rankine
