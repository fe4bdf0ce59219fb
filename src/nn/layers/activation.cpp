#include "src/nn/layers/activation.hpp"

namespace rankine {

void LeakyReluOptions::options(OptionVisitor& o) { o("slope", slope, {.help = "slope below 0", .min = 0}); }

void SoftplusOptions::options(OptionVisitor& o) {
  o("sharpness", sharpness, {.help = "b in log(1 + exp(b x)) / b", .min = 0, .exclusive_min = true});
}

void EluOptions::options(OptionVisitor& o) {
  o("alpha", alpha, {.help = "minus the limit at -infinity", .min = 0, .exclusive_min = true});
}

void SinOptions::options(OptionVisitor& o) {
  o("frequency", frequency, {.help = "w in sin(w x)", .min = 0, .exclusive_min = true});
}

}  // namespace rankine
