// Weights that are expressions of several parameters. A deck's `model.parametrise` chooses the weights by the
// patterns of their names.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"
#include "src/nn/layer.hpp"
#include "src/tensor/parameters.hpp"

namespace rankine {

class Parametrisation {
 public:
  virtual ~Parametrisation() = default;
  /// Whether this part of a network can be expressed so at all; patterns match other parts in vain.
  virtual bool takes(const ParameterInfo& part) const = 0;
  /// Appends what the expression has beside the part `name`, under names that begin with `name` and a dot,
  /// drawn from the seed and the names alone; freezes the part if only these are trained. InputError where
  /// the options do not suit the part.
  virtual void add_parameters(ParameterSet& set, const std::string& name, std::uint64_t seed) const = 0;
  /// What stands for the part in a pass: of the same shape.
  virtual Tensor value(const BoundParameters& parameters, const std::string& name,
                       const Pass& pass) const = 0;
  /// Puts these values in place of all parts that an item names.
  virtual void express(BoundParameters& parameters, const std::vector<std::string>& names,
                       const Pass& pass) const {
    for (const std::string& name : names) parameters.replace(name, value(parameters, name, pass));
  }
  /// How many draws of random weights an evaluation takes the mean over; 0: it sees their means.
  virtual std::int64_t draws() const { return 0; }
};

/// What `make` gives for one of the L equal slices of x [L, shape], repeated L times; off the tape.
Tensor repeated(const std::function<Tensor(const Tensor&)>& make, const Tensor& x);

struct LowRankOptions {
  int rank = 4;
  double scale = 1;
  void options(OptionVisitor& o);
};

/// W + scale B A, of which B [out, rank] and A [rank, in] are trained and W is not (LoRA: Hu et al.,
/// arXiv 2106.09685). B begins with zeros, so that the network is at first that of W.
class LowRank final : public Parametrisation {
 public:
  using Options = LowRankOptions;
  explicit LowRank(const Options& options) : options_(options) {}
  bool takes(const ParameterInfo& part) const override { return part.shape.rank() == 2 && !part.frozen; }
  void add_parameters(ParameterSet& set, const std::string& name, std::uint64_t seed) const override;
  Tensor value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const override;

 private:
  Options options_;
};

/// The table that an item's `as` selects from.
const Registry<Parametrisation>& parametrisations();

/// One item of `model.parametrise`, beside `as` and the options of what it names.
struct ParametriseOptions {
  std::vector<std::string> on{"*.weight"}, except{};
  void options(OptionVisitor& o);
};

}  // namespace rankine
