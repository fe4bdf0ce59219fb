// Marks of functions that host and device code both call. No Kokkos here: src/ and solvers/ include this.
#pragma once

#if defined(__CUDACC__) || defined(__HIPCC__)
#define RANKINE_FUNCTION __host__ __device__ inline
#define RANKINE_FORCEINLINE_FUNCTION __host__ __device__ __forceinline__
#else
#define RANKINE_FUNCTION inline
#define RANKINE_FORCEINLINE_FUNCTION inline __attribute__((always_inline))
#endif
