#include "src/data/transforms/values.hpp"

namespace rankine {

void Noise::options(OptionVisitor& o) {
  o("deviation", deviation_, {.help = "standard deviation (0: none)", .min = 0});
}

void Noise::apply(TransformBatch& batch, const RandomStream& random, const TransformTime& time) const {
  const auto size = static_cast<std::size_t>(batch.input.count());
  std::vector<double> drawn(size);
  for (std::size_t i = 0; i < batch.ids.size(); ++i) {
    random.fill_normal(std::span(drawn), time.step, batch.ids[i]);
    for (std::size_t k = 0; k < size; ++k) batch.inputs[i * size + k] += deviation_ * drawn[k];
  }
}

void MixPastOutputs::options(OptionVisitor& o) {
  o("share", share_,
    {.help = "share of the target at the end of training, to which it grows with the epochs (0: none)",
     .min = 0,
     .max = 1});
}

void MixPastOutputs::check(const Dataset& data) const {
  if (data.classes() == 0 || data.target_shape().rank() > 0)
    throw InputError("past_outputs: needs one class an example; the targets of this data set are " +
                     std::string(data.classes() == 0 ? "real" : "classes at several places"));
}

void MixPastOutputs::apply(TransformBatch& batch, const RandomStream&, const TransformTime& time) const {
  RANKINE_ASSERT(time.past != nullptr, "past outputs that nobody keeps");
  const double share = share_ * static_cast<double>(time.epoch) / static_cast<double>(time.epochs);
  const auto classes = static_cast<std::size_t>(batch.classes);
  for (std::size_t i = 0; i < batch.numbers.size(); ++i) {
    const std::span<const double> past = time.past->of(batch.numbers[i]);
    for (std::size_t c = 0; c < past.size(); ++c) {
      double& target = batch.targets[i * classes + c];
      target = (1 - share) * target + share * past[c];
    }
  }
}

}  // namespace rankine
