// The constraint in the paper's formulation (Chalapathi et al., ICLR 2024, and its release): central
// differences of u_t - D/R(u) u_xx at sampled points, collocated initial and boundary rows, a ridge.
// Activations stay where their tile is: experts are solved on the ranks that own their tiles, stencils cross
// tile edges through halos.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/comm/halo.hpp"
#include "src/comm/tile_tree.hpp"
#include "src/comm/tiles.hpp"
#include "src/experts/expert_options.hpp"
#include "src/pde/pde.hpp"

namespace rankine {

struct CollocatedOptions {
  std::string ic_rows = "once";
  std::string right_wall_slope = "scaled";
  double residual_scale = 1;
  int residual_skip_t = 0;
  std::string right_bc_loss = "residual";
  void options(OptionVisitor& o);
};

/// What a batch is conditioned on. All ranks hold all of it.
struct CollocatedBatch {
  int size = 0;
  std::vector<double> initial;          ///< [size][nx]
  std::vector<double> right_reference;  ///< [size][nt], used by `right_bc_loss: reference`; may be empty else
};

/// The residual rows of each solve: [sample][expert] -> indices t * nx + x of points in the expert's box.
using SampledPoints = std::vector<std::vector<std::vector<long>>>;

struct CollocatedSolution {
  std::vector<double> coefficients;               ///< [sample][expert][basis], the same on all ranks
  std::vector<std::vector<SolveReport>> reports;  ///< [sample][expert], likewise
  std::vector<double> u;                          ///< [local tile][sample][tile nt][tile nx]
};

struct CollocatedLoss {
  double total = 0, pde = 0, initial = 0, left_wall = 0, right_wall = 0;
};

/// All ranks get the same bits of everything that they share.
class CollocatedProblem {
 public:
  /// `times` and `cells`: the collocation grid (t, x); `experts`: the grid of experts, whose boxes are unions
  /// of tiles.
  CollocatedProblem(const CollocatedPde& pde, const Communicator& communicator, const TilePartition& tiles,
                    std::vector<double> times, std::vector<double> x, TileGrid experts, int basis,
                    CollocatedOptions options, SolverOptions solver);
  ~CollocatedProblem();

  int experts() const { return static_cast<int>(experts_.tiles()); }
  int basis() const { return basis_; }
  const TilePartition& tiles() const { return tiles_; }

  /// Derivative terms of fields [local tile][channels][tile nt][tile nx], same layout. For tests and residual
  /// maps.
  struct Terms {
    std::vector<double> u_t, u_x, u_xx;
  };
  Terms terms(std::span<const double> fields, long channels) const;

  /// `fields`: [local tile][sample][basis][tile nt][tile nx]. Collective. Never throws for a failed solve.
  CollocatedSolution solve(const CollocatedBatch& batch, std::span<const double> fields,
                           const SampledPoints& points) const;
  /// |J^T rho| and 1/2|rho|^2 of every solve at given coefficients [sample][expert][basis]. Collective.
  std::vector<std::vector<SolveReport>> inspect(const CollocatedBatch& batch, std::span<const double> fields,
                                                const SampledPoints& points,
                                                std::span<const double> coefficients) const;
  /// Assembles u from the coefficients. Not collective.
  std::vector<double> assemble(int batch, std::span<const double> fields,
                               std::span<const double> coefficients) const;
  /// Overwrites `fields_bar` with the gradient of <u_bar, u>, implicit function theorem; notes indefinite
  /// Hessians in the solution's reports. Collective.
  void pull_back(const CollocatedBatch& batch, std::span<const double> fields, const SampledPoints& points,
                 CollocatedSolution& solution, std::span<const double> u_bar,
                 std::span<double> fields_bar) const;

  /// The paper's outer loss of u [local tile][sample][tile nt][tile nx]; `u_bar` (if not empty) takes its
  /// gradient. Samples with weight 0 are left out of the means. Collective.
  CollocatedLoss loss(const CollocatedBatch& batch, std::span<const double> u,
                      std::span<const double> sample_weight, std::span<double> u_bar) const;

 private:
  struct Stencils;
  class Expert;
  long tile_points() const { return tiles_.grid().tile_points(); }
  std::vector<double> padded(std::span<const double> fields, long channels) const;
  std::vector<std::vector<double>> linear_rows(const CollocatedBatch& batch,
                                               std::span<const double> padded_fields) const;
  Expert make_expert(int sample, int expert, int batch, std::span<const double> padded_fields,
                     const std::vector<double>& linear, const std::vector<long>& points) const;
  void add_interior_gradient(const Expert& expert, int sample, int batch, std::span<const double> w,
                             std::span<const double> lambda, std::span<double> wide_bar) const;
  void share(int batch, const std::vector<double>& packed, std::vector<std::vector<SolveReport>>& reports,
             std::vector<double>& values) const;
  bool owns_first_tile(int expert) const;
  template <class Visit>
  void for_each_linear_row(const CollocatedBatch& batch, int sample, long local_tile,
                           const Visit& visit) const;

  const CollocatedPde& pde_;
  const Communicator& communicator_;
  TilePartition tiles_;
  TileGrid experts_;
  int basis_;
  CollocatedOptions options_;
  SolverOptions solver_;
  std::unique_ptr<Stencils> stencils_;
  std::unique_ptr<HaloExchange> halo_;
  std::unique_ptr<TileTree> tree_;
  std::vector<int> expert_of_tile_;
  std::vector<char> has_expert_;                           // tiles of this expert are here
  std::vector<std::optional<Communicator>> expert_ranks_;  // of the experts that span ranks
  double x_scale_ = 1;
};

}  // namespace rankine
