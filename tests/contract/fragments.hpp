// What the contract tests need to know of each entry of each table: a small deck that makes use of it.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace rankine::contract {

using Settings = std::vector<std::string>;  ///< "path.to.key=value"

inline Settings operator+(Settings a, const Settings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A deck by its lines; @FOLDER@ stands for where the data files are.
struct Base {
  std::string text;
  /// The list of blocks; @ stands for the block that is looked at.
  std::string blocks = "";
};

inline const std::string training = R"(run: {experiment: training}
train: {steps: 4, batch: 6, shards: 3, evaluate_every: 3}
checkpoint: {every_steps: 2}
)";
inline const std::string rows =
    training +
    "data: {name: table, path: '@FOLDER@/rows.csv', classes: 3, train: 24, validation: 6, test: 6, shape: [";
inline const std::string pde_training = R"(run: {experiment: pde_training}
grid: {cells: 16, frames: 8, tiles: [1, 4]}
data: {train: 4, validation: 1, test: 1, frames: 11}
model: {name: fno2d, widths: [4, 4], modes_t: 3, modes_x: 3, projection: 8}
formulation: {method: soft}
train: {steps: 4, batch: 2, evaluate_every: 3, save_fields: 0}
checkpoint: {every_steps: 2}
)";

/// Small decks that entries are put into, by name.
inline const std::map<std::string, Base> bases{
    {"vectors",
     {rows + "36]}\n", "[{name: dense, units: 8}, @, {name: dense, units: 6}, {name: dense, units: 3}]"}},
    {"images",
     {rows + "1, 6, 6]}\n", "[{name: conv2d, channels: 4}, @, {name: flatten}, {name: dense, units: 3}]"}},
    {"signals",
     {rows + "2, 18]}\n", "[{name: conv1d, channels: 4}, @, {name: flatten}, {name: dense, units: 3}]"}},
    {"sequences", {rows + "6, 6]}\n", "[{name: dense, units: 4}, @, {name: dense, units: 3}]"}},
    {"tokens",
     {training + "data: {name: text, path: '@FOLDER@/texts', length: 8, alphabet: occurring}\n",
      "[{name: embedding, vocabulary: 4, units: 4}, @, {name: dense, units: 4}]"}},
    {"spikes",
     {training + "data: {name: latency_spikes, steps: 4, channels: 6, classes: 3, train: 24, validation: 6, "
                 "test: 6}\n",
      "[{name: dense, units: 8}, @, {name: lif}, {name: dense, units: 3}]"}},
    {"numbers",  // a regression
     {training + "data: {name: teacher, features: 5, train: 24, validation: 6, test: 6}\n",
      "[{name: dense, units: 8}, @, {name: dense, units: 1}]"}},
    {"graph",
     {training + "data: {name: csbm, nodes: 24, classes: 3, features: 6, degree: 4, train_per_class: 2, "
                 "validation: 6, parts: 6, virtual_nodes: true}\n",
      "[@, {name: graph_conv, units: 3}]"}},
    {"pde", {pde_training + "pde: {name: diffusion_sorption, data_cells: 64, reference_rtol: 1e-5}\n"}},
    {"pde_other", {pde_training}},
    {"monte_carlo",
     {"run: {experiment: monte_carlo}\ninputs: {u: {uniform: [0, 1]}}\nexpression: u^2\n"
      "samples: {blocks: 8, block: 32, steps: 4}\ncheckpoint: {every_steps: 2}\n"}},
    {"place_recognition",
     {"run: {experiment: place_recognition}\ndata: {name: fashion_mnist, train: 20, validation: 20, test: "
      "0}\n"
      "places: {count: 4, query_traverses: 1}\n"
      "network: {modules: 2, neurons: 6, present: 20, rest: 10}\n"
      "train: {epochs: 3, choose_every: 1, assignment_epochs: 1, hyperactive: [0, 2]}\n"
      "checkpoint: {every_steps: 2}\n"}},
    {"bench",
     {"run: {experiment: bench}\nbench: {kernel: csr, against: [blas], density: 0.5, repetitions: 1, at_least: 0, "
      "sizes: [{m: 8, n: 5, k: 9}, {m: 1, n: 1, k: 1}, {m: 3, n: 2, k: 4}, {m: 2, n: 2, k: 2}]}\n"
      "checkpoint: {every_steps: 2}\n"}},
    {"chain",
     {"run: {experiment: chain}\ntarget: {name: ising, rows: 2, columns: 3, temperature: 2}\n"
      "chain: {kernel: gibbs, chains: 4, sweeps: 40, burn_in: 8, thin: 2, rounds: 4}\n"
      "checkpoint: {every_steps: 2}\n"}},
};

struct Fragment {
  std::string base;        ///< of `bases`
  Settings set = {};       ///< that put the entry into it
  std::string block = "";  ///< for @ in the base's blocks; a whole list where it begins with [
  /// For the same deck in which every step fails and is left out; empty: there is none.
  Settings fault = {"train.on_fault=skip", "train.learning_rate=1e300"};
  /// Settings with which the entry does nothing, and settings that must then give the same bits without it.
  Settings off = {}, plain = {};
};

inline Fragment block(const std::string& base, const std::string& text) {
  return {.base = base, .block = text};
}

/// Images that are changed, and unchanged with the options `off`.
inline Fragment transform(const std::string& text, const std::string& off) {
  return {.base = "images",
          .set = {"data.transforms=[" + text + "]"},
          .block = "{name: relu}",
          .off = {"data.transforms=[" + off + "]"}};
}

/// A list in `train` with an entry, and with the same switched off. Batch norm has running statistics.
inline Fragment in_train(const std::string& key, const std::string& entry, const std::string& off) {
  return {.base = "images",
          .set = {"train." + key + "=" + entry},
          .block = "{name: batch_norm}, {name: relu}",
          .off = {"train." + key + "=" + off}};
}
inline Fragment gradient(const std::string& entry, const std::string& off) {
  return in_train("gradient", "[" + entry + "]", "[" + off + "]");
}
inline Fragment after_step(const std::string& entry, const std::string& off) {
  return in_train("after_step", "[" + entry + "]", "[" + off + "]");
}
inline Fragment average(const std::string& entry, const std::string& off) {
  return in_train("average", entry, off);
}

inline Fragment probe(const std::string& base, const std::string& text,
                      const std::string& block = "{name: relu}") {
  return {.base = base, .set = {"probes=[" + text + "]"}, .block = block};
}

/// The first weights expressed in another way, which `off` switches off.
inline Fragment parametrisation(const std::string& text, const std::string& off = "") {
  const auto list = [](const std::string& as) {
    return Settings{"model.parametrise=[{on: ['block0.weight'], as: " + as + "}]"};
  };
  return {.base = "vectors", .set = list(text), .off = off.empty() ? Settings() : list(off)};
}

inline Fragment structure(const std::string& text) {
  const auto sparsity = [&](const char* density) {
    return Settings{"sparsity={on: ['block0.weight'], density: " + std::string(density) +
                    ", structure: " + text + ", schedule: {name: step, at: 3}}"};
  };
  return {
      .base = "vectors",
      .set = sparsity("0.5"),
      .fault = {"train.on_fault=skip", "train.learning_rate=1e300", "sparsity.schedule={name: step, at: 0}"},
      .off = sparsity("1")};
}

/// Masks that move before steps 1 and 2, and do not with `off`.
inline Fragment regrowth(const std::string& name) {
  const auto sparsity = [&](const std::string& fraction) {
    return Settings{"sparsity={density: 0.4, regrow: {name: " + name + ", every: 1, fraction: " + fraction +
                    ", drop: {name: magnitude}}}"};
  };
  return {.base = "vectors",
          .set = sparsity("0.5"),
          .fault = {},  // masks move between steps
          .off = sparsity("0"),
          .plain = {"sparsity={density: 0.4}"}};
}

inline Fragment gate(const std::string& text) {
  return block("vectors", "{name: moe, experts: 4, expert: [{name: dense, units: 8}], gate: " + text + "}");
}

inline Fragment bench(const std::string& kernel) {
  return {.base = "bench", .set = {"bench.kernel={name: " + kernel + "}"}, .fault = {}};
}

inline Fragment chain(const std::string& one, const std::string& other = "chain.chains=5") {
  return {.base = "chain", .set = {one, other}, .fault = {}};
}
/// A chain that need not come to its end.
inline const std::string settling = "chain={chains: 4, sweeps: 20, burn_in: 0, rounds: 4, ";

/// By "kind name".
inline const std::map<std::string, Fragment>& fragments() {
  static const Settings pruned_first{"train.on_fault=skip", "train.learning_rate=1e300",
                                     "sparsity.schedule={name: step, at: 0}"};
  // Nothing between the steps keeps a rule from taking several at once.
  static const Settings one_window{"train.steps=7", "train.clip=0.5", "train.evaluate_every=100",
                                   "train.health.every=0", "checkpoint.every_steps=0"};
  static const std::map<std::string, Fragment> all{
      {"experiment training", {.base = "vectors"}},
      {"experiment pde_training", {.base = "pde"}},
      {"experiment monte_carlo", {.base = "monte_carlo", .fault = {}}},
      {"experiment place_recognition", {.base = "place_recognition", .fault = {}}},
      {"experiment bench", {.base = "bench", .fault = {}}},
      {"bench_kernel product", bench("product")},
      {"bench_kernel blas",
       {.base = "bench", .set = {"bench={kernel: blas, against: [product]}"}, .fault = {}}},
      {"bench_kernel conv", bench("conv")},
      {"bench_kernel csr", bench("csr")},
      {"bench_kernel network",
       bench("network, input: [6], blocks: [{name: dense, units: 4}], backward: true")},
      {"experiment chain", chain("target={name: ising}")},
      {"target gaussian", chain("target={name: gaussian, covariance: [1, 0.5, 0.5, 2]}")},
      {"target ising", chain("target={name: ising, graph: complete}")},
      {"target gaussian_rbm", chain("target={name: gaussian_rbm, visible: 3, hidden: 2}")},
      {"target hopfield", chain("target={name: hopfield, spins: 12, patterns: 2}")},
      {"target multitask_hebb", chain("target={name: multitask_hebb, spins: 12}")},
      {"target gated_mixture",
       chain("target={name: gated_mixture, start_near: [0, 1, 1], points: 50}", settling + "kernel: em}")},
      {"chain_kernel gibbs", chain("chain.kernel={name: gibbs, order: random}")},
      {"chain_kernel metropolis", chain("chain.kernel={name: metropolis}")},
      {"chain_kernel langevin",
       chain("target={name: gaussian, covariance: [1, 0.5, 0.5, 2]}", "chain.kernel={name: langevin}")},
      {"chain_kernel mean_field", chain("target.temperature=4", settling + "kernel: mean_field}")},
      {"chain_kernel enumerate",
       chain("target.temperature=3",
             "chain={kernel: enumerate, chains: 1, sweeps: 6, burn_in: 0, thin: 1, rounds: 3}")},
      {"chain_kernel em", chain("target={name: gated_mixture, points: 50}", settling + "kernel: em}")},

      {"pde diffusion_sorption", {.base = "pde"}},
      {"pde burgers",
       {.base = "pde_other",
        .set = {"pde={name: burgers, viscosity: 0.1, data_cells: 64, reference_rtol: 1e-5}"}}},
      {"pde equation",
       {.base = "pde_other",
        .set = {"pde={name: equation, flux: '-0.05*d(u,x)', walls: {left: {value: 0}, right: {value: 0}}, "
                "initial: {gaussian_random_field: {length_scale: 0.2}, expression: u*sin(pi*x)}, data_cells: "
                "64}"}}},
      {"model fno2d", {.base = "pde"}},
      {"model fno",
       {.base = "pde", .set = {"model={name: fno, widths: [4, 4], modes: [3, 2], projection: 8}"}}},

      {"dataset fashion_mnist",
       {.base = "vectors",
        .set = {"data={name: fashion_mnist, pool: 2, train: 24, validation: 6, test: 6}"},
        .block = "[{name: flatten}, {name: dense, units: 10}]"}},
      {"dataset table", {.base = "vectors"}},
      {"dataset text", {.base = "tokens"}},
      {"dataset gaussian_mixture",
       {.base = "vectors",
        .set = {"data={name: gaussian_mixture, classes: 3, train: 24, validation: 6, test: 6}"}}},
      {"dataset teacher", {.base = "numbers"}},
      {"dataset sine", {.base = "numbers", .set = {"data={name: sine, train: 24, validation: 6, test: 6}"}}},
      {"dataset parity",
       {.base = "vectors",
        .set = {"data={name: parity, train: 24, validation: 6, test: 6}"},
        .block = "[{name: dense, units: 4}, {name: relu}, {name: dense, units: 2}]"}},
      {"dataset modular_addition",
       {.base = "vectors",
        .set = {"data={name: modular_addition, modulus: 7, validation: 0.2}"},
        .block = "[{name: embedding, vocabulary: 7, units: 4}, {name: flatten}, {name: dense, units: 7}]"}},
      {"dataset latency_spikes",
       {.base = "spikes", .set = {"train.rule={name: sltt, time_steps: 4, coding: sequence}"}}},

      {"dataset csbm", block("graph", "{name: graph_conv, units: 4}, {name: relu}")},
      {"dataset canvas",
       {.base = "images",
        .set =
            {"data={name: canvas, items: {name: fashion_mnist, pool: 2, train: 24, validation: 6, test: 6}}"},
        .block = "[{name: conv2d, channels: 2, stride: 4}, {name: flatten}, {name: dense, units: 10}]"}},
      {"dataset circle",
       {.base = "numbers", .set = {"data={name: circle, train: 24, validation: 6, test: 6}"}}},
      {"dataset cluster_regression",
       {.base = "numbers",
        .set = {"data={name: cluster_regression, clusters: 3, features: 5, train: 24, validation: 6, test: "
                "6}"}}},

      {"transform shift", transform("{name: shift, reach: 1}", "{name: shift, reach: 0}")},
      {"transform cutout", transform("{name: cutout, size: 2}", "{name: cutout, size: 0}")},
      {"transform noise", transform("{name: noise, deviation: 0.1}", "{name: noise, deviation: 0}")},
      {"transform cutmix", transform("{name: cutmix, probability: 0.7}", "{name: cutmix, probability: 0}")},
      {"transform mixup", transform("{name: mixup, alpha: 0.5}", "{name: mixup, probability: 0}")},
      {"transform past_outputs",
       transform("{name: past_outputs, share: 0.8}", "{name: past_outputs, share: 0}")},

      {"loss entropy",
       {.base = "vectors",
        .set = {"train.loss=[{name: cross_entropy}, {name: entropy, weight: 0.1}]"},
        .off = {"train.loss=[{name: cross_entropy}, {name: entropy, weight: 0}]"}}},
      {"penalty l1",
       {.base = "vectors",
        .set = {"train.penalties=[{name: l1, on: '*.weight', weight: 0.01}]"},
        .off = {"train.penalties=[{name: l1, on: '*.weight', weight: 0}]"}}},
      {"penalty l2",
       {.base = "vectors",
        .set = {"train.penalties=[{name: l2, on: '*.weight', weight: 0.01}]"},
        .off = {"train.penalties=[{name: l2, on: '*.weight', weight: 0}]"}}},
      {"penalty gaussian_kl",
       {.base = "vectors",
        .set = {"model.parametrise=[{on: ['block0.weight'], as: gaussian}]",
                "train.penalties=[{name: gaussian_kl, weight: 0.01}]"},
        .off = {"model.parametrise=[{on: ['block0.weight'], as: gaussian}]",
                "train.penalties=[{name: gaussian_kl, weight: 0}]"},
        .plain = {"model.parametrise=[{on: ['block0.weight'], as: gaussian}]"}}},
      {"gradient_transform sam", gradient("{name: sam, rho: 0.3}", "{name: sam, rho: 0}")},
      {"gradient_transform noise", gradient("{name: noise, eta: 0.1}", "{name: noise, eta: 0}")},
      {"gradient_transform perpendicular",
       gradient("{name: perpendicular}", "{name: perpendicular, share: 0}")},
      {"step_operation shrink",
       after_step("{name: shrink, density: 0.5, factor: 0.9}", "{name: shrink, factor: 1}")},
      {"step_operation proximal_l1",
       after_step("{name: proximal_l1, weight: 0.5}", "{name: proximal_l1, weight: 0}")},
      {"step_operation proximal_units",
       after_step("{name: proximal_units, weight: 0.5}", "{name: proximal_units, weight: 0}")},
      {"step_operation proximal_envelope",
       after_step("{name: proximal_envelope, weight: 0.5}", "{name: proximal_envelope, weight: 0}")},
      {"step_operation max_norm", after_step("{name: max_norm, norm: 0.5}", "max_norm")},
      {"step_operation clip", after_step("{name: clip, low: -0.2, high: 0.2}", "clip")},
      {"step_operation shrink_perturb",
       after_step("{name: shrink_perturb, factor: 0.9, deviation: 0.01}", "shrink_perturb")},
      {"average ema", average("{name: ema, decay: 0.5, warm_up: true}", "{name: ema, decay: 0}")},
      {"average uniform", average("{name: uniform, from: 1}", "{name: uniform, from: 4}")},

      {"loss cross_entropy", {.base = "vectors", .set = {"train.loss={name: cross_entropy}"}}},
      {"loss mean_squared_error", {.base = "numbers", .set = {"train.loss={name: mean_squared_error}"}}},

      {"rule backprop", {.base = "vectors", .set = {"train.rule={name: backprop}"}}},
      {"rule pipeline",
       {.base = "vectors",
        .set = {"train.rule={name: pipeline}"},
        .off = {"train.rule={name: pipeline}", "train.clip=0.05"},
        .plain = {"train.rule={name: backprop}", "train.clip=0.05"}}},
      {"rule lbfgs",
       {.base = "vectors",
        .set = {"train.rule={name: lbfgs, iterations: 2}"},
        .fault =
            {"train.on_fault=skip",
             "data={name: gaussian_mixture, classes: 3, spread: 1e300, train: 24, validation: 6, test: 6}"}}},
      {"rule auglocal",
       {.base = "vectors",
        .set = {"train.rule={name: auglocal, depth: 1, classifier: 1}"},
        .block = "{name: relu}, {name: dense, units: 7}",
        .off = one_window + Settings{"train.rule={name: auglocal, depth: 1, classifier: 1, window: 1}"},
        .plain = one_window + Settings{"train.rule={name: auglocal, depth: 1, classifier: 1, window: 5}"}}},
      {"rule forwardgnn",
       {.base = "graph",
        .set = {"train.rule={name: forwardgnn, loss: top_down}"},
        .block = "[{name: chain, blocks: [{name: graph_conv, units: 5}, {name: dropout, rate: 0.3}]}, "
                 "{name: graph_conv, units: 5}]"}},
      {"rule man",
       {.base = "vectors",
        .set = {"train.rule={name: man, classifier: 1, units: 4}"},
        .block = "{name: relu}, {name: dense, units: 7}",
        .off = one_window + Settings{"train.rule={name: man, classifier: 1, window: 1}"},
        .plain = one_window + Settings{"train.rule={name: man, classifier: 1, window: 5}"}}},
      {"rule seco",
       {.base = "tokens",
        .set = {"train.rule={name: seco, chunk: 4, keep: 1}"},
        .block = "{name: transformer}"}},
      {"rule sltt",
       {.base = "vectors", .set = {"train.rule={name: sltt, time_steps: 3, k: 2}"}, .block = "{name: lif}"}},

      {"optimizer adam", {.base = "vectors", .set = {"train.optimizer={name: adam, weight_decay: 0.1}"}}},
      {"optimizer sgd", {.base = "vectors", .set = {"train.optimizer={name: sgd, momentum: 0.9}"}}},

      {"schedule constant", {.base = "vectors", .set = {"train.schedule={name: constant}"}}},
      {"schedule cosine",
       {.base = "vectors",
        .set = {"train.schedule={name: cosine, warm_up: 2}"},
        .off = {"train.schedule={name: cosine, warm_up: 0, final_fraction: 1}"}}},
      {"schedule step",
       {.base = "vectors",
        .set = {"train.schedule={name: step, every: 1}"},
        .off = {"train.schedule={name: step, every: 1, decay: 1}"}}},

      {"schedule steps",
       {.base = "vectors",
        .set = {"train.schedule={name: steps, at: ['2', '75%'], factor: 0.5}"},
        .off = {"train.schedule={name: steps, at: ['2'], factor: 1}"}}},

      {"parametrisation low_rank", parametrisation("low_rank, rank: 2")},
      {"parametrisation fixed_point",
       parametrisation("fixed_point, word: 6, rounding: stochastic", "fixed_point, word: 32")},
      {"parametrisation float_format",
       parametrisation("float_format", "float_format, exponent: 8, mantissa: 23")},
      {"parametrisation power_of_two", parametrisation("power_of_two", "power_of_two, terms: 0")},

      {"parametrisation scores", parametrisation("scores, density: 0.5, layer_density: magnitude")},
      {"parametrisation orthogonal", parametrisation("orthogonal")},
      {"parametrisation tied",
       {.base = "vectors",
        .set = {"model.parametrise=[{on: ['block2.weight'], as: tied, to: block0.weight, transpose: true}]"},
        .block =
            "[{name: dense, units: 6}, {name: relu}, {name: dense, units: 36}, {name: dense, units: 3}]"}},
      {"parametrisation gaussian", parametrisation("gaussian, sigma: 0.1, draws: 2", "gaussian, sigma: 0")},

      {"refinement dsnot",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, refine: {name: dsnot, cycles: 9}, schedule: {name: step, at: 3}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 0.5, refine: {name: dsnot, cycles: 0}, schedule: {name: step, at: 3}}"},
        .plain = {"sparsity={density: 0.5, schedule: {name: step, at: 3}}"}}},
      {"network_transform fold_norm",
       {.base = "images", .set = {"after=[fold_norm]"}, .block = "{name: batch_norm}, {name: relu}"}},
      {"network_transform permute",
       {.base = "images", .set = {"after=[{name: permute, by: random}]"}, .block = "{name: relu}"}},
      {"network_transform compact",
       {.base = "vectors", .set = {"after=[compact]", "sparsity={density: 0.02}"}}},
      {"network_transform widen",
       {.base = "vectors", .set = {"after=[{name: widen, factor: 1.5}]"}, .block = "{name: relu}"}},
      {"network_transform sparse", {.base = "vectors", .set = {"after=[sparse]", "sparsity={density: 0.2}"}}},

      {"probe distance", probe("vectors", "{name: distance, every: '1'}")},
      {"probe calibration", probe("vectors", "{name: calibration}")},
      {"probe risk_coverage", probe("vectors", "{name: risk_coverage}")},
      {"probe ood", probe("vectors", "{name: ood}")},
      {"probe attack", probe("vectors", "{name: attack}")},
      {"probe occlusion", probe("images", "{name: occlusion, size: 2}")},
      {"probe corruption", probe("images", "{name: corruption, shift: 1}")},
      {"probe overlap", probe("vectors", "{name: overlap, every: '1'}")},
      {"probe gradient_norm", probe("vectors", "{name: gradient_norm, every: ends, examples: 6}")},
      {"probe curvature",
       probe("vectors", "{name: curvature, every: ends, examples: 6, iterations: 2, draws: 1}")},
      {"probe angle", probe("sequences", "{name: angle, examples: 6}", "{name: rms_norm}, {name: flatten}")},
      {"probe remove", probe("vectors", "{name: remove, examples: 6}", "{name: relu}")},
      {"probe ntk", probe("numbers", "{name: ntk, examples: 6}", "{name: relu}")},
      {"probe saliency",
       {.base = "images",
        .set =
            {"data={name: canvas, items: {name: fashion_mnist, pool: 2, train: 24, validation: 6, test: 6}}",
             "probes=[{name: saliency, at: [0], box_above: 0.2}]"},
        .block = "[{name: conv2d, channels: 2, stride: 4}, {name: flatten}, {name: dense, units: 10}]"}},
      {"probe gate_load",
       probe("vectors", "gate_load", "{name: moe, experts: 3, expert: [{name: dense, units: 8}]}")},

      {"criterion magnitude",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, criterion: {name: magnitude}, schedule: {name: cubic, from: 1, to: "
                "3, every: 1}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 1, criterion: {name: magnitude}}"}}},
      {"criterion random",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, criterion: {name: random}, schedule: {name: step, at: 3}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 1, criterion: {name: random}}"}}},
      {"criterion snip",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, criterion: {name: snip}, schedule: {name: step, at: 3}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 1, criterion: {name: snip}}"}}},
      {"criterion grasp",
       {.base = "vectors",
        .set =
            {"sparsity={density: 0.5, criterion: {name: grasp}, batches: 2, schedule: {name: step, at: 3}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 1, criterion: {name: grasp}}"}}},
      {"criterion fisher",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, criterion: {name: fisher}, schedule: {name: step, at: 3}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 1, criterion: {name: fisher}}"}}},
      {"criterion movement",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, criterion: {name: movement}, schedule: {name: step, at: 3}}"},
        .fault = {},  // what has not moved cannot be pruned
        .off = {"sparsity={density: 1, criterion: {name: movement}}"}}},
      {"structure weight", structure("{name: weight}")},
      {"structure filter", structure("{name: filter}")},
      {"structure unit", structure("{name: unit}")},
      {"structure block", structure("{name: block, outputs: 2}")},
      {"structure n_m", structure("{name: n_m, m: 4}")},
      {"regrowth gradient", regrowth("gradient")},
      {"regrowth random", regrowth("random")},
      {"criterion snr",
       {.base = "vectors",
        .set =
            {"model.parametrise=[{on: ['block0.weight'], as: gaussian}]",
             "sparsity={on: ['block0.weight'], density: 0.5, criterion: {name: snr}, schedule: {name: step, "
             "at: 3}}"},
        .fault = pruned_first,
        .off = {"model.parametrise=[{on: ['block0.weight'], as: gaussian}]",
                "sparsity={on: ['block0.weight'], density: 1, criterion: {name: snr}}"},
        .plain = {"model.parametrise=[{on: ['block0.weight'], as: gaussian}]"}}},
      {"criterion synflow",
       {.base = "vectors",
        .set =
            {"sparsity={density: 0.5, criterion: {name: synflow}, rounds: 3, scope: global, schedule: {name: step, at: 3}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 1, criterion: {name: synflow}}"}}},
      {"criterion wanda",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, criterion: {name: wanda}, schedule: {name: step, at: 3}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 1, criterion: {name: wanda}}"}}},
      {"density_schedule step",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, schedule: {name: step, at: 3}}"},
        .fault = pruned_first,
        .off = {"sparsity={density: 1, schedule: {name: step, at: 3}}"}}},
      {"density_schedule cubic",
       {.base = "vectors",
        .set = {"sparsity={density: 0.5, schedule: {name: cubic, from: 1, to: 3, every: 2}}"},
        .fault = {},  // it prunes between steps
        .off = {"sparsity={density: 1, schedule: {name: cubic, from: 1, to: 3, every: 2}}"}}},

      {"block dense", block("vectors", "{name: dense, units: 7}")},
      {"block sparse_dense", block("vectors", "{name: sparse_dense, units: 2, pattern: [a4, 1f]}")},
      {"block sparse_conv2d",
       block("images", "{name: sparse_conv2d, channels: 4, block: 2, pattern: ['9', '7']}")},
      {"block flatten", block("images", "{name: flatten}")},
      {"block conv1d", block("signals", "{name: conv1d, channels: 3}")},
      {"block conv2d", block("images", "{name: conv2d, channels: 3}")},
      {"block conv_transpose1d", block("signals", "{name: conv_transpose1d, channels: 3}")},
      {"block conv_transpose2d", block("images", "{name: conv_transpose2d, channels: 3}")},
      {"block max_pool", block("images", "{name: max_pool}")},
      {"block average_pool", block("images", "{name: average_pool}")},
      {"block global_average_pool", block("images", "{name: global_average_pool}")},
      {"block upsample", block("images", "{name: upsample}")},
      {"block batch_norm", block("images", "{name: batch_norm}")},
      {"block layer_norm", block("sequences", "{name: layer_norm}, {name: flatten}")},
      {"block group_norm", block("images", "{name: group_norm, groups: 2}")},
      {"block rms_norm", block("vectors", "{name: rms_norm}")},
      {"block dropout",
       {.base = "vectors",
        .block = "{name: dropout, rate: 0.5}",
        .off = {"model.blocks=[{name: dropout, rate: 0}, {name: dense, units: 3}]"},
        .plain = {"model.blocks=[{name: leaky_relu, slope: 1}, {name: dense, units: 3}]"}}},
      {"block residual", block("images", "{name: residual, channels: 4}")},
      {"block skip", block("vectors", "{name: skip, blocks: [{name: relu}, {name: dense, units: 8}]}")},
      {"block chain", block("vectors", "{name: chain, blocks: [{name: relu}, {name: dense, units: 8}]}")},
      {"block relu", block("vectors", "{name: relu}")},
      {"block leaky_relu", block("vectors", "{name: leaky_relu}")},
      {"block sigmoid", block("vectors", "{name: sigmoid}")},
      {"block silu", block("vectors", "{name: silu}")},
      {"block softplus", block("vectors", "{name: softplus}")},
      {"block elu", block("vectors", "{name: elu}")},
      {"block selu", block("vectors", "{name: selu}")},
      {"block tanh", block("vectors", "{name: tanh}")},
      {"block gelu", block("vectors", "{name: gelu}")},
      {"block sin", block("vectors", "{name: sin}")},
      {"block embedding", block("tokens", "{name: relu}")},
      {"block position", block("tokens", "{name: position}")},
      {"block tied_head",
       block("tokens", "[{name: embedding, vocabulary: 4, units: 4}, {name: tied_head, vocabulary: 4}]")},
      {"block attention", block("tokens", "{name: attention, heads: 2}")},
      {"block transformer", block("tokens", "{name: transformer, heads: 2, dropout: 0.1}")},
      {"block lif", block("vectors", "{name: lif}")},
      {"block rnn", block("sequences", "{name: rnn, units: 5, outputs: last}")},
      {"block lstm", block("sequences", "{name: lstm, units: 5, outputs: last}")},
      {"block gru", block("sequences", "{name: gru, units: 5, outputs: last}")},
      {"block moe",
       block("vectors", "{name: moe, experts: 3, expert: [{name: dense, units: 8}, {name: relu}]}")},
      {"gate softmax", gate("softmax")},
      {"gate top_k", gate("{name: top_k, k: 2}")},
      {"gate hash", gate("{name: hash, k: 2}")},
      {"gate comet", gate("{name: comet, trees: 2, entropy: 0.1}")},
      {"gate dselect_k", gate("{name: dselect_k, selectors: 2}")},
      {"search permutation",
       gate("{name: top_k, k: 2}, search: {name: permutation, steps: 3, sweeps: [2, 4]}")},
      {"block graph_conv", block("graph", "{name: graph_conv, units: 4}")},
      {"block graph_attention", block("graph", "{name: graph_attention, units: 4}")},
  };
  return all;
}

}  // namespace rankine::contract
