#include "src/nn/parametrisation/scores.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/selection.hpp"
#include "src/nn/initialisation.hpp"
#include "src/tensor/elementary.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {

Tensor top_mask(const Tensor& x, std::int64_t k) {
  const Region<"top_mask"> region;
  const Tensor mask = Tensor::empty(x.shape(), x.dtype()),
               work = Tensor::empty({kernels::top_mask_workspace(x.count())}, DType::i64);
  dispatch_real(x.dtype(), "top_mask", [&](auto zero) {
    using T = decltype(zero);
    kernels::top_mask<T>(x.count(), k, x.data<T>(), work.data<std::int64_t>(), mask.data<T>());
  });
  return mask;
}

void Scores::Options::options(OptionVisitor& o) {
  o("density", density,
    {.help = "part of the weights that stays", .min = 0, .max = 1, .exclusive_min = true});
  o("start", start,
    {.help = "first scores: drawn as weights are, or the sizes of the weights",
     .choices = {"random", "magnitude"}});
  o("layer_density", layer_density,
    {.help = "how the density is shared: each part has the same, or what the largest weights of all parts "
             "together give it",
     .choices = {"uniform", "magnitude"}});
}

std::int64_t Scores::part_of(std::int64_t count) const {
  return std::max<std::int64_t>(1, std::llround(options_.density * static_cast<double>(count)));
}

void Scores::add_parameters(ParameterSet& set, const std::string& name, std::uint64_t seed) const {
  const Shape shape = set.part(name).shape;
  for (ParameterInfo& part : set.parts())
    if (part.name == name) part.frozen = true;
  const ParameterInfo scores{.name = name + ".scores", .shape = shape, .group = "scores"};
  const double fan_in = static_cast<double>(shape.count() / shape[0]);
  add_parameter(set, scores, options_.start == "magnitude" ? Initialisation::zeros : Initialisation::uniform,
                fan_in, fan_in, seed);
}

Tensor Scores::masked(const BoundParameters& parameters, const std::string& name, std::int64_t keep) const {
  const Tensor &weights = parameters[name], &own = parameters[name + ".scores"],
               scores = options_.start == "magnitude" ? add(abs(weights.detach()), own) : own;
  const Tensor mask = repeated([&](const Tensor& one) { return top_mask(one, keep); }, scores);
  return mul(weights, straight_through(scores, mask));
}

Tensor Scores::value(const BoundParameters& parameters, const std::string& name, const Pass&) const {
  const Tensor& weights = parameters[name];
  return masked(parameters, name, part_of(weights.count() / weights.extent(0)));
}

std::vector<std::int64_t> Scores::kept_by_size(const BoundParameters& parameters,
                                               const std::vector<std::string>& names) const {
  const NoGrad off;
  const CostAccount no_cost;  // every rank does it
  std::vector<Tensor> sizes;
  for (const std::string& name : names)
    sizes.push_back(abs(reshape(slice(parameters[name].detach(), 0, 0, 1), {-1})));
  const Tensor all = dense(concat(sizes, 0));
  const std::vector<double> largest = top_mask(all, part_of(all.count())).to_vector();
  std::vector<std::int64_t> out;
  auto begin = largest.begin();
  for (const Tensor& part : sizes) {
    const auto end = begin + static_cast<std::ptrdiff_t>(part.count());
    out.push_back(std::max<std::int64_t>(1, std::count(begin, end, 1.0)));
    begin = end;
  }
  return out;
}

void Scores::express(BoundParameters& parameters, const std::vector<std::string>& names,
                     const Pass& pass) const {
  if (options_.layer_density == "uniform") return Parametrisation::express(parameters, names, pass);
  const std::vector<std::int64_t> keep = kept_by_size(parameters, names);
  for (std::size_t i = 0; i < names.size(); ++i)
    parameters.replace(names[i], masked(parameters, names[i], keep[i]));
}

}  // namespace rankine
