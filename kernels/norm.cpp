#include "kernels/norm.hpp"

#include <cmath>

#include "kernels/columns.hpp"
#include "kernels/multiply_add.hpp"

#if !RANKINE_ON_DEVICE
#include <algorithm>
#include <type_traits>

#include "kernels/simd.hpp"
#endif

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

// Of plain memory, on the host.
#if !RANKINE_ON_DEVICE

// Rows whose sums are taken side by side, so that their chains of additions overlap: as many as find
// registers, `numbers` for each lane of a row.
template <class T, int numbers>
constexpr int rows_together() {
  constexpr int vectors = kSumLanes / Simd<T>::width * numbers, registers = kVectorBytes == 64 ? 16 : 8;
  return vectors * 4 <= registers ? 4 : vectors * 2 <= registers ? 2 : 1;
}
// f(first row, number) for all of `rows`, `number` at a time: R, a constant, and less for the last.
template <int R, class F>
inline void for_rows(Index rows, F f) {
  Index r = 0;
  for (; r + R <= rows; r += R) f(r, std::integral_constant<int, R>());
  if constexpr (R > 1) for_rows<R / 2>(rows - r, [&](Index i, auto number) { f(r + i, number); });
}
// Long rows go one by one: side by side they are as many streams, which processors fetch ahead less well. The
// backward pass writes so many of them together, because each needs the sums of gamma and beta.
inline bool are_long(Index n) { return n >= 512; }
template <class T>
constexpr int kLongRows = sizeof(T) == 4 ? 2 : 1;
// f(chunk) for all of a row that is written to y: first what brings y to the vectors' alignment. Vectors that
// cross lines of the cache cost twice.
template <class T, class F>
inline void for_aligned_chunks(Index n, const T* y, F f) {
  constexpr Index W = Simd<T>::width;
  const Index off = static_cast<Index>(reinterpret_cast<std::uintptr_t>(y) / sizeof(T)) % W;
  Index i = 0;
  if (off != 0 && n >= 4 * W) {
    i = W - off;
    f(Chunk<T, false>{0, i});
  }
  for (; i + W <= n; i += W) f(Chunk<T, true>{i, W});
  if (i < n) f(Chunk<T, false>{i, n - i});
}

/// The sums of u and of u (x - middle) of R rows of n values, `distance` apart; u = dy, or g dy where there
/// is g.
template <int R, bool kGamma, class T>
[[gnu::noinline]] void slopes_of_rows(Index n, Index distance, const T* x, const T* dy, const T* g,
                                      const T* middle, T* plain, T* bend) {
  using V = SimdOf<T>;
  T sums[2 * R];
  row_sums<T, 2 * R>(
      n,
      [&](const auto& at, V* acc) {
        const V gs = kGamma ? at.of(g) : V{};
        for (int j = 0; j < R; ++j) {
          const V d = at.of(dy + j * distance), u = kGamma ? d * gs : d;
          acc[j] = acc[j] + u;
          acc[R + j] = multiply_add_lanes<T>(u, at.of(x + j * distance) - broadcast(middle[j]), acc[R + j]);
        }
      },
      [&](Index i, T* acc) {
        for (int j = 0; j < R; ++j) {
          const T d = dy[j * distance + i], u = kGamma ? d * g[i] : d;
          acc[j] = acc[j] + u;
          acc[R + j] = multiply_add(u, x[j * distance + i] - middle[j], acc[R + j]);
        }
      },
      sums);
  std::copy_n(sums, R, plain);
  std::copy_n(sums + R, R, bend);
}

/// The sums of each plane's distance from its channel's first value and of its square: what cancels is of the
/// size of the deviation.
template <class T>
[[gnu::flatten]] void plane_moments(Index planes, Index channels, Index space, const T* x, const T* firsts,
                                    T* plain, T* squares) {
  for (Index p = 0; p < planes; ++p, x += space) {
    const T shift = firsts[p % channels * space];
    const SimdOf<T> shifts = broadcast(shift);
    T sums[2];
    row_sums<T, 2>(
        space,
        [&](const auto& at, SimdOf<T>* acc) {
          const SimdOf<T> d = at.keep(at.of(x) - shifts);
          acc[0] = acc[0] + d;
          acc[1] = multiply_add_lanes<T>(d, d, acc[1]);
        },
        [&](Index i, T* acc) {
          const T d = x[i] - shift;
          acc[0] = acc[0] + d;
          acc[1] = multiply_add(d, d, acc[1]);
        },
        sums);
    plain[p] = sums[0];
    squares[p] = sums[1];
  }
}

template <class T>
void channel_affine(Index batch, Index channels, Index space, const T* x, const T* factor, const T* term,
                    T* y) {
  if (space == 1) {
    for (Index n = 0; n < batch; ++n, x += channels, y += channels)
      for_chunks<T>(channels, [&](const auto& at) {
        at.to(y, multiply_add_lanes<T>(at.of(factor), at.of(x), at.of(term)));
      });
    return;
  }
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c, x += space, y += space) {
      const SimdOf<T> a = broadcast(factor[c]), b = broadcast(term[c]);
      for_aligned_chunks(space, y, [&](const auto& at) { at.to(y, multiply_add_lanes<T>(a, at.of(x), b)); });
    }
}

/// The sums of dy and of dy (x - middle) of a plane.
template <class T>
inline void sums_of_plane(Index space, const T* x, const T* dy, T middle, T& plain, T& centred) {
  const SimdOf<T> middles = broadcast(middle);
  T sums[2];
  row_sums<T, 2>(
      space,
      [&](const auto& at, SimdOf<T>* acc) {
        const SimdOf<T> d = at.of(dy);
        acc[0] = acc[0] + d;
        acc[1] = multiply_add_lanes<T>(d, at.of(x) - middles, acc[1]);
      },
      [&](Index i, T* acc) {
        acc[0] = acc[0] + dy[i];
        acc[1] = multiply_add(dy[i], x[i] - middle, acc[1]);
      },
      sums);
  plain = sums[0];
  centred = sums[1];
}

/// The sums of dy and of dy (x - mean) of each plane, the mean rounded to T.
template <class T>
[[gnu::flatten]] void plane_norm_sums(Index planes, Index channels, Index space, const T* x, const T* dy,
                                      const double* mean, T* plain, T* centred) {
  for (Index p = 0; p < planes; ++p, x += space, dy += space) {
    const T middle = static_cast<T>(mean[p % channels]);
    sums_of_plane(space, x, dy, middle, plain[p], centred[p]);
  }
}

template <class T>
void channel_norm_backward(Index batch, Index channels, Index space, const T* x, const T* dy, const T* a,
                           const T* b, const T* d, T* dx) {
  if (space == 1) {
    for (Index n = 0; n < batch; ++n, x += channels, dy += channels, dx += channels)
      for_chunks<T>(channels, [&](const auto& at) {
        at.to(dx, multiply_add_lanes<T>(at.of(a), at.of(dy),
                                        multiply_add_lanes<T>(at.of(b), at.of(x), at.of(d))));
      });
    return;
  }
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c, x += space, dy += space, dx += space) {
      const SimdOf<T> p = broadcast(a[c]), q = broadcast(b[c]), r = broadcast(d[c]);
      for_aligned_chunks(space, dx, [&](const auto& at) {
        at.to(dx, multiply_add_lanes<T>(p, at.of(dy), multiply_add_lanes<T>(q, at.of(x), r)));
      });
    }
}

// Rows go through one pass after the other in blocks that stay in the first cache: within a pass no row waits
// for another, and roots and quotients are taken of many rows at once.
constexpr Index kMostRows = 32;
// Of each row n values of so many arrays. Of long ones, which drive each other out, there are few.
template <class T>
Index rows_of_block(Index n, Index arrays) {
  const Index bytes = n * arrays * static_cast<Index>(sizeof(T));
  return std::clamp<Index>(24576 / bytes, 1, !are_long(n) ? kMostRows : arrays == 1 ? 3 : kLongRows<T>);
}
// Rows that one pass writes side by side: what all of them read is read once.
constexpr int kRowsWritten = 2;

template <int most, class T>
void row_moments(Index rows, Index n, bool centred, T epsilon, const T* x, T* middle, T* inverse) {
  const T count = static_cast<T>(n);
  if (centred) {
    for_rows<most>(rows, [&](Index r, auto number) {
      constexpr int R = number;
      const T* const from = x + r * n;
      row_sums<T, R>(
          n,
          [&](const auto& at, SimdOf<T>* acc) {
            for (int j = 0; j < R; ++j) acc[j] = acc[j] + at.of(from + j * n);
          },
          [&](Index i, T* acc) {
            for (int j = 0; j < R; ++j) acc[j] = acc[j] + from[j * n + i];
          },
          middle + r);
    });
    for (Index r = 0; r < rows; ++r) middle[r] /= count;
  }
  for_rows<most>(rows, [&](Index r, auto number) {
    constexpr int R = number;
    const T* const from = x + r * n;
    const T* const m = middle + r;
    row_sums<T, R>(
        n,
        [&](const auto& at, SimdOf<T>* acc) {
          for (int j = 0; j < R; ++j) {
            const SimdOf<T> d = at.keep(at.of(from + j * n) - broadcast(m[j]));
            acc[j] = multiply_add_lanes<T>(d, d, acc[j]);
          }
        },
        [&](Index i, T* acc) {
          for (int j = 0; j < R; ++j) {
            const T d = from[j * n + i] - m[j];
            acc[j] = multiply_add(d, d, acc[j]);
          }
        },
        inverse + r);
  });
  for (Index r = 0; r < rows; ++r) inverse[r] = 1 / std::sqrt(inverse[r] / count + epsilon);
}

// Rows of n values with a gamma and a beta each; null: 1 and 0.
template <int most, class T>
void write_flat_rows(Index rows, Index n, const T* x, const T* g, const T* b, const T* middle,
                     const T* inverse, T* y) {
  using V = SimdOf<T>;
  const auto write = [&](auto f) {
    for_rows<most>(rows, [&](Index r, auto number) {
      constexpr int R = number;
      V middles[R], factors[R];
      for (int j = 0; j < R; ++j) {
        middles[j] = broadcast(middle[r + j]);
        factors[j] = broadcast(inverse[r + j]);
      }
      for_chunks<T>(n, [&](const auto& at) {
        const V gs = g == nullptr ? V{} : at.of(g), bs = b == nullptr ? V{} : at.of(b);
        V out[R];
        for (int j = 0; j < R; ++j) out[j] = f(at.of(x + (r + j) * n) - middles[j], factors[j], gs, bs);
        for (int j = 0; j < R; ++j) at.to(y + (r + j) * n, out[j]);
      });
    });
  };
  if (g == nullptr) {
    write([](V d, V scale, V, V bs) { return multiply_add_lanes<T>(d, scale, bs); });
  } else if (b == nullptr) {
    write([](V d, V scale, V gs, V) { return d * scale * gs; });
  } else {
    write([](V d, V scale, V gs, V bs) { return multiply_add_lanes<T>(d * scale, gs, bs); });
  }
}

// Of a row of channels, each with a gamma and a beta; null: 1 and 0.
template <class T>
void write_row_of_channels(Index channels, Index space, const T* x, const T* g, const T* b, T middle,
                           T inverse, T* y) {
  const SimdOf<T> middles = broadcast(middle);
  for (Index c = 0; c < channels; ++c, x += space, y += space) {
    const SimdOf<T> p = broadcast(g == nullptr ? inverse : inverse * g[c]);
    const SimdOf<T> q = broadcast(b == nullptr ? T(0) : b[c]);
    for_aligned_chunks(space, y,
                       [&](const auto& at) { at.to(y, multiply_add_lanes<T>(at.of(x) - middles, p, q)); });
  }
}

template <int most, class T>
void row_norm_forward(Index rows, Index groups, Index channels, Index space, bool centred, T epsilon,
                      const T* x, const T* gamma, const T* beta, T* y, T* mean, T* inverse) {
  const Index n = channels * space, block = rows_of_block<T>(n, 1);
  const bool alike = gamma == nullptr && beta == nullptr;
  const auto from = [](const T* numbers, Index first) {
    return numbers == nullptr ? nullptr : numbers + first;
  };
  T zeros[kMostRows] = {};
  for (Index first = 0; first < rows; first += block) {
    const Index count = std::min(block, rows - first);
    T* const middle = centred ? mean + first : zeros;
    T* const factor = inverse + first;
    row_moments<most>(count, n, centred, epsilon, x + first * n, middle, factor);
    if (alike || (space == 1 && groups == 1)) {
      write_flat_rows<most == 1 ? 1 : kRowsWritten>(count, n, x + first * n, gamma, beta, middle, factor,
                                                    y + first * n);
      continue;
    }
    for (Index r = 0; r < count; ++r) {
      const Index row = first + r, c = row % groups * channels;
      const T* const g = from(gamma, c);
      const T* const b = from(beta, c);
      if (space == 1) {
        write_flat_rows<1>(1, n, x + row * n, g, b, middle + r, factor + r, y + row * n);
      } else {
        write_row_of_channels(channels, space, x + row * n, g, b, middle[r], factor[r], y + row * n);
      }
    }
  }
}

// What sums over rows give to each dx: dx = p dy - (plain + bend (x - mean)).
template <class T>
void row_slopes(Index rows, Index n, bool centred, const T* inverse, T* plain, T* bend) {
  const T share = 1 / static_cast<T>(n);
  for (Index r = 0; r < rows; ++r) {
    plain[r] = centred ? plain[r] * share * inverse[r] : T(0);
    bend[r] = bend[r] * share * inverse[r] * inverse[r] * inverse[r];
  }
}
template <class T>
inline SimdOf<T> row_slope(SimdOf<T> p, SimdOf<T> d, SimdOf<T> distance, SimdOf<T> plain, SimdOf<T> bend) {
  return multiply_add_lanes<T>(p, d, -multiply_add_lanes<T>(bend, distance, plain));
}

// dx of R rows of n values with a gamma each, and the sums of gamma and beta; null: 1, and not wanted.
template <int R, bool kGamma, class T>
[[gnu::noinline]] void write_slopes(Index n, Index distance, const T* x, const T* dy, const T* g,
                                    const T* middle, const T* inverse, const T* plain, const T* bend, T* dx,
                                    T* dgamma, T* dbeta) {
  using V = SimdOf<T>;
  V middles[R], scales[R], plains[R], bends[R];
  for (int j = 0; j < R; ++j) {
    middles[j] = broadcast(middle[j]);
    scales[j] = broadcast(inverse[j]);
    plains[j] = broadcast(plain[j]);
    bends[j] = broadcast(bend[j]);
  }
  for_chunks<T>(n, [&](const auto& at) {
    const V gs = kGamma ? at.of(g) : V{};
    V gammas = dgamma == nullptr ? V{} : at.of(dgamma), betas = dbeta == nullptr ? V{} : at.of(dbeta);
    for (int j = 0; j < R; ++j) {
      const V d = at.of(dy + j * distance), away = at.of(x + j * distance) - middles[j];
      at.to(dx + j * distance,
            row_slope<T>(kGamma ? scales[j] * gs : scales[j], d, away, plains[j], bends[j]));
      gammas = multiply_add_lanes<T>(d, away * scales[j], gammas);
      betas = betas + d;
    }
    if (dgamma != nullptr) at.to(dgamma, gammas);
    if (dbeta != nullptr) at.to(dbeta, betas);
  });
}

// Rows of n values, `groups` apart, and their sums of gamma and beta.
template <int most, bool kGamma, class T>
void flat_rows_backward(Index rows, Index groups, Index n, bool centred, const T* x, const T* dy, const T* g,
                        const T* mean, const T* inverse, T* dx, T* dgamma, T* dbeta) {
  const Index distance = groups * n;
  T middle[kMostRows], factor[kMostRows], plain[kMostRows], bend[kMostRows];
  for (Index r = 0; r < rows; ++r) {
    middle[r] = centred ? mean[r * groups] : T(0);
    factor[r] = inverse[r * groups];
  }
  for_rows<most <= 2 ? 1 : rows_together<T, 4>()>(rows, [&](Index r, auto number) {
    slopes_of_rows<number, kGamma>(n, distance, x + r * distance, dy + r * distance, g, middle + r, plain + r,
                                   bend + r);
  });
  for (Index r = 0; r < rows; ++r) row_slopes(1, n, centred, factor + r, plain + r, bend + r);
  for_rows<most>(rows, [&](Index r, auto number) {
    const Index at = r * distance;
    write_slopes<number, kGamma>(n, distance, x + at, dy + at, g, middle + r, factor + r, plain + r, bend + r,
                                 dx + at, dgamma, dbeta);
  });
}

// Of a row of channels.
template <class T>
[[gnu::flatten]] void row_of_channels_backward(Index channels, Index space, bool centred, const T* x,
                                               const T* dy, const T* g, T middle, T inverse, T* dx, T* dgamma,
                                               T* dbeta) {
  T plain = 0, bend = 0;
  for (Index c = 0; c < channels; ++c) {
    T sums[2];
    sums_of_plane(space, x + c * space, dy + c * space, middle, sums[0], sums[1]);
    const T factor = g == nullptr ? T(1) : g[c];
    if (dgamma != nullptr) dgamma[c] = multiply_add(sums[1], inverse, dgamma[c]);
    if (dbeta != nullptr) dbeta[c] += sums[0];
    plain = multiply_add(sums[0], factor, plain);
    bend = multiply_add(sums[1], factor, bend);
  }
  row_slopes(1, channels * space, centred, &inverse, &plain, &bend);
  const SimdOf<T> middles = broadcast(middle), plains = broadcast(plain), bends = broadcast(bend);
  for (Index c = 0; c < channels; ++c, x += space, dy += space, dx += space) {
    const SimdOf<T> p = broadcast(g == nullptr ? inverse : inverse * g[c]);
    for_aligned_chunks(space, dx, [&](const auto& at) {
      at.to(dx, row_slope<T>(p, at.of(dy), at.of(x) - middles, plains, bends));
    });
  }
}

template <int most, class T>
void row_norm_backward(Index rows, Index groups, Index channels, Index space, bool centred, const T* x,
                       const T* dy, const T* gamma, const T* mean, const T* inverse, T* dx, T* dgamma,
                       T* dbeta) {
  const Index n = channels * space, near = space == 1 ? rows_of_block<T>(n, 2) : 1;
  const Index block = near > 1 && groups > 1 ? std::max(near, most * groups) : near;
  const auto from = [](auto* numbers, Index first) { return numbers == nullptr ? nullptr : numbers + first; };
  for (Index begin = 0; begin < rows; begin += block) {
    const Index end = std::min(begin + block, rows);
    // Of a block the rows of one group after those of another, so many at least as go together.
    for (Index r = begin; r < std::min(begin + groups, end); ++r) {
      const Index first = r % groups * channels, at = r * n;
      const T* const g = from(gamma, first);
      T* const dg = from(dgamma, first);
      T* const db = from(dbeta, first);
      if (space > 1)
        row_of_channels_backward(channels, space, centred, x + at, dy + at, g, centred ? mean[r] : T(0),
                                 inverse[r], dx + at, dg, db);
      else
        (g == nullptr ? flat_rows_backward<most, false, T>
                      : flat_rows_backward<most, true, T>)((end - r + groups - 1) / groups, groups, n,
                                                           centred, x + at, dy + at, g, from(mean, r),
                                                           inverse + r, dx + at, dg, db);
    }
  }
}

#endif

/// What the bodies below know of their extents: ChannelExtents' functions are the host's.
struct Extents {
  Index batch, channels, space;
  explicit Extents(const ChannelExtents& e) : batch(e.batch), channels(e.channels), space(e.space) {}
};

template <class T>
struct Numbers {
  View<const T> data;
  Index step;
  Numbers(ChannelNumbers<T> n) : data(n.data), step(n.step) {}
  RANKINE_ELEMENT T at(Index shard, Index c, T otherwise) const {
    return data.defined() ? data[shard * step + c] : otherwise;
  }
};

#if !RANKINE_ON_DEVICE
// Values that a piece of an elementwise pass over images has, as kChunk.
Index images_per_piece(const ChannelExtents& e) { return kChunk / (e.channels * e.space + 1) + 1; }

/// Some images of a shard.
struct Piece {
  Index images, pieces, batch, all;
  bool one_thread = backend_concurrency() == 1;
  Piece(const ChannelExtents& e)
      : images(images_per_piece(e)),
        pieces((e.batch + images - 1) / images),
        batch(e.batch),
        all(e.shards * pieces) {}
  /// The order of a second pass over the images: a thread has the last ones in its cache still.
  Index latest_first(Index i) const { return one_thread ? all - 1 - i : i; }
  Index shard(Index unit) const { return unit / pieces; }
  Index begin(Index unit) const { return unit % pieces * images; }
  Index count(Index unit) const {
    const Index rest = batch - begin(unit);
    return rest < images ? rest : images;
  }
};

template <class T>
struct MomentsOfPiece {
  Extents e;
  Piece piece;
  View<const T> x;
  View<T> plain, squares;  // [shard][image][channel]
  inline void operator()(Index unit) const {
    const Index shard = piece.shard(unit), plane = (shard * e.batch + piece.begin(unit)) * e.channels;
    plane_moments(piece.count(unit) * e.channels, e.channels, e.space, x.at(plane * e.space),
                  x.at(shard * e.batch * e.channels * e.space), plain.at(plane), squares.at(plane));
  }
};
template <class T>
struct NormSumsOfPiece {
  Extents e;
  Piece piece;
  View<const T> x, dy;
  View<const double> mean;
  View<T> plain, centred;
  inline void operator()(Index unit) const {
    const Index shard = piece.shard(unit), plane = (shard * e.batch + piece.begin(unit)) * e.channels;
    plane_norm_sums(piece.count(unit) * e.channels, e.channels, e.space, x.at(plane * e.space),
                    dy.at(plane * e.space), mean.at(shard * e.channels), plain.at(plane), centred.at(plane));
  }
};
template <class T>
struct AffineOfPiece {
  Extents e;
  Piece piece;
  View<const T> x, factor, term;
  Index factor_step, term_step;
  View<T> y;
  inline void operator()(Index i) const {
    const Index unit = piece.latest_first(i);
    const Index shard = piece.shard(unit), at = (shard * e.batch + piece.begin(unit)) * e.channels * e.space;
    channel_affine(piece.count(unit), e.channels, e.space, x.at(at), factor.at(shard * factor_step),
                   term.at(shard * term_step), y.at(at));
  }
};
template <class T>
struct NormBackwardOfPiece {
  Extents e;
  Piece piece;
  View<const T> x, dy, a, b, d;
  View<T> dx;
  inline void operator()(Index i) const {
    const Index unit = piece.latest_first(i);
    const Index shard = piece.shard(unit), at = (shard * e.batch + piece.begin(unit)) * e.channels * e.space;
    const Index c = shard * e.channels;
    channel_norm_backward(piece.count(unit), e.channels, e.space, x.at(at), dy.at(at), a.at(c), b.at(c),
                          d.at(c), dx.at(at));
  }
};
#endif

/// The moments of a plane.
template <class T>
struct PlaneMoments {
  Extents e;
  View<const T> x;
  View<T> plain, squares;
  template <class Group>
  RANKINE_KERNEL void operator()(Index plane, const Group& group) const {
    const Index shard = plane / e.channels / e.batch, c = plane % e.channels;
    const T* const from = x.at(plane * e.space);
    const T shift = x[(shard * e.batch * e.channels + c) * e.space];
    const T sum = group.template sum<T>(e.space, [=](Index i) { return from[i] - shift; });
    const T square = group.template fold<T>(e.space, [=](Index i, T all) {
      const T d = from[i] - shift;
      return multiply_add(d, d, all);
    });
    if (group.leader()) {
      plain[plane] = sum;
      squares[plane] = square;
    }
  }
};

/// The sums over the batch, and the shard's row of moments.
template <class T>
struct ShardMoments {
  Extents e;
  bool to_be_added;
  View<const T> x, plain, squares;
  View<double> moments;
  RANKINE_KERNEL void operator()(Index shard, const Columns& columns) const {
    const Index C = e.channels, space = e.space, first = shard * e.batch * C;
    const double count = static_cast<double>(e.batch * space);
    double* const row = moments.at(shard * (2 * C + 1));
    const T* const values = x.at(first * space);
    const bool add = to_be_added;
    const auto finish = [=](Index c, double sum, double square) {
      const double d = sum / count;
      const double middle = static_cast<double>(values[c * space]) + d;
      const double spread = square > count * d * d ? square - count * d * d : 0.0;
      row[c] = add ? count * middle : middle;
      row[C + c] = add ? spread + count * middle * middle : spread / count;
      if (c == 0) row[2 * C] = count;
    };
    if (space == 1) {
      column_sums<double, 2>(
          columns, e.batch,
          [=](Index n, Index c, double& sum, double& square) {
            const double d = static_cast<double>(values[n * C + c]) - static_cast<double>(values[c]);
            sum += d;
            square += d * d;
          },
          finish);
    } else {
      const T* const p = plain.at(first);
      const T* const q = squares.at(first);
      column_sums<double, 2>(
          columns, e.batch,
          [=](Index n, Index c, double& sum, double& square) {
            sum += static_cast<double>(p[n * C + c]);
            square += static_cast<double>(q[n * C + c]);
          },
          finish);
    }
  }
};

/// Mean and variance of a channel over the shards of a total.
struct TotalMoments {
  double mean, variance;
  KOKKOS_FORCEINLINE_FUNCTION TotalMoments(const double* total, Index channels, Index c, bool added,
                                           double runs) {
    mean = total[c] / runs;
    variance = total[channels + c] / runs;
    if (added) {
      variance = variance - mean * mean;
      if (!(variance > 0.0)) variance = 0.0;
    }
  }
};

struct Statistics {
  Index channels;
  bool added;
  double count_of_shard;
  View<const double> total;
  View<double> mean, variance, count;
  RANKINE_KERNEL void operator()(Index c) const {
    const double all = total[2 * channels];
    const TotalMoments moments(total.at(0), channels, c, added, added ? all : all / count_of_shard);
    mean[c] = moments.mean;
    variance[c] = moments.variance;
    if (c == 0) count[0] = added ? all : count_of_shard;
  }
};

template <class T>
struct NormCoefficients {
  Index channels;
  bool added;
  double epsilon;
  View<const double> moments;
  Numbers<T> gamma, beta;
  View<double> mean, inverse;
  View<T> factor, term;
  RANKINE_KERNEL void operator()(Index i) const {
    const Index shard = i / channels, c = i % channels;
    double middle, variance;
    if (added) {
      const TotalMoments total(moments.at(0), channels, c, true, moments[2 * channels]);
      middle = total.mean;
      variance = total.variance;
    } else {
      middle = moments[shard * (2 * channels + 1) + c];
      variance = moments[shard * (2 * channels + 1) + channels + c];
    }
    using std::sqrt;
    const double root = 1 / sqrt(variance + epsilon);
    mean[i] = middle;
    inverse[i] = root;
    const double a = root * static_cast<double>(gamma.at(shard, c, T(1)));
    factor[i] = static_cast<T>(a);
    term[i] = static_cast<T>(static_cast<double>(beta.at(shard, c, T(0))) - a * middle);
  }
};

template <class T>
struct AffineElement {
  Extents e;
  Numbers<T> factor, term;
  View<const T> x;
  View<T> y;
  RANKINE_KERNEL void operator()(Index i) const {
    const Index plane = i / e.space, c = plane % e.channels, shard = plane / e.channels / e.batch;
    y[i] = multiply_add(factor.at(shard, c, T(1)), x[i], term.at(shard, c, T(0)));
  }
};

/// The sums of a plane of the backward pass.
template <class T>
struct PlaneNormSums {
  Extents e;
  View<const T> x, dy;
  View<const double> mean;
  View<T> plain, centred;
  template <class Group>
  RANKINE_KERNEL void operator()(Index plane, const Group& group) const {
    const Index shard = plane / e.channels / e.batch, c = plane % e.channels;
    const T middle = static_cast<T>(mean[shard * e.channels + c]);
    const T* const from = x.at(plane * e.space);
    const T* const d = dy.at(plane * e.space);
    const T sum = group.template sum<T>(e.space, [=](Index i) { return d[i]; });
    const T bend = group.template fold<T>(
        e.space, [=](Index i, T all) { return multiply_add(d[i], from[i] - middle, all); });
    if (group.leader()) {
      plain[plane] = sum;
      centred[plane] = bend;
    }
  }
};

template <class T>
struct ShardNormSums {
  Extents e;
  View<const T> x, dy, plain, centred;
  View<const double> mean, inverse;
  Numbers<T> gamma;
  View<T> dgamma, dbeta;
  View<double> sums;
  RANKINE_KERNEL void operator()(Index shard, const Columns& columns) const {
    const Index C = e.channels, first = shard * e.batch * C;
    const double* const m = mean.at(shard * C);
    const auto finish = [&](Index c, double sum, double bend) {
      const double factor = static_cast<double>(gamma.at(shard, c, T(1)));
      dgamma[shard * C + c] = static_cast<T>(bend * inverse[shard * C + c]);
      dbeta[shard * C + c] = static_cast<T>(sum);
      sums[2 * shard * C + c] = sum * factor;
      sums[(2 * shard + 1) * C + c] = bend * factor;
    };
    if (e.space == 1) {
      const T* const values = x.at(first);
      const T* const d = dy.at(first);
      column_sums<double, 2>(
          columns, e.batch,
          [=](Index n, Index c, double& sum, double& bend) {
            const double v = static_cast<double>(d[n * C + c]);
            sum += v;
            bend += v * (static_cast<double>(values[n * C + c]) - m[c]);
          },
          finish);
    } else {
      const T* const p = plain.at(first);
      const T* const q = centred.at(first);
      column_sums<double, 2>(
          columns, e.batch,
          [=](Index n, Index c, double& sum, double& bend) {
            const double s = static_cast<double>(p[n * C + c]);
            sum += s;
            // What the rounding of the mean to T left out.
            bend +=
                static_cast<double>(q[n * C + c]) - s * (m[c] - static_cast<double>(static_cast<T>(m[c])));
          },
          finish);
    }
  }
};

template <class T>
struct BackwardCoefficients {
  Index shards, channels;
  double count_of_shard;
  View<const double> mean, inverse, sums, count;
  Numbers<T> gamma;
  View<T> out;  // [3][shard][channel]
  RANKINE_KERNEL void operator()(Index i) const {
    const Index shard = i / channels, c = i % channels, all = shards * channels;
    const Index at = count.defined() ? c : 2 * shard * channels + c;
    const double n = count.defined() ? count[0] : count_of_shard;
    const double r = inverse[i];
    const double bend = -r * r * r * sums[at + channels] / n;
    out[i] = static_cast<T>(r * static_cast<double>(gamma.at(shard, c, T(1))));
    out[all + i] = static_cast<T>(bend);
    out[2 * all + i] = static_cast<T>(-r * sums[at] / n - bend * mean[i]);
  }
};

template <class T>
struct NormBackwardElement {
  Extents e;
  View<const T> x, dy, a, b, d;
  View<T> dx;
  RANKINE_KERNEL void operator()(Index i) const {
    const Index plane = i / e.space, c = plane / e.channels / e.batch * e.channels + plane % e.channels;
    dx[i] = multiply_add(a[c], dy[i], multiply_add(b[c], x[i], d[c]));
  }
};

template <class T>
struct Follow {
  Index channels, step;
  double momentum;
  View<const double> fresh, count;
  View<T> running;
  RANKINE_KERNEL void operator()(Index i) const {
    const Index at = i / channels * step + i % channels;
    const double n = count.defined() ? count[0] : 0.0;
    const double bend = n > 1 ? n / (n - 1) : 1;
    const double old = static_cast<double>(running[at]);
    running[at] = static_cast<T>(old + momentum * (bend * fresh[i % channels] - old));
  }
};

// Rows.

// Parts of the rows over which the gradients of gamma and beta are summed: at most so many.
constexpr int kMaxRowParts = 32;

/// The rows of a shard in parts of whole groups.
struct RowParts {
  Index rows, per, parts;
  explicit RowParts(const RowNormExtents& e) : rows(e.rows) {
    per = (e.rows + kMaxRowParts - 1) / kMaxRowParts;
    const Index least = kChunk / (e.channels * e.space + 1) + 1;
    if (per < least) per = least;
    per = (per + e.groups - 1) / e.groups * e.groups;
    parts = e.rows == 0 ? 1 : (e.rows + per - 1) / per;
  }
  KOKKOS_FORCEINLINE_FUNCTION Index begin(Index part) const { return part * per; }
  KOKKOS_FORCEINLINE_FUNCTION Index end(Index part) const {
    return (part + 1) * per < rows ? (part + 1) * per : rows;
  }
};

/// Where the sums over the parts go before they are added: of gamma, then of beta, each
/// [shard][part][number].
template <class T>
struct PartSums {
  DevicePtr<T> gamma, beta;
  PartSums(const RowNormExtents& e, const RowParts& parts, DevicePtr<T> dgamma, DevicePtr<T> dbeta,
           DevicePtr<T> work) {
    const bool direct = parts.parts == 1;
    if (dgamma) gamma = direct ? dgamma : work;
    if (dbeta) beta = direct ? dbeta : work + e.shards * parts.parts * e.groups * e.channels;
  }
};

#if !RANKINE_ON_DEVICE
template <class T>
struct RowNormPart {
  RowNormExtents e;
  RowParts parts;
  T epsilon;
  View<const T> x;
  Numbers<T> gamma, beta;
  View<T> y, mean, inverse;
  inline void operator()(Index unit) const {
    const Index shard = unit / parts.parts, first = parts.begin(unit % parts.parts),
                count = parts.end(unit % parts.parts) - first, row = shard * e.rows + first,
                n = e.channels * e.space;
    (are_long(n)
         ? row_norm_forward<1, T>
         : row_norm_forward<rows_together<T, 1>(), T>)(count, e.groups, e.channels, e.space, e.centred,
                                                       epsilon, x.at(row * n),
                                                       gamma.data.defined()
                                                           ? gamma.data.at(shard * gamma.step)
                                                           : nullptr,
                                                       beta.data.defined() ? beta.data.at(shard * beta.step)
                                                                           : nullptr,
                                                       y.at(row * n), mean.defined() ? mean.at(row) : nullptr,
                                                       inverse.at(row));
  }
};
template <class T>
struct RowNormBackwardPart {
  RowNormExtents e;
  RowParts parts;
  View<const T> x, dy;
  Numbers<T> gamma;
  View<const T> mean, inverse;
  View<T> dx, dgamma, dbeta;
  inline void operator()(Index unit) const {
    const Index shard = unit / parts.parts, first = parts.begin(unit % parts.parts),
                count = parts.end(unit % parts.parts) - first, row = shard * e.rows + first,
                n = e.channels * e.space, numbers = e.groups * e.channels;
    T* const g = dgamma.defined() ? dgamma.at(unit * numbers) : nullptr;
    T* const b = dbeta.defined() ? dbeta.at(unit * numbers) : nullptr;
    for (Index i = 0; g != nullptr && i < numbers; ++i) g[i] = T(0);
    for (Index i = 0; b != nullptr && i < numbers; ++i) b[i] = T(0);
    (are_long(n)                              ? row_norm_backward<kLongRows<T>, T>
     : row_norm_backward < kVectorBytes == 64 ? 4
                                              : 2,
     T >)(count, e.groups, e.channels, e.space, e.centred, x.at(row * n), dy.at(row * n),
          gamma.data.defined() ? gamma.data.at(shard * gamma.step) : nullptr,
          mean.defined() ? mean.at(row) : nullptr, inverse.at(row), dx.at(row * n), g, b);
  }
};
#endif

template <class T>
struct RowNormRow {
  RowNormExtents e;
  T epsilon;
  View<const T> x;
  Numbers<T> gamma, beta;
  View<T> y, mean, inverse;
  template <class Group>
  RANKINE_KERNEL void operator()(Index row, const Group& group) const {
    using std::sqrt;
    const Index n = e.channels * e.space, space = e.space, shard = row / e.rows,
                first = row % e.rows % e.groups * e.channels;
    const T* const from = x.at(row * n);
    T* const to = y.at(row * n);
    T middle = 0;
    if (e.centred) middle = group.template sum<T>(n, [=](Index i) { return from[i]; }) / static_cast<T>(n);
    const T squares = group.template fold<T>(n, [=](Index i, T all) {
      const T d = from[i] - middle;
      return multiply_add(d, d, all);
    });
    const T factor = 1 / sqrt(squares / static_cast<T>(n) + epsilon);
    if (group.leader()) {
      inverse[row] = factor;
      if (e.centred) mean[row] = middle;
    }
    const Numbers<T>& g = gamma;
    const Numbers<T>& b = beta;
    if (space > 1 || !gamma.data.defined()) {
      group.each(n, [=, &g, &b](Index i) {
        const Index c = first + i / space;
        to[i] = multiply_add(from[i] - middle, factor * g.at(shard, c, T(1)), b.at(shard, c, T(0)));
      });
    } else {
      group.each(n, [=, &g, &b](Index i) {
        to[i] = multiply_add((from[i] - middle) * factor, g.at(shard, first + i, T(1)),
                             b.at(shard, first + i, T(0)));
      });
    }
  }
};

/// The sums of dy and of dy (x - mean) over the space of each channel of each row.
template <class T>
struct RowChannelSums {
  RowNormExtents e;
  View<const T> x, dy, mean;
  View<T> plain, centred;
  template <class Group>
  RANKINE_KERNEL void operator()(Index plane, const Group& group) const {
    const T middle = e.centred ? mean[plane / e.channels] : T(0);
    const T* const from = x.at(plane * e.space);
    const T* const d = dy.at(plane * e.space);
    const T sum = group.template sum<T>(e.space, [=](Index i) { return d[i]; });
    const T bend = group.template fold<T>(
        e.space, [=](Index i, T all) { return multiply_add(d[i], from[i] - middle, all); });
    if (group.leader()) {
      plain[plane] = sum;
      centred[plane] = bend;
    }
  }
};

template <class T>
struct RowNormBackwardRow {
  RowNormExtents e;
  View<const T> x, dy;
  Numbers<T> gamma;
  View<const T> mean, inverse, plain, centred;  // the last two where space > 1
  View<T> dx;
  template <class Group>
  RANKINE_KERNEL void operator()(Index row, const Group& group) const {
    const Index n = e.channels * e.space, space = e.space, shard = row / e.rows,
                first = row % e.rows % e.groups * e.channels;
    const T middle = e.centred ? mean[row] : T(0), scale = inverse[row], share = 1 / static_cast<T>(n);
    const T* const from = x.at(row * n);
    const T* const d = dy.at(row * n);
    T* const to = dx.at(row * n);
    const Numbers<T>& g = gamma;
    T total[2];
    if (space == 1) {
      total[0] = group.template sum<T>(
          n, [=, &g](Index i) { return rounded_product(d[i], g.at(shard, first + i, T(1))); });
      total[1] = group.template fold<T>(n, [=, &g](Index i, T all) {
        return multiply_add(rounded_product(d[i], g.at(shard, first + i, T(1))), from[i] - middle, all);
      });
    } else {
      const T* const p = plain.at(row * e.channels);
      const T* const q = centred.at(row * e.channels);
      total[0] = total[1] = T(0);
      for (Index c = 0; c < e.channels; ++c) {
        const T factor = g.at(shard, first + c, T(1));
        total[0] = multiply_add(p[c], factor, total[0]);
        total[1] = multiply_add(q[c], factor, total[1]);
      }
    }
    const T flat = e.centred ? total[0] * share * scale : T(0);
    const T bend = total[1] * share * scale * scale * scale;
    group.each(n, [=, &g](Index i) {
      const T factor = scale * g.at(shard, first + (space == 1 ? i : i / space), T(1));
      to[i] = multiply_add(factor, d[i], -multiply_add(bend, from[i] - middle, flat));
    });
  }
};

/// The gradients of gamma and beta over a part of the rows.
template <class T>
struct RowNumbersPart {
  RowNormExtents e;
  RowParts parts;
  View<const T> x, dy, mean, inverse, plain, centred;
  View<T> dgamma, dbeta;  // [shard][part][number]
  RANKINE_KERNEL void operator()(Index i) const {
    const Index numbers = e.groups * e.channels;
    const Index number = i % numbers, part = i / numbers % parts.parts, shard = i / numbers / parts.parts;
    const Index group = number / e.channels, c = number % e.channels;
    T g = 0, b = 0;
    for (Index r = parts.begin(part) + group; r < parts.end(part); r += e.groups) {
      const Index row = shard * e.rows + r, at = row * e.channels + c;
      const T scale = inverse[row];
      if (e.space == 1) {
        const T middle = e.centred ? mean[row] : T(0);
        g = multiply_add(dy[at], (x[at] - middle) * scale, g);
        b += dy[at];
      } else {
        g = multiply_add(centred[at], scale, g);
        b += plain[at];
      }
    }
    if (dgamma.defined()) dgamma[i] = g;
    if (dbeta.defined()) dbeta[i] = b;
  }
};

/// The sums of the parts in pairs.
template <class T>
struct AddParts {
  Index numbers, parts;
  View<const T> from[2];  // [shard][part][number] of gamma, of beta
  View<T> to[2];
  RANKINE_KERNEL void operator()(Index shard, const Columns& columns) const {
    for (int k = 0; k < 2; ++k) {
      if (!to[k].defined()) continue;
      const T* const mine = from[k].at(shard * parts * numbers);
      T* const out = to[k].at(shard * numbers);
      const Index n = numbers, all = parts;
#if RANKINE_ON_DEVICE
      columns.each([=](Index j) { out[j] = sum_in_pairs<T>(all, [=](Index p) { return mine[p * n + j]; }); });
#else
      for_chunks<T>(columns.end - columns.begin, [&](const auto& at) {
        at.to(out + columns.begin,
              sum_in_pairs<SimdOf<T>>(all, [&](Index p) { return at.of(mine + p * n + columns.begin); }));
      });
#endif
    }
  }
};

template <class T>
void add_parts(const RowNormExtents& e, const RowParts& parts, const PartSums<T>& sums, DevicePtr<T> dgamma,
               DevicePtr<T> dbeta) {
  if (parts.parts == 1 || (!dgamma && !dbeta)) return;
  const Index numbers = e.groups * e.channels;
  columns("row_norm_backward", e.shards, numbers,
          AddParts<T>{numbers, parts.parts, {sums.gamma, sums.beta}, {dgamma, dbeta}});
}

Index part_sums(const RowNormExtents& e) {
  const RowParts parts(e);
  return parts.parts == 1 ? 0 : 2 * e.shards * parts.parts * e.groups * e.channels;
}

template <class T>
void shard_moments(const ChannelExtents& e, bool to_be_added, DevicePtr<const T> x, DevicePtr<double> moments,
                   DevicePtr<const T> work) {
  columns("channel_moments", e.shards, e.channels,
          ShardMoments<T>{Extents(e), to_be_added, x, work, work + e.workspace() / 2, moments});
}
template <class T>
void shard_norm_sums(const ChannelExtents& e, DevicePtr<const T> x, DevicePtr<const T> dy,
                     DevicePtr<const double> mean, DevicePtr<const double> inverse, ChannelNumbers<T> gamma,
                     DevicePtr<T> dgamma, DevicePtr<T> dbeta, DevicePtr<double> sums,
                     DevicePtr<const T> work) {
  columns("channel_norm_sums", e.shards, e.channels,
          ShardNormSums<T>{Extents(e), x, dy, work, work + e.workspace() / 2, mean, inverse, gamma, dgamma,
                           dbeta, sums});
}
template <class T>
void backward_coefficients(const ChannelExtents& e, DevicePtr<const double> mean,
                           DevicePtr<const double> inverse, ChannelNumbers<T> gamma,
                           DevicePtr<const double> sums, DevicePtr<const double> count, DevicePtr<T> work) {
  units("channel_norm_backward", e.numbers(),
        BackwardCoefficients<T>{e.shards, e.channels, static_cast<double>(e.batch * e.space), mean, inverse,
                                sums, count, gamma, work});
}

/// Reads or writes so many arrays of x's size, with so many flops an element; what a channel or a row has
/// beside its elements is little.
template <class T>
Cost passes_over(Index elements, int arrays, double flops) {
  return {flops * static_cast<double>(elements), in_bytes<T>(arrays * elements)};
}
template <class T>
Cost passes_over(const ChannelExtents& e, int arrays, double flops) {
  return passes_over<T>(e.shards * e.batch * e.channels * e.space, arrays, flops);
}
template <class T>
Cost passes_over(const RowNormExtents& e, int arrays, double flops) {
  return passes_over<T>(e.shards * e.rows * e.channels * e.space, arrays, flops);
}

}  // namespace

template <class T>
void channel_moments(const ChannelExtents& e, bool to_be_added, DevicePtr<const T> x,
                     DevicePtr<double> moments, DevicePtr<T> work) {
  count_work("channel_moments", passes_over<T>(e, 1, 3));
  if (runs_portable(Tuned::channel_moments)) {
    if (e.space > 1)
      rows("channel_moments", e.shards * e.batch * e.channels, e.space,
           PlaneMoments<T>{Extents(e), x, work, work + e.workspace() / 2});
    shard_moments<T>(e, to_be_added, x, moments, work);
    return;
  }
#if !RANKINE_ON_DEVICE
  const Piece piece(e);
  if (e.space > 1)
    host_blocks("channel_moments", e.shards * piece.pieces,
                MomentsOfPiece<T>{Extents(e), piece, x, work, work + e.workspace() / 2});
  shard_moments<T>(e, to_be_added, x, moments, work);
#endif
}

void channel_statistics(const ChannelExtents& e, bool added, DevicePtr<const double> total,
                        DevicePtr<double> mean, DevicePtr<double> variance, DevicePtr<double> count) {
  count_work("channel_statistics", {3 * static_cast<double>(e.channels), in_bytes<double>(4 * e.channels)});
  units("channel_statistics", e.channels,
        Statistics{e.channels, added, static_cast<double>(e.batch * e.space), total, mean, variance, count});
}

template <class T>
void channel_norm_coefficients(const ChannelExtents& e, bool added, double epsilon,
                               DevicePtr<const double> moments, ChannelNumbers<T> gamma,
                               ChannelNumbers<T> beta, DevicePtr<double> mean, DevicePtr<double> inverse,
                               DevicePtr<T> factor, DevicePtr<T> term) {
  count_work("channel_norm_coefficients", {6 * static_cast<double>(e.numbers()),
                                           in_bytes<double>(4 * e.numbers()) + in_bytes<T>(4 * e.numbers())});
  units("channel_norm_coefficients", e.numbers(),
        NormCoefficients<T>{e.channels, added, epsilon, moments, gamma, beta, mean, inverse, factor, term});
}

template <class T>
void channel_affine(const ChannelExtents& e, DevicePtr<const T> x, ChannelNumbers<T> factor,
                    ChannelNumbers<T> term, DevicePtr<T> y) {
  count_work("channel_affine", passes_over<T>(e, 2, 2));
  if (runs_portable(Tuned::channel_affine)) {
    units("channel_affine", e.shards * e.batch * e.channels * e.space,
          AffineElement<T>{Extents(e), factor, term, x, y});
    return;
  }
#if !RANKINE_ON_DEVICE
  const Piece piece(e);
  host_blocks("channel_affine", e.shards * piece.pieces,
              AffineOfPiece<T>{Extents(e), piece, x, factor.data, term.data, factor.step, term.step, y});
#endif
}

template <class T>
void channel_norm_sums(const ChannelExtents& e, DevicePtr<const T> x, DevicePtr<const T> dy,
                       DevicePtr<const double> mean, DevicePtr<const double> inverse, ChannelNumbers<T> gamma,
                       DevicePtr<T> dgamma, DevicePtr<T> dbeta, DevicePtr<double> sums, DevicePtr<T> work) {
  count_work("channel_norm_sums", passes_over<T>(e, 2, 4));
  if (runs_portable(Tuned::channel_norm_sums)) {
    if (e.space > 1)
      rows("channel_norm_sums", e.shards * e.batch * e.channels, e.space,
           PlaneNormSums<T>{Extents(e), x, dy, mean, work, work + e.workspace() / 2});
    shard_norm_sums<T>(e, x, dy, mean, inverse, gamma, dgamma, dbeta, sums, work);
    return;
  }
#if !RANKINE_ON_DEVICE
  const Piece piece(e);
  if (e.space > 1)
    host_blocks("channel_norm_sums", e.shards * piece.pieces,
                NormSumsOfPiece<T>{Extents(e), piece, x, dy, mean, work, work + e.workspace() / 2});
  shard_norm_sums<T>(e, x, dy, mean, inverse, gamma, dgamma, dbeta, sums, work);
#endif
}

template <class T>
void channel_norm_backward(const ChannelExtents& e, DevicePtr<const T> x, DevicePtr<const T> dy,
                           DevicePtr<const double> mean, DevicePtr<const double> inverse,
                           ChannelNumbers<T> gamma, DevicePtr<const double> sums,
                           DevicePtr<const double> count, DevicePtr<T> dx, DevicePtr<T> work) {
  count_work("channel_norm_backward", passes_over<T>(e, 3, 4));
  if (runs_portable(Tuned::channel_norm_backward)) {
    backward_coefficients(e, mean, inverse, gamma, sums, count, work);
    units("channel_norm_backward", e.shards * e.batch * e.channels * e.space,
          NormBackwardElement<T>{Extents(e), x, dy, work, work + e.numbers(), work + 2 * e.numbers(), dx});
    return;
  }
#if !RANKINE_ON_DEVICE
  const Piece piece(e);
  backward_coefficients(e, mean, inverse, gamma, sums, count, work);
  host_blocks(
      "channel_norm_backward", e.shards * piece.pieces,
      NormBackwardOfPiece<T>{Extents(e), piece, x, dy, work, work + e.numbers(), work + 2 * e.numbers(), dx});
#endif
}

template <class T>
void follow_statistics(Index copies, Index channels, Index step, double momentum,
                       DevicePtr<const double> fresh, DevicePtr<const double> count, DevicePtr<T> running) {
  count_work("follow_statistics", {3 * static_cast<double>(copies * channels),
                                   in_bytes<T>(2 * copies * channels) + in_bytes<double>(2 * channels)});
  units("follow_statistics", copies * channels, Follow<T>{channels, step, momentum, fresh, count, running});
}

template <class T>
void row_norm_forward(const RowNormExtents& e, T epsilon, DevicePtr<const T> x, ChannelNumbers<T> gamma,
                      ChannelNumbers<T> beta, DevicePtr<T> y, DevicePtr<T> mean, DevicePtr<T> inverse) {
  count_work("row_norm_forward", passes_over<T>(e, 2, 8));
  if (runs_portable(Tuned::row_norm_forward)) {
    rows("row_norm_forward", e.shards * e.rows, e.channels * e.space,
         RowNormRow<T>{e, epsilon, x, gamma, beta, y, mean, inverse});
    return;
  }
#if !RANKINE_ON_DEVICE
  if (e.rows == 0) return;
  const RowParts parts(e);
  host_blocks("row_norm_forward", e.shards * parts.parts,
              RowNormPart<T>{e, parts, epsilon, x, gamma, beta, y, mean, inverse});
#endif
}

Index row_norm_workspace(const RowNormExtents& e) {
  // The last two: the sums over the space, which the portable bodies keep.
  return part_sums(e) + (e.space == 1 ? 0 : 2 * e.shards * e.rows * e.channels);
}

template <class T>
void row_norm_backward(const RowNormExtents& e, DevicePtr<const T> x, DevicePtr<const T> dy,
                       ChannelNumbers<T> gamma, DevicePtr<const T> mean, DevicePtr<const T> inverse,
                       DevicePtr<T> dx, DevicePtr<T> dgamma, DevicePtr<T> dbeta, DevicePtr<T> work) {
  count_work("row_norm_backward", passes_over<T>(e, 3, 12));
  if (runs_portable(Tuned::row_norm_backward)) {
    const RowParts parts(e);
    const PartSums<T> sums(e, parts, dgamma, dbeta, work);
    DevicePtr<T> plain, centred;
    if (e.space > 1) {
      plain = work + part_sums(e);
      centred = plain + e.shards * e.rows * e.channels;
      rows("row_norm_backward", e.shards * e.rows * e.channels, e.space,
           RowChannelSums<T>{e, x, dy, mean, plain, centred});
    }
    rows("row_norm_backward", e.shards * e.rows, e.channels * e.space,
         RowNormBackwardRow<T>{e, x, dy, gamma, mean, inverse, plain, centred, dx});
    if (!dgamma && !dbeta) return;
    units("row_norm_backward", e.shards * parts.parts * e.groups * e.channels,
          RowNumbersPart<T>{e, parts, x, dy, mean, inverse, plain, centred, sums.gamma, sums.beta});
    add_parts(e, parts, sums, dgamma, dbeta);
    return;
  }
#if !RANKINE_ON_DEVICE
  const RowParts parts(e);
  const PartSums<T> sums(e, parts, dgamma, dbeta, work);
  host_blocks("row_norm_backward", e.shards * parts.parts,
              RowNormBackwardPart<T>{e, parts, x, dy, gamma, mean, inverse, dx, sums.gamma, sums.beta});
  add_parts(e, parts, sums, dgamma, dbeta);
#endif
}

#define RANKINE_NORM(T)                                                                                    \
  template void channel_moments(const ChannelExtents&, bool, DevicePtr<const T>, DevicePtr<double>,        \
                                DevicePtr<T>);                                                             \
  template void channel_norm_coefficients(const ChannelExtents&, bool, double, DevicePtr<const double>,    \
                                          ChannelNumbers<T>, ChannelNumbers<T>, DevicePtr<double>,         \
                                          DevicePtr<double>, DevicePtr<T>, DevicePtr<T>);                  \
  template void channel_affine(const ChannelExtents&, DevicePtr<const T>, ChannelNumbers<T>,               \
                               ChannelNumbers<T>, DevicePtr<T>);                                           \
  template void channel_norm_sums(const ChannelExtents&, DevicePtr<const T>, DevicePtr<const T>,           \
                                  DevicePtr<const double>, DevicePtr<const double>, ChannelNumbers<T>,     \
                                  DevicePtr<T>, DevicePtr<T>, DevicePtr<double>, DevicePtr<T>);            \
  template void channel_norm_backward(const ChannelExtents&, DevicePtr<const T>, DevicePtr<const T>,       \
                                      DevicePtr<const double>, DevicePtr<const double>, ChannelNumbers<T>, \
                                      DevicePtr<const double>, DevicePtr<const double>, DevicePtr<T>,      \
                                      DevicePtr<T>);                                                       \
  template void follow_statistics(Index, Index, Index, double, DevicePtr<const double>,                    \
                                  DevicePtr<const double>, DevicePtr<T>);                                  \
  template void row_norm_forward(const RowNormExtents&, T, DevicePtr<const T>, ChannelNumbers<T>,          \
                                 ChannelNumbers<T>, DevicePtr<T>, DevicePtr<T>, DevicePtr<T>);             \
  template void row_norm_backward(const RowNormExtents&, DevicePtr<const T>, DevicePtr<const T>,           \
                                  ChannelNumbers<T>, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>, \
                                  DevicePtr<T>, DevicePtr<T>, DevicePtr<T>)
RANKINE_NORM(float);
RANKINE_NORM(double);
#undef RANKINE_NORM

}  // namespace rankine::kernels
