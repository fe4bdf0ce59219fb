#include "src/nn/embedding.hpp"

#include <algorithm>

#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

void check(const Tensor& tokens, std::int64_t vocabulary) {
  for (std::int64_t i = 0, end = tokens.count(); i < end; ++i) {
    const std::int32_t token = tokens.data<std::int32_t>()[i];
    if (token < 0 || token >= vocabulary)
      throw InputError("token " + std::to_string(token) + " at place " + std::to_string(i) + " of " +
                       tokens.shape().text() + " is outside 0 .. " + std::to_string(vocabulary - 1) +
                       ", the vocabulary of the embedding");
  }
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& tokens) {
  RANKINE_ASSERT(table.rank() == 3 && tokens.rank() >= 1 && tokens.dtype() == DType::i32 &&
                     tokens.extent(0) == table.extent(0),
                 "embedding: table " + table.shape().text() + ", tokens " + tokens.shape().text() + " " +
                     name_of(tokens.dtype()));
  const std::int64_t shards = table.extent(0), vocabulary = table.extent(1), width = table.extent(2);
  const Tensor which = dense(tokens);
  check(which, vocabulary);
  Shape shape = tokens.shape();
  shape.push_back(width);
  Tensor y = Tensor::empty(shape, table.dtype());
  const std::int64_t per_shard = shards == 0 ? 0 : which.count() / shards;
  const Tensor values = table.strides()[2] == 1 || width == 1 ? table.detach() : table.clone();
  dispatch_real(table.dtype(), "embedding", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t i = 0, end = which.count(); i < end; ++i)
      std::copy_n(values.data<T>() + (i / per_shard) * values.strides()[0] +
                      which.data<std::int32_t>()[i] * values.strides()[1],
                  width, y.data<T>() + i * width);
  });
  return apply_op("embedding", {table}, y,
                  [which, vocabulary](const auto& g, const auto&) {
                    return std::vector<Tensor>{sum_by_token(g[0], which, vocabulary)};
                  },
                  {.cost = {0, 2 * bytes_of(y)}});
}

Tensor sum_by_token(const Tensor& rows, const Tensor& tokens, std::int64_t vocabulary) {
  const std::int64_t width = rows.extent(-1), shards = rows.extent(0);
  const Tensor which = dense(tokens), from = dense(rows);
  RANKINE_ASSERT(which.count() * width == from.count(), "sum_by_token: one token for each row");
  check(which, vocabulary);
  const Uncounted scope;  // mostly the gradient of a parameter
  Tensor y = Tensor::zeros({shards, vocabulary, width}, rows.dtype());
  const std::int64_t per_shard = shards == 0 ? 0 : which.count() / shards;
  dispatch_real(rows.dtype(), "sum_by_token", [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t i = 0, end = which.count(); i < end; ++i) {
      T* to = y.data<T>() + ((i / per_shard) * vocabulary + which.data<std::int32_t>()[i]) * width;
      const T* row = from.data<T>() + i * width;
      for (std::int64_t d = 0; d < width; ++d) to[d] += row[d];
    }
  });
  return apply_op("sum_by_token", {rows}, y,
                  [which](const auto& g, const auto&) { return std::vector<Tensor>{embedding(g[0], which)}; },
                  {.cost = {static_cast<double>(rows.count()), 2 * bytes_of(rows)}});
}

}  // namespace rankine
