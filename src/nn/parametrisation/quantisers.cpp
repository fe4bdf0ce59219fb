#include "src/nn/parametrisation/quantisers.hpp"

#include <cmath>

#include "kernels/elementwise.hpp"
#include "kernels/number_formats.hpp"
#include "src/tensor/elementary.hpp"
#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

/// y like x, written by launch(x, y) with device pointers.
template <class Launch>
Tensor made_of(const Tensor& x, const char* name, const Launch& launch) {
  const Tensor y = Tensor::empty(x.shape(), x.dtype());
  dispatch_real(x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    launch(DevicePtr<const T>(x.data<T>()), y.data<T>());
  });
  return y;
}

}  // namespace

Tensor Quantiser::value(const BoundParameters& parameters, const std::string& name, const Pass& pass) const {
  const Tensor& x = parameters[name];
  if (off()) return x;
  const Region<"quantise"> region;
  return straight_through(x, repeated([&](const Tensor& one) { return rounded(one, name, pass); }, x));
}

void FixedPoint::Options::options(OptionVisitor& o) {
  o("word", word, {.help = "bits of a weight, with its sign; 32: weights as they are", .min = 2, .max = 32});
  o("fraction", fraction, {.help = "bits of them behind the binary point", .min = 0, .max = 64});
  o("rounding", rounding,
    {.help = "to the nearest number, or in training up or down by chance, so that the mean is the weight",
     .choices = {"nearest", "stochastic"}});
}

Tensor FixedPoint::rounded(const Tensor& x, const std::string& name, const Pass& pass) const {
  const double step = std::ldexp(1.0, -options_.fraction), end = std::ldexp(1.0, options_.word - 1);
  const std::int64_t n = x.count();
  if (options_.rounding == "nearest" || !pass.training)
    return made_of(x, "fixed_point", [&]<class T>(DevicePtr<const T> from, DevicePtr<T> to) {
      kernels::quantise<T>(kernels::Strided<2>::flat(n), step, -end, end - 1, from, to);
    });
  RandomStream::check_counter(pass.step, 0, n);
  const RandomStream stream(pass.seed, "fixed_point/" + name);
  return made_of(x, "fixed_point", [&]<class T>(DevicePtr<const T> from, DevicePtr<T> to) {
    kernels::quantise_stochastic<T>(n, step, -end, end - 1, stream.philox(),
                                    static_cast<std::uint32_t>(pass.step), from, to);
  });
}

void FloatFormat::Options::options(OptionVisitor& o) {
  o("exponent", exponent, {.help = "bits of the exponent", .min = 2, .max = 8});
  o("mantissa", mantissa, {.help = "bits behind the leading one", .min = 1, .max = 23});
}

Tensor FloatFormat::rounded(const Tensor& x, const std::string&, const Pass&) const {
  return made_of(x, "float_format", [&]<class T>(DevicePtr<const T> from, DevicePtr<T> to) {
    kernels::round_to_float<T>(x.count(), options_.exponent, options_.mantissa, from, to);
  });
}

void PowerOfTwo::Options::options(OptionVisitor& o) {
  o("terms", terms, {.help = "powers that are added; 0: weights as they are", .min = 0, .max = 2});
  o("gap", gap, {.help = "most that the exponent of the second may be below that of the first", .min = 0});
}

Tensor PowerOfTwo::rounded(const Tensor& x, const std::string&, const Pass&) const {
  return made_of(x, "power_of_two", [&]<class T>(DevicePtr<const T> from, DevicePtr<T> to) {
    kernels::round_to_powers<T>(x.count(), options_.terms, options_.gap, from, to);
  });
}

}  // namespace rankine
