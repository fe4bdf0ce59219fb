// Sparse matrices by rows, and products with them: the pattern is fixed, the values are tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "src/tensor/ops.hpp"

namespace rankine {

/// Where the entries of a sparse matrix are: those of row i are `columns[offsets[i] .. offsets[i + 1])`.
struct CsrPattern {
  std::int64_t rows = 0, columns_count = 0;
  std::vector<std::int64_t> offsets{0}, columns;

  /// The pattern in device memory (i64): offsets and columns, the row of each entry, and the transposed
  /// pattern, whose entries keep their order within a column.
  struct OnDevice {
    Tensor offsets, columns, rows;
    Tensor transposed_offsets, transposed_columns, transposed_entries;
  };
  /// Made at the first call; the pattern must not change after it.
  const OnDevice& on_device() const;

  std::int64_t entries() const { return static_cast<std::int64_t>(columns.size()); }
  /// Throws InputError if offsets do not rise from 0 to the number of columns or a column is out of range.
  void check() const;

  mutable std::shared_ptr<const OnDevice> kept_on_device = nullptr;  ///< what on_device() made
};
using SharedPattern = std::shared_ptr<const CsrPattern>;

/// Pattern of (row, column) pairs in any order, sorted by row and column; pairs that repeat become one.
/// Throws InputError for a pair out of range.
SharedPattern make_pattern(std::int64_t rows, std::int64_t columns,
                           std::vector<std::pair<std::int64_t, std::int64_t>> pairs);

/// A graph for layers: the pattern's row i lists the nodes that node i hears, with their weights.
struct Graph {
  SharedPattern pattern;
  Tensor weights;                  ///< [entries]; may be on the tape (an edge mask)
  std::int64_t virtual_nodes = 0;  ///< how many of the last nodes stand for classes, one for each
  /// How many of a node's last features are its label: one-hot, or equal where it has none.
  std::int64_t label_columns = 0;
};

/// D^-1/2 (A + I) D^-1/2 with the degrees D of A + I (Kipf and Welling, arXiv 1609.02907), A being 1 for each
/// edge in both directions; an edge from a node to itself counts once with I.
Graph normalised_graph(std::int64_t nodes, const std::vector<std::pair<std::int64_t, std::int64_t>>& edges,
                       DType type);

/// y[..., i, :] = sum over entries e of row i of values[..., e] x[..., column(e), :]. x [lead, columns, F],
/// values [entries] or [lead, entries] or anything that broadcasts to it; y [lead, rows, F]. `transposed`:
/// the product with the transposed matrix, x [lead, rows, F]. Sums run in the order of the entries.
Tensor spmm(const SharedPattern& pattern, const Tensor& values, const Tensor& x, bool transposed = false);

/// z[..., e] = a[..., row(e), :] . b[..., column(e), :], the gradient of spmm to its values: a [lead, rows,
/// F], b [lead, columns, F], z [lead, entries].
Tensor sampled_product(const SharedPattern& pattern, const Tensor& a, const Tensor& b);

/// Softmax of each row's entries: values [..., entries].
Tensor edge_softmax(const SharedPattern& pattern, const Tensor& values);

}  // namespace rankine
