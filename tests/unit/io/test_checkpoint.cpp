#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sys/resource.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/io/checkpoint.hpp"
#include "src/io/files.hpp"
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

TEST(Checkpoint, LargeArraysAreWrittenInPieces) {
  const Scratch scratch;
  CheckpointContent content = sample(2);
  content.state.emplace("wide", value(DType::f64, {3, 300000}, 1));
  content.state.emplace("long", value(DType::f32, {700001}, 2));
  content.state.emplace("thin", value(DType::u8, {1100000, 2}, 3));
  content.state.emplace("deep", value(DType::c64, {3, 5, 1, 40001}, 4));
  content.state.emplace("a/piece", value(DType::i8, {1 << 20}, 5));
  write_checkpoint(scratch / "a.h5", content);
  EXPECT_EQ(read_checkpoint(scratch / "a.h5"), content);
  const SealedFile file(scratch / "a.h5");
  std::uint64_t begin = 0, largest = 0;
  for (const SealedPiece& piece : file.pieces()) {
    largest = std::max(largest, piece.end - begin);
    begin = piece.end;
  }
  EXPECT_LE(largest, std::uint64_t{1} << 20U);
  EXPECT_GT(file.pieces().size(), 15U);
}

TEST(Checkpoint, EqualContentsGiveEqualBytes) {
  const Scratch scratch;
  write_checkpoint(scratch / "a.h5", sample(1));
  write_checkpoint(scratch / "b.h5", sample(1));
  EXPECT_EQ(read_file(scratch / "a.h5"), read_file(scratch / "b.h5"));
}

std::string bytes_of(const Scratch& scratch, const CheckpointContent& content) {
  write_checkpoint(scratch / "whole.h5", content);
  return read_file(scratch / "whole.h5");
}

/// What reading these bytes says.
std::string message(const Scratch& scratch, const std::string& bytes) {
  std::ofstream(scratch / "c.h5", std::ios::binary) << bytes;
  try {
    read_checkpoint(scratch / "c.h5");
  } catch (const DamagedFile& error) {
    return error.what();
  }
  return "";
}

TEST(Checkpoint, SaysWhatIsWrong) {
  const Scratch scratch;
  const std::string good = bytes_of(scratch, sample(1));
  EXPECT_THAT(message(scratch, ""), ::testing::HasSubstr("0 bytes, too few"));
  EXPECT_THAT(message(scratch, good.substr(0, good.size() - 1)), ::testing::HasSubstr("truncated"));
  EXPECT_THAT(message(scratch, good + "x"), ::testing::HasSubstr("does not end"));
  std::string changed = good;
  changed[good.size() / 2] ^= 4;
  EXPECT_THAT(message(scratch, changed), ::testing::HasSubstr("hash differs"));
  EXPECT_EQ(message(scratch, good), "");
  EXPECT_THROW(read_checkpoint(scratch / "nothing.h5"), InputError);
  EXPECT_THROW(read_checkpoint(scratch.path()), InputError);
}

/// A seal as format 1 wrote it: length and hash of all that stands before it.
TEST(Checkpoint, RefusesOtherFormats) {
  const Scratch scratch;
  std::string bytes = "\x89HDF\r\n\x1a\n and so on";
  std::string seal = "\nRANKINE CHECKPOINT SEAL";
  const auto put = [&](std::uint64_t number) {
    for (int i = 0; i < 8; ++i) seal += static_cast<char>(number >> (8 * i) & 0xff);
  };
  const auto hash = [](const std::string& text) { return xxh3(std::as_bytes(std::span(text))); };
  put(1);
  put(bytes.size());
  put(hash(bytes));
  put(0);
  put(hash(seal));
  testing::put_file(scratch / "old.h5", bytes + seal);
  try {
    read_checkpoint(scratch / "old.h5");
    ADD_FAILURE() << "it was read";
  } catch (const OtherFormat& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("is a checkpoint of format 1, this version of the program "
                                                   "reads format 2; go on with the version that wrote it"));
  }
}

/// Environment variable RANKINE_DAMAGES scales the number of damages: 1 in CI, 5 in the long test.
TEST(Checkpoint, EveryFlippedBitAndEveryTruncationIsFound) {
  const Scratch scratch;
  const char* scale_text = std::getenv("RANKINE_DAMAGES");
  const int scale = scale_text != nullptr ? std::atoi(scale_text) : 1;
  CheckpointContent content = sample(1);
  content.state.emplace("big", value(DType::f32, {300000}, 9));
  const std::string good = bytes_of(scratch, content);
  const std::size_t tail = 64 + 16 * SealedFile(scratch / "whole.h5").pieces().size();
  std::mt19937_64 random(5);
  int undetected = 0;
  for (int i = 0; i < 200 * scale; ++i) {
    std::string damaged = good;
    // A quarter of them in the seal, and a quarter in HDF5's own structures, which are small.
    const std::size_t at = i % 4 == 0   ? good.size() - 1 - random() % tail
                           : i % 4 == 1 ? random() % 10000
                                        : random() % good.size();
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    undetected += message(scratch, damaged).empty() ? 1 : 0;
  }
  for (int i = 0; i < 50 * scale; ++i) {
    const std::size_t length = i % 4 == 0 ? good.size() - 1 - random() % tail : random() % good.size();
    undetected += message(scratch, good.substr(0, length)).empty() ? 1 : 0;
  }
  EXPECT_EQ(undetected, 0);
}

TEST(Checkpoint, ALimitOfTheSizeOfFilesIsHeldAgainstTheSizeThatItHas) {
  const Scratch scratch;
  CheckpointContent content;
  for (int i = 0; i < 400; ++i) {
    const std::size_t size = i % 10 == 0 ? 6000 : 40;
    content.state.emplace("state/group_" + std::to_string(i % 7) + "/array_" + std::to_string(i),
                          StateValue{DType::f64,
                                     {static_cast<std::int64_t>(size / 8)},
                                     std::vector<std::byte>(size, static_cast<std::byte>(i))});
  }
  write_checkpoint(scratch / "free.h5", content);
  const std::string bytes = read_file(scratch / "free.h5");
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto size = static_cast<double>(bytes.size());
  for (const double allowed :
       {0.0, 5e3, 4e4, 0.2 * size, 0.5 * size, 0.9 * size, 0.99 * size, size - 1, size + 6 * 4096}) {
    const rlimit limit{static_cast<rlim_t>(allowed), before.rlim_max};
    std::string said;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      write_checkpoint(scratch / "limited.h5", content);
    } catch (const IoError& error) {
      said = error.what();
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(said.empty(), allowed > size) << allowed << " of " << size << ": " << said;
    EXPECT_EQ(said.find("File too large") == std::string::npos, said.empty()) << said;
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), said.empty() ? 2 : 1);
  }
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(read_file(scratch / "limited.h5") == bytes);
}

TEST(CheckpointFolder, KeepsTheLastAndEveryNth) {
  const Scratch scratch;
  const CheckpointFolder folder(scratch / "c");
  EXPECT_TRUE(folder.list().empty());
  EXPECT_EQ(folder.next_number(), 1);
  folder.create();
  for (int i = 1; i <= 11; ++i) write_checkpoint(folder.path_of(folder.next_number()), {});
  const std::string dead = ".tmp." + host_label() + ".999999999";
  testing::put_file(folder.path_of(12) + dead, "");
  testing::put_file(folder.path_of(13) + dead, "\x89HDF\r\n\x1a\n");
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

/// Every file below, by its path: content, or where a link leads.
std::map<std::string, std::string> snapshot(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = std::filesystem::relative(entry.path(), folder).string();
    if (entry.is_symlink())
      files[name] = "-> " + std::filesystem::read_symlink(entry.path()).string();
    else
      files[name] = entry.is_directory() ? "/" : read_file(entry.path().string());
  }
  return files;
}

TEST(CheckpointFolder, LeavesEverythingElseAlone) {
  const Scratch scratch;
  const CheckpointFolder folder(scratch / "c");
  write_checkpoint(scratch / "elsewhere.h5", {});
  write_checkpoint(scratch / "c/copy of checkpoint-00000001.h5", {});  // not our name
  testing::put_file(scratch / "c/checkpoint-00000001.h5", "data");     // our names, not our bytes
  testing::put_file(scratch / "c/checkpoint-00000009.h5.damaged", "data");
  testing::put_file(scratch / "c/finished-v-seed_0.h5", "");
  testing::put_file(scratch / "c/checkpoint-00000001.h5.tmp.x.y", "data");
  testing::put_file(scratch / "c/notes.h5.tmp.999999999", "data");
  const std::vector<std::string> endings{"20241130", "v1.2", "other-host.999999999", host_label() + ".0999"};
  for (const std::string& ending : endings)
    testing::put_file(scratch / ("c/checkpoint-00000001.h5.tmp." + ending), "\x89HDF\r\n\x1a\n");
  testing::put_file(scratch / ("c/checkpoint-00000001.h5.tmp." + host_label() + ".999999999"), "data");
  testing::put_file(scratch / "c/results.h5", "data");
  testing::put_file(scratch / "c/lock", "data");
  testing::put_file(scratch / "c/group_2/data.h5", "data");
  testing::put_file(scratch / "c/group_mine/checkpoint-00000001.h5", "data");
  testing::put_file(scratch / "c/previous/data.h5", "data");
  testing::put_file(scratch / "c/previous/deeper/data.h5", "data");
  testing::put_file(scratch / "c/previous/group_2/data.h5", "data");
  std::filesystem::create_symlink(scratch / "elsewhere.h5", scratch / "c/checkpoint-00000002.h5");
  std::filesystem::create_directory(scratch / "c/checkpoint-00000003.h5");
  std::filesystem::create_directory(scratch / "c/group_7");
  const auto before = snapshot(scratch.path());

  folder.remove_temporaries();
  folder.prune(1, 0);
  CheckpointFolder::set_aside(folder.path_of(1));
  CheckpointFolder::set_aside(folder.path_of(2));
  EXPECT_FALSE(folder.archive());
  EXPECT_EQ(snapshot(scratch.path()), before);

  // The same with checkpoints of ours among them, twice.
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(folder.next_number(), 10);
    write_checkpoint(folder.path_of(10), {});
    write_checkpoint(scratch / "c/group_2/checkpoint-00000004.h5", {});
    write_checkpoint(scratch / "c/group_3/checkpoint-00000004.h5", {});
    EXPECT_TRUE(folder.archive());
    auto after = snapshot(scratch.path());
    EXPECT_EQ(after.erase("c/previous/checkpoint-00000010.h5"), 1U);
    EXPECT_EQ(after.erase("c/previous/group_2/checkpoint-00000004.h5"), 1U);
    EXPECT_EQ(after.erase("c/previous/group_3/checkpoint-00000004.h5"), 1U);
    EXPECT_EQ(after.erase("c/previous/group_3"), 1U);
    EXPECT_EQ(after, before);
  }
  EXPECT_EQ(folder.others().size(), 17U);
}

TEST(CheckpointFolder, RefusesWhatStandsInTheWay) {
  const Scratch scratch;
  const CheckpointFolder folder(scratch / "c");
  const auto refusal = [&](const std::vector<std::string>& finished) {
    try {
      folder.check(finished, true);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal({folder.finished_path("v", 0)}), "");
  testing::put_file(folder.finished_path("v", 0), "data");
  EXPECT_THAT(refusal({folder.finished_path("v", 0)}),
              ::testing::HasSubstr("is no checkpoint that Rankine wrote"));
  EXPECT_EQ(refusal({folder.finished_path("v", 1)}), "");
  testing::put_file(scratch / "c/previous", "a file");
  EXPECT_EQ(refusal({}), "") << "there is nothing to move";
  write_checkpoint(folder.path_of(1), {});
  EXPECT_THAT(refusal({}), ::testing::HasSubstr("previous: is no folder"));
  EXPECT_THROW(folder.archive(), IoError);
  EXPECT_TRUE(std::filesystem::exists(folder.path_of(1)));
  std::filesystem::remove(scratch / "c/previous");
  testing::put_file(scratch / "c/previous/checkpoint-00000001.h5", "data");
  EXPECT_THAT(refusal({}), ::testing::HasSubstr("would be moved there"));
  EXPECT_THROW(folder.archive(), IoError);
  EXPECT_EQ(read_file(scratch / "c/previous/checkpoint-00000001.h5"), "data");
  std::filesystem::remove_all(scratch / "c/previous");
  EXPECT_TRUE(folder.archive());
}

TEST(CheckpointFolder, RunsThatShareAFolderKeepTheirOwn) {
  const Scratch scratch;
  const CheckpointFolder mine(scratch / "c", "../mine.h5"), other(scratch / "c", "../other.h5");
  mine.create();
  const auto write = [&](const CheckpointFolder& folder, const std::string& path) {
    CheckpointContent content;
    content.texts["results"] = folder.run();
    write_checkpoint(path, content);
  };
  for (int i = 0; i < 4; ++i) {
    write(mine, mine.path_of(mine.next_number()));
    write(other, other.path_of(other.next_number()));
  }
  write(other, other.finished_path("v", 0));
  EXPECT_EQ(run_of_checkpoint(mine.path_of(1)), "../mine.h5");
  EXPECT_EQ(mine.others().size(), 5U);
  EXPECT_THROW(mine.check({mine.finished_path("v", 0)}, false), InputError);
  mine.prune(1, 0);
  EXPECT_EQ(mine.others().size(), 5U);
  EXPECT_EQ(other.others(), (std::vector<std::string>{"checkpoint-00000007.h5"}));
  EXPECT_TRUE(mine.archive());
  EXPECT_FALSE(mine.has_mine());
  EXPECT_TRUE(other.has_mine());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(other.path() + "/previous"), {}), 1);
}

TEST(CheckpointFolder, WhatIsDamagedIsStillKnown) {
  const Scratch scratch;
  const CheckpointFolder folder(scratch / "c");
  CheckpointContent content;
  content.state["x"] = {DType::f64, {4096}, std::vector<std::byte>(32768)};
  write_checkpoint(folder.path_of(1), content);
  const std::string whole = read_file(folder.path_of(1));
  std::string flipped = whole;
  flipped[whole.size() / 2] ^= 1;
  for (const std::string& bytes : {whole.substr(0, whole.size() / 2), whole.substr(0, whole.size() - 1),
                                   flipped, std::string(20000, '\0') + whole.substr(20000)}) {
    testing::put_file(folder.path_of(1), bytes);
    EXPECT_TRUE(is_own_checkpoint(folder.path_of(1)));
    CheckpointFolder::set_aside(folder.path_of(1));
    EXPECT_TRUE(std::filesystem::exists(folder.path_of(1) + ".damaged"));
    folder.prune(1, 0);
    EXPECT_FALSE(std::filesystem::exists(folder.path_of(1) + ".damaged"));
  }
}

}  // namespace
}  // namespace rankine
