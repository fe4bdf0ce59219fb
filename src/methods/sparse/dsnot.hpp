// Dynamic sparse no training (Zhang et al., arXiv 2310.08915): a pruned network's masks are mended without
// gradients.
#pragma once

#include "src/sparse/refinement.hpp"

namespace rankine {

/// Row by row. With the inputs' means m, variances v and norms n, the error of a row's mean output is
///   e = sum over removed j of w_j m_j.
/// A swap puts back the removed weight whose w_j m_j / v_j has the sign of e and is the largest in size (eq. 4),
/// and removes the one of the smallest |w_k| n_k (Wanda) among those that were kept whose w_k m_k has the
/// opposite sign (eq. 5). No weight is swapped twice. A row ends after `cycles` swaps, where |e| is at most
/// `threshold` times what it was at first, or where no such weights are left. In the paper the threshold is a
/// number of its own, 0.1, and a row of 4096 weights has 50 swaps.
class Dsnot final : public Refinement {
 public:
  void options(OptionVisitor& o);
  void refine(const RefinedPart& part, std::span<double> mask) const override;

 private:
  int cycles_ = 50;
  double threshold_ = 0.1;
};

}  // namespace rankine
