#include "src/data/stored_dataset.hpp"

#include "src/tensor/host_array.hpp"

namespace rankine {
namespace {

constexpr std::int64_t most_of_a_split = 1'000'000'000;

/// A tensor of this shape whose row i is row which[i] of `from`.
template <class To, class From>
Tensor gathered(const std::vector<From>& from, std::span<const std::int64_t> which, const Shape& shape) {
  const std::int64_t width = shape.count();
  Shape all = shape;
  all.insert(0, static_cast<std::int64_t>(which.size()));
  HostArray<To> out(all);
  To* to = out.data();
  for (const std::int64_t number : which) {
    const From* begin = from.data() + number * width;
    for (std::int64_t i = 0; i < width; ++i) *to++ = static_cast<To>(begin[i]);
  }
  return out.to_device();
}

}  // namespace

Examples StoredDataset::examples(Split split, std::span<const std::int64_t> which, DType type, std::uint64_t,
                                 std::int64_t) const {
  const Part& part = parts_[split];
  Examples out;
  for (const std::int64_t number : which) {
    RANKINE_ASSERT(0 <= number && number < size(split), "example " + std::to_string(number));
    out.ids.push_back(part.ids[static_cast<std::size_t>(number)]);
  }
  const bool tokens = !part.tokens.empty();
  if (tokens) out.inputs = gathered<std::int32_t>(part.tokens, which, input_shape_);
  if (classes_ > 0) out.targets = gathered<std::int32_t>(part.labels, which, target_shape_);
  dispatch_real(type, "data set", [&](auto zero) {
    using T = decltype(zero);
    if (!tokens) out.inputs = gathered<T>(part.inputs, which, input_shape_);
    if (classes_ == 0) out.targets = gathered<T>(part.targets, which, target_shape_);
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
