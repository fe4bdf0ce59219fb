// Weights as numbers of few bits: passes see the rounded weights, the optimiser the unrounded ones.
#pragma once

#include "src/nn/parametrisation/parametrisation.hpp"

namespace rankine {

/// What a pass sees is `rounded` weights; their gradient goes to the unrounded ones as it is (straight
/// through: Bengio et al., arXiv 1308.3432).
class Quantiser : public Parametrisation {
 public:
  bool takes(const ParameterInfo& part) const override { return !part.frozen && part.on_tiles; }
  void add_parameters(ParameterSet&, const std::string&, std::uint64_t) const override {}
  Tensor value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const override;

 protected:
  /// Whether it leaves all weights as they are.
  virtual bool off() const = 0;
  /// x is contiguous and real.
  virtual Tensor rounded(const Tensor& x, const std::string& name, const Pass& pass) const = 0;
};

/// k 2^-fraction with whole k of `word` bits, the sign's among them: -2^(word - 1) <= k < 2^(word - 1).
/// Stochastic rounding (Gupta et al., arXiv 1502.02551) is that of training: random numbers are keyed by the
/// seed, the weight and the step; evaluations round to the nearest, halves to even. 32 bits round nothing.
class FixedPoint final : public Quantiser {
 public:
  struct Options {
    int word = 8, fraction = 4;
    std::string rounding = "nearest";
    void options(OptionVisitor& o);
  };
  explicit FixedPoint(const Options& options) : options_(options) {}

 private:
  bool off() const override { return options_.word == 32; }
  Tensor rounded(const Tensor& x, const std::string& name, const Pass& pass) const override;
  Options options_;
};

/// A binary format as IEEE 754 has them, of 1 + exponent + mantissa bits, without infinities: larger weights
/// become its largest number. 8 and 23 bits round nothing of float.
class FloatFormat final : public Quantiser {
 public:
  struct Options {
    int exponent = 4, mantissa = 3;
    void options(OptionVisitor& o);
  };
  explicit FloatFormat(const Options& options) : options_(options) {}

 private:
  bool off() const override { return false; }
  Tensor rounded(const Tensor& x, const std::string& name, const Pass& pass) const override;
  Options options_;
};

/// Sums of one or two signed powers of two, which shifts multiply by: 2^e1 is the power that is nearest to the
/// weight in its logarithm, 2^e2 the one nearest to what is left, unless it is less than 2^(e1 - gap) (RF8 of
/// Huang et al., "BackSlash", has two terms and a gap of 4). 0 terms round nothing.
class PowerOfTwo final : public Quantiser {
 public:
  struct Options {
    int terms = 2, gap = 4;
    void options(OptionVisitor& o);
  };
  explicit PowerOfTwo(const Options& options) : options_(options) {}

 private:
  bool off() const override { return options_.terms == 0; }
  Tensor rounded(const Tensor& x, const std::string& name, const Pass& pass) const override;
  Options options_;
};

}  // namespace rankine
