#include "kernels/sparse_product.hpp"

#include "kernels/launch.hpp"
#include "kernels/rows.hpp"
#include "kernels/scratch.hpp"
#include "kernels/simd.hpp"

namespace rankine::kernels {
namespace {

// An element of the result.
template <class T>
struct CsrElement {
  std::int64_t rows, columns, width, value_step, outputs, inputs;
  View<const std::int64_t> offsets, column, entry;
  View<const T> values, x;
  View<T> y;
  View<const T> bias;
  std::int64_t bias_step;

  RANKINE_ELEMENT T begin(std::int64_t l, std::int64_t i) const {
    return bias.defined() ? bias[l * bias_step + i] : T(0);
  }
  RANKINE_KERNEL void operator()(std::int64_t at) const {
    const std::int64_t f = at % width, i = at / width % (rows * outputs), l = at / width / (rows * outputs);
    T sum = begin(l, i);
    for (std::int64_t e = offsets[i / outputs]; e < offsets[i / outputs + 1]; ++e) {
      const std::int64_t v = (entry.defined() ? entry[e] : e) * outputs * inputs + i % outputs;
      const T* value = values.at(l * value_step + v);
      const T* from = x.at((l * columns + column[e] * inputs) * width + f);
      for (std::int64_t q = 0; q < inputs; ++q) sum = multiply_add(value[q], from[q * width], sum);
    }
    y[at] = sum;
  }
};

#if !RANKINE_ON_DEVICE
// Strips of the result a few vectors wide, whose sums stay in registers over the entries of a row. Where the
// rows of x are read often, the strip's part of them is copied side by side first: rows that begin at the
// boundaries of cache lines are read twice as fast.
template <class T>
struct CsrStrips {
  static constexpr std::int64_t kLanes = Simd<T>::width;
#if defined(__AVX512F__) || defined(__aarch64__)
  static constexpr int kRegisters = 32;
#else
  static constexpr int kRegisters = 16;
#endif
  /// Vectors of a strip whose `rows` outputs are summed at once: sums, a row of x and a factor fill the registers.
  static constexpr int most_vectors(int rows) {
    const int fit = (kRegisters - 2) / (rows + 1);
    return fit < 5 ? fit : 5;
  }
  /// Outputs that are summed at once.
  static int rows_at_once(std::int64_t outputs, bool plain) {
    for (const int rows : {8, 4, 2})
      if (plain && outputs % rows == 0) return rows;
    return 1;
  }
  static constexpr std::int64_t kPart = 512, kOften = 8;

  CsrElement<T> p;
  bool plain, packed = false;  // plain: one input an entry, whose values lie in order
  std::int64_t vectors, strips = 1, parts = 1;

  CsrStrips(const CsrElement<T>& product, std::int64_t entries)
      : p(product), plain(p.inputs == 1 && !p.entry.defined()), vectors((p.width + kLanes - 1) / kLanes) {
    const int most = most_vectors(rows_at_once(p.outputs, plain));
    strips = (vectors + most - 1) / most;
    parts = (p.rows * p.outputs + kPart - 1) / kPart;
    packed = entries * p.inputs >= kOften * p.columns * parts;
  }
  std::int64_t units(std::int64_t lead) const { return lead * strips * parts; }

  void operator()(std::int64_t unit) const {
    switch (rows_at_once(p.outputs, plain)) {
      case 8:
        return strip<8, true>(unit);
      case 4:
        return strip<4, true>(unit);
      case 2:
        return strip<2, true>(unit);
      default:
        return plain ? strip<1, true>(unit) : strip<1, false>(unit);
    }
  }

  template <int R, bool kPlain, int V = most_vectors(R)>
  void strip(std::int64_t unit) const {
    const std::int64_t part = unit % parts, s = unit / parts % strips, l = unit / parts / strips;
    const std::int64_t first = s * vectors / strips, count = (s + 1) * vectors / strips - first;
    if constexpr (V > 1)
      if (count < V) return strip<R, kPlain, V - 1>(unit);
    const std::int64_t f = first * kLanes, left = p.width - f - (V - 1) * kLanes,
                       last = left < kLanes ? left : kLanes;
    const std::int64_t begin = part * p.rows / parts, end = (part + 1) * p.rows / parts;
    const T* const x = p.x.at(l * p.columns * p.width + f);
    if (packed)
      rows_of<R, V, kPlain, true>(l, begin, end, f, last, pack<V>(x, last), V * kLanes);
    else if (last == kLanes)
      rows_of<R, V, kPlain, true>(l, begin, end, f, last, x, p.width);
    else
      rows_of<R, V, kPlain, false>(l, begin, end, f, last, x, p.width);
  }

  /// The strip's part of all rows of x, with zeros up to a whole vector.
  template <int V>
  const T* pack(const T* x, std::int64_t last) const {
    T* const memory = host_scratch<T>(p.columns * V * kLanes);
    T* to = memory;
    for (std::int64_t j = 0; j < p.columns; ++j, x += p.width, to += V * kLanes) {
      for (int v = 0; v + 1 < V; ++v) store(to + v * kLanes, load(x + v * kLanes));
      const T* const rest = x + (V - 1) * kLanes;
      store(to + (V - 1) * kLanes, last == kLanes ? load(rest) : load_first(rest, last));
    }
    return memory;
  }

  /// V vectors of block rows begin .. end - 1, R outputs at a time; the last vector has `last` lanes, which
  /// are all that can be read unless kWhole.
  template <int R, int V, bool kPlain, bool kWhole>
  void rows_of(std::int64_t l, std::int64_t begin, std::int64_t end, std::int64_t f, std::int64_t last,
               const T* x, std::int64_t pitch) const {
    const std::int64_t block = p.outputs * p.inputs;
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t r0 = 0; r0 < p.outputs; r0 += R) {
        SimdOf<T> sum[R][V];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const SimdOf<T> from_bias = broadcast(p.begin(l, i * p.outputs + r0 + r));
#pragma GCC unroll 8
          for (int v = 0; v < V; ++v) sum[r][v] = from_bias;
        }
        for (std::int64_t e = p.offsets[i]; e < p.offsets[i + 1]; ++e) {
          const std::int64_t at = kPlain || !p.entry.defined() ? e : p.entry[e];
          const T* value = p.values.at(l * p.value_step + at * block + r0);
          const T* from = x + p.column[e] * p.inputs * pitch;
          for (std::int64_t q = 0; q < (kPlain ? 1 : p.inputs); ++q, from += pitch, ++value) {
            SimdOf<T> row[V];
#pragma GCC unroll 8
            for (int v = 0; v + 1 < V; ++v) row[v] = load(from + v * kLanes);
            row[V - 1] = kWhole ? load(from + (V - 1) * kLanes) : load_first(from + (V - 1) * kLanes, last);
            if constexpr (R > 1)
              for (int v = 0; v < V; ++v) row[v] = in_register(row[v]);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
              const SimdOf<T> factor = broadcast(value[r]);
#pragma GCC unroll 8
              for (int v = 0; v < V; ++v) sum[r][v] = multiply_add_lanes<T>(factor, row[v], sum[r][v]);
            }
          }
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          T* const to = p.y.at(((l * p.rows + i) * p.outputs + r0 + r) * p.width + f);
#pragma GCC unroll 8
          for (int v = 0; v + 1 < V; ++v) store(to + v * kLanes, sum[r][v]);
          if (last == kLanes)
            store(to + (V - 1) * kLanes, sum[r][V - 1]);
          else
            store_first<T>(to + (V - 1) * kLanes, sum[r][V - 1], last);
        }
      }
    }
  }
};
#endif

template <class T>
struct CsrSampledProduct {
  std::int64_t entries, outputs, rows, columns, width;
  View<const std::int64_t> row, column;
  View<const T> a, b;
  View<T> z;
  RANKINE_KERNEL void operator()(std::int64_t l, const Columns& these) const {
    for (std::int64_t at = these.begin; at < these.end; ++at) {
      const std::int64_t e = at / outputs;
      const T* from = a.at((l * rows + row[e] * outputs + at % outputs) * width);
      const T* with = b.at((l * columns + column[e]) * width);
      T lanes[8] = {};
      std::int64_t f = 0;
      for (; f + 8 <= width; f += 8)
        for (int j = 0; j < 8; ++j) lanes[j] += from[f + j] * with[f + j];
      for (int j = 0; f < width; ++f, ++j) lanes[j] += from[f] * with[f];
      for (int half = 4; half > 0; half /= 2)
        for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
      z[l * entries * outputs + at] = lanes[0];
    }
  }
};

}  // namespace

template <class T>
void csr_product(const CsrRows& m, std::int64_t lead, std::int64_t columns, std::int64_t width,
                 DevicePtr<const T> values, std::int64_t value_step, DevicePtr<const T> x, DevicePtr<T> y,
                 DevicePtr<const T> bias, std::int64_t bias_step) {
  const CsrElement<T> element{m.rows,   columns, width,  value_step, m.outputs, m.inputs, m.offsets,
                              m.column, m.entry, values, x,          y,         bias,     bias_step};
  // Without caches: each entry reads its rows of x.
  const std::int64_t numbers = m.entries * m.outputs * m.inputs;
  count_work("csr_product", {2 * static_cast<double>(lead * numbers * width),
                             in_bytes<T>(lead * (m.entries * m.inputs + m.rows * m.outputs) * width +
                                         (value_step == 0 ? 1 : lead) * numbers) +
                                 in_bytes<std::int64_t>(m.entries)});
  if (runs_portable(Tuned::csr_product)) {
    units("csr_product", lead * m.rows * m.outputs * width, element);
    return;
  }
#if !RANKINE_ON_DEVICE
  const CsrStrips<T> strips(element, m.entries);
  units("csr_product", strips.units(lead), strips);
#endif
}

template <class T>
void csr_sampled_product(std::int64_t entries, std::int64_t outputs, DevicePtr<const std::int64_t> row,
                         DevicePtr<const std::int64_t> column, std::int64_t lead, std::int64_t rows,
                         std::int64_t columns_count, std::int64_t width, DevicePtr<const T> a,
                         DevicePtr<const T> b, DevicePtr<T> z) {
  const std::int64_t numbers = lead * entries * outputs;
  count_work("csr_sampled_product", {2 * static_cast<double>(numbers * width),
                                     in_bytes<T>(lead * entries * ((outputs + 1) * width + outputs)) +
                                         in_bytes<std::int64_t>(2 * entries)});
  columns("csr_sampled_product", lead, entries * outputs,
          CsrSampledProduct<T>{entries, outputs, rows, columns_count, width, row, column, a, b, z});
}

#define RANKINE_INSTANTIATE(T)                                                                               \
  template void csr_product(const CsrRows&, std::int64_t, std::int64_t, std::int64_t, DevicePtr<const T>,    \
                            std::int64_t, DevicePtr<const T>, DevicePtr<T>, DevicePtr<const T>,              \
                            std::int64_t);                                                                   \
  template void csr_sampled_product(std::int64_t, std::int64_t, DevicePtr<const std::int64_t>,               \
                                    DevicePtr<const std::int64_t>, std::int64_t, std::int64_t, std::int64_t, \
                                    std::int64_t, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
