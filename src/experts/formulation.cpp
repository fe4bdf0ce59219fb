#include "src/experts/formulation.hpp"

#include "kernels/error.hpp"

namespace rankine {
namespace {

Weighting weighting_named(const std::string& name) {
  if (name == "plain") return Weighting::plain;
  return name == "spatial" ? Weighting::spatial : Weighting::dual;
}

/// The paper's formulation as its release has it.
FormulationOptions paper_preset() {
  FormulationOptions o;
  o.preset = "paper";
  o.residual = "collocated";
  o.time = "uniform";
  o.rows = o.loss = "plain";
  o.time_input = "linear";
  o.initial_input_scale = 1;
  o.final_activation = "gelu";
  o.collocation.right_bc_loss = "reference";
  o.solver.method = "levenberg_marquardt";
  o.solver.start = "ones";
  o.solver.max_steps = 100;
  o.solver.rtol = o.solver.atol = 1e-4;
  o.solver.damping = 1;
  o.solver.reduction = "qr";
  o.solver.ridge = 1e-4;
  o.solver.adjoint_damping = 0;
  return o;
}

/// Experts fit the corrected prediction: for equations whose march depends on the solution.
FormulationOptions target_preset() {
  FormulationOptions o;
  o.preset = "target";
  o.constraint = "target";
  o.march.state = "prediction";
  return o;
}

/// Experts correct the network's field on their own tiles.
FormulationOptions local_preset() {
  FormulationOptions o;
  o.preset = "local";
  o.constraint = "local";
  o.march.state = "prediction";
  return o;
}

}  // namespace

FormulationOptions FormulationOptions::read(const DeckNode& section) {
  const std::vector<std::string> presets{"storage", "target", "local", "paper"};
  const DeckNode name = section.is_scalar() ? section : section.child_or("preset", "storage");
  const std::string preset = name.as_text({.help = "preset", .choices = presets});
  const bool paper = preset == "paper";
  FormulationOptions options = paper                ? paper_preset()
                               : preset == "target" ? target_preset()
                               : preset == "local"  ? local_preset()
                                                    : FormulationOptions();
  if (section.is_scalar()) return options;
  if (paper) {
    // Where the release's methods differ: PI-HC repeats its initial rows for every frame, PI-SC has no final
    // activation.
    const bool soft = section.child_or("method", "hard").as_text() == "soft";
    const DeckNode experts = section.child_or("experts", "");
    const bool one = !experts.is_sequence() || experts.as_integers() == std::vector<long>{1, 1};
    if (soft) options.final_activation = "none";
    if (one) options.collocation.ic_rows = "per_frame";
  }
  section.read(options);
  return options;
}

void ObservationTerms::options(OptionVisitor& o) {
  o("weight", weight,
    {.help = "factor of sqrt(mean(((H u - d) / sigma)^2)) in the loss of an observed sample (0: not in the "
             "loss)",
     .min = 0});
  o("corrections", corrections,
    {.help = "march corrections that u of the misfit is taken after and trained through; the residual in the "
             "loss stays that of the uncorrected u",
     .min = 0,
     .max = 10});
  o("rows", rows, {.help = "observations are rows of the experts' least squares too"});
  o("row_weight", row_weight,
    {.help = "factor of a row (H u - d) / sigma beside the residual rows: in the dual norm, the error of u "
             "that the discrete physics is trusted to",
     .min = 0,
     .exclusive_min = true});
}

void FormulationOptions::options(OptionVisitor& o) {
  const std::vector<std::string> norms{"plain", "spatial", "dual"};
  o("preset", preset,
    {.help =
         "where the other defaults come from: the storage form, the storage form with experts that fit the "
         "corrected prediction or correct it on their own tiles, or the paper's release",
     .choices = {"storage", "target", "local", "paper"}});
  o("method", method,
    {.help = "soft: penalty only (PI-SC); hard: experts solve for the coefficients (PI-HC, PI-HC-MoE)",
     .choices = {"soft", "hard"}});
  o("residual", residual,
    {.help = "storage: conservative and implicit in time; collocated: central differences (the paper)",
     .choices = {"storage", "collocated"}});
  o("time", time,
    {.help = "times of the frames: graded to the initial front (T (j/J)^2), or uniform",
     .choices = {"graded", "uniform"}});
  o("theta", theta,
    {.help = "implicit weight of a time step after the first ones (1/2: trapezoid)", .min = 0.5, .max = 1});
  o("implicit_steps", implicit_steps, {.help = "first steps that are backward Euler", .min = 0});
  o.group("march", march, "the linear march P");
  o("constraint", constraint,
    {.help =
         "residual: coefficients minimise the weighed residual; target: they fit the corrected prediction "
         "v - P(v)^-1 r(v), v the network's first field, and the loss is the distance from it; local: each "
         "expert corrects v on its own tile and a halo, and the loss is the distance of v from that",
     .choices = {"residual", "target", "local"}});
  o("halo", halo,
    {.help = "cells around an expert's tile that its correction is solved on, too (constraint: local)",
     .min = 0});
  o("taper", taper,
    {.help = "cells at the edge of the halo along which an expert's error is led to 0, at most the halo "
             "(constraint: local with pde.discretisation: fourier)",
     .min = 0});
  o("sweeps", sweeps,
    {.help = "times that the experts correct, each time with the halo of the last (constraint: local)",
     .min = 1,
     .max = 20});
  o("target_fits", target_fits,
    {.help = "times that a target is formed and fitted, each about the last fit", .min = 1, .max = 20});
  o("target_ridge", target_ridge, {.help = "ridge of a fit, relative to its columns' norms", .min = 0});
  o.group("correct", correct, "march corrections of predictions");
  o("rows", rows, {.help = "norm of the experts' residual rows", .choices = norms});
  o("loss", loss, {.help = "norm of the loss", .choices = norms});
  o("experts", experts,
    {.help = "experts along t and each space axis, each covering whole tiles",
     .min = 1,
     .min_size = 2,
     .max_size = 1 + max_space_axes});
  o("coupling", coupling,
    {.help = "none: experts do not see each other; assembled: one system, stencils on the assembled u",
     .choices = {"none", "assembled"}});
  o("basis", basis, {.help = "basis fields N that the network gives an expert", .min = 1, .max = 512});
  o("points", points, {.help = "residual rows sampled per expert and step (0: all)", .min = 0});
  o.group("observations", observations, "how data.observations enter");
  o("time_input", time_input,
    {.help = "the network's time channel: sqrt(t/T) or t/T", .choices = {"sqrt", "linear"}});
  o("initial_input_scale", initial_input_scale, {.help = "factor on the network's initial-state channel"});
  o("final_activation", final_activation,
    {.help = "activation on the network's outputs", .choices = {"none", "gelu"}});
  o.group("collocation", collocation, "keys of residual: collocated");
  o.group("solver", solver, "least squares of one expert");
}

void FormulationOptions::validate(const DeckNode& node) const {
  if (collocated()) {
    if (rows != "plain")
      node.error_at(
          "rows", "rows: " + rows + " needs residual: storage; the collocated residual has rows: plain only");
    if (loss != "plain")
      node.error_at(
          "loss", "loss: " + loss + " needs residual: storage; the collocated residual has loss: plain only");
    if (coupling != "none")
      node.error_at("coupling",
                    "coupling: assembled needs residual: storage; collocated experts do not see each other "
                    "(coupling: none)");
    if (time != "uniform")
      node.error_at("time",
                    "time: graded needs residual: storage; the collocated residual wants time: uniform");
    if (!soft() && solver.start == "linear")
      node.error("solver.start: linear needs residual: storage; use ones or zeros");
  }
  if (collocated() && target()) node.error_at("constraint", "constraint: target needs residual: storage");
  if (collocated() && correct.train) node.error("correct.train needs residual: storage");
  if (local()) {
    if (collocated()) node.error_at("constraint", "constraint: local needs residual: storage");
    if (march.state != "prediction")
      node.error(
          "march.state: " + march.state +
          " with constraint: local; experts solve the equation that is linearised at the prediction, so "
          "use march.state: prediction, as preset: local does");
    if (march.method == "gmres" || march.over_ranks())
      node.error("march.method: " + march.method +
                 " with constraint: local; use direct, petsc or imex for an expert's own tile");
    if (experts[0] != 1)
      node.error_at("experts", "experts: " + std::to_string(experts[0]) +
                                   " along t with constraint: local; each expert marches through all "
                                   "frames, so let the list begin with 1");
    if (coupling != "none")
      node.error_at("coupling",
                    "coupling: assembled needs constraint: residual; local experts hear of each other by "
                    "their halos");
    if (rows != "dual" || loss != "dual")
      node.error_at(rows != "dual" ? "rows" : "loss",
                    "rows and loss of constraint: local are distances from the corrected field, leave them "
                    "dual");
    if (points > 0)
      node.error_at("points", "points: sampled rows need constraint: residual; a correction has all points");
  }
  if (march.over_ranks() && !target())
    node.error(
        "march.method: " + march.method + " with constraint: " + constraint +
        "; one march over all ranks serves constraint: target; use direct, which deals samples to the ranks");
  if (march.over_ranks() && march.state != "prediction")
    node.error("march.method: " + march.method + " needs march.state: prediction");
  if (target() && coupling != "none")
    node.error_at("coupling",
                  "coupling: assembled needs constraint: residual; fits of one shared target are "
                  "coupled through it already");
  if (target() && (rows != "dual" || loss != "dual"))
    node.error_at(rows != "dual" ? "rows" : "loss",
                  "rows and loss of constraint: target are distances from the target, leave them dual");
  if (target() && points > 0)
    node.error_at("points",
                  "points: sampled rows need constraint: residual; a target is fitted at all points");
  if (!target() && !local() && !soft() && march.state == "prediction")
    node.error(
        "march.state: prediction would change the experts' rows with their solution; use initial or "
        "frozen, or constraint: target");
  if (march.method == "imex" && march.state != "prediction")
    node.error("march.method: imex needs march.state: prediction; frozen marches are solved directly");
  if (march.method == "gmres" && march.state != "prediction")
    node.error("march.method: gmres needs march.state: prediction; frozen marches are solved directly");
  if ((march.truncated() || march.method == "imex") && correct.train)
    node.error(
        "correct.train needs the exact transpose of the march: march.method direct, petsc, or gmres with "
        "gmres_iterations: 0");
  if (march.truncated() && !target() && !local())
    node.error(
        "a loss in the dual norm differentiates through the march, which GMRES cut off by "
        "march.gmres_iterations does not allow; let it converge (0), or use constraint: target");
  if (observations.rows && (soft() || target() || local() || collocated()))
    node.error(
        "observations.rows: true makes observations rows of the experts' least squares, which method: hard "
        "with constraint: residual and residual: storage has; use those, or observations.weight, the loss");
  if (observations.corrections > 0 && (correct.train || collocated()))
    node.error(
        "observations.corrections needs residual: storage, and correct.train: false, which corrects the "
        "whole loss; choose one of the two");
  if (observations.corrections > 0 && (march.truncated() || march.method == "imex"))
    node.error(
        "observations.corrections are trained through, which needs the exact transpose of the march: "
        "march.method direct, petsc, or gmres with gmres_iterations: 0");
  if (correct.train && target() && !march.over_ranks())
    node.error(
        "correct.train with constraint: target would compare a corrected prediction with its own target; use "
        "constraint: residual");
  if (correct.train && correct.steps == 0)
    node.error("correct.train: true with correct.steps: 0 trains through nothing; give correct.steps");
  if (!soft() && solver.max_steps == 0 && solver.start != "linear")
    node.error("solver.max_steps: 0 with start: " + solver.start +
               " would leave the coefficients constant; allow at least 1 step");
}

Weighting FormulationOptions::row_weighting() const { return weighting_named(rows); }
Weighting FormulationOptions::loss_weighting() const { return weighting_named(loss); }

std::vector<double> FormulationOptions::times(double duration, int frames) const {
  std::vector<double> out(frames + 1);
  for (int j = 0; j <= frames; ++j) {
    const double s = static_cast<double>(j) / frames;
    out[j] = duration * (time == "graded" ? s * s : s);
  }
  return out;
}

}  // namespace rankine
