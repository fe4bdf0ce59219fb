// Norms against plain formulas in double at sizes with tails, and the host's own loops against the bodies
// that a device runs.
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/norm.hpp"
#include "tests/support/on_device.hpp"
#include "tests/support/portable_bodies.hpp"

namespace rankine::kernels {
namespace {

using testing::OnDevice;
using Index = std::int64_t;

template <class T>
std::vector<T> draw(Index count, std::mt19937& rng, double low = -1, double high = 1) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& v : values) v = static_cast<T>(uniform(rng));
  return values;
}
template <class T>
std::vector<T> nothing(Index count) {
  return std::vector<T>(static_cast<std::size_t>(count), std::numeric_limits<T>::quiet_NaN());
}
double at(const auto& v, Index i) { return static_cast<double>(v[static_cast<std::size_t>(i)]); }

template <class T>
void expect_near(const std::vector<T>& found, const std::vector<double>& expected, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(static_cast<double>(found[i]), expected[i], tolerance * (1 + std::abs(expected[i])))
        << what << ", element " << i;
}

// The bits of what the host's loops find, which the portable bodies must find too.
template <class T>
class Twice {
 public:
  void operator()(const std::vector<T>& found, bool portable, const std::string& what) {
    if (portable) {
      EXPECT_EQ(found, found_.at(next_++)) << what;
    } else {
      found_.push_back(found);
    }
  }

 private:
  std::vector<std::vector<T>> found_;
  std::size_t next_ = 0;
};

struct ChannelReference {
  std::vector<double> moments, y, dx, dgamma, dbeta;
};

// `added`: moments over the shards.
ChannelReference reference(const ChannelExtents& e, bool added, double epsilon, const auto& x, const auto& dy,
                           const auto& gamma, const auto& beta) {
  const Index C = e.channels, n = e.batch * e.space;
  ChannelReference r;
  r.moments.resize(static_cast<std::size_t>(e.shards * (2 * C + 1)));
  r.y.resize(x.size());
  r.dx.resize(x.size());
  r.dgamma.resize(static_cast<std::size_t>(e.numbers()));
  r.dbeta.resize(static_cast<std::size_t>(e.numbers()));
  const auto each = [&](Index l, Index c, auto f) {
    for (Index b = 0; b < e.batch; ++b)
      for (Index i = 0; i < e.space; ++i) f(((l * e.batch + b) * C + c) * e.space + i);
  };
  for (Index c = 0; c < C; ++c) {
    std::vector<double> mean, variance;
    for (Index l = 0; l < e.shards; ++l) {
      double m = 0, v = 0;
      each(l, c, [&](Index i) { m += at(x, i) / static_cast<double>(n); });
      each(l, c, [&](Index i) { v += (at(x, i) - m) * (at(x, i) - m) / static_cast<double>(n); });
      const auto row = static_cast<std::size_t>(l * (2 * C + 1));
      const double count = static_cast<double>(n);
      r.moments[row + static_cast<std::size_t>(c)] = added ? count * m : m;
      r.moments[row + static_cast<std::size_t>(C + c)] = added ? count * (v + m * m) : v;
      r.moments[row + static_cast<std::size_t>(2 * C)] = count;
      mean.push_back(m);
      variance.push_back(v);
    }
    if (added) {
      double m = 0, v = 0;
      for (std::size_t l = 0; l < mean.size(); ++l) m += mean[l] / static_cast<double>(mean.size());
      for (std::size_t l = 0; l < mean.size(); ++l)
        v += (variance[l] + (mean[l] - m) * (mean[l] - m)) / static_cast<double>(mean.size());
      mean.assign(mean.size(), m);
      variance.assign(variance.size(), v);
    }
    double plain = 0, bend = 0;
    const auto sums = [&](Index l) {
      const auto s = static_cast<std::size_t>(l);
      const double root = 1 / std::sqrt(variance[s] + epsilon), g = at(gamma, l * C + c);
      each(l, c, [&](Index i) {
        const double z = (at(x, i) - mean[s]) * root;
        plain += g * at(dy, i);
        bend += g * at(dy, i) * z;
        r.y[static_cast<std::size_t>(i)] = z * g + at(beta, l * C + c);
        r.dgamma[static_cast<std::size_t>(l * C + c)] += at(dy, i) * z;
        r.dbeta[static_cast<std::size_t>(l * C + c)] += at(dy, i);
      });
    };
    const auto gradient = [&](Index l, double count) {
      const auto s = static_cast<std::size_t>(l);
      const double root = 1 / std::sqrt(variance[s] + epsilon);
      each(l, c, [&](Index i) {
        const double z = (at(x, i) - mean[s]) * root;
        r.dx[static_cast<std::size_t>(i)] =
            root * (at(gamma, l * C + c) * at(dy, i) - plain / count - z * bend / count);
      });
    };
    for (Index l = 0; l < e.shards; ++l) {
      if (!added) plain = bend = 0;
      sums(l);
      if (!added) gradient(l, static_cast<double>(n));
    }
    if (added)
      for (Index l = 0; l < e.shards; ++l) gradient(l, static_cast<double>(n * e.shards));
  }
  return r;
}

// Rows of the shards added, as TileSum does it.
std::vector<double> sum_of_rows(const std::vector<double>& rows, Index shards) {
  std::vector<double> total(rows.size() / static_cast<std::size_t>(shards));
  for (std::size_t i = 0; i < rows.size(); ++i) total[i % total.size()] += rows[i];
  return total;
}

template <class T>
void check_channels(const ChannelExtents& e, bool added) {
  const std::string what = std::to_string(e.batch) + "x" + std::to_string(e.channels) + "x" +
                           std::to_string(e.space) + (added ? ", added" : "");
  std::mt19937 rng(5);
  const Index n = e.shards * e.batch * e.channels * e.space;
  const auto x = draw<T>(n, rng, 0, 2), dy = draw<T>(n, rng);
  const auto gamma = draw<T>(e.numbers(), rng, 0.5, 2), beta = draw<T>(e.numbers(), rng);
  const double epsilon = 1e-2;
  const ChannelReference expected = reference(e, added, epsilon, x, dy, gamma, beta);
  // Errors of sums grow with their length; those of a channel of few values with how little they differ.
  const double eps = std::numeric_limits<T>::epsilon() * 40;
  Twice<T> same;
  Twice<double> same_double;
  for (const bool portable : {false, true}) {
    const testing::PortableBodies bodies(portable);
    const std::string name = what + (portable ? ", portable" : "");
    const OnDevice<T> dx(x), ddy(dy), dg(gamma), db(beta);
    const OnDevice<double> moments(nothing<double>(e.shards * (2 * e.channels + 1)));
    const OnDevice<T> work(nothing<T>(e.workspace()));
    channel_moments<T>(e, added, dx.read(), moments.data(), work.data());
    expect_near(moments.values(), expected.moments, eps, "moments of " + name);
    same_double(moments.values(), portable, "moments of " + name);
    const OnDevice<double> total(sum_of_rows(moments.values(), e.shards));
    const OnDevice<double> mean(nothing<double>(e.numbers())), inverse(nothing<double>(e.numbers()));
    const OnDevice<T> factor(nothing<T>(e.numbers())), term(nothing<T>(e.numbers())), y(nothing<T>(n));
    const ChannelNumbers<T> g{dg.read(), e.channels}, b{db.read(), e.channels};
    channel_norm_coefficients<T>(e, added, epsilon, (added ? total : moments).read(), g, b, mean.data(),
                                 inverse.data(), factor.data(), term.data());
    channel_affine<T>(e, dx.read(), {factor.read(), e.channels}, {term.read(), e.channels}, y.data());
    expect_near(y.values(), expected.y, 10 * eps, "norm of " + name);
    same(y.values(), portable, "norm of " + name);
    const OnDevice<T> dgamma(nothing<T>(e.numbers())), dbeta(nothing<T>(e.numbers()));
    const OnDevice<double> sums(nothing<double>(2 * e.numbers()));
    channel_norm_sums<T>(e, dx.read(), ddy.read(), mean.read(), inverse.read(), g, dgamma.data(),
                         dbeta.data(), sums.data(), work.data());
    expect_near(dgamma.values(), expected.dgamma, 20 * eps, "dgamma of " + name);
    same(dgamma.values(), portable, "dgamma of " + name);
    expect_near(dbeta.values(), expected.dbeta, 20 * eps, "dbeta of " + name);
    same(dbeta.values(), portable, "dbeta of " + name);
    const OnDevice<double> total_sums(sum_of_rows(sums.values(), e.shards));
    const OnDevice<T> coefficients(nothing<T>(3 * e.numbers())), back(nothing<T>(n));
    channel_norm_backward<T>(
        e, dx.read(), ddy.read(), mean.read(), inverse.read(), g, (added ? total_sums : sums).read(),
        added ? total.read() + 2 * e.channels : DevicePtr<const double>(), back.data(), coefficients.data());
    expect_near(back.values(), expected.dx, 100 * eps, "dx of " + name);
    same(back.values(), portable, "dx of " + name);
  }
}

TEST(Norm, ChannelsAgreeWithPlainLoops) {
  for (const Index batch : {1, 6})
    for (const Index channels : {3, 34})
      for (const Index space : {1, 8, 31, 32, 49})
        for (const bool added : {false, true}) {
          if (batch * space == 1) continue;
          check_channels<double>({2, batch, channels, space}, added);
          check_channels<float>({2, batch, channels, space}, added);
        }
  check_channels<float>({2, 60, 9, 49}, true);  // more images than the host takes at once
}

TEST(Norm, StatisticsOfTheShards) {
  const ChannelExtents e{2, 3, 2, 5};
  // count mean = 30 * (2, -1), sum of squares 30 * (5, 4), count 30
  const OnDevice<double> total({60, -30, 150, 120, 30}), mean({0, 0}), variance({0, 0}), count({0});
  channel_statistics(e, true, total.read(), mean.data(), variance.data(), count.data());
  EXPECT_EQ(mean.values(), (std::vector<double>{2, -1}));
  EXPECT_EQ(variance.values(), (std::vector<double>{1, 3}));
  EXPECT_EQ(count.values()[0], 30);
  // Two shards of 15 with means 1 and 2, 0 and -4; variances 1 and 3, 2 and 2.
  const OnDevice<double> own({3, -4, 4, 4, 30});
  channel_statistics(e, false, own.read(), mean.data(), variance.data(), count.data());
  EXPECT_EQ(mean.values(), (std::vector<double>{1.5, -2}));
  EXPECT_EQ(variance.values(), (std::vector<double>{2, 2}));
  EXPECT_EQ(count.values()[0], 15);
}

TEST(Norm, RunningStatisticsFollow) {
  const OnDevice<float> running({1, 2, 99, 3, 4, 99});
  const OnDevice<double> fresh({5, 6}), count({3});
  follow_statistics<float>(2, 2, 3, 0.25, fresh.read(), {}, running.data());
  EXPECT_EQ(running.values(), (std::vector<float>{2, 3, 99, 3.5, 4.5, 99}));
  follow_statistics<float>(1, 2, 3, 0.5, fresh.read(), count.read(), running.data());  // 3 / 2 of fresh
  EXPECT_EQ(running.values(), (std::vector<float>{4.75, 6, 99, 3.5, 4.5, 99}));
}

template <class T>
void check_rows(const RowNormExtents& e, bool affine) {
  const std::string what = std::to_string(e.rows) + " rows of " + std::to_string(e.channels) + "x" +
                           std::to_string(e.space) + ", groups " + std::to_string(e.groups) +
                           (e.centred ? ", centred" : "") + (affine ? ", affine" : "");
  std::mt19937 rng(6);
  const Index row = e.channels * e.space, n = e.shards * e.rows * row, numbers = e.groups * e.channels;
  const auto x = draw<T>(n, rng, -1, 2), dy = draw<T>(n, rng);
  const auto gamma = draw<T>(e.shards * numbers, rng, 0.5, 2), beta = draw<T>(e.shards * numbers, rng);
  const double epsilon = 1e-2;
  std::vector<double> y(x.size()), dx(x.size()), dgamma(gamma.size()), dbeta(gamma.size());
  for (Index r = 0; r < e.shards * e.rows; ++r) {
    const Index first = r / e.rows * numbers + r % e.rows % e.groups * e.channels;
    double mean = 0, square = 0, plain = 0, bend = 0;
    for (Index i = 0; i < row; ++i) mean += e.centred ? at(x, r * row + i) / static_cast<double>(row) : 0;
    for (Index i = 0; i < row; ++i)
      square += std::pow(at(x, r * row + i) - mean, 2) / static_cast<double>(row);
    const double root = 1 / std::sqrt(square + epsilon);
    const auto each = [&](auto f) {
      for (Index i = 0; i < row; ++i) {
        const Index c = first + i / e.space;
        f(r * row + i, c, (at(x, r * row + i) - mean) * root, affine ? at(gamma, c) : 1.0);
      }
    };
    each([&](Index i, Index c, double z, double g) {
      const auto k = static_cast<std::size_t>(c);
      y[static_cast<std::size_t>(i)] = z * g + (affine ? at(beta, c) : 0);
      plain += g * at(dy, i) / static_cast<double>(row);
      bend += g * at(dy, i) * z / static_cast<double>(row);
      dgamma[k] += at(dy, i) * z;
      dbeta[k] += at(dy, i);
    });
    each([&](Index i, Index, double z, double g) {
      dx[static_cast<std::size_t>(i)] = root * (g * at(dy, i) - (e.centred ? plain : 0) - z * bend);
    });
  }
  const double eps = std::numeric_limits<T>::epsilon();
  Twice<T> same;
  for (const bool portable : {false, true}) {
    const testing::PortableBodies bodies(portable);
    const std::string name = what + (portable ? ", portable" : "");
    const OnDevice<T> in(x), from(dy), dg(gamma), db(beta), out(nothing<T>(n)), back(nothing<T>(n));
    const OnDevice<T> mean(nothing<T>(e.shards * e.rows)), inverse(nothing<T>(e.shards * e.rows));
    const OnDevice<T> gg(nothing<T>(e.shards * numbers)), gb(nothing<T>(e.shards * numbers));
    const OnDevice<T> work(nothing<T>(row_norm_workspace(e)));
    const ChannelNumbers<T> g = affine ? ChannelNumbers<T>{dg.read(), numbers} : ChannelNumbers<T>{},
                            b = affine ? ChannelNumbers<T>{db.read(), numbers} : ChannelNumbers<T>{};
    const DevicePtr<T> middle = e.centred ? mean.data() : DevicePtr<T>();
    row_norm_forward<T>(e, static_cast<T>(epsilon), in.read(), g, b, out.data(), middle, inverse.data());
    expect_near(out.values(), y, 200 * eps, "norm of " + name);
    same(out.values(), portable, "norm of " + name);
    row_norm_backward<T>(e, in.read(), from.read(), g, middle, inverse.read(), back.data(),
                         affine ? gg.data() : DevicePtr<T>(), affine ? gb.data() : DevicePtr<T>(),
                         work.data());
    expect_near(back.values(), dx, 500 * eps, "dx of " + name);
    same(back.values(), portable, "dx of " + name);
    if (!affine) continue;
    const double terms = static_cast<double>(e.rows * e.space);
    expect_near(gg.values(), dgamma, (100 + terms) * eps, "dgamma of " + name);
    same(gg.values(), portable, "dgamma of " + name);
    expect_near(gb.values(), dbeta, (100 + terms) * eps, "dbeta of " + name);
    same(gb.values(), portable, "dbeta of " + name);
  }
}

TEST(Norm, RowsAgreeWithPlainLoops) {
  for (const bool centred : {false, true})
    for (const bool affine : {false, true}) {
      for (const Index n : {2, 5, 31, 32, 33, 64, 100, 1000}) {
        check_rows<double>({2, 6, 1, n, 1, centred}, affine);
        check_rows<float>({2, 6, 1, n, 1, centred}, affine);
      }
      for (const Index space : {2, 9, 49}) {
        check_rows<double>({2, 6, 3, 4, space, centred}, affine);
        check_rows<float>({2, 6, 3, 4, space, centred}, affine);
      }
      check_rows<double>({1, 77, 1, 130, 1, centred}, affine);  // several blocks of rows, a block at the end
      check_rows<float>({1, 1200, 1, 40, 1, centred}, affine);  // several parts of rows, a part at the end
      check_rows<double>({2, 2100, 3, 4, 2, centred}, affine);  // and parts of whole groups
    }
}

}  // namespace
}  // namespace rankine::kernels
