// Optimisers act on flat parameter sets; gradients are the same bits on every rank, so the steps are too.
#pragma once

#include <limits>
#include <memory>
#include <string>

#include "src/core/registry.hpp"
#include "src/core/state_registry.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// Sum of squares, in double, of elements begin .. end - 1 of a flat tensor; the order depends on their
/// number only.
double sum_of_squares(const Tensor& flat, std::int64_t begin, std::int64_t end);
/// max |x| over the elements of a contiguous real tensor; NaN if one of them is.
double largest_size(const Tensor& x);

/// The Euclidean norm, in double, of all parts that are not frozen. The order of the sum depends on the count
/// only.
double gradient_norm(const ParameterSet& parameters, const Tensor& gradient);

/// Scales `gradient` in place so that its norm is at most `bound` (0: leaves it). Returns the norm before.
double clip_gradient(const ParameterSet& parameters, const Tensor& gradient, double bound);
/// The norm after that, from the one before.
inline double clipped_norm(double norm, double bound) { return bound > 0 && norm > bound ? bound : norm; }

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Steps `parameters` in place, applies masks and projections, and leaves frozen parts alone. `gradient`
  /// [count].
  virtual void step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) = 0;
  /// Registers everything that a restart needs, below `prefix`, once the parameters are known.
  virtual void register_state(StateRegistry& registry, const std::string& prefix,
                              const ParameterSet& parameters) = 0;
  /// A bound of |change| of every parameter in the next step, where no gradient since the latest
  /// state_changed() was longer than `gradient_norm`, no parameter larger than `largest`. While it keeps the
  /// parameters far from overflow, a step need not be prepared to be taken back (UpdateGuard). Infinite: not
  /// known.
  virtual double largest_change(double gradient_norm, double learning_rate, double largest) const {
    (void)gradient_norm, (void)learning_rate, (void)largest;
    return std::numeric_limits<double>::infinity();
  }
  /// Called where the state was set from outside: what largest_change() follows from is measured again.
  virtual void state_changed() {}
};

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  std::vector<std::string> no_decay{};
  void options(OptionVisitor& o);
};

/// Adam (arXiv 1412.6980) with decoupled weight decay (arXiv 1711.05101). Moments are kept in double.
class Adam final : public Optimizer {
 public:
  using Options = AdamOptions;
  explicit Adam(const AdamOptions& options) : options_(options) {}
  void step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) override;
  void register_state(StateRegistry& registry, const std::string& prefix,
                      const ParameterSet& parameters) override;
  double largest_change(double gradient_norm, double learning_rate, double largest) const override;
  void state_changed() override;

 private:
  void prepare(const ParameterSet& parameters);

  AdamOptions options_;
  std::int64_t steps_ = 0;
  Tensor first_, second_;
  double moment_bound_ = 0;
};

struct SgdOptions {
  double momentum = 0, weight_decay = 0;
  bool nesterov = false;
  std::vector<std::string> no_decay{};
  void options(OptionVisitor& o);
};

/// Gradient descent: v = momentum v + g + decay p, p -= rate v, or with Nesterov's momentum
/// p -= rate (g + decay p + momentum v) (Sutskever et al., ICML 2013).
class Sgd final : public Optimizer {
 public:
  using Options = SgdOptions;
  explicit Sgd(const SgdOptions& options) : options_(options) {}
  void step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) override;
  void register_state(StateRegistry& registry, const std::string& prefix,
                      const ParameterSet& parameters) override;
  double largest_change(double gradient_norm, double learning_rate, double largest) const override;
  void state_changed() override;

 private:
  void prepare(const ParameterSet& parameters);

  SgdOptions options_;
  Tensor velocity_;
  double velocity_bound_ = 0;
};

const Registry<Optimizer>& optimizers();

}  // namespace rankine
