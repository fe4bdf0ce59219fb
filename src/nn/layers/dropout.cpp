#include "src/nn/layers/dropout.hpp"

#include "src/nn/dropout.hpp"

namespace rankine {

void Dropout::Options::options(OptionVisitor& o) {
  o("rate", rate,
    {.help = "share of the values that are dropped", .min = 0, .max = 1, .exclusive_max = true});
  o("channels", channels, {.help = "whether whole channels are dropped instead of single values"});
}

Dropout::Dropout(const Options& options, const LayerContext& context) : Layer(context), options_(options) {
  if (options.channels && input().rank() == 0)
    throw InputError("dropout: the input is a single number; it has no channels");
}

Tensor Dropout::forward(const BoundParameters&, const Tensor& x, Pass& pass) const {
  if (!pass.training || options_.rate == 0) return x;
  const RandomStream stream(pass.seed, "dropout/" + name());
  if (!options_.channels) return dropout(x, options_.rate, stream, pass);
  Shape column = x.shape();
  for (int i = 3; i < column.rank(); ++i) column[i] = 1;
  return mul(x, dropout(Tensor::full(column, x.dtype(), 1), options_.rate, stream, pass));
}

}  // namespace rankine
