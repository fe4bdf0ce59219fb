#include "src/experiments/training.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/clock.hpp"
#include "src/core/memory.hpp"
#include "src/core/statistics.hpp"
#include "src/nn/csr.hpp"
#include "src/nn/softmax.hpp"
#include "src/nn/synaptic_flow.hpp"
#include "src/run/match.hpp"
#include "src/tensor/profile.hpp"
#include "src/train/course.hpp"
#include "src/train/gradient_health.hpp"
#include "src/train/loop.hpp"
#include "src/train/start.hpp"
#include "src/train/weight_evidence.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// [n, ...] as [L, n / L, ...].
Tensor in_shards(const Tensor& x, std::int64_t shards) {
  Shape shape = x.shape();
  shape[0] /= shards;
  shape.insert(0, shards);
  return reshape(x, shape);
}

/// The local parts [L, ...] of all ranks end to end. Collective.
Tensor gathered(const Communicator& communicator, const Tensor& local) {
  StateValue value = value_of(local);
  value.shape[0] = communicator.sum(value.shape[0]);
  const std::vector<std::byte> all = communicator.all_gather_varying(std::span<const std::byte>(value.bytes));
  return Tensor::from_bytes(all, Shape(value.shape), value.type);
}

std::int64_t edges_of(const std::shared_ptr<const Graph>& graph) {
  return graph ? graph->pattern->entries() : 0;
}

/// Variants with the same `data:` share one data set.
std::shared_ptr<const Dataset> shared_dataset(const DeckNode& node, const DatasetContext& context) {
  static std::map<std::string, std::weak_ptr<const Dataset>> known;
  std::shared_ptr<const Dataset> made = datasets().make(node, context);
  std::weak_ptr<const Dataset>& entry = known[node.yaml()];
  if (std::shared_ptr<const Dataset> before = entry.lock()) return before;
  entry = made;
  return made;
}

}  // namespace

void TrainingOptions::options(OptionVisitor& o) {
  o("epochs", epochs, {.help = "passes over the training examples", .min = 0});
  o("steps", steps, {.help = "training steps, instead of epochs (0: as many as the epochs have)", .min = 0});
  o("longest_phase", longest_phase,
    {.help =
         "phases and the places of their snapshots are cut to this many steps, for smoke sizes; 0: no bound",
     .unit = "steps",
     .min = 0});
  o("repeat", repeat, {.help = "how often train.phases are gone through, one after the other", .min = 1});
  o("batch", batch, {.help = "examples a step, over all shards; 0: all there are", .min = 0});
  o("drop_last", drop_last,
    {.help =
         "leave out what does not fill a batch at the end of an epoch; otherwise the next one fills it up"});
  o("shards", shards,
    {.help =
         "equal parts of the batch that are dealt to ranks; part of the result, unlike the number of ranks",
     .min = 1});
  o("learning_rate", learning_rate,
    {.help = "learning rate before the schedule's factor", .min = 0, .exclusive_min = true});
  o("clip", clip, {.help = "bound of the gradient's norm (0: none)", .min = 0});
  o("evaluate_every", evaluate_every,
    {.help = "steps between evaluations on the validation split (0: once an epoch)",
     .unit = "steps",
     .min = 0});
  o("evaluate_training", evaluate_training,
    {.help = "whether the scores on the training examples are measured at the end, without data.transforms"});
  o("evaluation_batch", evaluation_batch, {.help = "examples that an evaluation takes at once", .min = 1});
  o("on_fault", on_fault,
    {.help =
         "a step in which a NaN or an infinity arises: end with exit code 2; leave its update out (of a "
         "rule with local updates, those of the blocks where it arose and above); or go back to the newest "
         "checkpoint, with a smaller learning rate",
     .choices = {"stop", "skip", "rewind"}});
  o.group("faults", faults, "how often, for on_fault: skip and rewind");
  o.group("health", health, "gradient health of the blocks");
  initial.options(o);
}

namespace {}  // namespace

void Training::describe(OptionVisitor& o) {
  struct Train : TrainingOptions {
    void options(OptionVisitor& v) {
      TrainingOptions::options(v);
      Phases::describe(v);
      v.group(
          "distill", distill,
          "a teacher, whose outputs are learned beside the targets; also `model`, the teacher's, where it "
          "is not the same");
      Critic::describe(v);
    }
    DistillOptions distill;
  } train;
  StartOptions start;
  struct : NetworkOptions {
    std::vector<ParametriseOptions> items = std::vector<ParametriseOptions>(1);
    void options(OptionVisitor& v) {
      NetworkOptions::options(v);
      v.list("parametrise", items,
             "weights that are expressions of several parameters; also `as`, see `rankine list "
             "parametrisation`");
    }
  } model;
  start.options(o);
  o.group(
      "train", train,
      fmt::format(
          "training; also rule, optimizer, schedule, loss (or a list of losses, each with a `weight`), the "
          "lists penalties and data.transforms, {}, and beside `train` a list of `probes`, see "
          "`rankine list`",
          StepMechanisms::help)
          .c_str());
  MatchOptions match;
  o.group("match", match,
          "widths of the model, chosen so that a count comes nearest to another variant's; the resolved deck "
          "has the widths in its place");
  std::vector<std::string> after;
  o("after", after,
    {.help = "transforms of the finished network, each a name or a mapping, see `rankine list "
             "network_transform`: how large and fast it becomes is measured; the results hold the network as "
             "it was trained"});
  SparsityOptions sparsity;
  o.group(
      "sparsity", sparsity,
      "weights held at zero; also criterion, schedule, structure, refine and regrow (and its `drop`, the criterion of "
      "what is removed for it), see `rankine list`");
  o.group("model", model,
          "the network; `blocks` is a list of layers, see `rankine list`, each n times in a row "
          "with `repeat: n`");
}

Training::Training(const DeckNode& variant, const ExperimentSetup& setup) : variant_(setup.variant) {
  const DeckNode data = variant.child("data"), train = variant.section("train");
  data.has("transforms");  // known here, and not to data sets
  data_ = shared_dataset(data, {setup.communicator, setup.smoke});
  transforms_ = Transforms(data, *data_);
  const DeckNode rule = train.section("rule"), optimizer = train.section("optimizer");
  make_rule_ = [rule] { return rules().make_or("backprop", rule); };
  make_optimizer_ = [optimizer] { return optimizers().make_or("adam", optimizer); };
  make_optimizer_();
  const std::unique_ptr<LearningRule> learning_rule = make_rule_();
  if (transforms_.need_past() && !learning_rule->evaluates_loss())
    data.error_at("transforms",
                  "past_outputs: this learning rule does not see the outputs of the whole network; "
                  "use backprop or lbfgs");
  Shape input;
  try {
    input = learning_rule->network_input(data_->input_shape());
  } catch (const InputError& error) {
    train.error_at("rule", error.what());
  }
  model_ = variant.child("model").copy();
  network_ = std::make_unique<Network>(read_network(variant.child("model"), input));
  const bool on_graph = data_->graph(0, network_->dtype()) != nullptr;
  for (int b = 0; b < network_->size(); ++b) {
    if (network_->block(b).needs_graph() && !on_graph)
      variant.child("model").error_at(
          "blocks",
          fmt::format("{} works on the nodes of a graph, and this data set gives none; use csbm, or "
                      "blocks for vectors, images or sequences",
                      network_->block(b).name()));
  }
  if (on_graph && !(input == data_->input_shape()))
    train.error_at("rule",
                   "this learning rule takes samples apart, which the nodes of a graph cannot be; use "
                   "backprop");
  if (on_graph && variant.has("probes"))
    variant.error_at("probes", "probes: there is none for the nodes of a graph; leave them out");
  try {
    make_optimizer_()->check_groups(network_->initial_parameters(0));
  } catch (const InputError& error) {
    train.error_at("optimizer", error.what());
  }
  loss_ = read_loss(train, data_->classes() > 0 ? "cross_entropy" : "mean_squared_error");
  penalties_ = Penalties(train, network_->initial_parameters(0));
  if (!penalties_.none() && !learning_rule->evaluates_loss())
    train.error_at("penalties",
                   "penalties: this learning rule does not form the loss of the whole network; use "
                   "backprop or lbfgs");
  if (network_->sides().penalty && !learning_rule->evaluates_loss())
    variant.child("model").error_at(
        "blocks",
        "a block adds an entropy to the loss, and this learning rule does not form "
        "the loss of the whole network; use backprop or lbfgs, or entropy: 0");
  std::shared_ptr<const Schedule> schedule = schedules().make_or("constant", train.section("schedule"));
  const bool has_phases = train.has("phases"), has_critic = train.has("critic");
  mechanisms_ = StepMechanisms(train, *learning_rule, network_->initial_parameters(0));
  read_teacher(train, *learning_rule);
  train.read(train_);
  if (train_.batch == 0) train_.batch = static_cast<int>(data_->size(Split::training));
  reject_unused_options(*learning_rule, train);

  const bool trains = train_.steps > 0 || train_.epochs > 0 || has_phases;
  if (trains && train_.drop_last && train_.batch > data_->size(Split::training))
    train.error_at("batch", fmt::format("batch: {} is more than the {} training examples", train_.batch,
                                        data_->size(Split::training)));
  if (train_.batch % train_.shards != 0)
    train.error_at("shards", fmt::format("shards: {} do not divide the batch of {}; choose a divisor of it",
                                         train_.shards, train_.batch));
  if (has_critic) read_critic(train.child("critic"), *learning_rule);
  try {
    for (int b = 0; b < network_->size(); ++b) network_->block(b).check_batch(train_.batch, train_.shards);
    loss_->check(learning_rule->prediction(*network_, data_->classes()), data_->classes(),
                 data_->target_shape());
  } catch (const InputError& error) {
    variant.child("model").error_at("blocks", error.what());
  }
  read_phases(train, std::move(schedule), has_phases, *learning_rule);
  read_sparsity(variant, *learning_rule);
  read_after(variant);
  if (train_.initial.given() && !start_.empty())
    train.error_at("weights", "weights: the run begins with the snapshot of `start`; leave one of them out");
  train_.initial.check(train, setup.communicator, setup.seeds, network_->initial_parameters(0));
  if (sparsifier_ && sparsifier_->needs(Evidence::flow) &&
      rule_setup(setup.communicator, 0).inputs == DType::i32)
    variant.child("sparsity")
        .error_at("criterion",
                  "synflow: the network takes tokens, and not the ones that the flow begins "
                  "with; use another criterion, such as magnitude");
  if (sparsifier_ && sparsifier_->needs(Evidence::movement) && !learning_rule->evaluates_loss())
    variant.child("sparsity")
        .error_at("criterion",
                  "movement: this learning rule does not form the gradient of the whole network's loss; use "
                  "backprop, or another criterion, such as magnitude");
  if (sparsifier_ && sparsifier_->needs(Evidence::inputs)) {
    InputStatistics seen;
    collect_inputs(*learning_rule, network_->initial_parameters(0), 0, std::vector<std::int64_t>{0}, seen);
    sparsifier_->check_inputs(variant.child("sparsity"), seen);
  }
  const int ranks = setup.communicator.size();
  if (learning_rule->spreads_blocks()) {
    if (network_->parametrised())
      variant.child("model").error_at(
          "parametrise",
          "parametrise: this learning rule deals the blocks to ranks with parameters of their own; allowed "
          "are rules whose ranks share the batch, such as backprop");
    shards_ = local_tile_sum(train_.shards);
  } else {
    if (ranks > train_.shards)
      train.error_at(
          "shards",
          fmt::format("shards: {}, but there are {} ranks; a rank needs a shard at least, so use fewer "
                      "ranks or more shards (which are part of the result)",
                      train_.shards, ranks));
    const BlockPartition dealt(train_.shards, ranks);
    first_shard_ = dealt.begin(setup.communicator.rank());
    shards_ = distributed_tile_sum(TileTree(setup.communicator, dealt));
  }
  try {
    learning_rule->check(rule_setup(setup.communicator, 0));
  } catch (const InputError& error) {
    train.error_at("rule", error.what());
  }
  probed_ = std::make_unique<ProbeSetup>(ProbeSetup{*network_, *data_, *loss_, train_.evaluation_batch});
  for (const Phase& phase : phases_->all()) probed_->snapshots.insert(phase.saves.begin(), phase.saves.end());
  make_probes_ = [variant, probed = probed_.get()] { return ProbeList(variant, *probed); };
  make_probes_();
  variant.reject_unread_keys();
}

DType Training::input_type(std::uint64_t seed) const {
  return data_->examples(Split::training, std::vector<std::int64_t>{0}, network_->dtype(), seed)
      .inputs.dtype();
}

RuleSetup Training::rule_setup(const Communicator& communicator, std::uint64_t seed) const {
  return {.communicator = communicator,
          .shards = shards_,
          .shard_count = train_.shards,
          .batch = train_.batch,
          .seed = seed,
          .steps = steps(),
          .network = network_.get(),
          .inputs = input_type(seed),
          .loss = taught_ ? static_cast<const Loss*>(taught_.get()) : loss_.get(),
          .graph = data_->graph(seed, network_->dtype()),
          .make_optimizer = make_optimizer_};
}

void Training::read_phases(const DeckNode& train, std::shared_ptr<const Schedule> schedule, bool given,
                           const LearningRule& rule) {
  if (!given) {
    if (train_.repeat > 1) train.error_at("repeat", "repeat goes through train.phases, which is not given");
    phases_.emplace(train_.steps > 0 ? train_.steps : train_.epochs * steps_per_epoch(), train_.learning_rate,
                    std::move(schedule));
    return;
  }
  for (const char* key : {"steps", "epochs"})
    if (train.has(key))
      train.error_at(key, fmt::format("{}: train.phases say how long training takes; leave it out", key));
  if (rule.spreads_blocks())
    train.error_at("phases",
                   "phases: this learning rule keeps optimisers of its own, which a phase cannot begin anew; "
                   "allowed are rules whose ranks share the batch, such as backprop");
  phases_.emplace(train, train_.repeat, steps_per_epoch(), train_.learning_rate, train_.longest_phase);
  for (const Phase& phase : phases_->all()) {
    if (phase.transform && !phase.transform->keeps_model())
      train.error_at("phases",
                     "phases: transform: gives another network, which training cannot go on with; allowed is "
                     "permute. `after` makes others of a finished network");
    if (phase.transform && model_.has("parametrise"))
      train.error_at(
          "phases",
          "phases: transform: a network whose weights are expressions is not transformed; leave it out");
    if (mechanisms_.average && (phase.transform || phase.options.other_weights()))
      train.error_at("average",
                     "average: a phase takes other weights, which have no mean with those before; leave out "
                     "the average, or start a variant from a snapshot instead");
  }
}

void Training::read_sparsity(const DeckNode& variant, const LearningRule& rule) {
  StartOptions start;
  start.options(*variant.reader());
  start_ = start.start;
  if (!start_.empty() && start_.find('@') == std::string::npos)
    variant.error_at(
        "start", "start: '" + start_ + "' names no variant; allowed: VARIANT@SNAPSHOT, such as dense@end");
  if (variant.has("sparsity")) {
    const std::vector<std::string> unused = rule.unused_options();
    if (std::find(unused.begin(), unused.end(), "optimizer") != unused.end())
      variant.error_at("sparsity",
                       "sparsity: this learning rule makes its steps without the optimiser that would hold "
                       "weights at zero; use another rule");
    sparsifier_ = std::make_unique<Sparsifier>(variant.child("sparsity"), network_->initial_parameters(0));
  }
  check_course(variant, *phases_, sparsifier_.get());
  // The deck tells the density at the end, unless a rate prunes or masks come from a snapshot.
  final_density_ = 1;
  if (!sparsifier_) return;
  for (const auto& [step, density] : sparsifier_->events())
    final_density_ = std::min(*final_density_, density);
  for (const Phase& phase : phases_->all()) {
    if (!phase.sparsify || !final_density_) continue;
    if (phase.sparsify->density) final_density_ = std::min(*final_density_, *phase.sparsify->density);
    if (phase.sparsify->rate) final_density_.reset();
  }
  if (!start_.empty()) final_density_.reset();
}

void Training::read_after(const DeckNode& variant) {
  if (!variant.has("after")) return;
  const DeckNode list = variant.child("after");
  if (!list.is_sequence()) list.error("'after' must be a list, such as [fold_norm, compact]");
  for (const DeckNode& item : list.items()) after_.push_back(network_transforms().make(item));
  try {
    static_cast<void>(transformed(network_->initial_parameters(0), 0).network());
  } catch (const InputError& error) {
    list.error(std::string("after: ") + error.what());
  }
}

FinishedNetwork Training::transformed(const ParameterSet& parameters, std::uint64_t seed) const {
  FinishedNetwork out(model_, network_->input(), parameters);
  for (const auto& transform : after_) transform->apply(out, seed);
  return out;
}

CompactNetwork Training::compacted(const std::string& file, const std::string& group,
                                   std::int64_t done) const {
  std::vector<std::int64_t> changes;
  if (sparsifier_) {
    for (const auto& [step, density] : sparsifier_->events()) changes.push_back(step);
    const std::vector<std::int64_t> moves = sparsifier_->regrowth_steps(steps());
    changes.insert(changes.end(), moves.begin(), moves.end());
  }
  for (const Phase& phase : phases_->all())
    if (phase.sparsify) changes.push_back(phase.begin);
  for (const std::int64_t step : changes)
    if (step >= done && done < steps())
      throw InputError(
          fmt::format("{}: is the state after {} of {} steps, and its masks change before step {}; take the "
                      "results of the run, or a checkpoint after that step",
                      file, done, steps(), step));
  ParameterSet parameters = network_->initial_parameters(0);
  load_weights(Communicator::alone(), file, group, 0, parameters);
  FinishedNetwork network(model_, network_->input(), parameters);
  Compact().apply(network, 0);
  KeepNonZeros({}).apply(network, 0);
  return {"model:\n" + network.model(2), network.parameters(network.network())};
}

void Training::read_teacher(const DeckNode& train, const LearningRule& rule) {
  if (!train.has("distill")) return;
  const DeckNode given = train.child("distill");
  if (rule.spreads_blocks())
    given.error(
        "distill: this learning rule trains blocks on their ranks, whose batches a teacher does not see; "
        "use a rule whose ranks share the batch, such as backprop");
  DistillOptions options;
  const bool own_model = given.has("model");
  options.options(*given.reader());
  const bool own = options.from == average_snapshot;
  if (own && !mechanisms_.average)
    given.error_at("from", "from: average: the network keeps none; give train.average: {name: ema}");
  if (!own && options.from.find('@') == std::string::npos)
    given.error_at("from",
                   "from: '" + options.from +
                       "' names no teacher; allowed: VARIANT@SNAPSHOT, such as teacher@end, and average");
  if (data_->classes() == 0 && options.temperature != 1)
    given.error_at(
        "temperature",
        "temperature: the targets of this data set are real numbers, which no softmax makes; leave "
        "it out");
  if (own_model) {
    if (own) given.error_at("model", "model: the average of a network is one as itself; leave it out");
    teacher_ = std::make_unique<Network>(read_network(given.child("model"), network_->input()));
    if (!(teacher_->output() == network_->output()) || teacher_->dtype() != network_->dtype())
      given.error_at("model", fmt::format("model: the teacher gives outputs {} in {} where the network gives "
                                          "{} in {}; they must be the same",
                                          teacher_->output().text(), name_of(teacher_->dtype()),
                                          network_->output().text(), name_of(network_->dtype())));
  }
  given.reject_unread_keys();
  if (options.weight == 0) return;
  taught_ = std::make_unique<DistilledLoss>(*loss_, options, data_->classes());
  teacher_from_ = options.from;
}

void Training::read_critic(const DeckNode& given, const LearningRule& rule) {
  if (!rule.evaluates_loss())
    given.error(
        "critic: this learning rule does not form the loss of the whole network; use backprop or lbfgs");
  if (data_->classes() > 0 || !(data_->target_shape() == network_->output()))
    given.error(fmt::format(
        "critic: the network gives outputs {}, and the targets of this data set are {}; a critic "
        "compares real outputs with real targets of their shape, as those of sine or teacher",
        network_->output().text(), data_->classes() > 0 ? "classes" : data_->target_shape().text()));
  auto critic = std::make_unique<Critic>(given, *network_, input_type(0), train_.batch, train_.shards);
  if (critic->options().weight > 0) critic_ = std::move(critic);
}

std::vector<std::string> Training::snapshots() const {
  std::vector<std::string> out = phases_->snapshots();
  if (mechanisms_.average) out.emplace_back(average_snapshot);
  out.emplace_back(final_snapshot);
  return out;
}

std::vector<SnapshotEntry> Training::snapshot_layout() const {
  std::vector<SnapshotEntry> out;
  const ParameterSet parameters = network_->initial_parameters(0);
  const std::string type = name_of(parameters.dtype());
  for (const ParameterInfo& part : parameters.parts())
    out.push_back({"weights/" + part.name + " " + type, part.shape, network_->added(part.name)});
  if (sparsifier_)
    for (const std::string& name : sparsifier_->masked())
      out.push_back({"masks/" + name + " " + type, parameters.part(name).shape, true});
  return out;
}

std::vector<SnapshotEntry> Training::wanted_layout(const std::string& key) const {
  // A probe compares weights, which are masked already, as a teacher's are.
  const bool probe = key.starts_with("probes[");
  if (key != "train.distill.from" && !probe) return snapshot_layout();
  std::vector<SnapshotEntry> out;
  const Network& network = probe ? *network_ : teacher_network();
  const ParameterSet parameters = network.initial_parameters(0);
  const std::string type = name_of(parameters.dtype());
  for (const ParameterInfo& part : parameters.parts()) {
    out.push_back({"weights/" + part.name + " " + type, part.shape, probe && network_->added(part.name)});
    out.push_back({"masks/" + part.name + " " + type, part.shape, true});
  }
  return out;
}

std::vector<MetricInfo> Training::metrics() const {
  std::vector<MetricInfo> out;
  for (const Split split : {Split::test, Split::validation}) {
    const std::string name = name_of(split);
    const bool none = data_->size(split) == 0;
    out.push_back({name + "_loss", "1", "mean loss on the " + name + " examples", false, none});
    for (const auto& [score, help] : loss_->scores())
      out.push_back({name + "_" + score, "1", help + ", " + name + " examples", false, none});
  }
  if (train_.evaluate_training)
    for (const auto& [score, help] : loss_->scores())
      out.push_back({"training_" + score, "1", help + ", training examples"});
  out.push_back({"training_loss", "1", "mean loss of the last tenth of the steps", false, true});
  if (critic_)
    out.push_back({"critic_loss", "1",
                   "mean loss of the critic in the last tenth of the steps; of one that cannot tell outputs "
                   "from targets 2 log 2 (logistic), 1/4 (least_squares), 2 (hinge) or 0 (wasserstein)",
                   false, true});
  out.push_back({"parameters", "1", "trainable numbers of the network"});
  out.push_back({"nonzeros", "1", "trainable numbers that are not held at zero"});
  out.push_back(
      {"parameter_bytes", "B", "all parameters; masked ones as non-zeros and a bit for each entry"});
  out.push_back({"forward_multiply_adds", "1",
                 "multiply-adds of one pass over one sample, without those by masked weights"});
  out.push_back({"multiply_adds", "1", "multiply-adds of a training step, all ranks together", false, true});
  out.push_back({"health_alarms", "1", "blocks whose gradient vanished or exploded, or whose units died"});
  out.push_back({"steps_skipped", "1", "steps without an update because something was not finite"});
  out.push_back({"rewinds", "1", "times that training went back to a checkpoint because of that"});
  if (sparsifier_) out.push_back({"density", "1", "part of the weights of `sparsity` that is left"});
  if (!after_.empty()) {
    out.push_back({"after_parameters", "1", "trainable numbers after the transforms of `after`"});
    out.push_back({"after_multiply_adds", "1", "forward multiply-adds of a sample after them"});
    out.push_back({"after_difference", "1",
                   "largest change of an output by them over the largest output, of an evaluation's batch"});
    out.push_back({"after_speedup", "1", "time of a forward pass before them over that after", true});
  }
  const std::vector<MetricInfo> of_rule = make_rule_()->metrics();
  out.insert(out.end(), of_rule.begin(), of_rule.end());
  const std::vector<MetricInfo> of_probes = make_probes_().metrics();
  out.insert(out.end(), of_probes.begin(), of_probes.end());
  out.push_back(
      {"arena_peak", "B",
       "most bytes that a step held at once on a rank, its batch and gradient included, beside what "
       "lives between steps: parameters, the optimiser's state, data",
       true, true});
  out.push_back({"seconds_per_step", "s", "median wall time of a training step", true, true});
  out.push_back({"samples_per_second", "1/s", "batch over that", true, true});
  out.push_back({"peak_memory", "B", "largest memory of a rank", true});
  return out;
}

std::vector<Counts> Training::planned_counts(const ParameterSet& parameters) const {
  KeptEntries kept;
  if (sparsifier_ && final_density_) kept = sparsifier_->kept_at(*final_density_);
  return count_network(*network_, parameters, kept, edges_of(data_->graph(0, network_->dtype())));
}

std::map<std::string, double> Training::counts() const {
  const Counts all = planned_counts(network_->initial_parameters(0)).back();
  std::map<std::string, double> out{{"parameters", all.parameters}};
  if (!final_density_) return out;
  out["nonzeros"] = all.nonzeros;
  if (!sparsifier_ || !sparsifier_->scores_share_out())
    out["forward_multiply_adds"] = all.forward_multiply_adds;
  return out;
}

RunEstimate Training::estimate() const {
  RunEstimate e;
  e.partition = fmt::format("{} shards of {} examples", train_.shards, train_.batch / train_.shards);
  const ParameterSet parameters = network_->initial_parameters(0);
  const double count = static_cast<double>(parameters.count());
  // The cost of one example, forward; a step has about three times that.
  const CostAccount account;
  const std::size_t live = memory_account().live;
  reset_memory_peak();
  Pass pass{.shards = local_tile_sum(1)};
  pass.training = true;
  pass.update_statistics = false;
  pass.graph = data_->graph(0, network_->dtype());
  const std::vector<std::int64_t> first{0};
  const Tensor x = in_shards(data_->examples(Split::training, first, network_->dtype()).inputs, 1);
  const Tensor y = make_rule_()->predict(*network_, parameters.bind(pass.shards), x, pass);
  const double bytes = static_cast<double>(memory_account().peak - live);
  const double local =
      static_cast<double>(train_.batch) / train_.shards * static_cast<double>(shards_->local_tiles());
  e.bytes_per_rank = 64e6 + 40 * count + 2 * bytes * local;
  e.seconds_per_seed = static_cast<double>(steps()) * local * 3 * account.total().flops / 5e9;
  for (const Counts& counts : planned_counts(parameters))
    if (counts.parameter_bytes > 0 || counts.forward_multiply_adds > 0)
      e.counts += fmt::format("  {:10} {:14.0f} {:10.0f} {:10.0f} {:12.0f}\n", counts.name,
                              counts.forward_multiply_adds, counts.parameters, counts.nonzeros,
                              counts.parameter_bytes);
  if (!final_density_)
    e.counts += "  before any pruning: how much is left is known after training only\n";
  else if (sparsifier_ && sparsifier_->scores_share_out())
    e.counts += "  as if each layer had the density that all have together\n";
  e.file_bytes = static_cast<std::uint64_t>(8 * count + 64.0 * static_cast<double>(steps()) +
                                            16.0 * static_cast<double>(data_->size(Split::test)));
  return e;
}

NetworkBatch Training::batch(std::uint64_t seed, std::int64_t step, const BatchOrder& order,
                             const PastOutputs* past) const {
  const std::int64_t local = shards_->local_tiles(), in_shard = train_.batch / train_.shards;
  const std::int64_t begin = first_shard_ * in_shard, count = local * in_shard;
  const DType type = network_->dtype();
  const bool whole = transforms_.mix();
  const std::vector<std::int64_t> which = whole ? order.batch(step) : order.part(step, begin, count);
  Examples examples = data_->examples(Split::training, which, type, seed, step);
  if (!transforms_.none()) {
    const std::int64_t epochs = (steps() + steps_per_epoch() - 1) / steps_per_epoch();
    examples = transforms_.apply(
        examples, which, data_->classes(), type,
        {.seed = seed, .step = step, .epoch = step / steps_per_epoch() + 1, .epochs = epochs, .past = past});
    if (whole) {
      examples.inputs = slice(examples.inputs, 0, begin, begin + count);
      examples.targets = slice(examples.targets, 0, begin, begin + count);
      examples.ids = {examples.ids.begin() + begin, examples.ids.begin() + begin + count};
    }
  }
  return {in_shards(examples.inputs, local), in_shards(examples.targets, local), std::move(examples.ids)};
}

Training::Evaluation Training::evaluate(LearningRule& rule, std::uint64_t seed,
                                        const ParameterSet& parameters, Split split,
                                        const Communicator& communicator,
                                        const std::function<void()>& between, ProbeList* probes) const {
  const NoGrad off;
  const SharedTileSum one = local_tile_sum(1);
  const BoundParameters bound = parameters.bind(one);
  const std::size_t scores = loss_->scores().size();
  std::vector<std::vector<double>> local(1 + scores);
  const auto append = [](std::vector<double>& to, const Tensor& values) {
    const std::vector<double> v = values.to_vector();
    to.insert(to.end(), v.begin(), v.end());
  };
  const std::shared_ptr<const Graph> graph = data_->graph(seed, network_->dtype());
  deal_examples(
      communicator, *data_, split, data_->size(split), train_.evaluation_batch, network_->dtype(), between,
      [&](const Examples& examples) {
        Pass pass{.shards = one};
        pass.samples = examples.ids;
        pass.graph = graph;
        const Tensor outputs =
            predict_mean(rule, *network_, bound, examples.inputs, pass, data_->classes() > 0);
        append(local[0], loss_->per_sample(outputs, examples.targets, 2));
        const std::vector<Tensor> scored = loss_->score(outputs, examples.targets, 2);
        for (std::size_t s = 0; s < scores; ++s) append(local[1 + s], scored[s]);
        if (probes != nullptr) probes->see(split, {examples.inputs, examples.targets, outputs, examples.ids});
      },
      graph ? seed : 0);
  if (probes != nullptr) probes->conclude(split);
  Evaluation out;
  out.losses = communicator.all_gather_varying(std::span<const double>(local[0]));
  out.loss = mean(out.losses);
  for (std::size_t s = 0; s < scores; ++s) {
    out.score_values.push_back(communicator.all_gather_varying(std::span<const double>(local[1 + s])));
    out.scores.push_back(mean(out.score_values.back()));
  }
  return out;
}

Tensor Training::example_gradient(LearningRule& rule, const ParameterSet& parameters, std::uint64_t seed,
                                  std::int64_t example) const {
  const std::int64_t which[] = {example};
  const Examples one = data_->examples(Split::training, which, network_->dtype(), seed);
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = one.ids;
  pass.graph = data_->graph(seed, network_->dtype());
  const BoundParameters bound = parameters.bind(pass.shards);
  const Tensor outputs = rule.predict(*network_, bound, in_shards(one.inputs, 1), pass);
  const Tensor loss = sum(loss_->per_sample(outputs, in_shards(one.targets, 1), 2));
  return grad({loss}, {Tensor()}, {bound.flat()}).front();
}

void Training::collect_inputs(LearningRule& rule, const ParameterSet& parameters, std::uint64_t seed,
                              std::span<const std::int64_t> which, InputStatistics& to) const {
  const NoGrad off;
  const Examples examples = data_->examples(Split::training, which, network_->dtype(), seed);
  Pass pass{.shards = local_tile_sum(1)};
  pass.samples = examples.ids;
  pass.graph = data_->graph(seed, network_->dtype());
  pass.inputs = &to;
  rule.predict(*network_, parameters.bind(pass.shards), in_shards(examples.inputs, 1), pass);
}

/// One seed.
class Training::Run final : public TrainingTask {
 public:
  Run(const Training& owner, RunContext& context)
      : owner_(owner),
        context_(context),
        communicator_(context.communicator),
        seed_(static_cast<std::uint64_t>(context.seed)),
        parameters_(owner.network_->initial_parameters(seed_)),
        setup_(owner.rule_setup(communicator_, seed_)),
        rule_(owner.make_rule_()),
        optimizer_(owner.make_optimizer_()),
        course_({.context = context,
                 .phases = *owner.phases_,
                 .sparsifier = owner.sparsifier_.get(),
                 .start = owner.start_,
                 .parameters = parameters_,
                 .optimizer = *optimizer_,
                 .initial = [this](std::uint64_t seed) { return owner_.network_->initial_parameters(seed); },
                 .evidence = [this](Evidence needs, int batches,
                                    std::int64_t first) { return evidence(needs, batches, first); },
                 .loss = [this](int batches) { return loss(batches); },
                 .inputs = [this](int batches) { return inputs(batches); },
                 .transform =
                     [this](const NetworkTransform& how) {
                       FinishedNetwork network(owner_.model_, owner_.network_->input(), parameters_);
                       how.apply(network, seed_);
                       network.write(parameters_);
                     }}),
        probes_(owner.make_probes_()) {
    owner.train_.initial.load(communicator_, context.seed, parameters_);
    rule_->begin(setup_, parameters_);
    if (owner.taught_ && owner.teacher_from_ != average_snapshot) {
      teacher_ = owner.teacher_network().initial_parameters(seed_);
      const StateSnapshot from = course_.snapshot(owner.teacher_from_);
      for (const ParameterInfo& part : teacher_->parts())
        teacher_->view(part).assign_bytes(from.at("weights/" + part.name).bytes);
    }
    if (owner.critic_) {
      critic_.emplace(*owner.critic_, setup_, [this](std::int64_t number, std::int64_t step) {
        return seen_by_critic(number, step);
      });
      context.checkpoint.state().add("metrics/critic_loss", StateKind::replicated, critic_losses_);
    }
    if (!owner.transforms_.need_past()) return;
    past_.emplace(owner.data_->size(Split::training), owner.data_->classes());
    past_->register_state(context.checkpoint.state());
  }

  double learning_rate(std::int64_t step) const override {
    return owner_.phases_->at(step).learning_rate(step);
  }
  std::shared_ptr<RuleContext> prepare(std::int64_t step, double learning_rate) override;
  Metrics evaluate(std::int64_t done, const std::function<void()>& between) override;
  void record(std::int64_t step, const StepOutcome& outcome, bool interrupted, Metrics& row) override;
  FoundFault find_fault(RuleContext& made, const StepOutcome& outcome,
                        const std::optional<SharedNumericalError>& thrown, FaultReport report) override;
  Metrics run();

 private:
  /// Compares the finished network with what the transforms of `after` make of it.
  void measure_after(Metrics& out);
  /// The data of a step. A rule may work on it on another rank, and later than its turn.
  struct Step {
    NetworkBatch batch;
    Pass pass;
    std::unique_ptr<RuleContext> context;
    SideOutputs side = {};
  };
  /// What a sparsifier judges weights by, over so many batches from the one of step `first` on.
  Tensor evidence(Evidence needs, int batches, std::int64_t first);
  /// The loss over the first `batches` batches.
  double loss(int batches);
  /// Statistics of the first `batches` batches. Each rank takes all of them, for the same bits on any number.
  InputStatistics inputs(int batches);
  /// A batch for the critic, from an order of its own, and the network's outputs for it, off the tape.
  std::pair<NetworkBatch, Tensor> seen_by_critic(std::int64_t number, std::int64_t step);
  /// Which examples the steps see, by the phase's data_seed; -1: those of the critic.
  const BatchOrder& order_of(int data_seed);
  /// Shards and samples of a finding.
  void place_finding(const FaultProbe::Finding& found, bool in_step, const NetworkBatch& batch,
                     const StepOutcome& outcome, FaultReport& to) const;

  const Training& owner_;
  RunContext& context_;
  const Communicator& communicator_;
  std::uint64_t seed_;
  ParameterSet parameters_;
  RuleSetup setup_;
  std::unique_ptr<LearningRule> rule_;
  std::unique_ptr<Optimizer> optimizer_;
  Course course_;
  std::map<int, BatchOrder> orders_;  // by data_seed
  std::optional<PastOutputs> past_;   // where a transform asks for them
  // The latest step's outputs of the local shards and examples of the batch, where something asks for them.
  Tensor outputs_;
  std::vector<std::int64_t> numbers_;
  std::optional<ParameterSet> teacher_;  // of another variant
  std::optional<CriticTurns> critic_;
  std::vector<double> critic_losses_;
  const ParameterSet* judged_ = &parameters_;
  ProbeList probes_;
};

const BatchOrder& Training::Run::order_of(int data_seed) {
  const TrainingOptions& train = owner_.train_;
  // Another number, another stream; 0 is the seed's own.
  const std::uint64_t seed = seed_ + static_cast<std::uint64_t>(data_seed) * 0x9E3779B97F4A7C15U;
  return orders_
      .try_emplace(data_seed, owner_.data_->size(Split::training), train.batch, seed, train.drop_last)
      .first->second;
}

Tensor Training::Run::evidence(Evidence needs, int batches, std::int64_t first) {
  if (needs == Evidence::flow) return synaptic_flow(*owner_.network_, parameters_, setup_.graph);
  if (needs == Evidence::squares) {
    std::vector<std::int64_t> examples;  // each rank takes all, for the same bits on any number
    for (std::int64_t step = first; step < first + batches; ++step) {
      const Phase& phase = owner_.phases_->at(step);
      const std::vector<std::int64_t> batch = order_of(phase.options.data_seed).batch(phase.key(step));
      examples.insert(examples.end(), batch.begin(), batch.end());
    }
    return mean_square(static_cast<std::int64_t>(examples.size()), [&](std::int64_t i) {
      return owner_.example_gradient(*rule_, parameters_, seed_, examples[static_cast<std::size_t>(i)]);
    });
  }
  std::shared_ptr<RuleContext> made;
  const NumberedLoss loss = [&](std::int64_t batch, const BoundParameters& bound) {
    made = prepare(first + batch, 0);
    made->pass->update_statistics = false;
    return made->loss(bound);
  };
  return needs == Evidence::gradient_rise ? gradient_rise(parameters_, owner_.shards_, batches, loss)
                                          : summed_gradient(parameters_, owner_.shards_, batches, loss);
}

double Training::Run::loss(int batches) {
  const NoGrad off;
  double sum = 0;
  for (int b = 0; b < batches; ++b) {
    const std::shared_ptr<RuleContext> made = prepare(b, 0);
    made->pass->update_statistics = false;
    sum += made->loss(parameters_.bind(owner_.shards_)).value.read();
  }
  return sum / batches;
}

InputStatistics Training::Run::inputs(int batches) {
  InputStatistics out;
  for (int b = 0; b < batches; ++b) {
    const std::vector<std::int64_t> which = order_of(owner_.phases_->at(b).options.data_seed).batch(b);
    owner_.collect_inputs(*rule_, parameters_, seed_, which, out);
  }
  return out;
}

std::shared_ptr<RuleContext> Training::Run::prepare(std::int64_t step, double learning_rate) {
  const Phase& phase = course_.turn_to(step);
  const std::int64_t key = phase.key(step);
  StepPart<"batch"> part;
  const BatchOrder& order = order_of(phase.options.data_seed);
  auto made = std::make_shared<Step>(
      Step{owner_.batch(seed_, key, order, past_ ? &*past_ : nullptr), {.shards = owner_.shards_}, nullptr});
  if (past_) numbers_ = order.batch(key);
  part.done();
  if (owner_.taught_) {
    const NoGrad off;
    Pass look{.shards = owner_.shards_};
    look.samples = made->batch.ids;
    look.graph = setup_.graph;
    const ParameterSet& teacher = teacher_ ? *teacher_ : *judged_;
    const Tensor outputs =
        rule_->predict(owner_.teacher_network(), teacher.bind(look.shards), made->batch.inputs, look);
    made->batch.targets = owner_.taught_->targets(made->batch.targets, outputs);
  }
  Pass& pass = made->pass;
  pass.training = true;
  pass.seed = seed_;
  pass.step = key;
  pass.samples = made->batch.ids;
  pass.graph = setup_.graph;
  if (owner_.network_->sides().penalty) pass.side = &made->side;
  made->context = std::make_unique<RuleContext>(RuleContext{
      [this, &data = *made](const BoundParameters& bound) {
        data.side = {};
        const Tensor outputs = owner_.network_->forward(bound, data.batch.inputs, data.pass);
        if (past_ && data.pass.update_statistics) outputs_ = outputs.detach();
        const Penalties& penalties = owner_.penalties_;
        Tensor added = penalties.none() ? Tensor() : penalties.of(bound, data.pass.step, owner_.steps());
        const Tensor& of_blocks = data.side.penalty;
        if (of_blocks.defined()) added = added.defined() ? add(added, of_blocks) : of_blocks;
        if (critic_) {
          const Tensor of_critic = critic_->loss_of_network(data.batch.inputs, outputs, data.pass);
          added = added.defined() ? add(added, of_critic) : of_critic;
        }
        return mean_loss(setup_, outputs, data.batch, added);
      },
      parameters_, *optimizer_, owner_.shards_, learning_rate, owner_.train_.clip, step, &made->batch,
      &pass});
  return {made, made->context.get()};
}

std::pair<NetworkBatch, Tensor> Training::Run::seen_by_critic(std::int64_t number, std::int64_t step) {
  const NoGrad off;
  NetworkBatch batch = owner_.batch(seed_, number, order_of(-1), nullptr);
  Pass pass{.shards = owner_.shards_};
  pass.training = true;
  pass.update_statistics = false;
  pass.seed = seed_;
  pass.step = step;
  pass.samples = batch.ids;
  const Tensor outputs = owner_.network_->forward(parameters_.bind(pass.shards), batch.inputs, pass);
  return {std::move(batch), outputs};
}

Metrics Training::Run::evaluate(std::int64_t, const std::function<void()>& between) {
  const Evaluation found =
      owner_.evaluate(*rule_, seed_, *judged_, Split::validation, communicator_, between);
  Metrics row{{"validation_loss", found.loss}};
  for (std::size_t s = 0; s < found.scores.size(); ++s)
    row.emplace_back("validation_" + owner_.loss_->scores()[s].first, found.scores[s]);
  return row;
}

void Training::Run::record(std::int64_t, const StepOutcome& outcome, bool, Metrics& row) {
  if (critic_) {
    critic_losses_.push_back(critic_->loss());
    row.emplace_back("critic_loss", critic_->loss());
  }
  if (!past_ || !outcome.updated) return;
  const NoGrad off;
  const std::vector<double> local = softmax(outputs_).to_vector(),
                            all = communicator_.all_gather_varying(std::span<const double>(local));
  const auto classes = static_cast<std::size_t>(past_->classes());
  for (std::size_t i = 0; i < numbers_.size(); ++i)
    past_->set(numbers_[i], std::span(all).subspan(i * classes, classes));
}

void Training::Run::place_finding(const FaultProbe::Finding& found, bool in_step, const NetworkBatch& batch,
                                  const StepOutcome& outcome, FaultReport& to) const {
  if (found.layer.starts_with("critic")) return;  // it is no parameter of the network
  if (place_parameter(found, parameters_, -1, to)) return;
  if (critic_) return;  // the sample may be one of the critic's batch
  // [shards, samples, ...], unless it might be a parameter.
  const Shape& shape = found.value.shape();
  const std::int64_t shards = outcome.fault ? outcome.fault->shards : owner_.shards_->local_tiles(),
                     first = outcome.fault ? outcome.fault->first_shard : 0,
                     in_shard = batch.inputs.extent(1);
  if (shape.rank() < 2 || shape[0] != shards || shape[1] != in_shard) return;
  const std::vector<ParameterInfo>& parts = parameters_.parts();
  Shape of_shard = shape;
  of_shard.erase(0);
  const bool like_parameter = std::any_of(parts.begin(), parts.end(),
                                          [&](const ParameterInfo& part) { return part.shape == of_shard; });
  if (in_step && like_parameter) return;
  const std::int64_t each = found.value.count() / (shards * in_shard), at = found.elements.first / each;
  to.sample = static_cast<long>(batch.ids[static_cast<std::size_t>(first * in_shard + at)]);
  to.element = found.elements.first % each;
  Shape sample = of_shard;
  sample.erase(0);
  const Tensor whole = found.value.clone();
  to.content = whole.view(sample, row_major_strides(sample), at * each).clone();
}

FoundFault Training::Run::find_fault(RuleContext& made, const StepOutcome& outcome,
                                     const std::optional<SharedNumericalError>& thrown, FaultReport report) {
  const NetworkBatch& batch = *made.batch;
  made.pass->update_statistics = false;
  FailedStep failed{.rule = *rule_,
                    .context = made,
                    .guard = *made.guard,
                    .outcome = outcome,
                    .inputs = {},
                    .thrown = thrown};
  failed.inputs = {{"the inputs of the batch", batch.inputs}, {"the targets of the batch", batch.targets}};
  failed.describe = [&](const FaultProbe::Finding& found, bool in_step, FaultReport& to) {
    place_finding(found, in_step, batch, outcome, to);
  };
  FoundFault out = rankine::find_fault(communicator_, failed, std::move(report));
  rule_->synchronise();                      // what is written down is the same on all ranks
  const auto whole = [&](const Tensor& x) {  // of all shards; where ranks share the blocks all have them
    return rule_->spreads_blocks() ? x.clone() : gathered(communicator_, x);
  };
  out.batch = {{"inputs", whole(batch.inputs)}, {"targets", whole(batch.targets)}};
  std::vector<std::int64_t> ids =
      rule_->spreads_blocks() ? batch.ids
                              : communicator_.all_gather_varying(std::span<const std::int64_t>(batch.ids));
  out.batch.emplace_back("ids", Tensor::from(ids, {static_cast<std::int64_t>(ids.size())}));
  return out;
}

void Training::Run::measure_after(Metrics& out) {
  const FinishedNetwork finished = owner_.transformed(*judged_, seed_);
  const Network after = finished.network();
  const ParameterSet parameters = finished.parameters(after);
  const Counts counts = count_network(after, parameters, {}, edges_of(setup_.graph)).back();
  const Split split = owner_.data_->size(Split::test) > 0 ? Split::test : Split::training;
  std::vector<std::int64_t> which(static_cast<std::size_t>(
      std::min<std::int64_t>(owner_.data_->size(split), owner_.train_.evaluation_batch)));
  std::iota(which.begin(), which.end(), std::int64_t{0});
  const NoGrad off;
  const Examples examples = owner_.data_->examples(split, which, owner_.network_->dtype(), seed_);
  const Tensor inputs = in_shards(examples.inputs, 1);
  const std::pair<const Network*, const ParameterSet*> both[2] = {{owner_.network_.get(), judged_},
                                                                  {&after, &parameters}};
  std::vector<double> outputs[2];
  double seconds[2] = {1e300, 1e300};
  for (int round = 0; round < 15; ++round) {
    for (const int side : {0, 1}) {
      Pass pass{.shards = local_tile_sum(1)};
      pass.samples = examples.ids;
      pass.graph = setup_.graph;
      const Stopwatch watch;
      outputs[side] =
          rule_->predict(*both[side].first, both[side].second->bind(pass.shards), inputs, pass).to_vector();
      seconds[side] = std::min(seconds[side], watch.seconds());
    }
  }
  double largest = 0, difference = 0;
  for (std::size_t i = 0; i < outputs[0].size(); ++i) {
    largest = std::max(largest, std::abs(outputs[0][i]));
    difference = std::max(difference, std::abs(outputs[0][i] - outputs[1][i]));
  }
  out.emplace_back("after_parameters", counts.parameters);
  out.emplace_back("after_multiply_adds", counts.forward_multiply_adds);
  out.emplace_back("after_difference", largest > 0 ? difference / largest : 0);
  out.emplace_back("after_speedup", communicator_.max(seconds[0] / seconds[1]));
}

Metrics Training::Run::run() {
  const Stopwatch whole;
  const TrainingOptions& train = owner_.train_;
  const std::int64_t total = owner_.steps();
  const bool validates = owner_.data_->size(Split::validation) > 0;
  const std::int64_t every = train.evaluate_every > 0 ? train.evaluate_every : owner_.steps_per_epoch();
  TrainingLoop loop(context_,
                    {.steps = total,
                     .evaluate_every = validates ? every : 0,
                     .on_fault = train.on_fault,
                     .faults = train.faults,
                     .mechanisms = &owner_.mechanisms_,
                     .party = critic_ ? &*critic_ : nullptr},
                    *this, *rule_, *optimizer_, parameters_);
  judged_ = &loop.judged();
  GradientHealth health(train.health, *owner_.network_, parameters_, setup_, *rule_, context_);
  loop.observe(health);
  course_.plan(loop);
  const ProbeRun probed{*owner_.probed_,  communicator_,
                        *judged_,         *rule_,
                        context_.results, [this](const std::string& name) { return course_.snapshot(name); },
                        optimizer_.get()};
  probes_.begin(probed, context_.checkpoint.state());
  for (const std::int64_t step : probes_.steps(total))
    loop.at(step, [this, step, total] { probes_.measure(step, total); });
  loop.run();
  course_.leave_snapshots(loop.average());

  Metrics out;
  // The test split is read once, here.
  for (const Split split : {Split::test, Split::validation}) {
    if (owner_.data_->size(split) == 0) continue;
    const std::string name = name_of(split);
    const Evaluation found = owner_.evaluate(
        *rule_, seed_, *judged_, split, communicator_, [&] { context_.checkpoint.within_step(total, total); },
        &probes_);
    out.emplace_back(name + "_loss", found.loss);
    for (std::size_t s = 0; s < found.scores.size(); ++s)
      out.emplace_back(name + "_" + owner_.loss_->scores()[s].first, found.scores[s]);
    if (split != Split::test) continue;
    context_.results.per_sample("loss", found.losses, {.long_name = "loss of each test example"});
    for (std::size_t s = 0; s < found.scores.size(); ++s)
      context_.results.per_sample(owner_.loss_->scores()[s].first, found.score_values[s],
                                  {.long_name = owner_.loss_->scores()[s].second});
  }
  if (train.evaluate_training) {
    const Evaluation found = owner_.evaluate(*rule_, seed_, *judged_, Split::training, communicator_,
                                             [&] { context_.checkpoint.within_step(total, total); });
    for (std::size_t s = 0; s < found.scores.size(); ++s)
      out.emplace_back("training_" + owner_.loss_->scores()[s].first, found.scores[s]);
  }
  const auto at_the_end = [](std::span<const double> losses) {
    return mean(finite(losses.last(std::min(std::max<std::size_t>(1, losses.size() / 10), losses.size()))));
  };
  out.emplace_back("training_loss", at_the_end(loop.losses()));
  if (critic_) out.emplace_back("critic_loss", at_the_end(critic_losses_));
  const Sparsifier* sparsifier = owner_.sparsifier_.get();
  // Fresh parameters are counted, because phases freeze those of the run.
  const Counts counts = count_network(*owner_.network_, owner_.network_->initial_parameters(seed_),
                                      sparsifier != nullptr ? sparsifier->kept(parameters_) : KeptEntries(),
                                      edges_of(setup_.graph))
                            .back();
  out.emplace_back("parameters", counts.parameters);
  out.emplace_back("nonzeros", counts.nonzeros);
  out.emplace_back("parameter_bytes", counts.parameter_bytes);
  out.emplace_back("forward_multiply_adds", counts.forward_multiply_adds);
  out.emplace_back("multiply_adds", loop.multiply_adds());
  out.emplace_back("health_alarms", static_cast<double>(health.alarms()));
  out.emplace_back("steps_skipped", static_cast<double>(loop.skipped()));
  out.emplace_back("rewinds", static_cast<double>(loop.rewinds()));
  if (sparsifier != nullptr)
    out.emplace_back("density", static_cast<double>(sparsifier->remaining(parameters_)) /
                                    static_cast<double>(sparsifier->judged()));
  if (!owner_.after_.empty()) measure_after(out);
  const std::vector<MetricInfo> of_rule = rule_->metrics();
  const std::vector<double> values_of_rule = rule_->measured();
  for (std::size_t i = 0; i < of_rule.size(); ++i) out.emplace_back(of_rule[i].name, values_of_rule[i]);
  const std::vector<MetricInfo> of_probes = probes_.metrics();
  const std::vector<double> values_of_probes = probes_.measured();
  for (std::size_t i = 0; i < of_probes.size(); ++i) out.emplace_back(of_probes[i].name, values_of_probes[i]);
  out.emplace_back("arena_peak", communicator_.max(loop.arena_peak()));
  const double seconds = communicator_.max(quantile(loop.step_seconds(), 0.5));
  out.emplace_back("seconds_per_step", seconds);
  out.emplace_back("samples_per_second", train.batch / seconds);
  out.emplace_back("peak_memory", static_cast<double>(communicator_.max(peak_memory_bytes())));

  write_weights(context_.results, *judged_);
  loop.write_timing(context_.results);
  context_.results.timing("total_seconds", whole.seconds());
  return out;
}

Metrics Training::run(RunContext& context) { return Run(*this, context).run(); }

}  // namespace rankine
