// The content of a checkpoint as bytes for another rank of the same job.
#pragma once

#include <span>
#include <vector>

#include "src/io/checkpoint.hpp"

namespace rankine {

/// CBOR (RFC 8949).
std::vector<std::uint8_t> packed(const CheckpointContent& content);
/// The content of such bytes; std::exception where they are none.
CheckpointContent unpacked(std::span<const std::uint8_t> bytes);

}  // namespace rankine
