#include "kernels/selection.hpp"

#include <cstring>
#include <type_traits>

#include "kernels/launch.hpp"
#include "kernels/map.hpp"
#include "kernels/reduce.hpp"

namespace rankine::kernels {
namespace {

template <class T>
using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

/// A whole number that is larger where x is larger; the same for 0 and -0.
template <class T>
RANKINE_KERNEL Key<T> key_of(T x) {
  constexpr Key<T> sign = Key<T>(1) << (8 * sizeof(T) - 1);
  x += T(0);
  Key<T> bits = 0;
  memcpy(&bits, &x, sizeof bits);
  return (bits & sign) != 0 ? ~bits : bits | sign;
}

/// Whether the key of number i has at least the bits that are found, and `bit`.
template <class T>
struct AtLeast {
  View<const T> x;
  View<const std::int64_t> found;
  Key<T> bit;
  RANKINE_KERNEL std::int64_t operator()(std::int64_t i) const {
    return key_of(x[i]) >= (static_cast<Key<T>>(found[0]) | bit) ? 1 : 0;
  }
};

struct Settle {
  std::int64_t k, bit;
  View<const std::int64_t> count;
  View<std::int64_t> found;
  RANKINE_KERNEL void operator()(std::int64_t) const {
    if (count[0] >= k) found[0] |= bit;
  }
};
struct Zero {
  RANKINE_KERNEL std::int64_t operator()(std::int64_t) const { return 0; }
};

struct Mark {
  static constexpr bool kPlain = true;
  template <class T>
  RANKINE_ELEMENT T operator()(T x, std::int64_t found) const {
    return key_of(x) >= static_cast<Key<T>>(found) ? T(1) : T(0);
  }
};

template <class T>
struct LargestOfEach {
  std::int64_t m, n;
  View<const T> x;
  RANKINE_KERNEL T operator()(std::int64_t i) const {
    const std::int64_t first = i / m * m;
    const T own = x[i] < 0 ? -x[i] : x[i];
    std::int64_t before = 0;
    for (std::int64_t j = first; j < first + m; ++j) {
      const T other = x[j] < 0 ? -x[j] : x[j];
      before += other > own || (other == own && j < i) ? 1 : 0;
    }
    return before < n ? T(1) : T(0);
  }
};

}  // namespace

std::int64_t top_mask_workspace(std::int64_t n) { return 2 + reduce_workspace(1, n); }

template <class T>
void top_mask(std::int64_t n, std::int64_t k, DevicePtr<const T> x, DevicePtr<std::int64_t> work,
              DevicePtr<T> mask) {
  // The k-th largest key, bit by bit from the highest: a bit is in it if k keys are as large with it.
  const DevicePtr<std::int64_t> found = work, count = work + 1;
  map_index("top_mask", Zero{}, 1, found);
  for (int b = 8 * sizeof(T) - 1; b >= 0; --b) {
    const Key<T> bit = Key<T>(1) << b;
    count_work("top_mask", {static_cast<double>(n), in_bytes<T>(n)});
    reduce<Sum<std::int64_t>>("top_mask", AtLeast<T>{x, DevicePtr<const std::int64_t>(found), bit}, 1, n,
                              count, work + 2);
    units("top_mask", 1, Settle{k, static_cast<std::int64_t>(bit), count, found});
  }
  Strided<3> s = Strided<3>::flat(n);
  s.step[2][0] = 0;
  map("top_mask", Mark{}, s, mask, x, DevicePtr<const std::int64_t>(found));
}

template <class T>
void largest_of_each(std::int64_t groups, std::int64_t m, std::int64_t n, DevicePtr<const T> x,
                     DevicePtr<T> mask) {
  map_index("largest_of_each", LargestOfEach<T>{m, n, x}, groups * m, mask);
}

template void top_mask(std::int64_t, std::int64_t, DevicePtr<const float>, DevicePtr<std::int64_t>,
                       DevicePtr<float>);
template void top_mask(std::int64_t, std::int64_t, DevicePtr<const double>, DevicePtr<std::int64_t>,
                       DevicePtr<double>);
template void largest_of_each(std::int64_t, std::int64_t, std::int64_t, DevicePtr<const float>,
                              DevicePtr<float>);
template void largest_of_each(std::int64_t, std::int64_t, std::int64_t, DevicePtr<const double>,
                              DevicePtr<double>);

}  // namespace rankine::kernels
