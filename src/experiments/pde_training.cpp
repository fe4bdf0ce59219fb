#include "src/experiments/pde_training.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/clock.hpp"
#include "src/core/memory.hpp"
#include "src/core/random.hpp"
#include "src/core/statistics.hpp"
#include "src/core/strings.hpp"
#include "src/data/interpolation.hpp"
#include "src/pde/limited_flux.hpp"
#include "src/pde/method_of_lines.hpp"
#include "src/pde/pdes.hpp"
#include "src/pde/scaled_pde.hpp"
#include "src/pde/wall_checks.hpp"
#include "src/run/missing_metrics.hpp"
#include "src/tensor/host_array.hpp"
#include "src/tensor/profile.hpp"
#include "src/train/loop.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double norm(std::span<const double> a) {
  return std::sqrt(std::inner_product(a.begin(), a.end(), a.begin(), 0.0));
}

double distance(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

/// What an evaluation measures of one sample.
enum Measure {
  rel_l2,
  rel_l2_corrected,
  rel_l2_discrete,
  pde_residual,
  reference_residual,
  reference_error,
  ic_error,
  bc_error,
  rel_l2_final,
  correction_residual,
  correction_steps,
  correction_converged,
  measures
};

struct MeasureInfo {
  const char* name;
  const char* help;
};
constexpr MeasureInfo measure_info[measures] = {
    {"rel_l2", "relative L2 error on the reference's frames"},
    {"rel_l2_corrected", "the same after one march correction u - P(u)^-1 r(u)"},
    {"rel_l2_discrete", "relative L2 distance from the exact discrete solution, own frames"},
    {"pde_residual", "root mean square of the conservative residual"},
    {"reference_residual", "the same of the reference on the method's own frames; NaN where it has others"},
    {"reference_error", "relative L2 distance of the reference from the exact solution that pde.exact gives"},
    {"ic_error", "relative L2 error of the initial frame"},
    {"bc_error", "root mean square error of the two outermost cells"},
    {"rel_l2_final", "rel_l2 after the corrections that formulation.correct asks for"},
    {"correction_residual", "root mean square of the residual that they reached"},
    {"correction_steps", "corrections applied"},
    {"correction_converged", "1 where they reached their tolerance"},
};

/// Whether a measure applies to the equation at all.
bool measured(const Pde& pde, int measure) { return measure != reference_error || pde.has_exact(); }

/// The scale of all unknowns where it is the same; else residuals stay in those of their unknowns.
double common_scale(const Pde& pde) {
  for (int a = 1; a < pde.unknowns(); ++a)
    if (pde.scale(a) != pde.scale(0)) return 1;
  return pde.scale(0);
}

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
/// Whether a row applies: where references are computed, and that of the flux where it convects.
bool measured(const CheckRow& row, const PdeDataOptions& data, bool convects, int cells) {
  if (data.source != "generate") return false;
  if (row.value == &ReferenceCheck::flux_gap) return convects;
  return row.value != &ReferenceCheck::flux_limit || (convects && flux_is_checked_on_two_grids(cells));
}

}  // namespace

void GridOptions::options(OptionVisitor& o) {
  o("cells", cells, {.help = "cells in space", .min = 4});
  o("frames", frames, {.help = "time steps: frames besides the initial one", .min = 4});
  o("tiles", tiles,
    {.help = "tiles along t and x that the network's activations are dealt to ranks in",
     .min = 1,
     .min_size = 2,
     .max_size = 2});
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
  GridOptions grid;
  TrainOptions train;
  PdeDataOptions data;
  FormulationOptions formulation;
  o.group("grid", grid, "the discretisation and its tiles");
  o.group("data", data, "initial states and references");
  o.group("formulation", formulation, "constraint, norms, experts");
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

PdeTraining::PdeTraining(const DeckNode& variant, const ExperimentSetup& setup) : variant_(setup.variant) {
  pde_ = pdes().make(variant.child("pde"));
  convects_ = has_convection(*pde_);
  const DeckNode grid = variant.section("grid"), data = variant.section("data"),
                 train = variant.section("train");
  grid.read(grid_);
  data.read(data_);
  // Smoke sizes are too small to be judged, like what a deck expects.
  if (setup.smoke) {
    constexpr double any = std::numeric_limits<double>::infinity();
    data_.reference_check = {any, any, any, any};
  }
  formulation_ = FormulationOptions::read(variant.section("formulation"));
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
  if (train_.batch > data_.train)
    train.error_at("batch", "batch: " + std::to_string(train_.batch) + " is more than the " +
                                std::to_string(data_.train) +
                                " training samples; make data.train larger or the batch smaller");

  data_key_ = variant.child("pde").yaml() + data.yaml();
  times_ = formulation_.times(pde_->duration(), grid_.frames);
  const int frames = network_frames(formulation_, grid_.frames);
  const auto placed = [](const DeckNode& node, const char* key, const auto& make) {
    try {
      return make();
    } catch (const InputError& error) {
      node.error_at(key, error.what());
    }
  };
  const TileGrid tiles =
      placed(grid, "tiles", [&] { return TileGrid(frames, grid_.cells, grid_.tiles[0], grid_.tiles[1]); });
  tiles_ = placed(grid, "tiles",
                  [&] { return TilePartition(tiles, setup.communicator.size(), setup.communicator.rank()); });
  const DeckNode formulation = variant.section("formulation");
  if (!formulation_.soft()) {
    if (grid_.tiles[0] % formulation_.experts[0] != 0 || grid_.tiles[1] % formulation_.experts[1] != 0)
      formulation.error_at("experts",
                           "experts: [" + std::to_string(formulation_.experts[0]) + ", " +
                               std::to_string(formulation_.experts[1]) + "] do not divide grid.tiles [" +
                               std::to_string(grid_.tiles[0]) + ", " + std::to_string(grid_.tiles[1]) +
                               "]; each expert covers whole tiles, so choose divisors of both numbers");
    const long available = tiles.nt() * tiles.nx() / (formulation_.experts[0] * formulation_.experts[1]);
    if (formulation_.points > available)
      formulation.error_at("points", "points: " + std::to_string(formulation_.points) + " is more than the " +
                                         std::to_string(available) +
                                         " points of an expert; choose at most that many, or 0 for all");
  }
  // The reference is repeated on half the cells.
  const int in_use[] = {pde_->data_cells(), pde_->data_cells() / 2, grid_.cells, grid_.cells / 2};
  check_walls(*pde_, variant.child("pde"), in_use);
  const bool reads_wall = formulation_.collocated() && formulation_.collocation.right_bc_loss == "reference";
  check_pde_data(data_, *pde_, data, setup.communicator, grid_.cells,
                 reads_wall ? times_ : std::vector<double>{});
  check_observations(variant, setup);
  if (formulation_.collocated() && !pde_->collocated())
    formulation.error(
        "residual: collocated (the paper's formulation) needs a pointwise residual, which this PDE does "
        "not have; use residual: storage");
  const SharedTileSum sum = distributed_tile_sum(TileTree(setup.communicator, *tiles_));
  model_context_ = ModelContext{*tiles_, sum, input_channels(),
                                pde_->unknowns() * (formulation_.soft() ? 1 : formulation_.basis),
                                formulation_.final_activation == "gelu"};
  const RuleSetup to_train{.communicator = setup.communicator, .shards = sum, .steps = train_.steps};
  try {
    learning_rule->check(to_train);
  } catch (const InputError& error) {
    train.error_at("rule", std::string(error.what()) +
                               "; allowed with experiment: pde_training: " + join(rules_for(to_train)));
  }
  const DeckNode model = variant.section("model");
  try {
    model_ = models().make_or("fno2d", model, *model_context_);
  } catch (const InputError& error) {
    // What a model finds wrong with the grid knows no place of its own.
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
    if (measured(row, data_, convects_, pde_->data_cells())) out.push_back({row.name, "1", row.help});
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

RunEstimate PdeTraining::estimate() const {
  RunEstimate e;
  const TileGrid& grid = tiles_->grid();
  e.partition = grid.describe();
  for (int r = 0; r < tiles_->ranks(); ++r)
    e.partition += (r == 0 ? "; rank " : ", rank ") + std::to_string(r) + ": tiles " +
                   std::to_string(tiles_->begin(r)) + "-" + std::to_string(tiles_->end(r) - 1);
  const double count = static_cast<double>(model_->initial_parameters(0).count());
  const double local =
      static_cast<double>(grid.tile_points() * tiles_->end(0));  // no rank has more than rank 0
  const double channels =
      200;  // activations kept per point, of which the widths of the usual models are the bulk
  e.bytes_per_rank =
      64e6 + local * train_.batch * channels * static_cast<double>(size_of(model_->dtype())) + 40 * count;
  // Two flops a multiply-add, three passes, at a cautious 5 Gflop/s a rank.
  e.seconds_per_seed = train_.steps * local * train_.batch * 8000 * 2 * 3 / 5e9;
  const double frame_bytes = 8.0 * static_cast<double>(data_.frames) * grid_.cells;
  e.file_bytes =
      static_cast<std::uint64_t>(2 * frame_bytes * train_.save_fields + 8 * count + 8.0 * train_.steps * 12);
  return e;
}

PdeBatch PdeTraining::make_batch(const PdeSplit& split, const std::vector<long>& which, long step,
                                 bool training,
                                 const std::shared_ptr<const ObservationRows>& observations) const {
  PdeBatch batch;
  batch.step = step;
  batch.training = training;
  const auto append = [&](const std::vector<double>& from, long s, std::vector<double>& to) {
    const long each = static_cast<long>(from.size()) / split.size();
    to.insert(to.end(), from.begin() + s * each, from.begin() + (s + 1) * each);
  };
  for (long s : which) {
    batch.ids.push_back(split.ids[s]);
    append(split.initial, s, batch.initial);
    append(split.parameters, s, batch.parameters);
    append(split.right_wall, s, batch.right_reference);
    if (training && observations)
      batch.observations.push_back(s == data_.observations.sample ? observations : nullptr);
  }
  return batch;
}

void PdeTraining::check_observations(const DeckNode& variant, const ExperimentSetup& setup) const {
  const ObservationOptions& data = data_.observations;
  if (!learned_.empty()) {
    const DeckNode learn = variant.section("learn");
    if (data.none())
      learn.error("learn: nothing tells the value of a parameter without data.observations; give some");
    if (formulation_.collocated())
      learn.error(
          "learn needs formulation.residual: storage: the collocated form is not differentiated by "
          "parameters of the PDE");
    if (formulation_.target() && formulation_.observations.corrections == 0)
      learn.error(
          "learn with constraint: target needs formulation.observations.corrections above 0: the target is "
          "held fixed, so that the data reach a parameter through a correction alone");
    if (formulation_.observations.weight == 0)
      learn.error("learn needs the observations in the loss; give a formulation.observations.weight above 0");
  } else if (train_.polish > 0) {
    variant.section("train").error_at(
        "polish", "polish moves learned parameters, and there is none; name one in learn, or leave it out");
  }
  if (data.none()) return;
  const DeckNode node = variant.section("data").section("observations");
  if (formulation_.collocated())
    node.error("observations need formulation.residual: storage; the collocated form has no place for them");
  if (formulation_.observations.weight == 0 && !formulation_.observations.rows)
    node.error(
        "observations are given, but neither the loss (formulation.observations.weight: 0) nor the experts "
        "(formulation.observations.rows: false) use them");
  if (data.seed < 0 && !data.write.empty() && setup.seeds.size() > 1 &&
      with_seed(data.write, setup.seeds[0]) == with_seed(data.write, setup.seeds[1])) {
    node.error_at("write",
                  fmt::format("write: {} is one file for {} seeds, each of which draws points of its own, so "
                              "that only the last ones would stay; use {{seed}} in the name, or give seed, "
                              "which all then draw with",
                              data.write, setup.seeds.size()));
  }
  if (data.source != "file") return;
  setup.communicator.on_root([&] {
    for (std::int64_t seed : setup.seeds) try {
        read_observations(with_seed(data.path, seed), *pde_, data.noise);
      } catch (const InputError& error) {
        node.error_at("path", error.what());
      }
  });
}

Observations PdeTraining::observe(const RunContext& context, const std::vector<double>& scales) const {
  const ObservationOptions& options = data_.observations;
  Observations out;
  context.communicator.on_root([&] {
    if (options.source == "file") {
      out = read_observations(with_seed(options.path, context.seed), *pde_, options.noise);
      return;
    }
    const auto seed = static_cast<std::uint64_t>(options.seed < 0 ? context.seed : options.seed);
    out = draw_observations(*pde_, options.points, options.noise, seed, pde_->data_cells(),
                            [&](std::span<const double> times) {
                              return training_reference(data_, *pde_, options.sample, times);
                            });
    if (!options.write.empty()) write_observations(with_seed(options.write, context.seed), out, *pde_);
  });
  for (std::vector<double>* values : {&out.t, &out.x, &out.value, &out.sigma})
    context.communicator.broadcast(*values);
  context.communicator.broadcast(out.unknown);
  for (int i = 0; i < out.size(); ++i)
    for (double* value : {&out.value[i], &out.sigma[i]}) *value /= scales[out.unknown[i]];
  return out;
}

std::shared_ptr<const ObservationRows> PdeTraining::observation_rows(const Observations& observations) const {
  return std::make_shared<const ObservationRows>(
      ObservationOperator(*pde_, times_, grid_.cells, observations.t, observations.x, observations.unknown),
      observations, grid_.cells * pde_->unknowns());
}

ParameterSet PdeTraining::first_parameters(const Communicator& communicator, std::int64_t seed) const {
  ParameterSet parameters = model_->initial_parameters(static_cast<std::uint64_t>(seed));
  learned_.add_to(parameters);
  train_.initial.load(communicator, seed, parameters);
  return parameters;
}

/// Time, x where the domain has walls, one channel an initial field, one a sampled parameter.
int PdeTraining::input_channels() const {
  int channels = 1 + (pde_->periodic() ? 0 : 1) + pde_->unknowns();
  for (const PdeParameter& p : pde_->parameters()) channels += p.sampled ? 1 : 0;
  return channels;
}

/// The channels on the local tiles: [L, B, channels, Tt, Tx].
Tensor PdeTraining::network_input(const PdeBatch& batch) const {
  const TileGrid& grid = tiles_->grid();
  const int channels = input_channels(), m = pde_->unknowns();
  const Shape shape{tiles_->local_tiles(), batch.size(), channels, grid.tile_nt(), grid.tile_nx()};
  // The collocated grid has a frame at t = 0, the storage form's starts after the first step; x runs to 1 at
  // the last cell in the paper.
  const size_t first_time = formulation_.collocated() ? 0 : 1;
  const double last = formulation_.collocated() ? grid_.cells - 0.5 : grid_.cells;
  const std::vector<PdeParameter> parameters = pde_->parameters();
  const auto sampled = [&](int s) {  // the sample's drawn parameters, scaled to [0, 1]
    std::vector<double> out;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const PdeParameter& p = parameters[i];
      const double value = batch.parameters[s * parameters.size() + i];
      if (p.sampled)
        out.push_back(p.logarithmic ? std::log(value / p.minimum) / std::log(p.maximum / p.minimum)
                                    : (value - p.minimum) / (p.maximum - p.minimum));
    }
    return out;
  };
  const auto fill = [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    for (long l = 0; l < tiles_->local_tiles(); ++l) {
      const TileExtent extent = grid.extent(tiles_->begin() + l);
      for (int s = 0; s < batch.size(); ++s) {
        const auto channel = [&](const auto& value) {
          for (long t = extent.t_begin; t < extent.t_end; ++t)
            for (long i = extent.x_begin; i < extent.x_end; ++i) *out++ = static_cast<T>(value(t, i));
        };
        channel([&](long t, long) {
          const double time = times_[first_time + t] / pde_->duration();
          return formulation_.time_input == "sqrt" ? std::sqrt(time) : time;
        });
        if (!pde_->periodic()) channel([&](long, long i) { return (static_cast<double>(i) + 0.5) / last; });
        for (int a = 0; a < m; ++a)
          channel([&](long, long i) {
            return formulation_.initial_input_scale *
                   batch.initial[(static_cast<size_t>(s) * grid_.cells + i) * m + a];
          });
        for (double value : sampled(s)) channel([&](long, long) { return value; });
      }
    }
  };
  Tensor x;
  dispatch_real(model_->dtype(), "network_input", [&](auto zero) {
    HostArray<decltype(zero)> values(shape);
    fill(values.data());
    x = values.to_device();
  });
  return x;
}

/// Everything that an evaluation of a split gives. All ranks have the same bits, times apart.
struct PdeTraining::Evaluation {
  std::vector<double> measures[rankine::measures];  // [measure][sample]
  double seconds_per_sample = 0, seconds_per_correction = 0;
  double iterations = 0;
  MissingMetrics missing;
};

/// What the deck alone says of the samples of a split: known before training.
struct PdeTraining::Known {
  struct Sample {
    std::vector<double> exact;  // the discrete solution; empty where it cannot be computed
    double reference_residual = nan, reference_error = nan;
  };
  std::map<long, Sample> samples;  // those that this rank evaluates
  double seconds_classical = nan;
  MissingMetrics missing;
};

class PdeTraining::Evaluator {
 public:
  Evaluator(const PdeTraining& owner, const PdeData& data, const Communicator& communicator,
            const StorageModel& model, const Pde& pde)
      : owner_(owner),
        pde_(pde),
        data_(data),
        communicator_(communicator),
        model_(model),
        unit_(common_scale(pde)),
        to_frames_(owner.times_, data.times, !owner.pde_->periodic()) {}

  /// What is known of the split before training. Calls `between` on all ranks between the samples.
  Known know(const PdeSplit& split, const std::function<void()>& between) const {
    Known known;
    const std::vector<long> own = own_samples(split);
    double seconds = 0;
    int solved = 0;
    for (std::int64_t turn = 0, turns = communicator_.max(static_cast<std::int64_t>(own.size()));
         turn < turns; ++turn) {
      between();
      communicator_.together([&] {
        if (turn >= static_cast<std::int64_t>(own.size())) return;
        const long sample = own[turn];
        const auto number = [&](Measure measure, const auto& compute) {
          double value = nan;
          try {
            value = compute();
            if (!std::isfinite(value))
              known.missing.add(measure_info[measure].name, split.ids[sample], not_finite);
          } catch (const NumericalError& error) {
            known.missing.add(measure_info[measure].name, split.ids[sample], error.what());
          }
          return value;
        };
        Known::Sample& s = known.samples[sample];
        const StorageProblem problem = problem_of(split, sample, {});
        number(rel_l2_discrete, [&] {
          const Stopwatch watch;
          s.exact = problem.solve_exactly();
          seconds += watch.seconds();
          ++solved;
          return norm(s.exact);
        });
        if (!split.own_reference.empty() && owner_.learned_.empty())
          s.reference_residual =
              number(reference_residual, [&] { return residual_of(problem, split, sample); });
        if (pde_.has_exact())
          s.reference_error = number(reference_error, [&] { return error_of_reference(split, sample); });
      });
    }
    known.seconds_classical = communicator_.max(solved > 0 ? seconds / solved : 0);
    if (communicator_.sum(solved) == 0) {
      known.seconds_classical = nan;
      if (communicator_.is_root())
        known.missing.add("seconds_classical", -1, "no sample has an exact discrete solution");
    }
    known.missing.share(communicator_);
    return known;
  }

  /// `known`: of this split; null: the cheap form, which measures rel_l2 only. `between` is called on all
  /// ranks between the batches. `fields`: takes the first `save` samples at the reference's frames (root
  /// only).
  Evaluation operator()(const ParameterSet& parameters, ConstraintLayer& layer, const PdeSplit& split,
                        const Known* known, const std::function<void()>& between, int save = 0,
                        std::vector<double>* fields = nullptr) const {
    const NoGrad no_grad;
    Evaluation result;
    const std::vector<double> learned = owner_.learned_.values(parameters);
    const int batch_size = owner_.train_.batch, width = model_.width();
    const long all_frames = static_cast<long>(owner_.times_.size()) * width;
    double seconds = 0, solves = 0;
    Timing timing;
    for (int first = 0; first < split.size(); first += batch_size) {
      between();
      std::vector<long> which(std::min(batch_size, split.size() - first));
      std::iota(which.begin(), which.end(), static_cast<long>(first));
      PdeBatch batch = owner_.make_batch(split, which, 0, false);
      const BlockPartition blocks(batch.size(), communicator_.size());
      const long own = blocks.size(communicator_.rank()), first_own = blocks.begin(communicator_.rank());
      const Stopwatch watch;
      std::vector<double> u;
      std::string lost;
      try {
        const BoundParameters bound = parameters.bind(owner_.model_context_->tiles);
        batch.learned = owner_.learned_.values(bound);
        const Tensor outputs = owner_.model_->forward(bound, owner_.network_input(batch));
        u = layer.predict(outputs, batch);
        seconds += watch.seconds();
        for (const ExpertStatistics& s : layer.statistics()) {
          result.iterations += s.iterations * batch.size();
          solves += batch.size();
        }
      } catch (const SharedNumericalError& error) {  // on all ranks
        lost = error.own;
      } catch (const SolverStop& error) {
        lost = error.what();
      }
      if (!lost.empty()) u.assign(static_cast<std::size_t>(own * all_frames), nan);

      std::vector<double> local, kept;
      communicator_.together([&] {
        for (long s = 0; s < own; ++s) {
          std::vector<double> solution(u.begin() + s * all_frames, u.begin() + (s + 1) * all_frames);
          const long sample = first + first_own + s;
          if (lost.empty())
            measure(solution, split, sample, learned, known, local, timing, result.missing);
          else
            give_up(split, sample, lost, known, local, result.missing);
          if (sample < save) {
            const std::vector<double> frames = to_frames_(solution, width);
            kept.insert(kept.end(), frames.begin(), frames.end());
          }
        }
      });
      const std::vector<double> all = communicator_.all_gather_varying(std::span<const double>(local));
      for (size_t i = 0; i < all.size(); ++i) result.measures[i % rankine::measures].push_back(all[i]);
      if (fields && first < save) {
        const std::vector<double> gathered = communicator_.gather_varying(std::span<const double>(kept));
        fields->insert(fields->end(), gathered.begin(), gathered.end());
      }
    }
    result.seconds_per_sample = communicator_.max(seconds) / split.size();
    result.seconds_per_correction = communicator_.max(timing.correction / std::max(1, timing.samples));
    if (solves > 0) result.iterations /= solves;
    result.missing.share(communicator_);
    return result;
  }

 private:
  static constexpr const char* not_finite = "its value is not finite";

  struct Timing {
    double correction = 0;
    int samples = 0;
  };

  /// Those of a split that this rank measures: of each batch its part.
  std::vector<long> own_samples(const PdeSplit& split) const {
    std::vector<long> own;
    for (int first = 0; first < split.size(); first += owner_.train_.batch) {
      const BlockPartition blocks(std::min(owner_.train_.batch, split.size() - first), communicator_.size());
      for (long s = 0; s < blocks.size(communicator_.rank()); ++s)
        own.push_back(first + blocks.begin(communicator_.rank()) + s);
    }
    return own;
  }

  static std::vector<double> parameters_of(const PdeSplit& split, long sample) {
    const size_t count = split.parameters.size() / split.size();
    return {split.parameters.begin() + sample * count, split.parameters.begin() + (sample + 1) * count};
  }

  /// With the true values of the parameters, or with `learned` in their places.
  StorageProblem problem_of(const PdeSplit& split, long sample, std::span<const double> learned) const {
    const auto first = split.initial.begin() + sample * model_.width();
    const std::vector<double> truth = parameters_of(split, sample);
    return model_.sample({first, first + model_.width()},
                         learned.empty()
                             ? SchemeParameters{truth, {}}
                             : SchemeParameters{owner_.learned_.insert(truth, learned).values, {}});
  }

  double residual_of(const StorageProblem& problem, const PdeSplit& split, long sample) const {
    const size_t own = owner_.times_.size() * model_.width();
    return norm(problem.evaluate(std::span(&split.own_reference[sample * own], own))) /
           std::sqrt(static_cast<double>(problem.points())) * unit_;
  }

  std::span<const double> reference_of(const PdeSplit& split, long sample) const {
    const size_t each = data_.times.size() * model_.width();
    return {&split.reference[sample * each], each};
  }

  double error_of_reference(const PdeSplit& split, long sample) const {
    std::vector<double> frames;
    for (double t : data_.times) {
      const std::vector<double> frame =
          exact_cells(pde_, t, parameters_of(split, sample), owner_.grid_.cells);
      frames.insert(frames.end(), frame.begin(), frame.end());
    }
    return distance(reference_of(split, sample), frames) / norm(frames);
  }

  /// What was known before training, for a sample's measures.
  void recall(const Known& known, long sample, double* values) const {
    const Known::Sample& s = known.samples.at(sample);
    values[reference_residual] = s.reference_residual;
    values[reference_error] = s.reference_error;
  }

  /// Appends the measures of a sample that has no prediction.
  void give_up(const PdeSplit& split, long sample, const std::string& why, const Known* known,
               std::vector<double>& out, MissingMetrics& missing) const {
    double values[rankine::measures];
    std::fill(std::begin(values), std::end(values), nan);
    if (known) recall(*known, sample, values);
    for (int m = 0; m < rankine::measures; ++m) {
      const bool of_prediction =
          m != reference_error && (m != reference_residual || !owner_.learned_.empty());
      if (of_prediction && (known || m == rel_l2)) missing.add(measure_info[m].name, split.ids[sample], why);
    }
    out.insert(out.end(), std::begin(values), std::end(values));
  }

  /// Appends the measures of one sample to `out`; `u` ends with the corrections that the deck asks for.
  /// Residual and corrections are those of the learned parameters, the exact solution is that of the true
  /// ones. What cannot be computed is NaN and noted.
  void measure(std::vector<double>& u, const PdeSplit& split, long sample, std::span<const double> learned,
               const Known* known, std::vector<double>& out, Timing& timing, MissingMetrics& missing) const {
    const int width = model_.width();
    const size_t frames = data_.times.size();
    const std::span<const double> reference = reference_of(split, sample);
    const std::vector<double> at_frames = to_frames_(u, width);
    double values[rankine::measures];
    std::fill(std::begin(values), std::end(values), nan);
    bool noted[rankine::measures] = {};
    const auto note = [&](int m, const std::string& why) {
      if (!std::exchange(noted[m], true)) missing.add(measure_info[m].name, split.ids[sample], why);
    };
    const auto attempt = [&](std::initializer_list<int> what, const auto& compute) {
      try {
        compute();
      } catch (const NumericalError& error) {
        for (int m : what) note(m, error.what());
      }
    };
    const double size = norm(reference);
    values[rel_l2] = distance(at_frames, reference) / size;
    if (known) {
      const std::span<const double> initial(&split.initial[sample * width], width);
      const StorageProblem problem = problem_of(split, sample, learned);
      // The correction and the residual know the initial state: a method's own first frame does not enter.
      std::vector<double> corrected(u);
      std::copy(initial.begin(), initial.end(), corrected.begin());
      std::vector<double> final_state(corrected);
      attempt({rel_l2_corrected}, [&] {
        const Stopwatch watch;
        const CorrectionReport once =
            problem.correct(corrected, {.steps = 1, .rtol = 0, .state = owner_.formulation_.correct.state});
        timing.correction += watch.seconds();
        ++timing.samples;
        values[pde_residual] = once.residual_before * unit_;
        values[rel_l2_corrected] = distance(to_frames_(corrected, width), reference) / size;
      });
      if (std::isnan(values[pde_residual]))  // of a prediction that cannot be corrected
        attempt({pde_residual}, [&] {
          values[pde_residual] =
              norm(problem.evaluate(corrected)) / std::sqrt(static_cast<double>(problem.points())) * unit_;
        });
      const CorrectionOptions& correct = owner_.formulation_.correct;
      attempt({rel_l2_final, correction_residual, correction_steps, correction_converged}, [&] {
        const CorrectionReport report = problem.correct(final_state, correct);
        values[rel_l2_final] = distance(to_frames_(final_state, width), reference) / size;
        values[correction_residual] = report.residual_after * unit_;
        values[correction_steps] = report.steps;
        values[correction_converged] = report.status == CorrectionStatus::converged ? 1 : 0;
      });
      recall(*known, sample, values);
      const std::vector<double>& exact = known->samples.at(sample).exact;
      if (!exact.empty()) values[rel_l2_discrete] = distance(u, exact) / norm(exact);
      if (!split.own_reference.empty() && !owner_.learned_.empty())
        attempt({reference_residual},
                [&] { values[reference_residual] = residual_of(problem, split, sample); });
      double walls = 0;
      const int m = model_.unknowns();
      std::vector<double> difference(at_frames.size());  // in the deck's units
      for (size_t p = 0; p < difference.size(); ++p)
        difference[p] = (at_frames[p] - reference[p]) * pde_.scale(static_cast<int>(p) % m);
      for (size_t j = 0; j < frames; ++j)
        for (int i : {0, width - m})
          for (int a = 0; a < m; ++a) walls += std::pow(difference[j * width + i + a], 2);
      values[ic_error] = distance(std::span(u).first(width), initial) / norm(initial);
      values[bc_error] = std::sqrt(walls / (2.0 * m * static_cast<double>(frames)));
      if (correct.steps > 0) u = std::move(final_state);
    }
    const auto expected_nan = [&](int m) {
      if (m == rel_l2) return false;
      if (!known) return true;
      if (m == rel_l2_discrete) return known->samples.at(sample).exact.empty();  // noted before training
      return m == reference_error || m == reference_residual;
    };
    for (int m = 0; m < rankine::measures; ++m)
      if (!std::isfinite(values[m]) && !expected_nan(m)) note(m, not_finite);
    out.insert(out.end(), std::begin(values), std::end(values));
  }

  const PdeTraining& owner_;
  const Pde& pde_;  // whose unknowns the data and the network have
  const PdeData& data_;
  const Communicator& communicator_;
  const StorageModel& model_;
  double unit_;  // of residuals, in the deck's units
  FrameInterpolation to_frames_;
};

void PdeTraining::record_experts(RunContext& context, long step, const BatchStatistics& statistics) const {
  if (statistics.empty()) return;
  TableWriter table = context.results.table("experts", {"expert"});
  const auto write = [&](const std::string& name, const auto& get) {
    std::vector<double> values;
    for (const ExpertStatistics& s : statistics) values.push_back(get(s));
    table.row(step, name, values);
  };
  write("iterations", [](const ExpertStatistics& s) { return s.iterations; });
  write("gradient_norm", [](const ExpertStatistics& s) { return s.gradient_norm; });
  write("objective", [](const ExpertStatistics& s) { return s.objective; });
  write("coefficient_norm", [](const ExpertStatistics& s) { return s.weight_norm; });
  for (int i = 0; i < solve_status_count; ++i)
    write(std::string("status_") + to_string(static_cast<SolveStatus>(i)),
          [i](const ExpertStatistics& s) { return s.status_count[i]; });
}

std::vector<double> PdeTraining::parameter_bounds(const StorageModel& model, const PdeData& data,
                                                  const ObservationRows& observations,
                                                  MissingMetrics& missing) const {
  const PdeBatch batch = make_batch(data.train, {data_.observations.sample}, 0, true);
  std::vector<double> bounds(learned_.size(), nan);
  const auto miss = [&](int l, const std::string& why) {
    missing.add("learned_" + learned_.names()[l] + "_crb", batch.ids.front(), why);
  };
  try {
    bounds = cramer_rao_bound(
        model.sample(batch.initial, learned_.insert(batch.parameters, learned_.truth())), observations);
    for (int l = 0; l < learned_.size(); ++l)
      if (!std::isfinite(bounds[l]))
        miss(l, "the observations do not tell the learned parameters apart (a singular information matrix)");
  } catch (const NumericalError& error) {
    for (int l = 0; l < learned_.size(); ++l) miss(l, error.what());
  }
  return bounds;
}

Metrics PdeTraining::finish_inverse(ParameterSet& parameters, ConstraintLayer& layer,
                                    const StorageModel& model, const PdeData& data,
                                    const std::shared_ptr<const ObservationRows>& observations,
                                    const Communicator& communicator, const std::function<void()>& between,
                                    std::span<const double> bounds, MissingMetrics& missing) const {
  const NoGrad off;
  const long which = data_.observations.sample, width = model.width();
  PdeBatch batch = make_batch(data.train, {which}, 0, true, observations);
  const std::vector<double> trained = learned_.values(parameters);
  std::vector<double> values = trained, u;
  double misfit = nan;
  std::string lost;
  try {
    const BoundParameters bound = parameters.bind(model_context_->tiles);
    batch.learned = learned_.values(bound);
    // One sample: one rank has its solution, and all take it.
    const std::vector<double> mine = layer.predict(model_->forward(bound, network_input(batch)), batch);
    u = communicator.all_gather_varying(std::span<const double>(mine));
    std::copy_n(batch.initial.begin(), width, u.begin());
    if (train_.polish > 0) {
      // All ranks compute the same.
      values = refine_parameters(model, {batch.initial, batch.parameters}, learned_, *observations,
                                 train_.polish, trained, u, between);
      learned_.assign(values, parameters);
      values = learned_.values(parameters);
    }
    misfit = observations->root_mean_square(u, {});
    if (!std::isfinite(misfit)) lost = "its value is not finite";
  } catch (const SharedNumericalError& error) {
    lost = error.own;
  } catch (const NumericalError& error) {
    lost = error.what();
  }
  if (!lost.empty()) missing.add("observation_misfit", batch.ids.front(), lost);
  Metrics out{{"observation_misfit", misfit}};
  for (int l = 0; l < learned_.size(); ++l) {
    const std::string name = "learned_" + learned_.names()[l];
    const double truth = learned_.truth()[l];
    // What could not be polished is not what the deck asks for.
    if (!lost.empty() && train_.polish > 0) {
      values[l] = nan;
      for (const char* part : {"", "_error", "_deviation"}) missing.add(name + part, batch.ids.front(), lost);
    }
    out.emplace_back(name, values[l]);
    out.emplace_back(name + "_error", std::abs(values[l] - truth) / std::abs(truth));
    out.emplace_back(name + "_deviation", (values[l] - truth) / truth);
    out.emplace_back(name + "_error_trained", std::abs(trained[l] - truth) / std::abs(truth));
    out.emplace_back(name + "_crb", bounds[l]);
  }
  return out;
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

/// The training steps of one seed.
class PdeTraining::Steps final : public TrainingTask {
 public:
  /// All arguments outlive this.
  Steps(const PdeTraining& owner, RunContext& context, const PdeData& data,
        std::shared_ptr<const ObservationRows> observations, ConstraintLayer& layer, ParameterSet& parameters,
        const Evaluator& evaluator)
      : owner_(owner),
        context_(context),
        data_(data),
        observations_(std::move(observations)),
        layer_(layer),
        evaluator_(evaluator),
        order_(static_cast<std::uint64_t>(context.seed), "batch-order"),
        optimizer_(owner.make_optimizer_()),
        rule_(begun_rule(parameters)),
        loop_(context,
              {.steps = owner.train_.steps,
               .evaluate_every = owner.train_.evaluate_every,
               .on_fault = owner.train_.on_fault,
               .faults = owner.train_.faults,
               .mechanisms = &owner.mechanisms_},
              *this, *rule_, *optimizer_, parameters),
        parameters_(parameters) {
    for (int i = 0; i < solve_status_count; ++i)
      context.checkpoint.state().add(std::string("metrics/status_") + to_string(static_cast<SolveStatus>(i)),
                                     StateKind::replicated, status_total_[i]);
  }

  void train() { loop_.run(); }
  const TrainingLoop& loop() const { return loop_; }
  const LearningRule& rule() const { return *rule_; }
  /// How many of all solves ended so.
  std::span<const double, solve_status_count> status_total() const { return status_total_; }

  double learning_rate(std::int64_t step) const override {
    return owner_.train_.learning_rate * owner_.schedule_->factor(step, owner_.train_.steps);
  }
  std::shared_ptr<RuleContext> prepare(std::int64_t step, double learning_rate) override;
  Metrics evaluate(std::int64_t done, const std::function<void()>& between) override;
  void record(std::int64_t step, const StepOutcome& outcome, bool interrupted, Metrics& row) override;
  FoundFault find_fault(RuleContext& made, const StepOutcome& outcome,
                        const std::optional<SharedNumericalError>& thrown, FaultReport report) override;

 private:
  /// What a step refers to.
  struct Step {
    PdeBatch batch;
    Tensor input;
    std::unique_ptr<RuleContext> context;
  };
  std::unique_ptr<LearningRule> begun_rule(const ParameterSet& parameters) const {
    std::unique_ptr<LearningRule> rule = owner_.make_rule_();
    rule->begin({.communicator = context_.communicator,
                 .shards = owner_.model_context_->tiles,
                 .seed = static_cast<std::uint64_t>(context_.seed),
                 .steps = owner_.train_.steps,
                 .make_optimizer = owner_.make_optimizer_},
                parameters);
    return rule;
  }

  const PdeTraining& owner_;
  RunContext& context_;
  const PdeData& data_;
  std::shared_ptr<const ObservationRows> observations_;
  ConstraintLayer& layer_;
  const Evaluator& evaluator_;
  RandomStream order_;
  std::int64_t epoch_ = -1;  // that permutation_ is of
  std::vector<std::int64_t> permutation_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<LearningRule> rule_;
  TrainingLoop loop_;
  ParameterSet& parameters_;
  double status_total_[solve_status_count] = {};
  std::shared_ptr<Step> latest_;
};

std::shared_ptr<RuleContext> PdeTraining::Steps::prepare(std::int64_t step, double learning_rate) {
  StepPart<"batch"> part;
  const std::int64_t batch = owner_.train_.batch, batches_per_epoch = owner_.data_.train / batch;
  if (step / batches_per_epoch != epoch_) {
    epoch_ = step / batches_per_epoch;
    permutation_ = order_.permutation(owner_.data_.train, epoch_);
  }
  const auto first = permutation_.begin() + (step % batches_per_epoch) * batch;
  auto made = std::make_shared<Step>();
  made->batch =
      owner_.make_batch(data_.train, std::vector<long>(first, first + batch), step, true, observations_);
  made->input = owner_.network_input(made->batch);
  part.done();
  made->context = std::make_unique<RuleContext>(RuleContext{
      [this, &data = *made](const BoundParameters& bound) {
        PdeBatch bound_batch = data.batch;
        bound_batch.learned = owner_.learned_.values(bound);
        FaultProbe::layer_done("", {});
        return layer_.loss(owner_.model_->forward(bound, data.input), bound_batch);
      },
      parameters_, *optimizer_, owner_.model_context_->tiles, learning_rate, owner_.train_.clip, step});
  latest_ = made;
  return {made, made->context.get()};
}

Metrics PdeTraining::Steps::evaluate(std::int64_t, const std::function<void()>& between) {
  const Evaluation found = evaluator_(loop_.judged(), layer_, data_.validation, nullptr, between);
  found.missing.warn(context_.log, owner_.variant_, context_.seed);
  return {{"rel_l2_validation", mean(found.measures[rel_l2])}};
}

void PdeTraining::Steps::record(std::int64_t step, const StepOutcome&, bool interrupted, Metrics& row) {
  const std::vector<double> learned = owner_.learned_.values(parameters_);
  for (int l = 0; l < owner_.learned_.size(); ++l)
    row.emplace_back("learned_" + owner_.learned_.names()[l], learned[l]);
  if (interrupted) return;  // what an interrupted solve leaves depends on who solved what
  const BatchStatistics statistics = layer_.statistics();
  owner_.record_experts(context_, step, statistics);
  for (const ExpertStatistics& s : statistics)
    for (int i = 0; i < solve_status_count; ++i) status_total_[i] += s.status_count[i];
}

FoundFault PdeTraining::Steps::find_fault(RuleContext& made, const StepOutcome& outcome,
                                          const std::optional<SharedNumericalError>& thrown,
                                          FaultReport report) {
  const FailedStep failed{.rule = *rule_,
                          .context = made,
                          .guard = *made.guard,
                          .outcome = outcome,
                          .inputs = {{"input of the network", latest_->input}},
                          .describe = {},
                          .thrown = thrown};
  return owner_.find_fault(context_.communicator, latest_->batch, layer_, failed, report);
}

Metrics PdeTraining::run(RunContext& context) {
  const Communicator& communicator = context.communicator;
  const Stopwatch whole;
  FaultHandler::require_checkpoints(context, train_.on_fault);
  const bool reads_wall = formulation_.collocated() && formulation_.collocation.right_bc_loss == "reference";
  const std::shared_ptr<const PdeData> shared =
      shared_pde_data(data_key_, data_, *pde_, communicator, grid_.cells, times_, reads_wall,
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

  const StorageModel storage(pde, grid_.cells, times_, formulation_.theta, formulation_.implicit_steps,
                             formulation_.march);
  const std::unique_ptr<ConstraintLayer> layer =
      make_constraint_layer(formulation_, storage, communicator, *tiles_, learned_.indices(),
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

  ParameterSet parameters = first_parameters(communicator, context.seed);
  const ParameterSet untrained = parameters.clone();
  Steps steps(*this, context, data, observations, *layer, parameters, evaluate);
  steps.train();

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
    if (measured(row, data_, convects_, pde_->data_cells()))
      out.emplace_back(row.name, data.check.*row.value);
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
  const int cells = grid_.cells;
  std::vector<double> ids, x(cells);
  for (int s = 0; s < save; ++s) ids.push_back(static_cast<double>(data.test.ids[s]));
  for (int i = 0; i < cells; ++i) x[i] = pde_->length() * (i + 0.5) / cells;
  const std::vector<Coordinate> coordinates{{"sample_id", ids, "1", "test sample"},
                                            {"t", data.times, pde_->time_unit(), "time"},
                                            {"x", x, pde_->length_unit(), "cell centre"}};
  const int m = pde_->unknowns();
  const size_t count = static_cast<size_t>(save) * data.times.size() * cells;
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
  const auto edges = [&](int parts) {
    std::vector<double> at;
    for (int i = 0; i <= parts; ++i) at.push_back(pde_->length() * i / parts);
    return at;
  };
  context.results.field_edges("tile_edges_x", edges(grid_.tiles[1]));
  context.results.field_edges("expert_edges_x", edges(formulation_.soft() ? 1 : formulation_.experts[1]));
}

}  // namespace rankine
