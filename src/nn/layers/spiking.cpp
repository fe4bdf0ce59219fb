#include "src/nn/layers/spiking.hpp"

namespace rankine {

void Lif::Options::options(OptionVisitor& o) {
  o("tau", tau, {.help = "time constant in steps: the decay is 1 - 1/tau", .min = 1});
  o("decay", decay,
    {.help = "share of the potential that a step keeps; 0.5 without tau", .min = 0, .max = 1});
  o("decay_input", decay_input, {.help = "whether the input is multiplied by 1 - decay"});
  o("threshold", threshold, {.help = "potential that fires", .min = 0, .exclusive_min = true});
  o("reset", reset,
    {.help = "what a spike does: the threshold is subtracted, the potential is set to reset_to, or nothing",
     .choices = {"soft", "hard", "none"}});
  o("reset_to", reset_to, {.help = "potential after a hard reset"});
  o("detach_reset", detach_reset, {.help = "whether the reset has no derivative with respect to the spike"});
  o("surrogate", surrogate, {.help = "derivative that stands in for the step's", .choices = surrogate_names});
  o("width", width, {.help = "of the surrogate, 1 over its largest value", .min = 0, .exclusive_min = true});
}

Lif::Lif(const Options& options, const LayerContext& context) : Layer(context) {
  if (options.tau && options.decay) throw InputError("lif: 'tau' and 'decay' say the same; give one of them");
  if (options.reset != "hard" && options.reset_to != 0)
    throw InputError("lif: 'reset_to' is for reset: hard");
  dynamics_.decay = options.tau ? 1 - 1 / *options.tau : options.decay.value_or(0.5);
  dynamics_.gain = options.decay_input ? 1 - dynamics_.decay : 1;
  dynamics_.threshold = options.threshold;
  dynamics_.reset_to = options.reset_to;
  dynamics_.width = options.width;
  dynamics_.reset = options.reset == "soft"   ? kernels::Reset::soft
                    : options.reset == "hard" ? kernels::Reset::hard
                                              : kernels::Reset::none;
  dynamics_.detach_reset = options.detach_reset;
  dynamics_.surrogate = surrogate_of(options.surrogate);
}

Tensor Lif::forward(const BoundParameters&, const Tensor& x, Pass& pass) const {
  if (pass.state == nullptr) return lif_step({}, x, dynamics_).first;
  Tensor& potential = (*pass.state)[name() + ".potential"];
  const auto [spikes, after] = lif_step(potential, x, dynamics_);
  potential = after;
  return spikes;
}

}  // namespace rankine
