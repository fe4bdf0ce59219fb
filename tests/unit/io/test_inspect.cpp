// What `rankine info` and `rankine compare` say about checkpoints and files about faults.
#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/fault_file.hpp"
#include "src/io/inspect.hpp"
#include "src/io/safe_file.hpp"
#include "tests/unit/io/scratch.hpp"

namespace rankine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Scratch;
using Json = nlohmann::json;

StateValue doubles(const std::vector<double>& values, std::vector<std::int64_t> shape) {
  return value_of(Tensor::from(values, Shape(shape)));
}

CheckpointContent content() {
  CheckpointContent out;
  out.texts = {{"variant", "moe"},   {"seed", "3"},   {"step", "40"},
               {"revision", "abc"},  {"ranks", "2"},  {"settings", "train.batch: 4\ntrain.steps: 100\n"},
               {"version", "0.1.0"}, {"smoke", "no"}, {"parent", "old.h5 (step 20)"}};
  out.state["state/weights/fc0.weight"] = doubles({1, 2, 3, 4, 5, 6}, {2, 3});
  out.state["state/optimizer/velocity"] = doubles({1, NAN}, {2});
  out.state["state/timing/step_seconds"] = doubles({0.1}, {1});
  return out;
}

TEST(Inspect, ACheckpointTellsWhatIsInIt) {
  const Scratch scratch;
  const std::string path = scratch / "checkpoint-00000007.h5";
  write_checkpoint(path, content());
  EXPECT_EQ(kind_of_file(path), FileKind::checkpoint);
  const Json json = Json::parse(info_json(path));
  EXPECT_EQ(json["variant"], "moe");
  EXPECT_EQ(json["step"], 40);
  EXPECT_EQ(json["steps"], 100);
  EXPECT_EQ(json["seed"], 3);
  EXPECT_EQ(json["parent"], "old.h5 (step 20)");
  EXPECT_EQ(json["finished"], false);
  EXPECT_EQ(json["same_build"], false);
  EXPECT_EQ(json["settings"]["train.batch"], "4");
  EXPECT_EQ(json["arrays"].size(), 3U);
  EXPECT_EQ(json["arrays"][0]["name"], "state/optimizer/velocity");
  EXPECT_EQ(json["arrays"][0]["not_finite"], 1);
  EXPECT_EQ(json["arrays"][2]["shape"], (Json{2, 3}));
  EXPECT_THAT(info_text(path), AllOf(HasSubstr("intact"), HasSubstr("40 of 100"), HasSubstr("2 x 3"),
                                     HasSubstr("1 not finite"), HasSubstr("old.h5 (step 20)")));
}

TEST(Inspect, ADamagedCheckpointIsRefusedAndTheFolderSaysSo) {
  const Scratch scratch;
  const std::string good = scratch / "checkpoint-00000001.h5", bad = scratch / "checkpoint-00000002.h5";
  write_checkpoint(good, content());
  std::string bytes = read_file(good);
  bytes[bytes.size() / 3] ^= 4;
  testing::put_file(bad, bytes);
  EXPECT_THROW(info_text(bad), InputError);
  EXPECT_THROW(compare_results(good, bad), InputError);
  testing::put_file(bad, bytes.substr(0, bytes.size() / 2));
  EXPECT_THROW(info_json(bad), InputError);
  CheckpointContent done = content();
  done.texts["finished"] = "yes";
  write_checkpoint(scratch / "finished-moe-seed_3.h5", done);
  const Json json = Json::parse(info_json(scratch.path().string()));
  ASSERT_EQ(json["checkpoints"].size(), 3U);
  EXPECT_NE(json["checkpoints"][0]["damage"], "");
  EXPECT_EQ(json["checkpoints"][1]["damage"], "");
  EXPECT_EQ(json["checkpoints"][2]["finished"], true);
  EXPECT_THAT(info_text(scratch.path().string()),
              AllOf(HasSubstr("NOT USABLE"), HasSubstr("variant moe, seed 3, step 40, finished")));
}

TEST(Inspect, ComparesTwoCheckpoints) {
  const Scratch scratch;
  const std::string a = scratch / "checkpoint-00000001.h5", b = scratch / "checkpoint-00000002.h5";
  write_checkpoint(a, content());
  CheckpointContent other = content();
  other.texts["revision"] = "def";  // of the machine and the program
  other.texts["ranks"] = "4";
  other.state["state/timing/step_seconds"] = doubles({0.2}, {1});
  write_checkpoint(b, other);
  EXPECT_TRUE(compare_results(a, b).empty());
  other.state["state/weights/fc0.weight"] = doubles({1, 2, 3, 4, 5, 7}, {2, 3});
  other.state["state/optimizer/velocity"] = doubles({1}, {1});
  other.state["state/rule/mask"] = doubles({1}, {1});
  other.texts["step"] = "41";
  write_checkpoint(b, other);
  std::vector<std::string> found;
  for (const Difference& difference : compare_results(a, b))
    found.push_back(difference.path + ": " + difference.what);
  EXPECT_THAT(found,
              ElementsAre("texts/step: '40' against '41'", "state/optimizer/velocity: f64 2 against f64 1",
                          "state/weights/fc0.weight: 1 of 6 values differ, by 1 at most (relative 0.143)",
                          "state/rule/mask: only in the second file"));
}

TEST(Inspect, AFaultFileComesBackAndIsShown) {
  const Scratch scratch;
  const std::string path = scratch / "results.h5.fault-moe-seed_0-step_2.h5";
  FaultFile file;
  file.facts = {{"message", "variant moe: something is NaN"},
                {"step", std::int64_t{2}},
                {"loss", NAN},
                {"tile", std::int64_t{-1}}};
  file.texts = {{"deck", "run: {}"}, {"version", "0.1.0"}};
  file.arrays = {{"tensor", doubles({1, NAN, INFINITY}, {3})}, {"weights/fc0.bias", doubles({1}, {1})}};
  write_fault_file(path, file);
  const FaultFile back = read_fault_file(path);
  EXPECT_EQ(back.arrays, file.arrays);
  EXPECT_EQ(back.texts, file.texts);
  EXPECT_EQ(kind_of_file(path), FileKind::fault);
  const Json json = Json::parse(info_json(path));
  EXPECT_EQ(json["facts"]["loss"], "nan");
  EXPECT_EQ(json["facts"]["step"], 2);
  EXPECT_EQ(json["arrays"][0]["not_finite"], 2);
  EXPECT_THAT(info_text(path), AllOf(HasSubstr("something is NaN"), HasSubstr("weights/fc0.bias"),
                                     ::testing::Not(HasSubstr("tile"))));
  EXPECT_THROW(read_fault_file(scratch / "none.h5"), InputError);
}

}  // namespace
}  // namespace rankine
