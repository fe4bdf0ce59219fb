// ResultsWriter: what it writes, how it fails.
#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/error.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/results.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using testing::Scratch;

TEST(Results, StepsThatLackAMetricHoldNaN) {
  const Scratch scratch;
  ResultsWriter writer(scratch / "r.h5", "late metrics");
  RunWriter run = writer.run("pi-hc", 1);
  run.append_step(0, {{"loss", 3.0}});
  run.append_step(1, {{"loss", 2.0}, {"gradient_norm", 0.5}});
  run.append_step(2, {{"gradient_norm", 0.25}});
  writer.finish();

  const hdf5::File file = hdf5::File::open(scratch / "r.h5");
  const hdf5::Group steps = file.root().open_group("runs/pi-hc/seed_1/steps");
  const auto loss = steps.read<double>("loss"), gradient = steps.read<double>("gradient_norm");
  EXPECT_EQ(steps.read<std::int64_t>("step"), (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(loss[1], 2.0);
  EXPECT_TRUE(std::isnan(loss[2]));
  EXPECT_TRUE(std::isnan(gradient[0]));
  EXPECT_EQ(gradient[2], 0.25);
}

TEST(Results, WithoutFinishNothingIsLeft) {
  const Scratch scratch;
  {
    ResultsWriter writer(scratch / "r.h5", "abandoned");
    RunWriter run = writer.run("a", 1);
    run.append_step(0, {{"loss", 1.0}});
    EXPECT_FALSE(std::filesystem::is_empty(scratch.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

TEST(Results, AnInertWriterTakesEveryCall) {
  const Scratch scratch;
  ResultsWriter writer(scratch / "r.h5", "other rank", false);
  RunWriter run = writer.run("a", 1);
  run.append_step(0, {{"loss", 1.0}});
  run.summary("rel_l2", 1.0);
  writer.provenance("deck", "text");
  writer.finish();
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path()));
}

}  // namespace
}  // namespace rankine
