// Transforms of real fields on a periodic box of one to three axes, many at once, in host memory: by complex
// transforms of half the length along the last axis (kernels/fft.hpp), of whose waves only the first are kept.
#pragma once

#include <array>
#include <complex>
#include <vector>

namespace rankine::kernels {

/// Not to be used by two threads at once: it keeps its work memory.
class RealFft {
 public:
  using Complex = std::complex<double>;

  /// Cells by axis, an even number along the last. Waves 0 .. `waves` along the last axis are kept, fewer than
  /// half of its cells.
  RealFft(std::vector<int> cells, int waves);

  long cells() const { return cells_total_; }
  /// Coefficients of a field: cells of all axes but the last, times waves + 1.
  long modes() const { return modes_; }
  /// The wave numbers of a mode; from -n/2 along all axes but the last.
  std::array<int, 3> wave(long mode) const;

  /// [count][cell] -> sums over cells of u exp(-i phase), [count][mode].
  void forward(long count, const double* u, Complex* modes) const;
  /// The inverse where only kept waves occur: with conjugate ones along the last axis, divided by the number of
  /// cells.
  void backward(long count, const Complex* modes, double* u) const;

 private:
  void along_other_axes(long count, bool forward, std::vector<Complex>& values) const;

  std::vector<int> cells_;
  long waves_, cells_total_ = 1, modes_ = 1;
  std::vector<Complex> turn_;                   // exp(-2 pi i k / n), k = 0 .. n/2
  mutable std::vector<Complex> lines_, other_;  // work memory
};

}  // namespace rankine::kernels
