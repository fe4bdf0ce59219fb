#include "src/experiments/pde_training.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/clock.hpp"
#include "src/core/memory.hpp"
#include "src/core/statistics.hpp"
#include "src/core/strings.hpp"
#include "src/experiments/pde_training_steps.hpp"
#include "src/pde/convective_flux.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/pdes.hpp"
#include "src/pde/scaled_pde.hpp"
#include "src/pde/wall_checks.hpp"
#include "src/train/start.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// What the check of computed references gives.
struct CheckRow {
  const char* name;
  double ReferenceCheck::*value;
  const char* help;
};
constexpr CheckRow check_rows[] = {
    {"reference_time_error", &ReferenceCheck::time_error,
     "relative L2 distance of a reference from the one with half the tolerance in time; largest of the "
     "checked samples"},
    {"reference_space_error", &ReferenceCheck::space_error, "the same from the one on half the cells"},
    {"reference_flux_gap", &ReferenceCheck::flux_gap,
     "the same from the one with a limited flux that satisfies the entropy condition"},
    {"reference_flux_limit", &ReferenceCheck::flux_limit,
     "what is left of reference_flux_gap on infinitely fine grids, as far as two grids tell"},
};
/// Whether a row applies: where references are computed, and those of the flux where it is checked.
bool measured(const CheckRow& row, const PdeDataOptions& data, bool flux_checked, const Grid& grid) {
  if (data.source != "generate") return false;
  if (row.value == &ReferenceCheck::flux_gap) return flux_checked;
  return row.value != &ReferenceCheck::flux_limit || (flux_checked && flux_is_checked_on_two_grids(grid));
}

}  // namespace

void GridOptions::options(OptionVisitor& o) {
  o("cells", cells,
    {.help = "cells along each space axis; one number stands for all",
     .min = 4,
     .min_size = 1,
     .max_size = max_space_axes,
     .or_one = true});
  o("frames", frames, {.help = "time steps: frames besides the initial one", .min = 4});
  o("windows", windows,
    {.help =
         "time windows that follow each other: network and constraint have `frames` frames of one, and "
         "predictions go on from the last of them. Training starts from initial states that the classical "
         "solver has sent through some windows",
     .min = 1});
  o("tiles", tiles,
    {.help = "tiles along t and each space axis that the network's activations are dealt to ranks in",
     .min = 1,
     .min_size = 2,
     .max_size = 1 + max_space_axes});
}

void TrainOptions::options(OptionVisitor& o) {
  o("steps", steps, {.help = "training steps", .min = 0});
  o("batch", batch, {.help = "samples a step", .min = 1});
  o("learning_rate", learning_rate,
    {.help = "learning rate before the schedule's factor", .min = 0, .exclusive_min = true});
  o("clip", clip, {.help = "bound of the gradient's norm (0: none)", .min = 0});
  o("evaluate_every", evaluate_every,
    {.help = "steps between evaluations on the validation split (0: none)", .min = 0});
  o("on_fault", on_fault,
    {.help = "a step in which a NaN or an infinity arises: end with exit code 2; leave its update out; or go "
             "back to the newest checkpoint, with a smaller learning rate",
     .choices = {"stop", "skip", "rewind"}});
  o.group("faults", faults, "how often, for on_fault: skip and rewind");
  initial.options(o);
  o("save_fields", save_fields, {.help = "test samples whose fields are stored", .min = 0});
  o("polish", polish,
    {.help = "Gauss-Newton steps on the learned parameters alone after training, about the network's "
             "corrected solution",
     .min = 0,
     .max = 50});
}

void PdeTraining::describe(OptionVisitor& o) {
  StartOptions start;
  start.options(o);
  GridOptions grid;
  TrainOptions train;
  PdeDataOptions data;
  FormulationOptions formulation;
  o.group("grid", grid, "the discretisation and its tiles");
  o.group("data", data, "initial states and references");
  o.group("formulation", formulation, "constraint, norms, experts");
  AnsatzOptions ansatz;
  o.group("ansatz", ansatz, "how the network's outputs become a solution");
  o.group(
      "train", train,
      fmt::format("training; also rule, optimizer, schedule, {}, see `rankine list`", StepMechanisms::help)
          .c_str());
  LearnOptions learn;
  struct Learn {
    LearnOptions& one;
    void options(OptionVisitor& v) { v.group("NAME", one, "a parameter of the PDE, by its name in pde"); }
  } learned{learn};
  o.group("learn", learned, "parameters of the PDE that are learned from data.observations");
}

namespace {

/// A list of a deck that holds `count` numbers. Where the deck does not give it, it is filled with its last
/// number, and so is one number that stands for all.
void for_axes(const DeckNode& section, const char* key, size_t axes, size_t count, std::vector<int>& values) {
  const bool one = !section.has(key) || section.child(key).is_scalar();
  if (one) values.resize(count, values.back());
  if (values.size() != count)
    section.error_at(key, fmt::format("{}: {} numbers; the equation has {} space {}, so give {}", key,
                                      values.size(), axes, axes == 1 ? "axis" : "axes",
                                      count == axes ? "one for each" : "one for t and one for each"));
}

}  // namespace

PdeTraining::PdeTraining(const DeckNode& variant, const ExperimentSetup& setup) : variant_(setup.variant) {
  pde_ = pdes().make(variant.child("pde"));
  flux_checked_ = flux_is_checked(*pde_);
  const DeckNode grid = variant.section("grid"), data = variant.section("data"),
                 train = variant.section("train");
  grid.read(grid_);
  const size_t axes = pde_->axes();
  if (pde_->steady()) {
    for (const auto& [section, key] : {std::pair(grid, "frames"), std::pair(data, "frames")})
      if (section.has(key)) section.error_at(key, "frames: a steady problem has none; leave them out");
    grid_.frames = 1;
  }
  for_axes(grid, "cells", axes, axes, grid_.cells);
  for_axes(grid, "tiles", axes, 1 + axes, grid_.tiles);
  const auto placed = [](const DeckNode& node, const char* key, const auto& make) {
    try {
      return make();
    } catch (const InputError& error) {
      node.error_at(key, error.what());
    }
  };
  placed(grid, "cells", [&] { return space(); });
  placed(variant.child("pde"), "data_cells", [&] { return pde_->data_grid(); });
  if (input_channels() == 0)
    grid.error(
        "the network has nothing to read: a steady problem on a ring without coefficient fields or sampled parameters "
        "has one solution; give pde.fields or a parameter with minimum and maximum");
  data.read(data_);
  // Smoke sizes are too small to be judged, like what a deck expects.
  if (setup.smoke) {
    constexpr double any = std::numeric_limits<double>::infinity();
    data_.reference_check = {any, any, any, any};
  }
  formulation_ = FormulationOptions::read(variant.section("formulation"));
  for_axes(variant.section("formulation"), "experts", axes, 1 + axes, formulation_.experts);
  const DeckNode rule = train.section("rule");
  make_rule_ = [rule] { return rules().make_or("backprop", rule); };
  const std::unique_ptr<LearningRule> learning_rule = make_rule_();
  const DeckNode optimizer = train.section("optimizer");
  make_optimizer_ = [optimizer] { return optimizers().make_or("adam", optimizer); };
  make_optimizer_();
  schedule_ = schedules().make_or("cosine", train.section("schedule"));
  for (const char* key : {"gradient", "after_step", "average"})
    train.has(key);  // read below, of a known model
  train.read(train_);
  reject_unused_options(*learning_rule, train);
  learned_.read(variant.section("learn"), *pde_);
  StartOptions start;
  start.options(*variant.reader());
  start_ = start.start;
  if (!start_.empty() && start_.find('@') == std::string::npos)
    variant.error_at("start",
                     "start: '" + start_ + "' names no variant; allowed: VARIANT@end, such as pi-sc@end");
  if (!start_.empty() && train_.initial.given())
    train.error_at("weights", "weights: the run begins with the snapshot of `start`; leave one of them out");
  if (train_.batch > data_.train)
    train.error_at("batch", "batch: " + std::to_string(train_.batch) + " is more than the " +
                                std::to_string(data_.train) +
                                " training samples; make data.train larger or the batch smaller");

  data_key_ = variant.child("pde").yaml() + data.yaml();
  times_ = formulation_.times(pde_->duration(), grid_.frames * grid_.windows);
  window_times_.assign(times_.begin(), times_.begin() + grid_.frames + 1);
  if (grid_.windows > 1) {
    if (pde_->steady() || !pde_->autonomous())
      grid.error_at("windows",
                    "windows: a window is as good as another only where time is, and no term and no "
                    "wall reads t; leave windows out");
    if (formulation_.collocated() || formulation_.time != "uniform" || formulation_.implicit_steps > 0)
      grid.error_at(
          "windows",
          "windows: all steps of all windows must be alike; use formulation.residual: storage, time: "
          "uniform and implicit_steps: 0");
    if (!data_.observations.none() || !learned_.empty())
      grid.error_at("windows", "windows: observations are fitted in one window; leave windows out");
  }
  if (waves()) {
    const DeckNode formulation = variant.section("formulation");
    if (formulation_.collocated() || !(formulation_.target() || formulation_.local()))
      formulation.error_at("constraint",
                           "constraint: " + formulation_.constraint +
                               " with pde.discretisation: fourier; use target or local, whose march is the "
                               "scheme's own");
    if (formulation_.march.method != "direct")
      formulation.section("march").error_at(
          "method", "method: " + formulation_.march.method +
                        " with pde.discretisation: fourier, which marches by its own steps; leave it direct");
    if (formulation_.correct.train || !learned_.empty() || !data_.observations.none())
      formulation.error(
          "pde.discretisation: fourier trains through no correction: leave out correct.train, learn and "
          "data.observations");
    for (const int n : grid_.cells)
      if (n % 2 != 0 || n < 4)
        grid.error_at("cells",
                      fmt::format("cells: {} with pde.discretisation: fourier; use even numbers of at "
                                  "least 4",
                                  n));
  }
  const int frames = network_frames(formulation_, grid_.frames);
  PerAxis points{frames};
  points.insert(points.end(), grid_.cells.begin(), grid_.cells.end());
  const TileGrid tiles = placed(
      grid, "tiles", [&] { return TileGrid(points, PerAxis(grid_.tiles.begin(), grid_.tiles.end())); });
  tiles_ = placed(grid, "tiles",
                  [&] { return TilePartition(tiles, setup.communicator.size(), setup.communicator.rank()); });
  const DeckNode formulation = variant.section("formulation");
  if (!formulation_.soft() || formulation_.local()) {
    long available = tiles.tiles() * tiles.tile_points();
    for (size_t axis = 0; axis < grid_.tiles.size(); ++axis) {
      if (grid_.tiles[axis] % formulation_.experts[axis] != 0)
        formulation.error_at("experts",
                             fmt::format("experts: [{}] do not divide grid.tiles [{}]; each "
                                         "expert covers whole tiles, so choose divisors of {} numbers",
                                         fmt::join(formulation_.experts, ", "), fmt::join(grid_.tiles, ", "),
                                         grid_.tiles.size() == 2 ? "both" : "all"));
      available /= formulation_.experts[axis];
      const int cells = axis == 0 ? 0 : grid_.cells[axis - 1] / formulation_.experts[axis];
      const int box = cells + 2 * formulation_.halo;
      if (formulation_.local() && waves() && axis > 0 && box < grid_.cells[axis - 1] &&
          (box % 2 != 0 || box < 4))
        formulation.error_at(
            "experts",
            fmt::format("experts: {} along {} have {} cells each, {} with their halos; under "
                        "pde.discretisation: fourier these must be an even number of at least 4",
                        formulation_.experts[axis], space_name(static_cast<int>(axis) - 1), cells, box));
      if (formulation_.local() && formulation_.experts[axis] > 1 && formulation_.halo > cells)
        formulation.error_at(
            "halo",
            fmt::format("halo: {} is wider than the neighbouring expert, which has {} cells along {}; "
                        "choose at most that many, or fewer experts",
                        formulation_.halo, cells, space_name(static_cast<int>(axis) - 1)));
    }
    if (formulation_.points > available)
      formulation.error_at("points", "points: " + std::to_string(formulation_.points) + " is more than the " +
                                         std::to_string(available) +
                                         " points of an expert; choose at most that many, or 0 for all");
  }
  if (formulation_.march.over_ranks() && grid_.tiles[0] != 1)
    grid.error_at("tiles", fmt::format("tiles: {} along t with march.method: {}; a rank marches its "
                                       "cells through all frames, so let the list begin with 1",
                                       grid_.tiles[0], formulation_.march.method));
  if (pde_->steady() && formulation_.march.method == "imex")
    formulation.section("march").error_at(
        "method",
        "method: imex steps in time, which a steady problem does not have; use direct, petsc or gmres");
  // The reference is repeated on half the cells.
  std::vector<Grid> in_use{pde_->data_grid(), space()};
  for (const Grid& whole : std::vector<Grid>(in_use)) {
    std::vector<int> half;
    for (const int n : whole.cells_by_axis()) half.push_back(n / 2);
    in_use.push_back(pde_->grid(half));
  }
  check_walls(*pde_, variant.child("pde"), in_use);
  const bool reads_wall = formulation_.collocated() && formulation_.collocation.right_bc_loss == "reference";
  check_pde_data(data_, *pde_, data, setup.communicator, space(),
                 reads_wall ? times_ : std::vector<double>{});
  check_observations(variant, setup);
  if (formulation_.collocated() && !pde_->collocated())
    formulation.error(
        "residual: collocated (the paper's formulation) needs a pointwise residual, which this PDE does "
        "not have; use residual: storage");
  const SharedTileSum sum = distributed_tile_sum(TileTree(setup.communicator, *tiles_));
  model_context_ = ModelContext{*tiles_, sum, input_channels(), pde_->unknowns() * formulation_.fields(),
                                formulation_.final_activation == "gelu"};
  const DeckNode ansatz = variant.section("ansatz");
  ansatz.read(ansatz_);
  if (ansatz_.name == "carried") {
    if (formulation_.fields() != 1)
      ansatz.error("name: carried gives one field; use formulation.constraint: local, or method: soft");
    if (grid_.tiles[0] != 1)
      grid.error_at("tiles",
                    fmt::format("tiles: {} along t with ansatz.name: carried, whose network has no axis "
                                "of time; let the list begin with 1",
                                grid_.tiles[0]));
    for_axes(ansatz, "cells", axes, axes, ansatz_.carried.cells);
    const StorageModel window(*pde_, space(), window_times_, formulation_.theta, formulation_.implicit_steps,
                              formulation_.march);
    placed(ansatz, "cells", [&] {
      const CarriedNetwork trial(ansatz_.carried, window, setup.communicator, *tiles_);
      model_context_->partition = CarriedNetwork::network_tiles(ansatz_.carried, *tiles_);
      model_context_->inputs = CarriedAnsatz::inputs_of_network;
      model_context_->outputs = trial.outputs();
    });
  }
  const RuleSetup to_train{.communicator = setup.communicator, .shards = sum, .steps = train_.steps};
  try {
    learning_rule->check(to_train);
  } catch (const InputError& error) {
    train.error_at("rule", std::string(error.what()) +
                               "; allowed with experiment: pde_training: " + join(rules_for(to_train)));
  }
  const DeckNode model = variant.section("model");
  try {
    model_ = models().make_or(pde_->axes() == 1 ? "fno2d" : "fno", model, *model_context_);
  } catch (const InputError& error) {
    // A message of the model about the grid names no place in the deck.
    const std::string place = model.where();
    if (std::string(error.what()).rfind(place.substr(0, place.find(':')), 0) == 0) throw;
    model.error(error.what());
  }
  ParameterSet trained = model_->initial_parameters(0);
  learned_.add_to(trained);
  train_.initial.check(train, setup.communicator, setup.seeds, trained);
  placed(train, "optimizer", [&] { return make_optimizer_()->check_groups(trained); });
  mechanisms_ = StepMechanisms(train, *learning_rule, trained);
  variant.reject_unread_keys();
}

std::vector<MetricInfo> PdeTraining::metrics() const {
  std::vector<MetricInfo> out;
  for (int m = 0; m < measures; ++m)
    if (measured(*pde_, m)) {
      out.push_back({measure_info[m].name, "1", measure_info[m].help});
      // A file's frames need not be the method's.
      out.back().may_be_nan = m == reference_residual && data_.source != "generate";
    }
  for (const CheckRow& row : check_rows)
    if (measured(row, data_, flux_checked_, pde_->data_grid())) out.push_back({row.name, "1", row.help});
  if (pde_->convection() == Convection::automatic)
    out.push_back(
        {"limited_flux", "1",
         "pde.convection: auto took the limited flux for the constraint (1) or the central one (0)"});
  out.push_back({"rel_l2_spread", "1", "standard deviation of rel_l2 over the test samples"});
  out.push_back({"rel_l2_step0", "1", "rel_l2 of the untrained network: what the solve alone gives"});
  out.push_back({"loss", "1", "mean training loss of the last tenth of the steps"});
  out.push_back({"gradient_p99_over_median", "1", "99th percentile over median of the gradient's norm"});
  out.push_back({"solver_iterations", "1", "mean steps of a solve on the test set; 0 for a soft constraint"});
  for (int s = 0; s < solve_status_count; ++s)
    out.push_back({std::string("status_") + to_string(static_cast<SolveStatus>(s)), "1",
                   "share of the training solves that ended so"});
  out.push_back({"steps_skipped", "1", "training steps without an update because something was not finite"});
  out.push_back({"rewinds", "1", "times that training went back to a checkpoint because of that"});
  out.push_back({"parameters", "1", "trainable numbers of the network"});
  const std::vector<MetricInfo> of_rule = make_rule_()->metrics();
  out.insert(out.end(), of_rule.begin(), of_rule.end());
  if (!data_.observations.none())
    out.push_back(
        {"observation_misfit", "1",
         "sqrt(mean(((H u - d) / sigma)^2)) of the observed sample after training, and train.polish"});
  for (const std::string& name : learned_.names()) {
    out.push_back({"learned_" + name, "1", "the learned value"});
    out.push_back({"learned_" + name + "_error", "1", "|learned - pde." + name + "| / |pde." + name + "|"});
    out.push_back({"learned_" + name + "_deviation", "1",
                   "the same with its sign: its spread over seeds stands beside the bound"});
    out.push_back({"learned_" + name + "_error_trained", "1", "learned_..._error before train.polish"});
    out.push_back({"learned_" + name + "_crb", "1",
                   "Cramer-Rao bound: smallest relative standard deviation of an unbiased estimate"});
  }
  out.push_back({"seconds_per_step", "s", "median wall time of a training step", true});
  out.push_back(
      {"seconds_per_sample", "s", "wall time of the network and the solve for one test sample", true});
  out.push_back({"seconds_per_correction", "s", "wall time of one march correction of one sample", true});
  out.push_back({"seconds_classical", "s",
                 "wall time of the classical time stepper on the same grid for one sample, to rounding",
                 true});
  out.push_back({"peak_memory", "B", "largest memory of a rank", true});
  return out;
}

double PdeTraining::march_bytes() const {
  const Grid cells = space();
  if (cells.axes() == 1 || formulation_.march.method == "petsc") return 0;
  // Neighbours along the longest axis are as far apart as all other axes together have cells, on a ring twice.
  int longest = 0;
  for (int axis = 1; axis < cells.axes(); ++axis)
    if (cells.cells(axis) > cells.cells(longest)) longest = axis;
  const double m = pde_->unknowns(), rows = cells.cells() * m,
               reach = (pde_->periodic(longest) ? 2.0 : 1.0) *
                       (pde_->convection() == Convection::central ? 1 : 2) * cells.cells() /
                       cells.cells(longest) * m;
  // Samples that differ in a coefficient have factors of their own.
  bool differ = !pde_->fields().empty();
  for (const PdeParameter& p : pde_->parameters()) differ = differ || p.sampled;
  const int samples = differ ? (train_.batch + tiles_->ranks() - 1) / tiles_->ranks() : 1;
  return 2 * sizeof(double) * samples * grid_.frames * rows * (3 * reach + 1);
}

std::string PdeTraining::chosen_flux() const {
  if (pde_->convection() == Convection::central) return {};
  return "the constraint: " + describe_convection(*pde_, space()) +
         "; of references: " + describe_convection(*pde_, pde_->data_grid());
}

RunEstimate PdeTraining::estimate() const {
  RunEstimate e;
  const TileGrid& grid = tiles_->grid();
  e.partition = grid.describe();
  for (int r = 0; r < tiles_->ranks(); ++r)
    e.partition += (r == 0 ? "; rank " : ", rank ") + std::to_string(r) + ": tiles " +
                   std::to_string(tiles_->begin(r)) + "-" + std::to_string(tiles_->end(r) - 1);
  if (const std::string flux = chosen_flux(); !flux.empty()) e.partition += "\n  convective flux of " + flux;
  const double count = static_cast<double>(model_->initial_parameters(0).count());
  const double local =
      static_cast<double>(grid.tile_points() * tiles_->end(0));  // no rank has more than rank 0
  const double channels =
      200;  // activations kept per point, of which the widths of the usual models are the bulk
  e.bytes_per_rank = 64e6 + local * train_.batch * channels * static_cast<double>(size_of(model_->dtype())) +
                     40 * count + march_bytes();
  // Two flops a multiply-add, three passes, at a cautious 5 Gflop/s a rank.
  e.seconds_per_seed = train_.steps * local * train_.batch * 8000 * 2 * 3 / 5e9;
  const double frame_bytes = 8.0 * static_cast<double>(data_.frames) * space().cells();
  e.file_bytes =
      static_cast<std::uint64_t>(2 * frame_bytes * train_.save_fields + 8 * count + 8.0 * train_.steps * 12);
  return e;
}

std::vector<SnapshotEntry> PdeTraining::snapshot_layout() const {
  ParameterSet parameters = model_->initial_parameters(0);
  learned_.add_to(parameters);
  std::vector<SnapshotEntry> out;
  for (const ParameterInfo& part : parameters.parts())
    out.push_back({"weights/" + part.name + " " + name_of(parameters.dtype()), part.shape});
  return out;
}

ParameterSet PdeTraining::first_parameters(const RunContext& context) const {
  ParameterSet parameters = model_->initial_parameters(static_cast<std::uint64_t>(context.seed));
  learned_.add_to(parameters);
  train_.initial.load(context.communicator, context.seed, parameters);
  if (start_.empty()) return parameters;
  const size_t at = start_.find('@');
  const StateSnapshot& from =
      context.snapshots->get({start_.substr(0, at), context.seed}, start_.substr(at + 1));
  for (const ParameterInfo& part : parameters.parts())
    parameters.view(part).assign_bytes(from.at("weights/" + part.name).bytes);
  return parameters;
}

void PdeTraining::refuse_missing(const RunContext& context, const MissingMetrics& missing) const {
  for (const MissingMetrics::Entry& e : missing.entries()) {
    const std::string expectation = context.expectation_on(e.metric);
    if (expectation.empty()) continue;
    throw NumericalError(
        "variant " + variant_ + ", seed " + std::to_string(context.seed) + ": the deck expects '" +
        expectation + "', but " + e.metric + (e.sample < 0 ? "" : " of sample " + std::to_string(e.sample)) +
        " cannot be computed, which is known before training: " + e.why +
        "; mend that, or leave the expectation out: then " + e.metric + " is NaN and the run goes on");
  }
}

Metrics PdeTraining::run(RunContext& context) {
  const Communicator& communicator = context.communicator;
  const Stopwatch whole;
  FaultHandler::require_checkpoints(context, train_.on_fault);
  const bool reads_wall = formulation_.collocated() && formulation_.collocation.right_bc_loss == "reference";
  const std::shared_ptr<const PdeData> shared =
      shared_pde_data(data_key_, data_, *pde_, communicator, space(), times_, reads_wall,
                      [&] { context.checkpoint.within_step(0, train_.steps); });
  const double data_seconds = whole.seconds();
  // Networks and solvers work on unknowns of order one; results go back to the deck's units.
  const std::vector<double> scales = unknown_scales(*pde_, *shared);
  const bool plain = std::all_of(scales.begin(), scales.end(), [](double s) { return s == 1; });
  const PdeData own_data = plain ? PdeData{} : scaled(*shared, scales);
  const PdeData& data = plain ? *shared : own_data;
  const ScaledPde scaled_pde(*pde_, scales);
  const Pde& pde = plain ? *pde_ : static_cast<const Pde&>(scaled_pde);
  for (int a = 0; a < pde.unknowns() && !plain; ++a)
    context.log.line(variant_ + ": " + pde.symbol(a) + " is measured in " + shortest(scales[a]) + " inside");

  if (pde_->discretisation() == Discretisation::fourier && data_.source == "generate") {
    const std::string share =
        variant_ + ": the initial states lose " + fmt::format("{:.2g}", 100 * data.lost_share) +
        " % of their variation (root mean square) in waves beyond two thirds of those of "
        "pde.data_cells";
    if (data.lost_share > 0.01)
      context.log.warning(share + ": take more cells, or smoother initial states");
    else
      context.log.line(share);
  }
  if (const std::string flux = chosen_flux(); !flux.empty())
    context.log.line(variant_ + ": convective flux of " + flux);
  const StorageModel storage(pde, space(), times_, formulation_.theta, formulation_.implicit_steps,
                             formulation_.march);
  const StorageModel window(pde, space(), window_times_, formulation_.theta, formulation_.implicit_steps,
                            formulation_.march);
  if (waves()) check_substeps(data, storage, communicator);
  if (ansatz_.name == "carried")
    carried_ = std::make_unique<const CarriedNetwork>(ansatz_.carried, window, communicator, *tiles_);
  const std::unique_ptr<ConstraintLayer> layer =
      make_constraint_layer(formulation_, window, communicator, *tiles_, learned_.indices(),
                            static_cast<std::uint64_t>(context.seed));
  const std::shared_ptr<const ObservationRows> observations =
      data_.observations.none() ? nullptr : observation_rows(observe(context, scales));
  const Evaluator evaluate(*this, data, communicator, storage, pde);

  // What the deck alone decides, so that a failure is known before training.
  const auto before_training = [&] { context.checkpoint.within_step(0, train_.steps); };
  Known known = evaluate.know(data.test, before_training);
  std::vector<double> bounds;
  if (!learned_.empty()) {
    MissingMetrics of_bounds;
    bounds = parameter_bounds(storage, data, *observations, of_bounds);
    if (!communicator.is_root()) of_bounds = {};  // all have the same
    of_bounds.share(communicator);
    of_bounds.warn(context.log, variant_, context.seed);
    refuse_missing(context, of_bounds);
  }
  known.missing.warn(context.log, variant_, context.seed);
  refuse_missing(context, known.missing);

  ParameterSet parameters = first_parameters(context);
  const ParameterSet untrained = parameters.clone();
  Steps steps(*this, context, data, observations, storage, *layer, parameters, evaluate);
  steps.train();

  if (context.snapshots != nullptr) {
    StateSnapshot end;
    for (const ParameterInfo& part : parameters.parts())
      end.emplace("weights/" + part.name, value_of(parameters.view(part)));
    context.snapshots->keep({context.variant, context.seed}, final_snapshot, std::move(end));
  }

  // What follows changes a copy: a stop on the way saves the parameters as training left them.
  ParameterSet tested = steps.loop().judged().clone();
  const auto between = [&] { context.checkpoint.within_step(train_.steps, train_.steps); };
  Metrics inverse;
  if (observations) {
    MissingMetrics missing;
    inverse =
        finish_inverse(tested, *layer, storage, data, observations, communicator, between, bounds, missing);
    if (!communicator.is_root()) missing = {};  // all have the same
    missing.share(communicator);
    missing.warn(context.log, variant_, context.seed);
  }

  // The test split is read once, here.
  std::vector<double> fields;
  const int save = std::min(train_.save_fields, data.test.size());
  const Evaluation test = evaluate(tested, *layer, data.test, &known, between, save, &fields);
  test.missing.warn(context.log, variant_, context.seed);
  const Evaluation at_start = evaluate(untrained, *layer, data.test, nullptr, between);
  if (!at_start.missing.entries().empty())
    context.log.warning(variant_ + " seed " + std::to_string(context.seed) + ": of the untrained network " +
                        at_start.missing.texts().front());

  Metrics out;
  for (int m = 0; m < measures; ++m) {
    if (!measured(*pde_, m)) continue;
    out.emplace_back(measure_info[m].name, mean(test.measures[m]));
    context.results.per_sample(measure_info[m].name, test.measures[m], {.long_name = measure_info[m].help});
  }
  std::vector<double> initial_means;
  for (int i = 0; i < data.test.size(); ++i)
    initial_means.push_back(mean(
        std::span(shared->test.initial).subspan(static_cast<size_t>(i) * storage.width(), storage.width())));
  context.results.per_sample("u0", initial_means, {.long_name = "mean of the initial state"});
  for (const CheckRow& row : check_rows)
    if (measured(row, data_, flux_checked_, pde_->data_grid()))
      out.emplace_back(row.name, data.check.*row.value);
  if (pde_->convection() == Convection::automatic)
    out.emplace_back("limited_flux", convection_on(*pde_, space()) == Convection::limited ? 1.0 : 0.0);
  out.emplace_back("rel_l2_spread", standard_deviation(test.measures[rel_l2]));
  out.emplace_back("rel_l2_step0", mean(at_start.measures[rel_l2]));
  const std::vector<double>& losses = steps.loop().losses();
  const size_t tail = std::min<size_t>(std::max(1, train_.steps / 10), losses.size());
  const std::vector<double> last_losses = finite(std::span(losses).last(tail)),
                            norms = finite(steps.loop().gradient_norms());
  out.emplace_back("loss", mean(last_losses));
  out.emplace_back("gradient_p99_over_median", quantile(norms, 0.99) / quantile(norms, 0.5));
  out.emplace_back("solver_iterations", test.iterations);
  const std::span<const double> status_total = steps.status_total();
  const double solves = std::accumulate(status_total.begin(), status_total.end(), 0.0);
  for (int s = 0; s < solve_status_count; ++s)
    out.emplace_back(std::string("status_") + to_string(static_cast<SolveStatus>(s)),
                     solves > 0 ? status_total[s] / solves : 0.0);
  out.emplace_back("steps_skipped", static_cast<double>(steps.loop().skipped()));
  out.emplace_back("rewinds", static_cast<double>(steps.loop().rewinds()));
  out.emplace_back("parameters", static_cast<double>(parameters.count() - learned_.size()));
  const std::vector<MetricInfo> of_rule = steps.rule().metrics();
  const std::vector<double> measured_by_rule = steps.rule().measured();
  for (size_t i = 0; i < of_rule.size(); ++i) out.emplace_back(of_rule[i].name, measured_by_rule[i]);
  out.insert(out.end(), inverse.begin(), inverse.end());
  out.emplace_back("seconds_per_step", communicator.max(quantile(steps.loop().step_seconds(), 0.5)));
  out.emplace_back("seconds_per_sample", test.seconds_per_sample);
  out.emplace_back("seconds_per_correction", test.seconds_per_correction);
  out.emplace_back("seconds_classical", known.seconds_classical);
  out.emplace_back("peak_memory", static_cast<double>(communicator.max(peak_memory_bytes())));

  for (size_t p = 0; p < fields.size(); ++p) fields[p] *= scales[p % scales.size()];
  write_fields(context, *shared, save, fields);
  if (save > 0 && !plain) context.results.field_edges("unknown_scales", scales);
  write_weights(context.results, tested);
  steps.loop().write_timing(context.results);
  context.results.timing("data_seconds", data_seconds);
  context.results.timing("reference_check_seconds", data.check_seconds);
  context.results.timing("total_seconds", whole.seconds());
  return out;
}

void PdeTraining::write_fields(RunContext& context, const PdeData& data, int save,
                               const std::vector<double>& u) const {
  if (save == 0 || !context.communicator.is_root()) return;
  const Grid grid = space();
  std::vector<double> ids;
  for (int s = 0; s < save; ++s) ids.push_back(static_cast<double>(data.test.ids[s]));
  std::vector<Coordinate> coordinates{{"sample_id", ids, "1", "test sample"},
                                      {"t", data.times, pde_->time_unit(), "time"}};
  for (int axis = 0; axis < grid.axes(); ++axis) {
    std::vector<double> x(grid.cells(axis));
    for (int i = 0; i < grid.cells(axis); ++i) x[i] = grid.length(axis) * (i + 0.5) / grid.cells(axis);
    coordinates.push_back({std::string(1, space_name(axis)), x, pde_->length_unit(), "cell centre"});
  }
  const int m = pde_->unknowns();
  const size_t count = static_cast<size_t>(save) * data.times.size() * grid.cells();
  for (int a = 0; a < m; ++a) {
    const auto of_unknown = [&](const std::vector<double>& all) {
      std::vector<double> one(count);
      for (size_t p = 0; p < count; ++p) one[p] = all[p * m + a];
      return one;
    };
    const std::string name = pde_->symbol(a), label = pde_->field_name(a);
    context.results.fields(name, of_unknown(u), coordinates, {.long_name = label});
    context.results.fields(name + "_reference", of_unknown(data.test.reference), coordinates,
                           {.long_name = label + ", reference"});
  }
  const auto edges = [&](int axis, int parts) {
    std::vector<double> at;
    for (int i = 0; i <= parts; ++i) at.push_back(grid.length(axis) * i / parts);
    return at;
  };
  for (int axis = 0; axis < grid.axes(); ++axis) {
    const std::string name(1, space_name(axis));
    context.results.field_edges("tile_edges_" + name, edges(axis, grid_.tiles[1 + axis]));
    context.results.field_edges("expert_edges_" + name,
                                edges(axis, formulation_.soft() ? 1 : formulation_.experts[1 + axis]));
  }
}

}  // namespace rankine
