// Weights of which each few keep the largest, while the others fade out.
#pragma once

#include "src/nn/parametrisation/parametrisation.hpp"

namespace rankine {

/// 1 for the n largest in size of each m elements side by side, of equals the earlier, else 0: x [L, ...], L times
/// the same; off the tape.
Tensor largest_of_each(const Tensor& x, int n, int m);
/// The options `n` and `m`.
void largest_options(OptionVisitor& o, int& n, int& m);
/// Whether the weights of each output are in groups of m.
bool has_groups(const ParameterInfo& part, int m);

/// w (M + b (1 - M)), where M is 1 for the n largest in size of each m weights of an output for neighbouring inputs,
/// chosen anew in each pass. Before step `from` training sees w. Up to step `to` it sees the weights fade: b falls
/// from 1 to 0, linearly or exponentially (mask decay), or b is 0 and n falls from m - 1 over m / 2, m / 4, ... to n
/// in equal spans of steps (structure decay). Afterwards, and in evaluations, b is 0 (Bambhaniya et al., "Progressive
/// gradient flow for robust N:M sparsity training in transformers", arXiv 2402.04744, section 4). The gradient of w
/// is that by the chain rule, or that of what a pass sees, as it is (straight through).
class Largest final : public Parametrisation {
 public:
  struct Options {
    int n = 2, m = 4, from = 0, to = 0;
    double rate = 5;
    std::string fade = "none", gradient = "through";
    void options(OptionVisitor& o);
    void validate(const DeckNode& node) const;
  };
  explicit Largest(const Options& options) : options_(options) {}
  bool takes(const ParameterInfo& part) const override { return !part.frozen && part.on_tiles; }
  void add_parameters(ParameterSet& set, const std::string& name, std::uint64_t seed) const override;
  Tensor value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const override;

  /// What is left of the small weights at a step of training: b and n.
  struct Left {
    double b = 0;
    int n = 0;
  };
  Left left(std::int64_t step) const;

 private:
  Options options_;
};

}  // namespace rankine
