// SampleTranspose for tensors: in device memory, and on the tape.
#pragma once

#include "src/comm/transpose.hpp"
#include "src/tensor/tensor.hpp"

namespace rankine {

/// Fields [local tile][sample][channel][frame][cell] of all samples, in f32 or f64, to the whole fields of
/// this rank's samples in f64, [local sample][frame][cell][channel]. Collective, and so is its backward pass.
/// The transpose must outlive the tape.
Tensor tiles_to_samples(const Tensor& fields, const SampleTranspose& transpose);

/// The inverse, for all samples of a batch: whole fields of this rank's samples in f64 to fields of all samples on
/// its tiles in f64. Collective, and so is its backward pass.
Tensor samples_to_tiles(const Tensor& samples, std::int64_t batch, const SampleTranspose& transpose);

}  // namespace rankine
