// What the deck's `formulation:` says: residual, time grid, norms, experts, solver. A preset fills in the
// defaults.
#pragma once

#include <string>
#include <vector>

#include "src/deck/node.hpp"
#include "src/experts/collocated_problem.hpp"
#include "src/experts/expert_options.hpp"
#include "src/experts/storage_problem.hpp"

namespace rankine {

/// How the observations of a sample enter.
struct ObservationTerms {
  double weight = 1;
  int corrections = 0;
  bool rows = false;
  double row_weight = 1e-3;
  void options(OptionVisitor& o);
  /// The corrections that the misfit is taken after.
  CorrectionOptions correct() const { return {.steps = corrections, .rtol = 0, .train = true}; }
};

struct FormulationOptions {
  std::string preset = "storage";
  std::string method = "hard";
  std::string residual = "storage";
  std::string time = "graded";
  double theta = 0.5;
  int implicit_steps = 2;
  std::string constraint = "residual";
  MarchOptions march;
  int target_fits = 1;
  double target_ridge = 1e-6;
  int halo = 4;
  int taper = 4;
  int sweeps = 1;
  CorrectionOptions correct;
  std::string rows = "dual";
  std::string loss = "dual";
  std::vector<int> experts{1, 1};
  std::string coupling = "none";
  int basis = 8;
  int points = 0;
  ObservationTerms observations;
  std::string time_input = "sqrt";
  double initial_input_scale = 5;
  std::string final_activation = "none";
  CollocatedOptions collocation;
  SolverOptions solver;

  /// Reads `formulation:` of a variant: a preset's name, or a mapping whose key `preset` changes the other
  /// defaults.
  static FormulationOptions read(const DeckNode& section);
  void options(OptionVisitor& o);
  void validate(const DeckNode& node) const;

  bool soft() const { return method == "soft"; }
  bool target() const { return constraint == "target"; }
  bool local() const { return constraint == "local"; }
  /// Everything stays on the tiles but what is evaluated.
  bool on_tiles() const { return local() || march.over_ranks(); }
  /// Fields that the network gives for each unknown.
  int fields() const { return soft() || local() ? 1 : basis; }
  bool collocated() const { return residual == "collocated"; }
  Weighting row_weighting() const;
  Weighting loss_weighting() const;
  /// Times of the frames, the initial one included: frames + 1 numbers.
  std::vector<double> times(double duration, int frames) const;
};

}  // namespace rankine
