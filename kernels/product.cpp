#include "kernels/product.hpp"

#include <algorithm>
#include <complex>
#include <type_traits>

#include "kernels/launch.hpp"
#include "kernels/multiply_add.hpp"

namespace rankine::kernels {
namespace {

using blas::Op;

/// Where the matrices of unit u begin.
struct Start {
  std::int64_t a = 0, b = 0, c = 0, bias = 0;
};
KOKKOS_FORCEINLINE_FUNCTION Start start_of(const Product& p, const List<std::int64_t, 3>& bias_step,
                                           std::int64_t u) {
  Start at;
  for (int axis = 2; axis >= 0; --axis) {
    const std::int64_t i = u % p.batch[axis];
    u /= p.batch[axis];
    at.a += i * p.a_step[axis];
    at.b += i * p.b_step[axis];
    at.c += i * p.c_step[axis];
    at.bias += i * bias_step[axis];
  }
  return at;
}

/// The operands of all units. With a bias it is alpha = beta = 1, and the bias stands for C.
template <class T>
struct Operands {
  T alpha, beta;
  View<const T> a, b;
  View<T> c;
  View<const T> bias;
  std::int64_t bias_row, bias_column;  // distances between its values along rows and columns of C
  List<std::int64_t, 3> bias_step;
};

template <class T>
Operands<T> operands(T alpha, DevicePtr<const T> a, DevicePtr<const T> b, T beta, DevicePtr<T> c) {
  return {alpha, beta, a, b, c, {}, 0, 0, {}};
}
template <class T>
Operands<T> operands(DevicePtr<const T> a, DevicePtr<const T> b, const Bias<T>& bias, DevicePtr<T> c) {
  const bool to_rows = bias.to == Bias<T>::To::rows;
  return {T(1),
          T(1),
          a,
          b,
          c,
          bias.values,
          to_rows ? 0 : 1,
          to_rows ? 1 : 0,
          {bias.step[0], bias.step[1], bias.step[2]}};
}

/// One element of a C at a time. For complex numbers R is their real type, and all offsets count pairs.
template <class T>
struct ElementProduct {
  Product p;
  Operands<T> o;
  RANKINE_KERNEL void operator()(std::int64_t e) const {
    const std::int64_t j = e % p.n, i = e / p.n % p.m;
    const Start at = start_of(p, o.bias_step, e / p.n / p.m);
    const bool plain_a = p.op_a == Op::none, plain_b = p.op_b == Op::none;
    const std::int64_t a_next = plain_a ? 1 : p.lda, b_next = plain_b ? p.ldb : 1;
    const T* a = o.a.at(at.a + i * (plain_a ? p.lda : 1));
    const T* b = o.b.at(at.b + j * (plain_b ? 1 : p.ldb));
    T sum = 0;
    for (std::int64_t q = 0; q < p.k; ++q, a += a_next, b += b_next) sum = multiply_add(*a, *b, sum);
    T& to = o.c[at.c + i * p.ldc + j];
    sum = o.alpha * sum;
    if (o.bias.defined())
      to = multiply_add(o.beta, o.bias[at.bias + i * o.bias_row + j * o.bias_column], sum);
    else
      to = o.beta == T(0) ? sum : multiply_add(o.beta, to, sum);
  }
};

/// a b + c for complex numbers, a part being one chain: the product with re a first.
template <class R>
KOKKOS_FORCEINLINE_FUNCTION void multiply_add_pair(const R* a, const R* b, R* c) {
  c[0] = multiply_add(a[0], b[0], c[0]);
  c[0] = multiply_add(a[1], -b[1], c[0]);
  c[1] = multiply_add(a[0], b[1], c[1]);
  c[1] = multiply_add(a[1], b[0], c[1]);
}

template <class R>
struct ElementComplexProduct {
  Product p;
  View<const R> a, b;
  View<R> c;
  R alpha[2], beta[2];
  RANKINE_KERNEL void operator()(std::int64_t e) const {
    const std::int64_t j = e % p.n, i = e / p.n % p.m;
    const Start at = start_of(p, {}, e / p.n / p.m);
    const bool plain_a = p.op_a == Op::none, plain_b = p.op_b == Op::none;
    const std::int64_t a_next = plain_a ? 1 : p.lda, b_next = plain_b ? p.ldb : 1;
    const R* x = a.at(2 * (at.a + i * (plain_a ? p.lda : 1)));
    const R* y = b.at(2 * (at.b + j * (plain_b ? 1 : p.ldb)));
    R sum[2] = {};
    for (std::int64_t q = 0; q < p.k; ++q, x += 2 * a_next, y += 2 * b_next) multiply_add_pair(x, y, sum);
    R* to = c.at(2 * (at.c + i * p.ldc + j));
    R value[2] = {multiply_add(-alpha[1], sum[1], alpha[0] * sum[0]),
                  multiply_add(alpha[1], sum[0], alpha[0] * sum[1])};
    if (beta[0] != R(0) || beta[1] != R(0)) {
      const R before[2] = {to[0], to[1]};
      value[0] = multiply_add(-beta[1], before[1], multiply_add(beta[0], before[0], value[0]));
      value[1] = multiply_add(beta[1], before[0], multiply_add(beta[0], before[1], value[1]));
    }
    to[0] = value[0];
    to[1] = value[1];
  }
};

template <class T>
void launch_elements(const Product& p, const Operands<T>& o) {
  units(p.name, p.units() * p.m * p.n, ElementProduct<T>{p, o});
}
template <class R>
void launch_elements(const Product& p, std::complex<R> alpha, DevicePtr<const std::complex<R>> a,
                     DevicePtr<const std::complex<R>> b, std::complex<R> beta, DevicePtr<std::complex<R>> c) {
  const ElementComplexProduct<R> body{p,
                                      a.template as<const R>(),
                                      b.template as<const R>(),
                                      c.template as<R>(),
                                      {alpha.real(), alpha.imag()},
                                      {beta.real(), beta.imag()}};
  units(p.name, p.units() * p.m * p.n, body);
}
template <class T>
void launch_elements(const Product& p, T alpha, DevicePtr<const T> a, DevicePtr<const T> b, T beta,
                     DevicePtr<T> c) {
  launch_elements(p, operands(alpha, a, b, beta, c));
}

#if !RANKINE_ON_DEVICE
/// How the host divides a product into blocks: each has some neighbours along the last batch axis, whose
/// starts are cheap to find, and of few matrices some rows or columns. No element's bits depend on it.
struct Blocks {
  std::int64_t together, groups;       // neighbours in a block, and blocks for all of them
  std::int64_t height, width;          // of a block's part of C
  std::int64_t rows = 1, columns = 1;  // parts
};
Blocks blocks_of(const Product& p) {
  constexpr std::int64_t rows_together = 12, columns_together = 32, blocks_a_thread = 4;
  const std::int64_t threads = backend_concurrency(), outer = p.batch[0] * p.batch[1], inner = p.batch[2];
  if (threads == 1) return {inner, 1, p.m, p.n};
  const std::int64_t groups =
      std::clamp((blocks_a_thread * threads + outer - 1) / outer, std::int64_t{1}, inner);
  Blocks b{(inner + groups - 1) / groups, 0, p.m, p.n};
  b.groups = (inner + b.together - 1) / b.together;
  if (outer * inner < threads) {
    const std::int64_t wanted = (threads + outer * inner - 1) / (outer * inner);
    const auto divide = [wanted](std::int64_t& extent, std::int64_t together, std::int64_t& parts) {
      const std::int64_t all = extent;
      extent = ((all + wanted - 1) / wanted + together - 1) / together * together;
      parts = (all + extent - 1) / extent;
    };
    // The longer side: a part that is narrower than the tiles of gemm() takes as long as a whole one.
    if (p.m >= p.n)
      divide(b.height, rows_together, b.rows);
    else
      divide(b.width, columns_together, b.columns);
  }
  return b;
}

/// The host's products of a block.
template <class T>
struct TunedProduct {
  Product p;
  Operands<T> o;
  Blocks blocks;
  inline void operator()(std::int64_t block) const {
    const std::int64_t column = block % blocks.columns * blocks.width;
    block /= blocks.columns;
    const std::int64_t row = block % blocks.rows * blocks.height;
    block /= blocks.rows;
    const std::int64_t m = std::min(blocks.height, p.m - row), n = std::min(blocks.width, p.n - column);
    const std::int64_t first = block % blocks.groups * blocks.together,
                       last = std::min(first + blocks.together, p.batch[2]);
    Start at = start_of(p, o.bias_step, block / blocks.groups * p.batch[2] + first);
    at.a += row * (p.op_a == Op::none ? p.lda : 1);
    at.b += column * (p.op_b == Op::none ? 1 : p.ldb);
    at.c += row * p.ldc + column;
    at.bias += row * o.bias_row + column * o.bias_column;
    for (std::int64_t u = first; u < last; ++u) {
      T* const c = o.c.at(at.c);
      if (o.bias.defined()) {
        const T* const bias = o.bias.at(at.bias);
        for (std::int64_t i = 0; i < m; ++i) {
          if (o.bias_column == 0)
            std::fill_n(c + i * p.ldc, n, bias[i]);
          else
            std::copy_n(bias, n, c + i * p.ldc);
        }
      }
      blas::gemm(p.op_a, p.op_b, m, n, p.k, o.alpha, o.a.at(at.a), p.lda, o.b.at(at.b), p.ldb, o.beta, c,
                 p.ldc);
      at.a += p.a_step[2];
      at.b += p.b_step[2];
      at.c += p.c_step[2];
      at.bias += o.bias_step[2];
    }
  }
};

template <class T>
void launch(const Product& p, const Operands<T>& o) {
  if (p.m == 0 || p.n == 0 || p.units() == 0) return;
  const Blocks blocks = blocks_of(p);
  host_blocks(p.name, p.batch[0] * p.batch[1] * blocks.groups * blocks.rows * blocks.columns,
              TunedProduct<T>{p, o, blocks});
}
template <class T>
void launch(const Product& p, T alpha, DevicePtr<const T> a, DevicePtr<const T> b, T beta, DevicePtr<T> c) {
  launch(p, operands(alpha, a, b, beta, c));
}
#else
/// 64 x 64 elements of a C: 16 x 16 threads with 4 x 4 each, which go through k in steps of 16, in order.
template <class T>
struct TiledProduct {
  static constexpr int kTile = 64, kDepth = 16, kThreads = 256;
  static constexpr std::size_t kScratch = (kTile * (kDepth + 1) + kTile * kDepth) * sizeof(T) + 64;
  Product p;
  Operands<T> o;
  std::int64_t tiles_m, tiles_n;
  template <class Member>
  RANKINE_KERNEL void operator()(const Member& team) const {
    T* const sa = static_cast<T*>(team.team_scratch(0).get_shmem(kTile * (kDepth + 1) * sizeof(T)));
    T* const sb = static_cast<T*>(team.team_scratch(0).get_shmem(kTile * kDepth * sizeof(T)));
    std::int64_t tile = team.league_rank();
    const std::int64_t column = tile % tiles_n * kTile;
    tile /= tiles_n;
    const std::int64_t row = tile % tiles_m * kTile;
    const Start at = start_of(p, o.bias_step, tile / tiles_m);
    const bool plain_a = p.op_a == Op::none, plain_b = p.op_b == Op::none;
    const std::int64_t a_row = plain_a ? p.lda : 1, a_column = plain_a ? 1 : p.lda;
    const std::int64_t b_row = plain_b ? p.ldb : 1, b_column = plain_b ? 1 : p.ldb;
    const int t = team.team_rank(), ty = t / 16, tx = t % 16;
    T acc[4][4] = {};
    for (std::int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
      for (int e = t; e < kTile * kDepth; e += kThreads) {
        // Neighbouring threads read neighbouring elements, whichever way the matrices are stored.
        const int ai = plain_a ? e / kDepth : e % kTile, ak = plain_a ? e % kDepth : e / kTile;
        const bool a_there = row + ai < p.m && k0 + ak < p.k;
        sa[ai * (kDepth + 1) + ak] = a_there ? o.a[at.a + (row + ai) * a_row + (k0 + ak) * a_column] : T(0);
        const int bj = plain_b ? e % kTile : e / kDepth, bk = plain_b ? e / kTile : e % kDepth;
        const bool b_there = column + bj < p.n && k0 + bk < p.k;
        sb[bk * kTile + bj] = b_there ? o.b[at.b + (k0 + bk) * b_row + (column + bj) * b_column] : T(0);
      }
      team.team_barrier();
      // Not beyond k: a product with zeros would turn a sum of -0 to 0.
      const int depth = p.k - k0 < kDepth ? static_cast<int>(p.k - k0) : kDepth;
      for (int k = 0; k < depth; ++k) {
        T av[4], bv[4];
        for (int i = 0; i < 4; ++i) av[i] = sa[(ty + 16 * i) * (kDepth + 1) + k];
        for (int j = 0; j < 4; ++j) bv[j] = sb[k * kTile + tx + 16 * j];
        for (int i = 0; i < 4; ++i)
          for (int j = 0; j < 4; ++j) acc[i][j] = multiply_add(av[i], bv[j], acc[i][j]);
      }
      team.team_barrier();
    }
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j) {
        const std::int64_t r = row + ty + 16 * i, c = column + tx + 16 * j;
        if (r >= p.m || c >= p.n) continue;
        T& to = o.c[at.c + r * p.ldc + c];
        const T sum = o.alpha * acc[i][j];
        if (o.bias.defined())
          to = multiply_add(o.beta, o.bias[at.bias + r * o.bias_row + c * o.bias_column], sum);
        else
          to = o.beta == T(0) ? sum : multiply_add(o.beta, to, sum);
      }
  }
};

template <class T>
void launch(const Product& p, const Operands<T>& o) {
  const std::int64_t batch = p.units();
  if (p.m == 0 || p.n == 0 || batch == 0) return;
  // Of small matrices a tile would be mostly empty.
  if (p.m < 32 || p.n < 32) {
    launch_elements(p, o);
    return;
  }
  using Tile = TiledProduct<T>;
  const std::int64_t tiles_m = (p.m + Tile::kTile - 1) / Tile::kTile,
                     tiles_n = (p.n + Tile::kTile - 1) / Tile::kTile;
  device_teams(p.name, batch * tiles_m * tiles_n, Tile::kThreads, 1, Tile::kScratch,
               Tile{p, o, tiles_m, tiles_n});
}
template <class T>
void launch(const Product& p, T alpha, DevicePtr<const T> a, DevicePtr<const T> b, T beta, DevicePtr<T> c) {
  if constexpr (std::is_floating_point_v<T>)
    launch(p, operands(alpha, a, b, beta, c));
  else
    launch_elements(p, alpha, a, b, beta, c);
}
#endif

constexpr std::int64_t kColumnsTogether = RANKINE_ON_DEVICE ? 1 : 64;

/// The sums of neighbouring columns over n parts by adjacent pairs: level l keeps the sum of 2^l parts until
/// its neighbour is there.
template <class T>
struct SumParts {
  static constexpr int kLevels = 40;
  std::int64_t n, blocks, outer;
  List<View<const T>, 4> parts;
  List<View<T>, 4> sums;
  List<std::int64_t, 4> count, first;  // of columns, and of the array's first block
  int arrays;
  RANKINE_KERNEL void operator()(std::int64_t unit) const {
    const std::int64_t block = unit % blocks, o = unit / blocks;
    int array = 0;
    while (array + 1 < arrays && block >= first[array + 1]) ++array;
    const std::int64_t width = count[array], begin = (block - first[array]) * kColumnsTogether;
    const std::int64_t columns = width - begin < kColumnsTogether ? width - begin : kColumnsTogether;
    const T* from = parts[array].at(o * n * width + begin);
    T* const to = sums[array].at(o * width + begin);
    T level[kLevels][kColumnsTogether], part[kColumnsTogether];
    for (std::int64_t k = 0; k < n; ++k, from += width) {
      for (std::int64_t j = 0; j < columns; ++j) part[j] = from[j];
      int l = 0;
      for (std::int64_t m = k; (m & 1) != 0; m >>= 1, ++l)
        for (std::int64_t j = 0; j < columns; ++j) part[j] = level[l][j] + part[j];
      for (std::int64_t j = 0; j < columns; ++j) level[l][j] = part[j];
    }
    // What is left are the odd ones, from the last to the first.
    bool some = false;
    for (int l = 0; l < kLevels; ++l) {
      if (((n >> l) & 1) == 0) continue;
      for (std::int64_t j = 0; j < columns; ++j) part[j] = some ? level[l][j] + part[j] : level[l][j];
      some = true;
    }
    for (std::int64_t j = 0; j < columns; ++j) to[j] = some ? part[j] : T(0);
  }
};

template <class T>
struct ColumnSums {
  std::int64_t rows, n, blocks;
  View<const T> x;
  View<T> sums;
  RANKINE_KERNEL void operator()(std::int64_t unit) const {
    const std::int64_t o = unit / blocks, begin = unit % blocks * kColumnsTogether;
    const std::int64_t columns = n - begin < kColumnsTogether ? n - begin : kColumnsTogether;
    const T* from = x.at(o * rows * n + begin);
    T sum[kColumnsTogether];
    for (std::int64_t j = 0; j < columns; ++j) sum[j] = T(0);
    std::int64_t r = 0;
    for (; r + 4 <= rows; r += 4, from += 4 * n)
      for (std::int64_t j = 0; j < columns; ++j)
        sum[j] = sum[j] + ((from[j] + from[n + j]) + (from[2 * n + j] + from[3 * n + j]));
    for (; r < rows; ++r, from += n)
      for (std::int64_t j = 0; j < columns; ++j) sum[j] = sum[j] + from[j];
    T* const to = sums.at(o * n + begin);
    for (std::int64_t j = 0; j < columns; ++j) to[j] = sum[j];
  }
};

/// Each matrix that is there once is read once; C is read too where it is added to.
template <class T>
void count_product(const Product& p, bool adds) {
  const auto matrices = [&](const std::int64_t(&step)[3]) {
    std::int64_t count = 1;
    for (int axis = 0; axis < 3; ++axis)
      if (step[axis] != 0) count *= p.batch[axis];
    return count;
  };
  const double chain = std::is_floating_point_v<T> ? 2 : 8;
  count_work(p.name, {chain * static_cast<double>(p.units() * p.m * p.n) * static_cast<double>(p.k),
                      in_bytes<T>(matrices(p.a_step) * p.m * p.k + matrices(p.b_step) * p.k * p.n +
                                  (adds ? 2 : 1) * p.units() * p.m * p.n)});
}

}  // namespace

template <class T>
void product(const Product& p, T alpha, DevicePtr<const T> a, DevicePtr<const T> b, T beta, DevicePtr<T> c) {
  count_product<T>(p, beta != T(0));
#if !RANKINE_ON_DEVICE  // devices have tiles of their own
  if (runs_portable(Tuned::product)) return product_portable(p, alpha, a, b, beta, c);
#endif
  launch(p, alpha, a, b, beta, c);
}
template <class T>
void product(const Product& p, DevicePtr<const T> a, DevicePtr<const T> b, const Bias<T>& bias,
             DevicePtr<T> c) {
  count_product<T>(p, false);
  launch(p, operands(a, b, bias, c));
}
template <class T>
void product_portable(const Product& p, T alpha, DevicePtr<const T> a, DevicePtr<const T> b, T beta,
                      DevicePtr<T> c) {
  launch_elements(p, alpha, a, b, beta, c);
}
template <class T>
void product_portable(const Product& p, DevicePtr<const T> a, DevicePtr<const T> b, const Bias<T>& bias,
                      DevicePtr<T> c) {
  launch_elements(p, operands(a, b, bias, c));
}

template <class T>
void sum_parts(const char* name, std::int64_t outer, std::int64_t n, std::initializer_list<Parts<T>> arrays) {
  SumParts<T> body{};
  body.n = n;
  std::int64_t columns = 0;
  for (const Parts<T>& array : arrays) {
    const int i = body.arrays++;
    body.parts[i] = array.parts;
    body.sums[i] = array.sums;
    body.count[i] = array.count;
    columns += array.count;
    body.first[i] = body.blocks;
    body.blocks += (array.count + kColumnsTogether - 1) / kColumnsTogether;
  }
  count_work(name, {static_cast<double>(outer * n * columns), in_bytes<T>(outer * (n + 1) * columns)});
  units(name, outer * body.blocks, body);
}

template <class T>
void column_sums(const char* name, std::int64_t outer, std::int64_t rows, std::int64_t n,
                 DevicePtr<const T> x, DevicePtr<T> sums) {
  const std::int64_t blocks = (n + kColumnsTogether - 1) / kColumnsTogether;
  count_work(name, {static_cast<double>(outer * rows * n), in_bytes<T>(outer * (rows + 1) * n)});
  units(name, outer * blocks, ColumnSums<T>{rows, n, blocks, x, sums});
}

#define RANKINE_PRODUCT(T)                                                                           \
  template void product(const Product&, T, DevicePtr<const T>, DevicePtr<const T>, T, DevicePtr<T>); \
  template void product_portable(const Product&, T, DevicePtr<const T>, DevicePtr<const T>, T, DevicePtr<T>);
#define RANKINE_REAL_PRODUCT(T)                                                                          \
  RANKINE_PRODUCT(T)                                                                                     \
  template void product(const Product&, DevicePtr<const T>, DevicePtr<const T>, const Bias<T>&,          \
                        DevicePtr<T>);                                                                   \
  template void product_portable(const Product&, DevicePtr<const T>, DevicePtr<const T>, const Bias<T>&, \
                                 DevicePtr<T>);                                                          \
  template void sum_parts(const char*, std::int64_t, std::int64_t, std::initializer_list<Parts<T>>);     \
  template void column_sums(const char*, std::int64_t, std::int64_t, std::int64_t, DevicePtr<const T>,   \
                            DevicePtr<T>);
RANKINE_REAL_PRODUCT(float)
RANKINE_REAL_PRODUCT(double)
RANKINE_PRODUCT(std::complex<float>)
RANKINE_PRODUCT(std::complex<double>)

}  // namespace rankine::kernels
