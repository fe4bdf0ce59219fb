// A PDE in unknowns v_a = u_a / s_a of order one. Networks, tolerances and thresholds know that size only.
// Equation a is divided by s_a too, so that storage slopes stay what they are where all scales are equal.
#pragma once

#include "src/pde/pde.hpp"

namespace rankine {

class ScaledPde final : public Pde, public CollocatedPde {
 public:
  /// `pde` must outlive this. One positive scale s for each unknown.
  ScaledPde(const Pde& pde, std::vector<double> scales);

  int axes() const override { return pde_.axes(); }
  double length(int axis) const override { return pde_.length(axis); }
  double duration() const override { return pde_.duration(); }
  const char* length_unit() const override { return pde_.length_unit(); }
  const char* time_unit() const override { return pde_.time_unit(); }
  int unknowns() const override { return pde_.unknowns(); }
  std::string field_name(int unknown) const override { return pde_.field_name(unknown); }
  std::string symbol(int unknown) const override { return pde_.symbol(unknown); }
  std::vector<PdeParameter> parameters() const override { return pde_.parameters(); }
  std::vector<std::string> fields() const override { return pde_.fields(); }
  bool steady() const override { return pde_.steady(); }
  Discretisation discretisation() const override { return pde_.discretisation(); }
  /// Auxiliary fields stay in the units of the PDE.
  std::vector<std::string> auxiliaries() const override { return pde_.auxiliaries(); }
  std::vector<double> auxiliary_factors(std::span<const double> parameters) const override;
  bool flux_is_affine_in(int argument) const override { return pde_.flux_is_affine_in(argument); }
  void field_values(std::span<const double> numbers, std::span<const double> parameters,
                    std::span<const double> x, std::span<double> out) const override {
    pde_.field_values(numbers, parameters, x, out);
  }
  std::vector<PdeConstant> constants() const override { return pde_.constants(); }

  void storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  void flux(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  void source(const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  bool has_source() const override { return pde_.has_source(); }
  int flux_derivatives() const override { return pde_.flux_derivatives(); }
  bool convective(int unknown) const override { return pde_.convective(unknown); }
  Convection convection() const override { return pde_.convection(); }
  std::string explain(const std::string& term, const kernels::TermPoints& at, long point) const override;
  bool linear_flux() const override { return pde_.linear_flux(); }
  bool autonomous() const override { return pde_.autonomous(); }
  std::vector<double> time_events(std::span<const double> parameters) const override {
    return pde_.time_events(parameters);
  }

  bool mixed_derivatives() const override { return pde_.mixed_derivatives(); }
  bool walls_vary() const override { return pde_.walls_vary(); }
  bool periodic(int axis) const override { return pde_.periodic(axis); }
  WallCondition wall(const Face& face, int unknown, const Place& at, double t,
                     std::span<const double> parameters, std::span<const int> learned) const override;
  double typical_storage_slope() const override { return pde_.typical_storage_slope(); }
  double typical_state(int unknown) const override { return pde_.typical_state(unknown) / scales_[unknown]; }
  double size(int unknown) const override { return pde_.size(unknown) / scales_[unknown]; }
  double scale(int unknown) const override { return scales_[unknown]; }

  std::vector<double> draw_initial(const RandomStream& stream, long id, long& redrawn) const override {
    return pde_.draw_initial(stream, id, redrawn);
  }
  void initial_state(std::span<const double> numbers, std::span<const double> parameters,
                     std::span<const double> x, std::span<double> out) const override;
  bool has_exact() const override { return pde_.has_exact(); }
  void exact(double t, std::span<const double> parameters, std::span<const double> x,
             std::span<double> out) const override;

  int data_cells(int axis) const override { return pde_.data_cells(axis); }
  double reference_rtol() const override { return pde_.reference_rtol(); }
  long reference_steps() const override { return pde_.reference_steps(); }
  std::vector<double> reference_to(double rtol, std::span<const double> initial,
                                   const SchemeParameters& parameters, const Grid& grid,
                                   std::span<const double> times) const override;

  const CollocatedPde* collocated() const override { return pde_.collocated() ? this : nullptr; }
  void pointwise(std::span<const PointTerms> at, std::span<PointwiseResidual> out) const override;
  WallRow left_wall() const override;
  WallRow right_wall() const override;
  std::pair<double, double> bounds(double least, double greatest) const override;

 private:
  /// Argument a of a term in the units of the PDE: which unknown it belongs to.
  double scale_of(size_t argument) const {
    const size_t field = argument % static_cast<size_t>(fields_);
    return field < scales_.size() ? scales_[field] : 1;
  }
  std::vector<double> arguments_of(const kernels::TermPoints& at) const;
  /// Values and derivatives of a term, as those of the scaled equation by the scaled arguments.
  void scale(kernels::TermValues& values, int learned) const;

  const Pde& pde_;
  std::vector<double> scales_;
  int fields_;  // of terms, auxiliary ones included
};

}  // namespace rankine
