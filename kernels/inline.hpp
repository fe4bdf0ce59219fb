// Functions that host and device share. No Kokkos here: src/ and solvers/ include such functions, and the C++
// compiler compiles these folders on every machine.
#pragma once

#if defined(__CUDACC__) || defined(__HIPCC__)
#define RANKINE_INLINE __host__ __device__ inline
#define RANKINE_FORCEINLINE __host__ __device__ __forceinline__
#else
#define RANKINE_INLINE inline
#define RANKINE_FORCEINLINE inline __attribute__((always_inline))
#endif
