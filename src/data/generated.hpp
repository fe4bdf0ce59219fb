// Data sets that are computed, from `data.seed` and the examples' ids, by every rank for itself.
#pragma once

#include <string>
#include <vector>

#include "src/data/stored_dataset.hpp"

namespace rankine {

/// Classes that are mixtures of Gaussians: x = centre + spread * normal, centre = separation * normal, drawn
/// once for each component of each class. Inputs [features].
class GaussianMixture final : public StoredDataset {
 public:
  struct Options : GeneratedSizes {
    int classes = 4, features = 20, components = 1;
    double separation = 1, spread = 1;
    void options(OptionVisitor& o);
  };
  GaussianMixture(const Options& options, const DatasetContext& context);
};

/// Regression on a network that was drawn at random: x normal, y = W_l a(... a(W_1 x)) + noise * normal, with
/// weights of variance 1 / fan-in. Inputs [features], targets [outputs].
class Teacher final : public StoredDataset {
 public:
  struct Options : GeneratedSizes {
    int features = 20, outputs = 1;
    std::vector<int> hidden = {10};
    std::string activation = "relu";
    double noise = 0;
    void options(OptionVisitor& o);
  };
  Teacher(const Options& options, const DatasetContext& context);
};

/// Regression whose target is another linear map in each of some Gaussian clusters: x = centre + spread *
/// normal, centre = separation * normal, y = w x + b with w of variance 1 / features and b normal, both of
/// the cluster. All targets are moved and scaled so that those of training have mean 0 and variance 1: a mean
/// squared error is a share of the variance. Inputs [features], targets [1].
class ClusterRegression final : public StoredDataset {
 public:
  struct Options : GeneratedSizes {
    int clusters = 8, features = 8;
    double separation = 2, spread = 0.7;
    void options(OptionVisitor& o);
  };
  ClusterRegression(const Options& options, const DatasetContext& context);
};

/// y = sum_j amplitudes[j] sin(2 pi frequencies[j] x) + noise * normal, x uniform in [low, high]. Inputs [1],
/// targets [1].
class Sine final : public StoredDataset {
 public:
  struct Options : GeneratedSizes {
    std::vector<double> frequencies = {1}, amplitudes = {1};
    double low = -1, high = 1, noise = 0;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  Sine(const Options& options, const DatasetContext& context);
};

/// Points on the unit circle, y = sum_k cosine[k - 1] cos(k t) + sine[k - 1] sin(k t) at angle t: those of
/// training evenly spaced, others drawn. Inputs [2], targets [1].
class Circle final : public StoredDataset {
 public:
  struct Options : GeneratedSizes {
    std::vector<double> cosine = {0.5}, sine = {0, 1};
    void options(OptionVisitor& o);
  };
  Circle(const Options& options, const DatasetContext& context);
};

/// The parity of `relevant` of `bits` bits, which are given as -1 and 1; which of them matter is drawn. No
/// bit pattern stands twice. Inputs [bits], two classes.
class Parity final : public StoredDataset {
 public:
  struct Options : GeneratedSizes {
    int bits = 40, relevant = 3;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  Parity(const Options& options, const DatasetContext& context);
};

/// a o b mod p for pairs of numbers below p, of which a fraction is given for training. An example's id is
/// a p + b. Inputs: tokens [2], both numbers one-hot [2 p], or the sum of both [p]; p classes.
class ModularAddition final : public StoredDataset {
 public:
  struct Options {
    int modulus = 59;
    std::string operation = "add", inputs = "tokens";
    bool ordered = true;
    double train = 0.4, validation = 0, label_noise = 0;
    long seed = 0;
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  ModularAddition(const Options& options, const DatasetContext& context);

  Shape input_shape() const override { return {width_ > 0 ? width_ : 2}; }
  Examples examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t seed,
                    std::int64_t step) const override;

 private:
  std::int64_t modulus_;
  std::int64_t width_;  // of inputs that are expanded when asked for; 0: tokens
};

/// Spike trains whose times carry the class: each class has one time for each channel; an example repeats it
/// with jitter, loses some spikes, and gains some anywhere. Inputs [steps, channels], 0 or 1.
class LatencySpikes final : public Dataset {
 public:
  struct Options : GeneratedSizes {
    int classes = 10, steps = 20, channels = 64;
    double jitter = 1, lost = 0.1, background = 0.01;
    void options(OptionVisitor& o);
  };
  LatencySpikes(const Options& options, const DatasetContext& context);

  Shape input_shape() const override { return {options_.steps, options_.channels}; }
  std::int64_t classes() const override { return options_.classes; }
  Shape target_shape() const override { return {}; }
  std::int64_t size(Split split) const override { return options_.of(split); }
  Examples examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t seed,
                    std::int64_t step) const override;

 private:
  Options options_;
  std::vector<std::vector<int>> times_;  // of each class: the step at which a channel fires
};

}  // namespace rankine
