// Layers whose weights stand in places that the deck fixes: what `after: [sparse]` makes of pruned ones.
#pragma once

#include "src/nn/csr.hpp"
#include "src/nn/layer.hpp"

namespace rankine {

/// y[o] = bias[o] + sum_i w[o, i] x[i], with weights where `pattern` has them: of vectors along the last axis
/// (rank 0), or of the channels of images [C, H, W] at each place, a 1 x 1 convolution (rank 2). Parameters:
/// weight [blocks, block], bias [outputs].
template <int rank>
class SparseProduct final : public Layer {
 public:
  struct Options {
    int outputs = 0, block = 1;
    std::vector<std::string> pattern;
    bool bias = true;
    void options(OptionVisitor& o);
  };
  SparseProduct(const Options& options, const LayerContext& context);

  Shape output() const override;
  void add_parameters(ParameterSet& parameters, std::uint64_t seed) const override;
  Products products() const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x, Pass& pass) const override;

 private:
  static constexpr const char* kName = rank == 2 ? "sparse_conv2d" : "sparse_dense";
  int axis() const { return rank == 2 ? 0 : input().rank() - 1; }

  Options options_;
  SharedPattern pattern_;
};

/// The text of a pattern: a row of blocks in hexadecimal digits, each of four columns, the first of which is its
/// highest bit.
std::vector<std::string> pattern_text(const CsrPattern& pattern);

extern template class SparseProduct<0>;
extern template class SparseProduct<2>;

}  // namespace rankine
