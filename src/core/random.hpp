// Random numbers that depend on what they are for, not on when or where they are drawn.
//
// Every number is a function of (seed, stream name, step, id, index): Philox4x32-10 (Salmon, Moraes, Dror,
// Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11), evaluated at
//   key      64 bits: mix(mix(seed) xor fnv1a(name)), mix being the finaliser of SplitMix64
//   counter  word 0, and the lower 24 bits of word 1: the block, 128 bits that serve one or two indices
//            upper 8 bits of word 1: what is drawn (uniform, normal, integer, choice, gamma), so that one
//            stream may serve all word 2: step, word 3: id (of a sample or a tile, or whatever the stream
//            counts)
// There is no state: ranks agree on a number without talking, a restart needs no stored generator, and
// recomputation in a backward pass draws the same numbers again. For one seed, streams with different names
// have different keys (unless their 64-bit hashes collide).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/error.hpp"
#include "kernels/random.hpp"

namespace rankine {

class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name) : philox_(mix(mix(seed) ^ fnv1a(name))) {}

  /// In the open interval (0, 1): a multiple of 2^-52 plus 2^-53.
  double uniform(std::int64_t step, std::int64_t id, std::int64_t index) const {
    return to_unit(word(block(Kind::uniform, step, id, index), index));
  }
  /// In the open interval (low, high).
  double uniform(double low, double high, std::int64_t step, std::int64_t id, std::int64_t index) const {
    return low + (high - low) * uniform(step, id, index);
  }
  /// Mean 0, variance 1, by Box and Muller's transform; |value| < 8.6. Its bits depend on the machine's log
  /// and cos.
  double normal(std::int64_t step, std::int64_t id, std::int64_t index) const {
    const auto pair = normal_pair(step, id, index);
    return index % 2 == 0 ? pair.first : pair.second;
  }
  /// Gamma-distributed with density proportional to x^(shape - 1) exp(-x), shape > 0, by Marsaglia and
  /// Tsang's method (ACM Trans. Math. Softw. 26, 2000): a cubed normal, accepted or drawn again. The draws of
  /// one index share none with another's; index < 2^49.
  double gamma(double shape, std::int64_t step, std::int64_t id, std::int64_t index) const {
    RANKINE_ASSERT(shape > 0 && 0 <= index && index < (std::int64_t{1} << 49),
                   "a gamma number of shape " + std::to_string(shape) + ", index " + std::to_string(index));
    // 128 blocks an index: the first for the boost, then two for each attempt, of which more than 95 in 100
    // succeed.
    const std::int64_t first = index * 256;
    const auto pair = [&](std::int64_t n) {
      const Block b = block(Kind::gamma, step, id, first + 2 * n);
      return std::pair{to_unit(word(b, 0)), to_unit(word(b, 1))};
    };
    if (shape < 1) return gamma(shape + 1, step, id, index) * std::pow(pair(0).first, 1 / shape);
    const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    for (std::int64_t attempt = 0; attempt < 63; ++attempt) {
      const auto [a, b] = pair(1 + 2 * attempt);
      const double x = std::sqrt(-2.0 * std::log(a)) * std::cos(2.0 * std::numbers::pi * b);
      const double v = (1 + c * x) * (1 + c * x) * (1 + c * x);
      if (v > 0 && std::log(pair(2 + 2 * attempt).first) < 0.5 * x * x + d * (1 - v + std::log(v)))
        return d * v;
    }
    return d;  // never: all attempts fail with a probability below 1e-80
  }
  /// An integer in [0, n). Its probability is off 1/n by less than n / 2^64, relatively.
  std::int64_t integer(std::int64_t n, std::int64_t step, std::int64_t id, std::int64_t index) const {
    return below(Kind::integer, n, step, id, index);
  }

  /// values[i] = uniform(step, id, i) or normal(step, id, i), in half the time.
  template <class T>
  void fill_uniform(std::span<T> values, std::int64_t step, std::int64_t id) const {
    for (std::size_t i = 0; i < values.size(); i += 2) {
      const Block b = block(Kind::uniform, step, id, static_cast<std::int64_t>(i));
      values[i] = static_cast<T>(to_unit(word(b, 0)));
      if (i + 1 < values.size()) values[i + 1] = static_cast<T>(to_unit(word(b, 1)));
    }
  }
  template <class T>
  void fill_normal(std::span<T> values, std::int64_t step, std::int64_t id) const {
    for (std::size_t i = 0; i < values.size(); i += 2) {
      const auto pair = normal_pair(step, id, static_cast<std::int64_t>(i));
      values[i] = static_cast<T>(pair.first);
      if (i + 1 < values.size()) values[i + 1] = static_cast<T>(pair.second);
    }
  }

  /// k different integers of [0, n), in random order: the first k of permutation(n, step, id). Time and
  /// memory of order k.
  std::vector<std::int64_t> choose(std::int64_t k, std::int64_t n, std::int64_t step,
                                   std::int64_t id = 0) const {
    RANKINE_ASSERT(0 <= k && k <= n, "choose " + std::to_string(k) + " of " + std::to_string(n));
    std::vector<std::int64_t> chosen(static_cast<std::size_t>(k));
    // Fisher-Yates' shuffle of 0 .. n-1, stopped after k places; a map holds the few places that have
    // changed.
    std::unordered_map<std::int64_t, std::int64_t> changed;
    const auto at = [&](std::int64_t place) {
      const auto found = changed.find(place);
      return found == changed.end() ? place : found->second;
    };
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int64_t other = i + below(Kind::choice, n - i, step, id, i);
      chosen[static_cast<std::size_t>(i)] = at(other);
      changed[other] = at(i);
    }
    return chosen;
  }
  /// 0 .. n-1 in random order.
  std::vector<std::int64_t> permutation(std::int64_t n, std::int64_t step, std::int64_t id = 0) const {
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    for (std::int64_t i = 0; i + 1 < n; ++i) {
      const std::int64_t other = i + below(Kind::choice, n - i, step, id, i);
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(other)]);
    }
    return order;
  }

  std::uint64_t key() const { return philox_.key(); }
  /// The stream for kernels: what they draw for a counter that check_counter() allows is what this gives.
  const kernels::Philox& philox() const { return philox_; }
  static void check_counter(std::int64_t step, std::int64_t id, std::int64_t index) {
    constexpr std::int64_t words = std::int64_t{1} << 32, indices = std::int64_t{1} << 57;
    RANKINE_ASSERT(0 <= step && step < words && 0 <= id && id < words && 0 <= index && index < indices,
                   "random numbers for step " + std::to_string(step) + ", id " + std::to_string(id) +
                       ", index " + std::to_string(index) +
                       ": none may be negative, step and id must be below 2^32");
  }

 private:
  using Kind = kernels::RandomKind;
  using Block = kernels::Philox::Block;

  static std::uint64_t mix(std::uint64_t z) {
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  static std::uint64_t fnv1a(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return hash;
  }
  static std::uint64_t word(const Block& b, std::int64_t index) { return kernels::Philox::word(b, index); }
  static double to_unit(std::uint64_t bits) { return kernels::Philox::to_unit(bits); }

  /// The block of 128 bits that serves `index` and its neighbour.
  Block block(Kind kind, std::int64_t step, std::int64_t id, std::int64_t index) const {
    check_counter(step, id, index);
    return philox_.block(kind, static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(id),
                         static_cast<std::uint64_t>(index) / 2);
  }
  std::pair<double, double> normal_pair(std::int64_t step, std::int64_t id, std::int64_t index) const {
    const Block b = block(Kind::normal, step, id, index);
    const double radius = std::sqrt(-2.0 * std::log(to_unit(word(b, 0))));
    const double angle = 2.0 * std::numbers::pi * to_unit(word(b, 1));
    return {radius * std::cos(angle), radius * std::sin(angle)};
  }
  std::int64_t below(Kind kind, std::int64_t n, std::int64_t step, std::int64_t id,
                     std::int64_t index) const {
    RANKINE_ASSERT(n > 0, "a random integer below " + std::to_string(n));
    __extension__ using Wide = unsigned __int128;
    const std::uint64_t bits = word(block(kind, step, id, index), index);
    return static_cast<std::int64_t>((static_cast<Wide>(bits) * static_cast<std::uint64_t>(n)) >> 64);
  }

  kernels::Philox philox_;
};

}  // namespace rankine
