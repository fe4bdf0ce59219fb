// Checkpoints that several ranks write side by side.
#include <csignal>
#include <filesystem>
#include <random>
#include <sys/resource.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/io/checkpoint.hpp"
#include "src/io/safe_file.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;

/// A folder that all ranks know, gone at the end.
class SharedScratch {
 public:
  explicit SharedScratch(const Communicator& world) : world_(world) {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = (fs::temp_directory_path() / fmt_name(test->name())).string();
    world_.broadcast(folder_);
    world_.on_root([&] { fs::create_directories(folder_); });
  }
  SharedScratch(const SharedScratch&) = delete;
  SharedScratch& operator=(const SharedScratch&) = delete;
  ~SharedScratch() {
    std::error_code ignored;
    if (world_.is_root()) fs::remove_all(folder_, ignored);
  }
  std::string operator/(const std::string& name) const { return folder_ + "/" + name; }
  std::ptrdiff_t files() const { return std::distance(fs::directory_iterator(folder_), {}); }

 private:
  static std::string fmt_name(const char* test) {
    return std::string("rankine_") + test + "_" + std::to_string(::getpid());
  }
  const Communicator& world_;
  std::string folder_;
};

std::vector<std::byte> random_bytes(std::size_t size, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(engine());
  return bytes;
}

struct Array {
  std::string name;
  StateKind kind;
  DType type;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes{};

  std::size_t row() const { return bytes.size() / static_cast<std::size_t>(shape[0]); }
};

/// Of every kind: with one and many blocks, with several dimensions, below and above the size from which all
/// ranks write, replicated and spread by rows.
std::vector<Array> arrays() {
  std::vector<Array> all{{"state/w/wide", StateKind::replicated, DType::f64, {3, 300000}},
                         {"state/w/deep", StateKind::replicated, DType::c64, {3, 5, 1, 20001}},
                         {"state/w/small", StateKind::replicated, DType::f32, {17, 5}},
                         {"state/rows", StateKind::per_tile, DType::f64, {11, 50000}},
                         {"state/few", StateKind::per_tile, DType::i32, {11, 3}},
                         {"state/thin", StateKind::per_tile, DType::u8, {1100000, 2}},
                         {"state/a/piece", StateKind::replicated, DType::i8, {1 << 20}}};
  unsigned seed = 0;
  for (Array& array : all) {
    std::size_t size = size_of(array.type);
    for (const std::int64_t extent : array.shape) size *= static_cast<std::size_t>(extent);
    array.bytes = random_bytes(size, ++seed);
  }
  return all;
}

CheckpointContent of_the_root() {
  CheckpointContent content;
  content.texts = {{"variant", "pi-hc"}, {"empty", ""}};
  content.state.emplace("metrics/one", StateValue{DType::f64, {}, random_bytes(8, 101)});
  content.state.emplace("results/long", StateValue{DType::f32, {700001}, random_bytes(4 * 700001, 102)});
  return content;
}

/// This rank's part of each: of what is spread, rows in the order of ranks; the second rank has none.
std::vector<CheckpointPart> parts_of(const std::vector<Array>& arrays, const Communicator& world) {
  std::vector<CheckpointPart> parts;
  const std::int64_t holders = world.size() > 1 ? world.size() - 1 : 1;
  const std::int64_t index = world.rank() > 1 ? world.rank() - 1 : 0;
  for (const Array& array : arrays) {
    StateView view{array.type, array.shape, array.bytes};
    if (array.kind != StateKind::replicated) {
      const std::int64_t begin = array.shape[0] * index / holders,
                         end = world.rank() == 1 ? begin : array.shape[0] * (index + 1) / holders;
      view.shape[0] = end - begin;
      view.bytes = std::span(array.bytes)
                       .subspan(static_cast<std::size_t>(begin) * array.row(),
                                static_cast<std::size_t>(end - begin) * array.row());
    }
    parts.push_back({array.name, array.kind, view});
  }
  return parts;
}

TEST(CheckpointRanks, TheFileHasTheSameBytesOnAnyNumberOfRanks) {
  const Communicator world = Communicator::world();
  const SharedScratch scratch(world);
  const std::vector<Array> all = arrays();
  const CheckpointContent content = world.is_root() ? of_the_root() : CheckpointContent{};
  write_checkpoint(world, scratch / "together.h5", content, parts_of(all, world));
  if (!world.is_root()) return;
  CheckpointContent whole = content;
  for (const Array& array : all) {
    whole.state.emplace(array.name, StateValue{array.type, array.shape, array.bytes});
  }
  EXPECT_TRUE(read_checkpoint(scratch / "together.h5") == whole);
  write_checkpoint(scratch / "alone.h5", whole);
  EXPECT_TRUE(read_file(scratch / "together.h5") == read_file(scratch / "alone.h5"));
}

/// Files of this process end after so many bytes for as long as this lives.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;
  ~FileLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST(CheckpointRanks, AFailedWriteOfOneRankFailsOnAllAndLeavesNothing) {
  std::signal(SIGXFSZ, SIG_IGN);
  const Communicator world = Communicator::world();
  const SharedScratch scratch(world);
  const std::vector<Array> all = arrays();
  const CheckpointContent content = world.is_root() ? of_the_root() : CheckpointContent{};
  for (int victim = 0; victim < world.size(); ++victim) {
    for (const rlim_t limit : {rlim_t{0}, rlim_t{1} << 16, rlim_t{3} << 20}) {
      std::string said;
      {
        std::optional<FileLimit> limited;
        if (world.rank() == victim) limited.emplace(limit);
        try {
          write_checkpoint(world, scratch / "a.h5", content, parts_of(all, world));
        } catch (const IoError& error) {
          said = error.what();
        }
      }
      // The third rank and those above have no bytes below 3 MiB.
      if (victim == 0 || limit < rlim_t{1} << 20) {
        EXPECT_THAT(said, ::testing::HasSubstr("File too large")) << victim << ", " << limit;
      }
      if (victim > 0 && !said.empty()) {
        EXPECT_THAT(said, ::testing::StartsWith("rank " + std::to_string(victim) + ": "));
      }
      world.barrier();
      EXPECT_EQ(scratch.files(), said.empty() ? 1 : 0);
      world.barrier();
      if (world.is_root()) fs::remove(scratch / "a.h5");
      world.barrier();
    }
  }
  write_checkpoint(world, scratch / "a.h5", content, parts_of(all, world));
  EXPECT_NO_THROW(read_checkpoint(scratch / "a.h5"));
}

}  // namespace
}  // namespace rankine
