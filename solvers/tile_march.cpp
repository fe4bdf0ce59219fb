// The march over tiles. With I the inner cells of a tile, which read no other tile's, and G the interface,
//   A = [A_II A_IG; A_GI A_GG],  S = A_GG - sum over tiles of A_GI A_II^-1 A_IG,
//   x_G = S^-1 (b_G - sum over tiles of A_GI A_II^-1 b_I),  x_I = A_II^-1 (b_I - A_IG x_G).
#include <algorithm>
#include <numeric>
#include <string>

#include "kernels/banded_march.hpp"
#include "kernels/error.hpp"
#include "kernels/lapack.hpp"
#include "solvers/march_parts.hpp"

namespace rankine {
namespace {

using kernels::StencilFrames;

/// The values of all ranks end to end.
template <class T>
std::vector<T> gather(MPI_Comm communicator, const std::vector<T>& own) {
  int ranks = 0, bytes = static_cast<int>(own.size() * sizeof(T));
  MPI_Comm_size(communicator, &ranks);
  std::vector<int> counts(ranks), starts(ranks);
  MPI_Allgather(&bytes, 1, MPI_INT, counts.data(), 1, MPI_INT, communicator);
  std::exclusive_scan(counts.begin(), counts.end(), starts.begin(), 0);
  std::vector<T> all((starts.back() + counts.back()) / sizeof(T));
  MPI_Allgatherv(own.data(), bytes, MPI_BYTE, all.data(), counts.data(), starts.data(), MPI_BYTE,
                 communicator);
  return all;
}

/// Blocks of a sparse matrix, the same for several sets of values.
struct Blocks {
  int unknowns = 1;
  std::vector<int> rows, columns;           // [block], in cells
  std::vector<std::vector<double>> values;  // [set][block][a][b]

  void add_block(int row, int column) {
    rows.push_back(row);
    columns.push_back(column);
  }
  void add_values(size_t set, const double* block) {
    values.resize(std::max(values.size(), set + 1));
    values[set].insert(values[set].end(), block, block + static_cast<long>(unknowns) * unknowns);
  }
  /// y += factor A x, or factor A^T x; x and y are [cell][unknown][column].
  void add_product(int set, double factor, bool transposed, const double* x, int count, double* y) const {
    const int m = unknowns;
    for (size_t e = 0; e < rows.size(); ++e) {
      const double* block = &values[set][e * m * m];
      double* to = y + static_cast<size_t>(transposed ? columns[e] : rows[e]) * m * count;
      const double* from = x + static_cast<size_t>(transposed ? rows[e] : columns[e]) * m * count;
      for (int a = 0; a < m; ++a)
        for (int b = 0; b < m; ++b) {
          const double entry = factor * block[transposed ? b * m + a : a * m + b];
          for (int c = 0; c < count; ++c) to[a * count + c] += entry * from[b * count + c];
        }
    }
  }
};

/// y = M x or M^T x for M [n][n] and x [n][column]. The order of each sum depends on n alone.
void dense_product(const std::vector<double>& matrix, bool transposed, const std::vector<double>& x,
                   int count, std::vector<double>& y) {
  constexpr size_t lanes = 8;
  const size_t n = x.size() / count;
  std::fill(y.begin(), y.end(), 0.0);
  std::vector<double> sums(lanes * count);
  for (size_t i = 0; i < n; ++i) {
    const double* row = &matrix[i * n];
    if (transposed) {
      for (size_t j = 0; j < n; ++j)
        for (int c = 0; c < count; ++c) y[j * count + c] += row[j] * x[i * count + c];
      continue;
    }
    std::fill(sums.begin(), sums.end(), 0.0);
    for (size_t first = 0; first < n; first += lanes)
      for (size_t l = 0; l < std::min(lanes, n - first); ++l)
        for (int c = 0; c < count; ++c) sums[l * count + c] += row[first + l] * x[(first + l) * count + c];
    for (size_t l = 0; l < lanes; ++l)
      for (int c = 0; c < count; ++c) y[i * count + c] += sums[l * count + c];
  }
}

class TileMarch final : public LinearMarch {
 public:
  TileMarch(MPI_Comm communicator, const std::vector<MarchPart>& parts)
      : LinearMarch(first_of(parts).implicit.frames, owned_by(parts), first_of(parts).implicit.unknowns,
                    first_of(parts).history),
        communicator_(communicator) {
    find_cells(parts);
    implicit_firsts_ =
        distinct_frames(communicator, parts, &MarchMatrices::implicit, frames(), matrix_of_frame_);
    take_matrices(parts, &MarchMatrices::implicit, implicit_firsts_);
    if (history())
      take_matrices(
          parts, &MarchMatrices::previous,
          distinct_frames(communicator, parts, &MarchMatrices::previous, frames(), previous_of_frame_));
    factor();
  }

 private:
  /// A matrix cut at the interface; `inner` is not kept of A, which is factored.
  struct Cut {
    Blocks inner, to_interface, from_interface;  // II, IG (which reads the interface), GI
  };
  struct Tile {
    std::vector<int> inner, edge;  // places in this rank's fields: inner cells; interface cells that it owns
    std::vector<int> touched;      // the cells of the interface that it reads or that read it
    Cut implicit, previous;
    std::vector<kernels::BandedMarch> factors;  // [matrix]
  };

  /// Sorts cells into inner ones and interface.
  void find_cells(const std::vector<MarchPart>& parts) {
    std::vector<int> own_cells, own_sizes, own_edges, own_edge_counts;
    for (const MarchPart& part : parts) {
      own_sizes.push_back(static_cast<int>(part.owned.size()));
      for (const int cell : part.owned) own_cells.push_back(part.numbers.at(cell));
    }
    const std::vector<int> cells = gather(communicator_, own_cells), sizes = gather(communicator_, own_sizes);
    const int own_tiles = static_cast<int>(parts.size());
    MPI_Scan(&own_tiles, &first_tile_, 1, MPI_INT, MPI_SUM, communicator_);
    first_tile_ -= own_tiles;
    tile_of_.assign(cells.size(), -1);
    auto cell = cells.begin();
    for (size_t tile = 0; tile < sizes.size(); ++tile)
      for (int i = 0; i < sizes[tile]; ++i, ++cell) {
        RANKINE_ASSERT(*cell >= 0 && *cell < static_cast<int>(cells.size()) && tile_of_[*cell] < 0,
                       "the ranks must own each cell of the grid once");
        tile_of_[*cell] = static_cast<int>(tile);
      }
    place_.assign(cells.size(), 0);
    tiles_.resize(parts.size());
    int at = 0;
    for (size_t p = 0; p < parts.size(); ++p) {
      const MarchPart& part = parts[p];
      const int tile = first_tile_ + static_cast<int>(p);
      const auto reads_higher = [&](const StencilFrames& matrices, int i) {
        for (int s = -matrices.reach; s <= matrices.reach; ++s)
          if (const int to = matrices.neighbour(i, s); to >= 0 && tile_of_[part.numbers[to]] > tile)
            return true;
        return false;
      };
      std::vector<std::pair<int, int>> order;  // of inner cells: where they stand in a band, and their place
      for (const int i : part.owned) {
        const auto& layout = part.matrices->implicit.layout;
        if (reads_higher(part.matrices->implicit, i) ||
            (history() && reads_higher(part.matrices->previous, i))) {
          tiles_[p].edge.push_back(at);
          own_edges.push_back(part.numbers[i]);
        } else {
          order.emplace_back(layout ? layout->place()[i] : i, at);
        }
        ++at;
      }
      std::sort(order.begin(), order.end());
      for (const auto& inner : order) {
        place_[own_cells[inner.second]] = static_cast<int>(tiles_[p].inner.size());
        tiles_[p].inner.push_back(inner.second);
      }
      own_edge_counts.push_back(static_cast<int>(tiles_[p].edge.size()));
    }
    edge_counts_ = gather(communicator_, own_edge_counts);
    interface_ = gather(communicator_, own_edges);
    for (size_t g = 0; g < interface_.size(); ++g) place_[interface_[g]] = -1 - static_cast<int>(g);
  }

  /// Cuts the different frames of A or B. Rows of the interface go to all ranks, since a tile needs those that
  /// read it.
  void take_matrices(const std::vector<MarchPart>& parts, Frames which, const std::vector<int>& firsts) {
    const bool implicit = which == &MarchMatrices::implicit;
    const int m = unknowns(), points = (parts.front().matrices->*which).points();
    Blocks& within = implicit ? implicit_interface_ : previous_interface_;
    within.unknowns = m;
    std::vector<int> own_reads;
    std::vector<double> own_values;
    for (size_t p = 0; p < parts.size(); ++p) {
      const StencilFrames& matrices = parts[p].matrices->*which;
      Tile& tile = tiles_[p];
      Cut& cut = implicit ? tile.implicit : tile.previous;
      cut.inner.unknowns = cut.to_interface.unknowns = cut.from_interface.unknowns = m;
      for (const int i : parts[p].owned)
        for (int s = -matrices.reach; s <= matrices.reach; ++s) {
          const int to = matrices.neighbour(i, s), number = to < 0 ? -1 : parts[p].numbers[to];
          const int row = place_[parts[p].numbers[i]];
          if (row < 0) own_reads.push_back(number);
          if (row < 0 || number < 0) {
            for (const int frame : firsts) {
              const double* block = matrices.at(frame, i, s);
              RANKINE_ASSERT(
                  number >= 0 || std::all_of(block, block + m * m, [](double x) { return x == 0; }),
                  "a row of a march over tiles reads beyond its part's cells");
              if (row < 0) own_values.insert(own_values.end(), block, block + static_cast<long>(m) * m);
            }
            continue;
          }
          const int column = place_[number];
          Blocks& into = column < 0 ? cut.to_interface : cut.inner;
          into.add_block(row, column < 0 ? touch(tile, -1 - column) : column);
          for (size_t set = 0; set < firsts.size(); ++set)
            into.add_values(set, matrices.at(firsts[set], i, s));
        }
    }
    const std::vector<int> reads = gather(communicator_, own_reads);
    const std::vector<double> values = gather(communicator_, own_values);
    for (size_t e = 0; e < reads.size(); ++e) {
      if (reads[e] < 0) continue;
      const int row = static_cast<int>(e) / points, column = place_[reads[e]];
      const int tile = tile_of_[reads[e]] - first_tile_;
      Blocks* into = nullptr;
      if (column < 0) {
        within.add_block(row, -1 - column);
        into = &within;
      } else if (tile >= 0 && tile < static_cast<int>(tiles_.size())) {
        into = &(implicit ? tiles_[tile].implicit : tiles_[tile].previous).from_interface;
        into->add_block(touch(tiles_[tile], row), column);
      }
      for (size_t set = 0; into && set < firsts.size(); ++set)
        into->add_values(set, &values[(e * firsts.size() + set) * m * m]);
    }
  }

  /// The place of a cell of the interface among those that the tile touches.
  static int touch(Tile& tile, int cell) {
    const auto at = std::find(tile.touched.begin(), tile.touched.end(), cell);
    if (at == tile.touched.end()) tile.touched.push_back(cell);
    return static_cast<int>(std::find(tile.touched.begin(), tile.touched.end(), cell) - tile.touched.begin());
  }

  void factor() {
    std::vector<int> own_touched, own_counts;
    for (const Tile& tile : tiles_) {
      own_touched.insert(own_touched.end(), tile.touched.begin(), tile.touched.end());
      own_counts.push_back(static_cast<int>(tile.touched.size()));
    }
    touched_ = gather(communicator_, own_touched);
    touched_counts_ = gather(communicator_, own_counts);
    const size_t m = unknowns(), n = interface_.size() * m;
    for (size_t set = 0; set < implicit_firsts_.size(); ++set) {
      std::vector<double> own_parts;
      int singular = static_cast<int>(touched_counts_.size());
      for (size_t p = 0; p < tiles_.size(); ++p) {
        try {
          factor_inner(tiles_[p], static_cast<int>(set), own_parts);
        } catch (const NumericalError&) {
          singular = std::min(singular, first_tile_ + static_cast<int>(p));
        }
      }
      MPI_Allreduce(MPI_IN_PLACE, &singular, 1, MPI_INT, MPI_MIN, communicator_);
      if (singular < static_cast<int>(touched_counts_.size())) fail(set, "tile " + std::to_string(singular));
      const std::vector<double> parts = gather(communicator_, own_parts);
      std::vector<double> schur(n * n), identity(n * n);
      for (size_t i = 0; i < n; ++i) identity[i * n + i] = 1;
      implicit_interface_.add_product(static_cast<int>(set), 1, false, identity.data(), static_cast<int>(n),
                                      schur.data());
      const double* part = parts.data();
      const int* touched = touched_.data();
      for (const int count : touched_counts_) {
        for (size_t i = 0; i < count * m; ++i)
          for (size_t k = 0; k < count * m; ++k)
            schur[(touched[i / m] * m + i % m) * n + touched[k / m] * m + k % m] -= *part++;
        touched += count;
      }
      if (n > 0 && !lapack::invert(schur, static_cast<int>(n))) fail(set, "the interface of the tiles");
      inverses_.push_back(std::move(schur));
    }
    for (Tile& tile : tiles_) tile.implicit.inner = {};
    implicit_interface_ = {};
    tile_of_ = place_ = {};
  }

  /// Factors A_II and appends A_GI A_II^-1 A_IG.
  void factor_inner(Tile& tile, int set, std::vector<double>& parts) const {
    const int m = unknowns(), n = static_cast<int>(tile.inner.size()),
              t = static_cast<int>(tile.touched.size()) * m;
    std::vector<double> part(static_cast<size_t>(t) * t);
    if (n > 0) {
      const Blocks& inner = tile.implicit.inner;
      int reach = 0;
      for (size_t e = 0; e < inner.rows.size(); ++e)
        reach = std::max(reach, std::abs(inner.rows[e] - inner.columns[e]));
      StencilFrames band(1, n, m, reach);
      for (size_t e = 0; e < inner.rows.size(); ++e)
        for (int k = 0; k < m * m; ++k)
          band.at(0, inner.rows[e], inner.columns[e] - inner.rows[e])[k] += inner.values[set][e * m * m + k];
      tile.factors.emplace_back(band, std::vector{0}, std::vector{0}, StencilFrames());
      std::vector<double> identity(static_cast<size_t>(t) * t), columns(static_cast<size_t>(n) * m * t);
      for (int i = 0; i < t; ++i) identity[static_cast<size_t>(i) * t + i] = 1;
      tile.implicit.to_interface.add_product(set, 1, false, identity.data(), t, columns.data());
      tile.factors.back().solve_frame(0, columns.data(), columns.data(), t, false);
      tile.implicit.from_interface.add_product(set, 1, false, columns.data(), t, part.data());
    }
    parts.insert(parts.end(), part.begin(), part.end());
  }

  [[noreturn]] void fail(size_t set, const std::string& where) const {
    throw NumericalError("linear march over tiles: the matrix of frame " +
                         std::to_string(implicit_firsts_[set]) + " is singular in " + where +
                         "; take smaller time steps, linearise about another state or march by GMRES");
  }

  void solve(const double* rhs, double* solution, int columns, bool transposed) const override {
    const size_t numbers = static_cast<size_t>(unknowns()) * columns;  // of a cell
    const auto size = [&](const std::vector<int>& cells) { return cells.size() * numbers; };
    std::vector<double> right(size(interface_)), edge(right.size()), before(right.size());
    std::vector<std::vector<double>> inner(tiles_.size()), work(tiles_.size());
    const auto take = [&](const double* field, const std::vector<int>& cells, std::vector<double>& out) {
      for (const int cell : cells)
        out.insert(out.end(), field + cell * numbers, field + (cell + 1) * numbers);
    };
    for (int step = 0; step < frames(); ++step) {
      const int frame = transposed ? frames() - 1 - step : step, set = matrix_of_frame_[frame];
      const int old = history() && step > 0 ? previous_of_frame_[transposed ? frame + 1 : frame] : -1;
      const double* r = rhs + static_cast<size_t>(frame) * cells() * numbers;
      double* x = solution + static_cast<size_t>(frame) * cells() * numbers;
      const auto reads_interface = [&](const Cut& cut) -> const Blocks& {
        return transposed ? cut.from_interface : cut.to_interface;
      };
      const auto read_by_interface = [&](const Cut& cut) -> const Blocks& {
        return transposed ? cut.to_interface : cut.from_interface;
      };
      std::vector<double> send, near, part;
      for (size_t p = 0; p < tiles_.size(); ++p) {
        const Tile& tile = tiles_[p];
        part.assign(size(tile.touched), 0.0);
        work[p].clear();
        take(r, tile.inner, work[p]);
        if (old >= 0) {
          near.clear();
          take(before.data(), tile.touched, near);
          read_by_interface(tile.previous)
              .add_product(old, 1, transposed, inner[p].data(), columns, part.data());
          tile.previous.inner.add_product(old, 1, transposed, inner[p].data(), columns, work[p].data());
          reads_interface(tile.previous)
              .add_product(old, 1, transposed, near.data(), columns, work[p].data());
        }
        inner[p] = work[p];
        solve_inner(tile, set, inner[p], columns, transposed);
        read_by_interface(tile.implicit)
            .add_product(set, -1, transposed, inner[p].data(), columns, part.data());
        take(r, tile.edge, send);
        send.insert(send.end(), part.begin(), part.end());
      }
      const std::vector<double> all = gather(communicator_, send);
      const double *from = all.data(), *parts = all.data();
      double* to = right.data();
      for (size_t tile = 0; tile < edge_counts_.size(); ++tile) {
        to = std::copy_n(from, edge_counts_[tile] * numbers, to);
        from += (edge_counts_[tile] + touched_counts_[tile]) * numbers;
      }
      const int* touched = touched_.data();
      for (size_t tile = 0; tile < edge_counts_.size(); ++tile) {
        parts += edge_counts_[tile] * numbers;
        for (int i = 0; i < touched_counts_[tile]; ++i, ++touched)
          for (size_t k = 0; k < numbers; ++k) right[*touched * numbers + k] += *parts++;
      }
      if (old >= 0) previous_interface_.add_product(old, 1, transposed, before.data(), columns, right.data());
      dense_product(inverses_[set], transposed, right, columns, edge);
      int own = std::accumulate(edge_counts_.begin(), edge_counts_.begin() + first_tile_, 0);
      for (size_t p = 0; p < tiles_.size(); ++p) {
        const Tile& tile = tiles_[p];
        near.clear();
        take(edge.data(), tile.touched, near);
        reads_interface(tile.implicit).add_product(set, -1, transposed, near.data(), columns, work[p].data());
        solve_inner(tile, set, work[p], columns, transposed);
        inner[p].swap(work[p]);
        for (size_t i = 0; i < tile.inner.size(); ++i)
          std::copy_n(&inner[p][i * numbers], numbers, x + tile.inner[i] * numbers);
        for (const int cell : tile.edge) std::copy_n(&edge[own++ * numbers], numbers, x + cell * numbers);
      }
      before.swap(edge);
    }
  }

  static void solve_inner(const Tile& tile, int set, std::vector<double>& x, int columns, bool transposed) {
    if (!tile.inner.empty()) tile.factors[set].solve_frame(0, x.data(), x.data(), columns, transposed);
  }

  MPI_Comm communicator_;
  int first_tile_ = 0;
  std::vector<int> tile_of_,
      place_;  // [cell of the grid], while it is made: place >= 0 in a tile, or -1 - cell of G
  std::vector<int> interface_;                               // numbers of its cells, in the order of tiles
  std::vector<int> edge_counts_, touched_counts_, touched_;  // [tile]; [tile][touched]
  std::vector<Tile> tiles_;                                  // of this rank
  Blocks implicit_interface_, previous_interface_;           // GG
  std::vector<std::vector<double>> inverses_;                // [matrix][G][G]
  std::vector<int> implicit_firsts_, matrix_of_frame_, previous_of_frame_;
};

}  // namespace

std::unique_ptr<LinearMarch> make_tile_march(MPI_Comm communicator, const std::vector<MarchPart>& parts) {
  return std::make_unique<TileMarch>(communicator, parts);
}

}  // namespace rankine
