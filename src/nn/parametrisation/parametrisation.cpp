#include "src/nn/parametrisation/parametrisation.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "src/nn/initialisation.hpp"
#include "src/nn/parametrisation/gaussian.hpp"
#include "src/nn/parametrisation/largest.hpp"
#include "src/nn/parametrisation/orthogonal.hpp"
#include "src/nn/parametrisation/quantisers.hpp"
#include "src/nn/parametrisation/scores.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {

void LowRankOptions::options(OptionVisitor& o) {
  o("rank", rank, {.help = "rank of the trained update of each matrix", .min = 1});
  o("scale", scale, {.help = "factor of the update", .min = 0, .exclusive_min = true});
}

void LowRank::add_parameters(ParameterSet& set, const std::string& name, std::uint64_t seed) const {
  const Shape shape = set.part(name).shape;
  const std::int64_t out = shape[0], in = shape[1], rank = options_.rank;
  if (rank > std::min(out, in))
    throw InputError(
        fmt::format("rank: {} is more than {} {} can have; choose at most {}, or leave it out "
                    "with `except`",
                    rank, name, shape.text(), std::min(out, in)));
  for (ParameterInfo& part : set.parts())
    if (part.name == name) part.frozen = true;
  add_constant(set, {.name = name + ".low_rank.out", .shape = {out, rank}, .group = "low_rank"}, 0);
  add_parameter(set, {.name = name + ".low_rank.in", .shape = {rank, in}, .group = "low_rank"},
                Initialisation::uniform, static_cast<double>(in), static_cast<double>(rank), seed);
}

Tensor LowRank::value(const BoundParameters& parameters, const std::string& name, const Pass&) const {
  const Tensor update = matmul(parameters[name + ".low_rank.out"], parameters[name + ".low_rank.in"]);
  return add(parameters[name], options_.scale == 1 ? update : scale(update, options_.scale));
}

Tensor repeated(const std::function<Tensor(const Tensor&)>& make, const Tensor& x) {
  const NoGrad off;
  const CostAccount no_cost;  // every rank does it
  return expand(make(dense(slice(x.detach(), 0, 0, 1))), x.shape());
}

const Registry<Parametrisation>& parametrisations() {
  static const Registry<Parametrisation> table(
      "parametrisation",
      {
          entry<LowRank>("low_rank", "a frozen matrix and a trained update of low rank"),
          entry<Orthogonal>("orthogonal", "a product of reflections, which preserves lengths"),
          entry<Tied>("tied", "the values of an earlier parameter"),
          entry<FixedPoint>("fixed_point", "rounded to fixed point, trained without rounding"),
          entry<FloatFormat>("float_format", "rounded to a format of few bits, trained without rounding"),
          entry<Scores>("scores", "frozen weights of which training chooses those with the best scores"),
          entry<Largest>("n_m", "the n largest of each m weights, the others fading out in training"),
          entry<Gaussian>("gaussian", "normal, with means and variances that are trained"),
          entry<PowerOfTwo>("power_of_two", "rounded to sums of powers of two, trained without rounding"),
      });
  return table;
}

void ParametriseOptions::options(OptionVisitor& o) {
  o("on", on,
    {.help = "patterns of names of the weights; * stands for any text; of low_rank, matrices alone",
     .min_size = 1});
  o("except", except, {.help = "patterns of names that stay as they are"});
}

}  // namespace rankine
