#include "kernels/conv.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/simd.hpp"

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

constexpr int kMaxRows = 4;
/// Vectors beside `rows` rows so that the accumulators, one row of operands and one scalar fill the
/// registers: 32 where vectors have 64 bytes, else 16.
constexpr int max_vectors(int rows) {
  if (kVectorBytes == 64) return rows == 4 ? 6 : rows == 3 ? 7 : rows == 2 ? 10 : 15;
  return rows == 4 ? 3 : rows == 3 ? 4 : rows == 2 ? 6 : 8;
}

Index round_up(Index n, Index step) { return (n + step - 1) / step * step; }
/// Floor of a / b for b > 0.
Index floor_div(Index a, Index b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

/// [0, n) in parts of nearly one size, at most `most` each.
template <class F>
void in_parts(Index n, Index most, F f) {
  const Index parts = (n + most - 1) / most;
  for (Index i = 0, begin = 0; i < parts; ++i) {
    const Index size = n / parts + (i < n % parts ? 1 : 0);
    f(begin, size);
    begin += size;
  }
}

// out[i][j] = bias[i] + sum_k w[k * MR + i] in[offset[k] + j], for NV vectors of j.
template <class T, int MR, int NV>
void correlate_tile(Index taps, const T* in, const Index* offset, const T* w, const T* bias, T* out,
                    Index ldo) {
  constexpr int W = Simd<T>::width;
  SimdOf<T> acc[MR][NV];
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) acc[i][j] = broadcast(bias == nullptr ? T(0) : bias[i]);
  for (Index k = 0; k < taps; ++k) {
    const T* from = in + offset[k];
    SimdOf<T> x[NV];
    for (int j = 0; j < NV; ++j) x[j] = load(from + j * W);
    for (int i = 0; i < MR; ++i) {
      const SimdOf<T> s = broadcast(w[k * MR + i]);
      for (int j = 0; j < NV; ++j) acc[i][j] = multiply_add_lanes<T>(s, x[j], acc[i][j]);
    }
  }
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) store(out + i * ldo + j * W, acc[i][j]);
}

// Position i of an image adds to lane i % kWeightLanes of the sums for a weight.
constexpr Index kWeightLanes = 16;
// Images whose sums for a weight are one chain in each lane; the sums of such parts are added as a tree.
constexpr Index kWeightImages = 32;

// sums[i][t] += sum over images and positions of dy[i] x[offset[t]], for a vector of the lanes: positions
// come in `strips` of kWeightLanes.
template <class T, int MR, int NT>
void contract_tile(Index images, Index strips, const T* dy, Index dy_row, Index dy_image, const T* x,
                   const Index* offset, Index x_image, T* sums, Index row_of_sums) {
  SimdOf<T> acc[MR][NT];
  for (int i = 0; i < MR; ++i)
    for (int t = 0; t < NT; ++t) acc[i][t] = load(sums + i * row_of_sums + t * kWeightLanes);
  for (Index n = 0; n < images; ++n) {
    const T* y = dy + n * dy_image;
    const T* from[NT];
    for (int t = 0; t < NT; ++t) from[t] = x + n * x_image + offset[t];
    for (Index v = 0; v < strips * kWeightLanes; v += kWeightLanes) {
      SimdOf<T> xv[NT];
      for (int t = 0; t < NT; ++t) xv[t] = in_register(load(from[t] + v));
      for (int i = 0; i < MR; ++i) {
        const SimdOf<T> d = in_register(load(y + i * dy_row + v));
        for (int t = 0; t < NT; ++t) acc[i][t] = multiply_add_lanes<T>(d, xv[t], acc[i][t]);
      }
    }
  }
  for (int i = 0; i < MR; ++i)
    for (int t = 0; t < NT; ++t) store(sums + i * row_of_sums + t * kWeightLanes, acc[i][t]);
}

// Tables of the tiles by rows - 1 and vectors - 1.
template <class T>
using Correlate = void (*)(Index, const T*, const Index*, const T*, const T*, T*, Index);
template <class T>
using Contract = void (*)(Index, Index, const T*, Index, Index, const T*, const Index*, Index, T*, Index);

template <class T, int MR, std::size_t... NV>
Correlate<T> correlate_of(Index vectors, std::index_sequence<NV...>) {
  static constexpr Correlate<T> table[] = {&correlate_tile<T, MR, static_cast<int>(NV) + 1>...};
  return table[vectors - 1];
}
template <class T>
Correlate<T> correlate_of(Index rows, Index vectors) {
  switch (rows) {
    case 1:
      return correlate_of<T, 1>(vectors, std::make_index_sequence<max_vectors(1)>());
    case 2:
      return correlate_of<T, 2>(vectors, std::make_index_sequence<max_vectors(2)>());
    case 3:
      return correlate_of<T, 3>(vectors, std::make_index_sequence<max_vectors(3)>());
    default:
      return correlate_of<T, 4>(vectors, std::make_index_sequence<max_vectors(4)>());
  }
}
template <class T, int MR, std::size_t... NT>
Contract<T> contract_of(Index taps, std::index_sequence<NT...>) {
  static constexpr Contract<T> table[] = {&contract_tile<T, MR, static_cast<int>(NT) + 1>...};
  return table[taps - 1];
}
template <class T>
Contract<T> contract_of(Index rows, Index taps) {
  switch (rows) {
    case 1:
      return contract_of<T, 1>(taps, std::make_index_sequence<max_vectors(1)>());
    case 2:
      return contract_of<T, 2>(taps, std::make_index_sequence<max_vectors(2)>());
    case 3:
      return contract_of<T, 3>(taps, std::make_index_sequence<max_vectors(3)>());
    default:
      return contract_of<T, 4>(taps, std::make_index_sequence<max_vectors(4)>());
  }
}

// Eight vectors of the widest machine and the narrowest type: workspaces are sized for all.
constexpr Index kSlack = 128;

// One axis of an image copied into planes: the plane of `remainder` holds the positions
// stride * r + remainder - pad, r = 0 .. extent - 1.
struct Axis {
  Index size, stride, pad, extent;
  std::vector<Index> remainders;  // those that some tap reads
  // First and last + 1 r inside the image.
  Index begin(Index remainder) const {
    return std::min(extent, std::max<Index>(0, -floor_div(remainder - pad, stride)));
  }
  Index end(Index remainder) const {
    return std::max(begin(remainder), std::min(extent, floor_div(size - 1 - remainder + pad, stride) + 1));
  }
};

// What conv_forward and conv_backward_weights read x from.
struct InputPlanes {
  Axis rows, columns;
  Index channels, groups, plane, channel, image, positions;
  std::vector<Index> offset;  // of the taps (c, k, l) of a group

  explicit InputPlanes(const ConvExtents& e) : channels(e.channels), groups(e.groups) {
    rows = axis(e.height, e.stride_height, e.pad_height, e.kernel_height, e.dilation_height, e.out_height);
    columns = axis(e.width, e.stride_width, e.pad_width, e.kernel_width, e.dilation_width, e.out_width);
    plane = rows.extent * columns.extent;
    channel = plane * static_cast<Index>(rows.remainders.size() * columns.remainders.size());
    image = channel * channels;
    positions = e.out_height * columns.extent;
    for (Index c = 0; c < e.group_channels(); ++c)
      for (Index k = 0; k < e.kernel_height; ++k)
        for (Index l = 0; l < e.kernel_width; ++l) {
          const Index a = k * e.dilation_height, b = l * e.dilation_width;
          const Index p =
              number(rows, a) * static_cast<Index>(columns.remainders.size()) + number(columns, b);
          offset.push_back(c * channel + p * plane + a / e.stride_height * columns.extent +
                           b / e.stride_width);
        }
  }
  /// With room for the vectors that reach beyond the last plane.
  Index elements(Index images) const { return images * image + columns.extent * rows.extent + 2 * kSlack; }
  /// Copies one image; what lies outside it stays as it is (zero).
  template <class T>
  void fill(const T* x, T* to) const {
    for (Index c = 0; c < channels; ++c, x += rows.size * columns.size)
      for (const Index a : rows.remainders)
        for (const Index b : columns.remainders) {
          const Index first = columns.begin(b), count = columns.end(b) - first;
          const Index from = columns.stride * first + b - columns.pad;
          for (Index r = rows.begin(a); r < rows.end(a); ++r) {
            const T* row = x + (rows.stride * r + a - rows.pad) * columns.size + from;
            T* out = to + r * columns.extent + first;
            if (columns.stride == 1) {
              copy_row(count, row, out);
            } else {
              for (Index i = 0; i < count; ++i) out[i] = row[i * columns.stride];
            }
          }
          to += plane;
        }
  }

 private:
  static Axis axis(Index size, Index stride, Index pad, Index kernel, Index dilation, Index out) {
    Axis axis{size, stride, pad, out + (kernel - 1) * dilation / stride, {}};
    for (Index k = 0; k < kernel; ++k) {
      const Index remainder = k * dilation % stride;
      if (std::find(axis.remainders.begin(), axis.remainders.end(), remainder) == axis.remainders.end())
        axis.remainders.push_back(remainder);
    }
    return axis;
  }
  static Index number(const Axis& axis, Index position) {
    return std::find(axis.remainders.begin(), axis.remainders.end(), position % axis.stride) -
           axis.remainders.begin();
  }
};

// Weights of one group as correlate_tile reads them: for each tile of rows, [taps][rows].
template <class T, class At>
void pack(Index rows, Index taps, At at, T* packed) {
  in_parts(rows, kMaxRows, [&](Index first, Index count) {
    for (Index k = 0; k < taps; ++k)
      for (Index i = 0; i < count; ++i) *packed++ = at(first + i, k);
  });
}

// All rows at all positions; `out` [kMaxRows][ldo], and done(first row, rows) after each tile of rows.
template <class T, class Done>
void correlate(Index rows, Index taps, const T* in, const Index* offset, const T* packed, const T* bias,
               Index positions, T* out, Index ldo, Done done) {
  constexpr int W = Simd<T>::width;
  in_parts(rows, kMaxRows, [&](Index first, Index count) {
    in_parts((positions + W - 1) / W, max_vectors(static_cast<int>(count)), [&](Index v, Index vectors) {
      correlate_of<T>(count, vectors)(taps, in + v * W, offset, packed + first * taps,
                                      bias == nullptr ? nullptr : bias + first, out + v * W, ldo);
    });
    done(first, count);
  });
}

// One axis of dx in conv_backward_data: positions stride * q + phase, whose taps read dy at q + shift.
struct Phase {
  Index count;                                // of q
  std::vector<std::pair<Index, Index>> taps;  // tap, shift
};
struct BackAxis {
  std::vector<Phase> phases;
  Index low = 0, extent = 0;  // rows of zeros below dy, extent of its plane

  BackAxis(Index size, Index stride, Index pad, Index kernel, Index dilation, Index out) {
    Index high = out;
    for (Index a = 0; a < stride; ++a) {
      Phase phase{a < size ? (size - 1 - a) / stride + 1 : 0, {}};
      for (Index k = 0; k < kernel; ++k) {
        const Index at = a + pad - k * dilation;
        if (floor_div(at, stride) * stride != at) continue;
        const Index shift = floor_div(at, stride);
        phase.taps.emplace_back(k, shift);
        low = std::max(low, -shift);
        high = std::max(high, phase.count + shift);
      }
      phases.push_back(std::move(phase));
    }
    extent = low + high;
  }
};

struct OutputPlanes {
  BackAxis rows, columns;
  Index plane, positions;
  explicit OutputPlanes(const ConvExtents& e)
      : rows(e.height, e.stride_height, e.pad_height, e.kernel_height, e.dilation_height, e.out_height),
        columns(e.width, e.stride_width, e.pad_width, e.kernel_width, e.dilation_width, e.out_width),
        plane(rows.extent * columns.extent),
        positions(0) {
    for (const Phase& phase : rows.phases) positions = std::max(positions, phase.count * columns.extent);
  }
};

// Images whose rows of dy for one tile fill half of the first-level cache.
Index images_at_once(const ConvExtents& e, const InputPlanes& planes) {
  constexpr Index elements = 4096;
  return std::clamp<Index>(elements / (kMaxRows * planes.positions), 1,
                           std::clamp<Index>(e.batch, 1, kWeightImages));
}

}  // namespace

std::int64_t conv_forward_workspace(const ConvExtents& e) {
  const InputPlanes planes(e);
  return planes.elements(1) + e.outputs * e.taps() + kMaxRows * round_up(planes.positions, kSlack) + kSlack;
}

std::int64_t conv_backward_data_workspace(const ConvExtents& e) {
  const OutputPlanes planes(e);
  return e.outputs * planes.plane + planes.plane + e.outputs * e.taps() +
         kMaxRows * round_up(planes.positions, kSlack) + 4 * kSlack;
}

std::int64_t conv_backward_weights_workspace(const ConvExtents& e) {
  const InputPlanes planes(e);
  const Index images = images_at_once(e, planes), parts = (e.batch + kWeightImages - 1) / kWeightImages;
  return planes.elements(images) + images * e.outputs * round_up(planes.positions, kWeightLanes) +
         e.outputs * e.taps() * (kWeightLanes + parts);
}

template <class T>
void conv_forward(const ConvExtents& e, const T* x, const T* w, const T* bias, T* y, T* workspace) {
  const InputPlanes planes(e);
  const Index taps = e.taps(), rows = e.group_outputs(), space = e.out_height * e.out_width;
  T* const in = workspace;
  T* const packed = in + planes.elements(1);
  T* const out = packed + e.outputs * taps;
  const Index ldo = round_up(planes.positions, kSlack);
  std::fill(in, packed, T(0));
  for (Index g = 0; g < e.groups; ++g)
    pack(
        rows, taps, [&](Index o, Index k) { return w[(g * rows + o) * taps + k]; }, packed + g * rows * taps);
  for (Index n = 0; n < e.batch; ++n) {
    planes.fill(x + n * e.channels * e.height * e.width, in);
    for (Index g = 0; g < e.groups; ++g)
      correlate(rows, taps, in + g * e.group_channels() * planes.channel, planes.offset.data(),
                packed + g * rows * taps, bias == nullptr ? nullptr : bias + g * rows, planes.positions, out,
                ldo, [&](Index first, Index count) {
                  T* to = y + (n * e.outputs + g * rows + first) * space;
                  for (Index i = 0; i < count; ++i)
                    for (Index r = 0; r < e.out_height; ++r, to += e.out_width)
                      copy_row(e.out_width, out + i * ldo + r * planes.columns.extent, to);
                });
  }
}

template <class T>
void conv_backward_data(const ConvExtents& e, const T* dy, const T* w, T* dx, T* workspace) {
  const OutputPlanes planes(e);
  const Index rows = e.group_channels(), per_group = e.group_outputs(),
              area = e.kernel_height * e.kernel_width;
  const Index pitch = planes.columns.extent;
  T* const in = workspace;
  T* const packed_all = in + e.outputs * planes.plane + planes.plane + 2 * kSlack;
  T* const out = packed_all + e.outputs * e.taps();
  const Index ldo = round_up(planes.positions, kSlack);
  std::fill(in, packed_all, T(0));

  // Offsets and packed weights for each pair of phases.
  struct Task {
    Index a, b;
    const Phase *row, *column;
    std::vector<Index> offset;
    T* packed;
  };
  std::vector<Task> tasks;
  T* packed = packed_all;
  for (Index a = 0; a < e.stride_height; ++a)
    for (Index b = 0; b < e.stride_width; ++b) {
      Task task{a,
                b,
                &planes.rows.phases[static_cast<std::size_t>(a)],
                &planes.columns.phases[static_cast<std::size_t>(b)],
                {},
                packed};
      std::vector<Index> tap;
      for (Index o = 0; o < per_group; ++o)
        for (const auto& [k, down] : task.row->taps)
          for (const auto& [l, right] : task.column->taps) {
            task.offset.push_back(o * planes.plane + (down + planes.rows.low) * pitch + right +
                                  planes.columns.low);
            tap.push_back(o * rows * area + k * e.kernel_width + l);
          }
      const auto count = static_cast<Index>(tap.size());
      for (Index g = 0; g < e.groups; ++g, packed += rows * count)
        pack(
            rows, count,
            [&](Index c, Index k) {
              return w[(g * per_group * rows + c) * area + tap[static_cast<std::size_t>(k)]];
            },
            packed);
      tasks.push_back(std::move(task));
    }

  for (Index n = 0; n < e.batch; ++n) {
    const T* from = dy + n * e.outputs * e.out_height * e.out_width;
    for (Index o = 0; o < e.outputs; ++o)
      for (Index r = 0; r < e.out_height; ++r, from += e.out_width)
        copy_row(e.out_width, from,
                 in + o * planes.plane + (r + planes.rows.low) * pitch + planes.columns.low);
    for (const Task& task : tasks) {
      const auto taps = static_cast<Index>(task.offset.size());
      const Index high = task.row->count, wide = task.column->count;
      if (high == 0 || wide == 0) continue;
      for (Index g = 0; g < e.groups; ++g)
        correlate(rows, taps, in + g * per_group * planes.plane, task.offset.data(),
                  task.packed + g * rows * taps, static_cast<const T*>(nullptr), high * pitch, out, ldo,
                  [&](Index first, Index count) {
                    for (Index i = 0; i < count; ++i) {
                      T* to = dx + (n * e.channels + g * rows + first + i) * e.height * e.width;
                      for (Index q = 0; q < high; ++q) {
                        const T* row = out + i * ldo + q * pitch;
                        T* at = to + (q * e.stride_height + task.a) * e.width + task.b;
                        if (e.stride_width == 1) {
                          copy_row(wide, row, at);
                        } else {
                          for (Index j = 0; j < wide; ++j) at[j * e.stride_width] = row[j];
                        }
                      }
                    }
                  });
    }
  }
}

template <class T>
void conv_backward_weights(const ConvExtents& e, const T* x, const T* dy, T* dw, T* workspace) {
  constexpr int W = Simd<T>::width;
  static_assert(kWeightLanes % W == 0);
  const InputPlanes planes(e);
  const Index taps = e.taps(), rows = e.group_outputs(), pitch = planes.columns.extent;
  const Index most = images_at_once(e, planes), weights = e.outputs * taps;
  const Index row = round_up(planes.positions, kWeightLanes), strips = row / kWeightLanes;
  T* const in = workspace;
  T* const out = in + planes.elements(most);
  T* const sums = out + most * e.outputs * row;
  T* const parts = sums + weights * kWeightLanes;
  std::fill(in, sums, T(0));
  Index part = 0;
  for (Index begin = 0; begin < e.batch; begin += kWeightImages, ++part) {
    const Index end = std::min(e.batch, begin + kWeightImages);
    std::fill(sums, parts, T(0));
    for (Index n = begin; n < end; n += most) {
      const Index images = std::min(most, end - n);
      for (Index i = 0; i < images; ++i) {
        planes.fill(x + (n + i) * e.channels * e.height * e.width, in + i * planes.image);
        const T* from = dy + (n + i) * e.outputs * e.out_height * e.out_width;
        for (Index o = 0; o < e.outputs; ++o)
          for (Index r = 0; r < e.out_height; ++r, from += e.out_width)
            copy_row(e.out_width, from, out + (i * e.outputs + o) * row + r * pitch);
      }
      for (Index g = 0; g < e.groups; ++g)
        in_parts(rows, kMaxRows, [&](Index first, Index count) {
          in_parts(taps, max_vectors(static_cast<int>(count)), [&](Index t, Index width) {
            for (Index lane = 0; lane < kWeightLanes; lane += W)
              contract_of<T>(count, width)(
                  images, strips, out + (g * rows + first) * row + lane, row, e.outputs * row,
                  in + g * e.group_channels() * planes.channel + lane, planes.offset.data() + t, planes.image,
                  sums + ((g * rows + first) * taps + t) * kWeightLanes + lane, taps * kWeightLanes);
          });
        });
    }
    for (Index i = 0; i < weights; ++i)
      parts[part * weights + i] = lane_tree<kWeightLanes>(sums + i * kWeightLanes);
  }
  for (Index apart = 1; apart < part; apart *= 2)
    for (Index p = 0; p + apart < part; p += 2 * apart)
      for (Index i = 0; i < weights; ++i) parts[p * weights + i] += parts[(p + apart) * weights + i];
  if (part == 0) {
    std::fill_n(dw, weights, T(0));
  } else {
    std::copy_n(parts, weights, dw);
  }
}

template <class T>
void channel_sums(std::int64_t batch, std::int64_t channels, std::int64_t space, const T* x, T* sums) {
  for (Index c = 0; c < channels; ++c) sums[c] = T(0);
  for (Index n = 0; n < batch; ++n)
    for (Index c = 0; c < channels; ++c, x += space) sums[c] += row_sum(space, x);
}

template void conv_forward(const ConvExtents&, const float*, const float*, const float*, float*, float*);
template void conv_forward(const ConvExtents&, const double*, const double*, const double*, double*, double*);
template void conv_backward_data(const ConvExtents&, const float*, const float*, float*, float*);
template void conv_backward_data(const ConvExtents&, const double*, const double*, double*, double*);
template void conv_backward_weights(const ConvExtents&, const float*, const float*, float*, float*);
template void conv_backward_weights(const ConvExtents&, const double*, const double*, double*, double*);
template void channel_sums(std::int64_t, std::int64_t, std::int64_t, const float*, float*);
template void channel_sums(std::int64_t, std::int64_t, std::int64_t, const double*, double*);

}  // namespace rankine::kernels
