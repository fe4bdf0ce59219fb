// Weights that preserve lengths, and weights that are another layer's.
#pragma once

#include "src/nn/parametrisation/parametrisation.hpp"

namespace rankine {

/// A product of Householder reflections, W = H_1 ... H_m (1; 0) with H_i = 1 - 2 v_i v_i^T / |v_i|^2 (Mhammedi
/// et al., "Efficient orthogonal parametrisation of recurrent neural networks", ICML 2017): the part
/// [outputs, inputs, kernel...] holds the vectors, as columns of the matrix [outputs, all others] where that
/// has no fewer rows than columns, else as rows. W^T W = 1, else W W^T = 1, whatever the vectors are. Takes m
/// steps one after the other.
class Orthogonal final : public Parametrisation {
 public:
  struct Options {
    double gain = 1;
    void options(OptionVisitor& o);
  };
  explicit Orthogonal(const Options& options) : options_(options) {}
  bool takes(const ParameterInfo& part) const override {
    return !part.frozen && part.on_tiles && part.shape.rank() >= 2;
  }
  void add_parameters(ParameterSet&, const std::string&, std::uint64_t) const override {}
  Tensor value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const override;

 private:
  Options options_;
};

/// The values of another part, of an earlier layer, in place of a part's own, which are frozen: one parameter
/// with several uses, whose gradients add up. What another item of the list before makes of it counts.
class Tied final : public Parametrisation {
 public:
  struct Options {
    std::string to;
    bool transpose = false;
    void options(OptionVisitor& o);
  };
  explicit Tied(const Options& options) : options_(options) {}
  bool takes(const ParameterInfo& part) const override {
    return !part.frozen && part.on_tiles && (!options_.transpose || part.shape.rank() == 2) &&
           part.name != options_.to;
  }
  void add_parameters(ParameterSet& set, const std::string& name, std::uint64_t seed) const override;
  Tensor value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const override;

 private:
  Options options_;
};

}  // namespace rankine
