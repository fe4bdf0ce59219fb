// Which way training moves each weight.
#pragma once

#include "src/tensor/ops.hpp"
#include "src/tensor/storage.hpp"
#include "src/train/loop.hpp"

namespace rankine {

/// -sum of w dL/dw [count] over the steps that were made, with the weights before a step and the gradient that the
/// optimiser was given. Positive: the weight moves away from zero (Sanh, Wolf and Rush, arXiv 2005.07683, section 4).
/// For rules that form one gradient of all parameters.
class Movement final : public StepObserver {
 public:
  /// `parameters` outlive it.
  explicit Movement(const ParameterSet& parameters)
      : parameters_(parameters), sum_(Tensor::zeros({parameters.count()}, parameters.dtype())) {}

  /// State of training, changed in place.
  const Tensor& sum() const { return sum_; }

  bool due(std::int64_t) const override { return true; }
  void before(std::int64_t) override { before_ = parameters_.flat().clone(); }
  void after(std::int64_t, const StepOutcome& outcome) override {
    if (!outcome.updated) return;
    const NoGrad off;
    const CostAccount no_cost;
    const Uncounted no_memory;
    sum_.assign(sub(sum_, mul(before_, outcome.gradient)));
  }

 private:
  const ParameterSet& parameters_;
  Tensor sum_, before_;
};

}  // namespace rankine
