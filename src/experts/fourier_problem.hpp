// The PDE of samples under the Fourier discretisation (src/pde/fourier_scheme.hpp): all frames at once,
//   r_j = u_j - Phi(u_{j-1}),   P e = r:  e_j = A_j e_{j-1} + r_j,
// with Phi the scheme's steps over a frame and A_j their derivative along states that change linearly between
// frames (Newton's method on the whole trajectory).
#pragma once

#include <memory>
#include <vector>

#include "src/experts/constraint_layer.hpp"
#include "src/pde/fourier_scheme.hpp"

namespace rankine {

/// Samples of a batch with the same parameters and coefficient fields, in order: numbers of samples.
std::vector<std::vector<int>> alike(const PdeBatch& batch);

/// Coordinates and coefficient fields at cells of the model's grid, as FourierScheme takes them.
std::vector<double> positions_at(const StorageModel& model, std::span<const int> cells,
                                 std::span<const double> fields);

/// Members are samples with parameters and fields in common.
class FourierProblem final : public DiscreteProblem {
 public:
  /// `initial` [member][cell][unknown]; `fields` [field][cell]. `model`, which says grid, times and substeps,
  /// must outlive this.
  FourierProblem(const StorageModel& model, std::vector<double> initial, std::vector<double> parameters,
                 std::span<const double> fields);

  // Of one member.
  int width() const override { return model_.width(); }
  long points() const override { return model_.points(); }
  std::vector<double> evaluate(std::span<const double> u) const override { return residual(u); }
  int frames() const override { return model_.frames(); }
  std::vector<double> solve_frames(int frames) const override;

  /// r of states [frame 0 .. J][member][cell][unknown] -> [frame 1 .. J][member][cell][unknown].
  std::vector<double> residual(std::span<const double> u) const;
  /// e = P(u)^-1 r.
  std::vector<double> error(std::span<const double> u, std::span<const double> r) const;
  /// Why the substeps are not stable from the initial states; empty where they are.
  std::string unstable() const;

 private:
  std::vector<double> error_of(const std::vector<double>& u, std::vector<double> r,
                               const CorrectionOptions&) const override {
    return error(u, r);
  }

  const StorageModel& model_;
  std::vector<double> initial_;
  FourierScheme scheme_;
};

/// Sample `s` of a batch under the PDE's own discretisation, on the model's times. `model` must outlive it.
std::unique_ptr<DiscreteProblem> discrete_problem(const StorageModel& model, const PdeBatch& batch, int s);

}  // namespace rankine
