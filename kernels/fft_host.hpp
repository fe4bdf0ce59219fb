// Transforms by code of the host: in blocks of lines that may run at once. kernels/ only.
//
// `Transform` is a struct of plain numbers and pointers with
//   template of T   void operator()(const FftLines& lines, first, last, const complex* x, complex* y) const
// which transforms the lines numbered first .. last - 1, line o inner + i being (o, i).
#pragma once

#include <algorithm>
#include <complex>
#include <vector>

#include "kernels/fft.hpp"
#include "kernels/launch.hpp"
#include "kernels/runtime.hpp"

namespace rankine::kernels {

template <class T, class Transform>
struct TransformBlock {
  Transform transform;
  FftLines lines;
  std::int64_t per_block;
  View<const std::complex<T>> x;
  View<std::complex<T>> y;
  inline void operator()(std::int64_t block) const {
    const std::int64_t first = block * per_block;
    transform(lines, first, std::min(first + per_block, lines.outer * lines.inner), x.at(0), y.at(0));
  }
};

/// On memory that the host's processors reach.
template <class T, class Transform>
void transform_in_place(const Transform& transform, const FftLines& lines, DevicePtr<const std::complex<T>> x,
                        DevicePtr<std::complex<T>> y) {
  const std::int64_t per_block = std::max<std::int64_t>(kChunk / lines.n, 8);
  host_blocks("fft", (lines.outer * lines.inner + per_block - 1) / per_block,
              TransformBlock<T, Transform>{transform, lines, per_block, x, y});
}

/// On copies, for devices that have no library of transforms here.
template <class T, class Transform>
void transform_copies(const Transform& transform, const FftLines& lines, DevicePtr<const std::complex<T>> x,
                      DevicePtr<std::complex<T>> y) {
  const std::int64_t count = lines.outer * lines.n * lines.inner;
  std::vector<std::complex<T>> from(static_cast<std::size_t>(count)), to(from.size());
  copy_to_host(from.data(), x, count);
  transform(lines, 0, lines.outer * lines.inner, from.data(), to.data());
  copy_to_device(y, to.data(), count);
}

template <class T, class Transform>
void transform_by_host(const Transform& transform, const FftLines& lines, DevicePtr<const std::complex<T>> x,
                       DevicePtr<std::complex<T>> y) {
  if constexpr (kHostAccess) {
    transform_in_place<T>(transform, lines, x, y);
  } else {
    transform_copies<T>(transform, lines, x, y);
  }
}

}  // namespace rankine::kernels
