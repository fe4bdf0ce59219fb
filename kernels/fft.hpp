// The discrete Fourier transform of any length: factors by Cooley and Tukey's scheme, each prime factor by
// its definition, so the cost is of order n times the sum of the prime factors.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

namespace rankine::kernels {

/// X[k] = sum_j x[j] exp(-+ 2 pi i j k / n), not divided by n. T: float or double.
template <class T>
class Fft {
 public:
  explicit Fft(std::int64_t n);
  std::int64_t size() const { return n_; }
  /// y[k] = X[k] for x[j * stride], j < n; y is dense and does not overlap x. `backward`: exp(+2 pi i ...).
  void transform(const std::complex<T>* x, std::int64_t stride, std::complex<T>* y, bool backward) const;

 private:
  void level(std::int64_t n, std::size_t factor, const std::complex<T>* x, std::int64_t stride,
             std::complex<T>* y, bool backward, std::complex<T>* work) const;

  std::int64_t n_;
  std::vector<std::int64_t> factors_;   // primes, product n
  std::vector<std::complex<T>> roots_;  // exp(-2 pi i k / n)
};

}  // namespace rankine::kernels
