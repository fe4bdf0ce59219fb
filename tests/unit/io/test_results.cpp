// ResultsWriter: what it writes, that it writes the same again, and how it fails.
#include <cmath>
#include <csignal>
#include <filesystem>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/info.hpp"
#include "src/io/results.hpp"
#include "src/io/safe_file.hpp"
#include "tests/unit/io/sample_results.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Scratch;
using testing::write_sample_results;

TEST(Results, StepsThatLackAMetricHoldNaN) {
  const Scratch scratch;
  ResultsWriter writer(scratch / "r.h5", "late metrics");
  RunWriter run = writer.run("pi-hc", 1);
  run.append_step(0, {{"loss", 3.0}});
  run.append_step(1, {{"loss", 2.0}, {"gradient_norm", 0.5}});
  run.append_step(2, {{"gradient_norm", 0.25}});
  TableWriter experts = run.table("experts", {"expert"});
  experts.row(4, "iterations", std::vector<double>{3, 4});
  experts.row(4, "status_converged", std::vector<double>{1, 0});
  experts.row(8, "iterations", std::vector<double>{5, 6});
  writer.finish();

  const hdf5::File file = hdf5::File::open(scratch / "r.h5");
  const hdf5::Group group = file.root().open_group("runs/pi-hc/seed_1");
  const auto loss = group.read<double>("steps/loss"), gradient = group.read<double>("steps/gradient_norm");
  EXPECT_THAT(group.read<std::int64_t>("steps/step"), ElementsAre(0, 1, 2));
  EXPECT_EQ(loss[1], 2.0);
  EXPECT_TRUE(std::isnan(loss[2]));
  EXPECT_TRUE(std::isnan(gradient[0]));
  EXPECT_EQ(gradient[2], 0.25);
  EXPECT_THAT(group.read<double>("experts/iterations", {2, 2}), ElementsAre(3, 4, 5, 6));
  EXPECT_TRUE(std::isnan(group.read<double>("experts/status_converged", {2, 2})[3]));
}

/// What `file` holds of a run with two tables of five steps, of which `kept` go through a checkpoint.
void write_tables(const std::string& path, int kept, bool cleared = false) {
  const auto rows = [](RunWriter run, int from, int to) {
    for (int step = from; step < to; ++step) {
      run.table("layers", {"layer", {"a", "b"}}).row(step, "norm", std::vector<double>{1.0 + step, 2});
      run.table("distance").row(step, "euclidean", 3.0 * step);
    }
  };
  CheckpointContent content;
  if (kept > 0) {
    ResultsWriter first = ResultsWriter::in_memory(true);
    RunWriter run = first.run("v", 0);
    rows(run, 0, kept);
    run.save(content);
  }
  ResultsWriter writer(path, "tables");
  RunWriter run = writer.run("v", 0);
  if (cleared) {
    rows(run, 0, 4);
    run.clear_tables();
  }
  if (kept > 0) run.load(content, true);
  rows(run, kept, 5);
  writer.finish();
}

TEST(Results, TablesGoThroughCheckpointsAndRewinds) {
  const Scratch scratch;
  write_tables(scratch / "straight.h5", 0);
  write_tables(scratch / "restarted.h5", 3);
  write_tables(scratch / "rewound.h5", 2, true);
  EXPECT_TRUE(compare_results(scratch / "straight.h5", scratch / "restarted.h5").empty());
  EXPECT_TRUE(compare_results(scratch / "straight.h5", scratch / "rewound.h5").empty());
  const hdf5::File file = hdf5::File::open(scratch / "rewound.h5");
  const hdf5::Group run = file.root().open_group("runs/v/seed_0");
  EXPECT_THAT(run.read<double>("layers/norm", {5, 2}), ElementsAre(1, 2, 2, 2, 3, 2, 4, 2, 5, 2));
  EXPECT_THAT(run.read<double>("distance/euclidean", {5}), ElementsAre(0, 3, 6, 9, 12));
}

TEST(Results, WithoutFinishNothingIsLeft) {
  const Scratch scratch;
  RunWriter survivor;
  {
    ResultsWriter writer(scratch / "r.h5", "abandoned");
    survivor = writer.run("a", 1);
    survivor.append_step(0, {{"loss", 1.0}});
    EXPECT_FALSE(std::filesystem::is_empty(scratch.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(Results, AnInertWriterTakesEveryCall) {
  const Scratch scratch;
  ResultsWriter writer(scratch / "r.h5", "other rank", false);
  RunWriter run = writer.run("a", 1);
  run.append_step(0, {{"loss", 1.0}});
  run.table("experts", {"expert"}).row(0, "iterations", 1);
  run.fields("u", std::vector<double>{1}, {{"x", {0}, "m", ""}});
  run.summary("rel_l2", 1.0);
  writer.provenance("deck", "text");
  writer.finish();
  EXPECT_FALSE(writer.active());
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(Results, EqualContentGivesEqualBytes) {
  const Scratch scratch;
  write_sample_results(scratch / "a.h5");
  write_sample_results(scratch / "b.h5");
  EXPECT_TRUE(read_file(scratch / "a.h5") == read_file(scratch / "b.h5"));
}

TEST(Results, ComparisonLeavesOutTimesAndMachineButNothingElse) {
  const Scratch scratch;
  write_sample_results(scratch / "a.h5");
  write_sample_results(scratch / "later.h5", "2027-07-07T07:07:07Z", 0.5);
  write_sample_results(scratch / "other.h5", "2026-01-01T00:00:00Z", 0.05, 1e-15);

  EXPECT_TRUE(compare_results(scratch / "a.h5", scratch / "later.h5").empty());
  const auto differences = compare_results(scratch / "a.h5", scratch / "other.h5");
  ASSERT_EQ(differences.size(), 9u) << "one metric of three methods and three seeds";
  EXPECT_EQ(differences[0].path, "/runs/pi-sc/seed_1/summary/rel_l2");
  EXPECT_THAT(differences[0].what, HasSubstr("1 of 1 values differ, by 1e-15"));
}

TEST(Results, AnUnwritableFolderIsFoundAtOnceAndNamed) {
  const Scratch scratch;
  try {
    ResultsWriter writer("/proc/no/such/folder/r.h5", "t");
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("r.h5"), HasSubstr("cannot make the folder")));
  }

  ::chmod(scratch.path().c_str(), 0555);
  const bool root = ::geteuid() == 0;  // may write everywhere, so be somebody else for a moment
  if (root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  std::string text = "no error";
  try {
    ResultsWriter writer(scratch / "r.h5", "t");
  } catch (const InputError& error) {
    text = error.what();
  }
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ::chmod(scratch.path().c_str(), 0755);
  EXPECT_THAT(text, AllOf(HasSubstr("r.h5"), HasSubstr("Permission denied"), HasSubstr("may write")));
}

TEST(Results, TooLittleSpaceIsFoundAtOnce) {
  const Scratch scratch;
  EXPECT_THROW(ResultsWriter(scratch / "r.h5", "t", true, std::uint64_t{1} << 60), IoError);
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

/// Limits the size of files for the life of the object: stands for a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  void (*old_handler_)(int);
  rlimit old_{};
};

TEST(Results, AFullDiskIsOneErrorAndLeavesTheOldFile) {
  const Scratch scratch;
  const std::string path = scratch / "r.h5";
  write_sample_results(path);
  const std::string old = read_file(path);

  for (const double fraction : {0.001, 0.02, 0.3, 0.6, 0.9, 0.99, 0.9999}) {
    std::string text = "no error";
    {
      const FileSizeLimit limit(static_cast<rlim_t>(fraction * static_cast<double>(old.size())));
      try {
        write_sample_results(path);
      } catch (const IoError& error) {
        text = error.what();
      }
    }
    EXPECT_THAT(text, AllOf(HasSubstr("r.h5"), HasSubstr("File too large"), HasSubstr("free some space")))
        << fraction;
    EXPECT_TRUE(read_file(path) == old) << fraction;
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), 1)
        << "a temporary file is left";
  }
  write_sample_results(path);  // and it works again afterwards
  EXPECT_TRUE(read_file(path) == old);
}

TEST(Results, AVariantThatCannotNameAGroupIsRefused) {
  const Scratch scratch;
  ResultsWriter writer(scratch / "r.h5", "t");
  EXPECT_THROW(writer.run("a/b", 1), InputError);
}

}  // namespace
}  // namespace rankine
