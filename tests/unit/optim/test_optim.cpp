#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "src/optim/optimizer.hpp"
#include "src/optim/schedule.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

ParameterSet two_parts(DType type = DType::f64) {
  ParameterSet set(type);
  set.add({.name = "a", .shape = {2}});
  set.add({.name = "b", .shape = {3}});
  return set;
}

Tensor values(const std::vector<double>& list, DType type = DType::f64) {
  return cast(Tensor::from(list, {static_cast<std::int64_t>(list.size())}), type);
}

TEST(Adam, FollowsItsFormula) {
  ParameterSet set = two_parts();
  Adam adam{AdamOptions{}};
  double p = 0, m = 0, v = 0;
  for (int step = 1; step <= 5; ++step) {
    const double g = std::sin(step);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    p -= 0.01 * (m / (1 - std::pow(0.9, step))) / (std::sqrt(v / (1 - std::pow(0.999, step))) + 1e-8);
    adam.step(set, values({g, g, -g, 0, g}), 0.01);
    EXPECT_NEAR(set.flat().to_vector()[0], p, 1e-15);
    EXPECT_NEAR(set.flat().to_vector()[2], -p, 1e-15);
    EXPECT_EQ(set.flat().to_vector()[3], 0);
  }
}

TEST(Adam, LeavesFrozenPartsKeepsMasksAndCallsProjections) {
  ParameterSet set = two_parts();
  set.parts()[0].frozen = true;
  set.parts()[1].mask = values({1, 0, 1});
  set.parts()[1].projection = [](const Tensor& x) {
    for (int i = 0; i < 3; ++i) host_update<double>(x)[i] = std::max(host_read<double>(x)[i], -0.005);
  };
  Adam adam{AdamOptions{}};
  adam.step(set, values({1, 1, 1, 1, -1}), 0.01);
  const auto found = set.flat().to_vector();
  EXPECT_EQ(found[0], 0);
  EXPECT_EQ(found[2], -0.005);
  EXPECT_EQ(found[3], 0);
  EXPECT_NEAR(found[4], 0.01, 1e-9);
}

TEST(Sgd, HasMomentum) {
  ParameterSet set = two_parts();
  Sgd sgd{SgdOptions{.momentum = 0.5, .weight_decay = 0}};
  sgd.step(set, values({1, 0, 0, 0, 0}), 0.1);
  sgd.step(set, values({1, 0, 0, 0, 0}), 0.1);
  EXPECT_NEAR(set.flat().to_vector()[0], -0.1 - 0.15, 1e-15);
}

TEST(Clipping, BoundsTheNormOfWhatIsNotFrozen) {
  ParameterSet set = two_parts(DType::f32);
  Sgd sgd{SgdOptions{}};
  const Tensor g = values({3, 4, 0, 0, 12}, DType::f32);
  const double norm = gradient_norm(sgd.live(set), g);
  EXPECT_NEAR(norm, 13, 1e-12);
  clip_gradient(g, norm, 0);
  clip_gradient(g, norm, 13);
  EXPECT_EQ(g.to_vector()[4], 12);
  clip_gradient(g, norm, 6.5);
  EXPECT_NEAR(g.to_vector()[4], 6, 1e-6);
  set.parts()[0].frozen = true;
  EXPECT_NEAR(gradient_norm(sgd.live(set), g), 6, 1e-6);
}

/// The order that sums have: 16 lanes over at most 256 elements, then the two halves.
double ordered_sum(const std::vector<double>& x, std::size_t begin, std::size_t end) {
  if (end - begin <= 256) {
    double lanes[16] = {};
    for (std::size_t i = begin; i < end; ++i) lanes[(i - begin) % 16] += x[i];
    for (int width = 8; width > 0; width /= 2)
      for (int j = 0; j < width; ++j) lanes[j] += lanes[j + width];
    return lanes[0];
  }
  std::size_t half = 256;
  while (2 * half < end - begin) half *= 2;
  return ordered_sum(x, begin, begin + half) + ordered_sum(x, begin + half, end);
}

double ordered_square(const std::vector<double>& x, std::size_t begin, std::size_t end) {
  std::vector<double> pieces;
  for (std::size_t i = begin; i < end; i += 1024) {
    std::vector<double> squares;
    for (std::size_t k = i; k < std::min(i + 1024, end); ++k) {
      const volatile double square = x[k] * x[k];  // rounded before it is added
      squares.push_back(static_cast<double>(square));
    }
    pieces.push_back(ordered_sum(squares, 0, squares.size()));
  }
  return ordered_sum(pieces, 0, pieces.size());
}

TEST(FlatParts, SumsHaveTheirOrderWhateverTheParts) {
  std::vector<std::vector<std::int64_t>> lists{{1},
                                               {255, 256, 257},
                                               {1024},
                                               {1025, 16, 17},
                                               {600, 0, 5000},
                                               {256 * 1024 + 3, 7},
                                               {512 * 1024 + 100000}};
  lists.emplace_back(700, 3);  // more parts than one group takes
  for (const DType type : {DType::f32, DType::f64})
    for (const std::vector<std::int64_t>& sizes : lists) {
      std::vector<FlatParts::Part> parts;
      std::int64_t count = 0;
      for (const std::int64_t size : sizes) {
        parts.push_back({count + 2, count + 2 + size});  // with a gap before each
        count += 2 + size;
      }
      std::vector<double> list(static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < list.size(); ++i) list[i] = std::sin(static_cast<double>(i * i % 1237)) / 3;
      const Tensor x = values(list, type);
      const std::vector<double> rounded = x.to_vector();
      std::vector<double> by_part;
      for (const FlatParts::Part& part : parts)
        by_part.push_back(ordered_square(rounded, static_cast<std::size_t>(part.begin),
                                         static_cast<std::size_t>(part.end)));
      const double total = ordered_sum(by_part, 0, by_part.size());
      const FlatParts flat(parts);
      EXPECT_EQ(flat.sums_of_squares(x), by_part);
      const Tensor out = Tensor::zeros({2}, DType::f64),
                   work = Tensor::zeros({kernels::sum_workspace(flat.pieces())}, DType::f64);
      flat.sum_of_squares(x, out.data<double>());
      dispatch_real(type, "test", [&](auto zero) {
        using T = decltype(zero);
        kernels::sum_of_squares_portable<T>(flat.pieces(), x.data<T>(), work.data<double>(),
                                            out.data<double>() + 1);
      });
      EXPECT_EQ(out.to_vector(), (std::vector<double>{total, total})) << sizes.size() << " parts";
    }
}

TEST(FlatParts, CountsWhatIsNotFinite) {
  for (const DType type : {DType::f32, DType::f64}) {
    std::vector<double> list(3000, 1.0);
    list[0] = list[1500] = INFINITY;
    list[2] = list[2999] = NAN;
    list[1] = -INFINITY;
    const Tensor out = Tensor::zeros({1}, DType::f64);
    FlatParts({{1, 3}, {1400, 3000}}).count_not_finite(values(list, type), out.data<double>());
    EXPECT_EQ(out.item(), 4);
    FlatParts({{3, 1500}}).count_not_finite(values(list, type), out.data<double>());
    EXPECT_EQ(out.item(), 0);
  }
}

TEST(LargestSize, IsTheLargestAbsoluteValueOrNotANumber) {
  for (const DType type : {DType::f32, DType::f64})
    for (const std::size_t n : {1u, 17u, 300u, 40000u}) {
      std::vector<double> list(n, 0.5);
      list[n / 2] = -3;
      EXPECT_EQ(largest_size(values(list, type)), 3);
      list[n - 1] = NAN;
      EXPECT_TRUE(std::isnan(largest_size(values(list, type))));
    }
  EXPECT_EQ(largest_size(Tensor::zeros({0}, DType::f64)), 0);
}

TEST(Optimizers, StepLongPartsAsTheyStepShortOnes) {
  // Pieces, decay by group and what is frozen, against the same parameters each alone.
  const std::vector<std::int64_t> sizes{3000, 1, 1024, 20, 2500};
  for (const DType type : {DType::f32, DType::f64})
    for (const std::string name : {"adam", "sgd", "nesterov"}) {
      const auto make = [&]() -> std::unique_ptr<Optimizer> {
        if (name == "adam")
          return std::make_unique<Adam>(AdamOptions{.weight_decay = 0.1, .no_decay = {"bias"}});
        return std::make_unique<Sgd>(SgdOptions{
            .momentum = 0.5, .weight_decay = 0.1, .nesterov = name == "nesterov", .no_decay = {"bias"}});
      };
      ParameterSet all(type);
      for (std::size_t i = 0; i < sizes.size(); ++i)
        all.add({.name = std::to_string(i),
                 .shape = {sizes[i]},
                 .group = i % 2 == 0 ? "weight" : "bias",
                 .frozen = i == 2});
      std::vector<double> list, gradient;
      for (std::int64_t i = 0; i < all.count(); ++i) {
        list.push_back(std::cos(0.1 * static_cast<double>(i)));
        gradient.push_back(std::sin(static_cast<double>(i)));
      }
      all.flat().assign(values(list, type));
      const Tensor g = values(gradient, type);
      const std::vector<double> first = all.flat().to_vector();
      const std::unique_ptr<Optimizer> whole = make();
      std::vector<std::unique_ptr<Optimizer>> alone;
      std::vector<ParameterSet> parts;
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        parts.push_back(all.range(i, i + 1).clone());
        alone.push_back(make());
      }
      for (int step = 0; step < 3; ++step) {
        whole->step(all, g, 0.01);
        for (std::size_t i = 0; i < sizes.size(); ++i)
          alone[i]->step(parts[i], g.view({sizes[i]}, {1}, all.parts()[i].offset).clone(), 0.01);
      }
      const std::vector<double> now = all.flat().to_vector();
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        const std::vector<double> own = parts[i].flat().to_vector();
        const auto at = static_cast<std::size_t>(all.parts()[i].offset);
        for (std::size_t k = 0; k < own.size(); ++k) {
          ASSERT_EQ(now[at + k], own[k]) << name << " part " << i << " element " << k;
          ASSERT_EQ(now[at + k] == first[at + k], i == 2) << name << " part " << i << " element " << k;
        }
      }
    }
}

TEST(Optimizers, GroupsHaveTheirOwnRateAndDecay) {
  for (const std::string name : {"adam", "sgd", "nesterov"}) {
    const auto make = [&](double decay, const std::vector<ParameterGroup>& groups) {
      std::unique_ptr<Optimizer> made;
      if (name == "adam")
        made = std::make_unique<Adam>(AdamOptions{.weight_decay = decay, .groups = groups});
      else
        made = std::make_unique<Sgd>(SgdOptions{
            .momentum = 0.5, .weight_decay = decay, .nesterov = name == "nesterov", .groups = groups});
      return made;
    };
    // A group's part goes as a part alone does with the group's numbers as the optimiser's own.
    const auto whole = make(0.1, {{"a*", 0.5, 0.25}, {"*", 1}, {"b", 7, 7}}), a = make(0.25, {}),
               b = make(0.1, {});
    ParameterSet both = two_parts(), first = two_parts(), second = two_parts();
    for (ParameterSet* set : {&both, &first, &second}) set->flat().assign(values({1, 2, 3, 4, 5}));
    for (int step = 0; step < 3; ++step) {
      const Tensor g = values({0.3, -1, 0.5, 2, -0.1});
      whole->step(both, g, 0.01);
      a->step(first, g, 0.005);
      b->step(second, g, 0.01);
    }
    const auto now = both.flat().to_vector(), one = first.flat().to_vector(),
               other = second.flat().to_vector();
    for (std::size_t i = 0; i < 5; ++i) EXPECT_DOUBLE_EQ(now[i], i < 2 ? one[i] : other[i]) << name << i;
    // The bound holds for the group that moves fastest.
    EXPECT_GE(make(0.1, {{"b", 100, 0.0}})->largest_change(1, 0.01, 5), 1) << name;
    EXPECT_NO_THROW(whole->check_groups(both));
    try {
      make(0, {{"c*"}})->check_groups(both);
      ADD_FAILURE();
    } catch (const InputError& error) {
      EXPECT_STREQ(error.what(), "groups: 'c*' fits no parameter; there are a, b");
    }
  }
}

TEST(Schedules, StepsAreNumbersOrPercentages) {
  const auto made = [](const std::string& options) {
    return schedules().make(
        parse_deck_text("schedule: {name: steps" + options + "}", "test.yaml").child("schedule"));
  };
  const auto plain = made("");
  EXPECT_EQ(plain->factor(224, 450), 1);
  EXPECT_EQ(plain->factor(225, 450), 0.1);
  EXPECT_EQ(plain->factor(359, 450), 0.1);
  EXPECT_EQ(plain->factor(360, 450), 0.1 * 0.1);
  const auto mixed = made(", at: [10, 12.5%, 50%], factor: 0.5");
  EXPECT_EQ(mixed->factor(9, 100), 1);
  EXPECT_EQ(mixed->factor(12, 100), 0.5);
  EXPECT_EQ(mixed->factor(13, 100), 0.25);
  EXPECT_EQ(mixed->factor(50, 100), 0.125);
  for (const std::string bad : {"10 %", "-1", "120%", "half", "%"}) {
    try {
      made(", at: [1, '" + bad + "']");
      ADD_FAILURE() << bad;
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).rfind("test.yaml:1:25: at: '" + bad + "' is no step", 0), 0u)
          << error.what();
    }
  }
}

TEST(Schedules, WarmUpCosineAndSteps) {
  EXPECT_EQ(schedules().names(), (std::vector<std::string>{"constant", "cosine", "step", "steps"}));
  const CosineSchedule cosine;
  EXPECT_DOUBLE_EQ(cosine.factor(0, 1000), 0.01);
  EXPECT_DOUBLE_EQ(cosine.factor(99, 1000), 1);
  EXPECT_DOUBLE_EQ(cosine.factor(100, 1000), 1);
  EXPECT_NEAR(cosine.factor(999, 1000), 0.01, 1e-12);
  const StepSchedule step;
  EXPECT_EQ(step.factor(799, 4050), 1);
  EXPECT_EQ(step.factor(800, 4050), 0.5);
  EXPECT_EQ(step.factor(4000, 4050), 0.1);
}

}  // namespace
}  // namespace rankine
