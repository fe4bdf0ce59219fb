#include "kernels/optimise.hpp"

#include "kernels/map.hpp"
#include "kernels/multiply_add.hpp"
#include "kernels/reduce.hpp"

// A loop over plain pointers: on the host a function of its own, which compilers vectorise better.
#if RANKINE_ON_DEVICE
#define RANKINE_LOOP RANKINE_ELEMENT
#else
#define RANKINE_LOOP __attribute__((noinline))
#endif

namespace rankine::kernels {
namespace {

struct Square {
  template <class T>
  RANKINE_ELEMENT double operator()(T x) const {
    return static_cast<double>(x) * static_cast<double>(x);
  }
  /// The same, rounded whatever follows.
  template <class T>
  RANKINE_ELEMENT double alone(T x) const {
    return rounded_product(static_cast<double>(x), static_cast<double>(x));
  }
};
struct IsNotFinite {
  template <class T>
  RANKINE_ELEMENT double operator()(T x) const {
    return x - x == T(0) ? 0.0 : 1.0;
  }
  template <class T>
  RANKINE_ELEMENT double alone(T x) const {
    return (*this)(x);
  }
};

/// Element i of the pieces side by side, each filled up with zeros to kPiece.
template <class T, class F>
struct PieceElement {
  F f;
  View<const std::int64_t> begin, end;
  View<const T> x;
  RANKINE_ELEMENT double operator()(std::int64_t i) const {
    const std::int64_t q = i / kPiece, at = begin[q] + i % kPiece;
    return at < end[q] ? f.alone(x[at]) : 0.0;
  }
};

/// Sums of groups of pieces.
struct GroupSums {
  View<const std::int64_t> first;
  View<const double> pieces;
  View<double> out;
  RANKINE_KERNEL void operator()(std::int64_t g) const {
    out[g] = leaf<double, Sum<double>>([&](std::int64_t i) { return pieces[i]; }, first[g],
                                       first[g + 1] - first[g]);
  }
};
/// Sums of parts, in the place of their first groups.
struct PartSums {
  View<const std::int64_t> group;
  View<double> groups;
  View<double> out;
  RANKINE_KERNEL void operator()(std::int64_t part) const {
    const std::int64_t begin = group[part], n = group[part + 1] - begin;
    out[part] = n == 0 ? 0.0 : pair_tree<Sum<double>>(groups.at(begin), n);
  }
};
/// The sum over the parts: leaves of 256 of them, then adjacent pairs, which a binary counter keeps.
struct TotalSum {
  std::int64_t parts;
  View<const double> from;
  View<double> out;
  RANKINE_KERNEL void operator()(std::int64_t) const {
    double kept[48];
    int height[48], count = 0;
    for (std::int64_t begin = 0; begin == 0 || begin < parts; begin += kLeaf) {
      const std::int64_t n = begin + kLeaf < parts ? kLeaf : parts - begin;
      kept[count] = leaf<double, Sum<double>>([&](std::int64_t i) { return from[i]; }, begin, n);
      height[count++] = 0;
      while (count > 1 && height[count - 1] == height[count - 2]) {
        kept[count - 2] = kept[count - 2] + kept[count - 1];
        ++height[count - 2];
        --count;
      }
    }
    for (; count > 1; --count) kept[count - 2] = kept[count - 2] + kept[count - 1];
    out[0] = kept[0];
  }
};

/// What follows the sums of pieces, which lie at the start of `work`.
void sum_pieces(const char* name, const PartPieces& p, DevicePtr<double> work, DevicePtr<double> by_part) {
  const DevicePtr<double> groups = work + p.pieces;
  units(name, p.groups, GroupSums{p.first, DevicePtr<const double>(work), groups});
  units(name, p.parts, PartSums{p.group, groups, by_part});
}
void sum_parts(const char* name, const PartPieces& p, DevicePtr<double> by_part, DevicePtr<double> out) {
  units(name, 1, TotalSum{p.parts, DevicePtr<const double>(by_part), out});
}
DevicePtr<double> by_part(const PartPieces& p, DevicePtr<double> work) {
  return work + (p.pieces + p.groups);
}

template <class F, class T>
void sums_portable(const char* name, const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                   DevicePtr<double> out) {
  reduce<Sum<double>>(name, PieceElement<T, F>{F{}, p.begin, p.end, x}, p.pieces, kPiece, work,
                      work + (p.pieces + p.groups + p.parts));
  sum_pieces(name, p, work, out);
}

#if !RANKINE_ON_DEVICE
inline constexpr std::int64_t kPiecesPerBlock = kChunk / kPiece;

template <class F, class T>
__attribute__((noinline)) double sum_of_piece(std::int64_t n, const T* x) {
  double values[kPiece], leaves[kPiece / kLeaf];  // in memory the values are rounded
  for (std::int64_t i = 0; i < n; ++i) values[i] = F{}(x[i]);
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < n; i += kLeaf)
    leaves[count++] = leaf<double, Sum<double>>([&](std::int64_t k) { return values[k]; }, i,
                                                i + kLeaf < n ? kLeaf : n - i);
  return count == 0 ? 0.0 : pair_tree<Sum<double>>(leaves, count);
}
template <class F, class T>
struct PieceSums {
  std::int64_t pieces;
  View<const std::int64_t> begin, end;
  View<const T> x;
  View<double> out;
  void operator()(std::int64_t block) const {
    const std::int64_t last = (block + 1) * kPiecesPerBlock < pieces ? (block + 1) * kPiecesPerBlock : pieces;
    for (std::int64_t q = block * kPiecesPerBlock; q < last; ++q)
      out[q] = sum_of_piece<F>(end[q] - begin[q], x.at(begin[q]));
  }
};
#endif

template <class F, class T>
void sums_by_part(const char* name, const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                  DevicePtr<double> out) {
  count_work(name, {2 * static_cast<double>(p.elements), in_bytes<T>(p.elements)});
  if (runs_portable(Tuned::sums_by_part)) return sums_portable<F>(name, p, x, work, out);
#if !RANKINE_ON_DEVICE
  host_blocks(name, (p.pieces + kPiecesPerBlock - 1) / kPiecesPerBlock,
              PieceSums<F, T>{p.pieces, p.begin, p.end, x, work});
  sum_pieces(name, p, work, out);
#endif
}

struct LargestSize {
  RANKINE_ELEMENT static double identity() { return 0; }
  RANKINE_ELEMENT static double combine(double a, double b) { return a > b || a != a ? a : b; }
};
template <class T>
struct Size {
  View<const T> x;
  RANKINE_ELEMENT double operator()(std::int64_t i) const {
    const double v = static_cast<double>(x[i]);
    return v < 0 ? -v : v;
  }
};
struct NoSquare {
  View<const double> x;
  RANKINE_ELEMENT double operator()(std::int64_t i) const { return x[i] >= 0 && x[i] - x[i] == 0 ? 0 : 1; }
};

template <class T>
struct Scale {
  static constexpr double kFlops = 1;
  T factor;
  RANKINE_ELEMENT T operator()(T x) const { return x * factor; }
};
struct Plus {
  static constexpr double kFlops = 1;
  template <class T>
  RANKINE_ELEMENT T operator()(T a, T b) const {
    return a + b;
  }
};

/// f.loop(rate, decay, begin, end) with a piece's own, for what one worker has of the pieces: an element of
/// one, or some whole ones.
template <class F>
struct EachPiece {
  F f;
  std::int64_t pieces;
  View<const std::int64_t> begin, end;
  View<const double> rate, decay;
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    const std::int64_t q = i / kPiece, at = begin[q] + i % kPiece;
    if (at < end[q]) f.loop(rate[q], decay[q], at, at + 1);
  }
#else
  void operator()(std::int64_t block) const {
    const std::int64_t last = (block + 1) * kPiecesPerBlock < pieces ? (block + 1) * kPiecesPerBlock : pieces;
    for (std::int64_t q = block * kPiecesPerBlock; q < last; ++q) f.loop(rate[q], decay[q], begin[q], end[q]);
  }
#endif
};
template <class F>
void each_piece(const char* name, const PartPieces& p, const F& f) {
  const EachPiece<F> body{f, p.pieces, p.begin, p.end, p.rate, p.decay};
#if RANKINE_ON_DEVICE
  device_range(name, p.pieces * kPiece, body);
#else
  host_blocks(name, (p.pieces + kPiecesPerBlock - 1) / kPiecesPerBlock, body);
#endif
}

template <class T>
struct AdamLoop {
  AdamStep s;
  View<const T> gradient;
  View<double> first, second;
  View<T> parameters;
  RANKINE_ELEMENT void loop(double rate, double decay, std::int64_t begin, std::int64_t end) const {
    run(s, rate * s.rate, rate * s.pull * decay, end - begin, gradient.at(begin), first.at(begin),
        second.at(begin), parameters.at(begin));
  }
  RANKINE_LOOP static void run(const AdamStep& s, double rate, double decay, std::int64_t n, const T* g,
                               double* m, double* v, T* p) {
    const double b1 = s.beta1, b2 = s.beta2, eps = s.epsilon, correction2 = s.correction2;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
    for (std::int64_t i = 0; i < n; ++i) {
      const double gi = static_cast<double>(g[i]);
      m[i] = b1 * m[i] + (1 - b1) * gi;
      v[i] = b2 * v[i] + (1 - b2) * gi * gi;
      const double pi = static_cast<double>(p[i]);
      p[i] = static_cast<T>(pi - rate * m[i] / (std::sqrt(v[i] / correction2) + eps) - decay * pi);
    }
  }
};

template <class T>
struct SgdLoop {
  SgdStep s;
  View<const T> gradient;
  View<double> velocity;
  View<T> parameters;
  RANKINE_ELEMENT void loop(double factor, double decay, std::int64_t begin, std::int64_t end) const {
    const std::int64_t n = end - begin;
    const double rate = factor * s.rate;
    if (s.nesterov)
      run_nesterov(s.momentum, rate, decay, n, gradient.at(begin), velocity.at(begin), parameters.at(begin));
    else
      run(s.momentum, rate, decay, n, gradient.at(begin), velocity.at(begin), parameters.at(begin));
  }
  RANKINE_LOOP static void run(double momentum, double rate, double decay, std::int64_t n, const T* g,
                               double* v, T* p) {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
    for (std::int64_t i = 0; i < n; ++i) {
      const double pi = static_cast<double>(p[i]);
      v[i] = momentum * v[i] + static_cast<double>(g[i]) + decay * pi;
      p[i] = static_cast<T>(pi - rate * v[i]);
    }
  }
  RANKINE_LOOP static void run_nesterov(double momentum, double rate, double decay, std::int64_t n,
                                        const T* g, double* v, T* p) {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC ivdep
#endif
    for (std::int64_t i = 0; i < n; ++i) {
      const double pi = static_cast<double>(p[i]), gi = static_cast<double>(g[i]) + decay * pi;
      v[i] = momentum * v[i] + gi;
      p[i] = static_cast<T>(pi - rate * (gi + momentum * v[i]));
    }
  }
};

}  // namespace

std::int64_t sum_workspace(const PartPieces& p) {
  return p.pieces + p.groups + p.parts + reduce_workspace(p.pieces, kPiece);
}

template <class T>
void sum_of_squares(const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                    DevicePtr<double> out) {
  sums_by_part<Square>("sum_of_squares", p, x, work, by_part(p, work));
  sum_parts("sum_of_squares", p, by_part(p, work), out);
}
template <class T>
void sums_of_squares(const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                     DevicePtr<double> out) {
  sums_by_part<Square>("sum_of_squares", p, x, work, out);
}
template <class T>
void sum_of_squares_portable(const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                             DevicePtr<double> out) {
  sums_portable<Square>("sum_of_squares", p, x, work, by_part(p, work));
  sum_parts("sum_of_squares", p, by_part(p, work), out);
}
template <class T>
void count_not_finite(const PartPieces& p, DevicePtr<const T> x, DevicePtr<double> work,
                      DevicePtr<double> out) {
  sums_by_part<IsNotFinite>("count_not_finite", p, x, work, by_part(p, work));
  sum_parts("count_not_finite", p, by_part(p, work), out);
}

std::int64_t extreme_workspace(std::int64_t n) { return reduce_workspace(1, n); }

template <class T>
void largest_size(std::int64_t n, DevicePtr<const T> x, DevicePtr<double> work, DevicePtr<double> out) {
  count_work("largest_size", {static_cast<double>(n), in_bytes<T>(n)});
  reduce<LargestSize>("largest_size", Size<T>{x}, 1, n, out, work);
}
void count_no_square(std::int64_t n, DevicePtr<const double> x, DevicePtr<double> work,
                     DevicePtr<double> out) {
  count_work("count_no_square", {static_cast<double>(n), in_bytes<double>(n)});
  reduce<Sum<double>>("count_no_square", NoSquare{x}, 1, n, out, work);
}

template <class T>
void scale_in_place(std::int64_t n, T factor, DevicePtr<T> x) {
  map("clip_gradient", Scale<T>{factor}, n, x, DevicePtr<const T>(x));
}
template <class T>
void accumulate(std::int64_t n, DevicePtr<const T> x, DevicePtr<T> total) {
  map("accumulate", Plus{}, n, total, DevicePtr<const T>(total), x);
}

template <class T>
void adam(const AdamStep& s, const PartPieces& p, DevicePtr<const T> gradient, DevicePtr<double> first,
          DevicePtr<double> second, DevicePtr<T> parameters) {
  // The optimiser keeps its moments in double.
  count_work("adam", {15 * static_cast<double>(p.elements),
                      in_bytes<T>(3 * p.elements) + in_bytes<double>(4 * p.elements)});
  each_piece("adam", p, AdamLoop<T>{s, gradient, first, second, parameters});
}
template <class T>
void sgd(const SgdStep& s, const PartPieces& p, DevicePtr<const T> gradient, DevicePtr<double> velocity,
         DevicePtr<T> parameters) {
  count_work("sgd", {6 * static_cast<double>(p.elements),
                     in_bytes<T>(3 * p.elements) + in_bytes<double>(2 * p.elements)});
  each_piece("sgd", p, SgdLoop<T>{s, gradient, velocity, parameters});
}

#define RANKINE_INSTANTIATE(T)                                                                               \
  template void sum_of_squares(const PartPieces&, DevicePtr<const T>, DevicePtr<double>, DevicePtr<double>); \
  template void sums_of_squares(const PartPieces&, DevicePtr<const T>, DevicePtr<double>,                    \
                                DevicePtr<double>);                                                          \
  template void sum_of_squares_portable(const PartPieces&, DevicePtr<const T>, DevicePtr<double>,            \
                                        DevicePtr<double>);                                                  \
  template void count_not_finite(const PartPieces&, DevicePtr<const T>, DevicePtr<double>,                   \
                                 DevicePtr<double>);                                                         \
  template void largest_size(std::int64_t, DevicePtr<const T>, DevicePtr<double>, DevicePtr<double>);        \
  template void scale_in_place(std::int64_t, T, DevicePtr<T>);                                               \
  template void accumulate(std::int64_t, DevicePtr<const T>, DevicePtr<T>);                                  \
  template void adam(const AdamStep&, const PartPieces&, DevicePtr<const T>, DevicePtr<double>,              \
                     DevicePtr<double>, DevicePtr<T>);                                                       \
  template void sgd(const SgdStep&, const PartPieces&, DevicePtr<const T>, DevicePtr<double>, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
