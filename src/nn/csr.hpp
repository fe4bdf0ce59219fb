// Sparse matrices by rows, and products with them: the pattern is fixed, the values are tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "src/tensor/ops.hpp"

namespace rankine {

/// Where the entries of a sparse matrix are: those of row i are `columns[offsets[i] .. offsets[i + 1])`. With
/// `outputs` above 1 row i stands for as many neighbouring rows, an entry for a number in each of them.
struct CsrPattern {
  std::int64_t rows = 0, columns_count = 0;
  std::vector<std::int64_t> offsets{0}, columns;
  std::int64_t outputs = 1;

  /// The pattern in device memory (i64): offsets and columns, the row of each entry, and the transposed
  /// pattern, whose entries keep their order within a column.
  struct OnDevice {
    Tensor offsets, columns, rows;
    Tensor transposed_offsets, transposed_columns, transposed_entries;
  };
  /// Made at the first call; the pattern must not change after it.
  const OnDevice& on_device() const;

  std::int64_t entries() const { return static_cast<std::int64_t>(columns.size()); }
  /// The matrix's rows, and its numbers.
  std::int64_t all_rows() const { return rows * outputs; }
  std::int64_t numbers() const { return entries() * outputs; }
  /// Throws InputError if offsets do not rise from 0 to the number of columns or a column is out of range.
  void check() const;

  mutable std::shared_ptr<const OnDevice> kept_on_device = nullptr;  ///< what on_device() made
};
using SharedPattern = std::shared_ptr<const CsrPattern>;

/// Pattern of (row, column) pairs in any order, sorted by row and column; pairs that repeat become one. Each
/// row stands for `outputs` rows of the matrix. Throws InputError for a pair out of range.
SharedPattern make_pattern(std::int64_t rows, std::int64_t columns,
                           std::vector<std::pair<std::int64_t, std::int64_t>> pairs,
                           std::int64_t outputs = 1);

/// A matrix by rows of blocks.
struct SparseMatrix {
  SharedPattern pattern;
  Tensor values;  ///< f64 [numbers]
};
/// The blocks of `outputs` neighbouring rows that are not all 0 of a matrix [rows, columns], whose rows
/// `outputs` divides.
SparseMatrix sparse_matrix(const std::vector<double>& matrix, std::int64_t rows, std::int64_t outputs);

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
/// values [numbers] or [lead, numbers] or anything that broadcasts to it, those of an entry side by side; y
/// [lead, all rows, F]. `transposed`: the product with the transposed matrix, x [lead, all rows, F]. Sums run in
/// the order of the entries, from `bias` on, if there is one: [all rows] or anything that broadcasts to [lead, all
/// rows], not for the transposed matrix.
Tensor spmm(const SharedPattern& pattern, const Tensor& values, const Tensor& x, bool transposed = false,
            const Tensor& bias = {});

/// z[..., e] = a[..., row(e), :] . b[..., column(e), :], the gradient of spmm to its values: a [lead, all rows,
/// F], b [lead, columns, F], z [lead, numbers].
Tensor sampled_product(const SharedPattern& pattern, const Tensor& a, const Tensor& b);

/// Softmax of each row's entries: values [..., entries]. For patterns of single numbers.
Tensor edge_softmax(const SharedPattern& pattern, const Tensor& values);

}  // namespace rankine
