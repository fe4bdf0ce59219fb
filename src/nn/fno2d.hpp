// The Fourier neural operator of Li et al. (arXiv 2010.08895) over (t, x), on tiles.
#pragma once

#include <vector>

#include "src/nn/fno_ops.hpp"
#include "src/nn/model.hpp"

namespace rankine {

struct Fno2dOptions {
  std::vector<int> widths{16, 24, 24, 24};
  int modes_t = 8, modes_x = 8;
  int projection = 48;
  double spectral_gain = 0.1;
  std::string precision = "float";

  void options(OptionVisitor& o);
};

/// A lift (fc0), blocks gelu(IDFT(R DFT(a)) + W a + b), and two pointwise layers (fc1, gelu, fc2).
/// Parameters:
///   fc0.weight [w0, in], fc0.bias; block<i>.spectral [w_i, w_i+1, 2 (re, im), 2 modes_t, modes_x] (k_t = 0
///   .. m-1, then -m .. -1), block<i>.conv.weight [w_i+1, w_i], block<i>.conv.bias; fc1.weight, fc1.bias,
///   fc2.weight, fc2.bias.
class Fno2d final : public Model {
 public:
  using Options = Fno2dOptions;
  /// Throws InputError if there are more modes than points, or fewer than one width.
  Fno2d(const Fno2dOptions& options, const ModelContext& context);

  DType dtype() const override { return dtype_; }
  /// Linear layers uniform within 1/sqrt(inputs), biases too; spectral weights normal with standard deviation
  /// spectral_gain / sqrt((in + out) / 2), real and imaginary parts alike.
  ParameterSet initial_parameters(std::uint64_t seed) const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x) const override;

 private:
  Fno2dOptions options_;
  ModelContext context_;
  DType dtype_;
  SharedSpectrum spectrum_;
};

}  // namespace rankine
