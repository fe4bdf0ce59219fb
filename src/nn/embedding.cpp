#include "src/nn/embedding.hpp"

#include "kernels/row_ops.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

using List = std::vector<Tensor>;

Tensor checked(const Tensor& tokens, std::int64_t vocabulary, const BadIndex& message) {
  if (message) return checked_indices(tokens, vocabulary, message);
  return checked_indices(tokens, vocabulary,
                         [=, shape = tokens.shape()](std::int64_t place, std::int64_t token) {
                           return "token " + std::to_string(token) + " at place " + std::to_string(place) +
                                  " of " + shape.text() + " is outside 0 .. " +
                                  std::to_string(vocabulary - 1) + ", the vocabulary of the embedding";
                         });
}

Tensor sum_rows(const Tensor& rows, const Tensor& tokens, std::int64_t vocabulary);

// The ops with tokens that are dense and in range.
Tensor pick_rows(const Tensor& table, const Tensor& tokens) {
  const Region<"embedding"> region;
  const std::int64_t shards = table.extent(0), vocabulary = table.extent(1), width = table.extent(2);
  Shape shape = tokens.shape();
  shape.push_back(width);
  Tensor y = Tensor::empty(shape, table.dtype());
  const std::int64_t per_shard = shards == 0 ? 0 : tokens.count() / shards;
  const Tensor values = table.strides()[2] == 1 || width == 1 ? table.detach() : table.clone();
  dispatch_real(table.dtype(), "embedding", [&](auto zero) {
    using T = decltype(zero);
    kernels::rows_by_token<T>({shards, vocabulary, width, values.strides()[0], values.strides()[1]},
                              per_shard, values.data<T>(), tokens.data<std::int32_t>(), y.data<T>());
  });
  return apply_op(
      "embedding", {table}, y,
      [tokens, vocabulary](const auto& g, const auto&) { return List{sum_rows(g[0], tokens, vocabulary)}; },
      {.cost = {0, 2 * bytes_of(y)}});
}

Tensor sum_rows(const Tensor& rows, const Tensor& tokens, std::int64_t vocabulary) {
  const Region<"sum_by_token"> region;
  const std::int64_t width = rows.extent(-1), shards = rows.extent(0);
  const Tensor from = dense(rows);
  RANKINE_ASSERT(tokens.count() * width == from.count(), "sum_by_token: one token for each row");
  const Uncounted scope;  // mostly the gradient of a parameter
  Tensor y = Tensor::empty({shards, vocabulary, width}, rows.dtype());
  const std::int64_t per_shard = shards == 0 ? 0 : tokens.count() / shards;
  dispatch_real(rows.dtype(), "sum_by_token", [&](auto zero) {
    using T = decltype(zero);
    kernels::sum_rows_by_token<T>({shards, vocabulary, width, vocabulary * width, width}, per_shard,
                                  from.data<T>(), tokens.data<std::int32_t>(), y.data<T>());
  });
  return apply_op("sum_by_token", {rows}, y,
                  [tokens](const auto& g, const auto&) { return List{pick_rows(g[0], tokens)}; },
                  {.cost = {static_cast<double>(rows.count()), 2 * bytes_of(rows)}});
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& tokens, const BadIndex& message) {
  RANKINE_ASSERT(table.rank() == 3 && tokens.rank() >= 1 && tokens.dtype() == DType::i32 &&
                     tokens.extent(0) == table.extent(0),
                 "embedding: table " + table.shape().text() + ", tokens " + tokens.shape().text() + " " +
                     name_of(tokens.dtype()));
  return pick_rows(table, checked(tokens, table.extent(1), message));
}

Tensor sum_by_token(const Tensor& rows, const Tensor& tokens, std::int64_t vocabulary) {
  return sum_rows(rows, checked(tokens, vocabulary, {}), vocabulary);
}

}  // namespace rankine
