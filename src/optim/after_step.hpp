// What happens to parameters after the optimiser's step, outside its gradient and state: a deck's
// `train.after_step`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/core/random.hpp"
#include "src/deck/registry.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// The step that was made.
struct StepMade {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  double learning_rate = 0;
};

class StepOperation {
 public:
  virtual ~StepOperation() = default;
  /// Whether it leaves all parameters as they are.
  virtual bool off() const { return false; }
  /// Changes one parameter in place. `random` is its own stream.
  virtual void apply(const Tensor& parameter, const RandomStream& random, const StepMade& made) const = 0;
};

/// The factors on units of these norms that the proximal step of m times the group sparse envelope of k units
/// makes, m > 0 (`proximal_envelope`).
std::vector<double> envelope_factors(const std::vector<double>& norms, double k, double m);

/// The table of operations after steps.
const Registry<StepOperation>& step_operations();

class AfterStep {
 public:
  AfterStep() = default;
  /// `train.after_step`, if given. Operations that are off are left out. InputError where a pattern fits none
  /// of the parameters that are trained.
  AfterStep(const DeckNode& train, const ParameterSet& parameters);

  bool none() const { return items_.empty(); }
  /// All operations one after the other, on parameters that are not frozen; masked ones stay zero. Returns
  /// whether one was due.
  bool apply(const ParameterSet& parameters, const StepMade& made) const;

 private:
  struct Item {
    std::string on;
    std::int64_t every;
    std::string stream;  ///< of random numbers, before the parameter's name
    std::unique_ptr<StepOperation> operation;
  };
  std::vector<Item> items_;
};

}  // namespace rankine
