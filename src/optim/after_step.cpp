#include "src/optim/after_step.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

#include "src/core/pattern.hpp"
#include "src/deck/lists.hpp"
#include "src/tensor/elementary.hpp"
#include "src/tensor/ops.hpp"

namespace rankine {
namespace {

/// The Euclidean norm of each unit's weights: x [units, ...] to [units, 1, ...], in double.
Tensor unit_norms(const Tensor& x) {
  std::vector<int> axes(static_cast<std::size_t>(x.rank() - 1));
  std::iota(axes.begin(), axes.end(), 1);
  const Tensor squares = square(cast(x, DType::f64));
  return sqrt(axes.empty() ? squares : sum(squares, axes, true));
}
/// x *= factor, which is double.
void multiply(const Tensor& x, const Tensor& factor) {
  x.assign(cast(mul(cast(x, DType::f64), factor), x.dtype()));
}
constexpr double tiny = std::numeric_limits<double>::min();

/// Iterative shrinkage (Wang et al., "Iterative soft shrinkage learning for efficient image
/// super-resolution", ICCV 2023): the smallest weights of each parameter are made smaller, others stay; which
/// they are may change with every step. Factor 0 is iterative hard thresholding.
class Shrink final : public StepOperation {
 public:
  void options(OptionVisitor& o) {
    o("density", density_,
      {.help = "part of the weights of each parameter, the largest, that stays as it is",
       .min = 0,
       .max = 1});
    o("factor", factor_, {.help = "on all others", .min = 0, .max = 1});
  }
  bool off() const override { return factor_ == 1 || density_ == 1; }
  void apply(const Tensor& parameter, const RandomStream&, const StepMade&) const override {
    std::vector<double> sizes = parameter.to_vector();
    for (double& size : sizes) size = std::abs(size);
    const auto smaller =
        static_cast<std::ptrdiff_t>(std::llround((1 - density_) * static_cast<double>(sizes.size())));
    if (smaller == 0) return;
    double bound = std::numeric_limits<double>::infinity();
    if (smaller < static_cast<std::ptrdiff_t>(sizes.size())) {
      std::vector<double> sorted = sizes;
      std::nth_element(sorted.begin(), sorted.begin() + smaller, sorted.end());
      bound = sorted[static_cast<std::size_t>(smaller)];
    }
    for (double& size : sizes) size = size < bound ? factor_ : 1;
    multiply(parameter, Tensor::from(sizes, parameter.shape()));
  }

 private:
  double density_ = 1, factor_ = 0.95;
};

/// The proximal step of weight * sum |w|: w towards 0 by rate * weight, and not beyond it.
class ProximalL1 final : public StepOperation {
 public:
  void options(OptionVisitor& o) {
    o("weight", weight_, {.help = "of the sum of absolute values; 0: none", .min = 0});
  }
  bool off() const override { return weight_ == 0; }
  void apply(const Tensor& parameter, const RandomStream&, const StepMade& made) const override {
    const double way = made.learning_rate * weight_;
    parameter.assign(sub(parameter, clamp(parameter, -way, way)));
  }

 private:
  double weight_ = 0;
};

/// The proximal step of the group lasso, weight * sum over units of the norm of their weights (Yuan and Lin,
/// J. R. Stat. Soc. B 68, 2006): each unit's weights shorter by rate * weight, units shorter than that are
/// zero. A unit is one value of the parameter's first index.
class ProximalUnits final : public StepOperation {
 public:
  void options(OptionVisitor& o) {
    o("weight", weight_, {.help = "of the sum of the norms of the units' weights; 0: none", .min = 0});
  }
  bool off() const override { return weight_ == 0; }
  void apply(const Tensor& parameter, const RandomStream&, const StepMade& made) const override {
    const Tensor norms = unit_norms(parameter);
    multiply(parameter,
             div(maximum(add_scalar(norms, -made.learning_rate * weight_), 0), maximum(norms, tiny)));
  }

 private:
  double weight_ = 0;
};

/// The proximal step of weight(t) * S_k, the group sparse envelope: the convex hull, in the sense of the
/// biconjugate, of half the sum of squares where at most k units have weights that are not zero (Beck and Refael,
/// "Sparse regularization via bidualization", arXiv 2212.12921). S_k = min of 1/2 sum_j t_j^2 / u_j over
/// 0 <= u_j <= 1 with sum u_j = k, t_j being the norm of unit j. With m = rate * weight(t) unit j is multiplied
/// by u_j / (m + u_j), u_j = min(max(eta t_j - m, 0), 1), where eta is the root of sum u_j = k. A unit is one value
/// of the parameter's first index. The weight grows, so that k units are left in the end.
class ProximalEnvelope final : public StepOperation {
 public:
  void options(OptionVisitor& o) {
    o("density", density_,
      {.help = "part of the units of each parameter that is left in the end",
       .min = 0,
       .max = 1,
       .exclusive_min = true});
    o("weight", weight_, {.help = "of the envelope at first; 0: none", .min = 0});
    o("growth", growth_, {.help = "factor by which the weight grows", .min = 1});
    o("period", period_, {.help = "steps in which it does", .unit = "steps", .min = 1});
  }
  bool off() const override { return weight_ == 0; }
  void apply(const Tensor& parameter, const RandomStream&, const StepMade& made) const override {
    const Tensor norms = unit_norms(parameter);
    const std::vector<double> t = norms.to_vector();
    const auto k =
        std::max<double>(1, static_cast<double>(std::llround(density_ * static_cast<double>(t.size()))));
    const double grown = static_cast<double>(made.step / period_),
                 m = made.learning_rate * weight_ * std::pow(growth_, grown);
    multiply(parameter, Tensor::from(envelope_factors(t, k, m), norms.shape()));
  }

 private:
  double density_ = 0.5, weight_ = 0, growth_ = 1.5;
  int period_ = 100;
};

/// Each unit's weights no longer than a bound (Srivastava et al., JMLR 15, 2014, section 5.1).
class MaxNorm final : public StepOperation {
 public:
  void options(OptionVisitor& o) {
    o("norm", norm_, {.help = "most that the norm of a unit's weights may be; null: any", .min = 0});
  }
  bool off() const override { return !norm_; }
  void apply(const Tensor& parameter, const RandomStream&, const StepMade&) const override {
    const Tensor bound = Tensor::scalar(*norm_);
    multiply(parameter, div(bound, maximum(unit_norms(parameter), std::max(*norm_, tiny))));
  }

 private:
  std::optional<double> norm_{};
};

/// Weights within bounds, such as the non-negative ones of input-convex networks (Amos et al., ICML 2017).
class ClipWeights final : public StepOperation {
 public:
  void options(OptionVisitor& o) {
    o("low", low_, {.help = "least value; null: any"});
    o("high", high_, {.help = "largest value; null: any"});
  }
  void validate(const DeckNode& node) const {
    if (low_ && high_ && *low_ > *high_) node.error("clip: low is above high; exchange them");
  }
  bool off() const override { return !low_ && !high_; }
  void apply(const Tensor& parameter, const RandomStream&, const StepMade&) const override {
    constexpr double any = std::numeric_limits<double>::infinity();
    parameter.assign(clamp(parameter, low_.value_or(-any), high_.value_or(any)));
  }

 private:
  std::optional<double> low_{}, high_{};
};

/// w = factor w + normal noise (Ash and Adams, NeurIPS 2020, arXiv 1910.08475).
class ShrinkPerturb final : public StepOperation {
 public:
  void options(OptionVisitor& o) {
    o("factor", factor_, {.help = "on the weights", .min = 0, .max = 1});
    o("deviation", deviation_, {.help = "standard deviation of the noise", .min = 0});
  }
  bool off() const override { return factor_ == 1 && deviation_ == 0; }
  void apply(const Tensor& parameter, const RandomStream& random, const StepMade& made) const override {
    std::vector<double> noise(static_cast<std::size_t>(parameter.count()));
    random.fill_normal(std::span(noise), made.step, 0);
    const Tensor added = scale(Tensor::from(noise, parameter.shape()), deviation_);
    parameter.assign(cast(add(scale(cast(parameter, DType::f64), factor_), added), parameter.dtype()));
  }

 private:
  double factor_ = 1, deviation_ = 0;
};

struct ItemOptions {
  std::string on = "*.weight";
  int every = 1;
  void options(OptionVisitor& o) {
    o("on", on, {.help = "names of parameters; each * stands for any characters"});
    o("every", every, {.help = "steps from one time to the next", .unit = "steps", .min = 1});
  }
};

}  // namespace

std::vector<double> envelope_factors(const std::vector<double>& norms, double k, double m) {
  std::vector<double> out(norms.size(), 1 / (1 + m));
  std::vector<double> sorted;
  for (const double t : norms)
    if (t > 0) sorted.push_back(t);
  if (static_cast<double>(sorted.size()) <= k) return out;  // all u are 1
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const auto u = [&](double eta, double t) { return std::clamp(eta * t - m, 0.0, 1.0); };
  const auto sum = [&](double eta) {
    double all = 0;
    for (const double t : sorted) all += u(eta, t);
    return all;
  };
  // Between these the sum rises from 0 to all of them.
  double low = m / sorted.front(), high = (1 + m) / sorted.back();
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    (sum(middle) < k ? low : high) = middle;
  }
  for (std::size_t j = 0; j < norms.size(); ++j)
    out[j] = norms[j] > 0 ? u(high, norms[j]) / (m + u(high, norms[j])) : 1;
  return out;
}

const Registry<StepOperation>& step_operations() {
  static const Registry<StepOperation> table(
      "step_operation",
      {
          entry<Shrink>("shrink", "the smallest weights of each parameter become smaller"),
          entry<ProximalL1>("proximal_l1", "all weights a step towards zero (soft threshold)"),
          entry<ProximalUnits>("proximal_units",
                               "the weights of each unit a step towards zero (group lasso)"),
          entry<ProximalEnvelope>(
              "proximal_envelope",
              "the units of least norm towards zero until a given number is left (WGSEF)"),
          entry<MaxNorm>("max_norm", "the weights of each unit no longer than a bound"),
          entry<ClipWeights>("clip", "weights within bounds"),
          entry<ShrinkPerturb>("shrink_perturb", "smaller weights plus normal noise"),
      });
  return table;
}

AfterStep::AfterStep(const DeckNode& train, const ParameterSet& parameters) {
  int place = -1;
  for (const DeckNode& node : list_in(train, "after_step", "[{name: clip, on: \"*.weight\", low: 0}]")) {
    ++place;
    ItemOptions options;
    if (node.is_mapping()) options.options(*node.reader());
    std::unique_ptr<StepOperation> made = step_operations().make(node);
    const std::vector<ParameterInfo>& parts = parameters.parts();
    if (std::none_of(parts.begin(), parts.end(), [&](const ParameterInfo& part) {
          return !part.frozen && matches(options.on, part.name);
        }))
      node.error_at("on", "on: '" + options.on + "' fits no parameter that is trained, such as " +
                              parameters.parts().front().name);
    if (!made->off())
      items_.push_back(
          {options.on, options.every, "after_step/" + std::to_string(place) + "/", std::move(made)});
  }
}

bool AfterStep::apply(const ParameterSet& parameters, const StepMade& made) const {
  bool due = false;
  for (const Item& item : items_) {
    if ((made.step + 1) % item.every != 0) continue;
    due = true;
    for (const ParameterInfo& part : parameters.parts())
      if (!part.frozen && matches(item.on, part.name))
        item.operation->apply(parameters.view(part), RandomStream(made.seed, item.stream + part.name), made);
  }
  if (due) parameters.project();
  return due;
}

}  // namespace rankine
