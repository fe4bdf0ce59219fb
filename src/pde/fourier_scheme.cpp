#include "src/pde/fourier_scheme.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine {
namespace {

using Complex = FourierScheme::Complex;
using Waves = FourierScheme::Waves;

/// The greatest wave number k with 3 k < n: of the product of two such waves nothing comes back among them.
int greatest_kept(int n) { return (n - 1) / 3; }

/// to += factor * from, by element.
void add(double factor, const Waves& from, Waves& to) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += factor * from[i];
}

}  // namespace

FourierScheme::FourierScheme(const Pde& pde, Grid grid, std::vector<double> parameters,
                             std::vector<double> positions)
    : pde_(pde),
      grid_(std::move(grid)),
      unknowns_(pde.unknowns()),
      fields_(pde.term_fields()),
      parameters_(std::move(parameters)),
      positions_(std::move(positions)),
      fft_(grid_.cells_by_axis(), greatest_kept(grid_.cells_by_axis().back())) {
  if (positions_.empty()) {
    positions_ = grid_.centres();
    positions_.resize(static_cast<size_t>(grid_.axes() + pde.fields().size()) * grid_.cells(), 0.0);
  }
  for (long mode = 0; mode < fft_.modes(); ++mode) {
    const std::array<int, 3> k = fft_.wave(mode);
    bool kept = true;
    std::array<double, 3>& number = number_.emplace_back();
    for (int axis = 0; axis < grid_.axes(); ++axis) {
      kept = kept && std::abs(k[axis]) <= greatest_kept(grid_.cells(axis));
      number[axis] = 2 * std::numbers::pi * k[axis] / grid_.length(axis);
    }
    kept_.push_back(kept ? 1 : 0);
  }
  factors_ = pde.auxiliary_factors(parameters_);
  const int arguments = kernels::flux_arguments(grid_.axes(), fields_);
  for (int a = 0; a < arguments; ++a)
    for (int b = 0; b < unknowns_; ++b) {
      Waves& factors = symbols_.emplace_back();
      for (long mode = 0; mode < fft_.modes(); ++mode)
        factors.push_back(kept_[mode] != 0 ? symbol(a, b, mode) : 0);
    }
  for (int a = 0; a < arguments; ++a)
    (pde.flux_is_affine_in(a) && !(a < fields_ && pde.has_source()) ? linear_rows_ : rows_).push_back(a);
  make_linear_part();
}

Complex FourierScheme::symbol(int row, int unknown, long mode) const {
  const int field = row % fields_, kind = row / fields_;
  const std::array<double, 3>& k = number_[mode];
  Complex result = kind == 0 ? 1 : grid_.axes() == 1 && kind == 2 ? -k[0] * k[0] : Complex(0, k[kind - 1]);
  if (field < unknowns_) return field == unknown ? result : 0;
  const double square = k[0] * k[0] + k[1] * k[1] + k[2] * k[2];
  return square == 0 ? 0 : result * (-factors_[(field - unknowns_) * unknowns_ + unknown] / square);
}

void FourierScheme::make_linear_part() {
  const size_t m = unknowns_;
  linear_.assign(m * m, Waves(fft_.modes(), 0.0));
  const std::vector<double> zeros(kernels::flux_arguments(grid_.axes(), fields_), 0.0),
      place(grid_.axes() + pde_.fields().size(), 0.0), time{0};
  for (int axis = 0; axis < grid_.axes(); ++axis) {
    kernels::TermValues flux;
    pde_.flux(axis, {1, zeros, place, time, parameters_, {}}, 1, flux);
    for (const int row : linear_rows_)
      for (int a = 0; a < unknowns_; ++a) {
        const double slope = flux.by(a, row)[0];
        if (slope == 0) continue;
        for (int b = 0; b < unknowns_; ++b)
          for (long mode = 0; mode < fft_.modes(); ++mode)
            linear_[a * m + b][mode] -= Complex(0, number_[mode][axis]) * slope * symbols_[row * m + b][mode];
      }
  }
  for (size_t a = 0; a < m; ++a)
    for (size_t b = 0; b < m; ++b)
      for (const Complex factor : linear_[a * m + b]) coupled_ = coupled_ || (a != b && factor != 0.0);
}

// -----------------------------------------------------------------------------------------------------------
// States, waves and arguments

Waves FourierScheme::waves(std::span<const double> u) const {
  const long count = members(u), cells = grid_.cells();
  RANKINE_ASSERT(static_cast<long>(u.size()) == count * width(), "states of another grid");
  std::vector<double> by_unknown(u.size());
  for (long s = 0; s < count; ++s)
    for (long i = 0; i < cells; ++i)
      for (int a = 0; a < unknowns_; ++a)
        by_unknown[(a * count + s) * cells + i] = u[(s * cells + i) * unknowns_ + a];
  Waves out(static_cast<size_t>(unknowns_ * count * fft_.modes()));
  fft_.forward(unknowns_ * count, by_unknown.data(), out.data());
  for (size_t i = 0; i < out.size(); ++i)
    if (kept_[i % kept_.size()] == 0) out[i] = 0;
  return out;
}

std::vector<double> FourierScheme::values(const Waves& waves) const {
  const long count = members(waves), cells = grid_.cells();
  std::vector<double> by_unknown(static_cast<size_t>(unknowns_ * count * cells)), out(by_unknown.size());
  fft_.backward(unknowns_ * count, waves.data(), by_unknown.data());
  for (long s = 0; s < count; ++s)
    for (long i = 0; i < cells; ++i)
      for (int a = 0; a < unknowns_; ++a)
        out[(s * cells + i) * unknowns_ + a] = by_unknown[(a * count + s) * cells + i];
  return out;
}

double FourierScheme::lost_share(std::span<const double> u) const {
  const std::vector<double> rest = kept(u);
  double largest = 0;
  for (int a = 0; a < unknowns_; ++a) {
    double sum = 0, squares = 0, lost = 0;
    for (size_t i = a; i < u.size(); i += unknowns_) {
      sum += u[i];
      squares += u[i] * u[i];
      lost += (u[i] - rest[i]) * (u[i] - rest[i]);
    }
    const double variation = squares - sum * sum * unknowns_ / static_cast<double>(u.size());
    if (variation > 1e-24 * squares) largest = std::max(largest, std::sqrt(lost / variation));
  }
  return largest;
}

std::vector<double> FourierScheme::field_rows(const Waves& waves, const std::vector<int>& rows) const {
  const long count = members(waves), modes = fft_.modes();
  Waves of_rows(rows.size() * count * modes, 0.0);
  for (size_t r = 0; r < rows.size(); ++r)
    for (int b = 0; b < unknowns_; ++b) {
      if (rows[r] % fields_ < unknowns_ && rows[r] % fields_ != b) continue;
      const Waves& factors = symbols_[rows[r] * unknowns_ + b];
      for (long s = 0; s < count; ++s)
        for (long mode = 0; mode < modes; ++mode)
          of_rows[(r * count + s) * modes + mode] += factors[mode] * waves[(b * count + s) * modes + mode];
    }
  std::vector<double> out(rows.size() * count * grid_.cells());
  fft_.backward(static_cast<long>(rows.size()) * count, of_rows.data(), out.data());
  return out;
}

std::vector<double> FourierScheme::all_arguments(std::span<const double> u) const {
  std::vector<int> all(kernels::flux_arguments(grid_.axes(), fields_));
  for (size_t a = 0; a < all.size(); ++a) all[a] = static_cast<int>(a);
  return field_rows(waves(u), all);
}

Waves FourierScheme::gathered(const std::vector<double>& by_row) const {
  const long modes = fft_.modes(), count = static_cast<long>(by_row.size() / rows_.size()) / grid_.cells();
  Waves of_rows(rows_.size() * count * modes), out(unknowns_ * count * modes, 0.0);
  fft_.forward(static_cast<long>(rows_.size()) * count, by_row.data(), of_rows.data());
  for (size_t r = 0; r < rows_.size(); ++r)
    for (int b = 0; b < unknowns_; ++b) {
      if (rows_[r] % fields_ < unknowns_ && rows_[r] % fields_ != b) continue;
      const Waves& factors = symbols_[rows_[r] * unknowns_ + b];
      for (long s = 0; s < count; ++s)
        for (long mode = 0; mode < modes; ++mode)
          out[(b * count + s) * modes + mode] +=
              std::conj(factors[mode]) * of_rows[(r * count + s) * modes + mode];
    }
  return out;
}

// -----------------------------------------------------------------------------------------------------------
// The rate, its derivative, its transpose

std::vector<kernels::TermValues> FourierScheme::terms(std::span<const double> arguments,
                                                      std::span<const double> t, int order) const {
  const auto cells = static_cast<size_t>(grid_.cells());
  const size_t points = rows_.empty() ? t.size() * cells : arguments.size() / rows_.size();
  RANKINE_ASSERT(t.size() * cells == points, "a time for each member");
  std::vector<double> all(static_cast<size_t>(kernels::flux_arguments(grid_.axes(), fields_)) * points, 0.0);
  for (size_t r = 0; r < rows_.size(); ++r)
    std::copy_n(&arguments[r * points], points, &all[rows_[r] * points]);
  const size_t rows_of_x = grid_.axes() + pde_.fields().size(), known = positions_.size() / rows_of_x;
  std::vector<double> x(rows_of_x * points), times(points);
  for (size_t row = 0; row < rows_of_x; ++row)
    for (size_t first = 0; first < points; first += known)
      std::copy_n(&positions_[row * known], std::min(known, points - first), &x[row * points + first]);
  for (size_t s = 0; s < t.size(); ++s) std::fill_n(&times[s * cells], cells, t[s]);
  const kernels::TermPoints at{static_cast<long>(points), all, x, times, parameters_, {}};
  std::vector<kernels::TermValues> out(grid_.axes() + (pde_.has_source() ? 1 : 0));
  for (int axis = 0; axis < grid_.axes(); ++axis) pde_.flux(axis, at, order, out[axis]);
  if (pde_.has_source()) pde_.source(at, order, out.back());
  return out;
}

Waves FourierScheme::divergence(const std::vector<std::vector<double>>& terms) const {
  const long modes = fft_.modes(), fields = static_cast<long>(terms.front().size()) / grid_.cells();
  Waves out(static_cast<size_t>(fields * modes), 0.0), one(out.size());
  for (size_t term = 0; term < terms.size(); ++term) {
    fft_.forward(fields, terms[term].data(), one.data());
    for (long f = 0; f < fields; ++f)
      for (long mode = 0; mode < modes; ++mode) {
        if (kept_[mode] == 0) continue;
        const Complex wave = one[f * modes + mode];
        out[f * modes + mode] +=
            static_cast<int>(term) < grid_.axes() ? Complex(0, -number_[mode][term]) * wave : wave;
      }
  }
  return out;
}

void FourierScheme::add_coupling(const Waves& from, bool transposed, Waves& to) const {
  if (!coupled_) return;
  const long modes = fft_.modes(), count = members(from);
  for (int a = 0; a < unknowns_; ++a)
    for (int b = 0; b < unknowns_; ++b) {
      if (a == b) continue;
      const Waves& factor = linear_[transposed ? b * unknowns_ + a : a * unknowns_ + b];
      for (long s = 0; s < count; ++s)
        for (long mode = 0; mode < modes; ++mode)
          to[(a * count + s) * modes + mode] +=
              (transposed ? std::conj(factor[mode]) : factor[mode]) * from[(b * count + s) * modes + mode];
    }
}

Waves FourierScheme::rate_of(const Waves& waves, std::span<const double> arguments,
                             std::span<const double> t) const {
  std::vector<std::vector<double>> values;
  for (kernels::TermValues& term : terms(arguments, t, 0)) values.push_back(std::move(term.value));
  Waves out = divergence(values);
  add_coupling(waves, false, out);
  return out;
}

Waves FourierScheme::tangent_of(const std::vector<kernels::TermValues>& slopes,
                                const std::vector<double>& change, const Waves& e) const {
  const long points = slopes.front().size;
  std::vector<std::vector<double>> values;
  for (const kernels::TermValues& term : slopes) {
    std::vector<double>& out = values.emplace_back(unknowns_ * points, 0.0);
    for (int a = 0; a < unknowns_; ++a)
      for (size_t r = 0; r < rows_.size(); ++r) {
        if (rows_[r] >= term.arguments) continue;  // a source reads no derivatives
        const double *by = term.by(a, rows_[r]), *from = &change[r * points];
        for (long i = 0; i < points; ++i) out[a * points + i] += by[i] * from[i];
      }
  }
  Waves out = divergence(values);
  add_coupling(e, false, out);
  return out;
}

Waves FourierScheme::transpose_of(const std::vector<kernels::TermValues>& slopes, const Waves& y,
                                  const Curvature* curvature) const {
  const long points = slopes.front().size, modes = fft_.modes(), fields = static_cast<long>(y.size()) / modes;
  std::vector<double> by_row(rows_.size() * points, 0.0), z(fields * grid_.cells());
  Waves of_term(y.size());
  for (size_t term = 0; term < slopes.size(); ++term) {
    for (long f = 0; f < fields; ++f)
      for (long mode = 0; mode < modes; ++mode) {
        const Complex wave = y[f * modes + mode];
        of_term[f * modes + mode] =
            static_cast<int>(term) < grid_.axes() ? Complex(0, number_[mode][term]) * wave : wave;
      }
    fft_.backward(fields, of_term.data(), z.data());
    for (int a = 0; a < unknowns_; ++a)
      for (size_t r = 0; r < rows_.size(); ++r) {
        if (rows_[r] >= slopes[term].arguments) continue;
        const double *by = slopes[term].by(a, rows_[r]), *from = &z[a * points];
        for (long i = 0; i < points; ++i) by_row[r * points + i] += by[i] * from[i];
        for (size_t q = 0; q < rows_.size() && curvature != nullptr; ++q) {
          if (rows_[q] >= slopes[term].arguments) continue;
          const double *bent = slopes[term].by(a, rows_[r], rows_[q]), *e = &(*curvature->change)[r * points];
          for (const auto& [factor, out] : curvature->by)
            for (long i = 0; i < points; ++i) (*out)[q * points + i] += factor * bent[i] * e[i] * from[i];
        }
      }
  }
  Waves out = rows_.empty() ? Waves(y.size(), 0.0) : gathered(by_row);
  add_coupling(y, true, out);
  return out;
}

std::vector<double> FourierScheme::rate(std::span<const double> u, std::span<const double> t) const {
  const Waves w = waves(u);
  Waves out = rate_of(w, field_rows(w, rows_), t);
  add_own(w, false, out);
  return values(out);
}

std::vector<double> FourierScheme::rate_tangent(std::span<const double> u, std::span<const double> t,
                                                std::span<const double> e) const {
  const Waves w = waves(e);
  Waves out = tangent_of(terms(arguments(u), t, 1), field_rows(w, rows_), w);
  add_own(w, false, out);
  return values(out);
}

std::vector<double> FourierScheme::rate_transpose(std::span<const double> u, std::span<const double> t,
                                                  std::span<const double> y) const {
  const Waves w = waves(y);
  Waves out = transpose_of(terms(arguments(u), t, 1), w);
  add_own(w, true, out);
  return values(out);
}

void FourierScheme::add_own(const Waves& from, bool transposed, Waves& to) const {
  const long modes = fft_.modes(), count = members(from);
  for (size_t i = 0; i < to.size(); ++i) {
    const auto a = static_cast<long>(i) / modes / count;
    const Complex factor = linear_[a * unknowns_ + a][static_cast<long>(i) % modes];
    to[i] += (transposed ? std::conj(factor) : factor) * from[i];
  }
}

std::pair<std::vector<double>, std::vector<double>> FourierScheme::velocity(std::span<const double> u,
                                                                            std::span<const double> t,
                                                                            std::span<const double> e) const {
  RANKINE_ASSERT(unknowns_ == 1, "the velocity of several unknowns");
  const std::vector<kernels::TermValues> slopes = terms(arguments(u), t, 2);
  const std::vector<double> change = arguments(e);
  const size_t points = u.size();
  std::vector<double> at(grid_.axes() * points), by_e(at.size());
  if (std::find(rows_.begin(), rows_.end(), 0) == rows_.end()) return {at, by_e};  // what there is, L has
  for (int axis = 0; axis < grid_.axes(); ++axis) {
    std::copy_n(slopes[axis].by(0, 0), points, &at[axis * points]);
    for (size_t r = 0; r < rows_.size(); ++r) {
      const double *by = slopes[axis].by(0, 0, rows_[r]), *from = &change[r * points];
      for (size_t i = 0; i < points; ++i) by_e[axis * points + i] += by[i] * from[i];
    }
  }
  return {at, by_e};
}

double FourierScheme::stable_step(std::span<const double> arguments, std::span<const double> t) const {
  constexpr double limit = 2.8;  // of the method along the imaginary axis; 2.78 along the real one
  std::array<double, 3> k{};
  for (int axis = 0; axis < grid_.axes(); ++axis)
    k[axis] = 2 * std::numbers::pi * greatest_kept(grid_.cells(axis)) / grid_.length(axis);
  const std::vector<kernels::TermValues> slopes = terms(arguments, t, 1);
  double fastest = 0;
  for (int a = 0; a < unknowns_; ++a) {
    double coupling = 0;
    for (size_t mode = 0; mode < kept_.size(); ++mode) {
      double sum = 0;
      for (int b = 0; b < unknowns_; ++b) sum += a == b ? 0 : std::abs(linear_[a * unknowns_ + b][mode]);
      coupling = std::max(coupling, sum);
    }
    for (long i = 0; i < slopes.front().size; ++i) {
      double sum = coupling;
      for (size_t term = 0; term < slopes.size(); ++term)
        for (const int row : rows_) {
          if (row % fields_ >= unknowns_ || row >= slopes[term].arguments) continue;
          const int kind = row / fields_;
          double size = kind == 0 ? 1 : grid_.axes() == 1 ? std::pow(k[0], kind) : k[kind - 1];
          if (static_cast<int>(term) < grid_.axes()) size *= k[term];
          sum += size * std::abs(slopes[term].by(a, row)[i]);
        }
      fastest = std::isnan(sum) ? sum : std::max(fastest, sum);
    }
  }
  return fastest == 0 ? std::numeric_limits<double>::infinity() : limit / fastest;
}

std::string FourierScheme::unstable(std::span<const double> u, std::span<const double> t, double step,
                                    int substeps) const {
  const double stable = stable_step(arguments(u), t), needed = std::ceil(step / stable);
  if (needed <= substeps) return {};
  return "a substep of " + shortest(step / substeps) + " " + pde_.time_unit() +
         " is beyond the stability limit " + shortest(stable) + " of explicit steps on " + grid_.describe() +
         " cells; take " + (std::isfinite(needed) ? "at least " + shortest(needed) : std::string("more")) +
         " substeps, or fewer cells";
}

// -----------------------------------------------------------------------------------------------------------
// Marches. With E = exp(L h / 2): k1 = N(u), k2 = N(E (u + h/2 k1)), k3 = N(E u + h/2 k2),
// k4 = N(E^2 u + h E k3), and E^2 u + h/6 (E^2 k1 + 2 E (k2 + k3) + k4) is the next state.

const Waves& FourierScheme::half_factor(double step) const {
  constexpr size_t most = 8;
  if (half_factors_.size() >= most && !half_factors_.contains(step)) half_factors_.clear();
  Waves& factor = half_factors_[step];
  for (int a = 0; a < unknowns_ && static_cast<int>(factor.size()) < unknowns_ * fft_.modes(); ++a)
    for (long mode = 0; mode < fft_.modes(); ++mode)
      factor.push_back(std::exp(0.5 * step * linear_[a * unknowns_ + a][mode]));
  return factor;
}

Waves FourierScheme::decayed(const Waves& half, bool transposed, const Waves& from) const {
  const long modes = fft_.modes(), count = members(from);
  Waves out(from.size());
  for (long f = 0; f < unknowns_ * count; ++f)
    for (long mode = 0; mode < modes; ++mode) {
      const Complex factor = half[f / count * modes + mode];
      out[f * modes + mode] = (transposed ? std::conj(factor) : factor) * from[f * modes + mode];
    }
  return out;
}

std::vector<double> FourierScheme::advance(std::span<const double> u, std::span<const double> t, double step,
                                           int substeps, Path* path) const {
  const double h = step / substeps;
  const Waves& half = half_factor(h);
  const auto decay = [&](const Waves& w) { return decayed(half, false, w); };
  if (path != nullptr) *path = {{t.begin(), t.end()}, step, substeps, {}, {}, {}};
  Waves w = waves(u);
  std::vector<double> moment(t.begin(), t.end());
  const auto rate_at = [&](const Waves& state, double offset) {
    for (size_t s = 0; s < t.size(); ++s) moment[s] = t[s] + offset;
    std::vector<double> at = field_rows(state, rows_);
    Waves out = rate_of(state, at, moment);
    if (path != nullptr) path->stages.push_back(std::move(at));
    return out;
  };
  for (int substep = 0; substep < substeps; ++substep) {
    const double begin = substep * h;
    const Waves k1 = rate_at(w, begin);
    Waves state = w;
    add(h / 2, k1, state);
    const Waves k2 = rate_at(decay(state), begin + h / 2), once = decay(w);
    state = once;
    add(h / 2, k2, state);
    const Waves k3 = rate_at(state, begin + h / 2);
    state = once;
    add(h, k3, state);
    const Waves k4 = rate_at(decay(state), begin + h);
    add(h / 6, k1, w);  // E^2 (u + h/6 k1) + h/3 E (k2 + k3) + h/6 k4
    w = decay(w);
    add(h / 3, k2, w);
    add(h / 3, k3, w);
    w = decay(w);
    add(h / 6, k4, w);
  }
  return values(w);
}

const std::vector<kernels::TermValues>& FourierScheme::slopes_at(const Path& path, int substep, int stage,
                                                                 Slopes& slopes) const {
  const bool between = path.stages.empty();
  const int halves = 2 * substep + (stage + 1) / 2, key = between ? halves : 4 * substep + stage;
  if (slopes.key == key) return slopes.terms;
  const double share = static_cast<double>(halves) / (2 * path.substeps);
  std::vector<double> times = path.times, mixed(path.begin.size());
  for (double& time : times) time += share * path.step;
  for (size_t i = 0; i < mixed.size(); ++i) mixed[i] = (1 - share) * path.begin[i] + share * path.end[i];
  slopes.terms = terms(between ? mixed : path.stages[key], times, slopes.order);
  slopes.key = key;
  return slopes.terms;
}

void FourierScheme::tapered(std::span<const double> taper, Waves& e) const {
  if (taper.empty()) return;
  std::vector<double> field = values(e);
  for (size_t i = 0; i < field.size(); ++i) field[i] *= taper[i / unknowns_ % taper.size()];
  e = waves(field);
}

std::vector<double> FourierScheme::march_tangent(const Path& path, std::span<const double> e,
                                                 std::span<const double> taper, Bend* bend) const {
  const double h = path.step / path.substeps;
  const Waves& half = half_factor(h);
  const auto decay = [&](const Waves& w) { return decayed(half, false, w); };
  Waves w = waves(e);
  Slopes slopes;
  for (int substep = 0; substep < path.substeps; ++substep) {
    const auto rate_at = [&](int stage, const Waves& state) {
      std::vector<double> change = field_rows(state, rows_);
      Waves out = tangent_of(slopes_at(path, substep, stage, slopes), change, state);
      if (bend != nullptr) bend->changes.push_back(std::move(change));
      return out;
    };
    const Waves k1 = rate_at(0, w);
    Waves state = w;
    add(h / 2, k1, state);
    const Waves k2 = rate_at(1, decay(state)), once = decay(w);
    state = once;
    add(h / 2, k2, state);
    const Waves k3 = rate_at(2, state);
    state = once;
    add(h, k3, state);
    const Waves k4 = rate_at(3, decay(state));
    add(h / 6, k1, w);
    w = decay(w);
    add(h / 3, k2, w);
    add(h / 3, k3, w);
    w = decay(w);
    add(h / 6, k4, w);
    tapered(taper, w);
  }
  return values(w);
}

std::vector<double> FourierScheme::march_transpose(const Path& path, std::span<const double> y,
                                                   std::span<const double> taper, Bend* bend) const {
  const double h = path.step / path.substeps;
  const Waves& half = half_factor(h);
  const auto decay = [&](const Waves& w) { return decayed(half, true, w); };
  Waves w = waves(y);
  Slopes slopes;
  if (bend != nullptr) {
    slopes.order = 2;
    bend->by_begin.assign(path.begin.size(), 0.0);
    bend->by_end = bend->by_begin;
  }
  for (int substep = path.substeps - 1; substep >= 0; --substep) {
    const auto rate_at = [&](int stage, const Waves& by) {
      const std::vector<kernels::TermValues>& at = slopes_at(path, substep, stage, slopes);
      if (bend == nullptr) return transpose_of(at, by);
      const double share = (2.0 * substep + (stage + 1) / 2) / (2.0 * path.substeps);
      const Curvature curvature{&bend->changes[4 * substep + stage],
                                {std::pair(1 - share, &bend->by_begin), std::pair(share, &bend->by_end)}};
      return transpose_of(at, by, &curvature);
    };
    tapered(taper, w);
    // The derivatives by k4, k3, k2, k1, each followed by what it adds to those by the state before.
    Waves by_k4(w.size(), 0.0);
    add(h / 6, w, by_k4);
    const Waves once = decay(w);
    Waves q = decay(rate_at(3, by_k4)), by_k3(w.size(), 0.0), by_k2, before = once;
    add(h / 3, once, by_k3);
    by_k2 = by_k3;
    add(h, q, by_k3);
    add(1, q, before);
    q = rate_at(2, by_k3);
    add(1, q, before);
    add(h / 2, q, by_k2);
    before = decay(before);
    Waves by_k1(w.size(), 0.0);
    add(h / 6, decay(once), by_k1);
    q = decay(rate_at(1, by_k2));
    add(h / 2, q, by_k1);
    add(1, q, before);
    add(1, rate_at(0, by_k1), before);
    w = std::move(before);
  }
  return values(w);
}

template <class Step>
void FourierScheme::over_frames(const Window& window, bool backwards, const Step& step) const {
  const auto frames = static_cast<long>(window.times.size()) - 1;
  const size_t each = window.arguments.size() / (frames + 1),
               count = rows_.empty() ? 1 : each / rows_.size() / grid_.cells();
  for (long i = 1; i < frames; ++i) {  // the first correction is that of frame 1 alone
    const long j = backwards ? frames - i : i;
    const double begin = window.times[j], length = window.times[j + 1] - begin;
    step(j, Path{std::vector<double>(count, begin),
                 length,
                 window.substeps,
                 window.arguments.subspan(j * each, each),
                 window.arguments.subspan((j + 1) * each, each),
                 {}});
  }
}

std::vector<double> FourierScheme::correct(const Window& window, std::span<const double> r) const {
  std::vector<double> e(r.begin(), r.end());
  const size_t each = r.size() / (window.times.size() - 1);
  over_frames(window, false, [&](long j, const Path& path) {
    const std::vector<double> moved =
        advance_tangent(path, std::span(e).subspan((j - 1) * each, each), window.taper);
    for (size_t i = 0; i < each; ++i) e[j * each + i] += moved[i];
  });
  return e;
}

std::vector<double> FourierScheme::correct_transpose(const Window& window, std::span<const double> by_e,
                                                     std::span<const double> e,
                                                     std::vector<double>* by_arguments) const {
  std::vector<double> by_r(by_e.begin(), by_e.end());
  const size_t each = by_e.size() / (window.times.size() - 1),
               rows = window.arguments.size() / window.times.size();
  if (by_arguments != nullptr) by_arguments->assign(window.arguments.size(), 0.0);
  over_frames(window, true, [&](long j, const Path& path) {
    Bend bend;
    if (by_arguments != nullptr)
      static_cast<void>(march_tangent(path, e.subspan((j - 1) * each, each), window.taper, &bend));
    const std::vector<double> moved =
        march_transpose(path, std::span(by_r).subspan(j * each, each), window.taper,
                        by_arguments != nullptr ? &bend : nullptr);
    for (size_t i = 0; i < each; ++i) by_r[(j - 1) * each + i] += moved[i];
    for (size_t i = 0; i < bend.by_end.size(); ++i) {
      (*by_arguments)[j * rows + i] += bend.by_begin[i];
      (*by_arguments)[(j + 1) * rows + i] += bend.by_end[i];
    }
  });
  return by_r;
}

std::vector<double> box_taper(const Grid& box, const std::vector<int>& cells) {
  std::vector<double> out(box.cells(), 1.0);
  for (int cell = 0; cell < box.cells(); ++cell)
    for (int axis = 0; axis < box.axes(); ++axis) {
      const int index = box.index(cell, axis), inside = std::min(index, box.cells(axis) - 1 - index);
      if (inside >= cells[axis]) continue;
      const double ramp = std::sin(0.5 * std::numbers::pi * (inside + 0.5) / cells[axis]);
      out[cell] *= ramp * ramp;
    }
  return out;
}

}  // namespace rankine
