// Rows of a table by token, and back.
#pragma once

#include "src/nn/index_check.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {

/// table [L, V, D], tokens [L, ...] i32 in [0, V): rows table[l, tokens[l, ...]], [L, ..., D]. Throws
/// InputError for a token out of range, with the text of `message` if there is one.
Tensor embedding(const Tensor& table, const Tensor& tokens, const BadIndex& message = {});
/// The adjoint: rows [L, ..., D] summed by token, in the order of the tokens, into [L, V, D].
Tensor sum_by_token(const Tensor& rows, const Tensor& tokens, std::int64_t vocabulary);

}  // namespace rankine
