// A parametric PDE of one to three space axes i and one or several unknowns, written once:
//   d/dt M_a(u) + sum_i d/dx_i F_ia(u, grad u, x, t) = S_a(u, x, t)   on a box x [0, duration], a = 1 .. m
// with walls and random initial states; with one axis, F may read u_xx, too. The conservative discretisation, its march and all adjoints follow
// from this by generic code (src/pde/conservative_scheme.hpp, src/experts/). Beside it a PDE may have a
// pointwise residual f(u, u_t, u_xx), which the paper's formulation uses.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device.hpp"
#include "kernels/terms.hpp"
#include "src/core/random.hpp"
#include "src/pde/grid.hpp"

namespace rankine {

/// u, u_t and u_xx at a point.
using PointTerms = std::array<double, 3>;

/// A pointwise residual f(u, u_t, u_xx) with first and second derivatives. Index 0: u, 1: u_t, 2: u_xx.
struct PointwiseResidual {
  double value;
  double gradient[3];
  double hessian[3][3];
};

/// Conditions at a wall in the paper's collocated form, row = value_factor u + slope_factor u_x - target.
struct WallRow {
  double value_factor, slope_factor, target;
};

/// What only the paper's collocated formulation needs of a PDE.
class CollocatedPde {
 public:
  virtual ~CollocatedPde() = default;
  /// One residual for each of many points.
  virtual void pointwise(std::span<const PointTerms> at, std::span<PointwiseResidual> out) const = 0;
  virtual WallRow left_wall() const = 0;
  virtual WallRow right_wall() const = 0;
  /// Least and greatest value of a solution whose initial state lies between these (maximum principle).
  virtual std::pair<double, double> bounds(double least, double greatest) const = 0;
};

enum class Side { left, right };

/// How the convective part of a flux is taken at the faces of cells (src/pde/convective_flux.hpp). `automatic`:
/// central where the cell Peclet number allows it, else limited.
enum class Convection { central, upwind, limited, automatic };
/// Their names in decks.
constexpr std::array<const char*, 4> convection_names{"central", "upwind", "limited", "auto"};

/// How space is discretised: by fluxes between cells, or by waves of a periodic box
/// (src/pde/fourier_scheme.hpp).
enum class Discretisation { finite_volume, fourier };
/// Their names in decks.
constexpr std::array<const char*, 2> discretisation_names{"finite_volume", "fourier"};

/// One side of the box: left or right along x, bottom or top along y, back or front along z.
struct Face {
  int axis = 0;
  Side side = Side::left;
};
/// The name of a face in decks and messages.
std::string face_name(const Face& face);

/// value_factor u + slope_factor u_x = target, `outside` beyond the edge of the domain (0: on it), with
/// derivatives by the learned parameters (empty where none is learned).
struct WallCondition {
  double value_factor = 1, slope_factor = 0, target = 0, outside = 0;
  std::vector<double> value_factor_by = {}, slope_factor_by = {}, target_by = {};
};

/// A parameter of the PDE that may differ from sample to sample, or be learned from observations.
struct PdeParameter {
  std::string name;
  double value = 0;      ///< where it is not sampled
  bool sampled = false;  ///< drawn for each sample between minimum and maximum
  double minimum = 0, maximum = 0;
  bool logarithmic = false;  ///< drawn uniformly in its logarithm

  /// The value at `share`, 0 to 1, of the range; `value` where it is not sampled.
  double at(double share) const;
};

/// What the discretisation reads of a sample, beside its state.
struct SchemeParameters {
  std::vector<double> values = {};  ///< of Pde::parameters()
  std::vector<int> learned = {};    ///< indices of those that derivatives are wanted by
  std::vector<double> fields = {};  ///< the means of Pde::fields() over the cells of the grid: [field][cell]
};

/// A number of the equation that data files state, too.
struct PdeConstant {
  std::string key;                 ///< in the deck's `pde`; empty: fixed by the equation
  std::vector<std::string> names;  ///< what files call it, beside the key
  double value;
};

class Pde {
 public:
  virtual ~Pde() = default;

  /// Space axes, 1 to 3.
  virtual int axes() const { return 1; }
  /// Extent of space along an axis [length unit] and of time [time unit]; all start at 0.
  virtual double length(int axis) const = 0;
  virtual double duration() const = 0;
  virtual const char* length_unit() const { return "1"; }
  virtual const char* time_unit() const { return "1"; }
  virtual int unknowns() const { return 1; }
  /// Name of an unknown as people read it, for example "concentration".
  virtual std::string field_name(int unknown) const = 0;
  /// Its symbol, under which its field is stored: "u" where there is one unknown.
  virtual std::string symbol(int /*unknown*/) const { return "u"; }
  virtual std::vector<PdeParameter> parameters() const { return {}; }
  /// Names of the coefficient fields, such as a permeability, that differ from sample to sample. Terms read
  /// them as rows of TermPoints::x after the axes; at a face they are the mean of the two cells beside it.
  virtual std::vector<std::string> fields() const { return {}; }
  /// No storage: the solution does not depend on time. Then t runs from 0 to 1 in one step, and the state
  /// before it does not matter.
  virtual bool steady() const { return false; }
  virtual Discretisation discretisation() const { return Discretisation::finite_volume; }
  /// Names of auxiliary fields psi of a periodic box, laplacian(psi) = sum of the unknowns times
  /// auxiliary_factors() less its mean, where psi has the mean 0. Flux and source read them as further unknowns
  /// after the others. Only under the Fourier discretisation.
  virtual std::vector<std::string> auxiliaries() const { return {}; }
  /// [auxiliary][unknown]
  virtual std::vector<double> auxiliary_factors(std::span<const double> /*parameters*/) const { return {}; }
  /// Unknowns and auxiliary fields: what flux and source read the values of.
  int term_fields() const { return unknowns() + static_cast<int>(auxiliaries().size()); }
  /// The flux along every axis is affine in this argument, with coefficients that depend on parameters alone.
  virtual bool flux_is_affine_in(int /*argument*/) const { return false; }
  /// Numbers that a file of solutions may state, and must then agree with.
  virtual std::vector<PdeConstant> constants() const { return {}; }

  /// M, F along an axis, S with derivatives up to `order` (0, 1, 2). `out` is reset by the callee.
  virtual void storage(const kernels::TermPoints& at, int order, kernels::TermValues& out) const = 0;
  virtual void flux(int axis, const kernels::TermPoints& at, int order, kernels::TermValues& out) const = 0;
  virtual void source(const kernels::TermPoints& at, int order, kernels::TermValues& out) const;
  virtual bool has_source() const { return false; }
  /// M(u), M'(u) and, where `curvature` is not null, M''(u) of n values in device memory, where
  /// has_device_storage(): for one unknown, and a storage that reads nothing else. The bits are those of
  /// storage().
  virtual bool has_device_storage() const { return false; }
  virtual void device_storage(std::int64_t n, DevicePtr<const double> u, DevicePtr<double> value,
                              DevicePtr<double> slope, DevicePtr<double> curvature) const;
  /// Highest derivative in the flux: 0, 1 or 2. 2 needs one axis, and that periodic.
  virtual int flux_derivatives() const = 0;
  /// The flux along some axis reads a derivative along another.
  virtual bool mixed_derivatives() const { return false; }
  /// The flux of this unknown reads no derivative: it is carried along by characteristics.
  virtual bool convective(int /*unknown*/) const { return flux_derivatives() == 0; }
  /// Chosen for references and constraint alike.
  virtual Convection convection() const { return Convection::central; }
  /// Why a term ("storage", "flux", "source") is not finite at a point: the operation and its operands. Empty
  /// where nothing more is known than the value.
  virtual std::string explain(const std::string& /*term*/, const kernels::TermPoints& /*at*/,
                              long /*point*/) const {
    return {};
  }
  /// F is linear in u and its derivatives with constant coefficients, no x, no t; walls without t.
  virtual bool linear_flux() const { return false; }
  /// No term and no wall depends on t.
  virtual bool autonomous() const { return true; }
  /// Times in (0, duration) at which a term or a wall jumps, kinks or turns sharply in t, as far as formulas
  /// tell; rising.
  virtual std::vector<double> time_events(std::span<const double> /*parameters*/) const { return {}; }

  virtual bool periodic(int /*axis*/) const { return false; }
  /// Some axis ends in walls.
  bool has_walls() const;
  /// The condition at a place of a face. Not called for faces of a periodic axis. `learned` as in TermPoints.
  virtual WallCondition wall(const Face& face, int unknown, const Place& at, double t,
                             std::span<const double> parameters, std::span<const int> learned) const = 0;
  /// Some condition depends on the place along its face.
  virtual bool walls_vary() const { return false; }

  /// A typical M_a'(u): what residuals are divided by, and the storage of the frozen march.
  virtual double typical_storage_slope() const = 0;
  /// The state that the frozen march linearises flux and source about.
  virtual double typical_state(int /*unknown*/) const { return 0; }

  /// How large an unknown is, as far as initial states and walls tell: the larger of the root mean square of
  /// initial states and of the values that walls hold. 0 where both are 0.
  virtual double size(int /*unknown*/) const { return 1; }
  /// What an unknown is measured in, in the units of the deck (src/pde/scaled_pde.hpp).
  virtual double scale(int /*unknown*/) const { return 1; }

  /// The random numbers that make initial state and fields of sample `id`: its u0 for example, or amplitudes and
  /// phases. `redrawn` counts draws that were refused.
  virtual std::vector<double> draw_initial(const RandomStream& stream, long id, long& redrawn) const = 0;
  /// The initial state of those numbers at points x [axis][point]: out[point][unknown].
  virtual void initial_state(std::span<const double> numbers, std::span<const double> parameters,
                             std::span<const double> x, std::span<double> out) const = 0;

  /// The coefficient fields of those numbers at points x [axis][point]: out[point][field].
  virtual void field_values(std::span<const double> numbers, std::span<const double> parameters,
                            std::span<const double> x, std::span<double> out) const;

  /// The exact solution at points x [axis][point] and time t, out[point][unknown], where has_exact().
  virtual bool has_exact() const { return false; }
  virtual void exact(double t, std::span<const double> parameters, std::span<const double> x,
                     std::span<double> out) const;

  /// Cells along an axis that reference solutions are computed on; a multiple of the cells of every deck that
  /// uses them.
  virtual int data_cells(int axis) const = 0;
  /// The grid of this PDE's box with so many cells per axis, and that of its reference solutions.
  Grid grid(std::vector<int> cells) const;
  Grid data_grid() const;
  virtual double reference_rtol() const = 0;
  /// Steps in time that a reference solution may take, over its whole duration.
  virtual long reference_steps() const { return default_reference_steps; }
  static constexpr long default_reference_steps = 20000;  ///< hundreds are usual
  /// The reference solution for `initial` [cell of data_grid()][unknown] and fields on data_grid() at `times` (rising, from 0 on),
  /// averaged to the cells of `grid`: [time][cell][unknown]. Throws NumericalError where the integrator fails.
  /// By default the method of lines on data_grid() with PETSc's adaptive implicit integrator, or
  /// fourier_reference().
  std::vector<double> reference(std::span<const double> initial, const SchemeParameters& parameters,
                                const Grid& grid, std::span<const double> times) const {
    return reference_to(reference_rtol(), initial, parameters, grid, times);
  }
  /// The same with another tolerance in time.
  virtual std::vector<double> reference_to(double rtol, std::span<const double> initial,
                                           const SchemeParameters& parameters, const Grid& grid,
                                           std::span<const double> times) const;

  /// nullptr where the PDE has no pointwise form.
  virtual const CollocatedPde* collocated() const { return nullptr; }
};

/// Points x [axis][point] with the rows of the coefficient fields after those of the axes, as terms read them.
std::vector<double> with_fields(const Pde& pde, std::span<const double> numbers,
                                std::span<const double> parameters, std::vector<double> x);

/// Places at which the conditions of a face are looked at: one where they do not vary along it, else a grid
/// of 9 along each other axis, edges included.
std::vector<Place> wall_places(const Pde& pde, const Face& face);

}  // namespace rankine
