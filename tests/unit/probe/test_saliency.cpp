// Maps of where a network finds a class, and the pictures that they are judged by.
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/probe/corruption.hpp"
#include "src/probe/localisation.hpp"
#include "src/probe/occlusion.hpp"
#include "src/probe/saliency.hpp"
#include "src/rules/backprop.hpp"
#include "tests/support/data_files.hpp"
#include "tests/support/rule_problem.hpp"

namespace rankine {
namespace {

std::vector<double> drawn(std::size_t count, std::int64_t stream) {
  std::vector<double> out(count);
  RandomStream(3, "saliency").fill_normal(std::span(out), 0, stream);
  return out;
}

TEST(SaliencyMap, NormGradIsTheNormOfTheOuterProduct) {
  const std::vector<double> x = drawn(15, 0), g = drawn(15, 1);  // 3 channels, 5 pixels
  const std::vector<double> found = saliency_map("normgrad", x, g, 3);
  for (std::size_t u = 0; u < 5; ++u) {
    double square = 0;
    for (std::size_t a = 0; a < 3; ++a)
      for (std::size_t b = 0; b < 3; ++b) square += std::pow(x[5 * a + u] * g[5 * b + u], 2);
    EXPECT_NEAR(found[u], std::sqrt(square), 1e-14);
  }
}

TEST(SaliencyMap, GradCamWeighsChannelsByTheirMeanGradient) {
  const std::vector<double> x = drawn(10, 2), g = drawn(10, 3);
  const std::vector<double> found = saliency_map("grad_cam", x, g, 2);
  for (std::size_t u = 0; u < 5; ++u) {
    double sum = 0;
    for (std::size_t c = 0; c < 2; ++c)
      for (std::size_t v = 0; v < 5; ++v) sum += g[5 * c + v] / 5 * x[5 * c + u];
    EXPECT_NEAR(found[u], std::max(sum, 0.0), 1e-14);
  }
  EXPECT_EQ(saliency_map("gradient", x, g, 2)[1], std::max(std::abs(g[1]), std::abs(g[6])));
}

TEST(Resized, KeepsRampsBetweenTheCentresOfPixels) {
  const std::vector<double> ramp{0, 1, 2, 3, 10, 11, 12, 13};  // 10 y + x
  EXPECT_EQ(resized(ramp, 2, 4, 2, 4), ramp);
  const std::vector<double> twice = resized(ramp, 2, 4, 4, 8);
  EXPECT_NEAR(twice[8 + 3], 10 * 0.25 + 1.25, 1e-14);
  EXPECT_NEAR(twice[0], 0, 1e-14) << "constant beyond the centres";
}

TEST(Localisation, IsTheBoxOfTheLargestRegion) {
  const std::vector<double> map{9, 0, 0, 0, 0,   //
                                0, 0, 8, 3, 0,   //
                                0, 0, 0, 3, 10,  //
                                4, 4, 0, 0, 3};
  const auto expect = [](const ImageBox& found, const std::vector<std::int64_t>& box) {
    EXPECT_EQ((std::vector<std::int64_t>{found.top, found.left, found.bottom, found.right}), box);
  };
  expect(box_of_largest_region(map, 5, 0.2), {1, 2, 4, 5});
  expect(box_of_largest_region(map, 5, 0.35), {3, 0, 4, 2});
  expect(box_of_largest_region(map, 5, 0.5), {0, 0, 1, 1});  // of three of one pixel the first
  expect(box_of_largest_region(std::vector<double>(6), 3, 0.2), {0, 0, 0, 0});
  EXPECT_NEAR(overlap({0, 0, 4, 4}, {2, 1, 6, 5}), 6.0 / 26, 1e-15);
  EXPECT_EQ(overlap({0, 0, 2, 2}, {2, 0, 4, 2}), 0);
  EXPECT_EQ(overlap({0, 0, 0, 0}, {0, 0, 4, 2}), 0);
}

TEST(Canvas, ShowsEachItemInItsBox) {
  const test::Folder folder;
  test::write_images(folder, 12, 5);
  const std::string items =
      "{name: fashion_mnist, path: " + folder.path() + ", train: 9, validation: 3, test: 5}";
  const auto plain = test::make_dataset(items.substr(1, items.size() - 2));
  const auto canvas = test::make_dataset("name: canvas, background: 0.25, items: " + items);
  EXPECT_EQ(canvas->input_shape(), (Shape{1, 8, 8}));
  const std::vector<std::int64_t> which = test::all_of(*canvas, Split::training);
  const Examples found = canvas->examples(Split::training, which, DType::f64),
                 item = plain->examples(Split::training, which, DType::f64);
  EXPECT_EQ(found.ids, item.ids);
  EXPECT_EQ(found.targets.to_vector(), item.targets.to_vector());
  const std::vector<double> pixels = found.inputs.to_vector(), own = item.inputs.to_vector();
  std::set<std::int64_t> quadrants;
  for (std::size_t i = 0; i < which.size(); ++i) {
    const ImageBox box = *canvas->box(found.ids[i]);
    EXPECT_EQ(box.bottom - box.top, 4);
    quadrants.insert(box.top / 4 * 2 + box.left / 4);
    for (std::int64_t y = 0; y < 8; ++y)
      for (std::int64_t x = 0; x < 8; ++x) {
        const double pixel = pixels[i * 64 + static_cast<std::size_t>(8 * y + x)];
        if (!box.holds(y, x)) {
          EXPECT_TRUE(pixel >= 0 && pixel <= 0.25);
          continue;
        }
        const double of_item = own[i * 16 + static_cast<std::size_t>(4 * (y - box.top) + x - box.left)];
        EXPECT_GE(pixel, of_item);
        if (of_item > 0.25) {
          EXPECT_EQ(pixel, of_item);
        }
      }
  }
  EXPECT_GT(quadrants.size(), 1U);
  EXPECT_THAT(test::refusal("name: canvas, items: {name: gaussian_mixture}"),
              ::testing::HasSubstr("items: must be images"));
}

/// Pictures of 2 x 2 pixels whose thing is the pixel above left.
struct Corners final : Dataset {
  Shape input_shape() const override { return {1, 2, 2}; }
  std::int64_t classes() const override { return 3; }
  Shape target_shape() const override { return {}; }
  std::int64_t size(Split) const override { return 4; }
  Examples examples(Split, std::span<const std::int64_t> which, DType, std::uint64_t,
                    std::int64_t) const override {
    return {Tensor::zeros({static_cast<std::int64_t>(which.size()), 1, 2, 2}, DType::f64),
            {},
            {which.begin(), which.end()}};
  }
  std::optional<ImageBox> box(std::int64_t) const override { return ImageBox{0, 0, 1, 1}; }
};

/// A network that looks at such pictures.
struct CornersProblem {
  explicit CornersProblem(const char* blocks) : network(testing::network_from(blocks, {1, 2, 2})) {}

  Corners data;
  Network network;
  ParameterSet parameters = network.initial_parameters(1);
  CrossEntropy loss{{}};
  Backprop rule;
  Communicator self = Communicator::self();
  ProbeSetup setup{network, data, loss, 4};
  ProbeRun run{setup, self, parameters, rule, {}};
};

TEST(Saliency, FollowsAnInnerStepAndIsJudgedByTheBox) {
  CornersProblem problem("[{name: relu}, {name: flatten}, {name: dense, units: 3}]");
  const Corners& data = problem.data;
  const ParameterSet& parameters = problem.parameters;
  const ProbeSetup& setup = problem.setup;
  const ProbeRun& run = problem.run;
  const Tensor inputs =
                   Tensor::from(std::vector<double>{0.1, 0.7, 0.4, 0.9, 0.8, 0.3, 0.2, 0.6}, {1, 2, 1, 2, 2}),
               classes = Tensor::from(std::vector<std::int32_t>{2, 0}, {1, 2});
  constexpr double rate = 0.3;
  const NoGrad off;
  const std::vector<SaliencyMaps> found =
      Saliency({.at = {0}, .inner_rate = rate}).maps(run, inputs, classes, {0, 1});
  ASSERT_EQ(found.size(), 1U);
  const std::vector<double> w = parameters.view("block2.weight").to_vector(),
                            b = parameters.view("block2.bias").to_vector(), x = inputs.to_vector();
  std::vector<double> expected[2];
  for (std::size_t i = 0; i < 2; ++i) {
    std::vector<double> wi = w, bi = b, miss(3);
    const std::size_t label = i == 0 ? 2 : 0;
    for (int pass = 0; pass < 2; ++pass) {
      double sum = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        double z = bi[c];
        for (std::size_t k = 0; k < 4; ++k) z += wi[4 * c + k] * x[4 * i + k];
        sum += miss[c] = std::exp(z);
      }
      for (std::size_t c = 0; c < 3; ++c) {
        miss[c] = miss[c] / sum - (c == label ? 1 : 0);
        if (pass == 1) continue;
        bi[c] -= rate * miss[c];
        for (std::size_t k = 0; k < 4; ++k) wi[4 * c + k] -= rate * miss[c] * x[4 * i + k];
      }
    }
    for (std::size_t k = 0; k < 4; ++k) {
      double g = 0;
      for (std::size_t c = 0; c < 3; ++c) g += wi[4 * c + k] * miss[c];
      expected[i].push_back(x[4 * i + k] * std::abs(g));
    }
    const auto [low, high] = std::minmax_element(expected[i].begin(), expected[i].end());
    const double least = *low, range = *high - *low;
    for (double& value : expected[i]) value = (value - least) / range;
    for (std::size_t k = 0; k < 4; ++k) EXPECT_NEAR(found[0][i][k], expected[i][k], 1e-12);
  }

  Saliency probe({.at = {0}, .inner_rate = rate});
  probe.check(setup);
  const Tensor outputs = Tensor::from(std::vector<double>{3, 2, 1, 1, 3, 2}, {1, 2, 3});
  const std::vector<std::int64_t> ids{0, 1};
  std::vector<double> numbers;
  probe.see(run, {inputs, classes, outputs, ids}, numbers);
  probe.conclude(numbers);
  double hits = 0, energy = 0;
  for (const std::vector<double>& map : expected) {
    hits += map[0] == 1 ? 0.5 : 0;
    energy += 0.5 * map[0] / (map[0] + map[1] + map[2] + map[3]);
  }
  ASSERT_EQ(probe.measured().size(), 3U);
  EXPECT_EQ(probe.measured()[0], hits);
  EXPECT_NEAR(probe.measured()[1], energy, 1e-12);
  EXPECT_LT(std::abs(probe.measured()[2]), 1);
  EXPECT_EQ(probe.metrics()[0].name, "normgrad_inner_pointing_block0");

  Saliency boxes({.at = {0}, .inner_rate = rate, .box_above = 0.5});
  numbers.clear();
  boxes.see(run, {inputs, classes, outputs, ids}, numbers);
  boxes.conclude(numbers);
  double found_boxes = 0;
  for (const std::vector<double>& map :
       expected)  // of neighbours above a half, the box of one pixel or of two is right
    found_boxes += overlap(box_of_largest_region(map, 2, 0.5), *data.box(0)) >= 0.5 ? 0.5 : 0;
  EXPECT_EQ(boxes.metrics()[2].name, "normgrad_inner_localisation_block0");
  EXPECT_EQ(boxes.measured()[2], found_boxes);
}

TEST(Occlusion, HidesTheMiddle) {
  CornersProblem problem("[{name: flatten}, {name: dense, units: 3}]");
  std::vector<double> pixels(40);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = 1 + static_cast<double>(i);
  const Tensor inputs = Tensor::from(pixels, {1, 2, 1, 4, 5});
  const std::vector<std::int64_t> ids{0, 1};
  const std::vector<double> found =
      Occlusion({.size = 2}).changed(problem.run, {inputs, inputs, inputs, ids}).to_vector();
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const std::size_t y = i % 20 / 5, x = i % 5;
    EXPECT_EQ(found[i], (y == 1 || y == 2) && (x == 1 || x == 2) ? 0 : pixels[i]) << i;
  }
  EXPECT_NO_THROW(Occlusion({.size = 2}).check(problem.setup));
  EXPECT_THROW(Occlusion({.size = 3}).check(problem.setup), InputError);
}

TEST(Corruption, MovesImagesAndAddsNoiseOfTheExample) {
  CornersProblem problem("[{name: flatten}, {name: dense, units: 3}]");
  std::vector<double> pixels(40);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = 1 + static_cast<double>(i);
  const Tensor inputs = Tensor::from(pixels, {1, 2, 1, 4, 5});
  const std::vector<std::int64_t> ids{4, 9};
  const auto changed = [&](double noise) {
    return Corruption({.noise = noise, .shift = 2})
        .changed(problem.run, {inputs, inputs, inputs, ids})
        .to_vector();
  };
  const std::vector<double> moved = changed(0), noisy = changed(0.5);
  const RandomStream random(0, "probe/corruption");
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const std::size_t y = i % 20 / 5, x = i % 5;
    EXPECT_EQ(moved[i], y < 2 || x < 2 ? 0 : pixels[i - 12]) << i;
    EXPECT_EQ(noisy[i], moved[i] + 0.5 * random.normal(0, ids[i / 20], static_cast<std::int64_t>(i % 20)));
  }
  EXPECT_NO_THROW(Corruption({.shift = 1}).check(problem.setup));
  EXPECT_THROW(Corruption({.shift = 2}).check(problem.setup), InputError);
}

TEST(Saliency, AnInnerStepLeavesRunningStatisticsAlone) {
  CornersProblem problem(
      "[{name: conv2d, channels: 2}, {name: batch_norm}, {name: flatten}, {name: dense, units: 3}]");
  const ParameterSet& parameters = problem.parameters;
  const Tensor x = Tensor::from(std::vector<double>{0.1, 0.7, 0.4, 0.9}, {1, 1, 1, 2, 2}),
               asked = Tensor::from(std::vector<std::int32_t>{1}, {1, 1});
  const ParameterSet after = after_inner_step(problem.run, x, asked, 0, 0.5);
  int frozen = 0;
  for (const ParameterInfo& part : parameters.parts()) {
    const bool same = after.view(part).to_vector() == parameters.view(part).to_vector();
    EXPECT_EQ(same, part.frozen) << part.name;
    frozen += part.frozen ? 1 : 0;
  }
  EXPECT_EQ(frozen, 2);
}

}  // namespace
}  // namespace rankine
