// The three convolution kernels against plain loops over the formula, at sizes where tiles, tails, strides
// and groups do not fit.
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/conv.hpp"
#include "kernels/pooling.hpp"

namespace rankine::kernels {
namespace {

struct Case {
  ConvExtents e;
  std::string text() const {
    return std::to_string(e.batch) + " images " + std::to_string(e.channels) + "x" +
           std::to_string(e.height) + "x" + std::to_string(e.width) + " to " + std::to_string(e.outputs) +
           ", kernel " + std::to_string(e.kernel_height) + "x" + std::to_string(e.kernel_width) +
           ", stride " + std::to_string(e.stride_height) + "x" + std::to_string(e.stride_width) +
           ", padding " + std::to_string(e.pad_height) + "x" + std::to_string(e.pad_width) + ", dilation " +
           std::to_string(e.dilation_height) + "x" + std::to_string(e.dilation_width) + ", groups " +
           std::to_string(e.groups);
  }
};

ConvExtents make(std::int64_t batch, std::int64_t channels, std::int64_t height, std::int64_t width,
                 std::int64_t outputs, std::int64_t kernel_height, std::int64_t kernel_width,
                 std::int64_t stride_height, std::int64_t stride_width, std::int64_t pad_height,
                 std::int64_t pad_width, std::int64_t dilation_height, std::int64_t dilation_width,
                 std::int64_t groups, std::int64_t extra = 0) {
  ConvExtents e;
  e.batch = batch;
  e.channels = channels;
  e.height = height;
  e.width = width;
  e.outputs = outputs;
  e.kernel_height = kernel_height;
  e.kernel_width = kernel_width;
  e.stride_height = stride_height;
  e.stride_width = stride_width;
  e.pad_height = pad_height;
  e.pad_width = pad_width;
  e.dilation_height = dilation_height;
  e.dilation_width = dilation_width;
  e.groups = groups;
  e.out_height =
      (height + 2 * pad_height - dilation_height * (kernel_height - 1) - 1) / stride_height + 1 + extra;
  e.out_width = (width + 2 * pad_width - dilation_width * (kernel_width - 1) - 1) / stride_width + 1 + extra;
  return e;
}

// Calls f(index of x, of w, of y) for every product of the trilinear form.
template <class F>
void products(const ConvExtents& e, F f) {
  for (std::int64_t n = 0; n < e.batch; ++n)
    for (std::int64_t o = 0; o < e.outputs; ++o)
      for (std::int64_t i = 0; i < e.out_height; ++i)
        for (std::int64_t j = 0; j < e.out_width; ++j)
          for (std::int64_t c = 0; c < e.group_channels(); ++c)
            for (std::int64_t k = 0; k < e.kernel_height; ++k)
              for (std::int64_t l = 0; l < e.kernel_width; ++l) {
                const std::int64_t row = i * e.stride_height + k * e.dilation_height - e.pad_height;
                const std::int64_t column = j * e.stride_width + l * e.dilation_width - e.pad_width;
                if (row < 0 || row >= e.height || column < 0 || column >= e.width) continue;
                const std::int64_t channel = o / e.group_outputs() * e.group_channels() + c;
                f(((n * e.channels + channel) * e.height + row) * e.width + column,
                  ((o * e.group_channels() + c) * e.kernel_height + k) * e.kernel_width + l,
                  ((n * e.outputs + o) * e.out_height + i) * e.out_width + j);
              }
}

template <class T>
std::vector<T> draw(std::int64_t count, std::mt19937& rng) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& v : values) v = static_cast<T>(uniform(rng));
  return values;
}

template <class T>
void expect_near(const std::vector<T>& found, const std::vector<double>& expected, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(static_cast<double>(found[i]), expected[i], tolerance) << what << ", element " << i;
}

template <class T>
void check(const ConvExtents& e) {
  const std::string what = Case{e}.text();
  std::mt19937 rng(4);
  const auto x = draw<T>(e.batch * e.channels * e.height * e.width, rng);
  const auto w = draw<T>(e.outputs * e.taps(), rng);
  const auto y = draw<T>(e.batch * e.outputs * e.out_height * e.out_width, rng);
  const auto bias = draw<T>(e.outputs, rng);
  std::vector<double> forward(y.size()), data(x.size()), weights(w.size());
  for (std::size_t i = 0; i < forward.size(); ++i)
    forward[i] = static_cast<double>(
        bias[i / static_cast<std::size_t>(e.out_height * e.out_width) % static_cast<std::size_t>(e.outputs)]);
  products(e, [&](std::int64_t a, std::int64_t b, std::int64_t c) {
    const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b),
               k = static_cast<std::size_t>(c);
    forward[k] += static_cast<double>(x[i]) * static_cast<double>(w[j]);
    data[i] += static_cast<double>(y[k]) * static_cast<double>(w[j]);
    weights[j] += static_cast<double>(y[k]) * static_cast<double>(x[i]);
  });
  // Workspaces of exactly the size that is asked for, full of NaN: what is read must have been written.
  const auto space = [](std::int64_t count) {
    return std::vector<T>(static_cast<std::size_t>(count), std::numeric_limits<T>::quiet_NaN());
  };
  // n terms of at most 1 make an error of about eps n / 2.
  const double eps = std::numeric_limits<T>::epsilon(), n = static_cast<double>(e.taps());
  const double m = static_cast<double>(e.batch * e.out_height * e.out_width);
  const double back = static_cast<double>(e.group_outputs() * e.kernel_height * e.kernel_width);
  std::vector<T> found(y.size(), T(7));
  auto work = space(conv_forward_workspace(e));
  conv_forward(e, x.data(), w.data(), bias.data(), found.data(), work.data());
  expect_near(found, forward, eps * (n + 2), "forward of " + what);
  found.assign(x.size(), T(7));
  work = space(conv_backward_data_workspace(e));
  conv_backward_data(e, y.data(), w.data(), found.data(), work.data());
  expect_near(found, data, eps * (back + 2), "gradient of the data of " + what);
  found.assign(w.size(), T(7));
  work = space(conv_backward_weights_workspace(e));
  conv_backward_weights(e, x.data(), y.data(), found.data(), work.data());
  expect_near(found, weights, eps * (m + 2), "gradient of the weights of " + what);
}

TEST(Conv, AgreesWithPlainLoops) {
  const std::vector<ConvExtents> cases{
      make(3, 5, 14, 14, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1),   // the usual one, with odd channels
      make(2, 1, 28, 28, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1),   // first layer
      make(9, 8, 7, 7, 10, 3, 3, 2, 2, 1, 1, 1, 1, 1),    // stride
      make(2, 4, 9, 8, 6, 3, 3, 2, 3, 0, 2, 1, 1, 2),     // unlike strides and paddings, groups
      make(2, 6, 11, 10, 6, 5, 3, 1, 1, 2, 1, 1, 1, 6),   // depthwise
      make(2, 3, 12, 13, 6, 3, 3, 1, 1, 2, 2, 2, 2, 3),   // dilated, two outputs a group
      make(1, 4, 13, 12, 5, 3, 2, 3, 2, 1, 0, 2, 3, 1),   // stride and dilation
      make(4, 6, 5, 5, 9, 1, 1, 1, 1, 0, 0, 1, 1, 3),     // 1x1
      make(4, 6, 6, 5, 9, 1, 1, 2, 2, 0, 0, 1, 1, 1),     // 1x1 with stride: inputs that no tap reads
      make(2, 3, 1, 40, 4, 1, 7, 1, 2, 0, 3, 1, 1, 1),    // signals
      make(2, 2, 4, 4, 3, 4, 4, 1, 1, 0, 0, 1, 1, 1),     // one output
      make(1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1),     //
      make(2, 2, 3, 3, 2, 2, 2, 1, 1, 3, 3, 1, 1, 1),     // padding beyond the kernel: outputs of zeros alone
      make(2, 3, 8, 8, 4, 2, 2, 1, 1, 0, 0, 1, 1, 1, 1),  // "same" with an even kernel: zeros below and right
      make(2, 2, 5, 5, 2, 2, 2, 4, 4, 0, 0, 1, 1, 1),     // stride beyond the kernel
      make(40, 2, 3, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1),    // several groups of images
  };
  for (const ConvExtents& e : cases) {
    check<double>(e);
    check<float>(e);
  }
}

TEST(Conv, ChannelSums) {
  std::mt19937 rng(2);
  for (const std::int64_t space : {1, 3, 16, 49, 197}) {
    const auto x = draw<float>(3 * 5 * space, rng);
    std::vector<float> sums(5);
    channel_sums(3, 5, space, x.data(), sums.data());
    std::vector<double> expected(5);
    for (std::size_t i = 0; i < x.size(); ++i)
      expected[i / static_cast<std::size_t>(space) % 5] += static_cast<double>(x[i]);
    expect_near(sums, expected, 3 * static_cast<double>(space) * 6e-8, "channel sums");
  }
}

// Pooling against plain loops, and its adjoints.
TEST(Pooling, AgreesWithPlainLoops) {
  std::mt19937 rng(9);
  for (const auto& [size, kernel, stride, pad] : std::vector<std::array<std::int64_t, 4>>{
           {14, 2, 2, 0}, {15, 2, 2, 0}, {13, 3, 2, 1}, {9, 3, 1, 1}, {10, 3, 4, 0}, {5, 5, 5, 0}}) {
    PoolExtents e;
    e.planes = 3;
    e.height = size;
    e.width = size + 1;
    e.kernel_height = e.kernel_width = kernel;
    e.stride_height = e.stride_width = stride;
    e.pad_height = e.pad_width = pad;
    e.out_height = (e.height + 2 * pad - kernel) / stride + 1;
    e.out_width = (e.width + 2 * pad - kernel) / stride + 1;
    const auto x = draw<double>(e.planes * e.height * e.width, rng);
    const auto out = static_cast<std::size_t>(e.planes * e.out_height * e.out_width);
    const auto dy = draw<double>(static_cast<std::int64_t>(out), rng);
    std::vector<double> largest(out, -2), sums(out), d_largest(x.size()), d_sums(x.size());
    for (std::int64_t p = 0; p < e.planes; ++p)
      for (std::int64_t i = 0; i < e.out_height; ++i)
        for (std::int64_t j = 0; j < e.out_width; ++j) {
          const auto to = static_cast<std::size_t>((p * e.out_height + i) * e.out_width + j);
          std::size_t where = 0;
          for (std::int64_t r = i * stride - pad; r < i * stride - pad + kernel; ++r)
            for (std::int64_t c = j * stride - pad; c < j * stride - pad + kernel; ++c) {
              if (r < 0 || r >= e.height || c < 0 || c >= e.width) continue;
              const auto from = static_cast<std::size_t>((p * e.height + r) * e.width + c);
              if (x[from] > largest[to]) {
                largest[to] = x[from];
                where = from;
              }
              sums[to] += 0.25 * x[from];
              d_sums[from] += 0.25 * dy[to];
            }
          d_largest[where] += dy[to];
        }
    std::vector<double> y(out, 7), dx(x.size(), 7);
    std::vector<std::uint8_t> taps(out);
    max_pool_forward(e, x.data(), y.data(), taps.data());
    expect_near(y, largest, 0, "max_pool");
    std::vector<double> picked(out, 7);
    pick_taps(e, x.data(), taps.data(), picked.data());
    expect_near(picked, largest, 0, "pick_taps");
    place_taps(e, dy.data(), taps.data(), dx.data());
    expect_near(dx, d_largest, 1e-15, "place_taps");
    sum_pool_forward(e, 0.25, x.data(), y.data());
    expect_near(y, sums, 1e-14, "sum_pool");
    sum_pool_backward(e, 0.25, dy.data(), dx.data());
    expect_near(dx, d_sums, 1e-14, "sum_pool's adjoint");
  }
}

TEST(Pooling, PassesNaNOn) {
  PoolExtents e;
  e.height = e.width = 4;
  e.kernel_height = e.kernel_width = 2;
  e.stride_height = e.stride_width = 2;
  e.out_height = e.out_width = 2;
  for (int place = 0; place < 16; ++place) {
    std::vector<float> x(16, 1.0F), y(4);
    x[static_cast<std::size_t>(place)] = NAN;
    std::vector<std::uint8_t> taps(4);
    max_pool_forward(e, x.data(), y.data(), taps.data());
    const int window = place / 8 * 2 + place % 4 / 2;
    for (int i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(i)]), i == window) << place;
  }
}

}  // namespace
}  // namespace rankine::kernels
