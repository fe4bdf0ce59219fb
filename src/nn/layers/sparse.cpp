#include "src/nn/layers/sparse.hpp"

#include <fmt/format.h>

#include "src/nn/initialisation.hpp"

namespace rankine {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

SharedPattern pattern_of(const std::vector<std::string>& text, std::int64_t rows, std::int64_t inputs,
                         int block) {
  const std::int64_t digits = (inputs + 3) / 4;
  if (static_cast<std::int64_t>(text.size()) != rows)
    throw InputError(fmt::format("pattern: has {} entries for {} rows of blocks", text.size(), rows));
  std::vector<std::pair<std::int64_t, std::int64_t>> places;
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::string& row = text[static_cast<std::size_t>(i)];
    if (static_cast<std::int64_t>(row.size()) != digits)
      throw InputError(
          fmt::format("pattern: '{}' has {} digits, where each is for four of the {} inputs; give {}", row,
                      row.size(), inputs, digits));
    for (std::int64_t at = 0; at < digits; ++at) {
      const std::size_t digit = kDigits.find(row[static_cast<std::size_t>(at)]);
      if (digit == std::string_view::npos)
        throw InputError(fmt::format("pattern: '{}' is no hexadecimal number; use 0 .. 9 and a .. f", row));
      for (int bit = 0; bit < 4; ++bit)
        if ((digit >> (3 - bit) & 1) != 0) places.emplace_back(i, at * 4 + bit);
    }
  }
  if (places.empty()) throw InputError("pattern: holds no weight; give it one at least");
  return make_pattern(rows, inputs, std::move(places), block);
}

}  // namespace

std::vector<std::string> pattern_text(const CsrPattern& pattern) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < static_cast<std::size_t>(pattern.rows); ++i) {
    std::vector<int> digits(static_cast<std::size_t>((pattern.columns_count + 3) / 4), 0);
    for (auto e = static_cast<std::size_t>(pattern.offsets[i]);
         e < static_cast<std::size_t>(pattern.offsets[i + 1]); ++e)
      digits[static_cast<std::size_t>(pattern.columns[e] / 4)] |= 8 >> pattern.columns[e] % 4;
    std::string& row = out.emplace_back();
    for (const int digit : digits) row += kDigits[static_cast<std::size_t>(digit)];
  }
  return out;
}

template <int rank>
void SparseProduct<rank>::Options::options(OptionVisitor& o) {
  o(rank == 2 ? "channels" : "units", outputs, {.help = "outputs", .min = 1, .required = true});
  o("block", block, {.help = "neighbouring outputs whose weights stand in the same places", .min = 1});
  o("pattern", pattern,
    {.help =
         "where there are weights: for each row of blocks hexadecimal digits, each of four inputs, the first "
         "of which is its highest bit",
     .required = true});
  o("bias", bias, {.help = "whether a bias is added"});
}

template <int rank>
SparseProduct<rank>::SparseProduct(const Options& options, const LayerContext& context)
    : Layer(context), options_(options) {
  if (rank == 2 ? input().rank() != 3 : input().rank() == 0)
    throw InputError(fmt::format("{}: the input is {}; it needs {}", kName, input().text(),
                                 rank == 2 ? "images [channels, height, width]" : "an axis to act on"));
  if (options.outputs % options.block != 0)
    throw InputError(fmt::format("{}: block: {} does not divide the {} outputs; choose a divisor", kName,
                                 options.block, options.outputs));
  try {
    pattern_ = pattern_of(options.pattern, options.outputs / options.block, input()[axis()], options.block);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", kName, error.what()));
  }
}

template <int rank>
Shape SparseProduct<rank>::output() const {
  Shape out = input();
  out[axis()] = options_.outputs;
  return out;
}

template <int rank>
void SparseProduct<rank>::add_parameters(ParameterSet& parameters, std::uint64_t seed) const {
  const auto numbers = static_cast<double>(pattern_->numbers());
  const double fan_in = numbers / options_.outputs,
               fan_out = numbers / static_cast<double>(pattern_->columns_count);
  add_parameter(parameters, {.name = name() + ".weight", .shape = {pattern_->entries(), pattern_->outputs}},
                Initialisation::uniform, fan_in, fan_out, seed);
  if (options_.bias)
    add_parameter(parameters, {.name = name() + ".bias", .shape = {options_.outputs}, .group = "bias"},
                  Initialisation::uniform, fan_in, fan_out, seed);
}

template <int rank>
Products SparseProduct<rank>::products() const {
  return {.weights = {{name() + ".weight", static_cast<double>(output().count() / options_.outputs)}}};
}

template <int rank>
Tensor SparseProduct<rank>::forward(const BoundParameters& parameters, const Tensor& x, Pass&) const {
  const std::int64_t shards = x.extent(0), in = pattern_->columns_count, out = options_.outputs;
  const Tensor weight = parameters[name() + ".weight"];
  const Tensor bias = options_.bias ? parameters[name() + ".bias"] : Tensor();
  // Vectors are turned, so that the samples lie side by side.
  const Tensor columns =
      rank == 2 ? reshape(x, {shards, x.extent(1), in, -1}) : transpose(reshape(x, {shards, -1, in}), 1, 2);
  const auto of_shard = [&](const Tensor& values, std::int64_t count) {
    return rank == 2 ? reshape(values, {shards, 1, count}) : reshape(values, {shards, count});
  };
  const Tensor y = spmm(pattern_, of_shard(weight, pattern_->numbers()), columns, false,
                        bias.defined() ? of_shard(bias, out) : Tensor());
  Shape shape = output();
  shape.insert(0, x.extent(1));
  shape.insert(0, shards);
  return reshape(rank == 2 ? y : transpose(y, 1, 2), shape);
}

template class SparseProduct<0>;
template class SparseProduct<2>;

}  // namespace rankine
