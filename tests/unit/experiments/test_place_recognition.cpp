// The parts of place recognition on hand-made cases: views, patches, spike trains, assignment, silencing,
// scores.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/core/spike_trains.hpp"
#include "src/experiments/place_recognition.hpp"

namespace rankine {
namespace {

using testing::ElementsAre;

TEST(PlaceRecognition, NeuronsBelongToThePlaceTheyAnswerToMost) {
  // [3 places, 4 neurons]
  const std::vector<std::int32_t> spikes{1, 5, 0, 2,  //
                                         3, 5, 0, 0,  //
                                         2, 1, 0, 7};
  EXPECT_THAT(assigned_places(spikes, 3, 4), ElementsAre(1, 0, -1, 2));
}

TEST(PlaceRecognition, SilencesExactlyTheNeuronsAtOrAboveTheThreshold) {
  // [3 reference images, 4 neurons]: they answer to 3, 2, 1 and 0 images, however many spikes that takes.
  const ModuleResponse response{.neurons = 4, .reference = {1, 9, 0, 0, 1, 0, 0, 0, 1, 2, 50, 0}};
  EXPECT_THAT(hyperactive_neurons(response, 2), ElementsAre(true, true, false, false));
  EXPECT_THAT(hyperactive_neurons(response, 3), ElementsAre(true, false, false, false));
  EXPECT_THAT(hyperactive_neurons(response, 4), ElementsAre(false, false, false, false));
  EXPECT_THAT(hyperactive_neurons(response, 1), ElementsAre(true, true, true, false));
  EXPECT_THAT(hyperactive_neurons(response, 0), ElementsAre(false, false, false, false));
}

TEST(PlaceRecognition, ScoresAreMeansOverThePlacesNeurons) {
  // Neurons 0, 1 and 2 belong to place 0, neuron 3 to place 2, nobody to place 1, neuron 4 to none.
  const std::vector<std::int32_t> assigned{0, 0, 0, 2, -1};
  const ModuleResponse response{.neurons = 5, .query = {3, 4, 2, 5, 100, 0, 0, 6, 0, 0}};
  EXPECT_THAT(place_scores(response, assigned, std::vector<bool>(5, false), 3),
              ElementsAre(3, 0, 5, 2, 0, 0));
  // A silenced neuron fires no more, but counts among the place's neurons.
  EXPECT_THAT(place_scores(response, assigned, {false, true, false, true, false}, 3),
              ElementsAre(testing::DoubleEq(5.0 / 3), 0, 0, 2, 0, 0));
}

TEST(PlaceRecognition, RanksTakeTheFirstOfEquals) {
  const std::vector<double> scores{2, 5, 5, 1};
  EXPECT_EQ(rank_of(scores, 1), 0);
  EXPECT_EQ(rank_of(scores, 2), 1);
  EXPECT_EQ(rank_of(scores, 0), 2);
  EXPECT_EQ(rank_of(scores, 3), 3);
}

TEST(Traverses, PatchNormalisationAgreesWithItsDefinition) {
  const RandomStream stream(3, "test");
  GreyImage image{9, 11, std::vector<double>(99)};
  for (std::size_t k = 0; k < 99; ++k)
    image.pixels[k] = static_cast<double>(stream.integer(256, 0, 0, k)) / 255;
  const std::vector<std::uint8_t> found = patch_normalised(image, 5);
  for (int y = 0; y < 9; ++y) {
    for (int x = 0; x < 11; ++x) {
      std::vector<double> patch;
      for (int v = y - 2; v <= y + 2; ++v)
        for (int u = x - 2; u <= x + 2; ++u)
          if (v >= 0 && v < 9 && u >= 0 && u < 11)
            patch.push_back(image.pixels[static_cast<std::size_t>(v * 11 + u)]);
      const double mean =
          std::accumulate(patch.begin(), patch.end(), 0.0) / static_cast<double>(patch.size());
      double variance = 0;
      for (const double p : patch) variance += (p - mean) * (p - mean) / static_cast<double>(patch.size());
      const double value = (image.pixels[static_cast<std::size_t>(y * 11 + x)] - mean) / std::sqrt(variance);
      EXPECT_NEAR(found[static_cast<std::size_t>(y * 11 + x)],
                  127.5 * (1 + std::min(1.0, std::max(-1.0, value))) - 0.5, 0.5 + 1e-6);
    }
  }
  // A flat patch is in the middle; gain and offset that cut nothing change nothing where no bits are lost.
  EXPECT_THAT(patch_normalised({3, 3, std::vector<double>(9, 0.4)}, 3), testing::Each(127));
}

TEST(Traverses, ViewsAreKeyedAndDisplaced) {
  const RandomStream stream(1, "traverses");
  GreyImage place{12, 12, std::vector<double>(144, 0.2)};
  place.pixels[5 * 12 + 6] = 1;
  const TraverseOptions still{.gain = 0, .offset = 0, .noise = 0, .shift = 0};
  EXPECT_EQ(view_of(place, still, stream, 0, 3).pixels, place.pixels);
  TraverseOptions moving = still;
  moving.shift = 1;
  std::vector<int> moved(9, 0);
  for (int id = 0; id < 180; ++id) {
    const GreyImage view = view_of(place, moving, stream, 2, id);
    EXPECT_EQ(view.pixels, view_of(place, moving, stream, 2, id).pixels);
    const auto at = std::max_element(view.pixels.begin(), view.pixels.end()) - view.pixels.begin();
    const auto y = at / 12 - 5, x = at % 12 - 6;
    ASSERT_LE(std::abs(y), 1);
    ASSERT_LE(std::abs(x), 1);
    ++moved[static_cast<std::size_t>(3 * (y + 1) + x + 1)];
  }
  EXPECT_THAT(moved, testing::Each(testing::AllOf(testing::Ge(5), testing::Le(45))));
  // The light is that of the traverse.
  const TraverseOptions light{.gain = 0.3, .offset = 0.1, .noise = 0, .shift = 0};
  EXPECT_EQ(view_of(place, light, stream, 4, 0).pixels, view_of(place, light, stream, 4, 9).pixels);
  EXPECT_NE(view_of(place, light, stream, 4, 0).pixels, view_of(place, light, stream, 5, 0).pixels);
}

TEST(SpikeTrains, FireAsOftenAsTheirRates) {
  const std::vector<double> rates{0, 10, 60, 2000, 1000};
  const RandomStream stream(5, "spikes");
  const int steps = 200'000;
  const double dt = 0.5;
  const kernels::SpikeTrains trains = poisson_trains(rates, dt, steps, stream, 7);
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const double p = rates[i] * dt * 1e-3;
    const int count = trains.offsets[i + 1] - trains.offsets[i];
    EXPECT_NEAR(count, steps * p, 5 * std::sqrt(steps * p * (1 - p)) + 1e-9) << i;
    // Gaps between spikes are memoryless: one step apart as often as p says.
    int next = 0;
    for (int s = trains.offsets[i] + 1; s < trains.offsets[i + 1]; ++s) {
      ASSERT_LT(trains.steps[static_cast<std::size_t>(s) - 1], trains.steps[static_cast<std::size_t>(s)]);
      next += trains.steps[static_cast<std::size_t>(s)] == trains.steps[static_cast<std::size_t>(s) - 1] + 1;
    }
    EXPECT_NEAR(next, count * p, 5 * std::sqrt(count * p) + 1) << i;
  }
  // Keyed: the trains of an input do not depend on the others.
  const kernels::SpikeTrains alone = poisson_trains(std::vector<double>{0, 10}, dt, steps, stream, 7);
  EXPECT_TRUE(std::equal(alone.steps.begin(), alone.steps.end(), trains.steps.begin()));
  EXPECT_NE(poisson_trains(rates, dt, steps, stream, 8).steps, trains.steps);
}

}  // namespace
}  // namespace rankine
