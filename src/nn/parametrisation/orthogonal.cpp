#include "src/nn/parametrisation/orthogonal.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "src/tensor/ops.hpp"

namespace rankine {

void Orthogonal::Options::options(OptionVisitor& o) {
  o("gain", gain, {.help = "factor on lengths", .min = 0, .exclusive_min = true});
}

Tensor Orthogonal::value(const BoundParameters& parameters, const std::string& name, const Pass&) const {
  const Tensor& part = parameters[name];
  const std::int64_t L = part.extent(0), rows = part.extent(1), columns = part.count() / (L * rows);
  const Tensor matrix = reshape(part, {L, rows, columns}),
               tall = rows < columns ? transpose(matrix, 1, 2) : matrix;
  const std::int64_t n = std::max(rows, columns), m = std::min(rows, columns);
  std::vector<double> unit(static_cast<std::size_t>(n * m), 0.0);
  for (std::int64_t i = 0; i < m; ++i) unit[static_cast<std::size_t>(i * m + i)] = options_.gain;
  Tensor w = expand(cast(Tensor::from(unit, {1, n, m}), part.dtype()), {L, n, m});
  for (std::int64_t i = m; i-- > 0;) {
    const Tensor v = slice(tall, 2, i, i + 1), across = transpose(v, 1, 2);
    w = sub(w, matmul(scale(div(v, matmul(across, v)), 2), matmul(across, w)));
  }
  return reshape(rows < columns ? transpose(w, 1, 2) : w, part.shape());
}

void Tied::Options::options(OptionVisitor& o) {
  o("to", to,
    {.help = "name of the parameter whose values are taken, of an earlier layer", .required = true});
  o("transpose", transpose, {.help = "whether it is transposed, a matrix"});
}

void Tied::add_parameters(ParameterSet& set, const std::string& name, std::uint64_t) const {
  if (!set.contains(options_.to))
    throw InputError(fmt::format("to: there is no parameter '{}' before {}; name one of an earlier layer",
                                 options_.to, name));
  Shape shape = set.part(options_.to).shape;
  if (options_.transpose && shape.rank() == 2) std::swap(shape[0], shape[1]);
  for (ParameterInfo& part : set.parts()) {
    if (part.name != name) continue;
    if (!(part.shape == shape))
      throw InputError(fmt::format("to: {} {} cannot be {} {}{}; leave it out with `except`", name,
                                   part.shape.text(), options_.to, shape.text(),
                                   options_.transpose ? " (transposed)" : ""));
    part.frozen = true;
  }
}

Tensor Tied::value(const BoundParameters& parameters, const std::string&, const Pass&) const {
  const Tensor& other = parameters[options_.to];
  return options_.transpose ? transpose(other, 1, 2) : other;
}

}  // namespace rankine
