#include "src/nn/csr.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "kernels/sparse_product.hpp"
#include "src/tensor/op_support.hpp"
#include "src/tensor/ragged.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

Shape lead_of(const Tensor& x) {
  Shape lead = x.shape();
  lead.erase(lead.rank() - 1);
  lead.erase(lead.rank() - 1);
  return lead;
}

Shape with(Shape shape, std::initializer_list<std::int64_t> more) {
  for (const std::int64_t extent : more) shape.push_back(extent);
  return shape;
}

// Numbers with the leading axes of x; repeated ones keep stride 0.
Tensor lead_values(std::int64_t count, const Tensor& values, const Shape& lead) {
  RANKINE_ASSERT(
      values.rank() >= 1 && values.extent(-1) == count,
      "sparse product: " + values.shape().text() + " in place of " + std::to_string(count) + " numbers");
  return expand(values, with(lead, {count}));
}

// The same for a kernel: one copy serves all leading indices where they share it.
struct LeadValues {
  Tensor dense;
  std::int64_t step;

  explicit LeadValues(const Tensor& v) {
    const int last = v.rank() - 1;
    const std::int64_t count = v.extent(-1);
    bool shared = true;
    for (int i = 0; i < last; ++i) shared = shared && (v.extent(i) == 1 || v.strides()[i] == 0);
    dense = rankine::dense(shared ? v.view({count}, {v.strides()[last]}) : v);
    step = shared ? 0 : count;
  }
};

Cost product_cost(const CsrPattern& pattern, const Shape& lead, std::int64_t width, DType type) {
  const double work = static_cast<double>(pattern.numbers()) * static_cast<double>(lead.count() * width);
  return {2 * work, 2 * work * static_cast<double>(size_of(type))};
}

}  // namespace

void CsrPattern::check() const {
  bool right = static_cast<std::int64_t>(offsets.size()) == rows + 1 && offsets.front() == 0 &&
               offsets.back() == entries() && std::is_sorted(offsets.begin(), offsets.end());
  if (!right)
    throw InputError("sparse matrix: the offsets of " + std::to_string(rows) +
                     " rows must rise from 0 to the number of entries, " + std::to_string(entries()));
  for (std::size_t e = 0; e < columns.size(); ++e)
    if (columns[e] < 0 || columns[e] >= columns_count)
      throw InputError("sparse matrix: entry " + std::to_string(e) + " is in column " +
                       std::to_string(columns[e]) + ", outside 0 .. " + std::to_string(columns_count - 1));
}

const CsrPattern::OnDevice& CsrPattern::on_device() const {
  if (kept_on_device) return *kept_on_device;
  const auto count = static_cast<std::size_t>(entries());
  std::vector<std::int64_t> row(count), from_row(count), entry(count),
      starts(static_cast<std::size_t>(columns_count) + 1, 0);
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i)
    for (auto e = static_cast<std::size_t>(offsets[i]); e < static_cast<std::size_t>(offsets[i + 1]); ++e)
      row[e] = static_cast<std::int64_t>(i);
  for (const std::int64_t j : columns) ++starts[static_cast<std::size_t>(j) + 1];
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  auto next = starts;
  for (std::size_t e = 0; e < count; ++e) {
    const auto to = static_cast<std::size_t>(next[static_cast<std::size_t>(columns[e])]++);
    from_row[to] = row[e];
    entry[to] = static_cast<std::int64_t>(e);
  }
  const Uncounted scope;  // part of the data, not of the tape
  const auto upload = [](const std::vector<std::int64_t>& values) {
    return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
  };
  kept_on_device = std::make_shared<const OnDevice>(OnDevice{
      upload(offsets), upload(columns), upload(row), upload(starts), upload(from_row), upload(entry)});
  return *kept_on_device;
}

SharedPattern make_pattern(std::int64_t rows, std::int64_t columns,
                           std::vector<std::pair<std::int64_t, std::int64_t>> pairs, std::int64_t outputs) {
  for (const auto& [i, j] : pairs)
    if (i < 0 || i >= rows || j < 0 || j >= columns)
      throw InputError("sparse matrix: entry (" + std::to_string(i) + ", " + std::to_string(j) +
                       ") is outside " + std::to_string(rows) + " x " + std::to_string(columns));
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  CsrPattern pattern;
  pattern.rows = rows;
  pattern.columns_count = columns;
  pattern.outputs = outputs;
  pattern.offsets.assign(static_cast<std::size_t>(rows) + 1, 0);
  for (const auto& [i, j] : pairs) {
    ++pattern.offsets[static_cast<std::size_t>(i) + 1];
    pattern.columns.push_back(j);
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i)
    pattern.offsets[i + 1] += pattern.offsets[i];
  return std::make_shared<const CsrPattern>(std::move(pattern));
}

SparseMatrix sparse_matrix(const std::vector<double>& matrix, std::int64_t rows, std::int64_t outputs) {
  const std::int64_t columns = static_cast<std::int64_t>(matrix.size()) / rows;
  std::vector<std::pair<std::int64_t, std::int64_t>> places;
  std::vector<double> values;
  for (std::int64_t i = 0; i < rows / outputs; ++i)
    for (std::int64_t j = 0; j < columns; ++j) {
      std::vector<double> block;
      for (std::int64_t r = 0; r < outputs; ++r)
        block.push_back(matrix[static_cast<std::size_t>((i * outputs + r) * columns + j)]);
      if (std::all_of(block.begin(), block.end(), [](double w) { return w == 0; })) continue;
      places.emplace_back(i, j);
      values.insert(values.end(), block.begin(), block.end());
    }
  const SharedPattern pattern = make_pattern(rows / outputs, columns, std::move(places), outputs);
  return {pattern, Tensor::from(values, {pattern->numbers()})};
}

Graph normalised_graph(std::int64_t nodes, const std::vector<std::pair<std::int64_t, std::int64_t>>& edges,
                       DType type) {
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs;
  for (const auto& [i, j] : edges) {
    pairs.emplace_back(i, j);
    pairs.emplace_back(j, i);
  }
  for (std::int64_t i = 0; i < nodes; ++i) pairs.emplace_back(i, i);
  const SharedPattern pattern = make_pattern(nodes, nodes, std::move(pairs));
  const auto degree = [&](std::int64_t i) {
    const auto k = static_cast<std::size_t>(i);
    return static_cast<double>(pattern->offsets[k + 1] - pattern->offsets[k]);
  };
  std::vector<double> weights;
  for (std::int64_t i = 0; i < nodes; ++i)
    for (std::int64_t e = pattern->offsets[static_cast<std::size_t>(i)];
         e < pattern->offsets[static_cast<std::size_t>(i) + 1]; ++e)
      weights.push_back(1 / std::sqrt(degree(i) * degree(pattern->columns[static_cast<std::size_t>(e)])));
  return {pattern, cast(Tensor::from(weights, {pattern->entries()}), type)};
}

Tensor spmm(const SharedPattern& pattern, const Tensor& values, const Tensor& x, bool transposed,
            const Tensor& bias) {
  const Region<"spmm"> region;
  const CsrPattern& p = *pattern;
  const std::int64_t from_nodes = transposed ? p.all_rows() : p.columns_count,
                     to_nodes = transposed ? p.columns_count : p.all_rows();
  RANKINE_ASSERT(x.rank() >= 2 && x.extent(-2) == from_nodes && x.dtype() == values.dtype() &&
                     !(transposed && bias.defined()),
                 "sparse product: " + std::to_string(p.all_rows()) + " x " + std::to_string(p.columns_count) +
                     " matrix with " + x.shape().text());
  const Shape lead = lead_of(x);
  const std::int64_t width = x.extent(-1), entries = p.entries(), count = lead.count();
  const Tensor v = lead_values(p.numbers(), values, lead), dx = dense(x);
  const Tensor b = bias.defined() ? lead_values(p.all_rows(), bias, lead) : Tensor();
  const LeadValues dv(v), db(bias.defined() ? b : v);
  const CsrPattern::OnDevice& index = p.on_device();
  const auto address = [](const Tensor& indices) { return indices.data<std::int64_t>(); };
  const kernels::CsrRows matrix =
      transposed
          ? kernels::CsrRows{to_nodes,
                             entries,
                             address(index.transposed_offsets),
                             address(index.transposed_columns),
                             address(index.transposed_entries),
                             1,
                             p.outputs}
          : kernels::CsrRows{p.rows, entries, address(index.offsets), address(index.columns), {}, p.outputs};
  Tensor y = Tensor::empty(with(lead, {to_nodes, width}), x.dtype());
  dispatch_real(x.dtype(), "spmm", [&](auto zero) {
    using T = decltype(zero);
    kernels::csr_product<T>(matrix, count, from_nodes, width, dv.dense.data<T>(), dv.step, dx.data<T>(),
                            y.data<T>(), b.defined() ? db.dense.data<T>() : DevicePtr<T>(), db.step);
  });
  return apply_op("spmm", b.defined() ? List{v, x, b} : List{v, x}, y,
                  [pattern, v, x, b, transposed](const List& g, const VjpContext& context) -> List {
                    List back(b.defined() ? 3 : 2);
                    if (context.needs(0))
                      back[0] =
                          transposed ? sampled_product(pattern, x, g[0]) : sampled_product(pattern, g[0], x);
                    if (context.needs(1)) back[1] = spmm(pattern, v, g[0], !transposed);
                    if (b.defined() && context.needs(2)) back[2] = sum(g[0], {-1});
                    return back;
                  },
                  {.cost = product_cost(p, lead, width, x.dtype())});
}

Tensor sampled_product(const SharedPattern& pattern, const Tensor& a, const Tensor& b) {
  const Region<"sampled_product"> region;
  const CsrPattern& p = *pattern;
  RANKINE_ASSERT(a.rank() >= 2 && lead_of(a) == lead_of(b) && a.extent(-2) == p.all_rows() &&
                     b.extent(-2) == p.columns_count && a.extent(-1) == b.extent(-1),
                 "sampled product: " + a.shape().text() + " with " + b.shape().text());
  const Shape lead = lead_of(a);
  const std::int64_t width = a.extent(-1), count = lead.count();
  const Tensor da = dense(a), db = dense(b);
  const CsrPattern::OnDevice& index = p.on_device();
  Tensor z = Tensor::empty(with(lead, {p.numbers()}), a.dtype());
  dispatch_real(a.dtype(), "sampled_product", [&](auto zero) {
    using T = decltype(zero);
    kernels::csr_sampled_product<T>(p.entries(), p.outputs, index.rows.data<std::int64_t>(),
                                    index.columns.data<std::int64_t>(), count, p.all_rows(), p.columns_count,
                                    width, da.data<T>(), db.data<T>(), z.data<T>());
  });
  return apply_op("sampled_product", {a, b}, z,
                  [pattern, a, b](const List& g, const VjpContext& context) -> List {
                    List back(2);
                    if (context.needs(0)) back[0] = spmm(pattern, g[0], b);
                    if (context.needs(1)) back[1] = spmm(pattern, g[0], a, true);
                    return back;
                  },
                  {.cost = product_cost(p, lead, width, a.dtype())});
}

Tensor edge_softmax(const SharedPattern& pattern, const Tensor& values) {
  return segment_softmax(values, -1, pattern->offsets);
}

}  // namespace rankine
