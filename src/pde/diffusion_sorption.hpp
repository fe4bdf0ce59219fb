// One-dimensional diffusion-sorption, PDEBench's first benchmark with a singular storage (Takamoto et al.
// 2022).
#pragma once

#include "src/deck/options.hpp"
#include "src/pde/diffusion_sorption_coefficients.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

struct DiffusionSorptionOptions {
  DiffusionSorptionCoefficients coefficients;
  double length = 1;
  double duration = 500;
  double initial_minimum = 1e-3;
  double initial_maximum = 0.2;
  double storage_slope = 3.5;
  int data_cells = 1024;
  double reference_rtol = 1e-7;
  void options(OptionVisitor& o);
};

/// du/dt R(u) = D u_xx on [0, length]; u = 1 at the left wall, u = D u_x at the right one; u(0, x) = u0.
/// The walls stand where PDEBench's closure puts them: at the centres of the ghost cells of a grid of
/// `data_cells` cells, half a fine cell outside the domain. On any coarser grid the ghost values follow from
/// that by linear interpolation.
class DiffusionSorption final : public Pde {
 public:
  using Options = DiffusionSorptionOptions;
  explicit DiffusionSorption(const DiffusionSorptionOptions& options) : o_(options) {}

  double length() const override { return o_.length; }
  double duration() const override { return o_.duration; }
  const char* length_unit() const override { return "m"; }
  const char* time_unit() const override { return "s"; }
  const char* field_name() const override { return "concentration"; }

  void storage(std::span<const double> u, kernels::StorageFields& out) const override;
  kernels::ThreePointOperator flux_operator(int cells) const override;
  double typical_storage_slope() const override { return o_.storage_slope; }
  PointwiseResidual pointwise(double u, double u_t, double u_xx) const override;
  WallRow left_wall() const override { return {1, 0, 1}; }
  WallRow right_wall() const override { return {1, -o_.coefficients.diffusion, 0}; }
  double initial_minimum() const override { return o_.initial_minimum; }
  double initial_maximum() const override { return o_.initial_maximum; }
  std::vector<double> reference(double u0, int cells, std::span<const double> times) const override;

 private:
  DiffusionSorptionOptions o_;
};

}  // namespace rankine
