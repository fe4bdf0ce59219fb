// The march over ranks, forward and adjoint, on one sample in two axes: an implicit diffusion whose coefficient
// moves, so that each frame has matrices of its own. Prints time, peak memory, messages and bytes a rank.
//   mpirun -n 2 bench_distributed_march [cells per axis] [frames] [tiles per axis] [repeats] [march] [PETSc options...]
// The march is `krylov`, `tiles` or, on one rank and with one tile, `direct`.
#include "solvers/distributed_march.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>

#include <mpi.h>

#include "kernels/runtime.hpp"
#include "solvers/petsc_session.hpp"
#include "src/comm/communicator.hpp"
#include "src/comm/tiles.hpp"
#include "src/core/clock.hpp"
#include "src/core/memory.hpp"

using namespace rankine;

namespace {

/// What this rank has sent through any library: the program stands before MPI's own names.
struct Sent {
  double messages = 0, bytes = 0, reductions = 0, reduced_bytes = 0, gathers = 0, gathered_bytes = 0;
} sent;
std::map<MPI_Request, double> persistent;

double size_of(int count, MPI_Datatype type) {
  int size = 0;
  PMPI_Type_size(type, &size);
  return static_cast<double>(size) * count;
}
void add_message(double bytes) {
  ++sent.messages;
  sent.bytes += bytes;
}

}  // namespace

extern "C" {
int MPI_Send(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm) {
  add_message(size_of(count, type));
  return PMPI_Send(data, count, type, to, tag, comm);
}
int MPI_Isend(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request* r) {
  add_message(size_of(count, type));
  return PMPI_Isend(data, count, type, to, tag, comm, r);
}
int MPI_Send_init(const void* data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
                  MPI_Request* r) {
  const int code = PMPI_Send_init(data, count, type, to, tag, comm, r);
  persistent[*r] = size_of(count, type);
  return code;
}
int MPI_Startall(int count, MPI_Request requests[]) {
  for (int i = 0; i < count; ++i)
    if (const auto found = persistent.find(requests[i]); found != persistent.end())
      add_message(found->second);
  return PMPI_Startall(count, requests);
}
int MPI_Start(MPI_Request* request) {
  if (const auto found = persistent.find(*request); found != persistent.end()) add_message(found->second);
  return PMPI_Start(request);
}
int MPI_Request_free(MPI_Request* request) {
  persistent.erase(*request);
  return PMPI_Request_free(request);
}
int MPI_Allgatherv(const void* from, int count, MPI_Datatype type, void* to, const int counts[],
                   const int starts[], MPI_Datatype to_type, MPI_Comm comm) {
  ++sent.gathers;
  sent.gathered_bytes += size_of(count, type);
  return PMPI_Allgatherv(from, count, type, to, counts, starts, to_type, comm);
}
int MPI_Allreduce(const void* from, void* to, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  ++sent.reductions;
  sent.reduced_bytes += size_of(count, type);
  return PMPI_Allreduce(from, to, count, type, op, comm);
}
}

namespace {

/// Rows of the cells of one tile, on these cells and one more around them.
struct Tile {
  MarchMatrices matrices;
  MarchPart part;

  Tile(int n, int frames, const TileExtent& extent) {
    int begin[2], size[2];
    for (int axis = 0; axis < 2; ++axis) {
      begin[axis] = std::max<int>(0, static_cast<int>(extent.begin[axis + 1]) - 1);
      size[axis] = std::min<int>(n, static_cast<int>(extent.end[axis + 1]) + 1) - begin[axis];
    }
    const auto layout = std::make_shared<const kernels::StencilLayout>(std::vector{size[0], size[1]},
                                                                       std::vector{false, false}, false);
    matrices = {kernels::StencilFrames(frames, layout, 1), kernels::StencilFrames(frames, layout, 1)};
    const double dt = 0.5 / frames, h = 1.0 / n;
    for (int i = 0; i < size[0]; ++i)
      for (int k = 0; k < size[1]; ++k) {
        const int cell = i * size[1] + k, x = begin[0] + i, y = begin[1] + k;
        part.numbers.push_back(x * n + y);
        if (x < extent.begin[1] || x >= extent.end[1] || y < extent.begin[2] || y >= extent.end[2]) continue;
        part.owned.push_back(cell);
        for (int j = 0; j < frames; ++j) {
          fill(matrices.implicit, j, cell, n, x, y, dt * (j + 1), dt / (2 * h * h));
          fill(matrices.previous, j, cell, n, x, y, dt * j, -dt / (2 * h * h));
        }
      }
    part.matrices = &matrices;
  }

  /// 1 + factor K, K the diffusion with coefficient 0.1 + u for a bump u that moves; the left wall holds the
  /// value, the others are insulated.
  static void fill(kernels::StencilFrames& to, int frame, int cell, int n, int x, int y, double t,
                   double factor) {
    *to.at(frame, cell, 0) += 1;
    for (const auto& [dx, dy] : {std::pair{-1, 0}, {1, 0}, {0, -1}, {0, 1}}) {
      const bool outside = x + dx < 0 || x + dx >= n || y + dy < 0 || y + dy >= n;
      if (outside && dx >= 0) continue;
      const double at_x = (x + 0.5 + 0.5 * dx) / n - 0.2 - t, at_y = (y + 0.5 + 0.5 * dy) / n - 0.5;
      const double flow = factor * (0.1 + std::exp(-20 * (at_x * at_x + at_y * at_y)));
      *to.at(frame, cell, 0) += outside ? 2 * flow : flow;
      if (!outside) *to.at(frame, cell, to.layout->point({dx, dy, 0})) -= flow;
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  const MpiSession mpi(argc, argv);
  const KokkosSession kokkos;
  const auto argument = [&](int i, int otherwise) { return argc > i ? std::atoi(argv[i]) : otherwise; };
  const int n = argument(1, 128), frames = argument(2, 16), tiles = argument(3, 4), repeats = argument(4, 3);
  std::vector<std::string> options;
  const std::string kind = argc > 5 ? argv[5] : "krylov";
  for (int i = 6; i < argc; ++i) options.push_back(argv[i]);
  const PetscSession petsc(argc, argv, options);
  const Communicator world = Communicator::world();
  const TilePartition partition(TileGrid({1, n, n}, {1, tiles, tiles}), world.size(), world.rank());
  const double base = static_cast<double>(current_memory_bytes());

  Stopwatch watch;
  std::unique_ptr<LinearMarch> march;
  {
    std::vector<std::unique_ptr<Tile>> rows;
    std::vector<MarchPart> parts;
    for (auto tile = partition.begin(); tile < partition.end(); ++tile) {
      rows.push_back(std::make_unique<Tile>(n, frames, partition.grid().extent(tile)));
      parts.push_back(rows.back()->part);
    }
    if (kind == "direct")
      march = make_direct_march(std::move(rows.front()->matrices));
    else if (kind == "tiles")
      march = make_tile_march(MPI_COMM_WORLD, parts);
    else
      march = make_distributed_march(MPI_COMM_WORLD, parts);
  }
  const double build = watch.lap();
  std::vector<double> r(static_cast<size_t>(frames) * march->width()), e(r.size());
  for (size_t i = 0; i < r.size(); ++i) r[i] = std::sin(0.7 * static_cast<double>(i));
  double best = 1e30;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    world.barrier();
    sent = {};
    watch.lap();
    march->apply(r, e);
    march->apply_transpose(e, e);
    const Sent here = sent;
    world.barrier();
    best = std::min(best, watch.lap());
    sent = here;
  }
  const double peak = static_cast<double>(peak_memory_bytes()) - base;
  const double applied = 2.0 * frames;
  const std::vector<Sent> all = world.gather(sent);
  const std::vector<double> peaks = world.gather(peak);
  if (world.is_root()) {
    const auto most = [&](auto of) {
      double value = 0;
      for (const Sent& s : all) value = std::max(value, of(s));
      return value;
    };
    std::printf("ranks %d, %d x %d cells, %d frames, %s: built in %.3f s, forward and adjoint %.3f s\n",
                world.size(), n, n, frames, kind.c_str(), build, best);
    if (const auto* krylov = dynamic_cast<const DistributedMarch*>(march.get())) {
      const MarchReport& report = krylov->report();
      std::printf("  %s, iterations a solve: %d to %d, mean %.1f\n", report.solver.c_str(), report.least,
                  report.most, report.mean());
    }
    std::printf("  peak memory above the start, most of a rank: %.1f MB\n",
                *std::max_element(peaks.begin(), peaks.end()) / 1e6);
    std::printf(
        "  a solve, most of a rank: %.1f messages of %.0f bytes in all, %.1f reductions of %.0f, %.1f gathers of %.0f\n",
        most([](const Sent& s) { return s.messages; }) / applied,
        most([](const Sent& s) { return s.bytes; }) / applied,
        most([](const Sent& s) { return s.reductions; }) / applied,
        most([](const Sent& s) { return s.reduced_bytes; }) / applied,
        most([](const Sent& s) { return s.gathers; }) / applied,
        most([](const Sent& s) { return s.gathered_bytes; }) / applied);
  }
  return 0;
}
