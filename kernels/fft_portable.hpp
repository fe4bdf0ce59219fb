// An own transform of any length, for builds without FFTW and cuFFT and as the tests' second opinion: factors
// by Cooley and Tukey's scheme, each prime factor by its definition, so the cost is of order n times the sum
// of the prime factors.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

#include "kernels/fft.hpp"

namespace rankine::kernels {

/// The plan of one length: its prime factors and roots of unity. T: float or double.
template <class T>
class PortableFft {
 public:
  explicit PortableFft(std::int64_t n);
  /// y[k] = sum_j x[j * stride] exp(-+ 2 pi i j k / n), k < n; y is dense and does not overlap x.
  void transform(const std::complex<T>* x, std::int64_t stride, std::complex<T>* y, bool backward) const;

 private:
  void level(std::int64_t n, std::size_t factor, const std::complex<T>* x, std::int64_t stride,
             std::complex<T>* y, bool backward, std::complex<T>* work) const;

  std::int64_t n_;
  std::vector<std::int64_t> factors_;   // primes, product n
  std::vector<std::complex<T>> roots_;  // exp(-2 pi i k / n)
};

/// y = factor times the transforms of the lines first .. last - 1 of a host array, line o inner + i being (o,
/// i).
template <class T>
void portable_fft(const PortableFft<T>& plan, const FftLines& lines, std::int64_t first, std::int64_t last,
                  bool backward, T factor, const std::complex<T>* x, std::complex<T>* y);

}  // namespace rankine::kernels
