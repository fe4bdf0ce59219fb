#include "tests/unit/kernels/width_probe.hpp"

#include <array>
#include <complex>
#include <cstdint>
#include <cstring>
#include <random>

#include "kernels/activations.hpp"
#include "kernels/attention.hpp"
#include "kernels/blas.hpp"
#include "kernels/conv.hpp"
#include "kernels/map.hpp"
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
      const std::int64_t rows = 21;
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
          const RowNormExtents e{1, rows, 1, channels, space, centred};
          auto work = numbers(row_norm_workspace(e));
          row_norm_forward<T>(e, T(1e-5), read(x), {read(gamma), 0},
                              {centred ? read(beta) : DevicePtr<const T>(), 0}, write(y), write(mean),
                              write(inverse));
          keep("row norm" + at, y);
          row_norm_backward<T>(e, read(x), read(dy), {read(gamma), 0}, read(mean), read(inverse), write(dx),
                               write(dgamma), write(dbeta), write(work));
          keep("row norm backward" + at, dx);
          keep("row norm backward, gamma" + at, dgamma);
          keep("row norm backward, beta" + at, dbeta);
        }
      const ChannelExtents e{1, 2, 3, n};
      std::vector<double> moments(7), mean(3), inverse(3), sums(6);
      auto factor = numbers(3), term = numbers(3), coefficients = numbers(9), work = numbers(2 * 6);
      channel_moments<T>(e, false, read(x), write(moments), write(work));
      keep("channel moments" + at, moments);
      channel_norm_coefficients<T>(e, false, 1e-5, read(moments), {}, {}, write(mean), write(inverse),
                                   write(factor), write(term));
      channel_norm_sums<T>(e, read(x), read(dy), read(mean), read(inverse), {}, write(factor), write(term),
                           write(sums), write(work));
      keep("channel sums" + at, sums);
      channel_affine<T>(e, read(x), {read(loss), 3}, {read(loss) + 3, 3}, write(y));
      keep("channel affine" + at, y);
      channel_norm_backward<T>(e, read(x), read(dy), read(mean), read(inverse), {}, read(sums), {}, write(dx),
                               write(coefficients));
      keep("channel norm backward" + at, dx);
      channel_sums<T>(1, 2, 3, n, read(x), write(loss), write(work));
      keep("channel_sums" + at, loss);
      row_means<T>(rows, n, read(x), write(loss));
      keep("row_means" + at, loss);
      map("gelu", Gelu{}, rows * n, write(y), read(x));
      keep("gelu" + at, y);
      map("tanh_backward", TanhBackward{}, rows * n, write(y), read(x), read(dy));
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
      auto work = numbers(conv_weights_workspace(e, 1));
      conv_forward<T>(e, 1, read(x), read(w), 0, read(bias), 0, write(y));
      keep("conv", y);
      conv_backward_data<T>(e, 1, read(y), read(w), 0, write(x));
      keep("conv backward, data", x);
      conv_backward_weights<T>(e, 1, read(x), read(y), write(w), write(work));
      keep("conv backward, weights", w);
    }
  }

  void attention() {
    const AttentionHead head{53, 0, 53, 20, true};
    const std::int64_t n = head.queries * head.dim;
    const auto q = numbers(n), k = numbers(n), v = numbers(n), d = numbers(n);
    auto o = numbers(n), log_sum = numbers(head.queries), dq = numbers(n), dk = numbers(n), dv = numbers(n);
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
  // The host's memory as it is: the kernels of another width have no allocation of their own.
  template <class N>
  static DevicePtr<const N> read(const std::vector<N>& x) {
    return DevicePtr<const N>::from_raw(x.data());
  }
  template <class N>
  static DevicePtr<N> write(std::vector<N>& x) {
    return DevicePtr<N>::from_raw(x.data());
  }
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
