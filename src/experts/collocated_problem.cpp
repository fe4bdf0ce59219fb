#include "src/experts/collocated_problem.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "kernels/error.hpp"
#include "kernels/gram.hpp"
#include "kernels/lapack.hpp"

namespace rankine {

void CollocatedOptions::options(OptionVisitor& o) {
  o("ic_rows", ic_rows,
    {.help = "initial rows once, or repeated for every frame as in the release's PI-HC",
     .choices = {"once", "per_frame"}});
  o("right_wall_slope", right_wall_slope,
    {.help = "u_x of the right wall row in x / x_max (the release) or in x",
     .choices = {"scaled", "physical"}});
  o("residual_scale", residual_scale,
    {.help = "factor on the residual rows", .min = 0, .exclusive_min = true});
  o("residual_skip_t", residual_skip_t, {.help = "first frames whose residual rows are left out", .min = 0});
  o("right_bc_loss", right_bc_loss,
    {.help = "right wall in the loss: its own row, or the reference's values (the paper)",
     .choices = {"residual", "reference"}});
}

/// Central differences, one-sided and of first order at the ends; u_xx is the first derivative taken twice.
struct CollocatedProblem::Stencils {
  std::vector<std::array<double, 3>> t, x;  // offsets -1 .. 1
  std::vector<std::array<double, 5>> xx;    // offsets -2 .. 2

  static std::vector<std::array<double, 3>> first_derivative(const std::vector<double>& at) {
    const int n = static_cast<int>(at.size());
    std::vector<std::array<double, 3>> rows(n, {0, 0, 0});
    for (int i = 0; i < n; ++i) {
      const int left = std::max(i - 1, 0), right = std::min(i + 1, n - 1);
      const double inverse = 1 / (at[right] - at[left]);
      rows[i][right - i + 1] += inverse;
      rows[i][left - i + 1] -= inverse;
    }
    return rows;
  }

  Stencils(const std::vector<double>& times, const std::vector<double>& points)
      : t(first_derivative(times)), x(first_derivative(points)), xx(points.size(), {0, 0, 0, 0, 0}) {
    const int n = static_cast<int>(points.size());
    for (int i = 0; i < n; ++i)
      for (int outer = -1; outer <= 1; ++outer) {
        const int mid = i + outer;
        if (mid < 0 || mid >= n) continue;
        for (int inner = -1; inner <= 1; ++inner)
          xx[i][outer + inner + 2] += x[i][outer + 1] * x[mid][inner + 1];
      }
  }
};

namespace {

constexpr int halo_t = 1, halo_x = 2;

/// Where things stand in a padded tile.
struct PaddedTile {
  long nt, nx;
  long width() const { return nx + 2 * halo_x; }
  long size() const { return (nt + 2 * halo_t) * width(); }
  long at(long t, long x) const { return (t + halo_t) * width() + x + halo_x; }
};

}  // namespace

/// One sample's problem of one expert: rows [point][term][basis] of its local tiles, and the shared linear
/// rows.
class CollocatedProblem::Expert final : public LeastSquaresProblem {
 public:
  Expert(const CollocatedProblem& owner, int basis, const Communicator* ranks)
      : owner_(owner), n_(basis), ranks_(ranks) {}

  int unknowns() const override { return n_; }
  long rows() const override { return points() + static_cast<long>(linear.size()) / (n_ + 1); }
  long points() const { return static_cast<long>(terms.size()) / (3 * n_); }
  std::vector<long> parts() const override {
    std::vector<long> counts = part_points;
    if (!linear.empty()) counts.push_back(n_ + 1);
    return counts;
  }
  std::vector<double> gather_parts(std::vector<double> local, int) override {
    return ranks_ ? ranks_->all_gather_varying(std::span<const double>(local)) : local;
  }

  void residual(std::span<const double> w, std::span<double> rho) override {
    // A solver linearises where it has just tried a step: the jets, a power each, are there already.
    const bool known = jets_at_.size() == w.size() && std::equal(w.begin(), w.end(), jets_at_.begin());
    const double scale = owner_.options_.residual_scale;
    const long count = points();
    if (!known) {
      std::vector<PointTerms> at(count);
      for (long p = 0; p < count; ++p) combine(w, p, at[p].data());
      jets_.resize(count);
      owner_.pde_.pointwise(at, jets_);
      jets_at_.assign(w.begin(), w.end());
    }
    for (long p = 0; p < count; ++p) rho[p] = scale * jets_[p].value;
    linear_residual(w, rho.subspan(count));
  }

  void linearise(std::span<const double> w, std::span<double> rho, std::span<double> jacobian) override {
    residual(w, rho);
    const double scale = owner_.options_.residual_scale;
    const long count = points(), n = n_;
    for (long p = 0; p < count; ++p) {
      const double* __restrict row = &terms[p * 3 * n];
      double* __restrict out = &jacobian[p * n];
      const double a = scale * jets_[p].gradient[0], b = scale * jets_[p].gradient[1],
                   c = scale * jets_[p].gradient[2];
      for (long i = 0; i < n; ++i) out[i] = a * row[i] + b * row[n + i] + c * row[2 * n + i];
    }
    for (size_t r = 0; r * (n + 1) < linear.size(); ++r)
      std::copy_n(&linear[r * (n + 1)], n, &jacobian[(count + r) * n]);
  }

  void add_curvature(std::span<double> hessian) override {
    // sum_p rho_p sum_ab f_ab term_a term_b^T, part by part and in tree order like every other sum.
    const double scale = owner_.options_.residual_scale;
    std::vector<double> local;
    long first = 0;
    std::vector<long> counts = parts();
    if (!linear.empty()) counts.back() = 0;  // the linear rows have no curvature
    for (long count : counts) {
      std::vector<double> weighted(static_cast<size_t>(count) * 3 * n_),
          product(static_cast<size_t>(n_) * n_, 0.0);
      for (long q = 0; q < count; ++q) {
        const PointwiseResidual& f = jets_[first + q];
        const double rho = scale * scale * f.value;
        const double* row = &terms[(first + q) * 3 * n_];
        double* out = &weighted[q * 3 * n_];
        for (int a = 0; a < 3; ++a)
          for (int i = 0; i < n_; ++i)
            out[a * n_ + i] = rho * (f.hessian[a][0] * row[i] + f.hessian[a][1] * row[n_ + i] +
                                     f.hessian[a][2] * row[2 * n_ + i]);
      }
      kernels::add_transposed_product(count > 0 ? &terms[first * 3 * n_] : nullptr, weighted.data(),
                                      3 * count, n_, n_, product.data());
      local.insert(local.end(), product.begin(), product.end());
      first += count;
    }
    const std::vector<double> all = gather_parts(std::move(local), n_ * n_);
    std::vector<double> sum(static_cast<size_t>(n_) * n_);
    tree_sum_local(std::span<const double>(all), static_cast<long>(all.size()) / (n_ * n_),
                   std::span<double>(sum));
    for (size_t i = 0; i < sum.size(); ++i) hessian[i] += sum[i];
  }

  /// u, u_t, u_xx of the combination at local point p.
  void combine(std::span<const double> w, long p, double* value) const {
    const double* row = &terms[p * 3 * n_];
    for (int a = 0; a < 3; ++a, row += n_) {
      // Four sums side by side: one alone would wait for each addition.
      double lanes[4] = {};
      int i = 0;
      for (; i + 4 <= n_; i += 4)
        for (int j = 0; j < 4; ++j) lanes[j] += w[i + j] * row[i + j];
      for (int j = 0; i < n_; ++i, ++j) lanes[j] += w[i] * row[i];
      value[a] = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
    }
  }
  void linear_residual(std::span<const double> w, std::span<double> rho) const {
    for (size_t r = 0; r * (n_ + 1) < linear.size(); ++r) {
      const double* row = &linear[r * (n_ + 1)];
      double sum = row[n_];
      for (int i = 0; i < n_; ++i) sum += w[i] * row[i];
      rho[r] = sum;
    }
  }
  const PointwiseResidual& jet(long p) const { return jets_[p]; }

  struct Place {
    long local_tile, t, x;  // of a point, within its tile
  };
  std::vector<double> terms;      // [point][3][basis]
  std::vector<Place> places;      // [point]
  std::vector<long> part_points;  // points of each local tile of this expert
  std::vector<double> linear;  // [row][basis + 1]: rho = A w + b; only on the rank of the expert's last tile

 private:
  const CollocatedProblem& owner_;
  int n_;
  const Communicator* ranks_;            // null: all tiles are here
  std::vector<PointwiseResidual> jets_;  // of the local points, at the coefficients jets_at_
  std::vector<double> jets_at_;
};

CollocatedProblem::CollocatedProblem(const CollocatedPde& pde, const Communicator& communicator,
                                     const TilePartition& tiles, std::vector<double> times,
                                     std::vector<double> x, TileGrid experts, int basis,
                                     CollocatedOptions options, SolverOptions solver)
    : pde_(pde),
      communicator_(communicator),
      tiles_(tiles),
      experts_(experts),
      basis_(basis),
      options_(std::move(options)),
      solver_(std::move(solver)),
      stencils_(std::make_unique<Stencils>(times, x)),
      halo_(std::make_unique<HaloExchange>(communicator, tiles, HaloShape{.width = {halo_t, halo_x}})),
      tree_(std::make_unique<TileTree>(communicator, tiles)) {
  const TileGrid& grid = tiles_.grid();
  RANKINE_ASSERT(grid.t_tiles() % experts.t_tiles() == 0 && grid.x_tiles() % experts.x_tiles() == 0,
                 "an expert must cover whole tiles");
  x_scale_ = options_.right_wall_slope == "scaled" ? x.back() : 1.0;
  const long t_span = grid.t_tiles() / experts.t_tiles(), x_span = grid.x_tiles() / experts.x_tiles();
  for (long tile = 0; tile < grid.tiles(); ++tile) {
    const PerAxis at = grid.index(tile);
    expert_of_tile_.push_back(static_cast<int>(experts.number({at[0] / t_span, at[1] / x_span})));
  }
  for (int k = 0; k < this->experts(); ++k) {
    bool here = false, elsewhere = false;
    for (long tile = 0; tile < grid.tiles(); ++tile)
      if (expert_of_tile_[tile] == k) (tiles_.is_local(tile) ? here : elsewhere) = true;
    has_expert_.push_back(here);
    // Splitting is collective, so every rank takes part for every expert that spans ranks.
    const bool spans = communicator.any(here && elsewhere);
    expert_ranks_.push_back(spans ? std::optional(communicator.split(here ? 1 : 0, communicator.rank()))
                                  : std::nullopt);
  }
}

CollocatedProblem::~CollocatedProblem() = default;

std::vector<double> CollocatedProblem::padded(std::span<const double> fields, long channels) const {
  std::vector<double> out(halo_->padded_size(channels));
  halo_->exchange(fields, std::span<double>(out), channels);
  return out;
}

CollocatedProblem::Terms CollocatedProblem::terms(std::span<const double> fields, long channels) const {
  const TileGrid& grid = tiles_.grid();
  const PaddedTile tile{grid.tile_nt(), grid.tile_nx()};
  const std::vector<double> wide = padded(fields, channels);
  Terms out{std::vector<double>(fields.size()), std::vector<double>(fields.size()),
            std::vector<double>(fields.size())};
  size_t at = 0;
  for (long l = 0; l < tiles_.local_tiles(); ++l) {
    const TileExtent extent = grid.extent(tiles_.begin() + l);
    for (long c = 0; c < channels; ++c) {
      const double* field = &wide[(l * channels + c) * tile.size()];
      for (long t = 0; t < tile.nt; ++t)
        for (long x = 0; x < tile.nx; ++x, ++at) {
          const double* here = field + tile.at(t, x);
          for (int o = -1; o <= 1; ++o) {
            out.u_t[at] += stencils_->t[extent.begin[0] + t][o + 1] * here[o * tile.width()];
            out.u_x[at] += stencils_->x[extent.begin[1] + x][o + 1] * here[o];
          }
          for (int o = -2; o <= 2; ++o) out.u_xx[at] += stencils_->xx[extent.begin[1] + x][o + 2] * here[o];
        }
    }
  }
  return out;
}

/// visit(weights, first, count, target): row = sum_i weights[i] field[first + i] - target, for the linear
/// rows whose centre lies in the tile; indices into the padded tile.
template <class Visit>
void CollocatedProblem::for_each_linear_row(const CollocatedBatch& batch, int sample, long local_tile,
                                            const Visit& visit) const {
  const TileGrid& grid = tiles_.grid();
  const PaddedTile tile{grid.tile_nt(), grid.tile_nx()};
  const TileExtent extent = grid.extent(tiles_.begin() + local_tile);
  if (extent.begin[0] == 0) {
    const double repeat = std::sqrt(options_.ic_rows == "per_frame" ? static_cast<double>(grid.nt()) : 1.0);
    for (long x = 0; x < tile.nx; ++x) {
      const double weight = repeat / batch.initial[sample * grid.nx() + extent.begin[1] + x];
      visit(&weight, tile.at(0, x), 1, repeat);
    }
  }
  const auto wall = [&](const WallRow& row, long x, double slope_scale) {
    double weights[3];
    const auto& stencil = stencils_->x[extent.begin[1] + x];
    for (int o = 0; o < 3; ++o)
      weights[o] = row.slope_factor * slope_scale * stencil[o] + (o == 1 ? row.value_factor : 0);
    for (long t = extent.begin[0] == 0 ? 1 : 0; t < tile.nt; ++t)
      visit(weights, tile.at(t, x) - 1, 3, row.target);
  };
  if (extent.begin[1] == 0) wall(pde_.left_wall(), 0, 1.0);
  if (extent.end[1] == grid.nx()) wall(pde_.right_wall(), tile.nx - 1, x_scale_);
}

std::vector<std::vector<double>> CollocatedProblem::linear_rows(const CollocatedBatch& batch,
                                                                std::span<const double> padded_fields) const {
  const TileGrid& grid = tiles_.grid();
  const PaddedTile tile{grid.tile_nt(), grid.tile_nx()};
  const int n = basis_, m = n + 1;
  const size_t block = static_cast<size_t>(m) * m;
  std::vector<double> local;
  for (long l = 0; l < tiles_.local_tiles(); ++l)
    for (int s = 0; s < batch.size; ++s) {
      std::vector<double> rows;
      for_each_linear_row(batch, s, l, [&](const double* weights, long first, int count, double target) {
        for (int i = 0; i < n; ++i) {
          const double* field = &padded_fields[((l * batch.size + s) * n + i) * tile.size()] + first;
          rows.push_back(std::inner_product(weights, weights + count, field, 0.0));
        }
        rows.push_back(-target);
      });
      if (tiles_.begin() + l == 0 && solver_.ridge > 0)
        for (int r = 0; r < n; ++r)
          for (int i = 0; i < m; ++i) rows.push_back(i == r ? solver_.ridge : 0.0);
      std::vector<double> triangle(block);
      lapack::qr_triangle(rows, static_cast<long>(rows.size()) / m, m, triangle);
      local.insert(local.end(), triangle.begin(), triangle.end());
    }
  const std::vector<double> all =
      communicator_.all_gather_varying(std::span<const double>(local));  // [tile][sample]
  std::vector<std::vector<double>> combined;
  for (int s = 0; s < batch.size; ++s) {
    std::vector<double> of_sample;
    for (long tile_number = 0; tile_number < grid.tiles(); ++tile_number) {
      const auto first = all.begin() + static_cast<long>((tile_number * batch.size + s) * block);
      of_sample.insert(of_sample.end(), first, first + static_cast<long>(block));
    }
    combined.push_back(stack_triangles(of_sample, m));
  }
  return combined;
}

CollocatedProblem::Expert CollocatedProblem::make_expert(int sample, int expert, int batch,
                                                         std::span<const double> padded_fields,
                                                         const std::vector<double>& linear,
                                                         const std::vector<long>& points) const {
  const TileGrid& grid = tiles_.grid();
  const PaddedTile tile{grid.tile_nt(), grid.tile_nx()};
  const auto& ranks = expert_ranks_[expert];
  Expert problem(*this, basis_, ranks ? &*ranks : nullptr);
  long last_tile = 0;
  for (long number = 0; number < grid.tiles(); ++number)
    if (expert_of_tile_[number] == expert) last_tile = number;
  for (long l = 0; l < tiles_.local_tiles(); ++l) {
    if (expert_of_tile_[tiles_.begin() + l] != expert) continue;
    const TileExtent extent = grid.extent(tiles_.begin() + l);
    long count = 0;
    for (long point : points) {
      const long t = point / grid.nx(), x = point % grid.nx();
      if (t < extent.begin[0] || t >= extent.end[0] || x < extent.begin[1] || x >= extent.end[1]) continue;
      if (t < options_.residual_skip_t) continue;
      problem.places.push_back({l, t - extent.begin[0], x - extent.begin[1]});
      ++count;
    }
    problem.part_points.push_back(count);
  }
  const int n = basis_;
  problem.terms.resize(problem.places.size() * 3 * n);
  // Few points at a time, basis by basis: their rows stay in cache until all of their columns are written.
  constexpr size_t block = 64;
  for (size_t begin = 0; begin < problem.places.size(); begin += block) {
    const size_t end = std::min(begin + block, problem.places.size());
    const double* centre[block];
    const double *in_t[block], *in_xx[block];
    for (size_t p = begin; p < end; ++p) {
      const auto& [l, t, x] = problem.places[p];
      const TileExtent extent = grid.extent(tiles_.begin() + l);
      centre[p - begin] = &padded_fields[(l * batch + sample) * n * tile.size()] + tile.at(t, x);
      in_t[p - begin] = stencils_->t[extent.begin[0] + t].data();
      in_xx[p - begin] = stencils_->xx[extent.begin[1] + x].data();
    }
    for (int i = 0; i < n; ++i)
      for (size_t p = begin; p < end; ++p) {
        const double* here = centre[p - begin] + i * tile.size();
        const double *ct = in_t[p - begin], *cxx = in_xx[p - begin];
        double* row = &problem.terms[p * 3 * n];
        row[i] = here[0];
        row[n + i] = ct[0] * here[-tile.width()] + ct[1] * here[0] + ct[2] * here[tile.width()];
        row[2 * n + i] =
            cxx[0] * here[-2] + cxx[1] * here[-1] + cxx[2] * here[0] + cxx[3] * here[1] + cxx[4] * here[2];
      }
  }
  if (tiles_.is_local(last_tile)) problem.linear = linear;
  return problem;
}

namespace {

/// What is known of one solve, as numbers that travel in one message.
std::vector<double> pack(const SolveReport& report, std::span<const double> values) {
  std::vector<double> out{static_cast<double>(report.status), static_cast<double>(report.iterations),
                          report.objective, report.gradient_norm};
  out.insert(out.end(), values.begin(), values.end());
  return out;
}

void unpack(const double* packed, SolveReport& report, std::span<double> values) {
  report.status = static_cast<SolveStatus>(static_cast<int>(packed[0]));
  report.iterations = static_cast<int>(packed[1]);
  report.objective = packed[2];
  report.gradient_norm = packed[3];
  report.reason = report.status == SolveStatus::converged ? "" : to_string(report.status);
  std::copy_n(packed + 4, values.size(), values.begin());
}

}  // namespace

/// Sends what each expert's first rank knows to all ranks. `packed`: of the experts whose first tile is here,
/// in order, [sample][4 + n] each. Experts' first tiles rise with their numbers, so rank order is expert
/// order.
void CollocatedProblem::share(int batch, const std::vector<double>& packed,
                              std::vector<std::vector<SolveReport>>& reports,
                              std::vector<double>& values) const {
  const int n = basis_;
  const std::vector<double> all = communicator_.all_gather_varying(std::span<const double>(packed));
  reports.assign(batch, std::vector<SolveReport>(experts()));
  values.assign(static_cast<size_t>(batch) * experts() * n, 0.0);
  for (int k = 0; k < experts(); ++k)
    for (int s = 0; s < batch; ++s)
      unpack(&all[(static_cast<size_t>(k) * batch + s) * (4 + n)], reports[s][k],
             std::span(values).subspan((static_cast<size_t>(s) * experts() + k) * n, n));
}

bool CollocatedProblem::owns_first_tile(int expert) const {
  const auto first =
      std::find(expert_of_tile_.begin(), expert_of_tile_.end(), expert) - expert_of_tile_.begin();
  return tiles_.is_local(first);
}

CollocatedSolution CollocatedProblem::solve(const CollocatedBatch& batch, std::span<const double> fields,
                                            const SampledPoints& points) const {
  const std::vector<double> wide = padded(fields, static_cast<long>(batch.size) * basis_);
  const auto linear = linear_rows(batch, wide);
  const std::unique_ptr<LeastSquaresSolver> solver = solver_.make();
  std::vector<double> packed;
  for (int k = 0; k < experts(); ++k) {
    if (!has_expert_[k]) continue;
    for (int s = 0; s < batch.size; ++s) {
      Expert expert = make_expert(s, k, batch.size, wide, linear[s], points[s][k]);
      std::vector<double> w(basis_, solver_.start == "ones" ? 1.0 : 0.0);
      const SolveReport report = solver->solve(expert, w, solver_.least_squares());
      if (!owns_first_tile(k)) continue;
      const std::vector<double> numbers = pack(report, w);
      packed.insert(packed.end(), numbers.begin(), numbers.end());
    }
  }
  CollocatedSolution solution;
  share(batch.size, packed, solution.reports, solution.coefficients);
  solution.u = assemble(batch.size, fields, solution.coefficients);
  return solution;
}

std::vector<std::vector<SolveReport>> CollocatedProblem::inspect(const CollocatedBatch& batch,
                                                                 std::span<const double> fields,
                                                                 const SampledPoints& points,
                                                                 std::span<const double> coefficients) const {
  const std::vector<double> wide = padded(fields, static_cast<long>(batch.size) * basis_);
  const auto linear = linear_rows(batch, wide);
  std::vector<double> packed, values;
  for (int k = 0; k < experts(); ++k) {
    if (!has_expert_[k]) continue;
    for (int s = 0; s < batch.size; ++s) {
      Expert expert = make_expert(s, k, batch.size, wide, linear[s], points[s][k]);
      const auto w = coefficients.subspan((static_cast<size_t>(s) * experts() + k) * basis_, basis_);
      const LinearisedSystem system = reduce(expert, w, Reduction::normal);
      SolveReport report;
      report.objective = system.objective;
      report.gradient_norm = std::sqrt(
          std::inner_product(system.gradient.begin(), system.gradient.end(), system.gradient.begin(), 0.0));
      if (!owns_first_tile(k)) continue;
      const std::vector<double> numbers = pack(report, w);
      packed.insert(packed.end(), numbers.begin(), numbers.end());
    }
  }
  std::vector<std::vector<SolveReport>> reports;
  share(batch.size, packed, reports, values);
  return reports;
}

std::vector<double> CollocatedProblem::assemble(int batch, std::span<const double> fields,
                                                std::span<const double> coefficients) const {
  const long points = tile_points();
  std::vector<double> u(tiles_.local_tiles() * batch * points, 0.0);
  for (long l = 0; l < tiles_.local_tiles(); ++l)
    for (int s = 0; s < batch; ++s) {
      double* out = &u[(l * batch + s) * points];
      const double* w =
          &coefficients[(static_cast<size_t>(s) * experts() + expert_of_tile_[tiles_.begin() + l]) * basis_];
      for (int i = 0; i < basis_; ++i) {
        const double* field = &fields[((l * batch + s) * basis_ + i) * points];
        for (long p = 0; p < points; ++p) out[p] += w[i] * field[p];
      }
    }
  return u;
}

void CollocatedProblem::pull_back(const CollocatedBatch& batch, std::span<const double> fields,
                                  const SampledPoints& points, CollocatedSolution& solution,
                                  std::span<const double> u_bar, std::span<double> fields_bar) const {
  const TileGrid& grid = tiles_.grid();
  const PaddedTile tile{grid.tile_nt(), grid.tile_nx()};
  const int n = basis_, size = batch.size;
  const std::vector<double> wide = padded(fields, static_cast<long>(size) * n);
  const auto linear = linear_rows(batch, wide);
  const auto at = [&](int s, int k) { return (static_cast<size_t>(s) * experts() + k) * n; };

  // Gradient with respect to the coefficients: per tile, gathered, summed in tree order over each expert's
  // tiles.
  std::vector<double> local(tiles_.local_tiles() * size * n);
  for (long l = 0; l < tiles_.local_tiles(); ++l)
    for (int s = 0; s < size; ++s)
      for (int i = 0; i < n; ++i) {
        const double* field = &fields[((l * size + s) * n + i) * tile_points()];
        const double* bar = &u_bar[(l * size + s) * tile_points()];
        local[(l * size + s) * n + i] = std::inner_product(field, field + tile_points(), bar, 0.0);
      }
  const std::vector<double> by_tile = communicator_.all_gather_varying(std::span<const double>(local));
  std::vector<double> coefficients_bar(solution.coefficients.size());
  for (int k = 0; k < experts(); ++k)
    for (int s = 0; s < size; ++s) {
      std::vector<double> parts;
      for (long number = 0; number < grid.tiles(); ++number)
        if (expert_of_tile_[number] == k)
          parts.insert(parts.end(), &by_tile[(number * size + s) * n], &by_tile[(number * size + s) * n] + n);
      tree_sum_local(std::span<const double>(parts), static_cast<long>(parts.size()) / n,
                     std::span(coefficients_bar).subspan(at(s, k), n));
    }

  // The adjoint systems, and the interior rows' part of the gradient, on the ranks of each expert.
  std::vector<double> wide_bar(wide.size(), 0.0), packed;
  for (int k = 0; k < experts(); ++k) {
    if (!has_expert_[k]) continue;
    for (int s = 0; s < size; ++s) {
      SolveReport report = solution.reports[s][k];
      std::vector<double> lambda(n, 0.0);
      const auto w = std::span<const double>(solution.coefficients).subspan(at(s, k), n);
      if (report.status != SolveStatus::not_finite) {
        Expert expert = make_expert(s, k, size, wide, linear[s], points[s][k]);
        const AdjointReport adjoint =
            solve_adjoint(expert, w, std::span<const double>(coefficients_bar).subspan(at(s, k), n), lambda,
                          solver_.adjoint_matrix(), solver_.adjoint_damping);
        report.gradient_norm = adjoint.gradient_norm;
        if (!adjoint.finite)
          report.status = SolveStatus::not_finite;
        else if (!adjoint.positive_definite)
          report.status = SolveStatus::not_a_minimum;
        add_interior_gradient(expert, s, size, w, lambda, wide_bar);
      }
      if (!owns_first_tile(k)) continue;
      const std::vector<double> numbers = pack(report, lambda);
      packed.insert(packed.end(), numbers.begin(), numbers.end());
    }
  }
  std::vector<double> lambda;
  share(size, packed, solution.reports, lambda);

  // The linear rows of every expert reach into every tile; then the direct part u = b . w.
  std::vector<double> row(n);
  for (long l = 0; l < tiles_.local_tiles(); ++l)
    for (int s = 0; s < size; ++s) {
      const size_t first_field = (l * size + s) * n;
      for_each_linear_row(batch, s, l, [&](const double* weights, long first, int count, double target) {
        for (int i = 0; i < n; ++i)
          row[i] = std::inner_product(weights, weights + count,
                                      &wide[(first_field + i) * tile.size() + first], 0.0);
        for (int k = 0; k < experts(); ++k) {
          const double* w = &solution.coefficients[at(s, k)];
          const double* v = &lambda[at(s, k)];
          const double rho = std::inner_product(row.begin(), row.end(), w, -target);
          const double along = std::inner_product(row.begin(), row.end(), v, 0.0);
          for (int i = 0; i < n; ++i)
            for (int c = 0; c < count; ++c)
              wide_bar[(first_field + i) * tile.size() + first + c] -=
                  weights[c] * (v[i] * rho + w[i] * along);
        }
      });
      const double* w = &solution.coefficients[at(s, expert_of_tile_[tiles_.begin() + l])];
      const double* bar = &u_bar[(l * size + s) * tile_points()];
      for (int i = 0; i < n; ++i)
        for (long t = 0; t < tile.nt; ++t)
          for (long x = 0; x < tile.nx; ++x)
            wide_bar[(first_field + i) * tile.size() + tile.at(t, x)] += w[i] * bar[t * tile.nx + x];
    }
  halo_->exchange_adjoint(std::span<const double>(wide_bar), fields_bar, static_cast<long>(size) * n);
}

/// Subtracts d/db of lambda . J^T rho at fixed coefficients, interior rows: through the stencils' adjoints.
void CollocatedProblem::add_interior_gradient(const Expert& expert, int sample, int batch,
                                              std::span<const double> w, std::span<const double> lambda,
                                              std::span<double> wide_bar) const {
  const TileGrid& grid = tiles_.grid();
  const PaddedTile tile{grid.tile_nt(), grid.tile_nx()};
  const double square = options_.residual_scale * options_.residual_scale;
  std::vector<double> by_solution(tile.size()), by_direction(tile.size());
  long p = 0;
  for (long count : expert.part_points) {
    if (count == 0) continue;
    const long l = expert.places[p].local_tile;
    const TileExtent extent = grid.extent(tiles_.begin() + l);
    std::fill(by_solution.begin(), by_solution.end(), 0.0);
    std::fill(by_direction.begin(), by_direction.end(), 0.0);
    for (long end = p + count; p < end; ++p) {
      const auto [unused, t, x] = expert.places[p];
      (void)unused;
      const PointwiseResidual& f = expert.jet(p);
      double v[3];
      expert.combine(lambda, p, v);
      const double slope = f.gradient[0] * v[0] + f.gradient[1] * v[1] + f.gradient[2] * v[2];
      double c[3], d[3];
      for (int a = 0; a < 3; ++a) {
        const double bend = f.hessian[a][0] * v[0] + f.hessian[a][1] * v[1] + f.hessian[a][2] * v[2];
        c[a] = square * (f.gradient[a] * slope + f.value * bend);
        d[a] = square * f.value * f.gradient[a];
      }
      const auto scatter = [&](const double* term, double* field) {
        double* here = field + tile.at(t, x);
        here[0] += term[0];
        for (int o = -1; o <= 1; ++o)
          here[o * tile.width()] += term[1] * stencils_->t[extent.begin[0] + t][o + 1];
        for (int o = -2; o <= 2; ++o) here[o] += term[2] * stencils_->xx[extent.begin[1] + x][o + 2];
      };
      scatter(c, by_solution.data());
      scatter(d, by_direction.data());
    }
    for (int i = 0; i < basis_; ++i) {
      double* bar = &wide_bar[((l * batch + sample) * basis_ + i) * tile.size()];
      for (long q = 0; q < tile.size(); ++q) bar[q] -= w[i] * by_solution[q] + lambda[i] * by_direction[q];
    }
  }
}

CollocatedLoss CollocatedProblem::loss(const CollocatedBatch& batch, std::span<const double> u,
                                       std::span<const double> sample_weight, std::span<double> u_bar) const {
  const TileGrid& grid = tiles_.grid();
  const PaddedTile tile{grid.tile_nt(), grid.tile_nx()};
  const int size = batch.size;
  const bool by_reference = options_.right_bc_loss == "reference";
  RANKINE_ASSERT(!by_reference || !batch.right_reference.empty(),
                 "the right wall's reference values are missing");
  const std::vector<double> wide = padded(u, size);
  double used = 0;
  for (double weight : sample_weight) used += weight;
  if (used == 0) used = 1;

  // Squares per tile: pde, left, right of each sample, then initial difference and initial state of the
  // batch.
  const int squares = 3 * size + 2;
  std::vector<double> local(tiles_.local_tiles() * squares, 0.0), sums(squares);
  std::vector<PointwiseResidual> jets(u.size());
  std::vector<PointTerms> row(tile.nx);
  const auto right_row = [&](const double* here, long x, int s, long t, const TileExtent& extent) {
    if (by_reference) return here[0] - batch.right_reference[s * grid.nt() + extent.begin[0] + t];
    const WallRow wall = pde_.right_wall();
    double slope = 0;
    for (int o = -1; o <= 1; ++o) slope += stencils_->x[extent.begin[1] + x][o + 1] * here[o];
    return wall.value_factor * here[0] + wall.slope_factor * x_scale_ * slope - wall.target;
  };
  for (long l = 0; l < tiles_.local_tiles(); ++l) {
    const TileExtent extent = grid.extent(tiles_.begin() + l);
    for (int s = 0; s < size; ++s) {
      const double* field = &wide[(l * size + s) * tile.size()];
      double* sum = &local[l * squares];
      for (long t = 0; t < tile.nt; ++t) {
        for (long x = 0; x < tile.nx; ++x) {
          const double* here = field + tile.at(t, x);
          double u_t = 0, u_xx = 0;
          for (int o = -1; o <= 1; ++o)
            u_t += stencils_->t[extent.begin[0] + t][o + 1] * here[o * tile.width()];
          for (int o = -2; o <= 2; ++o) u_xx += stencils_->xx[extent.begin[1] + x][o + 2] * here[o];
          row[x] = {here[0], u_t, u_xx};
        }
        const std::span<PointwiseResidual> found =
            std::span(jets).subspan((l * size + s) * tile_points() + t * tile.nx, tile.nx);
        pde_.pointwise(row, found);
        for (const PointwiseResidual& f : found) sum[s] += f.value * f.value;
      }
      if (extent.begin[1] == 0)
        for (long t = 0; t < tile.nt; ++t) {
          const double off = field[tile.at(t, 0)] - pde_.left_wall().target;
          sum[size + s] += off * off;
        }
      if (extent.end[1] == grid.nx())
        for (long t = 0; t < tile.nt; ++t) {
          const double off = right_row(field + tile.at(t, tile.nx - 1), tile.nx - 1, s, t, extent);
          sum[2 * size + s] += off * off;
        }
      if (extent.begin[0] == 0 && sample_weight[s] > 0)
        for (long x = 0; x < tile.nx; ++x) {
          const double start = batch.initial[s * grid.nx() + extent.begin[1] + x],
                       off = field[tile.at(0, x)] - start;
          sum[3 * size] += off * off;
          sum[3 * size + 1] += start * start;
        }
    }
  }
  tree_->sum(std::span<const double>(local), std::span<double>(sums));
  CollocatedLoss loss;
  std::vector<double> norms(3 * size);
  for (int i = 0; i < 3 * size; ++i) norms[i] = std::sqrt(sums[i]);
  for (int s = 0; s < size; ++s) {
    loss.pde += sample_weight[s] * norms[s] / used;
    loss.left_wall += sample_weight[s] * norms[size + s] / used;
    loss.right_wall += sample_weight[s] * norms[2 * size + s] / used;
  }
  const double initial_norm = std::sqrt(sums[3 * size]), state_norm = std::sqrt(sums[3 * size + 1]);
  loss.initial = state_norm > 0 ? initial_norm / state_norm : 0;
  loss.total = loss.pde + loss.initial + loss.left_wall + loss.right_wall;
  if (u_bar.empty()) return loss;

  const auto inverse = [](double norm) { return norm > 0 ? 1 / norm : 0.0; };
  std::vector<double> wide_bar(wide.size(), 0.0);
  for (long l = 0; l < tiles_.local_tiles(); ++l) {
    const TileExtent extent = grid.extent(tiles_.begin() + l);
    for (int s = 0; s < size; ++s) {
      if (sample_weight[s] == 0) continue;
      const double* field = &wide[(l * size + s) * tile.size()];
      double* bar = &wide_bar[(l * size + s) * tile.size()];
      const double share = sample_weight[s] / used;
      for (long t = 0; t < tile.nt; ++t)
        for (long x = 0; x < tile.nx; ++x) {
          const PointwiseResidual& f = jets[(l * size + s) * tile_points() + t * tile.nx + x];
          const double r = share * inverse(norms[s]) * f.value;
          double* here = bar + tile.at(t, x);
          here[0] += r * f.gradient[0];
          for (int o = -1; o <= 1; ++o)
            here[o * tile.width()] += r * f.gradient[1] * stencils_->t[extent.begin[0] + t][o + 1];
          for (int o = -2; o <= 2; ++o)
            here[o] += r * f.gradient[2] * stencils_->xx[extent.begin[1] + x][o + 2];
        }
      if (extent.begin[1] == 0)
        for (long t = 0; t < tile.nt; ++t)
          bar[tile.at(t, 0)] +=
              share * inverse(norms[size + s]) * (field[tile.at(t, 0)] - pde_.left_wall().target);
      if (extent.end[1] == grid.nx())
        for (long t = 0; t < tile.nt; ++t) {
          const long x = tile.nx - 1;
          const double r =
              share * inverse(norms[2 * size + s]) * right_row(field + tile.at(t, x), x, s, t, extent);
          double* here = bar + tile.at(t, x);
          if (by_reference) {
            here[0] += r;
            continue;
          }
          const WallRow wall = pde_.right_wall();
          here[0] += r * wall.value_factor;
          for (int o = -1; o <= 1; ++o)
            here[o] += r * wall.slope_factor * x_scale_ * stencils_->x[extent.begin[1] + x][o + 1];
        }
      if (extent.begin[0] == 0)
        for (long x = 0; x < tile.nx; ++x)
          bar[tile.at(0, x)] += inverse(initial_norm) * inverse(state_norm) *
                                (field[tile.at(0, x)] - batch.initial[s * grid.nx() + extent.begin[1] + x]);
    }
  }
  halo_->exchange_adjoint(std::span<const double>(wide_bar), u_bar, size);
  return loss;
}

}  // namespace rankine
