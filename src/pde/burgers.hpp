// Viscous Burgers' equation, u_t + (u^2 / 2)_x = nu u_xx: the smallest equation with advection and fronts.
#pragma once

#include "src/deck/node.hpp"
#include "src/pde/convective_flux.hpp"

namespace rankine {

struct BurgersOptions {
  double viscosity = 0.01;
  double viscosity_minimum = 0;
  double length = 1;
  double duration = 1;
  std::string walls = "periodic";
  double left = 0, right = 0;
  int modes = 3;
  double amplitude = 1;
  double mean = 0;
  std::string convection = "central";
  int data_cells = 1024;
  double reference_rtol = 1e-7;
  long reference_steps = Pde::default_reference_steps;
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;
};

/// Periodic, or with values held at both walls. Initial states are random Fourier sums,
///   u0 = mean + amplitude / sqrt(modes) sum_k (a_k cos + b_k sin)(2 pi k x / L),  a_k, b_k normal,
/// and between walls the straight line through the wall values plus sines that vanish there.
class Burgers final : public Pde {
 public:
  using Options = BurgersOptions;
  explicit Burgers(const BurgersOptions& options) : o_(options) {}

  double length(int) const override { return o_.length; }
  double duration() const override { return o_.duration; }
  std::string field_name(int) const override { return "velocity"; }
  std::vector<PdeParameter> parameters() const override;

  void storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  void flux(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const override;
  int flux_derivatives() const override { return 1; }
  Convection convection() const override { return convection_named(o_.convection); }
  bool periodic(int) const override { return o_.walls == "periodic"; }
  WallCondition wall(const Face& face, int unknown, const Place& at, double t,
                     std::span<const double> parameters, std::span<const int> learned) const override;
  double typical_storage_slope() const override { return 1; }
  double typical_state(int) const override { return o_.mean; }
  double size(int unknown) const override;

  std::vector<double> draw_initial(const RandomStream& stream, long id, long& redrawn) const override;
  void initial_state(std::span<const double> numbers, std::span<const double> parameters,
                     std::span<const double> x, std::span<double> out) const override;
  int data_cells(int) const override { return o_.data_cells; }
  double reference_rtol() const override { return o_.reference_rtol; }
  long reference_steps() const override { return o_.reference_steps; }

 private:
  BurgersOptions o_;
};

}  // namespace rankine
