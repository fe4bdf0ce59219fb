#include <cstdlib>
#include <filesystem>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/io/checkpoint.hpp"
#include "src/io/safe_file.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using testing::Scratch;

StateValue value(DType type, std::vector<std::int64_t> shape, unsigned seed) {
  StateValue v{type, std::move(shape), {}};
  std::size_t count = 1;
  for (const std::int64_t extent : v.shape) count *= static_cast<std::size_t>(extent);
  std::mt19937 engine(seed);
  for (std::size_t i = 0; i < count * size_of(type); ++i) v.bytes.push_back(static_cast<std::byte>(engine()));
  return v;
}

CheckpointContent sample(std::int64_t step) {
  CheckpointContent content;
  content.texts = {{"variant", "pi-hc"}, {"settings", "train.steps: 3\n"}, {"empty", ""}};
  unsigned seed = static_cast<unsigned>(step);
  for (const DType type :
       {DType::f32, DType::f64, DType::c64, DType::c128, DType::i32, DType::i64, DType::i8, DType::u8}) {
    content.state.emplace(std::string("state/") + name_of(type), value(type, {3, 5}, ++seed));
  }
  content.state.emplace("scalar", value(DType::i64, {}, ++seed));
  content.state.emplace("one", value(DType::f64, {1}, ++seed));
  content.state.emplace("none", value(DType::f64, {0}, ++seed));
  content.state.emplace("state/deep/er", value(DType::f64, {7, 1, 2}, ++seed));
  return content;
}

TEST(Checkpoint, ReadsWhatWasWritten) {
  const Scratch scratch;
  const CheckpointContent content = sample(1);
  const CheckpointCost cost = write_checkpoint(scratch / "a.h5", content);
  EXPECT_EQ(read_checkpoint(scratch / "a.h5"), content);
  EXPECT_EQ(cost.bytes, std::filesystem::file_size(scratch / "a.h5"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), 1)
      << "a temporary is left";
}

TEST(Checkpoint, KeepsEveryBitPatternOfNumbers) {
  const Scratch scratch;
  CheckpointContent content;
  StateValue v{DType::f32, {4}, {}};
  for (const std::uint32_t bits :
       {0x7fc00001U, 0x7f800001U, 0x80000000U, 0x00000001U}) {  // NaNs, -0, denormal
    for (int i = 0; i < 4; ++i) v.bytes.push_back(static_cast<std::byte>(bits >> (8 * i)));
  }
  content.state.emplace("bits", v);
  write_checkpoint(scratch / "a.h5", content);
  EXPECT_EQ(read_checkpoint(scratch / "a.h5"), content);
}

TEST(Checkpoint, LargeArraysAreCutIntoChunks) {
  const Scratch scratch;
  CheckpointContent content;
  content.state.emplace("wide", value(DType::f64, {3, 300000}, 1));
  content.state.emplace("long", value(DType::f32, {700001}, 2));
  content.state.emplace("thin", value(DType::u8, {1100000, 2}, 3));
  write_checkpoint(scratch / "a.h5", content);
  EXPECT_EQ(read_checkpoint(scratch / "a.h5"), content);
}

TEST(Checkpoint, EqualContentsGiveEqualBytes) {
  EXPECT_EQ(encode_checkpoint(sample(1), "a"), encode_checkpoint(sample(1), "b"));
}

TEST(Checkpoint, SaysWhatIsWrong) {
  const Scratch scratch;
  const auto message = [&](const std::string& bytes) -> std::string {
    try {
      decode_checkpoint(bytes, "c.h5");
    } catch (const DamagedFile& error) {
      return error.what();
    }
    return "";
  };
  const std::string good = encode_checkpoint(sample(1), "c.h5");
  EXPECT_THAT(message(""), ::testing::HasSubstr("0 bytes, too few"));
  EXPECT_THAT(message(good.substr(0, good.size() - 1)), ::testing::HasSubstr("truncated"));
  EXPECT_THAT(message(good + "x"), ::testing::HasSubstr("does not end"));
  std::string changed = good;
  changed[good.size() / 2] ^= 4;
  EXPECT_THAT(message(changed), ::testing::HasSubstr("hash differs"));
  EXPECT_EQ(message(good), "");
  EXPECT_THROW(read_checkpoint(scratch / "nothing.h5"), InputError);
}

/// Environment variable RANKINE_DAMAGES scales the number of damages: 1 in CI, 5 in the long test.
TEST(Checkpoint, EveryFlippedBitAndEveryTruncationIsFound) {
  const char* scale_text = std::getenv("RANKINE_DAMAGES");
  const int scale = scale_text != nullptr ? std::atoi(scale_text) : 1;
  const std::string good = encode_checkpoint(sample(1), "a.h5");
  std::mt19937_64 random(5);
  int undetected = 0;
  const auto detected = [](const std::string& bytes) {
    try {
      decode_checkpoint(bytes, "a.h5");
    } catch (const DamagedFile&) {
      return true;
    }
    return false;
  };
  for (int i = 0; i < 200 * scale; ++i) {
    std::string damaged = good;
    // A quarter of them in the seal, which is small.
    const std::size_t at = i % 4 == 0 ? good.size() - 1 - random() % 64 : random() % good.size();
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    undetected += detected(damaged) ? 0 : 1;
  }
  for (int i = 0; i < 50 * scale; ++i) {
    const std::size_t length = i % 4 == 0 ? good.size() - 1 - random() % 64 : random() % good.size();
    undetected += detected(good.substr(0, length)) ? 0 : 1;
  }
  EXPECT_EQ(undetected, 0);
}

TEST(CheckpointFolder, KeepsTheLastAndEveryNth) {
  const Scratch scratch;
  const CheckpointFolder folder(scratch / "c");
  EXPECT_TRUE(folder.list().empty());
  EXPECT_EQ(folder.next_number(), 1);
  folder.create();
  for (int i = 1; i <= 11; ++i) write_file(folder.path_of(folder.next_number()), "x");
  write_file(folder.path_of(12) + ".tmp.77", "x");
  folder.remove_temporaries();
  CheckpointFolder::set_aside(folder.path_of(11));
  EXPECT_EQ(folder.next_number(), 12);
  folder.prune(2, 4);
  std::vector<std::int64_t> numbers;
  for (const CheckpointFolder::Item& item : folder.list()) numbers.push_back(item.number);
  EXPECT_EQ(numbers, (std::vector<std::int64_t>{10, 9, 8, 4}));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 4);
  EXPECT_TRUE(folder.archive());
  EXPECT_TRUE(folder.list().empty());
  EXPECT_FALSE(folder.archive());
  EXPECT_TRUE(std::filesystem::exists(scratch / "c/previous/checkpoint-00000010.h5"));
}

}  // namespace
}  // namespace rankine
