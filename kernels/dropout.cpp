#include "kernels/dropout.hpp"

#include "kernels/launch.hpp"
#include "kernels/map.hpp"

namespace rankine::kernels {
namespace {

// A block of random bits serves two neighbours: a thread each on a device, kPairs a block on the host.
struct DropoutMask {
  static constexpr std::int64_t kPairs = kChunk / 4;
  Philox stream;
  std::uint32_t step;
  double probability;
  std::int64_t length, pairs_per_row, pairs;
  View<const std::int64_t> ids;
  View<std::uint8_t> kept;

  RANKINE_KERNEL void draw(std::int64_t row, std::int64_t pair) const {
    const Philox::Block bits = stream.block(RandomKind::uniform, step, static_cast<std::uint32_t>(ids[row]),
                                            static_cast<std::uint64_t>(pair));
    const std::int64_t k = 2 * pair;
    kept[row * length + k] = Philox::to_unit(Philox::word(bits, 0)) < probability ? 1 : 0;
    if (k + 1 < length)
      kept[row * length + k + 1] = Philox::to_unit(Philox::word(bits, 1)) < probability ? 1 : 0;
  }
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const { draw(i / pairs_per_row, i % pairs_per_row); }
#else
  inline void operator()(std::int64_t block) const {
    const std::int64_t begin = block * kPairs, end = begin + kPairs < pairs ? begin + kPairs : pairs;
    std::int64_t row = begin / pairs_per_row, pair = begin % pairs_per_row;
    for (std::int64_t i = begin; i < end; ++i) {
      draw(row, pair);
      if (++pair < pairs_per_row) continue;
      pair = 0;
      ++row;
    }
  }
#endif
};

template <class T>
struct ApplyMask {
  T factor;
  RANKINE_ELEMENT T operator()(T x, std::uint8_t kept) const { return kept != 0 ? factor * x : T(0); }
};

}  // namespace

void dropout_mask(const Philox& stream, std::uint32_t step, double probability, std::int64_t rows,
                  std::int64_t length, DevicePtr<const std::int64_t> ids, DevicePtr<std::uint8_t> kept) {
  if (rows == 0 || length == 0) return;
  const std::int64_t pairs_per_row = (length + 1) / 2, pairs = rows * pairs_per_row;
  const DropoutMask body{stream, step, probability, length, pairs_per_row, pairs, ids, kept};
#if RANKINE_ON_DEVICE
  device_range("dropout_mask", pairs, body);
#else
  host_blocks("dropout_mask", (pairs + DropoutMask::kPairs - 1) / DropoutMask::kPairs, body);
#endif
}

template <class T>
void apply_mask(std::int64_t n, T factor, DevicePtr<const T> x, DevicePtr<const std::uint8_t> kept,
                DevicePtr<T> y) {
  map("dropout", ApplyMask<T>{factor}, n, y, x, kept);
}

template void apply_mask(std::int64_t, float, DevicePtr<const float>, DevicePtr<const std::uint8_t>,
                         DevicePtr<float>);
template void apply_mask(std::int64_t, double, DevicePtr<const double>, DevicePtr<const std::uint8_t>,
                         DevicePtr<double>);

}  // namespace rankine::kernels
