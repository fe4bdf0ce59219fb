// Tables that depend on sizes only (sines of positions, rotary angles): computed on the host once, then kept
// in device memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "src/tensor/tensor.hpp"

namespace rankine {

/// [shape] with value(i) for each i in row-major order. `key` names all that the values depend on; the
/// tables of the last few keys are kept. The result must not be written to.
Tensor cached_table(const std::string& key, const Shape& shape, DType type,
                    const std::function<double(std::int64_t)>& value);

}  // namespace rankine
