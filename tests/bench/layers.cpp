// The kernels of layers against the limits of the machine, measured in the same run: products of matrices
// against the fastest product found, passes over memory against a copy of arrays of that size.
//   bench_layers [repetitions]
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "kernels/blas.hpp"
#include "kernels/conv.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/neurons.hpp"
#include "kernels/norm.hpp"
#include "kernels/pooling.hpp"
#include "kernels/product.hpp"
#include "src/core/clock.hpp"
#include "tests/support/on_device.hpp"

using namespace rankine;
using testing::OnDevice;

namespace {

int repetitions = 15;

/// The shortest time of several runs: the machine's other work can only add to it.
double seconds(const std::function<void()>& run) {
  run();
  double best = 1e9;
  for (int i = 0; i < repetitions; ++i) {
    const Stopwatch watch;
    run();
    best = std::min(best, watch.seconds());
  }
  return best;
}

std::vector<float> numbers(std::int64_t count) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>((i * 2654435761u >> 8) % 2000) * 1e-3F - 1;
  return x;
}

double peak_flops() {
  double best = 0;
  for (const std::int64_t n : {128, 256, 512}) {
    const auto a = numbers(n * n), b = numbers(n * n);
    auto c = numbers(n * n);
    const double t = seconds([&] {
      blas::gemm(blas::Op::none, blas::Op::none, n, n, n, 1.0F, a.data(), n, b.data(), n, 0.0F, c.data(), n);
    });
    best = std::max(best, 2.0 * static_cast<double>(n * n * n) / t);
  }
  return best;
}

void report_flops(const std::string& name, double flops, double peak, double t) {
  std::printf("%-44s %9.1f us %7.1f GFlop/s %5.0f %% of the product's\n", name.c_str(), t * 1e6,
              flops / t * 1e-9, 100 * flops / t / peak);
}

/// `moved`: floats read and written once. The yardstick is a copy that moves as many.
void report_bytes(const std::string& name, std::int64_t moved, double t) {
  const auto from = numbers(moved / 2);
  std::vector<float> to(from.size());
  const double copy = seconds([&] { std::copy(from.begin(), from.end(), to.begin()); });
  std::printf("%-44s %9.1f us %7.1f GB/s    %5.0f %% of a copy's\n", name.c_str(), t * 1e6,
              4e-9 * static_cast<double>(moved) / t, 100 * copy / t);
}

void convolutions(double peak) {
  for (const auto& [in, out, size, kernel, stride, groups] :
       std::vector<std::array<std::int64_t, 6>>{{1, 8, 28, 3, 1, 1},
                                                {8, 8, 14, 3, 1, 1},
                                                {16, 16, 14, 3, 1, 1},
                                                {32, 32, 14, 3, 1, 1},
                                                {64, 64, 14, 3, 1, 1},
                                                {64, 64, 7, 3, 1, 1},
                                                {8, 8, 28, 3, 1, 1},
                                                {16, 16, 28, 3, 1, 1},
                                                {32, 32, 28, 3, 1, 1},
                                                {16, 32, 28, 3, 2, 1},
                                                {16, 32, 28, 1, 2, 1},
                                                {32, 32, 14, 1, 1, 1},
                                                {32, 32, 14, 3, 1, 32}}) {
    kernels::ConvExtents e;
    e.batch = 50;
    e.channels = in;
    e.outputs = out;
    e.height = e.width = size;
    e.kernel_height = e.kernel_width = kernel;
    e.pad_height = e.pad_width = kernel / 2;
    e.stride_height = e.stride_width = stride;
    e.groups = groups;
    e.out_height = e.out_width = (size + 2 * (kernel / 2) - kernel) / stride + 1;
    const OnDevice<float> x(numbers(e.batch * e.channels * size * size)), w(numbers(e.outputs * e.taps())),
        y(numbers(e.batch * e.outputs * e.out_height * e.out_width)), dx(x.values()), dw(w.values()),
        work(numbers(kernels::conv_weights_workspace(e, 1)));
    const std::string name = "conv " + std::to_string(in) + " to " + std::to_string(out) + ", " +
                             std::to_string(kernel) + "x" + std::to_string(kernel) + " at " +
                             std::to_string(size) + (stride > 1 ? ", stride 2" : "") +
                             (groups > 1 ? ", depthwise" : "");
    const double flops = 2 * e.multiply_adds();
    report_flops(name + ": forward", flops, peak, seconds([&] {
                   kernels::conv_forward<float>(e, 1, x.read(), w.read(), 0, nullptr, 0, y.data());
                 }));
    report_flops(name + ": data", flops, peak, seconds([&] {
                   kernels::conv_backward_data<float>(e, 1, y.read(), w.read(), 0, dx.data());
                 }));
    report_flops(name + ": weights", flops, peak, seconds([&] {
                   kernels::conv_backward_weights<float>(e, 1, x.read(), y.read(), dw.data(), work.data());
                 }));
  }
}

void products(double peak) {
  for (const std::int64_t rows : {25, 50, 100})
    for (const auto& [in, out] :
         std::vector<std::array<std::int64_t, 2>>{{784, 512}, {512, 512}, {512, 10}}) {
      // What affine (src/nn/affine.cpp) launches.
      const OnDevice<float> x(numbers(rows * in)), w(numbers(out * in)), b(numbers(out)),
          y(numbers(rows * out)), dx(x.values()), dw(w.values()), db(b.values());
      const double flops = 2 * static_cast<double>(rows * in * out);
      const std::string name = "linear " + std::to_string(in) + " to " + std::to_string(out) + ", " +
                               std::to_string(rows) + " rows";
      using blas::Op;
      const kernels::Product forward{
          .op_b = Op::transpose, .m = rows, .n = out, .k = in, .lda = in, .ldb = in, .ldc = out};
      const kernels::Product of_input{.m = rows, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in};
      const kernels::Product of_weight{
          .op_a = Op::transpose, .m = out, .n = in, .k = rows, .lda = out, .ldb = in, .ldc = in};
      const kernels::Bias<float> to_rows{b.read()};
      report_flops(name + ": forward", flops, peak,
                   seconds([&] { kernels::product<float>(forward, x.read(), w.read(), to_rows, y.data()); }));
      report_flops(name + ": data", flops, peak,
                   seconds([&] { kernels::product<float>(of_input, 1, y.read(), w.read(), 0, dx.data()); }));
      report_flops(name + ": weights and bias", flops, peak, seconds([&] {
                     kernels::product<float>(of_weight, 1, y.read(), x.read(), 0, dw.data());
                     kernels::column_sums<float>("bias", 1, rows, out, y.read(), db.data());
                   }));
    }
}

void passes() {
  for (const auto& [batch, channels, size] :
       std::vector<std::array<std::int64_t, 3>>{{50, 16, 14}, {100, 32, 28}}) {
    const std::int64_t space = size * size, n = batch * channels * space;
    const auto x = numbers(n), gamma = numbers(channels), beta = numbers(channels);
    const kernels::ChannelExtents c{1, batch, channels, space};
    const OnDevice<float> in(x), out(numbers(n)), back(x), gammas(gamma), betas(beta), factor(gamma),
        term(beta), channel_work(numbers(c.workspace())), coefficients(numbers(3 * channels));
    const std::vector<double> zeros(static_cast<std::size_t>(2 * channels + 1));
    const OnDevice<double> moments(zeros), mean(zeros), inverse(zeros), sums(zeros);
    const kernels::ChannelNumbers<float> g{gammas.read(), 0}, b{betas.read(), 0};
    const std::string at = " " + std::to_string(batch) + "x" + std::to_string(channels) + "x" +
                           std::to_string(size) + "x" + std::to_string(size);
    report_bytes(
        "batch norm" + at + ": forward", 3 * n, seconds([&] {
          kernels::channel_moments<float>(c, false, in.read(), moments.data(), channel_work.data());
          kernels::channel_norm_coefficients<float>(c, false, 1e-5, moments.read(), g, b, mean.data(),
                                                    inverse.data(), factor.data(), term.data());
          kernels::channel_affine<float>(c, in.read(), {factor.read(), 0}, {term.read(), 0}, out.data());
        }));
    report_bytes(
        "batch norm" + at + ": backward", 5 * n, seconds([&] {
          kernels::channel_norm_sums<float>(c, in.read(), out.read(), mean.read(), inverse.read(), g,
                                            factor.data(), term.data(), sums.data(), channel_work.data());
          kernels::channel_norm_backward<float>(c, in.read(), out.read(), mean.read(), inverse.read(), g,
                                                sums.read(), {}, back.data(), coefficients.data());
        }));
    const kernels::RowNormExtents r{1, batch * 8, 8, channels / 8, space, true};
    const OnDevice<float> middles(numbers(r.rows)), roots(numbers(r.rows)),
        row_work(numbers(kernels::row_norm_workspace(r)));
    report_bytes("group norm" + at + ": forward", 2 * n, seconds([&] {
                   kernels::row_norm_forward<float>(r, 1e-5F, in.read(), g, b, out.data(), middles.data(),
                                                    roots.data());
                 }));
    report_bytes("group norm" + at + ": backward", 3 * n, seconds([&] {
                   kernels::row_norm_backward<float>(r, in.read(), out.read(), g, middles.read(),
                                                     roots.read(), back.data(), factor.data(), term.data(),
                                                     row_work.data());
                 }));
    kernels::PoolExtents e;
    e.planes = batch * channels;
    e.height = e.width = size;
    e.kernel_height = e.kernel_width = e.stride_height = e.stride_width = 2;
    e.out_height = e.out_width = size / 2;
    const OnDevice<std::uint8_t> taps{std::vector<std::uint8_t>(static_cast<std::size_t>(n / 4))};
    report_bytes("max pool" + at + ": forward", n + n / 4 + n / 16,
                 seconds([&] { kernels::max_pool_forward<float>(e, in.read(), out.data(), taps.data()); }));
    report_bytes("max pool" + at + ": backward", n + n / 4 + n / 16,
                 seconds([&] { kernels::place_taps<float>(e, out.read(), taps.read(), back.data()); }));
    report_bytes("average pool" + at + ": forward", n + n / 4,
                 seconds([&] { kernels::sum_pool_forward(e, 0.25F, in.read(), out.data()); }));
    report_bytes("average pool" + at + ": backward", n + n / 4,
                 seconds([&] { kernels::sum_pool_backward(e, 0.25F, out.read(), back.data()); }));
    report_bytes("global average pool" + at, n,
                 seconds([&] { kernels::row_means(batch * channels, space, in.read(), out.data()); }));
    const auto measure = [&](const char* name, const auto& forward, const auto& backward) {
      report_bytes(name + at + ": forward", 2 * n, seconds(forward));
      report_bytes(name + at + ": backward", 3 * n, seconds(backward));
    };
    const auto activation = [&](const char* name, const kernels::Activation& f) {
      measure(
          name, [&] { kernels::activate(f, n, in.read(), out.data()); },
          [&] { kernels::activate_backward(f, n, in.read(), out.read(), back.data()); });
    };
    using enum kernels::ActivationKind;
    activation("relu", {relu});
    activation("silu", {silu});
    activation("softplus", {softplus, 1});
    activation("elu", {elu, 1, 1});
    activation("sin", {sin});
    const auto two = kernels::Strided<2>::flat(n);
    const auto three = kernels::Strided<3>::flat(n);
    measure(
        "gelu", [&] { kernels::unary(kernels::Unary::gelu, two, in.read(), out.data()); },
        [&] { kernels::gelu_backward(three, in.read(), out.read(), back.data()); });
    measure(
        "tanh", [&] { kernels::unary(kernels::Unary::tanh, two, in.read(), out.data()); },
        [&] { kernels::tanh_backward(three, in.read(), out.read(), back.data()); });
  }
  for (const auto& [rows, n] : std::vector<std::array<std::int64_t, 2>>{{6400, 64}, {3200, 512}}) {
    const auto x = numbers(rows * n), gamma = numbers(n), beta = numbers(n);
    const OnDevice<float> in(x), y(x), dx(x), dgamma(gamma), dbeta(beta), gammas(gamma), betas(beta),
        middle(numbers(rows)), inverse(numbers(rows));
    const std::string at = " " + std::to_string(rows) + "x" + std::to_string(n);
    for (const bool centred : {true, false}) {
      const std::string name = (centred ? "layer norm" : "rms norm") + at;
      const kernels::RowNormExtents r{1, rows, 1, n, 1, centred};
      const OnDevice<float> work(numbers(kernels::row_norm_workspace(r)));
      const kernels::ChannelNumbers<float> g{gammas.read(), 0},
          b{centred ? betas.read() : DevicePtr<const float>(), 0};
      report_bytes(name + ": forward", 2 * rows * n, seconds([&] {
                     kernels::row_norm_forward<float>(r, 1e-5F, in.read(), g, b, y.data(), middle.data(),
                                                      inverse.data());
                   }));
      report_bytes(name + ": backward", 3 * rows * n, seconds([&] {
                     kernels::row_norm_backward<float>(
                         r, in.read(), y.read(), g, middle.read(), inverse.read(), dx.data(), dgamma.data(),
                         centred ? dbeta.data() : DevicePtr<float>(), work.data());
                   }));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const KokkosSession session;
  if (argc > 1) repetitions = std::max(1, std::atoi(argv[1]));
  const double peak = peak_flops();
  std::printf("fastest product of matrices: %.1f GFlop/s\n", peak * 1e-9);
  convolutions(peak);
  products(peak);
  passes();
}
