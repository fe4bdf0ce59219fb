// What training adds to the loss for the parameters' own sake: a deck's `train.penalties`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/optim/schedule.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

/// Of one parameter.
class Penalty {
 public:
  virtual ~Penalty() = default;
  /// Whether it can be of this parameter; patterns fit others in vain.
  virtual bool takes(const ParameterInfo& part) const { return !part.frozen; }
  /// [L], on the tape.
  virtual Tensor of(const BoundParameters& parameters, const std::string& name) const = 0;
};

/// The table of penalties.
const Registry<Penalty>& penalties();

/// sum_k weight_k factor_k(step) sum over the parameters that pattern k fits; the factor is a schedule's.
class Penalties {
 public:
  Penalties() = default;
  /// `train.penalties`, if given. Throws InputError where a pattern fits none of the parameters that are
  /// trained.
  Penalties(const DeckNode& train, const ParameterSet& parameters);

  bool none() const { return terms_.empty(); }
  /// [L], on the tape. Not of an empty list.
  Tensor of(const BoundParameters& parameters, std::int64_t step, std::int64_t steps) const;

 private:
  struct Term {
    double weight;
    std::shared_ptr<const Schedule> schedule;
    std::shared_ptr<const Penalty> penalty;
    std::vector<std::string> parts;
  };
  std::vector<Term> terms_;
};

}  // namespace rankine
