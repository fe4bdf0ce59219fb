#include "kernels/linear_experts.hpp"

#include "kernels/column_lanes.hpp"
#include "kernels/rows.hpp"

#if !RANKINE_ON_DEVICE
#include "kernels/gram_rows.hpp"
#include "kernels/scratch.hpp"
#endif

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

#if !RANKINE_ON_DEVICE
/// Eight columns side by side.
struct EightLanes {
  static constexpr int count = 8, width = Simd<double>::width;
  SimdOf<double> v[count / width] = {};
  RANKINE_FORCEINLINE static EightLanes load(const double* from) {
    EightLanes lanes;
    for (int g = 0; g < count / width; ++g) lanes.v[g] = kernels::load(from + g * width);
    return lanes;
  }
  RANKINE_FORCEINLINE void store(double* to) const {
    for (int g = 0; g < count / width; ++g) kernels::store(to + g * width, v[g]);
  }
  RANKINE_FORCEINLINE friend EightLanes multiply_add(double a, const EightLanes& b, const EightLanes& c) {
    EightLanes sum;
    for (int g = 0; g < count / width; ++g)
      sum.v[g] = multiply_add_lanes<double>(broadcast(a), b.v[g], c.v[g]);
    return sum;
  }
  RANKINE_FORCEINLINE friend EightLanes operator*(double a, const EightLanes& b) {
    EightLanes product;
    for (int g = 0; g < count / width; ++g) product.v[g] = broadcast(a) * b.v[g];
    return product;
  }
  RANKINE_FORCEINLINE friend EightLanes operator-(const EightLanes& a, const EightLanes& b) {
    EightLanes difference;
    for (int g = 0; g < count / width; ++g) difference.v[g] = a.v[g] - b.v[g];
    return difference;
  }
};
#endif

/// What all bodies know.
struct Experts {
  Index frames, cells, experts, n, count;
  double scale;
  View<const double> now_rows, before_rows, fields;
  View<const std::int32_t> boxes, owner, samples, expert;

  explicit Experts(const LinearExperts& e)
      : frames(e.scheme.frames),
        cells(e.scheme.cells),
        experts(e.experts),
        n(e.basis),
        count(e.count),
        scale(e.scheme.scale),
        now_rows(e.now_rows),
        before_rows(e.before_rows),
        fields(e.fields),
        boxes(e.boxes),
        owner(e.owner),
        samples(e.samples),
        expert(e.expert) {}

  RANKINE_KERNEL Index points() const { return frames * cells; }
  RANKINE_KERNEL const std::int32_t* box(Index k) const { return boxes.at(expert[k] * 4); }
  /// The fields at the point p of problem k's sample.
  RANKINE_KERNEL const double* at(Index k, Index p) const {
    return fields.at((samples[k] * points() + p) * n);
  }
  /// f(p) for the rows of problem k.
  template <class F>
  RANKINE_KERNEL void each_row(Index k, const F& f) const {
    const std::int32_t* const of = box(k);
    for (Index frame = of[0]; frame < of[1]; ++frame)
      for (Index p = frame * cells + of[2]; p < frame * cells + of[3]; ++p) f(p);
  }
};

struct States : Experts {
  View<const double> initial, w;
  View<double> u;
  RANKINE_KERNEL void operator()(Index frame, Index k, const Columns& columns) const {
    double* const to = u.at((k * (frames + 1) + frame) * cells);
    if (frame == 0) {
      const Index from = samples[k] * cells;
      columns.each([&](Index i) { to[i] = initial.defined() ? initial[from + i] : 0; });
      return;
    }
    const double *const row = at(k, (frame - 1) * cells), *const of = w.at(k * n);
#if !RANKINE_ON_DEVICE
    if (n == EightLanes::count) return eight_fields(row, of, to);
#endif
    columns.each([&](Index i) { to[i] = combined(row + i * n, of); });
  }
  RANKINE_KERNEL double combined(const double* b, const double* of) const {
    double sum = 0;
    for (Index c = 0; c < n; ++c) sum = multiply_add(of[c], b[c], sum);
    return sum;
  }
#if !RANKINE_ON_DEVICE
  /// As many cells at a time as a vector has lanes.
  void eight_fields(const double* b, const double* of, double* to) const {
    constexpr int width = Simd<double>::width;
    Index i = 0;
    for (; i + width <= cells; i += width, b += width * EightLanes::count) {
      SimdOf<double> sum{};
      for (int part = 0; part < EightLanes::count; part += width) {
        SimdOf<double> cell[width];
        for (int j = 0; j < width; ++j) cell[j] = load(b + j * EightLanes::count + part);
        transpose<double>(cell);
        for (int c = 0; c < width; ++c)
          sum = multiply_add_lanes<double>(broadcast(of[part + c]), cell[c], sum);
      }
      store(to + i, sum);
    }
    for (; i < cells; ++i, b += EightLanes::count) to[i] = combined(b, of);
  }
#endif
};

struct Objectives : Experts {
  View<const double> weighed;
  View<double> out;
  RANKINE_KERNEL void operator()(Index k) const {
    double sum = 0;
    each_row(k, [&](Index p) {
      const double rho = weighed[p * count + k];
      sum = multiply_add(rho, rho, sum);
    });
    out[k] = sum / 2;
  }
};

/// Of the rows x(p), y(p) [n] and rho(p) in a problem's box.
struct Grams : Experts {
  /// Element i, j of [X rho]^T [Y rho].
  template <class Row>
  RANKINE_KERNEL double element(Index k, Index i, Index j, const Row& row) const {
    double sum = 0;
    each_row(k, [&](Index p) {
      const double rho = row.rho(p);
      sum = multiply_add(i < n ? row.x(p)[i] : rho, j < n ? row.x(p)[j] : rho, sum);
    });
    return sum;
  }
  template <class Row>
  RANKINE_KERNEL void all(Index k, const Row& row, double* to) const {
    const Index m = n + 1;
#if !RANKINE_ON_DEVICE
    if (n == GramOfEight::n) {
      const std::int32_t* const of = box(k);
      Index p = of[0] * cells + of[2], end = of[0] * cells + of[3];
      const auto next = [&] {
        if (p == end) {
          p += cells - (of[3] - of[2]);
          end += cells;
        }
        const double* const x = row.x(p);
        return GramRow{x, x, row.rho(p++)};
      };
      const Index rows = Index(of[1] - of[0]) * (of[3] - of[2]);
      return GramOfEight::of_rows(rows, next).store_augmented(to);
    }
#endif
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < m; ++j) to[i * m + j] = element(k, i, j, row);
  }
};

struct FieldRow {
  const double *fields, *target;
  Index n, samples;
  RANKINE_KERNEL const double* x(Index p) const { return fields + p * n; }
  RANKINE_KERNEL double rho(Index p) const { return target[p * samples]; }
};

struct Starts : Grams {
  Index width;
  View<const double> target;
  View<double> out;
  RANKINE_KERNEL void operator()(Index k) const {
    all(k, FieldRow{at(k, 0), target.at(samples[k]), n, width}, out.at(k * (n + 1) * (n + 1)));
  }
};

/// The columns of J, marched frame by frame as they are formed.
struct Systems : Grams {
  View<const double> down, inverse_diagonal, up, lower, diagonal, upper;
  View<const std::int32_t> factor_of_frame, history_of_frame;
  bool with_history;
  View<const double> slope, weighed;
  View<double> work, out;

  /// Columns `first` and those beside it of problem k into jacobian [frame][cell][n].
  template <class Lanes>
  RANKINE_KERNEL void march(Index k, Index first, double* jacobian) const {
    const double* const b = at(k, 0);
    for (Index frame = 0; frame < frames; ++frame) {
      const double* const x = b + frame * cells * n + first;
      double* const e = jacobian + frame * cells * n + first;
      const double *const rows = now_rows.at(frame * cells * 3), *const before =
                                                                     before_rows.at(frame * cells * 3);
      const double *const old_slopes = slope.at((k * (frames + 1) + frame) * cells), *const slopes =
                                                                                         old_slopes + cells;
      const Index factor = factor_of_frame[frame] * cells;
      const Index matrix = with_history ? history_of_frame[frame] * cells : 0;
      const double *const d = down.at(factor), *const inverse = inverse_diagonal.at(factor);
      const double *const old = x - cells * n, *const p = e - cells * n;
      Lanes z{};
      // Of the fields here and in the frame before, and of the solution there: the cell and its neighbours.
      Lanes x_left{}, x_here = Lanes::load(x), x_right{}, old_left{}, old_here{}, old_right{}, p_left{},
                      p_here{}, p_right{};
      const auto cell = [&](Index i, auto left, auto right, auto has_old) {
        if (right) x_right = Lanes::load(x + (i + 1) * n);
        Lanes sum{};
        if (left) sum = multiply_add(rows[3 * i], x_left, sum);
        sum = multiply_add(multiply_add(1 / scale, slopes[i], rows[3 * i + 1]), x_here, sum);
        if (right) sum = multiply_add(rows[3 * i + 2], x_right, sum);
        if (has_old) {
          if (right) old_right = Lanes::load(old + (i + 1) * n);
          if (left) sum = multiply_add(-before[3 * i], old_left, sum);
          sum = multiply_add(-multiply_add(1 / scale, old_slopes[i], before[3 * i + 1]), old_here, sum);
          if (right) sum = multiply_add(-before[3 * i + 2], old_right, sum);
          old_left = old_here;
          old_here = old_right;
          if (with_history) {
            // Beyond the ends the coefficient is zero and any finite value will do.
            p_right = right ? Lanes::load(p + (i + 1) * n) : p_here;
            sum = multiply_add(diagonal[matrix + i], p_here, sum);
            sum = multiply_add(lower[matrix + i], left ? p_left : p_here, sum);
            sum = multiply_add(upper[matrix + i], p_right, sum);
            p_left = p_here;
            p_here = p_right;
          }
        }
        x_left = x_here;
        x_here = x_right;
        z = multiply_add(-d[i], z, sum);
        (inverse[i] * z).store(e + i * n);
      };
      const auto sweep = [&](auto has_old) {
        constexpr std::true_type yes;
        constexpr std::false_type no;
        if (has_old) {
          old_here = Lanes::load(old);
          if (with_history) p_here = Lanes::load(p);
        }
        if (cells == 1) return cell(0, no, no, has_old);
        cell(0, no, yes, has_old);
        for (Index i = 1; i + 1 < cells; ++i) cell(i, yes, yes, has_old);
        cell(cells - 1, yes, no, has_old);
      };
      if (frame == 0)
        sweep(std::false_type());
      else
        sweep(std::true_type());
      const double* const u = up.at(factor);
      Lanes value{};
      for (Index i = cells - 1; i >= 0; --i) {
        value = multiply_add(-u[i], value, Lanes::load(e + i * n));
        value.store(e + i * n);
      }
    }
  }
  struct JacobianRow {
    const double *jacobian, *weighed;
    Index n, count;
    RANKINE_KERNEL const double* x(Index p) const { return jacobian + p * n; }
    RANKINE_KERNEL double rho(Index p) const { return weighed[p * count]; }
  };
#if !RANKINE_ON_DEVICE
  void operator()(Index k) const {
    // A problem's columns stay in the cache until their products are summed.
    double* const jacobian = host_scratch<double>(points() * n);
    Index first = 0;
    for (; first + EightLanes::count <= n; first += EightLanes::count) march<EightLanes>(k, first, jacobian);
    for (; first < n; ++first) march<ColumnLanes<double, 1>>(k, first, jacobian);
    all(k, JacobianRow{jacobian, weighed.at(k), n, count}, out.at(k * (n + 1) * (n + 1)));
  }
#endif
};
#if RANKINE_ON_DEVICE
struct SystemColumns : Systems {
  RANKINE_KERNEL void operator()(Index i) const {
    march<ColumnLanes<double, 1>>(i / n, i % n, work.at(i / n * points() * n));
  }
};
struct SystemElements : Systems {
  RANKINE_KERNEL void operator()(Index i) const {
    const Index m = n + 1, k = i / (m * m);
    const JacobianRow row{work.at(k * points() * n), weighed.at(k), n, count};
    out[i] = element(k, i / m % m, i % m, row);
  }
};
#endif

struct KeptRows : Experts {
  View<const double> weighed;
  View<double> out;
  RANKINE_KERNEL void operator()(Index frame, Index cell, const Columns& columns) const {
    const Index p = frame * cells + cell;
    const std::int32_t owned = owner[p];
    const double* const from = weighed.at(p * count);
    double* const to = out.at(p * count);
    columns.each([&](Index k) { to[k] = expert[k] == owned ? from[k] : 0; });
  }
};

struct Curvatures : Experts {
  View<const double> curvature, p;
  View<double> out;
  RANKINE_KERNEL double weight(Index k, Index q) const {
    const double* const from = p.at(q * count + k);
    const double change = *from - (q + cells < points() ? from[cells * count] : 0);
    return curvature[k * (points() + cells) + cells + q] * change / scale;
  }
  RANKINE_KERNEL double element(Index k, Index i, Index j) const {
    const double* const b = at(k, 0);
    double sum = 0;
    for (Index q = 0; q < points(); ++q) {
      const double weighted = weight(k, q) * b[q * n + j];
      sum = multiply_add(b[q * n + i], weighted, sum);
    }
    return sum;
  }
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(Index i) const { out[i] = element(i / (n * n), i / n % n, i % n); }
#else
  void operator()(Index k) const {
    double* const to = out.at(k * n * n);
    if (n != GramOfEight::n) {
      for (Index i = 0; i < n * n; ++i) to[i] = element(k, i / n, i % n);
      return;
    }
    const double* b = at(k, 0);
    double weighted[GramOfEight::n];
    Index q = 0;
    const GramOfEight sums = GramOfEight::of_rows(points(), [&] {
      (weight(k, q++) * EightLanes::load(b)).store(weighted);
      const GramRow row{b, weighted, 0};
      b += n;
      return row;
    });
    for (Index i = 0; i < n * n; ++i) to[i] = sums.product[i / n][i % n];
  }
#endif
};

struct Directions : Experts {
  View<const double> slope, v;
  View<double> out;
  RANKINE_KERNEL void operator()(Index frame, Index k, const Columns& columns) const {
    const Index first = (k * (frames + 1) + frame) * cells;
    const double *const old = v.at(first), *const now = old + cells;
    const double *const old_slope = slope.at(first), *const now_slope = old_slope + cells;
    const double *const rows = now_rows.at(frame * cells * 3), *const before =
                                                                   before_rows.at(frame * cells * 3);
    double* const to = out.at(frame * cells * count + k);
    columns.each([&](Index i) {
      double sum = 0;
      const bool left = i > 0, right = i + 1 < cells;
      if (left) sum = multiply_add(rows[3 * i], now[i - 1], sum);
      sum = multiply_add(multiply_add(1 / scale, now_slope[i], rows[3 * i + 1]), now[i], sum);
      if (right) sum = multiply_add(rows[3 * i + 2], now[i + 1], sum);
      if (frame > 0) {
        if (left) sum = multiply_add(-before[3 * i], old[i - 1], sum);
        sum = multiply_add(-multiply_add(1 / scale, old_slope[i], before[3 * i + 1]), old[i], sum);
        if (right) sum = multiply_add(-before[3 * i + 2], old[i + 1], sum);
      }
      to[i * count] = sum;
    });
  }
};

struct Second : Experts {
  View<const double> curvature, p, v;
  View<double> gradient;
  RANKINE_KERNEL void operator()(Index frame, Index k, const Columns& columns) const {
    const Index later = (k * (frames + 1) + frame + 1) * cells;
    const double* const own = p.at(frame * cells * count + k);
    const bool last = frame + 1 == frames;
    double* const to = gradient.at((k * frames + frame) * cells);
    columns.each([&](Index i) {
      const double change = own[i * count] - (last ? 0 : own[(i + cells) * count]);
      to[i] = to[i] + multiply_add(change / scale * v[later + i], curvature[later + i], 0.0);
    });
  }
};

struct Solution : Experts {
  View<const double> u;
  View<double> out;
  RANKINE_KERNEL void operator()(Index sample, Index frame, const Columns& columns) const {
    columns.each([&](Index i) {
      const Index p = frame * cells + i, k = sample * experts + owner[p];
      out[sample * points() + p] = u[k * (points() + cells) + cells + p];
    });
  }
};

struct DirectGradients : Experts {
  View<const double> w, u_bar;
  View<double> fields_bar, w_bar;
  RANKINE_KERNEL void operator()(Index k) const {
    const Index first = samples[k] * points();
    const double* const of = w.at(k * n);
    double* const sums = w_bar.at(k * n);
    for (Index i = 0; i < n; ++i) sums[i] = 0;
    each_row(k, [&](Index p) {
      const double bar = u_bar[first + p];
      const double* const b = fields.at((first + p) * n);
      double* const to = fields_bar.at((first + p) * n);
      for (Index i = 0; i < n; ++i) {
        to[i] = of[i] * bar;
        sums[i] = multiply_add(b[i], bar, sums[i]);
      }
    });
  }
};

struct ImplicitGradients : Experts {
  View<const double> w, lambda, by_solution, by_direction;
  View<double> fields_bar;
  RANKINE_KERNEL void operator()(Index sample, Index p, const Columns& columns) const {
    const Index first = sample * experts;
    double* const to = fields_bar.at((sample * points() + p) * n);
#if !RANKINE_ON_DEVICE
    if (n == EightLanes::count) {
      EightLanes sum = EightLanes::load(to);
      for (Index k = first; k < first + experts; ++k) {
        const double solution = by_solution[k * points() + p], direction = by_direction[k * points() + p];
        sum = sum - multiply_add(solution, EightLanes::load(w.at(k * n)),
                                 direction * EightLanes::load(lambda.at(k * n)));
      }
      return sum.store(to);
    }
#endif
    columns.each([&](Index i) {
      double sum = to[i];
      for (Index k = first; k < first + experts; ++k) {
        const double solution = by_solution[k * points() + p], direction = by_direction[k * points() + p];
        sum = sum - multiply_add(w[k * n + i], solution, lambda[k * n + i] * direction);
      }
      to[i] = sum;
    });
  }
};

/// Rows of all problems, of which each expert's box is its share.
double rows_of_all(const LinearExperts& e) {
  return static_cast<double>(e.count * e.scheme.frames * e.scheme.cells) / e.experts;
}
double gram_flops(const LinearExperts& e) { return rows_of_all(e) * (e.basis + 1) * (e.basis + 2.0); }

}  // namespace

void expert_states(const LinearExperts& e, DevicePtr<const double> initial, DevicePtr<const double> w,
                   DevicePtr<double> u) {
  const Index numbers = e.count * (e.scheme.frames + 1) * e.scheme.cells;
  count_work("expert_states",
             {2.0 * static_cast<double>(numbers * e.basis), in_bytes<double>(numbers * (e.basis + 1))});
  // Frame by frame: the fields of a sample's frame stay in the cache for all its experts.
  grid("expert_states", e.scheme.frames + 1, e.count, e.scheme.cells, States{Experts(e), initial, w, u});
}

void expert_objectives(const LinearExperts& e, DevicePtr<const double> weighed, DevicePtr<double> out) {
  count_work("expert_objectives", {2.0 * rows_of_all(e), in_bytes<double>(1) * rows_of_all(e)});
  units("expert_objectives", e.count, Objectives{Experts(e), weighed, out});
}

std::int64_t expert_work(const LinearExperts& e) {
  return RANKINE_ON_DEVICE ? e.count * e.scheme.frames * e.scheme.cells * e.basis : 0;
}

void expert_systems(const LinearExperts& e, const TridiagonalMarchOnDevice& march,
                    DevicePtr<const double> slope, DevicePtr<const double> weighed, DevicePtr<double> work,
                    DevicePtr<double> out) {
  // A column's element: 12 flops of the product, 11 of the march.
  const double columns = static_cast<double>(e.count * e.scheme.frames * e.scheme.cells) * e.basis;
  count_work("expert_systems", {23 * columns + gram_flops(e), in_bytes<double>(1) * columns});
  const Systems body{{Experts(e)},
                     march.down,
                     march.inverse_diagonal,
                     march.up,
                     march.lower,
                     march.diagonal,
                     march.upper,
                     march.factor_of_frame,
                     march.history_of_frame,
                     march.with_history,
                     slope,
                     weighed,
                     work,
                     out};
#if RANKINE_ON_DEVICE
  units("expert_columns", e.count * e.basis, SystemColumns{body});
  units("expert_systems", e.count * (e.basis + 1) * (e.basis + 1), SystemElements{body});
#else
  units("expert_systems", e.count, body);
#endif
}

void expert_starts(const LinearExperts& e, std::int64_t samples, DevicePtr<const double> target,
                   DevicePtr<double> out) {
  count_work("expert_starts", {gram_flops(e), in_bytes<double>(e.basis + 1) * rows_of_all(e)});
  units("expert_starts", e.count, Starts{{Experts(e)}, samples, target, out});
}

void expert_rows(const LinearExperts& e, DevicePtr<const double> weighed, DevicePtr<double> out) {
  const Index numbers = e.count * e.scheme.frames * e.scheme.cells;
  count_work("expert_rows", {0, in_bytes<double>(2 * numbers)});
  grid("expert_rows", e.scheme.frames, e.scheme.cells, e.count, KeptRows{Experts(e), weighed, out});
}

void expert_curvatures(const LinearExperts& e, DevicePtr<const double> curvature, DevicePtr<const double> p,
                       DevicePtr<double> out) {
  const double points = static_cast<double>(e.count * e.scheme.frames * e.scheme.cells);
  count_work("expert_curvatures",
             {points * e.basis * (2.0 * e.basis + 1), in_bytes<double>(e.basis + 2) * points});
  const Index blocks = RANKINE_ON_DEVICE ? e.count * e.basis * e.basis : e.count;
  units("expert_curvatures", blocks, Curvatures{Experts(e), curvature, p, out});
}

void expert_directions(const LinearExperts& e, DevicePtr<const double> slope, DevicePtr<const double> v,
                       DevicePtr<double> out) {
  const Index numbers = e.count * e.scheme.frames * e.scheme.cells;
  count_work("expert_directions", {12.0 * static_cast<double>(numbers), in_bytes<double>(3 * numbers)});
  grid("expert_directions", e.scheme.frames, e.count, e.scheme.cells, Directions{Experts(e), slope, v, out});
}

void expert_second(const LinearExperts& e, DevicePtr<const double> curvature, DevicePtr<const double> p,
                   DevicePtr<const double> v, DevicePtr<double> gradient) {
  const Index numbers = e.count * e.scheme.frames * e.scheme.cells;
  count_work("expert_second", {5.0 * static_cast<double>(numbers), in_bytes<double>(5 * numbers)});
  grid("expert_second", e.scheme.frames, e.count, e.scheme.cells,
       Second{Experts(e), curvature, p, v, gradient});
}

void expert_solution(const LinearExperts& e, DevicePtr<const double> u, DevicePtr<double> out) {
  const Index samples = e.count / e.experts, numbers = samples * e.scheme.frames * e.scheme.cells;
  count_work("expert_solution", {0, in_bytes<double>(2 * numbers)});
  grid("expert_solution", samples, e.scheme.frames, e.scheme.cells, Solution{Experts(e), u, out});
}

void expert_direct_gradients(const LinearExperts& e, DevicePtr<const double> w, DevicePtr<const double> u_bar,
                             DevicePtr<double> fields_bar, DevicePtr<double> w_bar) {
  count_work("expert_direct_gradients",
             {3.0 * e.basis * rows_of_all(e), in_bytes<double>(2 * e.basis + 1) * rows_of_all(e)});
  units("expert_direct_gradients", e.count, DirectGradients{Experts(e), w, u_bar, fields_bar, w_bar});
}

void expert_implicit_gradients(const LinearExperts& e, DevicePtr<const double> w,
                               DevicePtr<const double> lambda, DevicePtr<const double> by_solution,
                               DevicePtr<const double> by_direction, DevicePtr<double> fields_bar) {
  const Index points = e.scheme.frames * e.scheme.cells;
  const double numbers = static_cast<double>(e.count * points);
  count_work("expert_implicit_gradients",
             {4 * numbers * e.basis, in_bytes<double>(2) * numbers * (1 + e.basis / double(e.experts))});
  grid("expert_implicit_gradients", e.count / e.experts, points, e.basis,
       ImplicitGradients{Experts(e), w, lambda, by_solution, by_direction, fields_bar});
}

}  // namespace rankine::kernels
