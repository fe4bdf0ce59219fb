// An ansatz for what a flow carries: a network gives a displacement instead of the field. With the heat kernel
// H_t = exp(L t) of the Fourier discretisation, at a time t after the state u0,
//   v(t, x) = H_t/2 [(H_t/2 u0)(x - D)] + a_s s : grad grad u0 + a_c c,    mean of u0,
//   D = t V0 + t^2/2 (V_t - V0 . grad V0) + a_D d.
// V0 = dF/du is the velocity of the nonlinear part of the flux at u0, V_t what du/dt changes it by, and without d
// D is the way back to where a particle was, to the second order in t. The network's d, s and c are 0 at t = 0.
#pragma once

#include <vector>

#include "src/pde/fourier_scheme.hpp"
#include "src/pde/wave_interpolation.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

struct CarriedOptions {
  std::vector<int> cells{32, 32};  ///< that the network's outputs stand on, by axis
  int coefficients = 3;            ///< q, of each output in time
  double displacement = 0.03;      ///< a_D, length over time
  double spreading = 2e-4;         ///< a_s, length^2 over time
  double addition = 0.3;           ///< a_c, an unknown over time
};

class CarriedAnsatz {
 public:
  /// For the Fourier discretisation of one unknown on a box of two axes. `times` of the frames after that of u0,
  /// rising from above 0; the last is the length T of the window. Throws InputError, naming the key `ansatz`, for
  /// another PDE, and for options that do not fit the grid. `pde` must outlive this.
  CarriedAnsatz(const CarriedOptions& options, const Pde& pde, const Grid& grid, std::vector<double> times);

  static constexpr int inputs_of_network = 7;
  /// D (2), s (xx, xy, yy) and c, with q numbers each: of t cos(i pi t / T), i < q.
  int outputs_of_network() const { return 6 * options_.coefficients; }
  const Grid& coarse() const { return coarse_; }

  /// What follows from the states that a window starts with.
  struct Start {
    std::int64_t samples = 0;
    FourierScheme::Waves waves;                     ///< of u0, [sample][mode]
    std::vector<double> rate;                       ///< du/dt, [sample][cell]
    std::vector<double> velocity, change, turning;  ///< V0, V_t, V_t - V0 . grad V0: [axis][sample][cell]
    std::array<std::vector<double>, 3> curvature;   ///< u_xx, u_xy, u_yy, [sample][cell]
  };
  /// `u0`: [sample][cell], of which waves beyond two thirds of the grid's are left out.
  Start start(std::span<const double> u0) const;

  /// [sample][7][coarse cell] in double: u0, V0 along x and y, du/dt, V_t along x and y, laplacian of u0, of which the
  /// waves that the coarse grid has. Each is divided by scales().
  Tensor inputs(const Start& start) const;
  /// Root mean squares of the inputs over 8 initial states of the PDE; 1 for what is 0 in all of them.
  const std::vector<double>& scales() const { return scales_; }

  /// v [sample][frame][cell] in double of `outputs` [sample][6 q][coarse cell], differentiable once by them. A
  /// displacement that is not finite makes v so. This must outlive the tape.
  Tensor fields(const Tensor& outputs, const Start& start) const;

 private:
  struct Course;
  std::vector<double> derivative(const FourierScheme::Waves& waves, int by_x, int by_y) const;
  std::vector<double> carried(const std::vector<double>& outputs, const Start& start, Course& course) const;
  std::vector<double> transposed(const std::vector<double>& bar, const Course& course) const;
  /// waves [sample][frame][mode] times exp(L t / 2), or the conjugate.
  void diffuse(FourierScheme::Waves& waves, bool transposed) const;

  CarriedOptions options_;
  std::vector<double> times_, basis_;  // [frame][coefficient]
  FourierScheme scheme_;
  Grid grid_, coarse_, fine_;
  WaveInterpolation from_coarse_, to_fine_;
  std::vector<FourierScheme::Waves> half_;  // exp(L t / 2) by frame
  bool keeps_mean_;
  std::vector<double> scales_;
};

}  // namespace rankine
