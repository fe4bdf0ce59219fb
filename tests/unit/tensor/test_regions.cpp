// Regions: balanced, named after the op whose work they hold, with the flops that are counted, and none while
// nobody watches.
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/tensor/ops.hpp"
#include "src/tensor/profile.hpp"

namespace rankine {
namespace {

struct Seen {
  std::vector<std::string> open, order;
  std::map<std::string, double> flops;
  bool balanced = true;
};

class Recorder final : public RegionWatcher {
 public:
  explicit Recorder(Seen& seen) : seen_(seen) {}
  void begin(std::size_t region) override {
    seen_.open.push_back(region_names().at(region));
    seen_.order.push_back(seen_.open.back());
  }
  void end(std::size_t region) override {
    seen_.balanced = seen_.balanced && !seen_.open.empty() && seen_.open.back() == region_names().at(region);
    if (!seen_.open.empty()) seen_.open.pop_back();
  }
  void flops(double count) override { seen_.flops[seen_.open.empty() ? "" : seen_.open.back()] += count; }

 private:
  Seen& seen_;
};

std::vector<std::unique_ptr<RegionWatcher>> recorder(Seen& seen) {
  std::vector<std::unique_ptr<RegionWatcher>> all;
  all.push_back(std::make_unique<Recorder>(seen));
  return all;
}

// Throws in the end, as a failing op does.
void work() {
  const Tensor x = variable(Tensor::full({3, 4}, DType::f64, 0.5));
  const Tensor y = sum(tanh(mul(x, x)));
  grad({y}, {}, {x});
  checkpoint([](const std::vector<Tensor>&) -> std::vector<Tensor> { throw InputError("planted"); }, {x});
}

TEST(Regions, AreBalancedAndHoldTheWorkOfTheirName) {
  Seen seen;
  CostAccount account;
  {
    const RegionWatch watch(recorder(seen));
    EXPECT_THROW(work(), InputError);
  }
  EXPECT_TRUE(seen.balanced && seen.open.empty());
  EXPECT_THAT(std::vector<std::string>(seen.order.begin(), seen.order.begin() + 3),
              ::testing::ElementsAre("mul", "tanh", "sum"));
  EXPECT_THAT(seen.order, ::testing::IsSupersetOf({"sum_backward", "tanh_backward", "mul_backward"}));
  EXPECT_EQ(seen.order.back(), "checkpoint");
  EXPECT_GT(account.total().flops, 0);
  for (const auto& [name, cost] : account.by_op()) EXPECT_EQ(seen.flops[name], cost.flops) << name;
}

TEST(Regions, NobodyIsToldWithoutAWatch) {
  Seen seen;
  { const RegionWatch watch(recorder(seen)); }
  EXPECT_FALSE(regions::watched);
  EXPECT_THROW(work(), InputError);
  EXPECT_TRUE(seen.order.empty());
  const RegionWatch none({});
  EXPECT_FALSE(regions::watched) << "nothing to tell, and yet ops look up names";
}

}  // namespace
}  // namespace rankine
