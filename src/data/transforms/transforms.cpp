#include <algorithm>
#include <utility>

#include "src/data/transforms/images.hpp"
#include "src/data/transforms/mixing.hpp"
#include "src/data/transforms/transform.hpp"
#include "src/data/transforms/values.hpp"
#include "src/deck/lists.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

const Registry<Transform>& transforms() {
  static const Registry<Transform> table(
      "transform",
      {
          entry<Shift>("shift", "images moved by whole pixels"),
          entry<Cutout>("cutout", "a square of each image set to 0"),
          entry<Noise>("noise", "normal numbers added"),
          entry<CutMix>("cutmix", "a box of each image from another one, and the targets mixed by area"),
          entry<Mixup>("mixup", "inputs and targets of two examples mixed"),
          entry<MixPastOutputs>("past_outputs",
                                "what the network last said of an example mixed into its target"),
      });
  return table;
}

Transforms::Transforms(const DeckNode& data, const Dataset& examples) {
  const std::vector<DeckNode> given = list_in(data, "transforms", "[{name: shift, reach: 2}]");
  if (given.empty()) return;
  const bool tokens =
      examples.examples(Split::training, std::vector<std::int64_t>{0}, DType::f32).inputs.dtype() ==
      DType::i32;
  for (const DeckNode& node : given) {
    std::shared_ptr<const Transform> made = transforms().make(node);
    try {
      if (tokens && made->changes_inputs())
        throw InputError(
            "the inputs of this data set are tokens, but the transform needs numbers; remove it from data.transforms");
      made->check(examples);
    } catch (const InputError& error) {
      node.error(error.what());
    }
    if (!made->off()) list_.push_back({"data/transform" + std::to_string(list_.size()), std::move(made)});
  }
}

bool Transforms::any(bool (Transform::*question)() const) const {
  return std::any_of(list_.begin(), list_.end(),
                     [&](const Item& item) { return ((*item.transform).*question)(); });
}

Examples Transforms::apply(const Examples& examples, const std::vector<std::int64_t>& numbers,
                           std::int64_t classes, DType real, const TransformTime& time) const {
  if (none()) return examples;
  const bool inputs = any(&Transform::changes_inputs), targets = any(&Transform::changes_targets);
  const DType type = examples.inputs.dtype();
  Shape input = examples.inputs.shape(), target = examples.targets.shape();
  input.erase(0);
  TransformBatch batch{.input = input, .classes = classes, .ids = examples.ids, .numbers = numbers};
  if (inputs) batch.inputs = examples.inputs.to_vector();
  if (targets) batch.targets = examples.targets.to_vector();
  if (targets && classes > 0 && examples.targets.dtype() == DType::i32) {
    const std::vector<double> labels = std::exchange(batch.targets, {});
    const auto width = static_cast<std::size_t>(classes);
    batch.targets.assign(labels.size() * width, 0);
    for (std::size_t i = 0; i < labels.size(); ++i)
      batch.targets[i * width + static_cast<std::size_t>(labels[i])] = 1;
    target.push_back(classes);
  }
  for (const Item& item : list_) item.transform->apply(batch, RandomStream(time.seed, item.stream), time);
  Examples out = examples;
  if (inputs) out.inputs = cast(Tensor::from(batch.inputs, examples.inputs.shape()), type);
  if (targets) out.targets = cast(Tensor::from(batch.targets, target), real);
  return out;
}

}  // namespace rankine
