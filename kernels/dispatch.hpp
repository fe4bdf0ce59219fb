// Which body the host runs of an operation that has a portable one, which devices run, and one tuned for it.
// Tests compare the two. Operations with one body, or whose bodies are a loop and its element, are not here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace rankine::kernels {

#define RANKINE_TUNED_OPERATIONS(X) \
  X(product)                        \
  X(conv_forward)                   \
  X(conv_backward_data)             \
  X(conv_backward_weights)          \
  X(max_pool_forward)               \
  X(pick_taps)                      \
  X(place_taps)                     \
  X(sum_pool_forward)               \
  X(sum_pool_backward)              \
  X(channel_moments)                \
  X(channel_affine)                 \
  X(channel_norm_sums)              \
  X(channel_norm_backward)          \
  X(row_norm_forward)               \
  X(row_norm_backward)              \
  X(recurrent)                      \
  X(recurrent_backward)             \
  X(softmax)                        \
  X(softmax_backward)               \
  X(log_softmax)                    \
  X(cross_entropy)                  \
  X(cross_entropy_backward)         \
  X(sums_by_part)                   \
  X(analyse)                        \
  X(mix_modes)                      \
  X(mix_modes_backward_input)       \
  X(mix_modes_backward_weight)      \
  X(pointwise_forward)              \
  X(pointwise_backward)             \
  X(head_forward)                   \
  X(head_backward)                  \
  X(csr_product)

enum class Tuned : std::size_t {
#define RANKINE_NAME(name) name,
  RANKINE_TUNED_OPERATIONS(RANKINE_NAME)
#undef RANKINE_NAME
      count
};

struct DispatchEntry {
  const char* name;
  bool portable = false;           ///< the host runs the portable body; RANKINE_KERNELS=portable sets all
  std::int64_t portable_runs = 0;  ///< how often it did
};
using DispatchTable = std::array<DispatchEntry, static_cast<std::size_t>(Tuned::count)>;
extern DispatchTable dispatch_table;

}  // namespace rankine::kernels
