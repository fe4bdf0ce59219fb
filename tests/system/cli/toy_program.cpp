// Rankine with one experiment that does nothing but end in every possible way.
#include <chrono>
#include <limits>
#include <thread>

#include "kernels/error.hpp"
#include "src/cli/program.hpp"

namespace rankine {
namespace {

struct ToyOptions {
  double error = 0.5;
  int steps = 3;
  double weight = 1e-3;
  int tiles = 4;
  std::string outcome = "done";
  void options(OptionVisitor& o) {
    o("error", error, {.help = "the metric it returns", .min = 0});
    o("steps", steps, {.help = "progress lines", .min = 1});
    o("weight", weight, {.help = "a number", .unit = "kg", .min = 0, .exclusive_min = true});
    o("tiles", tiles, {.help = "tiles", .min = 1});
    o("outcome", outcome,
      {.help = "how it ends",
       .choices = {"done", "nan", "numerical", "io", "defect", "input_of_one_rank", "numerical_of_one_rank",
                   "io_of_root"}});
  }
};

class Toy : public Experiment {
 public:
  Toy(const DeckNode& variant, const ExperimentSetup& setup) : ranks_(setup.communicator.size()) {
    const DeckNode node = variant.section("toy");
    node.read(options_);
    variant.reject_unread_keys();
    if (ranks_ > options_.tiles) {
      node.error_at("tiles", "'toy.tiles' is " + std::to_string(options_.tiles) + ", but there are " +
                                 std::to_string(ranks_) + " ranks; allowed: at most one rank a tile");
    }
    if (options_.outcome == "input_of_one_rank" && setup.communicator.rank() == ranks_ - 1) {
      throw InputError("data.h5: only this rank sees it");
    }
  }

  static void describe(OptionVisitor& visitor) {
    ToyOptions options;
    visitor.group("toy", options, "everything");
  }

  std::vector<MetricInfo> metrics() const override {
    return {{.name = "error", .unit = "1", .help = "relative error"},
            {.name = "step_time", .unit = "s", .help = "seconds a step", .machine_dependent = true}};
  }

  RunEstimate estimate() const override {
    return {.partition = "4 tiles on " + std::to_string(ranks_) + " ranks",
            .bytes_per_rank = 3.0e6,
            .seconds_per_seed = 0.25,
            .file_bytes = 1000};
  }

  Metrics run(RunContext& context) override {
    Progress progress(context.log, context.variant, context.seed, options_.steps);
    for (int step = 1; step <= options_.steps; ++step) {
      progress.update(step, 1.0 / step, std::numeric_limits<double>::quiet_NaN(), 1e-3);
      context.results.append_step(step, {{"loss", 1.0 / step}});
      context.results.append_evaluation(step, {{"error", options_.error / step}});
    }
    const std::string& outcome = options_.outcome;
    const bool last = context.communicator.rank() == context.communicator.size() - 1;
    if (outcome == "numerical") throw NumericalError("step 3: the loss is NaN; lower train.learning_rate");
    if (outcome == "io") throw IoError("disk.h5: no space left");
    if (outcome == "defect") RANKINE_ASSERT(options_.steps < 0, "steps");
    if (outcome == "numerical_of_one_rank" && last) throw NumericalError("tile 3 is singular");
    if (outcome == "io_of_root" && context.communicator.is_root()) throw IoError("fields: no space left");
    context.communicator.barrier();  // where the others wait for a rank that failed alone
    const double error = outcome == "nan" ? std::numeric_limits<double>::quiet_NaN()
                                          : options_.error + 0.1 * static_cast<double>(context.seed);
    return {{"error", error}, {"step_time", 1e-3}};
  }

 private:
  ToyOptions options_;
  int ranks_;
};

}  // namespace
}  // namespace rankine

int main(int argc, char** argv) {
  using namespace rankine;
  const ExperimentRegistry table("experiment", {entry<Toy>("toy", "ends as it is told")});
  return run_program(argc, argv, {table, {}});
}
