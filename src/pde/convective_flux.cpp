#include "src/pde/convective_flux.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/pde/small_system.hpp"

namespace rankine {

using kernels::TermPoints;
using kernels::TermValues;

namespace {

double size_of(const Pde& pde, int unknown) { return pde.size(unknown) > 0 ? pde.size(unknown) : 1; }

/// How inputs are told apart: derivatives by two inputs are kept where the first is a state. Learned
/// parameters stand after the states.
struct Inputs {
  int states, all, order;
  int pairs() const { return order < 2 ? 0 : states * all - states * (states - 1) / 2; }
  int rows() const { return 1 + (order < 1 ? 0 : all) + pairs(); }
  /// fn(pair, i, j) for i <= j.
  template <class Function>
  void for_pairs(const Function& fn) const {
    if (order < 2) return;
    for (int i = 0, pair = 0; i < states; ++i)
      for (int j = i; j < all; ++j) fn(pair++, i, j);
  }
};

/// A number at many points with its derivatives by the inputs: [value, first, second][point].
class Jet {
 public:
  Jet(const Inputs& inputs, long size) : inputs_(&inputs), size_(size), rows_(inputs.rows() * size) {}

  const Inputs& inputs() const { return *inputs_; }
  long size() const { return size_; }
  double* value() { return rows_.data(); }
  const double* value() const { return rows_.data(); }
  double* by(int i) { return &rows_[(1 + i) * size_]; }
  const double* by(int i) const { return &rows_[(1 + i) * size_]; }
  double* by_pair(int pair) { return &rows_[(1 + inputs_->all + pair) * size_]; }
  const double* by_pair(int pair) const { return &rows_[(1 + inputs_->all + pair) * size_]; }

  void copy(const Jet& other, long point) {
    for (size_t k = point; k < rows_.size(); k += size_) rows_[k] = other.rows_[k];
  }
  Jet& add(double factor, const Jet& other) {
    for (size_t k = 0; k < rows_.size(); ++k) rows_[k] += factor * other.rows_[k];
    return *this;
  }
  friend Jet operator+(Jet a, const Jet& b) { return std::move(a.add(1, b)); }
  friend Jet operator-(Jet a, const Jet& b) { return std::move(a.add(-1, b)); }
  friend Jet operator*(double factor, Jet a) {
    for (double& v : a.rows_) v *= factor;
    return a;
  }
  friend Jet operator*(const Jet& a, const Jet& b) {
    Jet out(*a.inputs_, a.size_);
    const auto add = [&](double* to, const double* x, const double* y) {
      for (long p = 0; p < a.size_; ++p) to[p] += x[p] * y[p];
    };
    add(out.value(), a.value(), b.value());
    for (int i = 0; a.inputs_->order >= 1 && i < a.inputs_->all; ++i) {
      add(out.by(i), a.by(i), b.value());
      add(out.by(i), a.value(), b.by(i));
    }
    a.inputs_->for_pairs([&](int pair, int i, int j) {
      add(out.by_pair(pair), a.by_pair(pair), b.value());
      add(out.by_pair(pair), a.by(i), b.by(j));
      add(out.by_pair(pair), a.by(j), b.by(i));
      add(out.by_pair(pair), a.value(), b.by_pair(pair));
    });
    return out;
  }
  /// (x + shift)^power of power -1, 1/2 or 1/4.
  friend Jet power(const Jet& x, double shift, double power) {
    Jet out(*x.inputs_, x.size_);
    std::vector<double> first(x.size_), second(x.size_);
    for (long p = 0; p < x.size_; ++p) {
      const double base = x.value()[p] + shift;
      out.value()[p] = power < 0 ? 1 / base : power == 0.5 ? std::sqrt(base) : std::sqrt(std::sqrt(base));
      first[p] = power * out.value()[p] / base;
      second[p] = (power - 1) * first[p] / base;
    }
    for (int i = 0; x.inputs_->order >= 1 && i < x.inputs_->all; ++i)
      for (long p = 0; p < x.size_; ++p) out.by(i)[p] = first[p] * x.by(i)[p];
    x.inputs_->for_pairs([&](int pair, int i, int j) {
      for (long p = 0; p < x.size_; ++p)
        out.by_pair(pair)[p] = first[p] * x.by_pair(pair)[p] + second[p] * x.by(i)[p] * x.by(j)[p];
    });
    return out;
  }

 private:
  const Inputs* inputs_;
  long size_;
  std::vector<double> rows_;
};

using State = std::vector<Jet>;  // [unknown]

State operator+(State a, const State& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k].add(1, b[k]);
  return a;
}
State operator-(State a, const State& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k].add(-1, b[k]);
  return a;
}
State operator*(double factor, const State& a) {
  State out;
  for (const Jet& jet : a) out.push_back(factor * jet);
  return out;
}

/// A term of a state: `values` by its own arguments, of which the first are the unknowns and those from
/// `learned` on the learned parameters.
State composed(const TermValues& values, const State& u, int learned) {
  const Inputs& inputs = u.front().inputs();
  const int m = static_cast<int>(u.size()), states = inputs.states;
  const long size = u.front().size();
  State out(m, Jet(inputs, size));
  for (int a = 0; a < m; ++a) {
    std::copy_n(values.at(a), size, out[a].value());
    const auto add = [&](double* to, const double* x, const double* y) {
      for (long p = 0; p < size; ++p) to[p] += x[p] * y[p];
    };
    for (int i = 0; inputs.order >= 1 && i < inputs.all; ++i) {
      for (int k = 0; k < m; ++k) add(out[a].by(i), values.by(a, k), u[k].by(i));
      if (i < states) continue;
      const double* by = values.by(a, learned + i - states);
      for (long p = 0; p < size; ++p) out[a].by(i)[p] += by[p];
    }
    inputs.for_pairs([&](int pair, int i, int j) {
      double* to = out[a].by_pair(pair);
      for (int k = 0; k < m; ++k) {
        add(to, values.by(a, k), u[k].by_pair(pair));
        if (j >= states) add(to, values.by(a, k, learned + j - states), u[k].by(i));
        for (int l = 0; l < m; ++l) {
          const double* second = values.by(a, k, l);
          for (long p = 0; p < size; ++p) to[p] += second[p] * u[k].by(i)[p] * u[l].by(j)[p];
        }
      }
    });
  }
  return out;
}

/// A slope from the differences on both sides of a cell.
Jet van_albada(const Jet& a, const Jet& b, double e) {
  const Jet sum = a + b;
  return ((a * b) * sum + e * sum) * power(a * a + b * b, 2 * e, -1);
}

/// The larger one, rounded off over s.
Jet larger(const Jet& a, const Jet& b, double s) {
  const Jet gap = a - b;
  return 0.5 * (a + b + power(gap * gap, s * s, 0.5));
}

/// (tr(A^2)^2 + s^4)^(1/4) of A = M^-1 F, matrices [column][row].
Jet wave_speed(std::vector<State> storage, std::vector<State> flux, double s) {
  const size_t m = flux.size();
  // Gauss-Jordan elimination. A storage's slopes are positive definite, which needs no pivoting.
  for (size_t k = 0; k < m; ++k) {
    const Jet inverse = power(storage[k][k], 0, -1);
    for (std::vector<State>* matrix : {&storage, &flux})
      for (State& column : *matrix) column[k] = column[k] * inverse;
    for (size_t row = 0; row < m; ++row) {
      if (row == k) continue;
      const Jet factor = storage[k][row];
      for (std::vector<State>* matrix : {&storage, &flux})
        for (State& column : *matrix) column[row] = column[row] - factor * column[k];
    }
  }
  Jet trace(flux[0][0].inputs(), flux[0][0].size());
  for (size_t a = 0; a < m; ++a)
    for (size_t b = 0; b < m; ++b) trace.add(1, flux[a][b] * flux[b][a]);
  return power(trace * trace, s * s * s * s, 0.25);
}

}  // namespace

namespace {

/// What nine of ten numbers do not exceed: some of the random states may be far from those of solutions.
double usual(std::vector<double> values) {
  const auto at = values.begin() + static_cast<long>(values.size() * 9 / 10);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

}  // namespace

ConvectionMeasure measure_convection(const Pde& pde) {
  constexpr int points = 64;
  const int m = pde.unknowns(), axes = pde.axes();
  const RandomStream stream(0, "states for the flux");
  const std::vector<PdeParameter> parameters = pde.parameters();
  std::vector<double> states(m * points), x(axes * points), t(points);
  for (int i = 0; i < points; ++i) {
    x[i] = pde.length(0) * stream.uniform(0, i, 0);
    t[i] = pde.duration() * stream.uniform(0, i, 1);
    for (int axis = 1; axis < axes; ++axis)
      x[axis * points + i] = pde.length(axis) * stream.uniform(0, i, 1 + axis);
    for (int a = 0; a < m; ++a)
      states[a * points + i] = pde.typical_state(a) + size_of(pde, a) * stream.uniform(-1, 1, 1, i, a);
  }
  ConvectionMeasure out;
  for (const double share : {0.5, 0.0, 1.0}) {
    std::vector<double> values;
    for (const PdeParameter& p : parameters) values.push_back(p.at(share));
    long redrawn = 0;
    const std::vector<double> places = with_fields(pde, pde.draw_initial(stream, 0, redrawn), values, x);
    std::vector<double> arguments(kernels::flux_arguments(axes, m) * points, 0.0);
    std::copy(states.begin(), states.end(), arguments.begin());
    TermValues flux, storage;
    pde.storage({points, states, places, t, values, {}}, 1, storage);
    std::vector<double> speed(points);
    for (int axis = 0; axis < axes; ++axis) {
      pde.flux(axis, {points, arguments, places, t, values, {}}, 1, flux);
      std::vector<double> per_length(points);
      for (int i = 0; i < points; ++i)
        for (int a = 0; a < m; ++a)
          for (int b = 0; b < m; ++b) {
            const double by = std::abs(flux.by(a, b)[i]);
            if (!std::isfinite(by) || by == 0) continue;
            out.convects = true;
            const double carried = by * size_of(pde, b) / size_of(pde, a),
                         own = pde.steady() ? carried : carried / std::abs(storage.by(a, a)[i]);
            if (std::isfinite(own)) speed[i] = std::max(speed[i], own);
            const double diffusion = std::abs(flux.by(a, (1 + axis) * m + a)[i]);  // 0: infinite
            per_length[i] = std::max(per_length[i], carried / diffusion);
          }
      out.per_length[axis] = std::max(out.per_length[axis], usual(per_length));
    }
    out.speed = std::max(out.speed, usual(speed));
    if (std::none_of(parameters.begin(), parameters.end(), [](const PdeParameter& p) { return p.sampled; }))
      break;
  }
  return out;
}

bool has_convection(const Pde& pde) { return measure_convection(pde).convects; }

double cell_peclet(const ConvectionMeasure& measure, const Grid& grid) {
  double largest = 0;
  for (int axis = 0; axis < grid.axes(); ++axis)
    largest = std::max(largest, measure.per_length[axis] * grid.spacing(axis));
  return largest;
}

namespace {

Convection decided(const Pde& pde, const ConvectionMeasure& measure, const Grid& grid) {
  if (!measure.convects) return Convection::central;
  if (pde.convection() != Convection::automatic) return pde.convection();
  return cell_peclet(measure, grid) <= central_peclet ? Convection::central : Convection::limited;
}

}  // namespace

Convection convection_on(const Pde& pde, const Grid& grid) {
  if (pde.convection() == Convection::central) return Convection::central;
  return decided(pde, measure_convection(pde), grid);
}

std::string describe_convection(const Pde& pde, const Grid& grid) {
  const ConvectionMeasure measure = measure_convection(pde);
  if (!measure.convects) return {};
  return fmt::format("{} (cell Peclet number {:.2g} on {} cells)",
                     convection_names[static_cast<size_t>(decided(pde, measure, grid))],
                     cell_peclet(measure, grid), grid.describe());
}

void convection_option(OptionVisitor& o, std::string& name) {
  o("convection", name,
    {.help =
         "flux of what the solution carries along, in references and constraint alike: central; upwind "
         "(local Lax-Friedrichs, first order) or limited (MUSCL, second order), both right at shocks; auto: "
         "central where the cell Peclet number is at most 2, else limited",
     .choices = {convection_names.begin(), convection_names.end()}});
}

Convection convection_named(const std::string& name) {
  return static_cast<Convection>(std::find(convection_names.begin(), convection_names.end(), name) -
                                 convection_names.begin());
}

ConvectiveFlux::ConvectiveFlux(const Pde& pde, const Grid& grid) : pde_(pde) {
  for (int axis = 0; axis < grid.axes(); ++axis) grid_cells_.push_back(grid.whole_cells(axis));
  if (pde.convection() == Convection::central) return;
  const ConvectionMeasure measure = measure_convection(pde);
  kind_ = decided(pde, measure, grid);
  rounding_ = 1e-2 * (measure.speed > 0 ? measure.speed : pde.length(0) / pde.duration());
  for (int a = 0; a < pde.unknowns(); ++a) widths_.push_back(1e-4 * size_of(pde, a));
}

TermValues ConvectiveFlux::difference(int axis, const TermPoints& at, std::span<const FaceKind> kinds,
                                      int order) const {
  constexpr long block = 256;  // so that the intermediate numbers of a block stay in the cache
  const int m = pde_.unknowns(), states = cells() * m, learned = static_cast<int>(at.learned.size()),
            flux_learned = kernels::flux_arguments(pde_.axes(), m);
  const Inputs inputs{states, states + learned, order};
  const double cells = grid_cells_[axis];
  TermValues out;
  out.reset(m, inputs.all, order, at.size);
  for (long first = 0; first < at.size; first += block) {
    const long size = std::min(block, at.size - first);
    std::vector<double> x, arguments(flux_learned * size, 0.0);
    for (size_t row = 0; row < at.x.size(); row += at.size)
      x.insert(x.end(), &at.x[row + first], &at.x[row + first] + size);
    const auto t = at.t.subspan(first, size);
    TermValues values;
    const auto flux = [&](const State& u) {
      for (int a = 0; a < m; ++a) std::copy_n(u[a].value(), size, &arguments[a * size]);
      pde_.flux(axis, {size, arguments, x, t, at.parameters, at.learned}, order, values);
      return composed(values, u, flux_learned);
    };
    const auto storage = [&](const State& u) {
      if (pde_.steady()) return u;
      for (int a = 0; a < m; ++a) std::copy_n(u[a].value(), size, &arguments[a * size]);
      pde_.storage({size, std::span(arguments).first(m * size), x, t, at.parameters, at.learned}, order,
                   values);
      return composed(values, u, m);
    };
    std::vector<State> cell(this->cells(), State(m, Jet(inputs, size)));
    for (int k = 0; k < states; ++k) {
      Jet& jet = cell[k / m][k % m];
      std::copy_n(&at.arguments[k * at.size + first], size, jet.value());
      if (order >= 1) std::fill_n(jet.by(k), size, 1.0);
    }
    const size_t lower = cell.size() / 2 - 1, upper = lower + 1;
    State left = cell[lower], right = cell[upper];
    for (int a = 0; a < m && kind_ == Convection::limited; ++a) {
      const double e = size_of(pde_, a) * size_of(pde_, a) / (cells * cells * cells);
      const Jet across = cell[2][a] - cell[1][a];
      left[a].add(0.5, van_albada(cell[1][a] - cell[0][a], across, e));
      right[a].add(-0.5, van_albada(across, cell[3][a] - cell[2][a], e));
    }
    const State mean = 0.5 * (cell[lower] + cell[upper]);
    for (int a = 0; a < m; ++a)
      for (long p = 0; p < size; ++p) {
        if (kinds[first + p] == FaceKind::lower_wall) left[a].copy(mean[a], p);
        if (kinds[first + p] == FaceKind::upper_wall) right[a].copy(mean[a], p);
      }
    const auto speed = [&](const State& u) {
      std::vector<State> by_storage, by_flux;  // [column]
      for (int b = 0; b < m; ++b) {
        State more = u, less = u;
        for (long p = 0; p < size; ++p) {
          more[b].value()[p] += widths_[b];
          less[b].value()[p] -= widths_[b];
        }
        by_storage.push_back(storage(more) - storage(less));
        by_flux.push_back(flux(more) - flux(less));
      }
      return wave_speed(std::move(by_storage), std::move(by_flux), rounding_);
    };
    const Jet c =
        larger(larger(speed(left), speed(right), rounding_), speed(0.5 * (left + right)), rounding_);
    const State jump = storage(right) - storage(left), sum = 0.5 * (flux(left) + flux(right)) - flux(mean);
    for (int a = 0; a < m; ++a) {
      Jet result = sum[a] - 0.5 * (c * jump[a]);
      const Jet none(inputs, size);
      for (long p = 0; p < size; ++p)
        if (kinds[first + p] == FaceKind::central) result.copy(none, p);
      std::copy_n(result.value(), size, out.at(a) + first);
      for (int i = 0; order >= 1 && i < inputs.all; ++i)
        std::copy_n(result.by(i), size, out.by(a, i) + first);
      inputs.for_pairs([&](int pair, int i, int j) {
        std::copy_n(result.by_pair(pair), size, out.by(a, i, j) + first);
        std::copy_n(result.by_pair(pair), size, out.by(a, j, i) + first);
      });
      for (long p = 0; p < size; ++p) {
        double finite = 0;  // NaN and infinities survive a product with zero
        for (int row = 0; row < inputs.rows(); ++row) finite += 0 * result.value()[row * size + p];
        if (finite == 0) continue;
        std::string place;
        for (int other = 0; other < pde_.axes(); ++other)
          place += fmt::format("{} = {}, ", space_name(other), shortest(x[other * size + p]));
        throw NumericalError(fmt::format(
            "the convective flux of {} at {}t = {} is not finite between u = {} and {} without slope; write "
            "storage and flux so that they are smooth there and {} to each side, or take pde.convection: "
            "central",
            pde_.field_name(a), place, shortest(t[p]), shortest(left[a].value()[p] * pde_.scale(a)),
            shortest(right[a].value()[p] * pde_.scale(a)), shortest(widths_[a] * pde_.scale(a))));
      }
    }
  }
  return out;
}

}  // namespace rankine
