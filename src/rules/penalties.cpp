#include "src/rules/penalties.hpp"

#include <cmath>
#include <numeric>

#include "src/core/pattern.hpp"
#include "src/deck/lists.hpp"
#include "src/nn/activations.hpp"
#include "src/nn/parametrisation/gaussian.hpp"
#include "src/nn/parametrisation/largest.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

Tensor sum_by_tile(const Tensor& x) {
  std::vector<int> axes(static_cast<std::size_t>(x.rank() - 1));
  std::iota(axes.begin(), axes.end(), 1);
  return axes.empty() ? x : sum(x, axes);
}

/// sum |x|
class AbsoluteSum final : public Penalty {
 public:
  void options(OptionVisitor&) {}
  Tensor of(const BoundParameters& parameters, const std::string& name) const override {
    const Tensor& x = parameters[name];
    return sum_by_tile(add(relu(x), relu(neg(x))));
  }
};

/// sum x^2 / 2
class HalfSquares final : public Penalty {
 public:
  void options(OptionVisitor&) {}
  Tensor of(const BoundParameters& parameters, const std::string& name) const override {
    return scale(sum_by_tile(square(parameters[name])), 0.5);
  }
};

/// sum x^2 / 2 over the weights that are not among the n largest of m: their pull towards zero (SR-STE: Zhou et
/// al., "Learning N:M fine-grained structured sparse neural networks from scratch", ICLR 2021, eq. 9).
class HalfSquaresOfSmall final : public Penalty {
 public:
  void options(OptionVisitor& o) { largest_options(o, n_, m_); }
  bool takes(const ParameterInfo& part) const override { return !part.frozen && has_groups(part, m_); }
  Tensor of(const BoundParameters& parameters, const std::string& name) const override {
    const Tensor &x = parameters[name], small = add_scalar(neg(largest_of_each(x, n_, m_)), 1);
    return scale(sum_by_tile(square(mul(x, small))), 0.5);
  }

 private:
  int n_ = 2, m_ = 4;
};

/// Of weights that are `gaussian`, named by their log_variance v, with means m: the Kullback-Leibler divergence
/// from a prior normal about 0 of variance p, sum (e^v / p + m^2 / p - 1 - v + log p) / 2 over the weights that
/// no mask removes.
class GaussianKl final : public Penalty {
 public:
  void options(OptionVisitor& o) {
    o("prior", prior_, {.help = "standard deviation of the prior", .min = 0, .exclusive_min = true});
  }
  bool takes(const ParameterInfo& part) const override {
    return !part.frozen && part.name.ends_with(Gaussian::suffix);
  }
  Tensor of(const BoundParameters& parameters, const std::string& name) const override {
    const std::string stem = name.substr(0, name.size() - Gaussian::suffix.size());
    const Tensor &v = parameters[name], &m = parameters[stem], mask = parameters.mask(stem);
    const double p = prior_ * prior_;
    const Tensor each = add_scalar(sub(scale(add(exp(v), square(m)), 1 / p), v), std::log(p) - 1);
    return scale(sum_by_tile(mask.defined() ? mul(each, mask) : each), 0.5);
  }

 private:
  double prior_ = 0.1;
};

struct TermOptions {
  std::string on = "*";
  double weight = 0;
  void options(OptionVisitor& o) {
    o("on", on, {.help = "names of parameters; each * stands for any characters"});
    o("weight", weight, {.help = "factor, before its schedule's", .min = 0, .required = true});
  }
};

}  // namespace

const Registry<Penalty>& penalties() {
  static const Registry<Penalty> table(
      "penalty", {
                     entry<AbsoluteSum>("l1", "sum of absolute values"),
                     entry<HalfSquares>("l2", "half the sum of squares"),
                     entry<HalfSquaresOfSmall>(
                         "l2_of_small", "half the sum of squares of all but the n largest of each m weights"),
                     entry<GaussianKl>("gaussian_kl", "divergence of gaussian weights from a normal prior"),
                 });
  return table;
}

Penalties::Penalties(const DeckNode& train, const ParameterSet& parameters) {
  for (const DeckNode& node : list_in(train, "penalties", "[{name: l1, on: \"*.weight\", weight: 1e-4}]")) {
    if (!node.is_mapping())
      node.error("a penalty must be a mapping with a weight, such as {name: l1, weight: 1e-4}");
    TermOptions options;
    options.options(*node.reader());
    Term term{options.weight,
              schedules().make_or("constant", node.section("schedule")),
              penalties().make(node),
              {}};
    for (const ParameterInfo& part : parameters.parts())
      if (term.penalty->takes(part) && matches(options.on, part.name)) term.parts.push_back(part.name);
    if (term.parts.empty())
      node.error_at("on", "on: '" + options.on +
                              "' fits no parameter that is trained and that this penalty is of; the first "
                              "parameter is " +
                              parameters.parts().front().name);
    if (options.weight > 0) terms_.push_back(std::move(term));
  }
}

Tensor Penalties::of(const BoundParameters& parameters, std::int64_t step, std::int64_t steps) const {
  Tensor total;
  for (const Term& term : terms_) {
    const double factor = term.weight * term.schedule->factor(step, steps);
    for (const std::string& name : term.parts) {
      const Tensor value = scale(term.penalty->of(parameters, name), factor);
      total = total.defined() ? add(total, value) : value;
    }
  }
  return total;
}

}  // namespace rankine
