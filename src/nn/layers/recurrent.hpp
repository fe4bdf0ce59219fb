// Recurrent layers: [T, D] to [T, units], or to the last step's [units].
#pragma once

#include "src/nn/layer.hpp"
#include "src/nn/recurrent.hpp"

namespace rankine {

struct RecurrentOptions {
  int units = 0;
  bool bias = true;
  std::string outputs = "all";
  void options(OptionVisitor& o);
};

/// Parameters, all uniform within 1 / sqrt(units): input.weight [gates units, D], input.bias,
/// recurrent.weight [gates units, units]; gru: candidate.bias [units]. Gates in the order i, f, g, o (lstm),
/// r, z, n (gru). The state starts at zero; with a carried state it is read from name + ".hidden" (lstm:
/// ".cell" too) and what the last step leaves is put there, on the tape.
class Recurrent : public Layer {
 public:
  using Options = RecurrentOptions;
  Recurrent(Cell cell, const Options& options, const LayerContext& context);
  Shape output() const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  Cell cell_;
  Options options_;
};

class Rnn final : public Recurrent {
 public:
  Rnn(const Options& options, const LayerContext& context) : Recurrent(Cell::rnn, options, context) {}
};
class Lstm final : public Recurrent {
 public:
  Lstm(const Options& options, const LayerContext& context) : Recurrent(Cell::lstm, options, context) {}
};
class Gru final : public Recurrent {
 public:
  Gru(const Options& options, const LayerContext& context) : Recurrent(Cell::gru, options, context) {}
};

}  // namespace rankine
