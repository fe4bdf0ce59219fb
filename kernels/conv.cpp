#include "kernels/conv.hpp"

#include "kernels/columns.hpp"
#include "kernels/multiply_add.hpp"

#if !RANKINE_ON_DEVICE
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/scratch.hpp"
#include "kernels/simd.hpp"
#endif

namespace rankine::kernels {
namespace {

using Index = std::int64_t;

// Images whose sums for a weight are one chain in each lane; the sums of such parts are added as a tree.
constexpr Index kWeightImages = 32;

#if !RANKINE_ON_DEVICE
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
    // Numbers of its own: a vector that is stored might be any of this object's, as far as GCC knows.
    const Index height = rows.size, width = columns.size, pitch = columns.extent, step = columns.stride,
                row_step = rows.stride * width, area = plane;
    for (Index c = channels; c > 0; --c, x += height * width)
      for (const Index a : rows.remainders)
        for (const Index b : columns.remainders) {
          const Index first = columns.begin(b), count = columns.end(b) - first;
          const Index top = rows.begin(a), last = rows.end(a);
          const T* row = x + (rows.stride * top + a - rows.pad) * width + step * first + b - columns.pad;
          T* out = to + top * pitch + first;
          for (Index r = top; r < last; ++r, row += row_step, out += pitch) {
            if (step == 1) {
              copy_row(count, row, out);
            } else {
              for (Index i = 0; i < count; ++i) out[i] = row[i * step];
            }
          }
          to += area;
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

/// conv_forward() of one image after the other: what a thread prepares once in a launch.
template <class T>
class ForwardImages {
 public:
  void prepare(Index launch, const ConvExtents& e, Index shard, const T* w) {
    const Index taps = e.taps(), rows = e.group_outputs();
    if (launch != launch_) {
      launch_ = launch;
      shard_ = -1;
      planes_.emplace(e);
      ldo_ = round_up(planes_->positions, kSlack);
      in_ = host_scratch<T>(planes_->elements(1) + e.outputs * taps + kMaxRows * ldo_ + kSlack);
      packed_ = in_ + planes_->elements(1);
      out_ = packed_ + e.outputs * taps;
      std::fill(in_, packed_, T(0));
    }
    if (shard == shard_) return;
    shard_ = shard;
    for (Index g = 0; g < e.groups; ++g)
      pack(
          rows, taps, [&](Index o, Index k) { return w[(g * rows + o) * taps + k]; },
          packed_ + g * rows * taps);
  }
  void image(const ConvExtents& e, const T* x, const T* bias, T* y) const {
    const InputPlanes& planes = *planes_;
    const Index taps = e.taps(), rows = e.group_outputs(), high = e.out_height, wide = e.out_width,
                groups = e.groups, group = e.group_channels() * planes.channel, pitch = planes.columns.extent,
                ldo = ldo_, positions = planes.positions;
    const Index* const offset = planes.offset.data();
    T *const in = in_, *const packed = packed_, *const out = out_;
    planes.fill(x, in);
    for (Index g = 0; g < groups; ++g)
      correlate(rows, taps, in + g * group, offset, packed + g * rows * taps,
                bias == nullptr ? nullptr : bias + g * rows, positions, out, ldo,
                [=](Index first, Index count) {
                  T* to = y + (g * rows + first) * high * wide;
                  for (Index i = 0; i < count; ++i)
                    for (Index r = 0; r < high; ++r, to += wide)
                      copy_row(wide, out + i * ldo + r * pitch, to);
                });
  }

 private:
  Index launch_ = -1, shard_ = -1, ldo_ = 0;
  std::optional<InputPlanes> planes_;
  T *in_ = nullptr, *packed_ = nullptr, *out_ = nullptr;
};

/// conv_backward_data() in the same way.
template <class T>
class BackwardImages {
 public:
  void prepare(Index launch, const ConvExtents& e, Index shard, const T* w) {
    if (launch != launch_) {
      launch_ = launch;
      shard_ = -1;
      set_up(e);
    }
    if (shard == shard_) return;
    shard_ = shard;
    const Index rows = e.group_channels(), per_group = e.group_outputs(),
                area = e.kernel_height * e.kernel_width;
    T* packed = packed_;
    for (Task& task : tasks_) {
      task.packed = packed;
      const auto count = static_cast<Index>(task.tap.size());
      for (Index g = 0; g < e.groups; ++g, packed += rows * count)
        pack(
            rows, count,
            [&](Index c, Index k) {
              return w[(g * per_group * rows + c) * area + task.tap[static_cast<std::size_t>(k)]];
            },
            packed);
    }
  }
  void image(const ConvExtents& e, const T* dy, T* dx) const {
    const OutputPlanes& planes = *planes_;
    const Index rows = e.group_channels(), pitch = planes.columns.extent, plane = planes.plane, ldo = ldo_,
                group = e.group_outputs() * plane, outputs = e.outputs, out_height = e.out_height,
                out_width = e.out_width, width = e.width, area = e.height * width, groups = e.groups,
                row_step = e.stride_height * width, step = e.stride_width;
    T *const in = in_, *const out = out_;
    T* to = in + planes.rows.low * pitch + planes.columns.low;
    for (Index o = 0; o < outputs; ++o, to += plane)
      for (Index r = 0; r < out_height; ++r, dy += out_width) copy_row(out_width, dy, to + r * pitch);
    for (const Task& task : tasks_) {
      const auto taps = static_cast<Index>(task.offset.size());
      const Index high = task.row->count, wide = task.column->count;
      if (high == 0 || wide == 0) continue;
      const Index* const offset = task.offset.data();
      const T* const packed = task.packed;
      T* const corner = dx + task.a * width + task.b;
      for (Index g = 0; g < groups; ++g)
        correlate(rows, taps, in + g * group, offset, packed + g * rows * taps,
                  static_cast<const T*>(nullptr), high * pitch, out, ldo, [=](Index first, Index count) {
                    for (Index i = 0; i < count; ++i) {
                      T* at = corner + (g * rows + first + i) * area;
                      const T* row = out + i * ldo;
                      for (Index q = 0; q < high; ++q, row += pitch, at += row_step) {
                        if (step == 1) {
                          copy_row(wide, row, at);
                        } else {
                          for (Index j = 0; j < wide; ++j) at[j * step] = row[j];
                        }
                      }
                    }
                  });
    }
  }

 private:
  // Offsets and packed weights for each pair of phases.
  struct Task {
    Index a, b;
    const Phase *row, *column;
    std::vector<Index> offset, tap;
    T* packed;
  };
  void set_up(const ConvExtents& e) {
    planes_.emplace(e);
    const OutputPlanes& planes = *planes_;
    const Index rows = e.group_channels(), per_group = e.group_outputs(),
                area = e.kernel_height * e.kernel_width, pitch = planes.columns.extent;
    const Index elements = e.outputs * planes.plane + planes.plane + 2 * kSlack;
    ldo_ = round_up(planes.positions, kSlack);
    in_ = host_scratch<T>(elements + e.outputs * e.taps() + kMaxRows * ldo_ + 2 * kSlack);
    packed_ = in_ + elements;
    out_ = packed_ + e.outputs * e.taps();
    std::fill(in_, packed_, T(0));
    tasks_.clear();
    for (Index a = 0; a < e.stride_height; ++a)
      for (Index b = 0; b < e.stride_width; ++b) {
        Task task{a,
                  b,
                  &planes.rows.phases[static_cast<std::size_t>(a)],
                  &planes.columns.phases[static_cast<std::size_t>(b)],
                  {},
                  {},
                  nullptr};
        for (Index o = 0; o < per_group; ++o)
          for (const auto& [k, down] : task.row->taps)
            for (const auto& [l, right] : task.column->taps) {
              task.offset.push_back(o * planes.plane + (down + planes.rows.low) * pitch + right +
                                    planes.columns.low);
              task.tap.push_back(o * rows * area + k * e.kernel_width + l);
            }
        tasks_.push_back(std::move(task));
      }
  }

  Index launch_ = -1, shard_ = -1, ldo_ = 0;
  std::optional<OutputPlanes> planes_;
  std::vector<Task> tasks_;
  T *in_ = nullptr, *packed_ = nullptr, *out_ = nullptr;
};

Index weights_workspace(const ConvExtents& e) {
  const InputPlanes planes(e);
  const Index images = images_at_once(e, planes), parts = (e.batch + kWeightImages - 1) / kWeightImages;
  return planes.elements(images) + images * e.outputs * round_up(planes.positions, kWeightLanes) +
         e.outputs * e.taps() * (kWeightLanes + parts);
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

Index launches = 0;  // tells a thread that what it has prepared is of an earlier one

/// An image.
template <class T>
struct ConvForwardImage {
  ConvExtents e;
  Index launch, w_step, bias_step;
  View<const T> x, w, bias;
  View<T> y;
  inline void operator()(Index unit) const {
    thread_local ForwardImages<T> images;
    const Index shard = unit / e.batch;
    images.prepare(launch, e, shard, w.at(shard * w_step));
    images.image(e, x.at(unit * e.channels * e.height * e.width),
                 bias.defined() ? bias.at(shard * bias_step) : nullptr,
                 y.at(unit * e.outputs * e.out_height * e.out_width));
  }
};
template <class T>
struct ConvBackwardDataImage {
  ConvExtents e;
  Index launch, w_step;
  View<const T> dy, w;
  View<T> dx;
  inline void operator()(Index unit) const {
    thread_local BackwardImages<T> images;
    const Index shard = unit / e.batch;
    images.prepare(launch, e, shard, w.at(shard * w_step));
    images.image(e, dy.at(unit * e.outputs * e.out_height * e.out_width),
                 dx.at(unit * e.channels * e.height * e.width));
  }
};
#endif

/// The batch of a shard in parts.
struct BatchParts {
  Index batch, parts;
  KOKKOS_FORCEINLINE_FUNCTION Index begin(Index part) const {
    return part < parts ? part * kWeightImages : batch;
  }
};
BatchParts parts_of(const ConvExtents& e) {
  return {e.batch, e.batch == 0 ? 1 : (e.batch + kWeightImages - 1) / kWeightImages};
}

#if !RANKINE_ON_DEVICE
/// A part of a shard's batch.
template <class T>
struct ConvBackwardWeightsPart {
  ConvExtents e;
  BatchParts parts;
  Index work;
  View<const T> x, dy;
  View<T> out;  // [shard][part][weights]
  inline void operator()(Index unit) const {
    const Index shard = unit / parts.parts, part = unit % parts.parts, begin = parts.begin(part);
    ConvExtents mine = e;
    mine.batch = parts.begin(part + 1) - begin;
    const Index image = shard * e.batch + begin;
    conv_backward_weights(mine, x.at(image * e.channels * e.height * e.width),
                          dy.at(image * e.outputs * e.out_height * e.out_width),
                          out.at(unit * e.outputs * e.taps()), host_scratch<T>(work));
  }
};
#endif

// Outputs that a thread of a device computes together.
constexpr int kTogether = 4;

/// y of a few neighbouring outputs at one position.
template <class T>
struct ConvForwardPoint {
  ConvExtents e;
  Index group_channels, group_outputs, blocks, w_step, bias_step;
  View<const T> x, w, bias;
  View<T> y;
  RANKINE_KERNEL void operator()(Index i) const {
    const Index column = i % e.out_width;
    i /= e.out_width;
    const Index row = i % e.out_height;
    i /= e.out_height;
    const Index block = i % blocks;
    i /= blocks;
    const Index group = i % e.groups, image = i / e.groups, shard = image / e.batch;
    const Index taps = group_channels * e.kernel_height * e.kernel_width;
    const Index first = group * group_outputs + block * kTogether;
    const Index count = group_outputs - block * kTogether;
    const T* const weights = w.at(shard * w_step + first * taps);
    const T* const from = x.at((image * e.channels + group * group_channels) * e.height * e.width);
    T sum[kTogether];
    for (int q = 0; q < kTogether; ++q)
      sum[q] = bias.defined() && q < count ? bias[shard * bias_step + first + q] : T(0);
    Index tap = 0;
    for (Index c = 0; c < group_channels; ++c)
      for (Index k = 0; k < e.kernel_height; ++k) {
        const Index r = row * e.stride_height + k * e.dilation_height - e.pad_height;
        if (r < 0 || r >= e.height) {
          tap += e.kernel_width;
          continue;
        }
        for (Index l = 0; l < e.kernel_width; ++l, ++tap) {
          const Index s = column * e.stride_width + l * e.dilation_width - e.pad_width;
          if (s < 0 || s >= e.width) continue;
          const T v = from[(c * e.height + r) * e.width + s];
          for (int q = 0; q < kTogether; ++q)
            if (q < count) sum[q] = multiply_add(weights[q * taps + tap], v, sum[q]);
        }
      }
    const Index space = e.out_height * e.out_width;
    T* const to = y.at((image * e.outputs + first) * space + row * e.out_width + column);
    for (int q = 0; q < kTogether; ++q)
      if (q < count) to[q * space] = sum[q];
  }
};

/// dx of a few neighbouring channels at one position: gathers the outputs that read it.
template <class T>
struct ConvBackwardDataPoint {
  ConvExtents e;
  Index group_channels, group_outputs, blocks, w_step;
  View<const T> dy, w;
  View<T> dx;
  RANKINE_KERNEL void operator()(Index i) const {
    const Index column = i % e.width;
    i /= e.width;
    const Index row = i % e.height;
    i /= e.height;
    const Index block = i % blocks;
    i /= blocks;
    const Index group = i % e.groups, image = i / e.groups, shard = image / e.batch;
    const Index area = e.kernel_height * e.kernel_width;
    const Index first = block * kTogether, count = group_channels - first;
    const T* const weights = w.at(shard * w_step + (group * group_outputs * group_channels + first) * area);
    const T* const from = dy.at((image * e.outputs + group * group_outputs) * e.out_height * e.out_width);
    T sum[kTogether] = {};
    for (Index o = 0; o < group_outputs; ++o)
      for (Index k = 0; k < e.kernel_height; ++k) {
        const Index down = row + e.pad_height - k * e.dilation_height;
        const Index r = down / e.stride_height;
        if (down < 0 || r * e.stride_height != down || r >= e.out_height) continue;
        for (Index l = 0; l < e.kernel_width; ++l) {
          const Index right = column + e.pad_width - l * e.dilation_width;
          const Index s = right / e.stride_width;
          if (right < 0 || s * e.stride_width != right || s >= e.out_width) continue;
          const T v = from[(o * e.out_height + r) * e.out_width + s];
          const T* const at = weights + o * group_channels * area + k * e.kernel_width + l;
          for (int q = 0; q < kTogether; ++q)
            if (q < count) sum[q] = multiply_add(at[q * area], v, sum[q]);
        }
      }
    const Index space = e.height * e.width;
    T* const to =
        dx.at((image * e.channels + group * group_channels + first) * space + row * e.width + column);
    for (int q = 0; q < kTogether; ++q)
      if (q < count) to[q * space] = sum[q];
  }
};

/// A weight's sum over a part of the batch: image after image, each by a row of workers.
template <class T>
struct ConvBackwardWeight {
  ConvExtents e;
  Index group_channels, group_outputs, weights;
  BatchParts parts;
  View<const T> x, dy;
  View<T> out;  // [shard][part][weights]
  template <class Group>
  RANKINE_KERNEL void operator()(Index at, const Group& group) const {
    const Index weight = at % weights, part = at / weights % parts.parts, shard = at / weights / parts.parts;
    const Index l = weight % e.kernel_width, k = weight / e.kernel_width % e.kernel_height;
    const Index channel = weight / e.kernel_width / e.kernel_height;
    const Index o = channel / group_channels,
                c = o / group_outputs * group_channels + channel % group_channels;
    const Index first_row = k * e.dilation_height - e.pad_height,
                first_column = l * e.dilation_width - e.pad_width;
    T total = 0;
    for (Index n = parts.begin(part); n < parts.begin(part + 1); ++n) {
      const Index image = shard * e.batch + n;
      const T* const from = x.at((image * e.channels + c) * e.height * e.width);
      const T* const y = dy.at((image * e.outputs + o) * e.out_height * e.out_width);
      const ConvExtents& extents = e;
      total = total + group.template fold<T>(e.out_height * e.out_width, [=, &extents](Index i, T sum) {
        // 32 bits: a device divides 64 slowly.
        const int width = static_cast<int>(extents.out_width), here = static_cast<int>(i);
        const Index row = here / width * extents.stride_height + first_row;
        const Index column = here % width * extents.stride_width + first_column;
        const bool inside = row >= 0 && row < extents.height && column >= 0 && column < extents.width;
        return inside ? multiply_add(y[i], from[row * extents.width + column], sum) : sum;
      });
    }
    if (group.leader()) out[at] = total;
  }
};

/// Parts in pairs.
template <class T>
struct SumOfParts {
  Index count, parts;
  View<const T> from;  // [shard][part][count]
  View<T> to;          // [shard][count]
  RANKINE_KERNEL void operator()(Index shard, const Columns& columns) const {
    const T* const mine = from.at(shard * parts * count);
    T* const out = to.at(shard * count);
    const Index n = count, all = parts;
    columns.each([=](Index j) { out[j] = sum_in_pairs<T>(all, [=](Index p) { return mine[p * n + j]; }); });
  }
};

/// The sum of each plane.
template <class T>
struct PlaneSum {
  Index space;
  View<const T> x;
  View<T> sums;
  template <class Group>
  RANKINE_KERNEL void operator()(Index plane, const Group& group) const {
    const T* const from = x.at(plane * space);
#if RANKINE_ON_DEVICE
    const T total = group.template sum<T>(space, [=](Index i) { return from[i]; });
#else
    const T total = row_sum(space, from);  // in the same order
#endif
    if (group.leader()) sums[plane] = total;
  }
};
/// Of those the sum over the batch.
template <class T>
struct SumOfPlanes {
  Index batch, channels;
  View<const T> planes;
  View<T> sums;
  RANKINE_KERNEL void operator()(Index shard, const Columns& columns) const {
    const T* const from = planes.at(shard * batch * channels);
    T* const to = sums.at(shard * channels);
    const Index width = channels;
    column_sums<T, 1>(
        columns, batch, [=](Index n, Index c, T& sum) { sum += from[n * width + c]; },
        [=](Index c, T sum) { to[c] = sum; });
  }
};

Index blocks_of(Index n) { return (n + kTogether - 1) / kTogether; }

template <class T>
void sum_parts(const ConvExtents& e, Index shards, const BatchParts& parts, DevicePtr<const T> work,
               DevicePtr<T> dw) {
  const Index weights = e.outputs * e.taps();
  columns("conv_backward_weights", shards, weights, SumOfParts<T>{weights, parts.parts, work, dw});
}

/// What any of the three does that has `weights` arrays of weights.
template <class T>
Cost cost_of(const ConvExtents& e, Index shards, Index weights) {
  const Index images = e.channels * e.height * e.width + e.outputs * e.out_height * e.out_width;
  return {2 * static_cast<double>(shards) * e.multiply_adds(),
          in_bytes<T>(shards * e.batch * images + weights * e.outputs * e.taps())};
}

}  // namespace

template <class T>
void conv_forward_portable(const ConvExtents& e, Index shards, DevicePtr<const T> x, DevicePtr<const T> w,
                           Index w_step, DevicePtr<const T> bias, Index bias_step, DevicePtr<T> y) {
  const Index blocks = blocks_of(e.group_outputs());
  units("conv_forward", shards * e.batch * e.groups * blocks * e.out_height * e.out_width,
        ConvForwardPoint<T>{e, e.group_channels(), e.group_outputs(), blocks, w_step, bias_step, x, w, bias,
                            y});
}

template <class T>
void conv_backward_data_portable(const ConvExtents& e, Index shards, DevicePtr<const T> dy,
                                 DevicePtr<const T> w, Index w_step, DevicePtr<T> dx) {
  const Index blocks = blocks_of(e.group_channels());
  units("conv_backward_data", shards * e.batch * e.groups * blocks * e.height * e.width,
        ConvBackwardDataPoint<T>{e, e.group_channels(), e.group_outputs(), blocks, w_step, dy, w, dx});
}

template <class T>
void conv_backward_weights_portable(const ConvExtents& e, Index shards, DevicePtr<const T> x,
                                    DevicePtr<const T> dy, DevicePtr<T> dw, DevicePtr<T> work) {
  const BatchParts parts = parts_of(e);
  const Index weights = e.outputs * e.taps();
  rows("conv_backward_weights", shards * parts.parts * weights, e.out_height * e.out_width,
       ConvBackwardWeight<T>{e, e.group_channels(), e.group_outputs(), weights, parts, x, dy,
                             parts.parts == 1 ? dw : work});
  if (parts.parts > 1) sum_parts<T>(e, shards, parts, work, dw);
}

template <class T>
void conv_forward(const ConvExtents& e, Index shards, DevicePtr<const T> x, DevicePtr<const T> w,
                  Index w_step, DevicePtr<const T> bias, Index bias_step, DevicePtr<T> y) {
  count_work("conv_forward", cost_of<T>(e, shards, w_step == 0 ? 1 : shards));
  if (runs_portable(Tuned::conv_forward))
    return conv_forward_portable(e, shards, x, w, w_step, bias, bias_step, y);
#if !RANKINE_ON_DEVICE
  host_blocks("conv_forward", shards * e.batch,
              ConvForwardImage<T>{e, ++launches, w_step, bias_step, x, w, bias, y});
#endif
}

template <class T>
void conv_backward_data(const ConvExtents& e, Index shards, DevicePtr<const T> dy, DevicePtr<const T> w,
                        Index w_step, DevicePtr<T> dx) {
  count_work("conv_backward_data", cost_of<T>(e, shards, w_step == 0 ? 1 : shards));
  if (runs_portable(Tuned::conv_backward_data))
    return conv_backward_data_portable(e, shards, dy, w, w_step, dx);
#if !RANKINE_ON_DEVICE
  host_blocks("conv_backward_data", shards * e.batch,
              ConvBackwardDataImage<T>{e, ++launches, w_step, dy, w, dx});
#endif
}

Index conv_weights_workspace(const ConvExtents& e, Index shards) {
  const BatchParts parts = parts_of(e);
  return parts.parts == 1 ? 0 : shards * parts.parts * e.outputs * e.taps();
}

template <class T>
void conv_backward_weights(const ConvExtents& e, Index shards, DevicePtr<const T> x, DevicePtr<const T> dy,
                           DevicePtr<T> dw, DevicePtr<T> work) {
  count_work("conv_backward_weights", cost_of<T>(e, shards, shards));
  if (runs_portable(Tuned::conv_backward_weights))
    return conv_backward_weights_portable(e, shards, x, dy, dw, work);
#if !RANKINE_ON_DEVICE
  const BatchParts parts = parts_of(e);
  ConvExtents most = e;
  most.batch = std::min(e.batch, kWeightImages);
  host_blocks(
      "conv_backward_weights", shards * parts.parts,
      ConvBackwardWeightsPart<T>{e, parts, weights_workspace(most), x, dy, parts.parts == 1 ? dw : work});
  if (parts.parts > 1) sum_parts<T>(e, shards, parts, work, dw);
#endif
}

template <class T>
void channel_sums(Index shards, Index batch, Index channels, Index space, DevicePtr<const T> x,
                  DevicePtr<T> sums, DevicePtr<T> work) {
  const Index numbers = shards * batch * channels * space;
  count_work("channel_sums", {static_cast<double>(numbers), in_bytes<T>(numbers + shards * channels)});
  rows("channel_sums", shards * batch * channels, space, PlaneSum<T>{space, x, work});
  columns("channel_sums", shards, channels, SumOfPlanes<T>{batch, channels, work, sums});
}

#define RANKINE_CONV(T)                                                                                      \
  template void conv_forward(const ConvExtents&, Index, DevicePtr<const T>, DevicePtr<const T>, Index,       \
                             DevicePtr<const T>, Index, DevicePtr<T>);                                       \
  template void conv_forward_portable(const ConvExtents&, Index, DevicePtr<const T>, DevicePtr<const T>,     \
                                      Index, DevicePtr<const T>, Index, DevicePtr<T>);                       \
  template void conv_backward_data(const ConvExtents&, Index, DevicePtr<const T>, DevicePtr<const T>, Index, \
                                   DevicePtr<T>);                                                            \
  template void conv_backward_data_portable(const ConvExtents&, Index, DevicePtr<const T>,                   \
                                            DevicePtr<const T>, Index, DevicePtr<T>);                        \
  template void conv_backward_weights(const ConvExtents&, Index, DevicePtr<const T>, DevicePtr<const T>,     \
                                      DevicePtr<T>, DevicePtr<T>);                                           \
  template void conv_backward_weights_portable(const ConvExtents&, Index, DevicePtr<const T>,                \
                                               DevicePtr<const T>, DevicePtr<T>, DevicePtr<T>);              \
  template void channel_sums(Index, Index, Index, Index, DevicePtr<const T>, DevicePtr<T>, DevicePtr<T>)
RANKINE_CONV(float);
RANKINE_CONV(double);
#undef RANKINE_CONV

}  // namespace rankine::kernels
