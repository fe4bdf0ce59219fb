#include "kernels/real_fft.hpp"

#include <algorithm>
#include <numbers>

#include "kernels/error.hpp"
#include "kernels/fft.hpp"
#include "kernels/portability.hpp"
#include "kernels/runtime.hpp"

namespace rankine::kernels {
namespace {

using Complex = RealFft::Complex;

/// fft() between arrays of the host.
void fft_on_host(const FftLines& lines, FftDirection direction, const Complex* x, Complex* y) {
  if constexpr (kHostAccess) {
    fft<double>(lines, direction, 1, DevicePtr<const Complex>::from_raw(x), DevicePtr<Complex>::from_raw(y),
                nullptr);
    fence();
  } else {
    const std::int64_t count = lines.outer * lines.n * lines.inner,
                       size = 2 * count + fft_work<double>(lines);
    const auto memory = device_allocate(static_cast<std::size_t>(size) * sizeof(Complex));
    const DevicePtr<Complex> from = memory.as<Complex>();
    copy_to_device(from, x, count);
    fft<double>(lines, direction, 1, from, from + count, from + 2 * count);
    copy_to_host(y, from + count, count);
    device_free(memory);
  }
}

}  // namespace

RealFft::RealFft(std::vector<int> cells, int waves) : cells_(std::move(cells)), waves_(waves) {
  const int n = cells_.back();
  RANKINE_ASSERT(n % 2 == 0 && waves >= 0 && 2 * waves < n, "a real transform of an odd number of cells");
  for (const int along : cells_) cells_total_ *= along;
  modes_ = cells_total_ / n * (waves_ + 1);
  for (int k = 0; k <= n / 2; ++k) turn_.push_back(std::polar(1.0, -2 * std::numbers::pi * k / n));
}

std::array<int, 3> RealFft::wave(long mode) const {
  std::array<int, 3> k{};
  const int last = static_cast<int>(cells_.size()) - 1;
  k[last] = static_cast<int>(mode % (waves_ + 1));
  mode /= waves_ + 1;
  for (int axis = last - 1; axis >= 0; mode /= cells_[axis--]) {
    const int index = static_cast<int>(mode % cells_[axis]);
    k[axis] = 2 * index < cells_[axis] ? index : index - cells_[axis];
  }
  return k;
}

void RealFft::along_other_axes(long count, bool forward, std::vector<Complex>& values) const {
  other_.resize(values.size());
  std::int64_t inner = waves_ + 1;
  for (int axis = static_cast<int>(cells_.size()) - 2; axis >= 0; --axis) {
    const std::int64_t n = cells_[axis], outer = static_cast<std::int64_t>(values.size()) / (n * inner);
    fft_on_host({outer, n, inner}, forward ? FftDirection::forward : FftDirection::backward, values.data(),
                other_.data());
    values.swap(other_);
    inner *= n;
  }
  RANKINE_ASSERT(inner == modes_ && static_cast<long>(values.size()) == count * modes_,
                 "modes of another box");
}

void RealFft::forward(long count, const double* u, Complex* modes) const {
  const long half = cells_.back() / 2, rows = count * cells_total_ / cells_.back();
  lines_.resize(static_cast<std::size_t>(rows * half));
  // Neighbours as real and imaginary part: E_k + i O_k of the cells of even and odd numbers.
  fft_on_host({rows, half, 1}, FftDirection::forward, reinterpret_cast<const Complex*>(u), lines_.data());
  std::vector<Complex> kept(static_cast<std::size_t>(count * modes_));
  for (long row = 0; row < rows; ++row) {
    const Complex* z = &lines_[row * half];
    Complex* x = &kept[row * (waves_ + 1)];
    for (long k = 0; k <= waves_; ++k) {
      const Complex a = z[k], b = std::conj(z[k == 0 ? 0 : half - k]), odd = turn_[k] * (a - b);
      x[k] = 0.5 * Complex(a.real() + b.real() + odd.imag(), a.imag() + b.imag() - odd.real());
    }
  }
  along_other_axes(count, true, kept);
  std::copy(kept.begin(), kept.end(), modes);
}

void RealFft::backward(long count, const Complex* modes, double* u) const {
  const long half = cells_.back() / 2, rows = count * cells_total_ / cells_.back();
  std::vector<Complex> kept(modes, modes + count * modes_);
  along_other_axes(count, false, kept);
  lines_.resize(static_cast<std::size_t>(rows * half));
  const double factor = 1.0 / static_cast<double>(cells_total_);
  for (long row = 0; row < rows; ++row) {
    const Complex* x = &kept[row * (waves_ + 1)];
    Complex* z = &lines_[row * half];
    for (long k = 0; k < half; ++k) {
      const Complex a = k <= waves_ ? x[k] : 0, b = half - k <= waves_ ? std::conj(x[half - k]) : 0;
      const Complex odd = std::conj(turn_[k]) * (a - b);
      z[k] = factor * Complex(a.real() + b.real() - odd.imag(), a.imag() + b.imag() + odd.real());
    }
  }
  fft_on_host({rows, half, 1}, FftDirection::backward, lines_.data(), reinterpret_cast<Complex*>(u));
}

}  // namespace rankine::kernels
