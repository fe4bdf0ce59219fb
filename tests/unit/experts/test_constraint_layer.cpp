// Network, constraint layer and loss together: the gradient with respect to the parameters against central
// differences of the whole loss in double, and the mixed-precision gradient against the double one.
#include <cmath>

#include <gtest/gtest.h>

#include "src/experts/constraint_layer.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "tests/unit/nn/fno_support.hpp"

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
    storage = std::make_unique<StorageModel>(pde, cells, options.times(500, frames), 0.5, 2, options.march);
    layer = make_constraint_layer(options, *storage, communicator, TilePartition(grid, 1, 0), {}, 0);
    for (int s = 0; s < batch_size; ++s) {
      batch.ids.push_back(s);
      batch.initial.insert(batch.initial.end(), cells, initial(s));
      batch.parameters.push_back(pde.parameters()[0].value);
    }
  }

  static double initial(int s) { return 0.08 + 0.06 * s; }

  /// Inputs as the training gives them, on tiles.
  Tensor input(DType type) const {
    std::vector<double> values;
    for (int s = 0; s < batch_size; ++s)
      for (int channel = 0; channel < 3; ++channel)
        for (int j = 1; j <= frames; ++j)
          for (int i = 0; i < cells; ++i)
            values.push_back(channel == 0   ? static_cast<double>(j) / frames
                             : channel == 1 ? (i + 0.5) / cells
                                            : 5 * initial(s));
    const NoGrad off;
    return cast(
        testing::cut_tiles(Tensor::from(values, {batch_size, 3, frames, cells}), TilePartition(grid, 1, 0)),
        type);
  }

  std::unique_ptr<Fno2d> model(const char* precision) const {
    Fno2dOptions o;
    o.widths = {6, 6};
    o.modes_t = o.modes_x = 3;
    o.projection = 8;
    o.precision = precision;
    return std::make_unique<Fno2d>(o, testing::serial_context(grid, 3, layer->outputs()));
  }

  double loss_of(const Fno2d& net, const ParameterSet& parameters, Tensor* gradient) const {
    const BoundParameters bound = parameters.bind(local_tile_sum(grid.tiles()));
    const TapeLoss loss = layer->loss(
        add(near_solution(net.dtype()), scale(net.forward(bound, input(net.dtype())), 0.1)), batch);
    if (gradient) *gradient = grad(loss.outputs, loss.seeds, {bound.flat()}).front();
    return loss.value;
  }

  /// Fields near the exact discrete solution, to which the network adds a tenth of its output: a state as
  /// training reaches it, whose solves converge and whose u stays away from 0.
  Tensor near_solution(DType type) const {
    const int channels = layer->outputs();
    std::vector<double> values;
    for (int s = 0; s < batch_size; ++s) {
      const std::vector<double> exact =
          storage->sample(std::vector<double>(cells, initial(s))).solve_exactly();
      for (int i = 0; i < channels; ++i)
        for (int j = 1; j <= frames; ++j)
          for (int x = 0; x < cells; ++x) {
            const double time = static_cast<double>(j) / frames, y = (x + 0.5) / cells;
            const double shape =
                i == 0 ? 1 + 0.1 * std::cos(5 * y + 3 * time) : std::cos(1.3 * i * y) + 0.8 * time;
            values.push_back((0.03 + exact[j * cells + x]) * shape);
          }
    }
    const NoGrad off;
    return cast(testing::cut_tiles(Tensor::from(values, {batch_size, channels, frames, cells}),
                                   TilePartition(grid, 1, 0)),
                type);
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
  const auto net = model("double");
  const ParameterSet parameters = net->initial_parameters(4);
  Tensor gradient;
  loss_of(*net, parameters, &gradient);
  const BatchStatistics statistics = layer->statistics();
  for (const ExpertStatistics& s : statistics) EXPECT_LE(s.gradient_norm, 1e-10);
  double length = 0;
  for (double g : gradient.to_vector()) length += g * g;
  length = std::sqrt(length);
  const auto along = [&](double h) {
    const ParameterSet moved = parameters.clone();
    for (std::int64_t i = 0; i < moved.count(); ++i)
      moved.flat().data<double>()[i] += h * gradient.data<double>()[i] / length;
    return loss_of(*net, moved, nullptr);
  };
  double error = 1;
  for (double h : {1e-4, 2e-5, 4e-6}) {
    const auto difference = [&](double step) { return (along(step) - along(-step)) / (2 * step); };
    error = std::min(error, std::abs((4 * difference(h) - difference(2 * h)) / 3 - length) / length);
  }
  EXPECT_LE(error, 1e-6);
}

TEST_P(ConstraintLayerTest, MixedPrecisionGradientIsClose) {
  const auto exact = model("double"), mixed = model("float");
  const ParameterSet parameters = exact->initial_parameters(4);
  const ParameterSet rounded = mixed->initial_parameters(4);
  for (std::int64_t i = 0; i < parameters.count(); ++i) {
    rounded.flat().data<float>()[i] = static_cast<float>(parameters.flat().data<double>()[i]);
    parameters.flat().data<double>()[i] = rounded.flat().data<float>()[i];
  }
  Tensor reference, found;
  loss_of(*exact, parameters, &reference);
  loss_of(*mixed, rounded, &found);
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
