// Checkpoints whose weights or optimiser's state hold a NaN: a run that goes on from them says so before its
// first step, and a run that goes back passes over them.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/io/checkpoint.hpp"
#include "src/io/fault_file.hpp"
#include "src/run/driver.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const char* text = R"(
run: {experiment: pde_training, seeds: [0]}
pde: {name: diffusion_sorption, data_cells: 64, reference_rtol: 1e-5}
grid: {cells: 16, frames: 8, tiles: [1, 4]}
data: {train: 4, validation: 1, test: 1, frames: 11}
model: {name: fno2d, widths: [4, 4], modes_t: 3, modes_x: 3, projection: 8}
train: {steps: 3, batch: 2, evaluate_every: 0, save_fields: 0, schedule: {name: constant}}
formulation: {method: soft}
checkpoint: {every_steps: 1}
)";

class Faults : public ::testing::Test {
 protected:
  Faults() {
    std::string name =
        (fs::temp_directory_path() / ("rankine_faults_" + std::to_string(::getpid()))).string();
    world.broadcast(name);
    folder = name;
    if (world.is_root()) fs::create_directories(folder);
    world.barrier();
  }
  ~Faults() override {
    world.barrier();
    std::error_code ignored;
    if (world.is_root()) fs::remove_all(folder, ignored);
  }

  /// The message that the run ends with; empty where it does not fail.
  std::string run(const std::string& restart) {
    std::ostringstream said;
    Log log(said, world.is_root() ? Log::Style::plain : Log::Style::silent);
    std::string message;
    try {
      DeckRun deck(world, experiments(), Deck(text, "deck.yaml"), {});
      deck.run({{}, (folder / "results.h5").string(), restart}, log);
    } catch (const NumericalError& error) {
      message = error.what();
    }
    return message;
  }

  /// The checkpoint after 2 steps, with a NaN in one array.
  std::string spoil(const std::string& array, int element) {
    const std::string path = (folder / "spoilt.h5").string();
    world.on_root([&] {
      CheckpointContent content =
          read_checkpoint((folder / "results.h5.checkpoints/checkpoint-00000002.h5").string());
      StateValue& value = content.state.at(array);
      if (value.type == DType::f32) {
        const float bad = NAN;
        std::memcpy(&value.bytes.at(static_cast<size_t>(element) * sizeof bad), &bad, sizeof bad);
      } else {
        const double bad = NAN;
        std::memcpy(&value.bytes.at(static_cast<size_t>(element) * sizeof bad), &bad, sizeof bad);
      }
      write_checkpoint(path, content);
    });
    return path;
  }

  Communicator world = Communicator::world();
  fs::path folder;
};

TEST_F(Faults, ACheckpointWithNaNIsNamedBeforeTheFirstStep) {
  ASSERT_EQ(run("never"), "");
  for (const auto& [array, element] :
       {std::pair("weights/fc0.bias", 1), std::pair("optimizer/second_moment", 17)}) {
    const std::string message = run(spoil(std::string("state/") + array, element));
    EXPECT_THAT(message, HasSubstr("variant default, seed 0, step 2: " + std::string(array) +
                                   " is NaN at element " + std::to_string(element)));
    EXPECT_THAT(message, HasSubstr("give another checkpoint or weights"));
    world.on_root([&] {
      const std::string dump = (folder / "results.h5.fault-default-seed_0-step_2.h5").string();
      EXPECT_THAT(message, HasSubstr(dump));
      const FaultFile file = read_fault_file(dump);
      const auto fact = std::find_if(file.facts.begin(), file.facts.end(),
                                     [](const auto& named) { return named.first == "message"; });
      ASSERT_NE(fact, file.facts.end());
      EXPECT_THAT(message, HasSubstr(std::get<std::string>(fact->second)));
      fs::remove(dump);
    });
  }
}

}  // namespace
}  // namespace rankine
