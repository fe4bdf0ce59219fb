#include "kernels/dropout.hpp"

#include "kernels/launch.hpp"
#include "kernels/map.hpp"

namespace rankine::kernels {
namespace {

#if !RANKINE_ON_DEVICE
constexpr std::int64_t kPairs = kChunk / 4;  // that a block of the host draws
#endif

// A block of random bits serves two neighbours, a pair.
struct DropoutMask {
  Philox stream;
  std::uint32_t step;
  double probability;
  std::int64_t length, pairs_per_row, pairs;
  View<const std::int64_t> ids;
  View<std::uint8_t> kept;

  RANKINE_KERNEL static void draw(const Philox& stream, std::uint32_t step, std::uint32_t id,
                                  double probability, std::int64_t pair, std::int64_t length,
                                  std::uint8_t* row) {
    const Philox::Block bits = stream.block(RandomKind::uniform, step, id, static_cast<std::uint64_t>(pair));
    const std::int64_t k = 2 * pair;
    row[k] = Philox::to_unit(Philox::word(bits, 0)) < probability ? 1 : 0;
    if (k + 1 < length) row[k + 1] = Philox::to_unit(Philox::word(bits, 1)) < probability ? 1 : 0;
  }
#if RANKINE_ON_DEVICE
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    const std::int64_t row = i / pairs_per_row;
    draw(stream, step, static_cast<std::uint32_t>(ids[row]), probability, i % pairs_per_row, length,
         kept.at(row * length));
  }
#else
  inline void operator()(std::int64_t block) const {
    // Copies, because a byte that is written might be part of this struct for all the compiler knows.
    const Philox here = stream;
    const std::uint32_t at = step;
    const double below = probability;
    const std::int64_t n = length, begin = block * kPairs,
                       end = begin + kPairs < pairs ? begin + kPairs : pairs;
    for (std::int64_t i = begin, next = 0; i < end; i = next) {
      const std::int64_t row = i / pairs_per_row, first = row * pairs_per_row;
      next = first + pairs_per_row < end ? first + pairs_per_row : end;
      const auto id = static_cast<std::uint32_t>(ids[row]);
      std::uint8_t* const to = kept.at(row * n);
      for (std::int64_t pair = i - first; pair < next - first; ++pair) draw(here, at, id, below, pair, n, to);
    }
  }
#endif
};

template <class T>
struct ApplyMask {
  static constexpr double kFlops = 1;
  T factor;
  RANKINE_ELEMENT T operator()(T x, std::uint8_t kept) const { return kept != 0 ? factor * x : T(0); }
};

}  // namespace

void dropout_mask(const Philox& stream, std::uint32_t step, double probability, std::int64_t rows,
                  std::int64_t length, DevicePtr<const std::int64_t> ids, DevicePtr<std::uint8_t> kept) {
  if (rows == 0 || length == 0) return;
  const std::int64_t pairs_per_row = (length + 1) / 2, pairs = rows * pairs_per_row;
  count_work("dropout_mask", {0, in_bytes<std::uint8_t>(rows * length)});
  const DropoutMask body{stream, step, probability, length, pairs_per_row, pairs, ids, kept};
#if RANKINE_ON_DEVICE
  device_range("dropout_mask", pairs, body);
#else
  host_blocks("dropout_mask", (pairs + kPairs - 1) / kPairs, body);
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
