// The Fourier discretisation of a periodic box: derivatives and auxiliary fields by transforms, products at the
// centres of the cells, of all fields only the waves below two thirds of the grid's (Orszag 1971, so that squares
// have no aliases). du/dt = L u + N(u): L are the parts of the flux that are linear with constant coefficients and
// keep the unknowns apart. Steps are those of the fourth-order Runge-Kutta method with integrating factor exp(L t)
// (Cox and Matthews 2002, section 2).
//
// Arrays of states are [member][cell][unknown], where the members are samples, frames or boxes that are treated
// alike. Members have their parameters in common.
#pragma once

#include <complex>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/real_fft.hpp"
#include "kernels/terms.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

class FourierScheme {
 public:
  using Complex = std::complex<double>;
  /// [unknown][member][mode]: coefficients of the waves, those that are left out being 0.
  using Waves = std::vector<Complex>;

  /// `grid`: the box of the PDE or a part of it, which is then taken as periodic itself; even numbers of at least 4
  /// cells. `positions` are rows of TermPoints::x at the cells of one member or of all that follow each other,
  /// [row][member][cell]; where left out, the centres of the grid. `pde` must outlive this.
  FourierScheme(const Pde& pde, Grid grid, std::vector<double> parameters,
                std::vector<double> positions = {});

  const Grid& grid() const { return grid_; }
  long width() const { return static_cast<long>(grid_.cells()) * unknowns_; }

  /// The kept waves of states, and the states of waves.
  Waves waves(std::span<const double> u) const;
  std::vector<double> values(const Waves& waves) const;
  /// States without the waves that are not kept.
  std::vector<double> kept(std::span<const double> u) const { return values(waves(u)); }
  /// Root mean square of what is not kept of states, as a share of their variation.
  double lost_share(std::span<const double> u) const;

  /// The rows of flux_arguments() that terms read and that are not part of L.
  const std::vector<int>& rows() const { return rows_; }
  /// What the terms read of states, [one of rows()][member][cell]. Linear in u.
  std::vector<double> arguments(std::span<const double> u) const { return field_rows(waves(u), rows_); }
  /// Its transpose: from [one of rows()][member][cell] to [member][cell][unknown].
  std::vector<double> arguments_transpose(const std::vector<double>& by_arguments) const {
    return values(gathered(by_arguments));
  }
  /// All rows of the flux's arguments, [row][member][cell].
  std::vector<double> all_arguments(std::span<const double> u) const;

  /// du/dt at the times `t` of the members, of kept waves.
  std::vector<double> rate(std::span<const double> u, std::span<const double> t) const;
  /// Its derivative at u in the direction e, and the transpose of that derivative.
  std::vector<double> rate_tangent(std::span<const double> u, std::span<const double> t,
                                   std::span<const double> e) const;
  std::vector<double> rate_transpose(std::span<const double> u, std::span<const double> t,
                                     std::span<const double> y) const;

  /// The velocities dF/du that N carries the one unknown with at u, and what they change by in the direction e:
  /// both [axis][member][cell].
  std::pair<std::vector<double>, std::vector<double>> velocity(std::span<const double> u,
                                                               std::span<const double> t,
                                                               std::span<const double> e) const;
  /// exp(L t) by unknown and mode.
  Waves flow(double t) const { return half_factor(2 * t); }
  /// 2 pi k / length of a mode, by axis. Mode 0 is the mean.
  const std::array<double, 3>& number(long mode) const { return number_[mode]; }
  long modes() const { return fft_.modes(); }

  /// The largest step that the method is stable with as far as the slopes of N at these arguments tell: 2.8 over
  /// the sum over axes of |dF/du| k + |dF/du_x| k^2 .. and of |dS/du|, k being the greatest kept. What an auxiliary
  /// field brings is less by a power of k and is left out.
  double stable_step(std::span<const double> arguments, std::span<const double> t) const;

  /// Why `substeps` steps over `step` are not stable from states u at times t, with the number that would be; empty
  /// where they are.
  std::string unstable(std::span<const double> u, std::span<const double> t, double step, int substeps) const;

  /// What a march is linearised about: the arguments of terms at its stages.
  struct Path {
    std::vector<double> times;  ///< of the members, at its beginning
    double step = 0;            ///< its length in time
    int substeps = 1;
    /// Arguments at both ends, between which they change linearly. Not owned.
    std::span<const double> begin = {}, end = {};
    /// Else those of every stage, 4 for each substep, as advance() left them.
    std::vector<std::vector<double>> stages = {};
  };

  /// The flow map Phi over `step` from times `t`. `path` receives what its derivative needs.
  std::vector<double> advance(std::span<const double> u, std::span<const double> t, double step, int substeps,
                              Path* path = nullptr) const;
  /// The march of a small change e along a path. With `taper` [cell], e is multiplied by it after every substep.
  std::vector<double> advance_tangent(const Path& path, std::span<const double> e,
                                      std::span<const double> taper = {}) const {
    return march_tangent(path, e, taper, nullptr);
  }
  /// Its transpose.
  std::vector<double> advance_transpose(const Path& path, std::span<const double> y,
                                        std::span<const double> taper = {}) const {
    return march_transpose(path, y, taper, nullptr);
  }

  /// Newton's correction of a trajectory v: e_0 = 0, e_j = A_j e_{j-1} + r_j, where A_j is advance_tangent() from frame
  /// j - 1 to j along states that change linearly between frames.
  struct Window {
    std::vector<double> times;          ///< of the frames 0 .. J, the same for all members
    int substeps = 1;                   ///< between two frames
    std::span<const double> arguments;  ///< of v at frames 0 .. J: [frame][one of rows()][member][cell]
    std::span<const double> taper;      ///< [cell] or empty
  };
  /// r and the result: [frame 1 .. J][member][cell][unknown].
  std::vector<double> correct(const Window& window, std::span<const double> r) const;
  /// Its transpose: from the derivatives of a number by e to those by r. With `e`, the result of correct(), also those
  /// by window.arguments, which `by_arguments` then receives.
  std::vector<double> correct_transpose(const Window& window, std::span<const double> by_e,
                                        std::span<const double> e = {},
                                        std::vector<double>* by_arguments = nullptr) const;

 private:
  /// The slopes of terms at one stage of a path, until another one is asked for.
  struct Slopes {
    int order = 1, key = -1;
    std::vector<kernels::TermValues> terms = {};
  };
  /// What a march of e along a path is worth where the path changes.
  struct Bend {
    std::vector<std::vector<double>> changes = {};  ///< field_rows() of e at each stage
    std::vector<double> by_begin = {}, by_end = {};
  };

  long members(std::span<const double> u) const { return static_cast<long>(u.size()) / width(); }
  long members(const Waves& w) const { return static_cast<long>(w.size()) / (unknowns_ * fft_.modes()); }
  /// An argument of the flux is the sum over unknowns of symbol times wave.
  Complex symbol(int row, int unknown, long mode) const;
  void make_linear_part();
  /// [row][member][cell]
  std::vector<double> field_rows(const Waves& waves, const std::vector<int>& rows) const;
  /// The transpose of field_rows() of rows().
  Waves gathered(const std::vector<double>& by_row) const;
  /// The fluxes by axis and the source, if there is one, at arguments [one of rows()][member][cell].
  std::vector<kernels::TermValues> terms(std::span<const double> arguments, std::span<const double> t,
                                         int order) const;
  /// The waves of source - div flux. terms: [axis, source][unknown][member][cell].
  Waves divergence(const std::vector<std::vector<double>>& terms) const;
  /// N, its derivative and the transpose of that.
  Waves rate_of(const Waves& waves, std::span<const double> arguments, std::span<const double> t) const;
  Waves tangent_of(const std::vector<kernels::TermValues>& slopes, const std::vector<double>& change,
                   const Waves& e) const;
  /// With `change`, adds `factor` times the derivative of y N' e by the arguments to each of `by`; of order 2.
  struct Curvature {
    const std::vector<double>* change;
    std::array<std::pair<double, std::vector<double>*>, 2> by;
  };
  Waves transpose_of(const std::vector<kernels::TermValues>& slopes, const Waves& y,
                     const Curvature* curvature = nullptr) const;
  /// Adds L, and what is linear like it but couples unknowns.
  void add_own(const Waves& from, bool transposed, Waves& to) const;
  void add_coupling(const Waves& from, bool transposed, Waves& to) const;
  /// exp(L step / 2), [unknown][mode], and waves multiplied by it.
  const Waves& half_factor(double step) const;
  Waves decayed(const Waves& half, bool transposed, const Waves& from) const;
  void tapered(std::span<const double> taper, Waves& e) const;
  std::vector<double> march_tangent(const Path& path, std::span<const double> e,
                                    std::span<const double> taper, Bend* bend) const;
  std::vector<double> march_transpose(const Path& path, std::span<const double> y,
                                      std::span<const double> taper, Bend* bend) const;
  const std::vector<kernels::TermValues>& slopes_at(const Path& path, int substep, int stage,
                                                    Slopes& slopes) const;
  /// Calls step(j, path from frame j to j + 1) for j = 1 .. J - 1.
  template <class Step>
  void over_frames(const Window& window, bool backwards, const Step& step) const;

  const Pde& pde_;
  Grid grid_;
  int unknowns_, fields_;
  std::vector<double> parameters_, positions_;
  kernels::RealFft fft_;
  std::vector<char> kept_;                     // [mode]
  std::vector<std::array<double, 3>> number_;  // [mode]: 2 pi k / length, by axis
  std::vector<double> factors_;                // of auxiliary fields, [auxiliary][unknown]
  std::vector<Waves> symbols_;                 // [argument][unknown][mode]
  std::vector<int> rows_, linear_rows_;
  std::vector<Waves> linear_;  // [equation][unknown][mode]
  bool coupled_ = false;       // linear_ has entries beside its diagonal, which is L
  mutable std::map<double, Waves> half_factors_;
};

/// Factors [cell] that end a field smoothly at the edges of a box: sin^2 from 0 at the edge to 1 `cells` cells inside
/// it, a number for each axis, 0 for none.
std::vector<double> box_taper(const Grid& box, const std::vector<int>& cells);

}  // namespace rankine
