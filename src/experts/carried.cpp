#include "src/experts/carried.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/error.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using Complex = FourierScheme::Complex;
using Waves = FourierScheme::Waves;

constexpr int outputs = 6;

/// The grid, where all fits together.
const Grid& checked(const CarriedOptions& o, const Pde& pde, const Grid& grid,
                    const std::vector<double>& times) {
  const auto refuse = [](const std::string& is_for, const std::string& has) {
    throw InputError("ansatz: carried is for " + is_for + ", and this equation has " + has +
                     "; take ansatz: field");
  };
  if (pde.discretisation() != Discretisation::fourier)
    refuse("discretisation: fourier", "discretisation: finite_volume");
  if (grid.axes() != 2) refuse("two axes", std::to_string(grid.axes()));
  if (pde.unknowns() != 1) refuse("one unknown", std::to_string(pde.unknowns()));
  if (!pde.autonomous()) refuse("terms without t", "some that depend on it");
  if (!pde.fields().empty())
    refuse("equations without coefficient fields", "the field '" + pde.fields()[0] + "'");
  for (const PdeParameter& p : pde.parameters())
    if (p.sampled) refuse("parameters that are the same for all samples", "a sampled one, '" + p.name + "'");
  RANKINE_ASSERT(o.cells.size() == 2 && o.coefficients > 0, "options of the carried ansatz");
  for (int axis = 0; axis < 2; ++axis)
    if (const int n = o.cells[axis]; n < 4 || n % 2 != 0 || n > grid.cells(axis))
      throw InputError("ansatz: carried: the network's outputs stand on " + std::to_string(n) +
                       " cells along " + space_name(axis) + "; take an even number from 4 to the " +
                       std::to_string(grid.cells(axis)) + " of the grid");
  RANKINE_ASSERT(!times.empty() && times.front() > 0, "frames after the first");
  return grid;
}

std::vector<double> values_of(const std::vector<PdeParameter>& parameters) {
  std::vector<double> out;
  for (const PdeParameter& p : parameters) out.push_back(p.value);
  return out;
}

Grid other_cells(const Grid& grid, std::vector<int> cells) {
  return {std::move(cells), {grid.length(0), grid.length(1)}};
}

/// A field on a periodic grid, read between its points by the cubics of Catmull and Rom, which pass through the points
/// with the slopes of central differences.
class Interpolant {
 public:
  Interpolant(const Grid& grid, const double* values)
      : n_{grid.cells(0), grid.cells(1)}, row_(n_[1] + 3), padded_((n_[0] + 3) * row_) {
    for (long i = 0; i < n_[0] + 3; ++i)
      for (long j = 0; j < row_; ++j)
        padded_[i * row_ + j] = values[(i - 1 + n_[0]) % n_[0] * n_[1] + (j - 1 + n_[1]) % n_[1]];
  }

  struct Value {
    double value, by_x, by_y;
  };
  /// At a place counted in points. Not a number where the place is not finite.
  Value at(double x, double y) const {
    const Taps a(x, n_[0]), b(y, n_[1]);
    Value out{0, 0, 0};
    for (int i = 0; i < 4; ++i) {
      const double* from = &padded_[(a.first + i) * row_ + b.first];
      double value = 0, slope = 0;
      for (int j = 0; j < 4; ++j) {
        value += b.weight[j] * from[j];
        slope += b.slope[j] * from[j];
      }
      out.value += a.weight[i] * value;
      out.by_x += a.slope[i] * value;
      out.by_y += a.weight[i] * slope;
    }
    return out;
  }

 private:
  struct Taps {
    Taps(double at, long n) {
      const auto end = static_cast<double>(n);
      at -= end * std::floor(at / end);
      if (at >= 0 && at <= end)
        first = std::min(static_cast<long>(at), n - 1);  // rounding may leave n itself
      const double s = std::clamp(at - static_cast<double>(first), 0.0, 1.0);
      weight[0] = s * (-0.5 + s * (1 - 0.5 * s));
      weight[1] = 1 + s * s * (1.5 * s - 2.5);
      weight[2] = s * (0.5 + s * (2 - 1.5 * s));
      weight[3] = s * s * (0.5 * s - 0.5);
      slope[0] = -0.5 + s * (2 - 1.5 * s);
      slope[1] = s * (4.5 * s - 5);
      slope[2] = 0.5 + s * (4 - 4.5 * s);
      slope[3] = s * (1.5 * s - 1);
    }
    long first = 0;
    double weight[4], slope[4];
  };
  std::array<long, 2> n_;
  long row_;
  std::vector<double> padded_;
};

}  // namespace

// -----------------------------------------------------------------------------------------------------------
// What follows from the states alone

CarriedAnsatz::CarriedAnsatz(const CarriedOptions& options, const Pde& pde, const Grid& grid,
                             std::vector<double> times)
    : options_(options),
      times_(std::move(times)),
      scheme_(pde, checked(options, pde, grid, times_), values_of(pde.parameters())),
      grid_(grid),
      coarse_(other_cells(grid, options.cells)),
      fine_(grid.refined(2)),
      from_coarse_(coarse_, grid),
      to_fine_(grid, fine_, 1),  // so that every second point is a centre of the grid
      keeps_mean_(!pde.has_source()),
      scales_(inputs_of_network, 1.0) {
  for (const double t : times_) {
    half_.push_back(scheme_.flow(t / 2));
    for (int i = 0; i < options.coefficients; ++i)
      basis_.push_back(t * std::cos(i * std::numbers::pi * t / times_.back()));
  }
  constexpr int states = 8;
  const RandomStream stream(0, "carried ansatz");
  std::vector<double> u0;
  for (int id = 0; id < states; ++id) {
    long redrawn = 0;
    const std::vector<double> u =
        initial_cells(pde, pde.draw_initial(stream, id, redrawn), values_of(pde.parameters()), grid);
    u0.insert(u0.end(), u.begin(), u.end());
  }
  const std::vector<double> values = inputs(start(u0)).to_vector();
  std::vector<double> squares(inputs_of_network, 0.0);
  for (size_t i = 0; i < values.size(); ++i)
    squares[i / coarse_.cells() % inputs_of_network] += values[i] * values[i];
  for (int k = 0; k < inputs_of_network; ++k)
    if (squares[k] > 0) scales_[k] = std::sqrt(squares[k] / states / coarse_.cells());
}

std::vector<double> CarriedAnsatz::derivative(const Waves& waves, int by_x, int by_y) const {
  Waves out = waves;
  for (size_t i = 0; i < out.size(); ++i) {
    const std::array<double, 3>& k = scheme_.number(static_cast<long>(i) % scheme_.modes());
    for (int n = 0; n < by_x; ++n) out[i] *= Complex(0, k[0]);
    for (int n = 0; n < by_y; ++n) out[i] *= Complex(0, k[1]);
  }
  return scheme_.values(out);
}

CarriedAnsatz::Start CarriedAnsatz::start(std::span<const double> u0) const {
  const size_t points = u0.size(), samples = points / grid_.cells();
  RANKINE_ASSERT(samples * grid_.cells() == points, "states of another grid");
  Start out;
  out.samples = static_cast<std::int64_t>(samples);
  out.waves = scheme_.waves(u0);
  const std::vector<double> t(samples, 0.0);
  out.rate = scheme_.rate(u0, t);
  std::tie(out.velocity, out.change) = scheme_.velocity(u0, t, out.rate);
  out.curvature = {derivative(out.waves, 2, 0), derivative(out.waves, 1, 1), derivative(out.waves, 0, 2)};
  out.turning = out.change;
  const Waves of_velocity = scheme_.waves(out.velocity);
  for (int axis = 0; axis < 2; ++axis) {
    const std::vector<double> slope = derivative(of_velocity, axis == 0 ? 1 : 0, axis);
    for (size_t i = 0; i < 2 * points; ++i)
      out.turning[i] -= out.velocity[axis * points + i % points] * slope[i];
  }
  return out;
}

Tensor CarriedAnsatz::inputs(const Start& start) const {
  const long cells = grid_.cells(), points = start.samples * cells, to = coarse_.cells();
  const std::vector<double> u0 = scheme_.values(start.waves);
  std::vector<double> laplacian = start.curvature[0], all;
  for (long i = 0; i < points; ++i) laplacian[i] += start.curvature[2][i];
  const double* channels[inputs_of_network] = {u0.data(),         &start.velocity[0], &start.velocity[points],
                                               start.rate.data(), &start.change[0],   &start.change[points],
                                               laplacian.data()};
  for (long s = 0; s < start.samples; ++s)
    for (const double* channel : channels)
      all.insert(all.end(), channel + s * cells, channel + (s + 1) * cells);
  std::vector<double> out = from_coarse_.transpose(all);  // the waves of both, times the ratio of cells
  for (size_t i = 0; i < out.size(); ++i)
    out[i] *= static_cast<double>(to) / (static_cast<double>(cells) * scales_[i / to % inputs_of_network]);
  return Tensor::from(out, {start.samples, inputs_of_network, to});
}

// -----------------------------------------------------------------------------------------------------------
// The fields and their transposed derivative

/// What the transpose reads of a forward evaluation.
struct CarriedAnsatz::Course {
  std::int64_t samples = 0;
  std::vector<double> by_displacement;           // of the carried values, [axis][sample][frame][cell]
  std::array<std::vector<double>, 3> curvature;  // as Start's
};

void CarriedAnsatz::diffuse(Waves& waves, bool transposed) const {
  const long modes = scheme_.modes();
  for (size_t i = 0; i < waves.size(); ++i) {
    const auto member = static_cast<long>(i) / modes;
    const Complex factor = half_[member % times_.size()][static_cast<long>(i) % modes];
    waves[i] *= transposed ? std::conj(factor) : factor;
  }
}

std::vector<double> CarriedAnsatz::carried(const std::vector<double>& outputs_of_network, const Start& start,
                                           Course& course) const {
  const auto cells = static_cast<size_t>(grid_.cells()), modes = static_cast<size_t>(scheme_.modes());
  const size_t samples = start.samples, frames = times_.size(), q = options_.coefficients;
  const std::vector<double> own = from_coarse_(outputs_of_network);  // [sample][output][coefficient][cell]
  const auto output = [&](size_t s, int k, size_t i) { return &own[((s * outputs + k) * q + i) * cells]; };
  std::vector<double> moved(samples * frames * cells), added(samples * q * cells), d(2 * cells);
  course.samples = start.samples;
  course.curvature = start.curvature;
  course.by_displacement.resize(2 * moved.size());
  for (size_t s = 0; s < samples; ++s) {
    Waves half;
    for (size_t j = 0; j < frames; ++j)
      half.insert(half.end(), &start.waves[s * modes], &start.waves[s * modes] + modes);
    diffuse(half, false);
    const std::vector<double> fine = to_fine_(scheme_.values(half));
    for (size_t j = 0; j < frames; ++j) {
      const double t = times_[j];
      for (size_t axis = 0; axis < 2; ++axis) {
        const size_t from = (axis * samples + s) * cells;
        double* to = &d[axis * cells];
        for (size_t c = 0; c < cells; ++c)
          to[c] = t * start.velocity[from + c] + 0.5 * t * t * start.turning[from + c];
        for (size_t i = 0; i < q; ++i) {
          const double factor = options_.displacement * basis_[j * q + i];
          const double* by = output(s, static_cast<int>(axis), i);
          for (size_t c = 0; c < cells; ++c) to[c] += factor * by[c];
        }
      }
      const Interpolant field(fine_, &fine[j * fine_.cells()]);
      const double per_x = 1 / fine_.spacing(0), per_y = 1 / fine_.spacing(1);
      for (size_t c = 0; c < cells; ++c) {
        const auto x = 2.0 * grid_.index(static_cast<int>(c), 0) - d[c] * per_x,
                   y = 2.0 * grid_.index(static_cast<int>(c), 1) - d[cells + c] * per_y;
        const Interpolant::Value at = field.at(x, y);
        const size_t place = (s * frames + j) * cells + c;
        moved[place] = at.value;
        course.by_displacement[place] = -at.by_x * per_x;
        course.by_displacement[moved.size() + place] = -at.by_y * per_y;
      }
    }
    for (size_t i = 0; i < q; ++i) {
      double* to = &added[(s * q + i) * cells];
      const double *xx = &start.curvature[0][s * cells], *xy = &start.curvature[1][s * cells],
                   *yy = &start.curvature[2][s * cells];
      for (size_t c = 0; c < cells; ++c)
        to[c] = options_.spreading * (output(s, 2, i)[c] * xx[c] + 2 * output(s, 3, i)[c] * xy[c] +
                                      output(s, 4, i)[c] * yy[c]) +
                options_.addition * output(s, 5, i)[c];
    }
  }
  Waves out = scheme_.waves(moved);
  const Waves of_added = scheme_.waves(added);
  diffuse(out, false);
  for (size_t s = 0; s < samples; ++s)
    for (size_t j = 0; j < frames; ++j) {
      Complex* to = &out[(s * frames + j) * modes];
      for (size_t i = 0; i < q; ++i)
        for (size_t mode = 0; mode < modes; ++mode)
          to[mode] += basis_[j * q + i] * of_added[(s * q + i) * modes + mode];
      if (keeps_mean_) to[0] = start.waves[s * modes];
    }
  return scheme_.values(out);
}

std::vector<double> CarriedAnsatz::transposed(const std::vector<double>& bar, const Course& course) const {
  const auto cells = static_cast<size_t>(grid_.cells()), modes = static_cast<size_t>(scheme_.modes());
  const size_t samples = course.samples, frames = times_.size(), q = options_.coefficients;
  Waves waves = scheme_.waves(bar), of_added(samples * q * modes);
  for (size_t s = 0; s < samples; ++s)
    for (size_t j = 0; j < frames; ++j) {
      Complex* from = &waves[(s * frames + j) * modes];
      if (keeps_mean_) from[0] = 0;
      for (size_t i = 0; i < q; ++i)
        for (size_t mode = 0; mode < modes; ++mode)
          of_added[(s * q + i) * modes + mode] += basis_[j * q + i] * from[mode];
    }
  diffuse(waves, true);
  const std::vector<double> moved = scheme_.values(waves), added = scheme_.values(of_added);
  std::vector<double> own(samples * outputs * q * cells);
  for (size_t s = 0; s < samples; ++s)
    for (size_t i = 0; i < q; ++i) {
      const auto output = [&](int k) { return &own[((s * outputs + k) * q + i) * cells]; };
      for (size_t axis = 0; axis < 2; ++axis)
        for (size_t j = 0; j < frames; ++j) {
          const double factor = options_.displacement * basis_[j * q + i];
          const double *by = &course.by_displacement[(axis * samples * frames + s * frames + j) * cells],
                       *from = &moved[(s * frames + j) * cells];
          double* to = output(static_cast<int>(axis));
          for (size_t c = 0; c < cells; ++c) to[c] += factor * by[c] * from[c];
        }
      const double* from = &added[(s * q + i) * cells];
      for (int k = 0; k < 3; ++k) {
        const double factor = options_.spreading * (k == 1 ? 2 : 1), *by = &course.curvature[k][s * cells];
        double* to = output(2 + k);
        for (size_t c = 0; c < cells; ++c) to[c] = factor * by[c] * from[c];
      }
      for (size_t c = 0; c < cells; ++c) output(5)[c] = options_.addition * from[c];
    }
  return from_coarse_.transpose(own);
}

Tensor CarriedAnsatz::fields(const Tensor& outputs, const Start& start) const {
  const Region<"carried_fields"> region;
  RANKINE_ASSERT((outputs.shape() == Shape{start.samples, outputs_of_network(), coarse_.cells()}),
                 "outputs of " + outputs.shape().text());
  const Tensor x = cast(outputs, DType::f64);
  const auto course = std::make_shared<Course>();
  const std::vector<double> v = carried(dense(x).to_vector(), start, *course);
  return apply_op(
      "carried_fields", {x},
      Tensor::from(v, {start.samples, static_cast<std::int64_t>(times_.size()), grid_.cells()}),
      [this, course, shape = x.shape()](const std::vector<Tensor>& bar, const VjpContext&) {
        return std::vector<Tensor>{Tensor::from(transposed(dense(bar[0]).to_vector(), *course), shape)};
      },
      {.first_order_only = true});
}

}  // namespace rankine
