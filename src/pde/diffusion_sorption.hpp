// One-dimensional diffusion-sorption, PDEBench's first benchmark with a singular storage (Takamoto et al.
// 2022).
#pragma once

#include "src/deck/node.hpp"
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
  long reference_steps = Pde::default_reference_steps;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
};

/// du/dt R(u) = D u_xx on [0, length]; u = 1 at the left wall, u = D u_x at the right one; u(0, x) = u0.
/// The walls stand where PDEBench's closure puts them: at the centres of the ghost cells of a grid of
/// `data_cells` cells, half a fine cell outside the domain. On any coarser grid the ghost values follow from
/// that by linear interpolation.
class DiffusionSorption final : public Pde, public CollocatedPde {
 public:
  using Options = DiffusionSorptionOptions;
  explicit DiffusionSorption(const DiffusionSorptionOptions& options) : o_(options) {}

  double length(int) const override { return o_.length; }
  double duration() const override { return o_.duration; }
  const char* length_unit() const override { return "m"; }
  const char* time_unit() const override { return "s"; }
  std::string field_name(int) const override { return "concentration"; }
  std::vector<PdeParameter> parameters() const override {
    return {{.name = "diffusion", .value = o_.coefficients.diffusion}};
  }
  std::vector<PdeConstant> constants() const override;

  void storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  bool has_device_storage() const override { return true; }
  void device_storage(std::int64_t n, DevicePtr<const double> u, DevicePtr<double> value,
                      DevicePtr<double> slope, DevicePtr<double> curvature) const override;
  void flux(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  int flux_derivatives() const override { return 1; }
  bool linear_flux() const override { return true; }
  WallCondition wall(const Face& face, int unknown, const Place& at, double t,
                     std::span<const double> parameters, std::span<const int> learned) const override;
  double typical_storage_slope() const override { return o_.storage_slope; }

  /// One number, u0: uniform in (0, initial_maximum), drawn again below initial_minimum; straight between
  /// them where few draws would pass.
  std::vector<double> draw_initial(const RandomStream& stream, long id, long& redrawn) const override;
  void initial_state(std::span<const double> numbers, std::span<const double> parameters,
                     std::span<const double> x, std::span<double> out) const override;
  int data_cells(int) const override { return o_.data_cells; }
  double reference_rtol() const override { return o_.reference_rtol; }
  long reference_steps() const override { return o_.reference_steps; }
  std::vector<double> reference_to(double rtol, std::span<const double> initial,
                                   const SchemeParameters& parameters, const Grid& grid,
                                   std::span<const double> times) const override;

  const CollocatedPde* collocated() const override { return this; }
  void pointwise(std::span<const PointTerms> at, std::span<PointwiseResidual> out) const override;
  WallRow left_wall() const override { return {1, 0, 1}; }
  WallRow right_wall() const override { return {1, -o_.coefficients.diffusion, 0}; }
  std::pair<double, double> bounds(double least, double greatest) const override;

 private:
  DiffusionSorptionOptions o_;
};

}  // namespace rankine
