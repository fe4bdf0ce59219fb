// Counter-based random numbers for kernels and the host: Philox4x32-10 of the library Random123 (Salmon,
// Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11). A number is a function of key and
// counter, so any thread may ask for any of them. What the counter's words hold is told in
// src/core/random.hpp. No Kokkos here.
#pragma once

#include <cstdint>

// Random123 takes its functions for the device alone, or, by other compilers, for the host.
#if defined(__CUDACC__) && !defined(R123_CUDA_DEVICE)
#define R123_CUDA_DEVICE __host__ __device__
#endif
#include <Random123/philox.h>

namespace rankine::kernels {

/// What is drawn: part of the counter, so that one stream serves all. Changing a value changes every result.
enum class RandomKind : std::uint32_t { uniform = 0, normal = 1, integer = 2, choice = 3, gamma = 4 };

/// The random numbers of one key.
class Philox {
 public:
  /// 128 bits, which serve two indices.
  using Block = philox4x32_ctr_t;

  R123_CUDA_DEVICE explicit Philox(std::uint64_t key) : key_(key) {}
  R123_CUDA_DEVICE std::uint64_t key() const { return key_; }

  /// Block `number` < 2^56; it serves the indices 2 number and 2 number + 1.
  R123_CUDA_DEVICE Block block(RandomKind kind, std::uint32_t step, std::uint32_t id,
                               std::uint64_t number) const {
    const Block counter = {
        {static_cast<std::uint32_t>(number),
         static_cast<std::uint32_t>(number >> 32) | (static_cast<std::uint32_t>(kind) << 24), step, id}};
    const philox4x32_key_t key = {{static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32)}};
    return philox4x32(counter, key);
  }
  /// The half of its block that belongs to `index`.
  R123_CUDA_DEVICE static std::uint64_t word(const Block& b, std::int64_t index) {
    const int i = index % 2 == 0 ? 0 : 2;
    return b.v[i] | (static_cast<std::uint64_t>(b.v[i + 1]) << 32);
  }
  /// In the open interval (0, 1): a multiple of 2^-52 plus 2^-53, without rounding.
  R123_CUDA_DEVICE static double to_unit(std::uint64_t bits) {
    return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
  }

 private:
  std::uint64_t key_;
};

}  // namespace rankine::kernels
