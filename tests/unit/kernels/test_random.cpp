// Random numbers and masks as kernels draw them.
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/dropout.hpp"
#include "kernels/host_access.hpp"
#include "kernels/launch.hpp"
#include "kernels/random.hpp"

namespace rankine::kernels {
namespace {

/// Device memory for `count` numbers.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::int64_t count)
      : count_(count), memory_(device_allocate(static_cast<std::size_t>(count) * sizeof(T))) {}
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(static_cast<std::int64_t>(values.size())) {
    copy_to_device(data(), values.data(), count_);
  }
  ~DeviceArray() { device_free(memory_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  DevicePtr<T> data() const { return memory_.as<T>(); }
  std::vector<T> values() const {
    std::vector<T> out(static_cast<std::size_t>(count_));
    copy_to_host(out.data(), data(), count_);
    return out;
  }

 private:
  std::int64_t count_;
  DevicePtr<std::byte> memory_;
};

struct Words {
  View<const std::uint32_t> counters;  // [answer][4], then the key's two words
  View<std::uint32_t> words;
  RANKINE_KERNEL void operator()(std::int64_t i) const {
    philox4x32_ctr_t counter = {{0, 0, 0, 0}};
    for (int k = 0; k < 4; ++k) counter.v[k] = counters[6 * i + k];
    const philox4x32_key_t key = {{counters[6 * i + 4], counters[6 * i + 5]}};
    const philox4x32_ctr_t bits = philox4x32(counter, key);
    for (int k = 0; k < 4; ++k) words[4 * i + k] = bits.v[k];
  }
};

TEST(PhiloxInKernels, GivesTheKnownAnswers) {  // the vectors for philox4x32 with 10 rounds of Random123
  const std::uint32_t ones = 0xffffffff;
  const DeviceArray<std::uint32_t> counters({0, 0, 0, 0, 0, 0,                    //
                                             ones, ones, ones, ones, ones, ones,  //
                                             0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822,
                                             0x299f31d0});
  const DeviceArray<std::uint32_t> words(12);
  units("words", 3, Words{DevicePtr<const std::uint32_t>(counters.data()), words.data()});
  EXPECT_EQ(words.values(), (std::vector<std::uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8,  //
                                                        0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,  //
                                                        0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Computed once from the description in src/core/random.hpp by a program in another language: for the stream
// (42, "init") and step 7, which of the first 33 uniform numbers are below 0.6.
constexpr std::uint64_t kKey = 0x914c01efe213b297;
const std::vector<std::int64_t> kIds{3, 4294967295, 0};
const std::array<std::string, 3> kMasks{"100010100100110000110111010111101",
                                        "101110111111100000001110011101111",
                                        "101111101101001100001010110111011"};

TEST(DropoutMask, IsThatOfTheStream) {
  for (const std::int64_t length : {1, 2, 17, 32, 33}) {
    const DeviceArray<std::int64_t> ids(kIds);
    const DeviceArray<std::uint8_t> kept(3 * length);
    dropout_mask(Philox(kKey), 7, 0.6, 3, length, ids.data(), kept.data());
    const std::vector<std::uint8_t> found = kept.values();
    for (std::size_t row = 0; row < 3; ++row) {
      std::string text;
      for (std::int64_t k = 0; k < length; ++k)
        text += static_cast<char>(
            '0' + found[row * static_cast<std::size_t>(length) + static_cast<std::size_t>(k)]);
      EXPECT_EQ(text, kMasks[row].substr(0, static_cast<std::size_t>(length))) << "id " << kIds[row];
    }
  }
}

// Rows that span several blocks of a launch, and many in one.
TEST(DropoutMask, DoesNotDependOnRowsBesideIt) {
  const std::int64_t length = 20001;
  const std::vector<std::int64_t> many{5, 9, 5, 1, 9};
  const DeviceArray<std::int64_t> ids(many);
  const DeviceArray<std::uint8_t> kept(5 * length), nothing(1);
  dropout_mask(Philox(kKey), 1, 0.3, 5, length, ids.data(), kept.data());
  dropout_mask(Philox(kKey), 1, 0.3, 0, length, ids.data(), nothing.data());
  const std::vector<std::uint8_t> found = kept.values();
  for (std::size_t row = 0; row < 5; ++row) {
    const DeviceArray<std::int64_t> id(std::vector<std::int64_t>{many[row]});
    const DeviceArray<std::uint8_t> alone(length);
    dropout_mask(Philox(kKey), 1, 0.3, 1, length, id.data(), alone.data());
    const std::vector<std::uint8_t> expected = alone.values();
    const auto* const begin = found.data() + row * static_cast<std::size_t>(length);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), begin)) << "row " << row;
    for (std::int64_t k : {std::int64_t{0}, length / 2, length - 2, length - 1}) {
      const Philox::Block bits = Philox(kKey).block(
          RandomKind::uniform, 1, static_cast<std::uint32_t>(many[row]), static_cast<std::uint64_t>(k) / 2);
      EXPECT_EQ(begin[k], Philox::to_unit(Philox::word(bits, k)) < 0.3) << "element " << k;
    }
  }
}

TEST(ApplyMask, ScalesWhatIsKept) {
  std::vector<double> x;
  std::vector<std::uint8_t> kept;
  for (int i = 0; i < 100; ++i) {
    x.push_back(0.1 * i - 3);
    kept.push_back(i % 3 == 0 ? 1 : 0);
  }
  const DeviceArray<double> in(x), out(100);
  const DeviceArray<std::uint8_t> mask(kept);
  apply_mask<double>(100, 1.25, in.data(), mask.data(), out.data());
  const std::vector<double> y = out.values();
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(y[i], kept[i] != 0 ? 1.25 * x[i] : 0) << i;
}

}  // namespace
}  // namespace rankine::kernels
