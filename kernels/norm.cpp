#include "kernels/norm.hpp"

#include <cmath>
#include <vector>

#include "kernels/simd.hpp"

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

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

template <class T>
void row_norm_forward(Index rows, Index groups, Index channels, Index space, bool centred, T epsilon,
                      const T* x, const T* gamma, const T* beta, T* y, T* mean, T* inverse) {
  const Index n = channels * space;
  for (Index r = 0; r < rows; ++r, x += n, y += n) {
    T middle = 0;
    if (centred) {
      middle = row_sum(n, x) / static_cast<T>(n);
      mean[r] = middle;
    }
    const SimdOf<T> middles = broadcast(middle);
    T squares;
    row_sums<T, 1>(
        n,
        [&](const auto& at, SimdOf<T>* acc) {
          const SimdOf<T> d = at.keep(at.of(x) - middles);
          acc[0] = multiply_add_lanes<T>(d, d, acc[0]);
        },
        [&](Index i, T* acc) {
          const T d = x[i] - middle;
          acc[0] = multiply_add(d, d, acc[0]);
        },
        &squares);
    const T factor = 1 / std::sqrt(squares / static_cast<T>(n) + epsilon);
    inverse[r] = factor;
    const Index first = r % groups * channels;
    const T* g = gamma == nullptr ? nullptr : gamma + first;
    const T* b = beta == nullptr ? nullptr : beta + first;
    const SimdOf<T> factors = broadcast(factor);
    if (space > 1 || g == nullptr) {
      const Index count = g == nullptr && b == nullptr ? 1 : channels, length = n / count;
      for (Index c = 0; c < count; ++c) {
        const SimdOf<T> p = broadcast(g == nullptr ? factor : factor * g[c]);
        const SimdOf<T> q = broadcast(b == nullptr ? T(0) : b[c]);
        const T* from = x + c * length;
        T* to = y + c * length;
        for_chunks<T>(length,
                      [&](const auto& at) { at.to(to, multiply_add_lanes<T>(at.of(from) - middles, p, q)); });
      }
    } else if (b == nullptr) {
      for_chunks<T>(n, [&](const auto& at) { at.to(y, (at.of(x) - middles) * factors * at.of(g)); });
    } else {
      for_chunks<T>(n, [&](const auto& at) {
        at.to(y, multiply_add_lanes<T>((at.of(x) - middles) * factors, at.of(g), at.of(b)));
      });
    }
  }
}

template <class T>
void row_norm_backward(Index rows, Index groups, Index channels, Index space, bool centred, const T* x,
                       const T* dy, const T* gamma, const T* mean, const T* inverse, T* dx, T* dgamma,
                       T* dbeta) {
  const Index n = channels * space;
  const T share = 1 / static_cast<T>(n);
  const std::vector<T> ones(gamma == nullptr ? static_cast<std::size_t>(groups * channels) : 0, T(1));
  const T* const factors = gamma == nullptr ? ones.data() : gamma;
  for (Index r = 0; r < rows; ++r, x += n, dy += n, dx += n) {
    const Index first = r % groups * channels;
    const T* g = factors + first;
    const T middle = centred ? mean[r] : T(0), scale = inverse[r];
    const SimdOf<T> middles = broadcast(middle), scales = broadcast(scale);
    T total[2] = {0, 0};  // sum u, sum u (x - mean)
    if (space == 1) {
      row_sums<T, 2>(
          n,
          [&](const auto& at, SimdOf<T>* acc) {
            const SimdOf<T> u = at.of(dy) * at.of(g);
            acc[0] = acc[0] + u;
            acc[1] = multiply_add_lanes<T>(u, at.of(x) - middles, acc[1]);
          },
          [&](Index i, T* acc) {
            const T u = dy[i] * g[i];
            acc[0] = acc[0] + u;
            acc[1] = multiply_add(u, x[i] - middle, acc[1]);
          },
          total);
    } else {
      for (Index c = 0; c < channels; ++c) {
        const T* xc = x + c * space;
        const T* dc = dy + c * space;
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
        if (dgamma != nullptr) dgamma[first + c] = multiply_add(sums[1], scale, dgamma[first + c]);
        if (dbeta != nullptr) dbeta[first + c] += sums[0];
        total[0] = multiply_add(sums[0], g[c], total[0]);
        total[1] = multiply_add(sums[1], g[c], total[1]);
      }
    }
    const SimdOf<T> plain = broadcast(centred ? total[0] * share * scale : T(0));
    const SimdOf<T> bend = broadcast(total[1] * share * scale * scale * scale);
    const auto slope = [&](SimdOf<T> p, SimdOf<T> d, SimdOf<T> distance) {
      return multiply_add_lanes<T>(p, d, -multiply_add_lanes<T>(bend, distance, plain));
    };
    if (space == 1) {
      for_chunks<T>(n, [&](const auto& at) {
        const SimdOf<T> d = at.of(dy), distance = at.of(x) - middles;
        at.to(dx, slope(scales * at.of(g), d, distance));
        if (dgamma != nullptr) {
          T* sum = dgamma + first;
          at.to(sum, multiply_add_lanes<T>(d, distance * scales, at.of(sum)));
        }
        if (dbeta != nullptr) at.to(dbeta + first, at.of(dbeta + first) + d);
      });
    } else {
      for (Index c = 0; c < channels; ++c) {
        const SimdOf<T> p = broadcast(scale * g[c]);
        const T* xc = x + c * space;
        const T* dc = dy + c * space;
        T* to = dx + c * space;
        for_chunks<T>(space, [&](const auto& at) { at.to(to, slope(p, at.of(dc), at.of(xc) - middles)); });
      }
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
