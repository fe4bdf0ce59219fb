#include "src/nn/distilled_loss.hpp"

#include "src/nn/softmax.hpp"

namespace rankine {

void DistillOptions::options(OptionVisitor& o) {
  o("from", from,
    {.help =
         "the teacher: VARIANT@SNAPSHOT of a variant above, or `average`, the network's own train.average",
     .required = true,
     .snapshot = true});
  o("weight", weight, {.help = "of the teacher's term, beside the loss; 0: none", .min = 0});
  o("temperature", temperature,
    {.help = "what outputs are divided by before the softmax, of classes; the term is times its square",
     .min = 0,
     .exclusive_min = true});
}

Tensor DistilledLoss::targets(const Tensor& targets, const Tensor& teacher) const {
  const NoGrad off;
  Tensor own = targets;
  if (targets.dtype() == DType::i32) {
    std::vector<double> identity(static_cast<std::size_t>(classes_ * classes_));
    for (std::int64_t c = 0; c < classes_; ++c) identity[static_cast<std::size_t>(c * (classes_ + 1))] = 1;
    const Tensor rows = cast(Tensor::from(identity, {classes_, classes_}), teacher.dtype());
    own = gather(rows, 0, cast(reshape(targets, {targets.count()}), DType::i64));
  }
  own = reshape(cast(own, teacher.dtype()), teacher.shape());
  const bool probabilities = classes_ > 0;
  return concat({own, probabilities ? softmax(scale(teacher, 1 / options_.temperature)) : teacher}, -1);
}

Tensor DistilledLoss::per_sample(const Tensor& outputs, const Tensor& targets, int lead) const {
  const std::int64_t n = outputs.extent(-1);
  const int last = targets.rank() - 1;
  const Tensor own = own_.per_sample(outputs, slice(targets, last, 0, n), lead);
  const Tensor taught = slice(targets, last, n, 2 * n);
  if (classes_ == 0)
    return add(own, scale(MeanSquaredError().per_sample(outputs, taught, lead), options_.weight));
  const double t = options_.temperature;
  const Tensor soft = CrossEntropy({}).per_sample(scale(outputs, 1 / t), taught, lead);
  return add(own, scale(soft, options_.weight * t * t));
}

}  // namespace rankine
