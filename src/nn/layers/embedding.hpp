// From tokens to vectors and back: [T] of i32 to [T, D], the position of each, and scores of tokens.
#pragma once

#include "src/nn/layer.hpp"

namespace rankine {

/// Each token's row of a table. Parameter: weight [vocabulary, units], normal.
class Embedding final : public Layer {
 public:
  struct Options {
    int vocabulary = 0, units = 0;
    double deviation = 0.02;
    void options(OptionVisitor& o);
  };
  Embedding(const Options& options, const LayerContext& context);
  Shape output() const override { return {input()[0], options_.units}; }
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  /// Throws InputError for a token out of range.
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

/// [C, ...] to [places, C]: the channels at each place of an image or a signal, row by row.
class Tokens final : public Layer {
 public:
  struct Options {
    void options(OptionVisitor&) {}
  };
  Tokens(const Options&, const LayerContext& context);
  Shape output() const override { return {input().count() / input()[0], input()[0]}; }
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;
};

/// Adds to each vector of a sequence what stands for its position: a parameter weight [length, D], or sines
/// (Vaswani et al., arXiv 1706.03762, section 3.5). Positions count from Pass::position.
class Position final : public Layer {
 public:
  struct Options {
    std::string kind = "learned";
    int length = 0;
    double deviation = 0.02;
    void options(OptionVisitor& o);
  };
  Position(const Options& options, const LayerContext& context);
  Shape output() const override { return input(); }
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  /// Throws InputError where a learned position is beyond the length.
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  std::int64_t length() const;
  Options options_;
};

/// Scores of all tokens, x E^T, with the table E of an embedding elsewhere in the network: [T, D] to [T,
/// vocabulary]. The table's gradient is the sum of both uses.
class TiedHead final : public Layer {
 public:
  struct Options {
    std::string embedding = "block0";
    int vocabulary = 0;
    bool bias = false;
    void options(OptionVisitor& o);
  };
  TiedHead(const Options& options, const LayerContext& context);
  Shape output() const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Options options_;
};

}  // namespace rankine
