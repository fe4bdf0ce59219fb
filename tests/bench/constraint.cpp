// Constraint forward and adjoint in the paper's formulation at its size (1024 x 101, N = 16, 20000 sampled
// points in all): four experts on all ranks against one expert on one rank, alternating in one run.
//   mpirun -n 2 bench_constraint [pairs] [solver steps]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "src/comm/communicator.hpp"
#include "src/core/clock.hpp"
#include "src/core/random.hpp"
#include "src/experts/formulation.hpp"
#include "src/pde/diffusion_sorption.hpp"

using namespace rankine;

namespace {

constexpr int nx = 1024, nt = 101, basis = 16, total_points = 20000, batch_size = 2;

/// Fronts of different widths that move in from the left wall, on this rank's tiles.
std::vector<double> fields_on(const TilePartition& tiles) {
  std::vector<double> out;
  const TileGrid& grid = tiles.grid();
  for (long tile = tiles.begin(); tile < tiles.end(); ++tile) {
    const TileExtent e = grid.extent(tile);
    for (int s = 0; s < batch_size; ++s)
      for (int i = 0; i < basis; ++i)
        for (long t = e.begin[0]; t < e.end[0]; ++t)
          for (long x = e.begin[1]; x < e.end[1]; ++x) {
            const double time = static_cast<double>(t) / (nt - 1), y = (static_cast<double>(x) + 0.5) / nx;
            const double width = (0.05 + 0.03 * i) * std::sqrt(time + 0.002);
            out.push_back(0.05 + 0.1 * s + std::erfc(y / (2 * width)) + 0.02 * std::cos((i + 1) * y));
          }
  }
  return out;
}

/// One problem with what it needs, on the ranks of its communicator.
struct Bench {
  Communicator& communicator;
  TilePartition tiles;
  DiffusionSorption pde{DiffusionSorptionOptions{}};
  CollocatedProblem problem;
  CollocatedBatch batch;
  SampledPoints points;
  std::vector<double> fields, u_bar, fields_bar;

  Bench(Communicator& ranks, int experts, const SolverOptions& solver)
      : communicator(ranks),
        tiles(TileGrid(nt, nx, 1, 4), ranks.size(), ranks.rank()),
        problem(pde, ranks, tiles, times(), centres(), TileGrid(nt, nx, 1, experts), basis,
                FormulationOptions().collocation, solver),
        fields(fields_on(tiles)),
        u_bar(tiles.local_tiles() * batch_size * tiles.grid().tile_points(), 1e-3),
        fields_bar(fields.size()) {
    batch.size = batch_size;
    batch.initial.assign(static_cast<size_t>(batch_size) * nx, 0.1);
    const RandomStream stream(1, "bench-points");
    const TileGrid grid(nt, nx, 1, experts);
    points.resize(batch_size);
    for (int s = 0; s < batch_size; ++s)
      for (long k = 0; k < experts; ++k) {
        const TileExtent box = grid.extent(k);
        const long width = box.end[1] - box.begin[1];
        std::vector<long> chosen;
        for (long p : stream.choose(total_points / experts, grid.tile_points(), s, k))
          chosen.push_back(p / width * nx + box.begin[1] + p % width);
        std::sort(chosen.begin(), chosen.end());
        points[s].push_back(chosen);
      }
  }
  static std::vector<double> times() {
    std::vector<double> t(nt);
    for (int j = 0; j < nt; ++j) t[j] = 5.0 * j;
    return t;
  }
  static std::vector<double> centres() {
    std::vector<double> x(nx);
    for (int i = 0; i < nx; ++i) x[i] = (i + 0.5) / nx;
    return x;
  }

  /// Seconds of a solve and its adjoint; the number of solver steps of an expert and sample is fixed.
  double seconds() {
    communicator.barrier();
    const Stopwatch watch;
    CollocatedSolution solution = problem.solve(batch, fields, points);
    problem.pull_back(batch, fields, points, solution, u_bar, fields_bar);
    communicator.barrier();
    steps = 0;
    for (const auto& sample : solution.reports)
      for (const SolveReport& report : sample) steps = std::max(steps, report.iterations);
    return watch.seconds();
  }
  int steps = 0;
};

double median(std::vector<double> a) {
  std::sort(a.begin(), a.end());
  return a[a.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const MpiSession session(argc, argv);
  Communicator world = Communicator::world(), self = Communicator::self();
  const int pairs = argc > 1 ? std::atoi(argv[1]) : 20;
  SolverOptions solver;
  solver.method = "levenberg_marquardt";
  solver.start = "ones";
  solver.max_steps = argc > 2 ? std::atoi(argv[2]) : 10;
  solver.rtol = solver.atol = 0;
  solver.damping = 1;
  solver.reduction = "qr";
  solver.ridge = 1e-4;
  solver.adjoint_damping = 0;

  Bench one(self, 1, solver), one_shared(world, 1, solver), four(world, 4, solver);
  std::vector<double> alone, shared, experts, ratio, shared_ratio;
  for (int pair = -1; pair < pairs; ++pair) {  // the first is a warm-up
    double a = 0;
    if (world.is_root()) a = one.seconds();
    world.barrier();
    const double b = four.seconds(), c = one_shared.seconds();
    if (pair < 0) continue;
    alone.push_back(a);
    experts.push_back(b);
    shared.push_back(c);
    ratio.push_back(b / a);
    shared_ratio.push_back(c / a);
  }
  if (!world.is_root()) return 0;
  const auto line = [&](const char* name, const std::vector<double>& seconds,
                        const std::vector<double>& ratios, int steps) {
    std::printf("%-28s %8.1f ms a solver step, %2d steps, ratio median %.3f (%.3f .. %.3f)\n", name,
                1e3 * median(seconds) / (steps * batch_size), steps, median(ratios),
                *std::min_element(ratios.begin(), ratios.end()),
                *std::max_element(ratios.begin(), ratios.end()));
  };
  std::printf("%d ranks, %d pairs, forward and adjoint, %d samples\n", world.size(), pairs, batch_size);
  line("one expert on one rank", alone, std::vector<double>(pairs, 1.0), one.steps);
  line("four experts on all ranks", experts, ratio, four.steps);
  line("one expert on all ranks", shared, shared_ratio, one_shared.steps);
  return 0;
}
