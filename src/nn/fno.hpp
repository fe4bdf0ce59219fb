// The Fourier neural operator of Li et al. (arXiv 2010.08895) over t and one to three axes of space, on tiles.
#pragma once

#include <vector>

#include "src/nn/fno_ops.hpp"
#include "src/nn/model.hpp"

namespace rankine {

struct FnoOptions {
  std::vector<int> widths{16, 24, 24, 24};
  std::vector<int> modes{8, 8};
  int projection = 48;
  double spectral_gain = 0.1;
  std::string precision = "float";

  void options(OptionVisitor& o);
};

/// A lift (fc0), blocks gelu(IDFT(R DFT(a)) + W a + b), and two pointwise layers (fc1, gelu, fc2).
/// Parameters:
///   fc0.weight [w0, in], fc0.bias; block<i>.spectral [w_i, w_i+1, 2 (re, im), 2 m_t, 2 m_x, .., m] (along
///   the last axis k = 0 .. m-1, along the others k = 0 .. m-1, then -m .. -1), block<i>.conv.weight
///   [w_i+1, w_i], block<i>.conv.bias; fc1.weight, fc1.bias, fc2.weight, fc2.bias.
class Fno : public Model {
 public:
  using Options = FnoOptions;
  /// Throws InputError if `modes` has not one number for each axis of the grid, if there are more modes than
  /// points, or fewer than one width.
  Fno(const FnoOptions& options, const ModelContext& context);

  DType dtype() const override { return dtype_; }
  /// Linear layers uniform within 1/sqrt(inputs), biases too; spectral weights normal with standard deviation
  /// spectral_gain / sqrt((in + out) / 2), real and imaginary parts alike.
  ParameterSet initial_parameters(std::uint64_t seed) const override;
  Tensor forward(const BoundParameters& parameters, const Tensor& x) const override;

 private:
  FnoOptions options_;
  ModelContext context_;
  DType dtype_;
  SharedSpectrum spectrum_;
};

struct Fno2dOptions {
  std::vector<int> widths = FnoOptions().widths;
  int modes_t = 8, modes_x = 8;
  int projection = FnoOptions().projection;
  double spectral_gain = FnoOptions().spectral_gain;
  std::string precision = FnoOptions().precision;

  void options(OptionVisitor& o);
};

/// The same over t and x, with names for the two modes.
class Fno2d final : public Fno {
 public:
  using Options = Fno2dOptions;
  /// Throws InputError on a grid of other axes too.
  Fno2d(const Fno2dOptions& options, const ModelContext& context);
};

}  // namespace rankine
