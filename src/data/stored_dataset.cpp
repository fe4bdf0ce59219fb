#include "src/data/stored_dataset.hpp"

namespace rankine {
namespace {

constexpr std::int64_t most_of_a_split = 1'000'000'000;

/// to[i] = from[which[i]], `width` values each.
template <class To, class From>
void gather(const std::vector<From>& from, std::span<const std::int64_t> which, std::int64_t width, To* to) {
  for (const std::int64_t number : which) {
    const From* begin = from.data() + number * width;
    for (std::int64_t i = 0; i < width; ++i) *to++ = static_cast<To>(begin[i]);
  }
}

Shape with_count(std::int64_t n, Shape shape) {
  shape.insert(0, n);
  return shape;
}

}  // namespace

Examples StoredDataset::examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t,
                                 std::int64_t) const {
  const Part& part = parts_[split];
  const auto n = static_cast<std::int64_t>(which.size());
  Examples out;
  for (const std::int64_t number : which) {
    RANKINE_ASSERT(0 <= number && number < size(split), "example " + std::to_string(number));
    out.ids.push_back(part.ids[static_cast<std::size_t>(number)]);
  }
  const bool tokens = !part.tokens.empty();
  out.inputs = Tensor::empty(with_count(n, input_shape_), tokens ? DType::i32 : type);
  out.targets = Tensor::empty(with_count(n, target_shape_), classes_ > 0 ? DType::i32 : type);
  if (tokens) gather(part.tokens, which, input_shape_.count(), out.inputs.data<std::int32_t>());
  if (classes_ > 0) gather(part.labels, which, target_shape_.count(), out.targets.data<std::int32_t>());
  dispatch_real(type, "data set", [&](auto zero) {
    using T = decltype(zero);
    if (!tokens) gather(part.inputs, which, input_shape_.count(), out.inputs.data<T>());
    if (classes_ == 0) gather(part.targets, which, target_shape_.count(), out.targets.data<T>());
  });
  return out;
}

void GeneratedSizes::options(OptionVisitor& o) {
  constexpr double most = most_of_a_split;
  o("train", train, {.help = "training examples", .min = 1, .max = most});
  o("validation", validation, {.help = "examples to choose hyper-parameters on", .min = 0, .max = most});
  o("test", test, {.help = "examples to measure on", .min = 0, .max = most});
  o("seed", seed, {.help = "seed of all that is drawn for the examples", .min = 0});
}

int GeneratedSizes::of(Split split) const {
  return split == Split::training ? train : split == Split::validation ? validation : test;
}

std::int64_t generated_id(Split split, std::int64_t number) {
  return static_cast<std::int64_t>(split) * most_of_a_split + number;
}

}  // namespace rankine
