// What happens to a fresh mask without training: the same number of weights, others.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "src/deck/registry.hpp"

namespace rankine {

/// A weight whose mask was just made; entry by entry, [rows, columns].
struct RefinedPart {
  std::size_t rows = 0, columns = 0;
  std::vector<double> weights;                  ///< those that the mask removes too
  std::vector<double> means, variances, norms;  ///< of the input that each entry multiplies
};

class Refinement {
 public:
  virtual ~Refinement() = default;
  /// Changes the mask, 0 or 1 for each entry.
  virtual void refine(const RefinedPart& part, std::span<double> mask) const = 0;
};

/// The table of what a deck's `sparsity.refine` can name; those of the catalogue are among them, so it is
/// written out in src/methods/sparse/refinements.cpp.
const Registry<Refinement>& refinements();

}  // namespace rankine
