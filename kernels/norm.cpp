#include "kernels/norm.hpp"

#include <cmath>
#include <type_traits>
#include <vector>

#include "kernels/simd.hpp"

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

// Rows that are worked on together, so that their chains of additions overlap and what all of them read is
// read once: as many as their sums find registers for.
template <class T>
constexpr int kRowsTogether = kVectorBytes < 64 ? 1
                              : sizeof(T) == 4  ? 4
                                                : 2;
constexpr int kShortRowsTogether = 4;

// f(first row, number) for all rows of n values, the number a constant.
template <class T, class F>
void for_rows(Index rows, Index n, F f) {
  const auto all = [&](auto together) {
    constexpr int R = together;
    Index r = 0;
    for (; r + R <= rows; r += R) f(r, together);
    for (; r < rows; ++r) f(r, std::integral_constant<int, 1>());
  };
  if (n < kSumLanes) {
    all(std::integral_constant<int, kShortRowsTogether>());
  } else {
    all(std::integral_constant<int, kRowsTogether<T>>());
  }
}

}  // namespace

template <class T>
void channel_moments(Index batch, Index channels, Index space, const T* x, double* mean, double* deviation) {
  // Sums of the distance from the channel's first value and of its square: what cancels is of the size of the
  // deviation.
  for (Index c = 0; c < channels; ++c) mean[c] = deviation[c] = 0;
  const double count = static_cast<double>(batch * space);
  if (batch * space == 0) return;
  if (space == 1) {
    for (Index n = 0; n < batch; ++n)
      for (Index c = 0; c < channels; ++c) {
        const double d = static_cast<double>(x[n * channels + c]) - static_cast<double>(x[c]);
        mean[c] += d;
        deviation[c] += d * d;
      }
  } else {
    for (Index n = 0; n < batch; ++n)
      for (Index c = 0; c < channels; ++c) {
        const T* at = x + (n * channels + c) * space;
        const T shift = x[c * space];
        const SimdOf<T> shifts = broadcast(shift);
        T sums[2];
        row_sums<T, 2>(
            space,
            [&](const auto& chunk, SimdOf<T>* acc) {
              const SimdOf<T> d = chunk.keep(chunk.of(at) - shifts);
              acc[0] = acc[0] + d;
              acc[1] = multiply_add_lanes<T>(d, d, acc[1]);
            },
            [&](Index i, T* acc) {
              const T d = at[i] - shift;
              acc[0] = acc[0] + d;
              acc[1] = multiply_add(d, d, acc[1]);
            },
            sums);
        mean[c] += static_cast<double>(sums[0]);
        deviation[c] += static_cast<double>(sums[1]);
      }
  }
  for (Index c = 0; c < channels; ++c) {
    const double d = mean[c] / count;
    mean[c] = static_cast<double>(x[c * space]) + d;
    deviation[c] = deviation[c] > count * d * d ? deviation[c] - count * d * d : 0.0;
  }
}

template <class T>
void channel_affine(Index batch, Index channels, Index space, const T* x, const T* factor, const T* term,
                    T* y) {
  if (space == 1) {
    for (Index n = 0; n < batch; ++n, x += channels, y += channels)
      for (Index c = 0; c < channels; ++c) y[c] = multiply_add(factor[c], x[c], term[c]);
    return;
  }
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c, x += space, y += space) {
      const SimdOf<T> a = broadcast(factor[c]), b = broadcast(term[c]);
      for_chunks<T>(space, [&](const auto& at) { at.to(y, multiply_add_lanes<T>(a, at.of(x), b)); });
    }
}

template <class T>
void channel_norm_sums(Index batch, Index channels, Index space, const T* x, const T* dy, const double* mean,
                       double* plain, double* centred) {
  for (Index c = 0; c < channels; ++c) plain[c] = centred[c] = 0;
  if (space == 1) {
    for (Index n = 0; n < batch; ++n, x += channels, dy += channels)
      for (Index c = 0; c < channels; ++c) {
        const double d = static_cast<double>(dy[c]);
        plain[c] += d;
        centred[c] += d * (static_cast<double>(x[c]) - mean[c]);
      }
    return;
  }
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c, x += space, dy += space) {
      const T middle = static_cast<T>(mean[c]);
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
      plain[c] += static_cast<double>(sums[0]);
      centred[c] += static_cast<double>(sums[1]) -
                    static_cast<double>(sums[0]) * (mean[c] - static_cast<double>(middle));
    }
}

template <class T>
void channel_norm_backward(Index batch, Index channels, Index space, const T* x, const T* dy, const T* a,
                           const T* b, const T* d, T* dx) {
  if (space == 1) {
    for (Index n = 0; n < batch; ++n, x += channels, dy += channels, dx += channels)
      for (Index c = 0; c < channels; ++c) dx[c] = multiply_add(a[c], dy[c], multiply_add(b[c], x[c], d[c]));
    return;
  }
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c, x += space, dy += space, dx += space) {
      const SimdOf<T> p = broadcast(a[c]), q = broadcast(b[c]), r = broadcast(d[c]);
      for_chunks<T>(space, [&](const auto& at) {
        at.to(dx, multiply_add_lanes<T>(p, at.of(dy), multiply_add_lanes<T>(q, at.of(x), r)));
      });
    }
}

namespace {

// The factors of R rows.
template <int R, class T>
void moments_of_rows(Index n, bool centred, T epsilon, const T* x, T* middle, T* factor) {
  for (int j = 0; j < R; ++j) middle[j] = 0;
  if (centred) {
    row_sums<T, R>(
        n,
        [&](const auto& at, SimdOf<T>* acc) {
          for (int j = 0; j < R; ++j) acc[j] = acc[j] + at.of(x + j * n);
        },
        [&](Index i, T* acc) {
          for (int j = 0; j < R; ++j) acc[j] = acc[j] + x[j * n + i];
        },
        middle);
    for (int j = 0; j < R; ++j) middle[j] /= static_cast<T>(n);
  }
  T squares[R];
  row_sums<T, R>(
      n,
      [&](const auto& at, SimdOf<T>* acc) {
        for (int j = 0; j < R; ++j) {
          const SimdOf<T> d = at.keep(at.of(x + j * n) - broadcast(middle[j]));
          acc[j] = multiply_add_lanes<T>(d, d, acc[j]);
        }
      },
      [&](Index i, T* acc) {
        for (int j = 0; j < R; ++j) {
          const T d = x[j * n + i] - middle[j];
          acc[j] = multiply_add(d, d, acc[j]);
        }
      },
      squares);
  for (int j = 0; j < R; ++j) factor[j] = 1 / std::sqrt(squares[j] / static_cast<T>(n) + epsilon);
}

// R rows of n values with a gamma and a beta each; null: 1 and 0.
template <int R, class T>
void flat_rows_forward(Index n, bool centred, T epsilon, const T* x, const T* g, const T* b, T* y, T* mean,
                       T* inverse) {
  T middle[R], factor[R];
  moments_of_rows<R>(n, centred, epsilon, x, middle, factor);
  SimdOf<T> middles[R], factors[R];
  for (int j = 0; j < R; ++j) {
    if (centred) mean[j] = middle[j];
    inverse[j] = factor[j];
    middles[j] = broadcast(middle[j]);
    factors[j] = broadcast(factor[j]);
  }
  const auto write = [&](auto f) {
    for_chunks<T>(n, [&](const auto& at) {
      const SimdOf<T> gs = g == nullptr ? SimdOf<T>{} : at.of(g), bs = b == nullptr ? SimdOf<T>{} : at.of(b);
      for (int j = 0; j < R; ++j) at.to(y + j * n, f(at.of(x + j * n) - middles[j], factors[j], gs, bs));
    });
  };
  using V = SimdOf<T>;
  if (g == nullptr) {
    write([](V d, V scale, V, V shift) { return multiply_add_lanes<T>(d, scale, shift); });
  } else if (b == nullptr) {
    write([](V d, V scale, V gs, V) { return d * scale * gs; });
  } else {
    write([](V d, V scale, V gs, V bs) { return multiply_add_lanes<T>(d * scale, gs, bs); });
  }
}

// What sums over a row give to each dx: dx = p dy - (plain + bend (x - mean)).
template <class T>
struct RowSlopes {
  SimdOf<T> plain = {}, bend = {};
  RowSlopes() = default;
  RowSlopes(bool centred, T total, T total_centred, T share, T scale)
      : plain(broadcast(centred ? total * share * scale : T(0))),
        bend(broadcast(total_centred * share * scale * scale * scale)) {}
  SimdOf<T> operator()(SimdOf<T> p, SimdOf<T> d, SimdOf<T> distance) const {
    return multiply_add_lanes<T>(p, d, -multiply_add_lanes<T>(bend, distance, plain));
  }
};

template <int R, class T>
void flat_rows_backward(Index n, bool centred, const T* x, const T* dy, const T* g, const T* mean,
                        const T* inverse, T* dx, T* dgamma, T* dbeta) {
  const T share = 1 / static_cast<T>(n);
  T middle[R];
  for (int j = 0; j < R; ++j) middle[j] = centred ? mean[j] : T(0);
  T total[2 * R];  // sums of u, sums of u (x - mean)
  row_sums<T, 2 * R>(
      n,
      [&](const auto& at, SimdOf<T>* acc) {
        const SimdOf<T> gs = at.of(g);
        for (int j = 0; j < R; ++j) {
          const SimdOf<T> u = at.of(dy + j * n) * gs;
          acc[j] = acc[j] + u;
          acc[R + j] = multiply_add_lanes<T>(u, at.of(x + j * n) - broadcast(middle[j]), acc[R + j]);
        }
      },
      [&](Index i, T* acc) {
        for (int j = 0; j < R; ++j) {
          const T u = dy[j * n + i] * g[i];
          acc[j] = acc[j] + u;
          acc[R + j] = multiply_add(u, x[j * n + i] - middle[j], acc[R + j]);
        }
      },
      total);
  SimdOf<T> middles[R], scales[R];
  RowSlopes<T> slope[R];
  for (int j = 0; j < R; ++j) {
    middles[j] = broadcast(middle[j]);
    scales[j] = broadcast(inverse[j]);
    slope[j] = RowSlopes<T>(centred, total[j], total[R + j], share, inverse[j]);
  }
  for_chunks<T>(n, [&](const auto& at) {
    const SimdOf<T> gs = at.of(g);
    SimdOf<T> gammas = dgamma == nullptr ? SimdOf<T>{} : at.of(dgamma);
    SimdOf<T> betas = dbeta == nullptr ? SimdOf<T>{} : at.of(dbeta);
    for (int j = 0; j < R; ++j) {
      const SimdOf<T> d = at.of(dy + j * n), distance = at.of(x + j * n) - middles[j];
      at.to(dx + j * n, slope[j](scales[j] * gs, d, distance));
      gammas = multiply_add_lanes<T>(d, distance * scales[j], gammas);
      betas = betas + d;
    }
    if (dgamma != nullptr) at.to(dgamma, gammas);
    if (dbeta != nullptr) at.to(dbeta, betas);
  });
}

}  // namespace

template <class T>
void row_norm_forward(Index rows, Index groups, Index channels, Index space, bool centred, T epsilon,
                      const T* x, const T* gamma, const T* beta, T* y, T* mean, T* inverse) {
  const Index n = channels * space;
  const bool alike = gamma == nullptr && beta == nullptr, flat = space == 1 || alike;
  if (flat && (groups == 1 || alike)) {
    for_rows<T>(rows, n, [&](Index r, auto together) {
      flat_rows_forward<together>(n, centred, epsilon, x + r * n, gamma, beta, y + r * n,
                                  centred ? mean + r : nullptr, inverse + r);
    });
    return;
  }
  for (Index r = 0; r < rows; ++r) {
    const T* from = x + r * n;
    T* to = y + r * n;
    const Index first = r % groups * channels;
    const T* g = gamma == nullptr ? nullptr : gamma + first;
    const T* b = beta == nullptr ? nullptr : beta + first;
    if (flat) {
      flat_rows_forward<1>(n, centred, epsilon, from, g, b, to, centred ? mean + r : nullptr, inverse + r);
      continue;
    }
    T middle;
    moments_of_rows<1>(n, centred, epsilon, from, &middle, inverse + r);
    if (centred) mean[r] = middle;
    const SimdOf<T> middles = broadcast(middle);
    for (Index c = 0; c < channels; ++c, from += space, to += space) {
      const SimdOf<T> p = broadcast(g == nullptr ? inverse[r] : inverse[r] * g[c]);
      const SimdOf<T> q = broadcast(b == nullptr ? T(0) : b[c]);
      for_chunks<T>(space,
                    [&](const auto& at) { at.to(to, multiply_add_lanes<T>(at.of(from) - middles, p, q)); });
    }
  }
}

template <class T>
void row_norm_backward(Index rows, Index groups, Index channels, Index space, bool centred, const T* x,
                       const T* dy, const T* gamma, const T* mean, const T* inverse, T* dx, T* dgamma,
                       T* dbeta) {
  const Index n = channels * space;
  const std::vector<T> ones(gamma == nullptr ? static_cast<std::size_t>(groups * channels) : 0, T(1));
  const T* const factors = gamma == nullptr ? ones.data() : gamma;
  const auto from = [](T* sums, Index first) { return sums == nullptr ? nullptr : sums + first; };
  if (space == 1 && groups == 1) {
    for_rows<T>(rows, n, [&](Index r, auto together) {
      flat_rows_backward<together>(n, centred, x + r * n, dy + r * n, factors, centred ? mean + r : nullptr,
                                   inverse + r, dx + r * n, dgamma, dbeta);
    });
    return;
  }
  for (Index r = 0; r < rows; ++r) {
    const Index first = r % groups * channels;
    const T* g = factors + first;
    T* const dg = from(dgamma, first);
    T* const db = from(dbeta, first);
    if (space == 1) {
      flat_rows_backward<1>(n, centred, x + r * n, dy + r * n, g, centred ? mean + r : nullptr, inverse + r,
                            dx + r * n, dg, db);
      continue;
    }
    const T middle = centred ? mean[r] : T(0), scale = inverse[r];
    const SimdOf<T> middles = broadcast(middle);
    T total[2] = {0, 0};  // sum u, sum u (x - mean)
    for (Index c = 0; c < channels; ++c) {
      const T* xc = x + r * n + c * space;
      const T* dc = dy + r * n + c * space;
      T sums[2];
      row_sums<T, 2>(
          space,
          [&](const auto& at, SimdOf<T>* acc) {
            const SimdOf<T> d = at.of(dc);
            acc[0] = acc[0] + d;
            acc[1] = multiply_add_lanes<T>(d, at.of(xc) - middles, acc[1]);
          },
          [&](Index i, T* acc) {
            acc[0] = acc[0] + dc[i];
            acc[1] = multiply_add(dc[i], xc[i] - middle, acc[1]);
          },
          sums);
      if (dg != nullptr) dg[c] = multiply_add(sums[1], scale, dg[c]);
      if (db != nullptr) db[c] += sums[0];
      total[0] = multiply_add(sums[0], g[c], total[0]);
      total[1] = multiply_add(sums[1], g[c], total[1]);
    }
    const RowSlopes<T> slope(centred, total[0], total[1], 1 / static_cast<T>(n), scale);
    for (Index c = 0; c < channels; ++c) {
      const SimdOf<T> p = broadcast(scale * g[c]);
      const Index begin = r * n + c * space;
      for_chunks<T>(space, [&](const auto& at) {
        at.to(dx + begin, slope(p, at.of(dy + begin), at.of(x + begin) - middles));
      });
    }
  }
}

#define RANKINE_NORM(T)                                                                                      \
  template void channel_moments(Index, Index, Index, const T*, double*, double*);                            \
  template void channel_affine(Index, Index, Index, const T*, const T*, const T*, T*);                       \
  template void channel_norm_sums(Index, Index, Index, const T*, const T*, const double*, double*, double*); \
  template void channel_norm_backward(Index, Index, Index, const T*, const T*, const T*, const T*, const T*, \
                                      T*);                                                                   \
  template void row_norm_forward(Index, Index, Index, Index, bool, T, const T*, const T*, const T*, T*, T*,  \
                                 T*);                                                                        \
  template void row_norm_backward(Index, Index, Index, Index, bool, const T*, const T*, const T*, const T*,  \
                                  const T*, T*, T*, T*)
RANKINE_NORM(float);
RANKINE_NORM(double);
#undef RANKINE_NORM

}  // namespace rankine::kernels
