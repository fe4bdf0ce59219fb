#include "src/optim/optimizer.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/pointwise.hpp"

namespace rankine {
namespace {

void check(const ParameterSet& parameters, const Tensor& gradient) {
  RANKINE_ASSERT(
      gradient.shape() == Shape{parameters.count()} && gradient.dtype() == parameters.dtype() &&
          gradient.contiguous(),
      "gradient " + gradient.shape().text() + " for " + std::to_string(parameters.count()) + " parameters");
}

template <class T>
double sum_of_squares(std::int64_t n, const T* x) {
  constexpr std::int64_t block = 1024;
  std::vector<double> sums;
  double squares[block];
  for (std::int64_t i = 0; i < n; i += block) {
    const std::int64_t count = std::min(block, n - i);
    for (std::int64_t k = 0; k < count; ++k)
      squares[k] = static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
    sums.push_back(kernels::tree_sum(count, squares));
  }
  return kernels::tree_sum(static_cast<std::int64_t>(sums.size()), sums.data());
}

// Calls f(begin, end, part) for each part that is not frozen.
template <class F>
void for_each_live(const ParameterSet& parameters, F&& f) {
  for (const ParameterInfo& part : parameters.parts())
    if (!part.frozen) f(part.offset, part.offset + part.shape.count(), part);
}

OptionMeta no_decay_meta() {
  return {.help = "parameter groups without weight decay, such as bias and norm"};
}

bool decays(const std::vector<std::string>& no_decay, const ParameterInfo& part) {
  return std::find(no_decay.begin(), no_decay.end(), part.group) == no_decay.end();
}

}  // namespace

double sum_of_squares(const Tensor& flat, std::int64_t begin, std::int64_t end) {
  double sum = 0;
  dispatch_real(flat.dtype(), "sum_of_squares", [&](auto zero) {
    using T = decltype(zero);
    sum = sum_of_squares(end - begin, flat.data<T>() + begin);
  });
  return sum;
}

double largest_size(const Tensor& x) {
  double largest = 0;
  dispatch_real(x.dtype(), "largest_size", [&](auto zero) {
    using T = decltype(zero);
    const T* values = x.data<T>();
    T found = 0;
    bool number = true;
    for (std::int64_t i = 0, end = x.count(); i < end; ++i) {
      found = std::max(found, std::abs(values[i]));
      number = number && values[i] == values[i];
    }
    largest = number ? static_cast<double>(found) : std::numeric_limits<double>::quiet_NaN();
  });
  return largest;
}

double gradient_norm(const ParameterSet& parameters, const Tensor& gradient) {
  check(parameters, gradient);
  std::vector<double> sums;
  for_each_live(parameters, [&](std::int64_t begin, std::int64_t end, const ParameterInfo&) {
    sums.push_back(sum_of_squares(gradient, begin, end));
  });
  return std::sqrt(kernels::tree_sum(static_cast<std::int64_t>(sums.size()), sums.data()));
}

double clip_gradient(const ParameterSet& parameters, const Tensor& gradient, double bound) {
  const double norm = gradient_norm(parameters, gradient);
  if (bound > 0 && norm > bound) {
    dispatch_real(gradient.dtype(), "clip_gradient", [&](auto zero) {
      using T = decltype(zero);
      const T factor = static_cast<T>(bound / norm);
      T* g = gradient.data<T>();
      for (std::int64_t i = 0, end = gradient.count(); i < end; ++i) g[i] *= factor;
    });
  }
  return norm;
}

void AdamOptions::options(OptionVisitor& o) {
  o("beta1", beta1, {.help = "decay of the mean of gradients", .min = 0, .max = 1, .exclusive_max = true});
  o("beta2", beta2,
    {.help = "decay of the mean of squared gradients", .min = 0, .max = 1, .exclusive_max = true});
  o("epsilon", epsilon, {.help = "added to the root of the squares' mean", .min = 0, .exclusive_min = true});
  o("weight_decay", weight_decay,
    {.help = "decoupled decay: each step takes rate * decay * parameter away", .min = 0});
  o("no_decay", no_decay, no_decay_meta());
}

void Adam::prepare(const ParameterSet& parameters) {
  if (first_.defined()) return;
  const Uncounted scope;
  first_ = Tensor::zeros({parameters.count()}, DType::f64);
  second_ = Tensor::zeros({parameters.count()}, DType::f64);
}

double Adam::largest_change(double gradient_norm, double learning_rate, double largest) const {
  // The first moment is a mean of gradients, and the root in the denominator is not negative.
  const double correction = 1 - std::pow(options_.beta1, static_cast<double>(steps_ + 1));
  return learning_rate * (std::max(moment_bound_, gradient_norm) / (correction * options_.epsilon) +
                          options_.weight_decay * largest);
}

void Adam::state_changed() {
  if (!first_.defined()) return;
  moment_bound_ = largest_size(first_);
  const double* v = second_.data<double>();
  const bool usable =
      std::all_of(v, v + second_.count(), [](double x) { return x >= 0 && std::isfinite(x); });
  if (!usable) moment_bound_ = std::numeric_limits<double>::infinity();
}

void Adam::step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) {
  check(parameters, gradient);
  prepare(parameters);
  ++steps_;
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  const double b1 = options_.beta1, b2 = options_.beta2, eps = options_.epsilon;
  const double rate = learning_rate / correction1, rate_of_decay = learning_rate * options_.weight_decay;
  double* m = first_.data<double>();
  double* v = second_.data<double>();
  dispatch_real(parameters.dtype(), "Adam", [&](auto zero) {
    using T = decltype(zero);
    T* p = parameters.flat().data<T>();
    const T* g = gradient.data<T>();
    for_each_live(parameters, [&](std::int64_t begin, std::int64_t end, const ParameterInfo& part) {
      const double decay = decays(options_.no_decay, part) ? rate_of_decay : 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const double gi = static_cast<double>(g[i]);
        m[i] = b1 * m[i] + (1 - b1) * gi;
        v[i] = b2 * v[i] + (1 - b2) * gi * gi;
        const double pi = static_cast<double>(p[i]);
        p[i] = static_cast<T>(pi - rate * m[i] / (std::sqrt(v[i] / correction2) + eps) - decay * pi);
      }
    });
  });
  parameters.project();
}

void Adam::register_state(StateRegistry& registry, const std::string& prefix,
                          const ParameterSet& parameters) {
  prepare(parameters);
  registry.add(prefix + "/steps", StateKind::replicated, steps_);
  registry.add(prefix + "/first_moment", StateKind::replicated, first_);
  registry.add(prefix + "/second_moment", StateKind::replicated, second_);
}

void SgdOptions::options(OptionVisitor& o) {
  o("momentum", momentum,
    {.help = "decay of the velocity; 0: plain descent", .min = 0, .max = 1, .exclusive_max = true});
  o("nesterov", nesterov, {.help = "the step looks ahead along the velocity"});
  o("weight_decay", weight_decay, {.help = "added to the gradient, times the parameter", .min = 0});
  o("no_decay", no_decay, no_decay_meta());
}

void Sgd::prepare(const ParameterSet& parameters) {
  const Uncounted scope;
  if (!velocity_.defined()) velocity_ = Tensor::zeros({parameters.count()}, DType::f64);
}

double Sgd::largest_change(double gradient_norm, double learning_rate, double largest) const {
  const double pull = (gradient_norm + options_.weight_decay * largest) / (1 - options_.momentum);
  return learning_rate * (velocity_bound_ + pull);
}

void Sgd::state_changed() { velocity_bound_ = velocity_.defined() ? largest_size(velocity_) : 0; }

void Sgd::step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) {
  check(parameters, gradient);
  prepare(parameters);
  double* v = velocity_.data<double>();
  dispatch_real(parameters.dtype(), "Sgd", [&](auto zero) {
    using T = decltype(zero);
    T* p = parameters.flat().data<T>();
    const T* g = gradient.data<T>();
    for_each_live(parameters, [&](std::int64_t begin, std::int64_t end, const ParameterInfo& part) {
      const double decay = decays(options_.no_decay, part) ? options_.weight_decay : 0;
      const double momentum = options_.momentum;
      if (options_.nesterov) {
        for (std::int64_t i = begin; i < end; ++i) {
          const double pi = static_cast<double>(p[i]), gi = static_cast<double>(g[i]) + decay * pi;
          v[i] = momentum * v[i] + gi;
          p[i] = static_cast<T>(pi - learning_rate * (gi + momentum * v[i]));
        }
      } else {
        for (std::int64_t i = begin; i < end; ++i) {
          const double pi = static_cast<double>(p[i]);
          v[i] = momentum * v[i] + static_cast<double>(g[i]) + decay * pi;
          p[i] = static_cast<T>(pi - learning_rate * v[i]);
        }
      }
    });
  });
  parameters.project();
}

void Sgd::register_state(StateRegistry& registry, const std::string& prefix, const ParameterSet& parameters) {
  prepare(parameters);
  registry.add(prefix + "/velocity", StateKind::replicated, velocity_);
}

const Registry<Optimizer>& optimizers() {
  static const Registry<Optimizer> table("optimizer",
                                         {
                                             entry<Adam>("adam", "Adam, with decoupled weight decay"),
                                             entry<Sgd>("sgd", "gradient descent, with momentum"),
                                         });
  return table;
}

}  // namespace rankine
