#include "kernels/fft_portable.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rankine::kernels {
namespace {

// Without the checks for infinities that operator* makes.
template <class T>
std::complex<T> times(const std::complex<T>& a, const std::complex<T>& b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

}  // namespace

template <class T>
PortableFft<T>::PortableFft(std::int64_t n) : n_(n) {
  for (std::int64_t p = 2, rest = n; rest > 1; ++p) {
    if (p * p > rest) p = rest;
    for (; rest % p == 0; rest /= p) factors_.push_back(p);
  }
  for (std::int64_t k = 0; k < n; ++k) {
    const double angle = -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
    roots_.emplace_back(static_cast<T>(std::cos(angle)), static_cast<T>(std::sin(angle)));
  }
}

template <class T>
void PortableFft<T>::transform(const std::complex<T>* x, std::int64_t stride, std::complex<T>* y,
                               bool backward) const {
  std::vector<std::complex<T>> work(factors_.empty() ? 0 : static_cast<std::size_t>(factors_.back()));
  level(n_, 0, x, stride, y, backward, work.data());
}

template <class T>
void PortableFft<T>::level(std::int64_t n, std::size_t factor, const std::complex<T>* x, std::int64_t stride,
                           std::complex<T>* y, bool backward, std::complex<T>* work) const {
  if (n == 1) {
    y[0] = x[0];
    return;
  }
  const std::int64_t p = factors_[factor], m = n / p, turn = n_ / n;
  for (std::int64_t q = 0; q < p; ++q)
    level(m, factor + 1, x + q * stride, stride * p, y + q * m, backward, work);
  const auto root = [&](std::int64_t k) {
    const std::complex<T>& w = roots_[static_cast<std::size_t>(k % n * turn)];
    return backward ? std::conj(w) : w;
  };
  for (std::int64_t k = 0; k < m; ++k) {
    if (p == 2) {
      const std::complex<T> a = y[k], b = times(y[m + k], root(k));
      y[k] = a + b;
      y[m + k] = a - b;
      continue;
    }
    for (std::int64_t q = 0; q < p; ++q) work[q] = times(y[q * m + k], root(q * k));
    for (std::int64_t r = 0; r < p; ++r) {
      std::complex<T> sum = work[0];
      for (std::int64_t q = 1; q < p; ++q) sum += times(work[q], root(q * r * m));
      y[r * m + k] = sum;
    }
  }
}

template <class T>
void portable_fft(const PortableFft<T>& plan, const FftLines& lines, std::int64_t first, std::int64_t last,
                  bool backward, T factor, const std::complex<T>* x, std::complex<T>* y) {
  std::vector<std::complex<T>> line(static_cast<std::size_t>(lines.n));
  for (std::int64_t l = first; l < last; ++l) {
    const std::int64_t start = l / lines.inner * lines.n * lines.inner + l % lines.inner;
    plan.transform(x + start, lines.inner, line.data(), backward);
    for (std::int64_t k = 0; k < lines.n; ++k)
      y[start + k * lines.inner] = factor * line[static_cast<std::size_t>(k)];
  }
}

template class PortableFft<float>;
template class PortableFft<double>;
template void portable_fft(const PortableFft<float>&, const FftLines&, std::int64_t, std::int64_t, bool,
                           float, const std::complex<float>*, std::complex<float>*);
template void portable_fft(const PortableFft<double>&, const FftLines&, std::int64_t, std::int64_t, bool,
                           double, const std::complex<double>*, std::complex<double>*);

}  // namespace rankine::kernels
