// Kernels of rows, attention, recurrent cells and neurons against plain loops in double. This file is
// compiled twice: once with the kernels as they run on the host, and once, in a namespace of another name,
// with their device bodies, whose threads are fibres (kernels/emulate.hpp).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/attention.hpp"
#include "kernels/multiply_add.hpp"
#include "kernels/neurons.hpp"
#include "kernels/recurrent.hpp"
#include "kernels/row_ops.hpp"
#include "kernels/runtime.hpp"
#include "kernels/sparse_product.hpp"
#ifdef RANKINE_EMULATE_DEVICE
#include "tests/support/needed_barriers.hpp"
#endif

namespace rankine::kernels {
namespace {

/// Device memory with the values of a vector, and one element more, which must stay as it is.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::vector<T> values) : count_(static_cast<std::int64_t>(values.size())) {
    values.push_back(mark);
    memory_ = device_allocate(values.size() * sizeof(T));
    copy_to_device(address(), values.data(), count_ + 1);
  }
  explicit OnDevice(std::int64_t count) : OnDevice(std::vector<T>(static_cast<std::size_t>(count), mark)) {}
  ~OnDevice() { device_free(memory_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  operator DevicePtr<T>() const { return address(); }
  operator DevicePtr<const T>() const { return address(); }
  std::vector<T> values() const {
    std::vector<T> out(static_cast<std::size_t>(count_ + 1));
    copy_to_host(out.data(), address(), count_ + 1);
    EXPECT_EQ(out.back(), mark) << "something wrote behind the end";
    out.pop_back();
    return out;
  }

 private:
  static constexpr T mark = T(77);
  DevicePtr<T> address() const { return memory_.template as<T>(); }
  DevicePtr<std::byte> memory_;
  std::int64_t count_;
};

template <class T>
class SequenceKernels : public testing::Test {
 protected:
  std::vector<T> numbers(std::int64_t n, double scale = 1) {
    std::uniform_real_distribution<double> draw(-scale, scale);
    std::vector<T> x(static_cast<std::size_t>(n));
    for (T& v : x) v = static_cast<T>(draw(rng_));
    return x;
  }
  std::vector<std::int32_t> indices(std::int64_t count, std::int64_t n) {
    std::uniform_int_distribution<std::int32_t> draw(0, static_cast<std::int32_t>(n - 1));
    std::vector<std::int32_t> x(static_cast<std::size_t>(count));
    for (auto& v : x) v = draw(rng_);
    return x;
  }
  /// Within `ulps` of the largest expected value, or of 1.
  static void expect_near(const std::vector<T>& got, const std::vector<double>& want, double ulps,
                          const char* what) {
    ASSERT_EQ(got.size(), want.size());
    double top = 1;
    for (const double w : want) top = std::max(top, std::abs(w));
    const double bound = ulps * static_cast<double>(std::numeric_limits<T>::epsilon()) * top;
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(static_cast<double>(got[i]), want[i], bound) << what << ", element " << i;
  }
  std::mt19937 rng_{7};
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(SequenceKernels, Types);

std::vector<double> zeros(std::int64_t n) { return std::vector<double>(static_cast<std::size_t>(n), 0.0); }

TYPED_TEST(SequenceKernels, SoftmaxAndCrossEntropyOfShortAndLongRows) {
  using T = TypeParam;
  for (const std::int64_t n : {1, 5, 31, 32, 33, 64, 100}) {
    const std::int64_t rows = 7, count = rows * n;
    const double s = 0.1;
    const auto x = this->numbers(count, 5), dy = this->numbers(count), dloss = this->numbers(rows);
    const auto label = this->indices(rows, n);
    auto p = zeros(count), dx = p, logs = p, loss = zeros(rows), back = p, marked = p;
    for (std::int64_t r = 0; r < rows; ++r) {
      double top = -1e300, sum = 0, inner = 0, total = 0;
      const auto at = [&](std::int64_t i) { return static_cast<std::size_t>(r * n + i); };
      for (std::int64_t i = 0; i < n; ++i) top = std::max(top, static_cast<double>(x[at(i)]));
      for (std::int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[at(i)]) - top);
      const double log_sum = std::log(sum) + top;
      for (std::int64_t i = 0; i < n; ++i) {
        logs[at(i)] = static_cast<double>(x[at(i)]) - log_sum;
        p[at(i)] = std::exp(logs[at(i)]);
        inner += p[at(i)] * static_cast<double>(dy[at(i)]);
        total += static_cast<double>(x[at(i)]);
      }
      const auto row = static_cast<std::size_t>(r);
      loss[row] =
          log_sum - (1 - s) * static_cast<double>(x[at(label[row])]) - s * total / static_cast<double>(n);
      for (std::int64_t i = 0; i < n; ++i) {
        dx[at(i)] = p[at(i)] * (static_cast<double>(dy[at(i)]) - inner);
        const double hot = i == label[row] ? 1 - s : 0;
        back[at(i)] = static_cast<double>(dloss[row]) * (p[at(i)] - s / static_cast<double>(n) - hot);
        marked[at(i)] = static_cast<double>(x[at(i)]) + (i == label[row] ? 2.5 : 0);
      }
    }
    const OnDevice<T> in(x), y(count), d(dy), to(count), l(rows), g(dloss), changed(x);
    const OnDevice<std::int32_t> labels(label);
    softmax<T>(rows, n, in, y);
    this->expect_near(y.values(), p, 20, "softmax");
    softmax_backward<T>(rows, n, y, d, to);
    this->expect_near(to.values(), dx, 60, "softmax_backward");
    log_softmax<T>(rows, n, in, to);
    this->expect_near(to.values(), logs, 20, "log_softmax");
    cross_entropy<T>(rows, n, in, labels, s, l, y);
    this->expect_near(l.values(), loss, 30, "cross_entropy");
    this->expect_near(y.values(), p, 20, "probabilities");
    cross_entropy_backward<T>(rows, n, y, labels, s, g, to);
    this->expect_near(to.values(), back, 20, "cross_entropy_backward");
    add_at_labels<T>(rows, n, labels, 2.5, changed);
    this->expect_near(changed.values(), marked, 1, "add_at_labels");
  }
}

TYPED_TEST(SequenceKernels, TheFirstOfEqualScoresIsTheClass) {
  using T = TypeParam;
  for (const std::int64_t n : {1, 3, 32, 40, 70}) {
    const std::int64_t rows = n;
    // Row r has its largest value at r and again behind it.
    std::vector<T> x(static_cast<std::size_t>(rows * n), T(-1));
    std::vector<std::int32_t> label(static_cast<std::size_t>(rows));
    std::vector<double> want(label.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto row = static_cast<std::size_t>(r);
      x[static_cast<std::size_t>(r * n + r)] = x[static_cast<std::size_t>(r * n + n - 1)] = T(2);
      label[row] = static_cast<std::int32_t>(r % 3 == 2 ? n - 1 : r);
      want[row] = label[row] == r ? 1 : 0;
    }
    const OnDevice<T> in(x);
    const OnDevice<std::int32_t> labels(label);
    const OnDevice<double> right(rows);
    right_classes<T>(rows, n, in, labels, right);
    EXPECT_EQ(right.values(), want);
  }
}

TEST(SequenceKernels, IndicesOutOfRangeAreReplacedAndTheFirstIsToldOf) {
  for (const std::int64_t count : {1, 17, 300, 20000}) {
    for (const std::int64_t bad : {std::int64_t(-1), std::int64_t(0), count / 2, count - 1}) {
      std::vector<std::int32_t> index(static_cast<std::size_t>(count)), want;
      for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int32_t>(i % 5);
      want = index;
      for (std::int64_t i = bad; i >= 0 && i < count; i += 3) {
        index[static_cast<std::size_t>(i)] = i % 2 == 0 ? 5 : -1;
        want[static_cast<std::size_t>(i)] = 0;
      }
      const OnDevice<std::int32_t> in(index), safe(count);
      const OnDevice<std::int64_t> flag(std::int64_t(1)), work(index_check_work(count));
      check_indices(count, 5, in, safe, flag, work);
      EXPECT_EQ(flag.values().front(), bad + 1);
      EXPECT_EQ(safe.values(), want);
    }
  }
}

TYPED_TEST(SequenceKernels, RowsOfATableAndTheirSumsInTheOrderOfTokens) {
  using T = TypeParam;
  for (const std::int64_t width : {1, 7, 32, 45}) {
    const std::int64_t shards = 2, vocabulary = 6, count = 75;
    const auto table = this->numbers(shards * vocabulary * width),
               rows = this->numbers(shards * count * width);
    auto token = this->indices(shards * count, vocabulary - 1);  // the last one never occurs
    std::vector<T> picked, sums(static_cast<std::size_t>(shards * vocabulary * width), T(0));
    for (std::int64_t i = 0; i < shards * count; ++i)
      for (std::int64_t d = 0; d < width; ++d) {
        const auto at = static_cast<std::size_t>(
            (i / count * vocabulary + token[static_cast<std::size_t>(i)]) * width + d);
        picked.push_back(table[at]);
        sums[at] += rows[static_cast<std::size_t>(i * width + d)];
      }
    const OnDevice<T> from(table), to(shards * count * width), given(rows),
        total(shards * vocabulary * width);
    const OnDevice<std::int32_t> tokens(token);
    const TableShape shape{shards, vocabulary, width, vocabulary * width, width};
    rows_by_token<T>(shape, count, from, tokens, to);
    EXPECT_EQ(to.values(), picked);
    sum_rows_by_token<T>(shape, count, given, tokens, total);
    EXPECT_EQ(total.values(), sums);
  }
}

TYPED_TEST(SequenceKernels, SparseProducts) {
  using T = TypeParam;
  const std::int64_t rows = 4, columns = 5, lead = 3, entries = 6;
  const std::vector<std::int64_t> offsets{0, 2, 2, 5, 6}, column{1, 4, 0, 1, 3, 2}, row{0, 0, 2, 2, 2, 3},
      entry{5, 3, 1, 0, 2, 4};
  for (const std::int64_t width : {1, 8, 19, 32, 49, 128, 150, 300})
    for (const bool shared : {false, true}) {
      const auto values = this->numbers(lead * entries), x = this->numbers(lead * columns * width),
                 a = this->numbers(lead * rows * width);
      std::vector<T> chain(static_cast<std::size_t>(lead * rows * width));  // to the bit
      auto y = zeros(lead * rows * width), z = zeros(lead * entries);
      for (std::int64_t l = 0; l < lead; ++l)
        for (std::int64_t e = 0; e < entries; ++e)
          for (std::int64_t f = 0; f < width; ++f) {
            const auto k = static_cast<std::size_t>(e),
                       to = static_cast<std::size_t>((l * rows + row[k]) * width + f),
                       from = static_cast<std::size_t>((l * columns + column[k]) * width + f);
            y[to] +=
                static_cast<double>(values[static_cast<std::size_t>((shared ? 0 : l * entries) + entry[k])]) *
                static_cast<double>(x[from]);
            chain[to] = multiply_add(values[static_cast<std::size_t>((shared ? 0 : l * entries) + entry[k])],
                                     x[from], chain[to]);
            z[static_cast<std::size_t>(l * entries + e)] +=
                static_cast<double>(a[to]) * static_cast<double>(x[from]);
          }
      const OnDevice<T> dv(values), dx(x), da(a), dy(lead * rows * width), dz(lead * entries);
      const OnDevice<std::int64_t> o(offsets), c(column), r(row), e(entry);
      csr_product<T>({rows, entries, o, c, e}, lead, columns, width, dv, shared ? 0 : entries, dx, dy);
      this->expect_near(dy.values(), y, 8, "csr_product");
      EXPECT_EQ(dy.values(), chain) << width;
      csr_sampled_product<T>(entries, 1, r, c, lead, rows, columns, width, da, dx, dz);
      this->expect_near(dz.values(), z, 16, "csr_sampled_product");
    }
}

// Rows that are read often are copied side by side first; blocks of 8, 4 and 2 outputs are summed at once, and
// 12 as three times 4. The transposed matrix has blocks of inputs.
TYPED_TEST(SequenceKernels, SparseProductsOfBlocks) {
  using T = TypeParam;
  const std::int64_t rows = 66, columns = 7, lead = 2;
  for (const std::int64_t size : {1, 2, 3, 8, 12})
    for (const bool transposed : {false, true})
      for (const std::int64_t width : {1, 19, 49, 150}) {
        const std::int64_t outputs = transposed ? 1 : size, inputs = transposed ? size : 1;
        std::vector<std::int64_t> offsets{0}, column, entry;
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = i % 3; j < columns; j += 1 + i % 2) column.push_back(j);
          offsets.push_back(static_cast<std::int64_t>(column.size()));
        }
        const auto entries = static_cast<std::int64_t>(column.size()), all = columns * inputs;
        for (std::int64_t e = 0; e < entries; ++e) entry.push_back(entries - 1 - e);
        const auto values = this->numbers(entries * size), x = this->numbers(lead * all * width);
        std::vector<T> chain(static_cast<std::size_t>(lead * rows * outputs * width));
        for (std::int64_t at = 0; at < lead * rows * outputs * width; ++at) {
          const std::int64_t f = at % width, i = at / width % (rows * outputs),
                             l = at / width / rows / outputs;
          for (std::int64_t e = offsets[static_cast<std::size_t>(i / outputs)];
               e < offsets[static_cast<std::size_t>(i / outputs) + 1]; ++e)
            for (std::int64_t q = 0; q < inputs; ++q) {
              const auto k = static_cast<std::size_t>(e);
              T& to = chain[static_cast<std::size_t>(at)];
              to = multiply_add(
                  values[static_cast<std::size_t>((transposed ? entry[k] : e) * size + i % outputs + q)],
                  x[static_cast<std::size_t>((l * all + column[k] * inputs + q) * width + f)], to);
            }
        }
        const OnDevice<T> dv(values), dx(x), dy(lead * rows * outputs * width);
        const OnDevice<std::int64_t> o(offsets), c(column), to(entry);
        CsrRows matrix{rows, entries, o, c, {}, outputs, inputs};
        if (transposed) matrix.entry = to;
        csr_product<T>(matrix, lead, all, width, dv, 0, dx, dy);
        EXPECT_EQ(dy.values(), chain) << size << " " << transposed << " " << width;
      }
}

TYPED_TEST(SequenceKernels, AttentionWithAndWithoutACacheAndItsGradients) {
  using T = TypeParam;
  struct Case {
    std::int64_t queries, past, fresh, dim;
    bool causal;
  };
  for (const Case& c : {Case{1, 0, 1, 1, true}, Case{5, 0, 5, 3, true}, Case{33, 0, 33, 40, true},
                        Case{40, 0, 70, 16, false}, Case{3, 37, 3, 33, true}, Case{65, 2, 65, 5, false}}) {
    const AttentionHead head{c.queries, c.past, c.fresh, c.dim, c.causal};
    const std::int64_t sequences = 2, heads = 2, units = sequences * heads, keys = head.keys(), dim = c.dim;
    const T scale = static_cast<T>(0.4);
    const auto q = this->numbers(units * c.queries * dim, 2), pk = this->numbers(units * c.past * dim, 2),
               pv = this->numbers(units * c.past * dim), k = this->numbers(units * c.fresh * dim, 2),
               v = this->numbers(units * c.fresh * dim), d = this->numbers(units * c.queries * dim);
    auto o = zeros(units * c.queries * dim), log_sum = zeros(units * c.queries), dq = o,
         dpk = zeros(units * c.past * dim), dpv = dpk, dk = zeros(units * c.fresh * dim), dv = dk;
    for (std::int64_t u = 0; u < units; ++u)
      for (std::int64_t i = 0; i < c.queries; ++i) {
        const auto key = [&](const auto& past, const auto& fresh, std::int64_t j, std::int64_t e) -> auto& {
          return const_cast<std::remove_cvref_t<decltype(past)>&>(
              j < c.past ? past : fresh)[static_cast<std::size_t>(
              j < c.past ? (u * c.past + j) * dim + e : (u * c.fresh + j - c.past) * dim + e)];
        };
        const auto query = static_cast<std::size_t>((u * c.queries + i) * dim);
        const auto out = static_cast<std::size_t>(((u / heads * c.queries + i) * heads + u % heads) * dim);
        const std::int64_t limit = c.causal ? keys - c.queries + i + 1 : keys;
        auto p = zeros(limit), dp = p;
        double sum = 0, inner = 0;
        for (std::int64_t j = 0; j < limit; ++j) {
          const auto jj = static_cast<std::size_t>(j);
          double dot = 0;
          for (std::int64_t e = 0; e < dim; ++e) {
            const auto ee = static_cast<std::size_t>(e);
            dot += static_cast<double>(q[query + ee]) * static_cast<double>(key(pk, k, j, e));
            dp[jj] += static_cast<double>(d[out + ee]) * static_cast<double>(key(pv, v, j, e));
          }
          p[jj] = std::exp(static_cast<double>(scale) * dot);
          sum += p[jj];
        }
        log_sum[static_cast<std::size_t>(u * c.queries + i)] = std::log(sum);
        for (std::int64_t j = 0; j < limit; ++j) {
          p[static_cast<std::size_t>(j)] /= sum;
          inner += p[static_cast<std::size_t>(j)] * dp[static_cast<std::size_t>(j)];
        }
        for (std::int64_t j = 0; j < limit; ++j) {
          const double w = p[static_cast<std::size_t>(j)],
                       ds = static_cast<double>(scale) * w * (dp[static_cast<std::size_t>(j)] - inner);
          for (std::int64_t e = 0; e < dim; ++e) {
            const auto ee = static_cast<std::size_t>(e);
            o[out + ee] += w * static_cast<double>(key(pv, v, j, e));
            dq[query + ee] += ds * static_cast<double>(key(pk, k, j, e));
            key(dpk, dk, j, e) += ds * static_cast<double>(q[query + ee]);
            key(dpv, dv, j, e) += w * static_cast<double>(d[out + ee]);
          }
        }
      }
    const OnDevice<T> mq(q), mpk(pk), mpv(pv), mk(k), mv(v), md(d), mo(units * c.queries * dim),
        ml(units * c.queries), mdq(units * c.queries * dim), mdpk(units * c.past * dim),
        mdpv(units * c.past * dim), mdk(units * c.fresh * dim), mdv(units * c.fresh * dim);
    const AttentionShape shape{head, sequences, heads};
    const bool cached = c.past > 0;
    const AttentionInputs<T> in{mq, cached ? DevicePtr<const T>(mpk) : DevicePtr<const T>(),
                                cached ? DevicePtr<const T>(mpv) : DevicePtr<const T>(), mk, mv};
    const std::int64_t before = device_counters().launches;
    attention_forward<T>(shape, scale, in, mo, ml);
    EXPECT_EQ(device_counters().launches - before, 1);
    this->expect_near(mo.values(), o, 40, "o");
    this->expect_near(ml.values(), log_sum, 20, "log_sum");
    const OnDevice<T> work(attention_backward_work(shape));
    attention_backward<T>(shape, scale, in, ml, md,
                          {mdq, cached ? DevicePtr<T>(mdpk) : DevicePtr<T>(),
                           cached ? DevicePtr<T>(mdpv) : DevicePtr<T>(), mdk, mdv},
                          work);
    this->expect_near(mdq.values(), dq, 100, "dq");
    this->expect_near(mdk.values(), dk, 100, "dk");
    this->expect_near(mdv.values(), dv, 100, "dv");
    if (!cached) continue;
    this->expect_near(mdpk.values(), dpk, 100, "d_past_k");
    this->expect_near(mdpv.values(), dpv, 100, "d_past_v");
  }
}

#ifdef RANKINE_EMULATE_DEVICE
// Of two tiles of keys, each in two parts: all but the first, before which there is no tile yet.
TYPED_TEST(SequenceKernels, EachBarrierOfAttentionIsNeeded) {
  using T = TypeParam;
  const std::int64_t rows = 40, dim = 40, n = rows * dim;
  const AttentionShape shape{{rows, 0, rows, dim, false}, 1, 1};
  const OnDevice<T> q(this->numbers(n)), k(this->numbers(n)), v(this->numbers(n)), d(this->numbers(n)), o(n),
      log_sum(rows), dq(n), dk(n), dv(n), work(attention_backward_work(shape));
  const AttentionInputs<T> in{q, {}, {}, k, v};
  const auto all_but_first = [](int count) {
    std::vector<int> all(static_cast<std::size_t>(count - 1));
    std::iota(all.begin(), all.end(), 1);
    return all;
  };
  EXPECT_EQ(test::needed_barriers(18,
                                  [&] {
                                    attention_forward<T>(shape, T(0.4), in, o, log_sum);
                                    return o.values();
                                  }),
            all_but_first(16));
  const auto backward = [&] {
    attention_backward<T>(shape, T(0.4), in, log_sum, d, {dq, {}, {}, dk, dv}, work);
  };
  // Once to add up, once more with the sums.
  EXPECT_EQ(test::needed_barriers(42,
                                  [&] {
                                    backward();
                                    return dq.values();
                                  }),
            all_but_first(40));
  // One more for each tile, of a warp.
  EXPECT_EQ(test::needed_barriers(36,
                                  [&] {
                                    backward();
                                    return std::pair(dk.values(), dv.values());
                                  }),
            all_but_first(34));
}
#endif

TYPED_TEST(SequenceKernels, HeadsApartAndTogetherAgain) {
  using T = TypeParam;
  const HeadsShape s{2, 5, 3, 6};
  const std::int64_t size = s.sequences * s.tokens * s.heads * s.dim;
  const auto qkv = this->numbers(3 * size), angles = this->numbers(s.tokens * s.dim, 3);
  std::vector<T> turns(angles.size());
  for (std::size_t i = 0; i < turns.size(); i += 2) {
    turns[i] = std::cos(angles[i]);
    turns[i + 1] = std::sin(angles[i]);
  }
  const OnDevice<T> joint(qkv), table(turns), q(size), k(size), v(size), back(3 * size);
  split_heads<T>(s, table, joint, q, k, v);
  std::vector<double> want[3] = {zeros(size), zeros(size), zeros(size)};
  std::int64_t at = 0;
  for (std::int64_t b = 0; b < s.sequences; ++b)
    for (std::int64_t h = 0; h < s.heads; ++h)
      for (std::int64_t t = 0; t < s.tokens; ++t)
        for (std::int64_t i = 0; i < s.dim; ++i, ++at)
          for (std::int64_t w = 0; w < 3; ++w) {
            const auto x = [&](std::int64_t e) {
              return static_cast<double>(
                  qkv[static_cast<std::size_t>((((b * s.tokens + t) * 3 + w) * s.heads + h) * s.dim + e)]);
            };
            const std::int64_t half = s.dim / 2, pair = i % half;
            const double c = static_cast<double>(turns[static_cast<std::size_t>(t * s.dim + 2 * pair)]),
                         sine =
                             static_cast<double>(turns[static_cast<std::size_t>(t * s.dim + 2 * pair + 1)]);
            want[w][static_cast<std::size_t>(at)] = w == 2     ? x(i)
                                                    : i < half ? c * x(i) - sine * x(i + half)
                                                               : sine * x(i - half) + c * x(i);
          }
  this->expect_near(q.values(), want[0], 2, "q");
  this->expect_near(k.values(), want[1], 2, "k");
  this->expect_near(v.values(), want[2], 0, "v");
  // The adjoint of a rotation turns back; a part that is missing counts as zero.
  merge_heads<T>(s, table, q, {}, v, back);
  std::vector<double> restored(qkv.begin(), qkv.end());
  for (std::int64_t i = 0; i < 3 * size; ++i)
    if (i / (s.heads * s.dim) % 3 == 1) restored[static_cast<std::size_t>(i)] = 0;
  this->expect_near(back.values(), restored, 8, "merged");
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

/// One shard's hidden states in double, and sum of weights times h (and times the last c).
double recurrent_loss(const RecurrentShape& s, const std::vector<double>& x,
                      const std::vector<double>& weight, const std::vector<double>& bias,
                      const std::vector<double>& h0, const std::vector<double>& c0,
                      const std::vector<double>& d_hidden, const std::vector<double>& d_last,
                      std::vector<double>* all = nullptr) {
  const std::int64_t n = s.hidden, gates = s.gates();
  double total = 0;
  for (std::int64_t sample = 0; sample < s.shards * s.batch; ++sample) {
    const std::int64_t l = sample / s.batch;
    std::vector<double> h(h0.begin() + sample * n, h0.begin() + (sample + 1) * n), c(h);
    if (s.cell == Cell::lstm) c.assign(c0.begin() + sample * n, c0.begin() + (sample + 1) * n);
    for (std::int64_t t = 0; t < s.steps; ++t) {
      auto w = zeros(gates);
      for (std::int64_t g = 0; g < gates; ++g)
        for (std::int64_t j = 0; j < n; ++j)
          w[static_cast<std::size_t>(g)] +=
              weight[static_cast<std::size_t>((l * gates + g) * n + j)] * h[static_cast<std::size_t>(j)];
      for (std::int64_t i = 0; i < n; ++i) {
        const auto sum = [&](std::int64_t k) { return w[static_cast<std::size_t>(k * n + i)]; };
        const auto in = [&](std::int64_t k) {
          return x[static_cast<std::size_t>((sample * s.steps + t) * gates + k * n + i)];
        };
        double& hi = h[static_cast<std::size_t>(i)];
        double& ci = c[static_cast<std::size_t>(i)];
        if (s.cell == Cell::rnn) {
          hi = std::tanh(in(0) + sum(0));
        } else if (s.cell == Cell::lstm) {
          ci = logistic(in(1) + sum(1)) * ci + logistic(in(0) + sum(0)) * std::tanh(in(2) + sum(2));
          hi = logistic(in(3) + sum(3)) * std::tanh(ci);
        } else {
          const double r = logistic(in(0) + sum(0)), z = logistic(in(1) + sum(1));
          const double m = sum(2) + bias[static_cast<std::size_t>(l * n + i)];
          const double candidate = std::tanh(in(2) + r * m);
          hi = candidate + z * (hi - candidate);
        }
        const auto at = static_cast<std::size_t>((sample * s.steps + t) * n + i);
        total += d_hidden[at] * hi;
        if (all != nullptr) (*all)[at] = hi;
      }
    }
    for (std::int64_t i = 0; i < n && s.cell == Cell::lstm; ++i)
      total += d_last[static_cast<std::size_t>(sample * n + i)] * c[static_cast<std::size_t>(i)];
  }
  return total;
}

TEST(SequenceKernels, RecurrentCellsAndTheirGradientsByDifferences) {
  std::mt19937 rng(5);
  const auto numbers = [&rng](std::int64_t n) {
    std::uniform_real_distribution<double> draw(-1, 1);
    auto x = zeros(n);
    for (double& v : x) v = draw(rng);
    return x;
  };
  for (const Cell cell : {Cell::rnn, Cell::lstm, Cell::gru})
    for (const std::int64_t steps : {1, 4}) {
      const std::int64_t n = 3, batch = 2, shards = 2, gates = gates_of(cell) * n;
      const RecurrentShape s{cell, shards, batch, steps, n, gates * n, n};
      const std::int64_t state = shards * batch * n, all = state * steps,
                         sums = shards * batch * steps * gates;
      std::vector<double> x = numbers(sums), weight = numbers(shards * gates * n), bias = numbers(shards * n),
                          h0 = numbers(state), c0 = numbers(state);
      const auto d_hidden = numbers(all), d_last = numbers(state);
      auto want = zeros(all);
      recurrent_loss(s, x, weight, bias, h0, c0, d_hidden, d_last, &want);

      const bool lstm = cell == Cell::lstm, gru = cell == Cell::gru;
      const OnDevice<double> mx(x), mw(weight), mb(bias), mh0(h0), mc0(c0), mh(all), mm(all), mdh(d_hidden),
          mdl(d_last), dx(sums), dw(shards * gates * n), db(shards * n), dh0(state), dc0(state), dm(all),
          forward(s.forward_work()), backward(s.backward_work());
      using Read = DevicePtr<const double>;
      using Write = DevicePtr<double>;
      const RecurrentArrays<double> arrays{mw,
                                           gru ? Read(mb) : Read(),
                                           mh0,
                                           lstm ? Read(mc0) : Read(),
                                           mx,
                                           mh,
                                           cell == Cell::rnn ? Write() : Write(mm)};
      recurrent_forward<double>(s, arrays, forward);
      const auto hidden = mh.values();
      for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(hidden[i], want[i], 1e-14);
      recurrent_backward<double>(s, arrays,
                                 {mdh, lstm ? Read(mdl) : Read(), dx, dw, gru ? Write(db) : Write(), dh0,
                                  lstm ? Write(dc0) : Write(), gru ? Write(dm) : Write()},
                                 backward);
      const auto compare = [&](std::vector<double>& of, const OnDevice<double>& gradient, const char* what) {
        const auto got = gradient.values();
        for (std::size_t i = 0; i < of.size(); ++i) {
          const double here = of[i], step = 1e-5;
          of[i] = here + step;
          const double up = recurrent_loss(s, x, weight, bias, h0, c0, d_hidden, d_last);
          of[i] = here - step;
          const double down = recurrent_loss(s, x, weight, bias, h0, c0, d_hidden, d_last);
          of[i] = here;
          ASSERT_NEAR(got[i], (up - down) / (2 * step), 1e-8) << what << ", element " << i;
        }
      };
      compare(x, dx, "x");
      compare(weight, dw, "weight");
      compare(h0, dh0, "h0");
      if (lstm) compare(c0, dc0, "c0");
      if (gru) compare(bias, db, "bias");
    }
}

TYPED_TEST(SequenceKernels, NeuronsFireAndReset) {
  using T = TypeParam;
  const std::int64_t n = 1500;
  const auto v = this->numbers(n, 2), current = this->numbers(n, 2), ds = this->numbers(n),
             dn = this->numbers(n);
  for (const Reset reset : {Reset::soft, Reset::hard, Reset::none})
    for (const bool detach : {false, true}) {
      const LifDynamics lif{0.75, 0.5, 0.25, -0.5, 1, reset, detach, Surrogate::triangle};
      std::vector<double> u = zeros(n), spike = u, next = u, du = u;
      for (std::size_t i = 0; i < u.size(); ++i) {
        u[i] = 0.75 * static_cast<double>(v[i]) + 0.5 * static_cast<double>(current[i]);
        // Compared as the kernel does, whose sums are rounded to T.
        const bool fires =
            static_cast<T>(0.75) * v[i] + static_cast<T>(0.5) * current[i] >= static_cast<T>(0.25);
        spike[i] = fires ? 1 : 0;
        next[i] = !fires || reset == Reset::none ? u[i] : reset == Reset::soft ? u[i] - 0.25 : -0.5;
        const double h = std::max(0.0, 1 - std::abs(u[i] - 0.25));
        const double direct = reset == Reset::hard && fires ? 0 : 1;
        const double through = reset == Reset::soft ? -0.25 : reset == Reset::hard ? -0.5 - u[i] : 0;
        du[i] = static_cast<double>(ds[i]) * h +
                static_cast<double>(dn[i]) * (detach ? direct : direct + through * h);
      }
      const OnDevice<T> mv(v), mi(current), mu(n), ms(n), mn(n), mds(ds), mdn(dn), mdu(n);
      lif_forward<T>(lif, n, mv, mi, mu, ms, mn);
      this->expect_near(mu.values(), u, 2, "u");
      this->expect_near(ms.values(), spike, 0, "spike");
      this->expect_near(mn.values(), next, 2, "next");
      lif_backward<T>(lif, n, mu, mds, mdn, mdu);
      this->expect_near(mdu.values(), du, 8, "d_u");
    }
}

TYPED_TEST(SequenceKernels, ActivationsAndStepsAtTheirBounds) {
  using T = TypeParam;
  const std::int64_t n = 133;
  auto x = this->numbers(n, 3);
  x[0] = T(0);
  const auto dy = this->numbers(n);
  const OnDevice<T> in(x), y(n), d(dy), dx(n);
  std::vector<double> want, back;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double at = static_cast<double>(x[i]), s = logistic(at);
    want.push_back(at * s);
    back.push_back(static_cast<double>(dy[i]) * (s + at * s * (1 - s)));
  }
  activate<T>({ActivationKind::silu}, n, in, y);
  this->expect_near(y.values(), want, 8, "silu");
  activate_backward<T>({ActivationKind::silu}, n, in, d, dx);
  this->expect_near(dx.values(), back, 8, "silu backward");
  for (const Bound side : {Bound::at_least, Bound::above, Bound::below}) {
    for (std::size_t i = 0; i < x.size(); ++i)
      want[i] = (side == Bound::at_least ? x[i] >= T(0)
                 : side == Bound::above  ? x[i] > T(0)
                                         : x[i] < T(0))
                    ? 3
                    : -2;
    step_values<T>(side, 0, 3, -2, n, in, y);
    this->expect_near(y.values(), want, 0, "step");
  }
}

}  // namespace
}  // namespace rankine::kernels
