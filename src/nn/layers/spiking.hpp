// Spiking neurons: one call of the network is one time step.
#pragma once

#include "src/nn/layer.hpp"
#include "src/nn/spiking.hpp"

namespace rankine {

/// Leaky integrate-and-fire neurons, one for each element of a sample. v[t] = decay v[t-1] + gain x[t]; s[t]
/// = H(v[t] - threshold), the output; then the reset, which feeds v[t+1] alone. The potential after the reset
/// is carried under name + ".potential" (none: 0), on the tape: a learning rule detaches it to cut the
/// gradient through time.
class Lif final : public Layer {
 public:
  struct Options {
    std::optional<double> tau, decay;
    bool decay_input = false;
    double threshold = 1, reset_to = 0, width = 1;
    std::string reset = "soft", surrogate = "triangle";
    bool detach_reset = false;
    void options(OptionVisitor& o);
  };
  Lif(const Options& options, const LayerContext& context);
  Shape output() const override { return input(); }
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  LifDynamics dynamics_;
};

}  // namespace rankine
