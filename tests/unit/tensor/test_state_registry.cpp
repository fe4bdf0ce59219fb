#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/tensor/state_registry.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

/// Stands for an optimiser: tensors, a vector whose length changes, numbers.
struct Owner {
  Tensor weights = Tensor::zeros({2, 3}, DType::f32);
  std::vector<double> history;
  std::vector<std::int64_t> order;
  std::int64_t step = 0;
  double rate = 0;
  bool warm = false;

  void add_to(StateRegistry& registry) {
    registry.add("owner/weights", StateKind::replicated, weights);
    registry.add("owner/history", StateKind::per_sample, history);
    registry.add("owner/order", StateKind::replicated, order);
    registry.add("owner/step", StateKind::replicated, step);
    registry.add("owner/rate", StateKind::replicated, rate);
    registry.add("owner/warm", StateKind::replicated, warm);
  }
  void fill() {
    for (int i = 0; i < 6; ++i)
      host_update<float>(weights)[i] = 1.0f / static_cast<float>(i - 2);  // one is infinite
    history = {0.1, -0.0, std::numeric_limits<double>::denorm_min(), std::nan("7")};
    order = {3, 1, 2};
    step = std::int64_t{1} << 40;
    rate = 1.0 / 3;
    warm = true;
  }
};

TEST(StateRegistry, SavesAndRestoresEveryBit) {
  Owner first, second;
  StateRegistry of_first, of_second;
  first.add_to(of_first);
  second.add_to(of_second);
  first.fill();
  const StateSnapshot saved = of_first.save();
  const Tensor other_handle = second.weights;
  of_second.restore(saved);
  EXPECT_EQ(of_second.save(), saved);
  EXPECT_EQ(second.step, std::int64_t{1} << 40);
  EXPECT_EQ(second.rate, 1.0 / 3);
  EXPECT_TRUE(second.warm);
  EXPECT_EQ(second.order, first.order);
  EXPECT_EQ(second.history.size(), 4u);
  EXPECT_EQ(host_read<float>(other_handle)[5], 1.0f / 3) << "restored elsewhere than in place";

  host_update<float>(first.weights)[0] = 5;  // a snapshot is a copy
  EXPECT_EQ(of_second.save(), saved);
  of_first.restore(saved);
  EXPECT_EQ(of_first.save(), saved);
}

TEST(StateRegistry, SavesStridedTensorsInRowMajorOrder) {
  const Tensor matrix = Tensor::from<double>({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor transposed = matrix.view({3, 2}, {1, 3});
  const Tensor dense = Tensor::from<double>({1, 4, 2, 5, 3, 6}, {3, 2});
  StateRegistry strided, contiguous;
  strided.add("a", StateKind::per_tile, transposed);
  contiguous.add("a", StateKind::per_tile, dense);
  const StateSnapshot saved = strided.save();
  EXPECT_EQ(saved, contiguous.save());
  matrix.assign(Tensor::zeros({2, 3}, DType::f64));
  strided.restore(saved);
  EXPECT_EQ(matrix.to_vector(), (std::vector<double>{1, 2, 3, 4, 5, 6}));
}

TEST(StateRegistry, GoesInTheOrderOfNames) {
  StateRegistry registry;
  int a = 0, b = 0, c = 0, d = 0;
  registry.add("model", StateKind::replicated, c);
  registry.add("b/2", StateKind::replicated, b);
  registry.add("a", StateKind::per_tile, a);
  registry.add("b2", StateKind::replicated, d);
  std::vector<std::string> names;
  for (const auto& [name, entry] : registry.entries()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b/2", "b2", "model"}));
  EXPECT_EQ(registry.entries().at("a").kind, StateKind::per_tile);
  registry.remove("b");
  EXPECT_FALSE(registry.contains("b/2"));
  EXPECT_TRUE(registry.contains("b2"));
  EXPECT_THROW(registry.add("a", StateKind::replicated, b), std::logic_error);
}

std::string input_error(const std::function<void()>& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(StateRegistry, RestoresAllOrNothing) {
  Owner owner;
  StateRegistry registry;
  owner.add_to(registry);
  owner.fill();
  const StateSnapshot good = registry.save();
  owner.step = 1;
  const StateSnapshot now = registry.save();

  StateSnapshot missing = good;
  missing.erase("owner/warm");
  EXPECT_EQ(input_error([&] { registry.restore(missing); }),
            "the saved state has no 'owner/warm'; use the deck that the state was saved with");
  StateSnapshot unknown = good;
  unknown["owner/weihgts"] = unknown["owner/weights"];
  EXPECT_EQ(input_error([&] { registry.restore(unknown); }),
            "saved state 'owner/weihgts' belongs to nothing in this run; did you mean 'owner/weights'?; use "
            "the deck "
            "that the state was saved with");
  StateSnapshot reshaped = good;
  reshaped["owner/weights"].shape = {3, 2};
  EXPECT_EQ(input_error([&] { registry.restore(reshaped); }),
            "saved state 'owner/weights' is saved as f32 [3, 2], but this run needs f32 [2, 3]; use the deck "
            "that the "
            "state was saved with");
  StateSnapshot retyped = good;
  retyped["owner/history"].type = DType::i64;
  EXPECT_EQ(input_error([&] { registry.restore(retyped); }),
            "saved state 'owner/history' is saved as i64 [4], but this run needs f64; use the deck that the "
            "state was "
            "saved with");
  StateSnapshot cut = good;
  cut["owner/history"].bytes.pop_back();
  EXPECT_EQ(input_error([&] { registry.restore(cut); }),
            "saved state 'owner/history' is damaged: 31 bytes for f64 [4]; use the deck that the state was "
            "saved with");
  EXPECT_EQ(registry.save(), now);
}

}  // namespace
}  // namespace rankine
