// Whether a classifier is less sure of inputs unlike those that it has learnt.
#pragma once

#include "src/probe/probe.hpp"

namespace rankine {

/// For each kind of strange input, made of the split's own examples: the probability that the network is
/// surer (largest softmax probability, Hendrycks and Gimpel, arXiv 1610.02136) of an example than of a
/// strange input, which is the area under the ROC curve.
class OutOfDistribution final : public ExampleProbe {
 public:
  struct Options {
    std::vector<std::string> against{"permuted_pixels"};
    std::string on = "test";
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit OutOfDistribution(const Options& options) : options_(options) {}

  void check(const ProbeSetup& setup) const override;
  std::vector<MetricInfo> metrics() const override;
  std::vector<double> measured() const override { return values_; }
  Split split() const override;
  void see(const ProbeRun& run, const EvaluatedBatch& batch, std::vector<double>& numbers) const override;
  void conclude(const std::vector<double>& numbers) override;

 private:
  Options options_;
  std::vector<double> values_;
};

/// Inputs [1, n, C, H, W] with the pixels of all images in one other order; of other shapes all entries of a
/// sample.
Tensor permuted_pixels(const Tensor& inputs);
/// Normal noise of each input's own mean and standard deviation, keyed by its id.
Tensor noise_like(const Tensor& inputs, const std::vector<std::int64_t>& ids);

}  // namespace rankine
