// Pooling and upsampling as blocks, of images [C, H, W] and signals [C, T].
#pragma once

#include "src/nn/layer.hpp"
#include "src/nn/pooling.hpp"

namespace rankine {

struct PoolOptions {
  int kernel = 2;
  std::optional<int> stride;
  int padding = 0;
  void options(OptionVisitor& o);
};

/// Windows of all axes behind the channels.
class PoolLayer : public Layer {
 public:
  Shape output() const override;

 protected:
  PoolLayer(const PoolOptions& options, const LayerContext& context, const char* what);
  Tensor image(const Tensor& x) const;
  Tensor result(const Tensor& y) const;

  PoolGeometry geometry_;
  std::int64_t height_ = 1, width_ = 1;  // of the output
};

class MaxPool final : public PoolLayer {
 public:
  using Options = PoolOptions;
  MaxPool(const Options& options, const LayerContext& context) : PoolLayer(options, context, "max_pool") {}
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;
};

/// The mean of each window, zeros around the input included.
class AveragePool final : public PoolLayer {
 public:
  using Options = PoolOptions;
  AveragePool(const Options& options, const LayerContext& context)
      : PoolLayer(options, context, "average_pool") {}
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;
};

/// [C, ...] to [C].
class GlobalAveragePool final : public Layer {
 public:
  struct Options {
    void options(OptionVisitor&) {}
  };
  GlobalAveragePool(const Options&, const LayerContext& context);
  Shape output() const override { return {input()[0]}; }
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;
};

/// Each value repeated along every axis behind the channels.
class Upsample final : public Layer {
 public:
  struct Options {
    int factor = 2;
    void options(OptionVisitor& o);
  };
  Upsample(const Options& options, const LayerContext& context);
  Shape output() const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  int factor_;
};

}  // namespace rankine
