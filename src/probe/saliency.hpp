// Where in an image a network finds the class.
#pragma once

#include "src/probe/probe.hpp"
#include "src/probe/saliency_maps.hpp"

namespace rankine {

/// Maps of saliency_maps.hpp from the outputs of the blocks of `at`, for the class of each example. Metrics
/// of each block, and of the product of their maps: `pointing`, the share of examples whose map is largest in
/// the box of the thing, and `energy`, the share of a map's sum in the box. With `box_above`, `localisation`:
/// the share of examples where the box that the map gives (localisation.hpp) overlaps that of the thing by
/// half or more. `class_correlation`: mean correlation of the (combined) maps for the most and for the least
/// probable class. With an inner step, maps are those of the network after one step of gradient descent for
/// the loss of the class asked for, from each example alone.
class Saliency final : public ExampleProbe {
 public:
  struct Options {
    std::string map = "normgrad", on = "test";
    std::vector<int> at;
    double inner_rate = 0;
    double box_above = 0;
    void options(OptionVisitor& o);
  };
  explicit Saliency(const Options& options) : options_(options) {}

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override { return values_; }
  Split split() const override { return split_of(options_.on); }
  void see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const override;
  void conclude(const std::vector<double>& numbers) override;

  /// Those of the blocks and their product for the classes [1, n] of inputs [1, n, C, H, W], after the inner
  /// step.
  std::vector<SaliencyMaps> maps(const ProbeRun& run, const Tensor& inputs, const Tensor& classes,
                                 const std::vector<std::int64_t>& ids) const;

 private:
  Options options_;
  std::vector<double> values_;
};

/// The parameters after one step of gradient descent for the loss of class `asked` [1, 1] at an input
/// [1, 1, ...], in evaluation mode; running statistics stay.
ParameterSet after_inner_step(const ProbeRun& run, const Tensor& input, const Tensor& asked, std::int64_t id,
                              double rate);

}  // namespace rankine
