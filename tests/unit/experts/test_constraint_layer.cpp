// Network, constraint layer and loss together: the gradient with respect to the parameters against central
// differences of the whole loss in double, and the mixed-precision gradient against the double one.
#include <cmath>

#include <gtest/gtest.h>

#include "src/experts/constraint_layer.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "tests/support/host_elements.hpp"
#include "tests/unit/experts/near_solution.hpp"

namespace rankine {
namespace {

constexpr int cells = 16, frames = 8, batch_size = 2;

struct Setting {
  const char* name;
  const char* method;
  int experts;
  const char* coupling;
  const char* rows;
  const char* loss;
};

class ConstraintLayerTest : public ::testing::TestWithParam<Setting> {
 protected:
  ConstraintLayerTest() {
    const Setting& s = GetParam();
    options.method = s.method;
    options.experts = {1, s.experts};
    options.coupling = s.coupling;
    options.rows = s.rows;
    options.loss = s.loss;
    options.basis = 3;
    options.solver.max_steps = 400;
    options.solver.atol = 1e-11;
    options.solver.adjoint_damping = 0;
    storage = std::make_unique<StorageModel>(pde, pde.grid({cells}), options.times(500, frames), 0.5, 2,
                                             options.march);
    layer = make_constraint_layer(options, *storage, communicator, TilePartition(grid, 1, 0), {}, 0);
    for (int s = 0; s < batch_size; ++s) {
      batch.ids.push_back(s);
      batch.initial.insert(batch.initial.end(), cells, testing::initial_state(s));
      batch.parameters.push_back(pde.parameters()[0].value);
    }
  }

  double loss_of(const Fno2d& net, const ParameterSet& parameters, Tensor* gradient) const {
    const BoundParameters bound = parameters.bind(local_tile_sum(grid.tiles()));
    const TapeLoss loss =
        layer->loss(add(testing::near_solution(*storage, grid, batch_size, layer->outputs(), net.dtype()),
                        scale(net.forward(bound, testing::inputs(grid, batch_size, net.dtype())), 0.1)),
                    batch);
    if (gradient) *gradient = grad(loss.outputs, loss.seeds, {bound.flat()}).front();
    return loss.value.read();
  }

  Communicator communicator = Communicator::self();
  DiffusionSorption pde{DiffusionSorptionOptions{}};
  TileGrid grid{frames, cells, 1, 4};
  FormulationOptions options;
  std::unique_ptr<StorageModel> storage;
  std::unique_ptr<ConstraintLayer> layer;
  PdeBatch batch;
};

TEST_P(ConstraintLayerTest, GradientAgreesWithCentralDifferencesOfTheWholeLoss) {
  const Fno2d net = testing::small_fno(grid, layer->outputs(), "double");
  const ParameterSet parameters = net.initial_parameters(4);
  Tensor gradient;
  loss_of(net, parameters, &gradient);
  const BatchStatistics statistics = layer->statistics();
  for (const ExpertStatistics& s : statistics) EXPECT_LE(s.gradient_norm, 1e-10);
  const std::vector<double> g = gradient.to_vector();
  const auto loss = [&](const ParameterSet& at) { return loss_of(net, at, nullptr); };
  EXPECT_LE(testing::error_along(testing::unit(g), g, parameters, loss), 1e-6);
}

TEST_P(ConstraintLayerTest, MixedPrecisionGradientIsClose) {
  const Fno2d exact = testing::small_fno(grid, layer->outputs(), "double"),
              mixed = testing::small_fno(grid, layer->outputs(), "float");
  const ParameterSet parameters = exact.initial_parameters(4);
  const ParameterSet rounded = mixed.initial_parameters(4);
  for (std::int64_t i = 0; i < parameters.count(); ++i) {
    host_update<float>(rounded.flat())[i] = static_cast<float>(host_read<double>(parameters.flat())[i]);
    host_update<double>(parameters.flat())[i] = host_read<float>(rounded.flat())[i];
  }
  Tensor reference, found;
  loss_of(exact, parameters, &reference);
  loss_of(mixed, rounded, &found);
  const std::vector<double> a = reference.to_vector(), b = found.to_vector();
  double aa = 0, bb = 0, ab = 0, off = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    aa += a[i] * a[i];
    bb += b[i] * b[i];
    ab += a[i] * b[i];
    off += (a[i] - b[i]) * (a[i] - b[i]);
  }
  EXPECT_LE(std::sqrt(off / aa), 1e-3);
  EXPECT_GE(ab / std::sqrt(aa * bb), 0.999);
}

const Setting settings[] = {
    {"Soft", "soft", 1, "none", "dual", "dual"},
    {"SoftPlainLoss", "soft", 1, "none", "dual", "plain"},
    {"OneExpert", "hard", 1, "none", "dual", "dual"},
    {"FourExperts", "hard", 4, "none", "dual", "dual"},
    {"FourCoupledExperts", "hard", 4, "assembled", "plain", "dual"},
    {"FourCoupledExpertsPlainLoss", "hard", 4, "assembled", "plain", "plain"},
};
INSTANTIATE_TEST_SUITE_P(Formulations, ConstraintLayerTest, ::testing::ValuesIn(settings),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace rankine
