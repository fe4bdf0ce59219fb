// Orders of sums that are written down, against plain loops: the same bits. And what the orders are worth:
// errors against sums in long double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/conv.hpp"
#include "kernels/mode_mixing.hpp"
#include "kernels/norm.hpp"
#include "kernels/simd.hpp"
#include "kernels/softmax.hpp"
#include "tests/support/on_device.hpp"

namespace rankine::kernels {
namespace {

using testing::OnDevice;

template <class T>
std::vector<T> numbers(std::int64_t count, unsigned seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<T> uniform(-1, 1);
  std::vector<T> x(static_cast<std::size_t>(count));
  for (T& value : x) value = uniform(rng);
  return x;
}

template <class T>
void expect_same_bits(const std::vector<T>& found, const std::vector<T>& expected, const std::string& where) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_EQ(std::memcmp(&found[i], &expected[i], sizeof(T)), 0)
        << where << ", element " << i << ": " << found[i] << " and " << expected[i];
}

// Lanes by halves, as a warp adds them.
template <class T>
T halves(std::vector<T> lanes) {
  for (std::size_t half = lanes.size() / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  return lanes[0];
}

// add(i, sum) is the sum with element i.
template <class T, class F>
T sum_of_row(std::int64_t n, F add) {
  if (n < kSumLanes) {
    T sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum = add(i, sum);
    return sum;
  }
  std::vector<T> lanes(kSumLanes, T(0));
  for (std::int64_t i = 0; i < n; ++i) {
    T& lane = lanes[static_cast<std::size_t>(i % kSumLanes)];
    lane = add(i, lane);
  }
  return halves(lanes);
}

// Mean and 1 / sqrt(variance + epsilon) as the norm of a row finds them.
template <class T>
std::pair<T, T> moments_of_row(const std::vector<T>& x, const std::vector<T>& gamma, T epsilon) {
  const auto n = static_cast<std::int64_t>(x.size());
  const OnDevice<T> in(x), g(gamma), y(x), mean(std::vector<T>(1)), inverse(std::vector<T>(1));
  row_norm_forward<T>({1, 1, 1, n, 1, true}, epsilon, in.read(),
                      {gamma.empty() ? DevicePtr<const T>() : g.read(), 0}, {}, y.data(), mean.data(),
                      inverse.data());
  return {mean.values()[0], inverse.values()[0]};
}

constexpr std::int64_t kLengths[] = {1, 2, 7, 10, 16, 20, 31, 32, 33, 48, 63, 64, 100, 256, 1000};

// More rows than a vector has lanes: short ones go into lanes, and some are left.
template <class T>
void expect_softmax_in_order(std::int64_t n) {
  const std::int64_t rows = 2 * Simd<T>::width + 3;
  const auto x = numbers<T>(rows * n, 4), dy = numbers<T>(rows * n, 5);
  std::vector<std::int32_t> label;
  for (std::int64_t r = 0; r < rows; ++r) label.push_back(static_cast<std::int32_t>(r % n));
  std::vector<T> y = x, dx = x, logs = x, p = x, loss(label.size()), expected[3];
  softmax_forward(rows, n, x.data(), y.data());
  softmax_backward(rows, n, y.data(), dy.data(), dx.data());
  log_softmax_forward(rows, n, x.data(), logs.data());
  cross_entropy_forward(rows, n, x.data(), label.data(), T(0.1), loss.data(), p.data());
  for (std::int64_t r = 0; r < rows; ++r) {
    const T *from = x.data() + r * n, *probability = y.data() + r * n, *slope = dy.data() + r * n;
    const T top = *std::max_element(from, from + n);
    const T total = sum_of_row<T>(n, [&](std::int64_t i, T s) { return s + Exp{}(from[i] - top); });
    const T inner =
        sum_of_row<T>(n, [&](std::int64_t i, T s) { return multiply_add(probability[i], slope[i], s); });
    const T log_sum = std::log(total) + top;
    for (std::int64_t i = 0; i < n; ++i) {
      expected[0].push_back(Exp{}(from[i] - top) * (1 / total));
      expected[1].push_back(probability[i] * (slope[i] - inner));
      expected[2].push_back(from[i] - log_sum);
    }
    const T sum = sum_of_row<T>(n, [&](std::int64_t i, T s) { return s + from[i]; });
    EXPECT_NEAR(loss[static_cast<std::size_t>(r)],
                log_sum - T(0.9) * from[r % n] - T(0.1) * sum / static_cast<T>(n),
                4 * std::numeric_limits<T>::epsilon() * (1 + std::abs(log_sum)))
        << n;
  }
  const std::string where = " of rows of " + std::to_string(n);
  expect_same_bits(y, expected[0], "softmax" + where);
  expect_same_bits(dx, expected[1], "softmax, backward," + where);
  expect_same_bits(logs, expected[2], "log softmax" + where);
  expect_same_bits(p, y, "probabilities" + where);
}

template <class T>
void expect_rows_in_order() {
  for (const std::int64_t n : kLengths) {
    const std::string where = "rows of " + std::to_string(n);
    const auto x = numbers<T>(n, 1), gamma = numbers<T>(n, 3);
    const auto at = [](const std::vector<T>& v, std::int64_t i) { return v[static_cast<std::size_t>(i)]; };
    const T sum = sum_of_row<T>(n, [&](std::int64_t i, T s) { return s + at(x, i); });
    EXPECT_EQ(row_sum(n, x.data()), sum) << where;

    expect_softmax_in_order<T>(n);

    const auto [mean, inverse] = moments_of_row<T>(x, gamma, T(1e-5));
    const T middle = sum / static_cast<T>(n);
    const T squares = sum_of_row<T>(n, [&](std::int64_t i, T s) {
      const T d = at(x, i) - middle;
      return multiply_add(d, d, s);
    });
    EXPECT_EQ(mean, middle) << where;
    EXPECT_EQ(inverse, 1 / std::sqrt(squares / static_cast<T>(n) + T(1e-5))) << where;
  }
}

TEST(RowSums, RunIn32LanesOrInOrder) {
  expect_rows_in_order<float>();
  expect_rows_in_order<double>();
}

// The error of a sum in lanes is that of its longest chain, n / 32 + 5 additions, and of a softmax that and a
// few roundings more.
template <class T>
void expect_accurate_rows() {
  const double eps = std::numeric_limits<T>::epsilon();
  for (const std::int64_t n : kLengths) {
    const double chain = n < kSumLanes ? static_cast<double>(n) : static_cast<double>(n) / kSumLanes + 5;
    const auto x = numbers<T>(n, 4);
    std::vector<T> y(x.size());
    softmax_forward(1, n, x.data(), y.data());
    long double total = 0;
    for (const T value : x) total += std::exp(static_cast<long double>(value));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto exact = static_cast<double>(std::exp(static_cast<long double>(x[i])) / total);
      EXPECT_NEAR(y[i], exact, (chain + 8) * eps * exact) << n << " at " << i;
    }
    const auto [mean, inverse] = moments_of_row<T>(x, {}, T(0));
    long double centre = 0, squares = 0;
    for (const T value : x) centre += value;
    centre /= static_cast<long double>(n);
    for (const T value : x) squares += (value - centre) * (value - centre);
    if (n > 1) {
      const auto exact = static_cast<double>(std::sqrt(static_cast<long double>(n) / squares));
      EXPECT_NEAR(inverse, exact, (chain + 8) * eps * exact) << n;
    }
    EXPECT_NEAR(mean, static_cast<double>(centre), (chain + 2) * eps) << n;
  }
}

TEST(RowSums, AreAsAccurateAsTheirChainsAreShort) {
  expect_accurate_rows<float>();
  expect_accurate_rows<double>();
}

TEST(Largest, IsFoundWhereverItStands) {
  for (const std::int64_t n : kLengths)
    for (std::int64_t at = 0; at < n; ++at) {
      std::vector<float> x(static_cast<std::size_t>(n), -3.0f);
      x[static_cast<std::size_t>(at)] = -1.0f;
      ASSERT_EQ(largest(n, x.data()), -1.0f) << at << " of " << n;
    }
}

// (a x) or (conj(a) x) in chains, as mode_mixing.hpp writes them down.
template <class T>
struct Chain {
  T re = 0, im = 0;
  void add(bool conjugate, const T* a, const T* x, std::int64_t modes) {
    const T s = conjugate ? -a[modes] : a[modes];
    re = multiply_add(-s, x[modes], multiply_add(a[0], x[0], re));
    im = multiply_add(s, x[0], multiply_add(a[0], x[modes], im));
  }
  void write(T* to, std::int64_t modes) const {
    to[0] = re;
    to[modes] = im;
  }
};

template <class T>
void expect_mixing_in_order(const ModeMixing& m) {
  const std::int64_t row = 2 * m.modes;
  const auto w = numbers<T>(m.in * m.out * row, 5), x = numbers<T>(m.batch * m.in * row, 6);
  const auto dy = numbers<T>(m.batch * m.out * row, 7);
  std::vector<T> y(dy.size()), dx(x.size()), dw(w.size()), y_plain(y), dx_plain(dx), dw_plain(dw);
  mix_modes(m, 0, m.out, w.data(), x.data(), y.data());
  mix_modes_backward_input(m, 0, m.in, w.data(), dy.data(), dx.data());
  mix_modes_backward_weight(m, 0, m.in, x.data(), dy.data(), dw.data());
  const auto w_at = [&](std::int64_t i, std::int64_t o) { return (i * m.out + o) * row; };
  for (std::int64_t k = 0; k < m.modes; ++k) {
    for (std::int64_t b = 0; b < m.batch; ++b) {
      for (std::int64_t o = 0; o < m.out; ++o) {
        Chain<T> sum;
        for (std::int64_t i = 0; i < m.in; ++i)
          sum.add(false, &w[static_cast<std::size_t>(w_at(i, o) + k)],
                  &x[static_cast<std::size_t>((b * m.in + i) * row + k)], m.modes);
        sum.write(&y_plain[static_cast<std::size_t>((b * m.out + o) * row + k)], m.modes);
      }
      for (std::int64_t i = 0; i < m.in; ++i) {
        Chain<T> sum;
        for (std::int64_t o = 0; o < m.out; ++o)
          sum.add(true, &w[static_cast<std::size_t>(w_at(i, o) + k)],
                  &dy[static_cast<std::size_t>((b * m.out + o) * row + k)], m.modes);
        sum.write(&dx_plain[static_cast<std::size_t>((b * m.in + i) * row + k)], m.modes);
      }
    }
    for (std::int64_t i = 0; i < m.in; ++i)
      for (std::int64_t o = 0; o < m.out; ++o) {
        Chain<T> sum;
        for (std::int64_t b = 0; b < m.batch; ++b)
          sum.add(true, &x[static_cast<std::size_t>((b * m.in + i) * row + k)],
                  &dy[static_cast<std::size_t>((b * m.out + o) * row + k)], m.modes);
        sum.write(&dw_plain[static_cast<std::size_t>(w_at(i, o) + k)], m.modes);
      }
  }
  const std::string where = std::to_string(m.modes) + " modes";
  expect_same_bits(y, y_plain, "mixing, " + where);
  expect_same_bits(dx, dx_plain, "input of mixing, " + where);
  expect_same_bits(dw, dw_plain, "weight of mixing, " + where);
}

TEST(ModeMixing, EachPartOfAResultIsOneChain) {
  for (const ModeMixing& shape : {ModeMixing{1, 1, 1, 1}, {5, 3, 6, 7}, {1, 4, 9, 16}, {9, 5, 4, 53}}) {
    expect_mixing_in_order<float>(shape);
    expect_mixing_in_order<double>(shape);
  }
  std::vector<float> nothing(8, 1.0f);
  mix_modes<float>({2, 0, 2, 1}, 0, 2, nullptr, nullptr, nothing.data());
  EXPECT_EQ(nothing, std::vector<float>(8, 0.0f)) << "an empty sum is 0";
}

// Lane i % 16 over the positions of the output and the images of a part of 32, lanes by halves, parts by
// pairs: for 1 x 1 kernels positions are pixels.
template <class T>
void expect_weights_in_order(std::int64_t batch) {
  ConvExtents e;
  e.batch = batch;
  e.channels = 3;
  e.outputs = 5;
  e.height = e.width = e.out_height = e.out_width = 6;
  const auto x = numbers<T>(batch * 3 * 36, 8), dy = numbers<T>(batch * 5 * 36, 9);
  std::vector<T> expected(15);
  const OnDevice<T> in(x), from(dy), found(expected);
  const OnDevice<T> work(std::vector<T>(static_cast<std::size_t>(conv_weights_workspace(e, 1))));
  conv_backward_weights(e, 1, in.read(), from.read(), found.data(), work.data());
  for (std::int64_t o = 0; o < 5; ++o)
    for (std::int64_t c = 0; c < 3; ++c) {
      std::vector<T> parts;
      for (std::int64_t n = 0; n < batch; n += 32) {
        std::vector<T> lanes(16, T(0));
        for (std::int64_t i = n; i < std::min(batch, n + 32); ++i)
          for (std::int64_t p = 0; p < 36; ++p) {
            T& lane = lanes[static_cast<std::size_t>(p % 16)];
            lane = multiply_add(dy[static_cast<std::size_t>((i * 5 + o) * 36 + p)],
                                x[static_cast<std::size_t>((i * 3 + c) * 36 + p)], lane);
          }
        parts.push_back(halves(lanes));
      }
      for (std::size_t apart = 1; apart < parts.size(); apart *= 2)
        for (std::size_t p = 0; p + apart < parts.size(); p += 2 * apart) parts[p] += parts[p + apart];
      expected[static_cast<std::size_t>(o * 3 + c)] = parts[0];
    }
  expect_same_bits(found.values(), expected, "batch of " + std::to_string(batch));
}

TEST(ConvWeights, SumInLanesAndATreeOfParts) {
  for (const std::int64_t batch : {1, 31, 32, 33, 150}) {
    expect_weights_in_order<float>(batch);
    expect_weights_in_order<double>(batch);
  }
}

}  // namespace
}  // namespace rankine::kernels
