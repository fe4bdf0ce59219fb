// One product and one sum, rounded in a way that the source decides and not the optimiser.
#pragma once

#include <cmath>

#include "kernels/inline.hpp"

// Whether the processor compiled for rounds a product and a sum once.
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__CUDA_ARCH__) || \
    defined(__HIP_DEVICE_COMPILE__)
#define RANKINE_HAS_FMA 1
#endif

namespace rankine::kernels {

/// a * b + c, rounded once where the processor can do that and twice elsewhere, but never left to the
/// optimiser's choice: the vector body and the remainder of a loop must give the same bits.
template <class T>
RANKINE_FORCEINLINE T multiply_add(T a, T b, T c) {
#ifdef RANKINE_HAS_FMA
  using std::fma;
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// a * b, rounded before anything is added to it.
RANKINE_FORCEINLINE float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return __fmul_rn(a, b);
#else
  float product = a * b;
#if defined(__GNUC__)
  // Without it the compiler may fuse the product with the addition that follows.
  asm("" : "+m"(product));
#endif
  return product;
#endif
}
RANKINE_FORCEINLINE double rounded_product(double a, double b) {
#if defined(__CUDA_ARCH__) || defined(__HIP_DEVICE_COMPILE__)
  return __dmul_rn(a, b);
#else
  double product = a * b;
#if defined(__GNUC__)
  // Without it the compiler may fuse the product with the addition that follows.
  asm("" : "+m"(product));
#endif
  return product;
#endif
}

}  // namespace rankine::kernels
