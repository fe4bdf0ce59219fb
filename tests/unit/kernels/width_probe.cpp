#include "tests/unit/kernels/width_probe.hpp"

#include <algorithm>
#include <array>
#include <complex>
#include <cstdint>
#include <cstring>
#include <random>

#include "kernels/activations.hpp"
#include "kernels/attention.hpp"
#include "kernels/blas.hpp"
#include "kernels/conv.hpp"
#include "kernels/mode_mixing.hpp"
#include "kernels/norm.hpp"
#include "kernels/pooling.hpp"
#include "kernels/simd.hpp"
#include "kernels/softmax.hpp"

namespace rankine::kernels {
namespace {

using blas::Op;
using Results = std::vector<std::pair<std::string, std::vector<std::byte>>>;

template <class T>
class Probe {
 public:
  explicit Probe(Results& results) : results_(results), suffix_(sizeof(T) == 4 ? " f32" : " f64") {}

  void products() {
    for (const Op op_a : {Op::none, Op::transpose})
      for (const Op op_b : {Op::none, Op::transpose})
        for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{17, 16, 40},
                                      {24, 150, 24},
                                      {13, 37, 300},
                                      {70, 3, 20},
                                      {1, 200, 9}}) {
          const auto a = numbers(m * k), b = numbers(k * n);
          auto c = numbers(m * n);
          blas::gemm(op_a, op_b, m, n, k, T(0.7), a.data(), op_a == Op::none ? k : m, b.data(),
                     op_b == Op::none ? n : k, T(1), c.data(), n);
          keep("product " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k), c);
        }
    std::vector<std::complex<T>> a(13 * 7), b(7 * 21), c(13 * 21);
    for (auto* x : {&a, &b, &c})
      for (auto& value : *x) value = {number(), number()};
    blas::gemm(Op::none, Op::none, 13, 21, 7, std::complex<T>(1, 2), a.data(), 7, b.data(), 21,
               std::complex<T>(0, 1), c.data(), 21);
    keep("complex product", c);
    const ModeMixing shape{5, 3, 7, 45};
    auto w = numbers(3 * 7 * 90), x = numbers(5 * 3 * 90), y = numbers(5 * 7 * 90);
    mix_modes(shape, 0, shape.out, w.data(), x.data(), y.data());
    keep("mix_modes", y);
    mix_modes_backward_input(shape, 0, shape.in, w.data(), y.data(), x.data());
    keep("mix_modes_backward_input", x);
    mix_modes_backward_weight(shape, 0, shape.in, x.data(), y.data(), w.data());
    keep("mix_modes_backward_weight", w);
  }

  void rows() {
    for (const std::int64_t n : {1, 7, 16, 31, 32, 33, 47, 64, 100, 257}) {
      const std::int64_t rows = 6;
      const auto x = numbers(rows * n), dy = numbers(rows * n), gamma = numbers(n), beta = numbers(n);
      auto y = x, dx = x, loss = numbers(rows);
      const std::string at = " of " + std::to_string(n);
      softmax_forward(rows, n, x.data(), y.data());
      keep("softmax" + at, y);
      softmax_backward(rows, n, y.data(), dy.data(), dx.data());
      keep("softmax backward" + at, dx);
      log_softmax_forward(rows, n, x.data(), dx.data());
      keep("log softmax" + at, dx);
      const std::vector<std::int32_t> labels(static_cast<std::size_t>(rows),
                                             static_cast<std::int32_t>(n / 2));
      cross_entropy_forward(rows, n, x.data(), labels.data(), T(0.1), loss.data(), y.data());
      keep("cross entropy" + at, y);
      keep("cross entropy, losses" + at, loss);
      cross_entropy_backward(rows, n, y.data(), labels.data(), T(0.1), loss.data(), dx.data());
      keep("cross entropy backward" + at, dx);
      for (const bool centred : {true, false})
        for (const std::int64_t space : {std::int64_t{1}, n}) {
          const std::int64_t channels = n / space;
          auto mean = numbers(rows), inverse = numbers(rows), dgamma = numbers(n), dbeta = numbers(n);
          row_norm_forward(rows, std::int64_t{1}, channels, space, centred, T(1e-5), x.data(), gamma.data(),
                           centred ? beta.data() : nullptr, y.data(), mean.data(), inverse.data());
          keep("row norm" + at, y);
          row_norm_backward(rows, std::int64_t{1}, channels, space, centred, x.data(), dy.data(),
                            gamma.data(), mean.data(), inverse.data(), dx.data(), dgamma.data(),
                            dbeta.data());
          keep("row norm backward" + at, dx);
          keep("row norm backward, gamma" + at, dgamma);
          keep("row norm backward, beta" + at, dbeta);
        }
      std::vector<double> mean(3), deviation(3);
      channel_moments(std::int64_t{2}, std::int64_t{3}, n, x.data(), mean.data(), deviation.data());
      keep("channel mean" + at, mean);
      keep("channel deviation" + at, deviation);
      channel_norm_sums(std::int64_t{2}, std::int64_t{3}, n, x.data(), dy.data(), mean.data(),
                        deviation.data(), mean.data());
      keep("channel sums" + at, deviation);
      channel_affine(std::int64_t{2}, std::int64_t{3}, n, x.data(), loss.data(), loss.data() + 3, y.data());
      keep("channel affine" + at, y);
      channel_norm_backward(std::int64_t{2}, std::int64_t{3}, n, x.data(), dy.data(), loss.data(),
                            loss.data() + 1, loss.data() + 2, dx.data());
      keep("channel norm backward" + at, dx);
      channel_sums(std::int64_t{2}, std::int64_t{3}, n, x.data(), loss.data());
      keep("channel_sums" + at, loss);
      row_means(rows, n, x.data(), loss.data());
      keep("row_means" + at, loss);
      map(Gelu{}, rows * n, x.data(), y.data());
      keep("gelu" + at, y);
      map(TanhBackward{}, rows * n, x.data(), dy.data(), y.data());
      keep("tanh backward" + at, y);
      gelu_with_derivative(rows * n, x.data(), y.data(), dx.data());
      keep("gelu'" + at, dx);
      keep("tree_sum" + at, std::vector<T>{tree_sum(rows * n, x.data())});
    }
  }

  void convolutions() {
    for (const auto& [batch, channels, outputs, size, kernel, stride, groups] :
         {std::array<std::int64_t, 7>{3, 3, 5, 9, 3, 1, 1}, {70, 4, 4, 7, 3, 2, 2}, {5, 8, 8, 14, 1, 1, 1}}) {
      ConvExtents e;
      e.batch = batch;
      e.channels = channels;
      e.outputs = outputs;
      e.groups = groups;
      e.height = e.width = size;
      e.kernel_height = e.kernel_width = kernel;
      e.stride_height = e.stride_width = stride;
      e.pad_height = e.pad_width = kernel / 2;
      e.out_height = e.out_width = (size + 2 * (kernel / 2) - kernel) / stride + 1;
      auto x = numbers(batch * channels * size * size), w = numbers(outputs * e.taps()),
           bias = numbers(outputs);
      auto y = numbers(batch * outputs * e.out_height * e.out_width);
      std::vector<T> work(static_cast<std::size_t>(std::max(
          {conv_forward_workspace(e), conv_backward_data_workspace(e), conv_backward_weights_workspace(e)})));
      conv_forward(e, x.data(), w.data(), bias.data(), y.data(), work.data());
      keep("conv", y);
      conv_backward_data(e, y.data(), w.data(), x.data(), work.data());
      keep("conv backward, data", x);
      conv_backward_weights(e, x.data(), y.data(), w.data(), work.data());
      keep("conv backward, weights", w);
    }
  }

  void attention() {
    const AttentionHead head{53, 0, 53, 20, true};
    const std::int64_t n = head.queries * head.dim;
    const auto q = numbers(n), k = numbers(n), v = numbers(n), d = numbers(n);
    auto o = numbers(n), log_sum = numbers(head.queries), dq = numbers(n), dk = numbers(n), dv = numbers(n);
    // The host's memory as it is: the kernels of another width have no allocation of their own.
    const auto read = [](const std::vector<T>& x) { return DevicePtr<const T>::from_raw(x.data()); };
    const auto write = [](std::vector<T>& x) { return DevicePtr<T>::from_raw(x.data()); };
    const AttentionShape shape{head, 1, 1};
    const AttentionInputs<T> in{read(q), {}, {}, read(k), read(v)};
    attention_forward<T>(shape, T(0.2), in, write(o), write(log_sum));
    keep("attention", o);
    attention_backward<T>(shape, T(0.2), in, read(log_sum), read(d),
                          {write(dq), {}, {}, write(dk), write(dv)}, {});
    keep("attention, dq", dq);
    keep("attention, dk", dk);
    keep("attention, dv", dv);
  }

 private:
  T number() { return std::uniform_real_distribution<T>(-1, 1)(rng_); }
  std::vector<T> numbers(std::int64_t count) {
    std::vector<T> x(static_cast<std::size_t>(count));
    for (T& value : x) value = number();
    return x;
  }
  template <class N>
  void keep(const std::string& name, const std::vector<N>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(N));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    results_.emplace_back(name + suffix_, std::move(bytes));
  }
  Results& results_;
  std::string suffix_;
  std::mt19937 rng_{3};
};

template <class T>
void probe(Results& results) {
  Probe<T> probe(results);
  probe.products();
  probe.rows();
  probe.convolutions();
  probe.attention();
}

}  // namespace

Results probe_widths() {
  Results results;
  probe<float>(results);
  probe<double>(results);
  return results;
}

int probed_width() { return kVectorBytes; }

}  // namespace rankine::kernels
