#include "kernels/mode_mixing.hpp"

#include <type_traits>

#include "kernels/simd.hpp"

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

// Rows a(u, s), x(v, s) and y(u, v) of numbers [2][modes], by their distances.
template <class T>
struct Mixing {
  Index results, columns, terms, modes;  // of u, v and s
  const T* a;
  Index a_u, a_s;
  const T* x;
  Index x_v, x_s;
  T* y;
  Index y_u, y_v;
};

// y(u, v) = sum_s a(u, s) x(v, s), or conj(a) x, for NV values of v and NK vectors of modes that begin at k.
// If `rest` is not 0, only so many lanes are there.
template <bool kConjugate, int NV, int NK, class T>
void mix_lanes(const Mixing<T>& m, Index u, Index v, Index k, Index rest) {
  using V = SimdOf<T>;
  constexpr int W = Simd<T>::width;
  const auto read = [rest](const T* from) { return rest == 0 ? load(from) : load_first(from, rest); };
  V re[NV][NK] = {}, im[NV][NK] = {};
  const T* a = m.a + u * m.a_u + k;
  const T* x = m.x + v * m.x_v + k;
  for (Index s = 0; s < m.terms; ++s, a += m.a_s, x += m.x_s)
    for (int l = 0; l < NK; ++l) {
      const V p = in_register(read(a + l * W)), q = in_register(read(a + l * W + m.modes));
      for (int j = 0; j < NV; ++j) {
        const V c = read(x + j * m.x_v + l * W), d = read(x + j * m.x_v + l * W + m.modes);
        re[j][l] = multiply_add_lanes<T>(p, c, re[j][l]);
        im[j][l] = multiply_add_lanes<T>(p, d, im[j][l]);
        re[j][l] = multiply_add_lanes<T>(kConjugate ? q : -q, d, re[j][l]);
        im[j][l] = multiply_add_lanes<T>(kConjugate ? -q : q, c, im[j][l]);
      }
    }
  for (int j = 0; j < NV; ++j)
    for (int l = 0; l < NK; ++l) {
      T* y = m.y + u * m.y_u + (v + j) * m.y_v + k + l * W;
      if (rest == 0) {
        store(y, re[j][l]);
        store(y + m.modes, im[j][l]);
      } else {
        store_first(y, re[j][l], rest);
        store_first(y + m.modes, im[j][l], rest);
      }
    }
}

// Values of v whose sums and operands fill the registers.
constexpr int kTogether = kVectorBytes == 64 ? 4 : 2;

template <bool kConjugate, class T>
void mix(const Mixing<T>& m) {
  constexpr int W = Simd<T>::width;
  const auto at = [&m](Index u, Index v, auto values) {
    constexpr int NV = values;
    Index k = 0;
    for (; k + 2 * W <= m.modes; k += 2 * W) mix_lanes<kConjugate, NV, 2>(m, u, v, k, 0);
    for (; k < m.modes; k += W) mix_lanes<kConjugate, NV, 1>(m, u, v, k, m.modes - k < W ? m.modes - k : 0);
  };
  for (Index u = 0; u < m.results; ++u) {
    Index v = 0;
    if (m.terms > 1)  // or nothing of a(u, s) would be used twice
      for (; v + kTogether <= m.columns; v += kTogether) at(u, v, std::integral_constant<int, kTogether>());
    for (; v < m.columns; ++v) at(u, v, std::integral_constant<int, 1>());
  }
}

}  // namespace

template <class T>
void mix_modes(const ModeMixing& shape, Index first, Index count, const T* w, const T* x, T* y) {
  const Index row = 2 * shape.modes;
  mix<false>(Mixing<T>{count, shape.batch, shape.in, shape.modes, w + first * row, row, shape.out * row, x,
                       shape.in * row, row, y + first * row, row, shape.out * row});
}

template <class T>
void mix_modes_backward_input(const ModeMixing& shape, Index first, Index count, const T* w, const T* dy,
                              T* dx) {
  const Index row = 2 * shape.modes;
  mix<true>(Mixing<T>{count, shape.batch, shape.out, shape.modes, w + first * shape.out * row,
                      shape.out * row, row, dy, shape.out * row, row, dx + first * row, row, shape.in * row});
}

template <class T>
void mix_modes_backward_weight(const ModeMixing& shape, Index first, Index count, const T* x, const T* dy,
                               T* dw) {
  const Index row = 2 * shape.modes;
  mix<true>(Mixing<T>{count, shape.out, shape.batch, shape.modes, x + first * row, row, shape.in * row, dy,
                      row, shape.out * row, dw + first * shape.out * row, shape.out * row, row});
}

#define RANKINE_MIX(T, function) \
  template void function(const ModeMixing&, Index, Index, const T*, const T*, T*);
RANKINE_MIX(float, mix_modes)
RANKINE_MIX(double, mix_modes)
RANKINE_MIX(float, mix_modes_backward_input)
RANKINE_MIX(double, mix_modes_backward_input)
RANKINE_MIX(float, mix_modes_backward_weight)
RANKINE_MIX(double, mix_modes_backward_weight)

}  // namespace rankine::kernels
