#include "src/nn/loss.hpp"

#include <numeric>

#include "kernels/row_ops.hpp"
#include "src/nn/softmax.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

// Mean over all axes but the leading ones.
Tensor sample_mean(const Tensor& x, int lead) {
  if (x.rank() == lead) return x;
  std::vector<int> axes(static_cast<std::size_t>(x.rank() - lead));
  std::iota(axes.begin(), axes.end(), lead);
  return mean(x, axes);
}

// Whether the class of each label has the highest score: 0 or 1.
Tensor right_class(const Tensor& outputs, const Tensor& labels) {
  const Tensor scores = dense(outputs), label = dense(labels);
  const Tensor right = Tensor::empty(label.shape(), DType::f64);
  dispatch_real(scores.dtype(), "accuracy", [&](auto zero) {
    using T = decltype(zero);
    kernels::right_classes<T>(label.count(), scores.extent(-1), scores.data<T>(), label.data<std::int32_t>(),
                              right.data<double>());
  });
  return right;
}

}  // namespace

void CrossEntropy::Options::options(OptionVisitor& o) {
  o("smoothing", smoothing,
    {.help = "share of the target that is spread evenly over all classes",
     .min = 0,
     .max = 1,
     .exclusive_max = true});
}

void CrossEntropy::check(const Shape& output, std::int64_t classes, const Shape& target) const {
  if (classes == 0)
    throw InputError(
        "cross_entropy: the targets of this data set are real numbers, not classes; use loss: "
        "mean_squared_error");
  Shape positions = output;
  if (output.rank() > 0) positions.erase(output.rank() - 1);
  if (output.rank() == 0 || !(positions == target))
    throw InputError("cross_entropy: the network gives outputs " + output.text() + " for targets " +
                     target.text() +
                     "; it must give the classes' scores along a last axis beside the target's own axes");
  if (output[output.rank() - 1] != classes)
    throw InputError("cross_entropy: the network gives " + std::to_string(output[output.rank() - 1]) +
                     " scores where the data set has " + std::to_string(classes) +
                     " classes; set the last block's units to that number");
}

Tensor CrossEntropy::per_sample(const Tensor& outputs, const Tensor& targets, int lead) const {
  if (targets.dtype() != DType::i32) {
    const double spread = options_.smoothing / static_cast<double>(outputs.extent(-1));
    // Of positions whose weights are 0 nothing is spread.
    const Tensor share = options_.smoothing == 0
                             ? targets
                             : add(scale(targets, 1 - options_.smoothing),
                                   scale(sum(targets, {targets.rank() - 1}, true), spread));
    return sample_mean(neg(sum(mul(share, log_softmax(outputs)), {outputs.rank() - 1})), lead);
  }
  return sample_mean(cross_entropy(outputs, targets, options_.smoothing), lead);
}

std::vector<std::pair<std::string, std::string>> CrossEntropy::scores() const {
  return {{"accuracy", "share of right classes"}};
}

std::vector<Tensor> CrossEntropy::score(const Tensor& outputs, const Tensor& targets, int lead) const {
  const NoGrad off;
  if (targets.dtype() != DType::i32) {
    const Shape labels = Shape(std::vector<std::int64_t>(outputs.shape().begin(), outputs.shape().end() - 1));
    Tensor weight;
    for (std::int64_t c = 0; c < outputs.extent(-1); ++c) {
      const Tensor is_best = right_class(outputs, Tensor::full(labels, DType::i32, static_cast<double>(c)));
      const Tensor of_class = mul(is_best, reshape(slice(cast(targets, DType::f64), -1, c, c + 1), labels));
      weight = weight.defined() ? add(weight, of_class) : of_class;
    }
    return {sample_mean(weight, lead)};
  }
  return {sample_mean(right_class(outputs, targets), lead)};
}

void Entropy::options(OptionVisitor& o) {
  o("negative", negative_, {.help = "less the entropy: certain outputs cost more than uncertain ones"});
}

void Entropy::check(const Shape& output, std::int64_t, const Shape&) const {
  if (output.rank() == 0)
    throw InputError("entropy: the network gives a single number; it must give scores along a last axis");
}

Tensor Entropy::per_sample(const Tensor& outputs, const Tensor&, int lead) const {
  const Tensor log_p = log_softmax(outputs);
  const Tensor negative = sum(mul(exp(log_p), log_p), {outputs.rank() - 1});
  return sample_mean(negative_ ? negative : neg(negative), lead);
}

void LossSum::check(const Shape& output, std::int64_t classes, const Shape& target) const {
  for (const Term& term : terms_) term.loss->check(output, classes, target);
}

Tensor LossSum::per_sample(const Tensor& outputs, const Tensor& targets, int lead) const {
  Tensor total;
  for (const Term& term : terms_) {
    const Tensor value = scale(term.loss->per_sample(outputs, targets, lead), term.weight);
    total = total.defined() ? add(total, value) : value;
  }
  return total;
}

void MeanSquaredError::check(const Shape& output, std::int64_t classes, const Shape& target) const {
  if (classes != 0)
    throw InputError("mean_squared_error: the targets of this data set are classes; use loss: cross_entropy");
  if (!(output == target))
    throw InputError("mean_squared_error: the network gives outputs " + output.text() + " for targets " +
                     target.text() + "; the shapes must be the same");
}

Tensor MeanSquaredError::per_sample(const Tensor& outputs, const Tensor& targets, int lead) const {
  return sample_mean(square(sub(outputs, cast(targets, outputs.dtype()))), lead);
}

const Registry<Loss>& losses() {
  static const Registry<Loss> table("loss",
                                    {
                                        entry<CrossEntropy>("cross_entropy", "of classes, with softmax"),
                                        entry<MeanSquaredError>("mean_squared_error", "of real targets"),
                                        entry<Entropy>("entropy", "of the outputs' softmax, without targets"),
                                    });
  return table;
}

std::unique_ptr<Loss> read_loss(const DeckNode& train, const std::string& fallback) {
  if (!train.has("loss") || !train.child("loss").is_sequence())
    return losses().make_or(fallback, train.section("loss"));
  const DeckNode list = train.child("loss");
  std::vector<LossSum::Term> terms;
  for (const DeckNode& node : list.items()) {
    const bool weighted = node.is_mapping() && node.has("weight");
    const double weight = weighted ? node.child("weight").as_number({.min = 0}) : 1;
    std::unique_ptr<Loss> loss = losses().make(node);
    if (weight > 0) terms.push_back({weight, std::move(loss)});
  }
  if (terms.empty()) list.error("'loss' needs a term with a weight above 0");
  if (terms.size() == 1 && terms.front().weight == 1) return std::move(terms.front().loss);
  return std::make_unique<LossSum>(std::move(terms));
}

}  // namespace rankine
