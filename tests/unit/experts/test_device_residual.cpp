// The residual of many samples in device memory against that of each on the host: the same bits.
#include <random>

#include <gtest/gtest.h>

#include "src/experts/device_residual.hpp"
#include "src/experts/formulation.hpp"
#include "src/pde/burgers.hpp"
#include "src/pde/diffusion_sorption.hpp"

namespace rankine {
namespace {

constexpr int cells = 16, frames = 8;

StorageModel model(const Pde& pde, const char* state = "frozen") {
  FormulationOptions options;
  options.time = "graded";
  options.march.state = state;
  return StorageModel(pde, pde.grid({cells}), options.times(pde.duration(), frames), 0.5, 2, options.march);
}

TEST(DeviceResidual, HasTheBitsOfTheSamplesAlone) {
  const DiffusionSorption pde{DiffusionSorptionOptions{}};
  const StorageModel storage = model(pde);
  for (const Weighting weighting : {Weighting::plain, Weighting::spatial, Weighting::dual})
    for (const int samples : {0, 1, 3, 4, 13}) {
      std::mt19937 rng(static_cast<unsigned>(samples));
      std::uniform_real_distribution<double> uniform(-0.05, 0.3);
      std::vector<double> initial(static_cast<std::size_t>(samples * cells)),
          u(static_cast<std::size_t>(samples * frames * cells));
      for (double& v : initial) v = uniform(rng);
      for (double& v : u) v = uniform(rng);
      const auto part = [](const std::vector<double>& all, int s, int size) {
        return std::vector<double>(all.begin() + s * size, all.begin() + (s + 1) * size);
      };
      const StorageProblem any = storage.sample(std::vector<double>(cells, 0.1));
      ASSERT_TRUE(DeviceResidual::fits(any, weighting));
      const DeviceResidual device(any, weighting);
      ASSERT_TRUE(device.is_of(any));
      const auto norms = device.norms(Tensor::from(initial, {samples, 1, cells}),
                                      Tensor::from(u, {samples, frames, cells}), true);
      const std::vector<double> values = norms.values.to_vector(), gradient = norms.gradient.to_vector();
      for (int s = 0; s < samples; ++s) {
        const StorageProblem problem = storage.sample(part(initial, s, cells));
        std::vector<double> expected(static_cast<std::size_t>(frames * cells));
        const double norm =
            problem.residual_norm(weighting, problem.whole(part(u, s, frames * cells)), expected);
        EXPECT_EQ(values[static_cast<std::size_t>(s)], norm);
        EXPECT_EQ(part(gradient, s, frames * cells), expected);
      }
    }
}

TEST(DeviceResidual, FitsWhatTheDeviceKnows) {
  const DiffusionSorption pde{DiffusionSorptionOptions{}};
  const std::vector<double> initial(cells, 0.1);
  const StorageProblem of_initial = model(pde, "initial").sample(initial);
  EXPECT_TRUE(DeviceResidual::fits(of_initial, Weighting::plain));
  EXPECT_FALSE(DeviceResidual::fits(of_initial, Weighting::dual));
  const StorageProblem at_prediction = model(pde, "prediction").sample(initial);
  EXPECT_FALSE(DeviceResidual::fits(at_prediction, Weighting::dual));
  const Burgers nonlinear{BurgersOptions{}};
  EXPECT_FALSE(DeviceResidual::fits(model(nonlinear).sample(initial), Weighting::plain));
  const StorageModel storage = model(pde);
  const StorageProblem one = storage.sample(initial);
  EXPECT_FALSE(DeviceResidual(one, Weighting::dual).is_of(storage.sample(initial, {.values = {1e-3}})));
}

}  // namespace
}  // namespace rankine
