#include "kernels/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/blas.hpp"
#include "kernels/launch.hpp"
#include "kernels/map.hpp"
#include "kernels/multiply_add.hpp"
#include "kernels/pointwise.hpp"
#include "kernels/rows.hpp"
#include "kernels/scratch.hpp"

namespace rankine::kernels {
namespace {

// Keys that the last of rows [.., end) sees.
RANKINE_FORCEINLINE std::int64_t seen(const AttentionHead& head, std::int64_t end) {
  return head.causal ? head.past + head.fresh - head.queries + end : head.past + head.fresh;
}

#if !RANKINE_ON_DEVICE
using blas::gemm;
using blas::Op;

// Rows that are worked on together: their weights should stay in the second-level cache.
std::int64_t block_rows(std::int64_t keys) { return keys <= 512 ? 48 : 24; }
// Sums and maxima run in lanes, over rows padded to a multiple of this.
constexpr std::int64_t kLanes = 16;

std::int64_t padded(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Distance of rows of weights: not a power of two.
std::int64_t weight_stride(std::int64_t keys) { return padded(keys) + kLanes; }

// Rows past then fresh, as columns: [dim][past + fresh].
template <class T>
void transpose_keys(const AttentionHead& head, const T* past, const T* fresh, T* out) {
  const std::int64_t n = head.keys();
  const auto copy = [&](const T* rows, std::int64_t count, T* to) {
    constexpr std::int64_t strip = 16;
    for (std::int64_t j0 = 0; j0 < count; j0 += strip)
      for (std::int64_t d = 0; d < head.dim; ++d)
        for (std::int64_t j = j0; j < std::min(count, j0 + strip); ++j)
          to[d * n + j] = rows[j * head.dim + d];
  };
  copy(past, head.past, out);
  copy(fresh, head.fresh, out + head.past);
}

template <class T>
const T* joined(const AttentionHead& head, const T* past, const T* fresh, T* buffer) {
  if (head.past == 0) return fresh;
  std::copy_n(past, head.past * head.dim, buffer);
  std::copy_n(fresh, head.fresh * head.dim, buffer + head.past * head.dim);
  return buffer;
}

template <class T>
T lane_max(std::int64_t n, const T* x) {
  T lanes[kLanes];
  for (int j = 0; j < kLanes; ++j) lanes[j] = x[j];
  for (std::int64_t i = kLanes; i < n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lanes[j] = lanes[j] < x[i + j] ? x[i + j] : lanes[j];
  return *std::max_element(lanes, lanes + kLanes);
}

template <class T>
T fold(T* lanes) {
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lanes[j] = lanes[j] + lanes[j + width];
  return lanes[0];
}

// x = exp(x - shift) on a padded row; returns the sum.
template <class T>
T shifted_exp_row(std::int64_t n, T shift, T* x) {
  T lanes[kLanes] = {};
  for (std::int64_t i = 0; i < n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) {
      const T e = Exp{}(x[i + j] - shift);
      x[i + j] = e;
      lanes[j] = lanes[j] + e;
    }
  return fold(lanes);
}

std::int64_t forward_work(const AttentionHead& head) {
  return 2 * head.keys() * head.dim + block_rows(head.keys()) * weight_stride(head.keys());
}

std::int64_t backward_work(const AttentionHead& head) {
  return 5 * head.keys() * head.dim + 2 * block_rows(head.keys()) * weight_stride(head.keys());
}

template <class T>
void head_forward(const AttentionHead& head, T scale, const T* q, const T* past_k, const T* past_v,
                  const T* k, const T* v, T* o, std::int64_t stride, T* log_sum, T* work) {
  const std::int64_t n = head.keys(), dim = head.dim, rows = block_rows(n), ld = weight_stride(n);
  T* keys = work;
  T* p = work + 2 * n * dim;
  transpose_keys(head, past_k, k, keys);
  const T* values = joined(head, past_v, v, work + n * dim);
  for (std::int64_t begin = 0; begin < head.queries; begin += rows) {
    const std::int64_t count = std::min(rows, head.queries - begin), visible = seen(head, begin + count);
    gemm(Op::none, Op::none, count, visible, dim, scale, q + begin * dim, dim, keys, n, T(0), p, ld);
    T sums[64];
    for (std::int64_t i = 0; i < count; ++i) {
      T* row = p + i * ld;
      const std::int64_t limit = seen(head, begin + i + 1), width = padded(limit);
      std::fill(row + limit, row + width, std::numeric_limits<T>::lowest());
      const T top = lane_max(width, row);
      const T sum = shifted_exp_row(width, top, row);
      std::fill(row + limit, row + visible, T(0));
      log_sum[begin + i] = std::log(sum) + top;
      sums[i] = 1 / sum;
    }
    gemm(Op::none, Op::none, count, dim, visible, T(1), p, ld, values, dim, T(0), o + begin * stride, stride);
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t d = 0; d < dim; ++d) o[(begin + i) * stride + d] *= sums[i];
  }
}

template <class T>
void head_backward(const AttentionHead& head, T scale, const T* q, const T* past_k, const T* past_v,
                   const T* k, const T* v, const T* log_sum, const T* d_o, std::int64_t stride, T* dq,
                   T* d_past_k, T* d_past_v, T* dk, T* dv, T* work) {
  const std::int64_t n = head.keys(), dim = head.dim, rows = block_rows(n), ld = weight_stride(n);
  T* keys = work;
  T* values = keys + n * dim;
  T* buffer = values + n * dim;
  T* d_keys = head.past == 0 ? dk : buffer + n * dim;
  T* d_values = head.past == 0 ? dv : buffer + 2 * n * dim;
  T* p = work + 5 * n * dim;
  T* dp = p + rows * ld;
  transpose_keys(head, past_k, k, keys);
  transpose_keys(head, past_v, v, values);
  const T* key_rows = joined(head, past_k, k, buffer);
  std::fill_n(d_keys, n * dim, T(0));
  std::fill_n(d_values, n * dim, T(0));
  for (std::int64_t begin = 0; begin < head.queries; begin += rows) {
    const std::int64_t count = std::min(rows, head.queries - begin), visible = seen(head, begin + count);
    gemm(Op::none, Op::none, count, visible, dim, scale, q + begin * dim, dim, keys, n, T(0), p, ld);
    gemm(Op::none, Op::none, count, visible, dim, T(1), d_o + begin * stride, stride, values, n, T(0), dp,
         ld);
    for (std::int64_t i = 0; i < count; ++i) {
      T* row = p + i * ld;
      T* d_row = dp + i * ld;
      const std::int64_t limit = seen(head, begin + i + 1), width = padded(limit);
      std::fill(row + limit, row + width, std::numeric_limits<T>::lowest());
      std::fill(d_row + limit, d_row + width, T(0));
      const T shift = log_sum[begin + i];
      T lanes[kLanes] = {};
      for (std::int64_t j = 0; j < width; j += kLanes)
        for (int s = 0; s < kLanes; ++s) {
          const T e = Exp{}(row[j + s] - shift);
          row[j + s] = e;
          lanes[s] = lanes[s] + e * d_row[j + s];
        }
      const T inner = fold(lanes);
      for (std::int64_t j = 0; j < width; ++j) d_row[j] = scale * row[j] * (d_row[j] - inner);
      std::fill(row + limit, row + std::max(width, visible), T(0));
      std::fill(d_row + limit, d_row + std::max(width, visible), T(0));
    }
    gemm(Op::none, Op::none, count, dim, visible, T(1), dp, ld, key_rows, dim, T(0), dq + begin * dim, dim);
    gemm(Op::transpose, Op::none, visible, dim, count, T(1), dp, ld, q + begin * dim, dim, T(1), d_keys, dim);
    gemm(Op::transpose, Op::none, visible, dim, count, T(1), p, ld, d_o + begin * stride, stride, T(1),
         d_values, dim);
  }
  if (head.past == 0) return;
  std::copy_n(d_keys, head.past * dim, d_past_k);
  std::copy_n(d_keys + head.past * dim, head.fresh * dim, dk);
  std::copy_n(d_values, head.past * dim, d_past_v);
  std::copy_n(d_values + head.past * dim, head.fresh * dim, dv);
}

// A unit is a head: its keys are turned into columns once for all its rows.
template <class T>
struct ForwardUnit {
  AttentionShape shape;
  T scale;
  View<const T> q, past_k, past_v, k, v;
  View<T> o, log_sum;
  void operator()(std::int64_t unit) const {
    const AttentionHead& head = shape.head;
    const std::int64_t queries = head.queries * head.dim, past = head.past * head.dim,
                       fresh = head.fresh * head.dim, width = shape.heads * head.dim;
    head_forward(head, scale, q.at(unit * queries), past_k.at(unit * past), past_v.at(unit * past),
                 k.at(unit * fresh), v.at(unit * fresh),
                 o.at(unit / shape.heads * head.queries * width + unit % shape.heads * head.dim), width,
                 log_sum.at(unit * head.queries), host_scratch<T>(forward_work(head)));
  }
};

template <class T>
struct BackwardUnit {
  AttentionShape shape;
  T scale;
  View<const T> q, past_k, past_v, k, v, log_sum, d_o;
  View<T> dq, d_past_k, d_past_v, dk, dv;
  void operator()(std::int64_t unit) const {
    const AttentionHead& head = shape.head;
    const std::int64_t queries = head.queries * head.dim, past = head.past * head.dim,
                       fresh = head.fresh * head.dim, width = shape.heads * head.dim;
    head_backward(head, scale, q.at(unit * queries), past_k.at(unit * past), past_v.at(unit * past),
                  k.at(unit * fresh), v.at(unit * fresh), log_sum.at(unit * head.queries),
                  d_o.at(unit / shape.heads * head.queries * width + unit % shape.heads * head.dim), width,
                  dq.at(unit * queries), d_past_k.at(unit * past), d_past_v.at(unit * past),
                  dk.at(unit * fresh), dv.at(unit * fresh), host_scratch<T>(backward_work(head)));
  }
};
#else
// A team works on kTile rows (queries, or keys in the last of the three bodies) against tiles of kTile
// partners, which it brings into shared memory kTile elements wide; each warp has kWarpRows rows, each lane
// one partner of the tile, or one element of the result.
constexpr int kTile = 32, kWarps = 8, kWarpRows = kTile / kWarps, kTileStride = kTile + 1;
RANKINE_FORCEINLINE std::int64_t tiles(std::int64_t rows) { return (rows + kTile - 1) / kTile; }
RANKINE_FORCEINLINE constexpr std::size_t tile_bytes(std::size_t element) {
  return element * kTile * kTileStride;
}

// Rows of one head, the first `past` of them from a cache.
template <class T>
struct RowSet {
  const T *past_rows, *rows;
  std::int64_t past, count, stride, dim;
  RANKINE_ELEMENT const T* row(std::int64_t i) const {
    return i < past ? past_rows + i * dim : rows + (i - past) * stride;
  }
};

template <class T>
RANKINE_KERNEL T warp_sum(T s) {
  for (int w = kTile / 2; w > 0; w /= 2) s = s + __shfl_xor_sync(0xffffffffu, s, w, kTile);
  return s;
}
template <class T>
RANKINE_KERNEL T warp_max(T top) {
  for (int w = kTile / 2; w > 0; w /= 2) {
    const T v = __shfl_xor_sync(0xffffffffu, top, w, kTile);
    top = larger(top, v);
  }
  return top;
}

// tile[j][c] = element d0 + c of row first + j, 0 outside. The team must not read the tile any more.
template <class Member, class T>
RANKINE_KERNEL void load_tile(const Member& team, const RowSet<T>& from, std::int64_t first, std::int64_t d0,
                              T* tile) {
  const std::int64_t d = d0 + lane_index();
  for (int j = team.team_rank(); j < kTile; j += kWarps)
    tile[j * kTileStride + lane_index()] =
        first + j < from.count && d < from.dim ? from.row(first + j)[d] : T(0);
}

// s[r] = rows[mine + r] . partners[first + lane].
template <class Member, class T>
RANKINE_KERNEL void row_products(const Member& team, const RowSet<T>& rows, std::int64_t mine,
                                 const RowSet<T>& partners, std::int64_t first, T* tile, T (&s)[kWarpRows]) {
  for (int r = 0; r < kWarpRows; ++r) s[r] = T(0);
  for (std::int64_t d0 = 0; d0 < rows.dim; d0 += kTile) {
    team.team_barrier();
    load_tile(team, partners, first, d0, tile);
    team.team_barrier();
    const int width = rows.dim - d0 < kTile ? static_cast<int>(rows.dim - d0) : kTile;
    for (int r = 0; r < kWarpRows; ++r) {
      if (mine + r >= rows.count) continue;
      const T* row = rows.row(mine + r) + d0;
      for (int c = 0; c < width; ++c) s[r] += row[c] * tile[lane_index() * kTileStride + c];
    }
  }
}

// to(r, d)[...] = start(r, d) + sum_j weights[r][j] partners[first + j][d] for the warp's rows.
template <class Member, class T, class Put>
RANKINE_KERNEL void add_weighted(const Member& team, const T* weights, const RowSet<T>& partners,
                                 std::int64_t first, T* tile, const Put& put) {
  const T* mine = weights + team.team_rank() * kWarpRows * kTileStride;
  for (std::int64_t d0 = 0; d0 < partners.dim; d0 += kTile) {
    team.team_barrier();
    load_tile(team, partners, first, d0, tile);
    team.team_barrier();
    const std::int64_t d = d0 + lane_index();
    if (d >= partners.dim) continue;
    for (int r = 0; r < kWarpRows; ++r) {
      T sum = 0;
      for (int j = 0; j < kTile; ++j) sum += mine[r * kTileStride + j] * tile[j * kTileStride + lane_index()];
      put(r, d, sum);
    }
  }
}

// What the three bodies share: the arrays, and their rows that belong to one head.
template <class T>
struct HeadArrays {
  AttentionShape shape;
  T scale;
  View<const T> q, past_k, past_v, k, v, log_sum, d_o;
  RANKINE_ELEMENT std::int64_t out_row(std::int64_t unit, std::int64_t i) const {
    return (unit / shape.heads * shape.head.queries + i) * shape.heads * shape.head.dim +
           unit % shape.heads * shape.head.dim;
  }
  RANKINE_ELEMENT RowSet<T> query_rows(std::int64_t unit) const {
    const AttentionHead& h = shape.head;
    return {nullptr, q.at(unit * h.queries * h.dim), 0, h.queries, h.dim, h.dim};
  }
  RANKINE_ELEMENT RowSet<T> out_rows(std::int64_t unit) const {
    const AttentionHead& h = shape.head;
    return {nullptr, d_o.at(out_row(unit, 0)), 0, h.queries, shape.heads * h.dim, h.dim};
  }
  RANKINE_ELEMENT RowSet<T> key_rows(std::int64_t unit, const View<const T>& past,
                                     const View<const T>& fresh) const {
    const AttentionHead& h = shape.head;
    return {past.at(unit * h.past * h.dim),
            fresh.at(unit * h.fresh * h.dim),
            h.past,
            h.past + h.fresh,
            h.dim,
            h.dim};
  }
};

template <class Member, class T>
RANKINE_KERNEL void shared_tiles(const Member& team, T*& tile, T*& weights) {
  tile = static_cast<T*>(team.team_scratch(0).get_shmem(tile_bytes(sizeof(T))));
  weights = static_cast<T*>(team.team_scratch(0).get_shmem(tile_bytes(sizeof(T))));
}

template <class T>
struct ForwardTeam {
  HeadArrays<T> a;
  View<T> o, log_sum;
  template <class Member>
  RANKINE_KERNEL void operator()(const Member& team) const {
    const AttentionHead& head = a.shape.head;
    const std::int64_t blocks = tiles(head.queries), unit = team.league_rank() / blocks,
                       block = team.league_rank() % blocks * kTile;
    const std::int64_t mine = block + team.team_rank() * kWarpRows, lane = lane_index();
    T *tile, *weights;
    shared_tiles(team, tile, weights);
    const RowSet<T> queries = a.query_rows(unit), keys = a.key_rows(unit, a.past_k, a.k),
                    values = a.key_rows(unit, a.past_v, a.v);
    const std::int64_t end = block + kTile < head.queries ? block + kTile : head.queries;
    T top[kWarpRows], sum[kWarpRows], shrink[kWarpRows];
    const T none = sizeof(T) == 4 ? T(-3e38) : T(-1e308);
    for (int r = 0; r < kWarpRows; ++r) {
      top[r] = none;
      sum[r] = T(0);
    }
    for (std::int64_t first = 0; first < seen(head, end); first += kTile) {
      T s[kWarpRows];
      row_products(team, queries, mine, keys, first, tile, s);
      for (int r = 0; r < kWarpRows; ++r) {
        const bool visible = mine + r < head.queries && first + lane < seen(head, mine + r + 1);
        const T value = visible ? a.scale * s[r] : none;
        const T tile_top = warp_max(value), new_top = larger(top[r], tile_top);
        const T weight = visible ? Exp{}(value - new_top) : T(0);
        shrink[r] = first == 0 ? T(0) : Exp{}(top[r] - new_top);
        sum[r] = sum[r] * shrink[r] + warp_sum(weight);
        top[r] = new_top;
        weights[(team.team_rank() * kWarpRows + r) * kTileStride + lane] = weight;
      }
      add_weighted(team, weights, values, first, tile, [&](int r, std::int64_t d, T part) {
        if (mine + r >= head.queries) return;
        T& to = o[a.out_row(unit, mine + r) + d];
        to = first == 0 ? part : to * shrink[r] + part;
      });
    }
    for (int r = 0; r < kWarpRows; ++r) {
      if (mine + r >= head.queries) continue;
      const T factor = 1 / sum[r];
      for (std::int64_t d = lane; d < head.dim; d += kTile) o[a.out_row(unit, mine + r) + d] *= factor;
      if (lane == 0) log_sum[unit * head.queries + mine + r] = std::log(sum[r]) + top[r];
    }
  }
};

// dq, and inner[i] = sum_j p_ij dp_ij, which the gradients of the keys need too.
template <class T>
struct QueryGradientTeam {
  HeadArrays<T> a;
  View<T> dq, inner;
  template <class Member>
  RANKINE_KERNEL void operator()(const Member& team) const {
    const AttentionHead& head = a.shape.head;
    const std::int64_t blocks = tiles(head.queries), unit = team.league_rank() / blocks,
                       block = team.league_rank() % blocks * kTile;
    const std::int64_t mine = block + team.team_rank() * kWarpRows, lane = lane_index();
    T *tile, *weights;
    shared_tiles(team, tile, weights);
    const RowSet<T> queries = a.query_rows(unit), keys = a.key_rows(unit, a.past_k, a.k),
                    values = a.key_rows(unit, a.past_v, a.v), outs = a.out_rows(unit);
    const std::int64_t end = block + kTile < head.queries ? block + kTile : head.queries;
    T total[kWarpRows] = {};
    for (int pass = 0; pass < 2; ++pass) {
      for (std::int64_t first = 0; first < seen(head, end); first += kTile) {
        T s[kWarpRows], dp[kWarpRows];
        row_products(team, queries, mine, keys, first, tile, s);
        row_products(team, outs, mine, values, first, tile, dp);
        for (int r = 0; r < kWarpRows; ++r) {
          const bool visible = mine + r < head.queries && first + lane < seen(head, mine + r + 1);
          const T p = visible ? Exp{}(a.scale * s[r] - a.log_sum[unit * head.queries + mine + r]) : T(0);
          if (pass == 0)
            total[r] += p * dp[r];
          else
            weights[(team.team_rank() * kWarpRows + r) * kTileStride + lane] =
                a.scale * p * (dp[r] - total[r]);
        }
        if (pass == 0) continue;
        add_weighted(team, weights, keys, first, tile, [&](int r, std::int64_t d, T part) {
          if (mine + r >= head.queries) return;
          T& to = dq[(unit * head.queries + mine + r) * head.dim + d];
          to = first == 0 ? part : to + part;
        });
      }
      if (pass == 1) break;
      for (int r = 0; r < kWarpRows; ++r) {
        total[r] = warp_sum(total[r]);
        if (lane == 0 && mine + r < head.queries) inner[unit * head.queries + mine + r] = total[r];
      }
    }
  }
};

// dk and dv: the rows are keys, their partners queries, in order.
template <class T>
struct KeyGradientTeam {
  HeadArrays<T> a;
  View<const T> inner;
  View<T> d_past_k, d_past_v, dk, dv;
  template <class Member>
  RANKINE_KERNEL void operator()(const Member& team) const {
    const AttentionHead& head = a.shape.head;
    const std::int64_t count = head.past + head.fresh, blocks = tiles(count),
                       unit = team.league_rank() / blocks, block = team.league_rank() % blocks * kTile;
    const std::int64_t mine = block + team.team_rank() * kWarpRows, lane = lane_index();
    T *tile, *weights;
    shared_tiles(team, tile, weights);
    const RowSet<T> queries = a.query_rows(unit), keys = a.key_rows(unit, a.past_k, a.k),
                    values = a.key_rows(unit, a.past_v, a.v), outs = a.out_rows(unit);
    const auto add = [&](const View<T>& past, const View<T>& fresh, bool fresh_start, int r, std::int64_t d,
                         T part) {
      const std::int64_t j = mine + r;
      if (j >= count) return;
      T& to = j < head.past ? past[(unit * head.past + j) * head.dim + d]
                            : fresh[(unit * head.fresh + j - head.past) * head.dim + d];
      to = fresh_start ? part : to + part;
    };
    for (std::int64_t first = 0; first < head.queries; first += kTile) {
      T s[kWarpRows], dp[kWarpRows];
      row_products(team, keys, mine, queries, first, tile, s);
      row_products(team, values, mine, outs, first, tile, dp);
      const std::int64_t i = first + lane, query = unit * head.queries + i;
      for (int r = 0; r < kWarpRows; ++r) {
        const bool visible = i < head.queries && mine + r < count && mine + r < seen(head, i + 1);
        s[r] = visible ? Exp{}(a.scale * s[r] - a.log_sum[query]) : T(0);
        dp[r] = visible ? a.scale * s[r] * (dp[r] - inner[query]) : T(0);
        weights[(team.team_rank() * kWarpRows + r) * kTileStride + lane] = s[r];
      }
      add_weighted(team, weights, outs, first, tile,
                   [&](int r, std::int64_t d, T part) { add(d_past_v, dv, first == 0, r, d, part); });
      __syncwarp();
      for (int r = 0; r < kWarpRows; ++r)
        weights[(team.team_rank() * kWarpRows + r) * kTileStride + lane] = dp[r];
      add_weighted(team, weights, queries, first, tile,
                   [&](int r, std::int64_t d, T part) { add(d_past_k, dk, first == 0, r, d, part); });
    }
  }
};
#endif

// Element i of a row x, turned by the angles if there are any (backwards if sign = -1).
template <class T>
RANKINE_FORCEINLINE T turned(std::int64_t dim, const T* angles, T sign, const T* x, std::int64_t i) {
  if (angles == nullptr) return x[i];
  const std::int64_t half = dim / 2;
  if (i < half) return angles[2 * i] * x[i] - sign * angles[2 * i + 1] * x[i + half];
  return sign * angles[2 * (i - half) + 1] * x[i - half] + angles[2 * (i - half)] * x[i];
}

#if !RANKINE_ON_DEVICE
// The whole row.
template <class T>
void turn(std::int64_t dim, const T* angles, T sign, const T* x, T* y) {
  if (angles == nullptr) {
    std::copy_n(x, dim, y);
    return;
  }
  const std::int64_t half = dim / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const T c = angles[2 * i], s = sign * angles[2 * i + 1], a = x[i], b = x[i + half];
    y[i] = c * a - s * b;
    y[i + half] = s * a + c * b;
  }
}
#endif

// The joint projection to heads, or back: a token on the host, an element on a device.
template <class T, bool split>
struct MoveHeads {
  HeadsShape s;
  View<const T> angles;
  View<const T> from[3];
  View<T> to[3];
  // Element 0 of part w (0, 1, 2: q, k, v) of head h of token t.
  RANKINE_ELEMENT std::int64_t joint(std::int64_t t, std::int64_t w, std::int64_t h) const {
    return ((3 * t + w) * s.heads + h) * s.dim;
  }
  RANKINE_ELEMENT std::int64_t apart(std::int64_t t, std::int64_t h) const {
    return ((t / s.tokens * s.heads + h) * s.tokens + t % s.tokens) * s.dim;
  }
  RANKINE_ELEMENT const T* turns(std::int64_t t, std::int64_t w) const {
    return angles.defined() && w < 2 ? angles.at(t % s.tokens * s.dim) : nullptr;
  }
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t at) const {
    const std::int64_t i = at % s.dim, h = at / s.dim % s.heads, w = at / (s.dim * s.heads) % 3,
                       t = at / (3 * s.dim * s.heads);
    if constexpr (split)
      to[w][apart(t, h) + i] = turned(s.dim, turns(t, w), T(1), from[0].at(joint(t, w, h)), i);
    else
      to[0][joint(t, w, h) + i] =
          from[w].defined() ? turned(s.dim, turns(t, w), T(-1), from[w].at(apart(t, h)), i) : T(0);
  }
#else
  void operator()(std::int64_t t) const {
    for (std::int64_t h = 0; h < s.heads; ++h)
      for (int w = 0; w < 3; ++w) {
        if constexpr (split)
          turn(s.dim, turns(t, w), T(1), from[0].at(joint(t, w, h)), to[w].at(apart(t, h)));
        else if (from[w].defined())
          turn(s.dim, turns(t, w), T(-1), from[w].at(apart(t, h)), to[0].at(joint(t, w, h)));
        else
          std::fill_n(to[0].at(joint(t, w, h)), s.dim, T(0));
      }
  }
#endif
};

template <class T, bool split>
void move_heads(const char* name, const MoveHeads<T, split>& body) {
  const std::int64_t tokens = body.s.sequences * body.s.tokens, width = body.s.heads * body.s.dim;
  // Queries and keys are turned: three flops a number.
  count_work(name, {body.angles.defined() ? 6.0 * static_cast<double>(tokens * width) : 0.0,
                    in_bytes<T>(6 * tokens * width)});
#if RANKINE_ON_DEVICE
  units(name, 3 * tokens * width, body);
#else
  units(name, tokens, body);
#endif
}

template <class T>
struct Mask {
  AttentionHead head;
  T hidden;
  RANKINE_ELEMENT T operator()(std::int64_t at) const {
    const std::int64_t keys = head.past + head.fresh;
    return at % keys < seen(head, at / keys + 1) ? T(0) : hidden;
  }
};

}  // namespace

double AttentionHead::flops() const {
  const double pairs = causal ? static_cast<double>(queries) *
                                    (static_cast<double>(keys()) - 0.5 * static_cast<double>(queries - 1))
                              : static_cast<double>(queries) * static_cast<double>(keys());
  return 4 * pairs * static_cast<double>(dim);
}

namespace {
/// Bytes of the arrays of queries' and of keys' size, so many each, and of a number a query.
template <class T>
double array_bytes(const AttentionShape& shape, int of_queries, int of_keys) {
  const AttentionHead& head = shape.head;
  return in_bytes<T>(shape.units() *
                     ((of_queries * head.queries + of_keys * head.keys()) * head.dim + head.queries));
}
}  // namespace

template <class T>
void attention_forward(const AttentionShape& shape, T scale, const AttentionInputs<T>& in, DevicePtr<T> o,
                       DevicePtr<T> log_sum) {
  count_work("attention",
             {static_cast<double>(shape.units()) * shape.head.flops(), array_bytes<T>(shape, 2, 2)});
#if RANKINE_ON_DEVICE
  const HeadArrays<T> arrays{shape, scale, in.q, in.past_k, in.past_v, in.k, in.v, {}, {}};
  device_teams("attention", shape.units() * tiles(shape.head.queries), kWarps, kTile,
               2 * tile_bytes(sizeof(T)), ForwardTeam<T>{arrays, o, log_sum});
#else
  units("attention", shape.units(),
        ForwardUnit<T>{shape, scale, in.q, in.past_k, in.past_v, in.k, in.v, o, log_sum});
#endif
}

std::int64_t attention_backward_work(const AttentionShape& shape) {
  return RANKINE_ON_DEVICE ? shape.units() * shape.head.queries : 0;
}

template <class T>
void attention_backward(const AttentionShape& shape, T scale, const AttentionInputs<T>& in,
                        DevicePtr<const T> log_sum, DevicePtr<const T> d_o, const AttentionGradients<T>& out,
                        [[maybe_unused]] DevicePtr<T> work) {
  count_work("attention_backward",
             {2.5 * static_cast<double>(shape.units()) * shape.head.flops(), array_bytes<T>(shape, 3, 4)});
#if RANKINE_ON_DEVICE
  const HeadArrays<T> arrays{shape, scale, in.q, in.past_k, in.past_v, in.k, in.v, log_sum, d_o};
  const std::size_t scratch = 2 * tile_bytes(sizeof(T));
  device_teams("attention_backward", shape.units() * tiles(shape.head.queries), kWarps, kTile, scratch,
               QueryGradientTeam<T>{arrays, out.q, work});
  device_teams("attention_backward", shape.units() * tiles(shape.head.keys()), kWarps, kTile, scratch,
               KeyGradientTeam<T>{arrays, work, out.past_k, out.past_v, out.k, out.v});
#else
  units("attention_backward", shape.units(),
        BackwardUnit<T>{shape, scale, in.q, in.past_k, in.past_v, in.k, in.v, log_sum, d_o, out.q, out.past_k,
                        out.past_v, out.k, out.v});
#endif
}

template <class T>
void split_heads(const HeadsShape& shape, DevicePtr<const T> angles, DevicePtr<const T> qkv, DevicePtr<T> q,
                 DevicePtr<T> k, DevicePtr<T> v) {
  move_heads("split_heads", MoveHeads<T, true>{shape, angles, {qkv, {}, {}}, {q, k, v}});
}

template <class T>
void merge_heads(const HeadsShape& shape, DevicePtr<const T> angles, DevicePtr<const T> q,
                 DevicePtr<const T> k, DevicePtr<const T> v, DevicePtr<T> qkv) {
  move_heads("merge_heads", MoveHeads<T, false>{shape, angles, {q, k, v}, {qkv, {}, {}}});
}

template <class T>
void attention_mask(const AttentionHead& head, DevicePtr<T> mask) {
  map_index("attention_mask", Mask<T>{head, -std::numeric_limits<T>::infinity()}, head.queries * head.keys(),
            mask);
}

#define RANKINE_INSTANTIATE(T)                                                                              \
  template void attention_forward(const AttentionShape&, T, const AttentionInputs<T>&, DevicePtr<T>,        \
                                  DevicePtr<T>);                                                            \
  template void attention_backward(const AttentionShape&, T, const AttentionInputs<T>&, DevicePtr<const T>, \
                                   DevicePtr<const T>, const AttentionGradients<T>&, DevicePtr<T>);         \
  template void split_heads(const HeadsShape&, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<T>,        \
                            DevicePtr<T>, DevicePtr<T>);                                                    \
  template void merge_heads(const HeadsShape&, DevicePtr<const T>, DevicePtr<const T>, DevicePtr<const T>,  \
                            DevicePtr<const T>, DevicePtr<T>);                                              \
  template void attention_mask(const AttentionHead&, DevicePtr<T>);
RANKINE_INSTANTIATE(float)
RANKINE_INSTANTIATE(double)
#undef RANKINE_INSTANTIATE

}  // namespace rankine::kernels
