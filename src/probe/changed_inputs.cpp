#include "src/probe/changed_inputs.hpp"

#include "src/core/statistics.hpp"
#include "src/probe/calibration.hpp"
#include "src/probe/scores.hpp"

namespace rankine {

void ChangedInputs::check(const ProbeSetup& setup) const {
  check_classes(setup);
  const std::vector<std::int64_t> first{0};
  if (setup.data.examples(split(), first, setup.network.dtype()).inputs.dtype() != setup.network.dtype())
    throw InputError("it changes real inputs, and these are tokens; leave it out");
}

std::vector<MetricInfo> ChangedInputs::metrics() const {
  return {{on_ + "_" + how_ + "_accuracy", "1",
           "share of right classes on " + how_ + " inputs, " + on_ + " examples"}};
}

void ChangedInputs::see(const ProbeRun& run, const EvaluatedBatch& batch,
                        std::vector<double>& numbers) const {
  const Tensor x = changed(run, batch);
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = batch.ids;
  const Tensor outputs = run.predict(run.parameters.bind(pass.shards), x, pass);
  for (const Judgement& j : judge(outputs, batch.targets)) numbers.push_back(j.right ? 1 : 0);
}

void ChangedInputs::conclude(const std::vector<double>& numbers) { accuracy_ = mean(numbers); }

}  // namespace rankine
