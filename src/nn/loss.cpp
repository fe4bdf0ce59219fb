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
  return sample_mean(cross_entropy(outputs, targets, options_.smoothing), lead);
}

std::vector<std::pair<std::string, std::string>> CrossEntropy::scores() const {
  return {{"accuracy", "share of right classes"}};
}

std::vector<Tensor> CrossEntropy::score(const Tensor& outputs, const Tensor& targets, int lead) const {
  const NoGrad off;
  const Tensor scores = dense(outputs), label = dense(targets);
  const Tensor right = Tensor::empty(label.shape(), DType::f64);
  dispatch_real(scores.dtype(), "accuracy", [&](auto zero) {
    using T = decltype(zero);
    kernels::right_classes<T>(label.count(), scores.extent(-1), scores.data<T>(), label.data<std::int32_t>(),
                              right.data<double>());
  });
  return {sample_mean(right, lead)};
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
                                    });
  return table;
}

}  // namespace rankine
