// Normalisations as blocks.
#pragma once

#include "src/nn/layer.hpp"
#include "src/nn/norms.hpp"

namespace rankine {

/// Batch norm of [C, ...]: moments of each channel over samples and space in training, their running averages
/// otherwise. Parameters: weight, bias [C]; frozen: running_mean, running_variance [C], which a training pass
/// with Pass::update_statistics writes. With `ghosts` n > 1, each of n equal parts of the batch, no larger
/// than a shard, has its own moments mu_i in training, and the running ones become
///   (1 - e)^n running + sum_i (1 - e)^(n - i) e mu_i,  e = momentum
/// (Hoffer, Hubara, Soudry, arXiv 1705.08741, algorithm 1).
class BatchNorm final : public Layer {
 public:
  struct Options {
    std::string statistics = "global";
    double momentum = 0.1, epsilon = 1e-5;
    bool affine = true;
    int ghosts = 1;
    void options(OptionVisitor& o);
  };
  BatchNorm(const Options& options, const LayerContext& context);
  Shape output() const override { return input(); }
  void check_batch(std::int64_t batch, std::int64_t shards) const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Tensor normalise_ghosts(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Pass& pass,
                          BatchStatistics* fresh, double& momentum) const;
  Options options_;
};

/// Layer norm, group norm and root mean square norm: moments of rows of each sample. Parameters: weight and
/// (not of rms_norm) bias, of the shape of a row, or [C] for group norm.
class RowNormLayer : public Layer {
 public:
  Shape output() const override { return input(); }
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 protected:
  RowNormLayer(const LayerContext& context, const RowNorm& how, bool weight, bool bias)
      : Layer(context), how_(how), weight_(weight), bias_(bias) {}
  /// Over `axes` trailing axes; throws where the input has fewer.
  void set_axes(const char* what, int axes);

  RowNorm how_;
  bool weight_, bias_;
  Shape shape_;  // of weight and bias
};

class LayerNorm final : public RowNormLayer {
 public:
  struct Options {
    int axes = 1;
    double epsilon = 1e-5;
    bool affine = true;
    void options(OptionVisitor& o);
  };
  LayerNorm(const Options& options, const LayerContext& context);
};

class RmsNorm final : public RowNormLayer {
 public:
  struct Options {
    int axes = 1;
    double epsilon = 1e-6;
    bool affine = true;
    void options(OptionVisitor& o);
  };
  RmsNorm(const Options& options, const LayerContext& context);
};

class GroupNorm final : public RowNormLayer {
 public:
  struct Options {
    int groups = 8;
    double epsilon = 1e-5;
    bool affine = true;
    void options(OptionVisitor& o);
  };
  GroupNorm(const Options& options, const LayerContext& context);
};

}  // namespace rankine
