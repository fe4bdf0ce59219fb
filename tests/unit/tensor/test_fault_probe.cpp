// A NaN or an infinity put into each kind of tensor is found where it arises, and named.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "src/tensor/fault_probe.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/nn/fno_support.hpp"

namespace rankine {
namespace {

using Kind = FaultProbe::Finding::Kind;
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(NotFinite, CountsAndFindsTheFirst) {
  EXPECT_EQ(not_finite(Tensor::from<double>({1, 2, 3}, {3})).count, 0);
  const NotFinite found = not_finite(Tensor::from<double>({1, nan, 3, -inf}, {2, 2}));
  EXPECT_EQ(found.count, 2);
  EXPECT_EQ(found.first, 1);
  EXPECT_EQ(not_finite(Tensor::from<float>({0, INFINITY}, {2})).first, 1);
  EXPECT_EQ(not_finite(Tensor::from<std::complex<double>>({{1, 0}, {0, nan}}, {2})).first, 1);
  EXPECT_EQ(not_finite(Tensor::from<std::int64_t>({1, 2}, {2})).count, 0);
  EXPECT_EQ(not_finite(Tensor()).count, 0);
  // In the order of the view, not of the memory.
  const Tensor x = Tensor::from<double>({1, 2, nan, 4}, {2, 2});
  EXPECT_EQ(not_finite(transpose(x, 0, 1)).first, 1);
}

TEST(FaultProbe, FindsTheFirstOpForwardAndBackward) {
  const Tensor x = variable(Tensor::from<double>({1, 0, 4}, {3}));
  {
    const FaultProbe probe;
    const Tensor y = log(add_scalar(x, 1.0));
    EXPECT_FALSE(probe.found());
    sum(div(y, x));
    ASSERT_TRUE(probe.found());
    EXPECT_EQ(probe.found()->name, "div");
    EXPECT_EQ(probe.found()->elements.first, 1);
    EXPECT_EQ(probe.found()->kind, Kind::output);
  }
  {
    const FaultProbe probe;
    const Tensor y = sum(sqrt(x));  // finite, but its slope at 0 is not
    EXPECT_FALSE(probe.found());
    grad({y}, {}, {x});
    ASSERT_TRUE(probe.found());
    EXPECT_EQ(probe.found()->name, "sqrt");
    EXPECT_EQ(probe.found()->kind, Kind::input_gradient);
    EXPECT_EQ(probe.found()->elements.count, 1);
  }
  {
    const FaultProbe probe;
    const Tensor y = square(x);
    on_gradient(y, [](const Tensor& g) { return scale(g, inf); });
    grad({sum(y)}, {}, {x});
    ASSERT_TRUE(probe.found());
    EXPECT_EQ(probe.found()->name, "mul");  // which square is made of
    EXPECT_EQ(probe.found()->kind, Kind::output_gradient);
  }
}

/// A small network with a fault put into one place.
class FaultInNetwork : public ::testing::Test {
 protected:
  FaultInNetwork() : model({.widths = {4, 4, 4}, .modes_t = 2, .modes_x = 2, .projection = 6}, context) {}

  std::optional<FaultProbe::Finding> run() {
    const FaultProbe probe;
    const BoundParameters bound = parameters.bind(context.tiles);
    FaultProbe::layer_done("", {});
    const Tensor y = model.forward(bound, input);
    grad({sum(square(y))}, {}, {bound.flat()});
    return probe.found();
  }
  static Tensor spoilt(const Tensor& x) {
    Tensor out = x.clone();
    host_update<float>(out)[5] = NAN;
    // The same place on the tape, with another value.
    return add(x, sub(out, x.detach()));
  }

  TileGrid grid{8, 8, 1, 2};
  ModelContext context = testing::serial_context(grid, 3, 2);
  Fno2d model;
  ParameterSet parameters = model.initial_parameters(1);
  Tensor input = Tensor::full({2, 2, 3, 8, 4}, DType::f32, 0.3);
};

TEST_F(FaultInNetwork, NoneIsFoundWhereThereIsNone) { EXPECT_FALSE(run()); }

TEST_F(FaultInNetwork, Weights) {
  host_update<float>(parameters.view("block1.conv.weight"))[3] = NAN;
  const auto found = run();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "parameters");
  EXPECT_EQ(parameters.parts().at(static_cast<size_t>(found->slot)).name, "block1.conv.weight");
}

TEST_F(FaultInNetwork, Input) {
  host_update<float>(input)[0] = NAN;
  const auto found = run();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->layer, "fc0");
  EXPECT_EQ(found->kind, Kind::output);
}

TEST_F(FaultInNetwork, ActivationsOfEachLayer) {
  for (const char* layer : {"fc0", "block0", "block1", "fc2"}) {
    model.set_hook([&](const std::string& name, const Tensor& value) {
      return name == layer ? spoilt(value) : Tensor();
    });
    const auto found = run();
    ASSERT_TRUE(found) << layer;
    EXPECT_EQ(found->layer, layer);
    EXPECT_EQ(found->elements.first, 5);
    EXPECT_EQ(found->elements.count, 1);
  }
}

TEST_F(FaultInNetwork, GradientsOfEachLayer) {
  for (const char* layer : {"fc0", "block0", "block1", "fc2"}) {
    model.set_hook([&](const std::string& name, const Tensor& value) {
      if (name == layer) on_gradient(value, [](const Tensor& g) { return scale(g, inf); });
      return Tensor();
    });
    const auto found = run();
    ASSERT_TRUE(found) << layer;
    EXPECT_EQ(found->layer, layer);
    EXPECT_EQ(found->kind, Kind::output_gradient);
  }
}

TEST_F(FaultInNetwork, OverflowInsideALayer) {
  const Tensor spectral = parameters.view("block1.spectral");
  for (std::int64_t i = 0; i < spectral.count(); ++i) host_update<float>(spectral)[i] = 3e38F;
  const auto found = run();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->layer, "block1");
  EXPECT_EQ(found->kind, Kind::output);
}

}  // namespace
}  // namespace rankine
