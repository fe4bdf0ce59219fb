#include <csignal>
#include <filesystem>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/comm/tiles.hpp"
#include "src/run/checkpointing.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

using Settings = std::map<std::string, std::string>;

const Settings settings{{"train.batch", "4"},
                        {"train.save_fields", "2"},
                        {"train.schedule.name", "constant"},
                        {"train.steps", "100"}};

Settings with(const std::string& key, const std::string& value) {
  Settings changed = settings;
  changed[key] = value;
  return changed;
}

TEST(CompareSettings, NamesEveryKeyThatMatters) {
  EXPECT_TRUE(compare_settings(settings, settings, 10).refused.empty());
  EXPECT_THAT(compare_settings(settings, with("train.batch", "8"), 10).refused,
              ::testing::ElementsAre("train.batch: 4 then, 8 now"));
  EXPECT_THAT(compare_settings(settings, with("new.key", "8"), 10).refused,
              ::testing::ElementsAre("new.key: (not there) then, 8 now"));
  EXPECT_THAT(compare_settings(with("old.key", "8"), settings, 10).refused,
              ::testing::ElementsAre("old.key: 8 then, (not there) now"));
}

TEST(CompareSettings, AllowsWhatIsHarmless) {
  EXPECT_TRUE(compare_settings(settings, with("train.save_fields", "0"), 10).refused.empty());
  EXPECT_EQ(compare_settings(settings, with("train.save_fields", "0"), 100).refused.size(), 1U);

  const SettingsChange more = compare_settings(settings, with("train.steps", "200"), 100);
  EXPECT_TRUE(more.refused.empty() && more.more_steps);
  EXPECT_TRUE(compare_settings(settings, with("train.steps", "50"), 50).refused.empty());
  EXPECT_EQ(compare_settings(settings, with("train.steps", "50"), 51).refused.size(), 1U);

  Settings cosine = with("train.schedule.name", "cosine"), longer = cosine;
  longer["train.steps"] = "200";
  EXPECT_THAT(compare_settings(cosine, longer, 10).refused,
              ::testing::ElementsAre("train.steps: 100 then, 200 now; the schedule 'cosine' depends on it"));
}

TEST(WallLimit, StopsWhenTwoOfTheLongestStepsNoLongerFit) {
  WallLimit limit(100.0);
  EXPECT_FALSE(limit.must_stop(0));
  for (const double now : {0.0, 1.0, 11.0, 12.0}) limit.passed(now);
  EXPECT_EQ(limit.longest(), 10);
  EXPECT_FALSE(limit.must_stop(80));
  EXPECT_TRUE(limit.must_stop(81));
  EXPECT_TRUE(limit.must_stop(200));
  WallLimit none(std::nullopt);
  none.passed(0);
  none.passed(1e9);
  EXPECT_FALSE(none.must_stop(1e10));
}

TEST(RunOptions, ReadsWallTimes) {
  const auto seconds = [](const char* text) {
    RunOptions run;
    run.walltime = text;
    return run.walltime_seconds();
  };
  EXPECT_EQ(seconds(""), std::nullopt);
  EXPECT_EQ(seconds("01:30:00"), 5400);
  EXPECT_EQ(seconds("100:00:01"), 360001);
  EXPECT_EQ(seconds("2-03:00:00"), 51 * 3600);
  for (const char* wrong : {"90", "1:30", "01:60:00", "01:30:00x", "-1:00:00", "01:-3:00", "soon"}) {
    EXPECT_THROW(seconds(wrong), InputError) << wrong;
  }
}

TEST(StopSignals, AreNotedAndLeftAsTheyWere) {
  {
    const StopSignals signals;
    EXPECT_EQ(StopSignals::received(), 0);
    std::raise(SIGUSR1);
    EXPECT_EQ(StopSignals::received(), SIGUSR1);
    EXPECT_STREQ(StopSignals::name(SIGUSR1), "SIGUSR1");
  }
  const StopSignals again;
  EXPECT_EQ(StopSignals::received(), 0);
}

/// State of all three kinds, whose global value depends on the numbers of tiles and samples only.
struct State {
  static constexpr int tiles = 7, samples = 10, width = 3;
  std::vector<double> replicated, per_sample;
  Tensor per_tile;
  std::int64_t steps = 0;

  State(const Communicator& communicator, double fill) {
    const BlockPartition by_tile(tiles, communicator.size()), by_sample(samples, communicator.size());
    const int rank = communicator.rank();
    per_tile = Tensor::zeros({by_tile.size(rank), width}, DType::f64);
    for (long i = 0; i < per_tile.count(); ++i) {
      host_update<double>(per_tile)[i] = fill * static_cast<double>(by_tile.begin(rank) * width + i);
    }
    for (long i = 0; i < by_sample.size(rank); ++i) {
      per_sample.push_back(fill * static_cast<double>(by_sample.begin(rank) + i));
    }
    replicated.assign(static_cast<std::size_t>(5 * fill), fill);
    steps = static_cast<std::int64_t>(fill);
  }
  void add_to(StateRegistry& registry) {
    registry.add("replicated", StateKind::replicated, replicated);
    registry.add("tiles/values", StateKind::per_tile, per_tile);
    registry.add("samples", StateKind::per_sample, per_sample);
    registry.add("steps", StateKind::replicated, steps);
  }
  bool operator==(const State& other) const {
    return replicated == other.replicated && per_sample == other.per_sample && steps == other.steps &&
           per_tile.to_vector() == other.per_tile.to_vector();
  }
};

TEST(Checkpointer, StateGoesFromAnyNumberOfRanksToAnyOther) {
  const Communicator world = Communicator::world();
  std::string folder =
      (std::filesystem::temp_directory_path() / ("rankine_" + std::to_string(::getpid()))).string();
  world.broadcast(folder);
  if (world.is_root()) std::filesystem::create_directories(folder);
  const Deck deck("run: {experiment: x}\ncheckpoint: {every_steps: 1}\n", "deck.yaml");
  const std::string output = folder + "/results.h5";

  // Written by `from` ranks, read by `to`.
  for (int from = 1; from <= world.size(); ++from) {
    for (int to = 1; to <= world.size(); ++to) {
      const auto group = [&](int ranks) { return world.split(world.rank() < ranks ? 0 : 1, world.rank()); };
      std::ostringstream text;
      Log log(text, Log::Style::plain);
      {
        const Communicator writers = group(from);
        if (world.rank() < from) {
          Checkpointer checkpointer({writers, deck, output, "never"}, log);
          ResultsWriter results(folder + "/a.h5", "", writers.is_root());
          JobCheckpoint job = checkpointer.begin("default", 0, results.run("default", 0));
          State state(writers, 2);
          state.add_to(job.state());
          EXPECT_EQ(job.resume(), 0);
          for (int step = 0; step <= 3; ++step) job.between_steps(step, 9);
        }
      }
      world.barrier();
      {
        const Communicator readers = group(to);
        if (world.rank() < to) {
          Checkpointer checkpointer({readers, deck, output, "auto"}, log);
          ResultsWriter results(folder + "/b.h5", "", readers.is_root());
          JobCheckpoint job = checkpointer.begin("default", 0, results.run("default", 0));
          State state(readers, 1);
          state.add_to(job.state());
          EXPECT_EQ(job.resume(), 3) << text.str();
          EXPECT_TRUE(state == State(readers, 2)) << from << " -> " << to;
        }
      }
      world.barrier();
    }
  }
  world.barrier();
  if (world.is_root()) std::filesystem::remove_all(folder);
}

TEST(Checkpointer, ASignalToOneRankStopsAll) {
  const Communicator world = Communicator::world();
  std::string folder =
      (std::filesystem::temp_directory_path() / ("rankine_s" + std::to_string(::getpid()))).string();
  world.broadcast(folder);
  if (world.is_root()) std::filesystem::create_directories(folder);
  world.barrier();
  const Deck deck("run: {experiment: x}\n", "deck.yaml");
  std::ostringstream text;
  Log log(text, Log::Style::plain);
  {
    Checkpointer checkpointer({world, deck, folder + "/results.h5", "never"}, log);
    ResultsWriter results(folder + "/a.h5", "", world.is_root());
    JobCheckpoint job = checkpointer.begin("default", 0, results.run("default", 0));
    State state(world, 2);
    state.add_to(job.state());
    job.between_steps(0, 9);
    if (world.rank() == world.size() - 1) std::raise(SIGTERM);
    try {
      job.between_steps(1, 9);
      ADD_FAILURE() << "it goes on";
    } catch (const StopRequested& stop) {
      EXPECT_STREQ(stop.what(), "got SIGTERM: stopped default seed 0 after 1 of 9 steps");
    }
    if (world.is_root()) {
      EXPECT_EQ(CheckpointFolder(folder + "/results.h5.checkpoints").list().size(), 1U);
    }
  }
  world.barrier();
  if (world.is_root()) std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace rankine
