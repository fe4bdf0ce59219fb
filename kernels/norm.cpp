#include "kernels/norm.hpp"

#include <cmath>
#include <vector>

#include "kernels/simd.hpp"

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

// Sums of K functions of n elements, each in 4 x W lanes: f(vectors at i) and its twin g for single elements
// add to what they are given.
template <class T, int K, class F, class G>
void lane_sums(Index n, F f, G g, T* sums) {
  constexpr int W = Simd<T>::width;
  constexpr int U = 4;
  SimdOf<T> acc[U][K] = {};
  Index i = 0;
  for (; i + U * W <= n; i += U * W)
    for (int u = 0; u < U; ++u) f(i + u * W, acc[u]);
  for (; i + W <= n; i += W) f(i, acc[0]);
  T rest[K] = {};
  for (; i < n; ++i) g(i, rest);
  for (int k = 0; k < K; ++k)
    sums[k] = lane_sum<T>((acc[0][k] + acc[1][k]) + (acc[2][k] + acc[3][k])) + rest[k];
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
        lane_sums<T, 2>(
            space,
            [&](Index i, SimdOf<T>* acc) {
              const SimdOf<T> d = load(at + i) - shifts;
              acc[0] += d;
              acc[1] += d * d;
            },
            [&](Index i, T* acc) {
              const T d = at[i] - shift;
              acc[0] += d;
              acc[1] += d * d;
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
      for (Index c = 0; c < channels; ++c) y[c] = factor[c] * x[c] + term[c];
    return;
  }
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c, x += space, y += space) {
      const T a = factor[c], b = term[c];
      for (Index i = 0; i < space; ++i) y[i] = a * x[i] + b;
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
      lane_sums<T, 2>(
          space,
          [&](Index i, SimdOf<T>* acc) {
            const SimdOf<T> d = load(dy + i);
            acc[0] += d;
            acc[1] += d * (load(x + i) - middles);
          },
          [&](Index i, T* acc) {
            acc[0] += dy[i];
            acc[1] += dy[i] * (x[i] - middle);
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
      for (Index c = 0; c < channels; ++c) dx[c] = a[c] * dy[c] + (b[c] * x[c] + d[c]);
    return;
  }
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c, x += space, dy += space, dx += space) {
      const T p = a[c], q = b[c], r = d[c];
      for (Index i = 0; i < space; ++i) dx[i] = p * dy[i] + (q * x[i] + r);
    }
}

template <class T>
void row_norm_forward(Index rows, Index groups, Index channels, Index space, bool centred, T epsilon,
                      const T* x, const T* gamma, const T* beta, T* y, T* mean, T* inverse) {
  const Index n = channels * space;
  for (Index r = 0; r < rows; ++r, x += n, y += n) {
    T middle = 0;
    if (centred) {
      lane_sums<T, 1>(
          n, [&](Index i, SimdOf<T>* acc) { acc[0] += load(x + i); },
          [&](Index i, T* acc) { acc[0] += x[i]; }, &middle);
      middle /= static_cast<T>(n);
      mean[r] = middle;
    }
    const SimdOf<T> middles = broadcast(middle);
    T squares = 0;
    lane_sums<T, 1>(
        n,
        [&](Index i, SimdOf<T>* acc) {
          const SimdOf<T> d = load(x + i) - middles;
          acc[0] += d * d;
        },
        [&](Index i, T* acc) {
          const T d = x[i] - middle;
          acc[0] += d * d;
        },
        &squares);
    const T factor = 1 / std::sqrt(squares / static_cast<T>(n) + epsilon);
    inverse[r] = factor;
    const Index first = r % groups * channels;
    const T* g = gamma == nullptr ? nullptr : gamma + first;
    const T* b = beta == nullptr ? nullptr : beta + first;
    if (space > 1 || g == nullptr) {
      const Index count = g == nullptr && b == nullptr ? 1 : channels, length = n / count;
      for (Index c = 0; c < count; ++c) {
        const T p = g == nullptr ? factor : factor * g[c], q = b == nullptr ? T(0) : b[c];
        for (Index i = c * length; i < (c + 1) * length; ++i) y[i] = (x[i] - middle) * p + q;
      }
    } else if (b == nullptr) {
      for (Index i = 0; i < n; ++i) y[i] = (x[i] - middle) * factor * g[i];
    } else {
      for (Index i = 0; i < n; ++i) y[i] = (x[i] - middle) * factor * g[i] + b[i];
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
    const SimdOf<T> middles = broadcast(middle);
    T total[2] = {0, 0};  // sum u, sum u (x - mean)
    if (space == 1) {
      lane_sums<T, 2>(
          n,
          [&](Index i, SimdOf<T>* acc) {
            const SimdOf<T> u = load(dy + i) * load(g + i);
            acc[0] += u;
            acc[1] += u * (load(x + i) - middles);
          },
          [&](Index i, T* acc) {
            const T u = dy[i] * g[i];
            acc[0] += u;
            acc[1] += u * (x[i] - middle);
          },
          total);
      if (dgamma != nullptr)
        for (Index i = 0; i < n; ++i) dgamma[first + i] += dy[i] * ((x[i] - middle) * scale);
      if (dbeta != nullptr)
        for (Index i = 0; i < n; ++i) dbeta[first + i] += dy[i];
    } else {
      for (Index c = 0; c < channels; ++c) {
        const T* xc = x + c * space;
        const T* dc = dy + c * space;
        T sums[2];
        lane_sums<T, 2>(
            space,
            [&](Index i, SimdOf<T>* acc) {
              const SimdOf<T> d = load(dc + i);
              acc[0] += d;
              acc[1] += d * (load(xc + i) - middles);
            },
            [&](Index i, T* acc) {
              acc[0] += dc[i];
              acc[1] += dc[i] * (xc[i] - middle);
            },
            sums);
        if (dgamma != nullptr) dgamma[first + c] += sums[1] * scale;
        if (dbeta != nullptr) dbeta[first + c] += sums[0];
        total[0] += sums[0] * g[c];
        total[1] += sums[1] * g[c];
      }
    }
    const T plain = centred ? total[0] * share * scale : T(0);
    const T bend = total[1] * share * scale * scale * scale;
    if (space == 1) {
      for (Index i = 0; i < n; ++i) dx[i] = (scale * g[i]) * dy[i] - (plain + bend * (x[i] - middle));
    } else {
      for (Index c = 0; c < channels; ++c) {
        const T p = scale * g[c];
        for (Index i = c * space; i < (c + 1) * space; ++i)
          dx[i] = p * dy[i] - (plain + bend * (x[i] - middle));
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
