// Optimisers act on flat parameter sets; gradients are the same bits on every rank, so the steps are too.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/optim/flat_parts.hpp"
#include "src/tensor/parameters.hpp"
#include "src/tensor/state_registry.hpp"

namespace rankine {

/// max |x| over the elements of a contiguous real tensor; NaN if one of them is.
double largest_size(const Tensor& x);

/// The Euclidean norm, in double, of the parts of a gradient. The order of the sum depends on the parts only.
double gradient_norm(const FlatParts& parts, const Tensor& gradient);

/// Scales `gradient` in place so that its norm, which is `norm`, is at most `bound` (0: leaves it).
void clip_gradient(const Tensor& gradient, double norm, double bound);
/// The norm after that.
inline double clipped_norm(double norm, double bound) { return bound > 0 && norm > bound ? bound : norm; }

/// What the parameters have that it names, instead of the optimiser's own.
struct ParameterGroup {
  std::string on;
  double rate = 1;
  std::optional<double> weight_decay{};
  void options(OptionVisitor& o);
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Throws InputError where a group names none of the parameters.
  void check_groups(const ParameterSet& parameters) const;
  /// The parts that a step changes. Kept, and made anew where the parts or what is frozen are others than at
  /// the last call.
  const FlatParts& live(const ParameterSet& parameters);
  /// Steps `parameters` in place, applies masks and projections, and leaves frozen parts alone. `gradient`
  /// [count].
  virtual void step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) = 0;
  /// Of one step.
  virtual Cost cost(const ParameterSet& parameters) const = 0;
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
  /// Forgets all steps: the state is that of a fresh optimiser.
  virtual void reset() = 0;
  /// Forgets the gradients of the parameters where `keep` [count], of the parameters' type, is 0; it is 1
  /// elsewhere.
  virtual void forget(const Tensor& keep) = 0;
  /// The mean of squared gradients [count] in double; undefined where it keeps none, or has not begun.
  virtual Tensor second_moment() const { return {}; }
  /// Called where the state was set from outside: what largest_change() follows from is measured again.
  virtual void state_changed() {}

 protected:
  /// Weights decay but in the parts of the groups of parameters that `no_decay` names; `groups`: the first
  /// whose pattern fits a part's name holds for it.
  explicit Optimizer(double weight_decay = 0, std::vector<std::string> no_decay = {},
                     std::vector<ParameterGroup> groups = {});
  /// Over all parts.
  double largest_rate() const { return largest_rate_; }
  double largest_decay() const { return largest_decay_; }

 private:
  FlatParts::Part part_of(const ParameterInfo& part) const;

  double weight_decay_, largest_rate_ = 1, largest_decay_;
  std::vector<std::string> no_decay_;
  std::vector<ParameterGroup> groups_;
  std::optional<FlatParts> live_;
};

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  std::vector<std::string> no_decay{};
  std::vector<ParameterGroup> groups{};
  void options(OptionVisitor& o);
};

/// Adam (arXiv 1412.6980) with decoupled weight decay (arXiv 1711.05101). Moments are kept in double.
class Adam final : public Optimizer {
 public:
  using Options = AdamOptions;
  explicit Adam(const AdamOptions& options)
      : Optimizer(options.weight_decay, options.no_decay, options.groups), options_(options) {}
  void step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) override;
  Cost cost(const ParameterSet& parameters) const override;
  void register_state(StateRegistry& registry, const std::string& prefix,
                      const ParameterSet& parameters) override;
  double largest_change(double gradient_norm, double learning_rate, double largest) const override;
  void reset() override;
  void forget(const Tensor& keep) override;
  Tensor second_moment() const override { return second_; }
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
  std::vector<ParameterGroup> groups{};
  void options(OptionVisitor& o);
};

/// Gradient descent: v = momentum v + g + decay p, p -= rate v, or with Nesterov's momentum
/// p -= rate (g + decay p + momentum v) (Sutskever et al., ICML 2013).
class Sgd final : public Optimizer {
 public:
  using Options = SgdOptions;
  explicit Sgd(const SgdOptions& options)
      : Optimizer(options.weight_decay, options.no_decay, options.groups), options_(options) {}
  void step(ParameterSet& parameters, const Tensor& gradient, double learning_rate) override;
  Cost cost(const ParameterSet& parameters) const override;
  void register_state(StateRegistry& registry, const std::string& prefix,
                      const ParameterSet& parameters) override;
  double largest_change(double gradient_norm, double learning_rate, double largest) const override;
  void reset() override;
  void forget(const Tensor& keep) override;
  void state_changed() override;

 private:
  void prepare(const ParameterSet& parameters);

  SgdOptions options_;
  Tensor velocity_;
  double velocity_bound_ = 0;
};

const Registry<Optimizer>& optimizers();

}  // namespace rankine
