#include "kernels/dft.hpp"

#include <cmath>
#include <numbers>
#include <string>

#include "kernels/blas.hpp"
#include "kernels/error.hpp"

namespace rankine::kernels {
namespace {

// cos and sin of 2 pi k i / n, with the angle reduced in integers so that it is exact for any grid.
struct Wave {
  double cosine, sine;
};
Wave wave(std::int64_t k, std::int64_t i, std::int64_t n) {
  const double angle = 2 * std::numbers::pi * static_cast<double>(k * i % n) / static_cast<double>(n);
  return {std::cos(angle), std::sin(angle)};
}

}  // namespace

template <class T>
PartialDft<T>::PartialDft(std::int64_t nt, std::int64_t nx, std::int64_t modes_t, std::int64_t modes_x)
    : nt_(nt), nx_(nx), modes_t_(modes_t), modes_x_(modes_x) {
  if (modes_t < 1 || 2 * modes_t > nt)
    throw InputError(std::to_string(modes_t) + " modes of both signs in t on " + std::to_string(nt) +
                     " points; allowed are 1 to " + std::to_string(nt / 2));
  if (modes_x < 1 || modes_x > nx / 2 + 1)
    throw InputError(std::to_string(modes_x) + " modes in x on " + std::to_string(nx) +
                     " points; allowed are 1 to " + std::to_string(nx / 2 + 1));
  waves_t_.resize(static_cast<std::size_t>(rows() * nt));
  for (std::int64_t k = 0; k <= modes_t; ++k)
    for (std::int64_t t = 0; t < nt; ++t) {
      const Wave w = wave(k, t, nt);
      waves_t_[static_cast<std::size_t>(k * nt + t)] = static_cast<T>(w.cosine);
      if (k > 0) waves_t_[static_cast<std::size_t>((modes_t + k) * nt + t)] = static_cast<T>(w.sine);
    }
  waves_x_.resize(static_cast<std::size_t>(nx * columns()));
  waves_x_t_.resize(waves_x_.size());
  for (std::int64_t x = 0; x < nx; ++x)
    for (std::int64_t k = 0; k < modes_x; ++k) {
      const Wave w = wave(k, x, nx);
      waves_x_[static_cast<std::size_t>(x * columns() + k)] = static_cast<T>(w.cosine);
      waves_x_[static_cast<std::size_t>(x * columns() + modes_x + k)] = static_cast<T>(w.sine);
      waves_x_t_[static_cast<std::size_t>(k * nx + x)] = static_cast<T>(w.cosine);
      waves_x_t_[static_cast<std::size_t>((modes_x + k) * nx + x)] = static_cast<T>(w.sine);
    }
  for (std::int64_t k = 0; k < modes_x; ++k) {
    const bool alone = k == 0 || 2 * k == nx;  // its own mirror image
    weight_.push_back(
        static_cast<T>((alone ? 1.0 : 2.0) / (static_cast<double>(nt) * static_cast<double>(nx))));
  }
}

template <class T>
void PartialDft<T>::analyse(std::int64_t channels, const Tile& tile, const T* u, T* s, T* work) const {
  for (std::int64_t c = 0; c < channels; ++c)
    blas::gemm(blas::Op::none, blas::Op::none, rows(), tile.nx, tile.nt, T(1), waves_t_.data() + tile.t0, nt_,
               u + c * tile.nt * tile.nx, tile.nx, T(0), work + c * rows() * tile.nx, tile.nx);
  blas::gemm(blas::Op::none, blas::Op::none, channels * rows(), columns(), tile.nx, T(1), work, tile.nx,
             waves_x_.data() + tile.x0 * columns(), columns(), T(0), s, columns());
}

template <class T>
void PartialDft<T>::synthesise(std::int64_t channels, const Tile& tile, const T* s, T* u, T* work) const {
  blas::gemm(blas::Op::none, blas::Op::none, channels * rows(), tile.nx, columns(), T(1), s, columns(),
             waves_x_t_.data() + tile.x0, nx_, T(0), work, tile.nx);
  for (std::int64_t c = 0; c < channels; ++c)
    blas::gemm(blas::Op::transpose, blas::Op::none, tile.nt, tile.nx, rows(), T(1), waves_t_.data() + tile.t0,
               nt_, work + c * rows() * tile.nx, tile.nx, T(1), u + c * tile.nt * tile.nx, tile.nx);
}

template <class T>
void PartialDft<T>::to_modes(std::int64_t channels, const T* s, T* modes, bool weighted) const {
  const std::int64_t m = modes_t_, l_end = modes_x_;
  for (std::int64_t c = 0; c < channels; ++c) {
    const T* in = s + c * rows() * columns();
    T* re = modes + c * 2 * this->modes();
    T* im = re + this->modes();
    for (std::int64_t k = 0; k <= m; ++k) {
      const T* cosines = in + k * columns();
      const T* sines = in + (m + k) * columns();  // not read for k = 0: its row does not exist
      for (std::int64_t l = 0; l < l_end; ++l) {
        const T p = cosines[l], q = cosines[l_end + l];
        const T u = k > 0 ? sines[l] : T(0), v = k > 0 ? sines[l_end + l] : T(0);
        const T w = weighted ? weight_[static_cast<std::size_t>(l)] : T(1);
        if (k < m) {
          re[k * l_end + l] = w * (p - v);
          im[k * l_end + l] = w * -(q + u);
        }
        if (k > 0) {
          re[(2 * m - k) * l_end + l] = w * (p + v);
          im[(2 * m - k) * l_end + l] = w * (u - q);
        }
      }
    }
  }
}

template <class T>
void PartialDft<T>::from_modes(std::int64_t channels, const T* modes, T* s, bool weighted) const {
  const std::int64_t m = modes_t_, l_end = modes_x_;
  for (std::int64_t c = 0; c < channels; ++c) {
    T* out = s + c * rows() * columns();
    const T* re = modes + c * 2 * this->modes();
    const T* im = re + this->modes();
    for (std::int64_t k = 0; k <= m; ++k) {
      T* cosines = out + k * columns();
      T* sines = out + (m + k) * columns();
      for (std::int64_t l = 0; l < l_end; ++l) {
        const T w = weighted ? weight_[static_cast<std::size_t>(l)] : T(1);
        const T a = k < m ? re[k * l_end + l] : T(0), b = k < m ? im[k * l_end + l] : T(0);
        const T e = k > 0 ? re[(2 * m - k) * l_end + l] : T(0),
                f = k > 0 ? im[(2 * m - k) * l_end + l] : T(0);
        cosines[l] = w * (a + e);
        cosines[l_end + l] = w * -(b + f);
        if (k > 0) {
          sines[l] = w * (f - b);
          sines[l_end + l] = w * (e - a);
        }
      }
    }
  }
}

template class PartialDft<float>;
template class PartialDft<double>;

}  // namespace rankine::kernels
