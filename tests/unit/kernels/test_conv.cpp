// The three convolution kernels against plain loops over the formula, at sizes where tiles, tails, strides
// and groups do not fit, and the host's own loops against the bodies that a device runs.
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/conv.hpp"
#include "kernels/pooling.hpp"
#include "tests/support/on_device.hpp"

namespace rankine::kernels {
namespace {

using testing::OnDevice;

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

// `own`: each shard has weights of its own.
template <class T>
void check(const ConvExtents& e, bool own) {
  const std::string what = Case{e}.text();
  const std::int64_t shards = 2, copies = own ? shards : 1;
  std::mt19937 rng(4);
  const std::int64_t nx = e.batch * e.channels * e.height * e.width, nw = e.outputs * e.taps(),
                     ny = e.batch * e.outputs * e.out_height * e.out_width;
  const auto x = draw<T>(shards * nx, rng);
  const auto w = draw<T>(copies * nw, rng);
  const auto y = draw<T>(shards * ny, rng);
  const auto bias = draw<T>(copies * e.outputs, rng);
  std::vector<double> forward(y.size()), data(x.size()), weights(static_cast<std::size_t>(shards * nw));
  for (std::int64_t l = 0; l < shards; ++l) {
    const std::int64_t lw = own ? l * nw : 0, lb = own ? l * e.outputs : 0;
    for (std::int64_t i = 0; i < ny; ++i)
      forward[static_cast<std::size_t>(l * ny + i)] = static_cast<double>(
          bias[static_cast<std::size_t>(lb + i / (e.out_height * e.out_width) % e.outputs)]);
    products(e, [&](std::int64_t a, std::int64_t b, std::int64_t c) {
      const auto i = static_cast<std::size_t>(l * nx + a), j = static_cast<std::size_t>(lw + b),
                 k = static_cast<std::size_t>(l * ny + c);
      forward[k] += static_cast<double>(x[i]) * static_cast<double>(w[j]);
      data[i] += static_cast<double>(y[k]) * static_cast<double>(w[j]);
      weights[static_cast<std::size_t>(l * nw + b)] += static_cast<double>(y[k]) * static_cast<double>(x[i]);
    });
  }
  const OnDevice<T> dx(x), dw(w), dy(y), db(bias);
  const std::int64_t w_step = own ? nw : 0, b_step = own ? e.outputs : 0;
  // n terms of at most 1 make an error of about eps n / 2.
  const double eps = std::numeric_limits<T>::epsilon(), n = static_cast<double>(e.taps());
  const double m = static_cast<double>(e.batch * e.out_height * e.out_width);
  const double back = static_cast<double>(e.group_outputs() * e.kernel_height * e.kernel_width);
  {
    const OnDevice<T> found(std::vector<T>(y.size(), T(7))), portable(std::vector<T>(y.size(), T(7)));
    conv_forward(e, shards, dx.read(), dw.read(), w_step, db.read(), b_step, found.data());
    conv_forward_portable(e, shards, dx.read(), dw.read(), w_step, db.read(), b_step, portable.data());
    expect_near(found.values(), forward, eps * (n + 2), "forward of " + what);
    EXPECT_EQ(found.values(), portable.values()) << "forward of " << what;
  }
  {
    const OnDevice<T> found(std::vector<T>(x.size(), T(7))), portable(std::vector<T>(x.size(), T(7)));
    conv_backward_data(e, shards, dy.read(), dw.read(), w_step, found.data());
    conv_backward_data_portable(e, shards, dy.read(), dw.read(), w_step, portable.data());
    expect_near(found.values(), data, eps * (back + 2), "gradient of the data of " + what);
    EXPECT_EQ(found.values(), portable.values()) << "gradient of the data of " << what;
  }
  const std::vector<T> sevens(weights.size(), T(7));
  const OnDevice<T> found(sevens), portable(sevens);
  // What is read of the workspace must have been written.
  const OnDevice<T> work(std::vector<T>(static_cast<std::size_t>(conv_weights_workspace(e, shards)),
                                        std::numeric_limits<T>::quiet_NaN()));
  conv_backward_weights(e, shards, dx.read(), dy.read(), found.data(), work.data());
  expect_near(found.values(), weights, eps * (m + 2), "gradient of the weights of " + what);
  conv_backward_weights_portable(e, shards, dx.read(), dy.read(), portable.data(), work.data());
  expect_near(portable.values(), weights, eps * (m + 2), "gradient of the weights of " + what);
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
      make(11, 2, 40, 57, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1),  // several parts of the batch, of unlike size
  };
  for (const ConvExtents& e : cases) {
    check<double>(e, true);
    check<float>(e, false);
  }
}

TEST(Conv, ChannelSums) {
  std::mt19937 rng(2);
  const std::int64_t shards = 2;
  for (const std::int64_t batch : {1, 3})
    for (const std::int64_t channels : {5, 40})
      for (const std::int64_t space : {1, 3, 16, 31, 32, 49, 197}) {
        const auto x = draw<float>(shards * batch * channels * space, rng);
        const OnDevice<float> dx(x), sums(std::vector<float>(static_cast<std::size_t>(shards * channels)));
        const OnDevice<float> work(std::vector<float>(static_cast<std::size_t>(shards * batch * channels)));
        channel_sums(shards, batch, channels, space, dx.read(), sums.data(), work.data());
        std::vector<double> expected(static_cast<std::size_t>(shards * channels));
        for (std::size_t i = 0; i < x.size(); ++i) {
          const auto plane = static_cast<std::int64_t>(i) / space;
          expected[static_cast<std::size_t>(plane / channels / batch * channels + plane % channels)] +=
              static_cast<double>(x[i]);
        }
        expect_near(sums.values(), expected, static_cast<double>(batch * space + 2) * 1.2e-7, "channel sums");
      }
}

TEST(Conv, LaunchesDoNotDependOnShardsImagesAndChannels) {
  std::mt19937 rng(3);
  std::vector<std::int64_t> counts;
  for (const auto& [shards, e] : std::vector<std::pair<std::int64_t, ConvExtents>>{
           {1, make(1, 2, 6, 6, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1)},
           {3, make(9, 8, 6, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1)}}) {
    const OnDevice<float> x(draw<float>(shards * e.batch * e.channels * e.height * e.width, rng)),
        w(draw<float>(shards * e.outputs * e.taps(), rng)),
        y(draw<float>(shards * e.batch * e.outputs * e.out_height * e.out_width, rng)),
        work(draw<float>(conv_weights_workspace(e, shards) + 1, rng));
    const std::int64_t before = device_counters().launches;
    conv_forward(e, shards, x.read(), w.read(), e.outputs * e.taps(), {}, 0, y.data());
    conv_backward_data(e, shards, y.read(), w.read(), e.outputs * e.taps(), x.data());
    conv_backward_weights(e, shards, x.read(), y.read(), w.data(), work.data());
    counts.push_back(device_counters().launches - before);
  }
  EXPECT_EQ(counts[0], 3);
  EXPECT_EQ(counts[1], 3);
}

// Pooling against plain loops, and its adjoints.
TEST(Pooling, AgreesWithPlainLoops) {
  std::mt19937 rng(9);
  for (const auto& [size, kernel, stride, pad] : std::vector<std::array<std::int64_t, 4>>{{14, 2, 2, 0},
                                                                                          {15, 2, 2, 0},
                                                                                          {13, 3, 2, 1},
                                                                                          {9, 3, 1, 1},
                                                                                          {10, 3, 4, 0},
                                                                                          {5, 5, 5, 0},
                                                                                          {60, 2, 2, 0}}) {
    PoolExtents e;
    e.planes = size == 60 ? 11 : 3;  // more than the host takes at once
    e.height = size;
    e.width = size + (size == 60 ? 0 : 1);
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
    const OnDevice<double> in(x), from(dy);
    const std::vector<double> outputs(out, 7), inputs(x.size(), 7);
    const auto both = [&](const std::vector<double>& fill, const std::vector<double>& expected,
                          double tolerance, const char* what, auto tuned, auto portable) {
      const OnDevice<double> a(fill), b(fill);
      tuned(a.data());
      portable(b.data());
      expect_near(a.values(), expected, tolerance, what);
      EXPECT_EQ(a.values(), b.values()) << what;
    };
    const OnDevice<std::uint8_t> taps{std::vector<std::uint8_t>(out)}, same{std::vector<std::uint8_t>(out)};
    const DevicePtr<const std::uint8_t> tap = taps.read();
    using Y = DevicePtr<double>;
    both(
        outputs, largest, 0, "max_pool", [&](Y y) { max_pool_forward(e, in.read(), y, taps.data()); },
        [&](Y y) { max_pool_forward_portable(e, in.read(), y, same.data()); });
    EXPECT_EQ(taps.values(), same.values());
    both(
        outputs, largest, 0, "pick_taps", [&](Y y) { pick_taps(e, in.read(), tap, y); },
        [&](Y y) { pick_taps_portable(e, in.read(), tap, y); });
    both(
        inputs, d_largest, 1e-15, "place_taps", [&](Y y) { place_taps(e, from.read(), tap, y); },
        [&](Y y) { place_taps_portable(e, from.read(), tap, y); });
    both(
        outputs, sums, 1e-14, "sum_pool", [&](Y y) { sum_pool_forward(e, 0.25, in.read(), y); },
        [&](Y y) { sum_pool_forward_portable(e, 0.25, in.read(), y); });
    both(
        inputs, d_sums, 1e-14, "sum_pool's adjoint", [&](Y y) { sum_pool_backward(e, 0.25, from.read(), y); },
        [&](Y y) { sum_pool_backward_portable(e, 0.25, from.read(), y); });
  }
}

// Few values, so that windows hold the largest more than once, and NaN: the taps are those of the host too.
TEST(Pooling, TakesTheSameOfEqualValuesOnADevice) {
  std::mt19937 rng(11);
  for (const std::int64_t stride : {1, 2}) {
    PoolExtents e;
    e.planes = 50;
    e.height = e.width = 8;
    e.kernel_height = e.kernel_width = 2;
    e.stride_height = e.stride_width = stride;
    e.out_height = e.out_width = (8 - 2) / stride + 1;
    std::vector<float> x(50 * 64);
    for (float& v : x) v = static_cast<float>(rng() % 3);
    for (float& v : x)
      if (rng() % 6 == 0) v = NAN;
    const auto out = static_cast<std::size_t>(e.planes * e.out_height * e.out_width);
    const OnDevice<float> in(x), y{std::vector<float>(out)};
    const OnDevice<std::int32_t> taps{std::vector<std::int32_t>(out, 7)},
        same{std::vector<std::int32_t>(out, 7)};
    max_pool_forward(e, in.read(), y.data(), taps.data());
    max_pool_forward_portable(e, in.read(), y.data(), same.data());
    EXPECT_EQ(taps.values(), same.values()) << stride;
  }
}

TEST(Pooling, RowMeans) {
  std::mt19937 rng(12);
  for (const std::int64_t n : {1, 7, 31, 32, 49, 100, 784}) {
    const auto x = draw<float>(5 * n, rng);
    const OnDevice<float> in(x), y(std::vector<float>(5));
    row_means(5, n, in.read(), y.data());
    std::vector<double> expected(5);
    for (std::size_t i = 0; i < x.size(); ++i)
      expected[i / static_cast<std::size_t>(n)] += static_cast<double>(x[i]) / static_cast<double>(n);
    expect_near(y.values(), expected, 3e-7, "row means of " + std::to_string(n));
  }
}

TEST(Pooling, PassesNaNOn) {
  PoolExtents e;
  e.height = e.width = 4;
  e.kernel_height = e.kernel_width = 2;
  e.stride_height = e.stride_width = 2;
  e.out_height = e.out_width = 2;
  for (int place = 0; place < 16; ++place) {
    std::vector<float> x(16, 1.0F);
    x[static_cast<std::size_t>(place)] = NAN;
    const OnDevice<float> in(x), out(std::vector<float>(4));
    const OnDevice<std::uint8_t> taps(std::vector<std::uint8_t>(4));
    max_pool_forward(e, in.read(), out.data(), taps.data());
    const std::vector<float> y = out.values();
    const int window = place / 8 * 2 + place % 4 / 2;
    for (int i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(i)]), i == window) << place;
  }
}

}  // namespace
}  // namespace rankine::kernels
