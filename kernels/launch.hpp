// How a kernel is started: the only place that calls Kokkos::parallel_for. kernels/ only.
//
// On the host a launch is a number of blocks of fixed size that may run in any order, each a plain loop that
// compilers vectorise; results therefore know nothing of threads. On a device it is a range of threads, or a
// league of teams. A kernel is a named struct of numbers and Views with operator(). Where host and device
// want different loops, RANKINE_ON_DEVICE chooses.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/dispatch.hpp"
#include "kernels/launch_state.hpp"
#include "kernels/portability.hpp"

#if defined(RANKINE_EMULATE_DEVICE)
// Device bodies compiled for the host, a fibre a thread: see emulate.hpp.
#include "kernels/emulate.hpp"
#define RANKINE_ON_DEVICE 1
#define RANKINE_KERNEL inline
#define RANKINE_ELEMENT inline
#elif defined(KOKKOS_ENABLE_CUDA) || defined(KOKKOS_ENABLE_HIP)
#define RANKINE_ON_DEVICE 1
#define RANKINE_KERNEL __device__ __forceinline__
#define RANKINE_ELEMENT __device__ __forceinline__
#else
#define RANKINE_ON_DEVICE 0
#define RANKINE_KERNEL inline __attribute__((always_inline))
#define RANKINE_ELEMENT inline __attribute__((always_inline))
#endif

namespace rankine::kernels {

/// Device memory inside kernels. Made of a DevicePtr when a kernel is launched.
template <class T>
class View {
 public:
  View() = default;
  View(DevicePtr<T> p) : p_(p.unwrap()) {}
  template <class U>
  requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>) View(DevicePtr<U> p) : p_(p.unwrap()) {}
  RANKINE_ELEMENT T& operator[](std::int64_t i) const {
    check();
    return p_[i];
  }
  RANKINE_ELEMENT T* at(std::int64_t i) const {
    check();
    return p_ + i;
  }
  RANKINE_ELEMENT bool defined() const { return p_ != nullptr; }

 private:
  RANKINE_ELEMENT static void check() {
#if defined(RANKINE_EMULATE_DEVICE)
    if (!in_launch) __builtin_trap();
#endif
  }
  T* p_ = nullptr;
};

/// An array that kernels take by value.
template <class T, int N>
struct List {
  T v[N];
  KOKKOS_FORCEINLINE_FUNCTION T& operator[](int i) { return v[i]; }
  KOKKOS_FORCEINLINE_FUNCTION const T& operator[](int i) const { return v[i]; }
};

/// Whether a call of `operation` takes its portable body, the only one that a device has.
inline bool runs_portable(Tuned operation) {
  DispatchEntry& entry = dispatch_table[static_cast<std::size_t>(operation)];
  if (entry.portable) ++entry.portable_runs;
  return RANKINE_ON_DEVICE || entry.portable;
}

/// Elements that a block of the host takes at once: fixed, so that results do not depend on threads.
inline constexpr std::int64_t kChunk = 16384;

// The compiler contracts products and sums as it likes, and so differently in each place that a body is
// inlined into: its bits would depend on how many blocks there are. There is one copy of each.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define RANKINE_ONE_COPY __attribute__((noipa))
#else
#define RANKINE_ONE_COPY __attribute__((noinline))
#endif
template <class Body>
RANKINE_ONE_COPY void run_block(const Body& body, std::int64_t block) {
  body(block);
}

/// Threads of the host that share n pieces of work.
inline std::int64_t worker_count(std::int64_t n) {
  const std::int64_t threads = backend_concurrency();
  return n < threads ? n : threads;
}

/// A thread's share of the blocks: neighbours, and in two kernels over the same data the same part of it. The
/// last block is often a short one, so the last thread has no fewer than the others.
template <class Body>
struct ThreadShare {
  Body body;
  std::int64_t blocks, threads;
  inline void operator()(std::int64_t thread) const {
    for (std::int64_t b = thread * blocks / threads; b < (thread + 1) * blocks / threads; ++b)
      run_block(body, b);
  }
};

/// All blocks, in the order of `order`, on this thread.
template <class Body>
void blocks_in_order(std::int64_t blocks, LaunchOrder order, const Body& body) {
  for (std::int64_t i = 0; i < blocks; ++i) run_block(body, permuted(i, blocks, order));
}

/// All blocks, on the host's threads.
template <class Body>
void blocks_on_threads(const char* name, std::int64_t blocks, const Body& body) {
  if (blocks == 1) {  // no parallel region for small work
    run_block(body, 0);
    return;
  }
#ifdef KOKKOS_ENABLE_SERIAL
  // One thread needs no Kokkos, which takes longer to start than many a command to run.
  if constexpr (std::is_same_v<Kokkos::DefaultHostExecutionSpace, Kokkos::Serial>)
    if (!Kokkos::is_initialized()) return blocks_in_order(blocks, LaunchOrder::natural, body);
#endif
  using Policy = Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::Schedule<Kokkos::Static>,
                                     Kokkos::IndexType<std::int64_t>>;
  ensure_kokkos();
  const std::int64_t threads = worker_count(blocks);
  Kokkos::parallel_for(name, Policy(0, threads), ThreadShare<Body>{body, blocks, threads});
}

template <class Body>
void run_blocks(const char* name, std::int64_t blocks, const Body& body) {
  const LaunchTimer timer(name);
  if (RANKINE_ON_DEVICE || launch_state.order != LaunchOrder::natural)
    blocks_in_order(blocks, launch_state.order, body);  // emulated, or in another order
  else
    blocks_on_threads(name, blocks, body);
}

/// body(b) for b < blocks, in any order, at once, on the host.
template <class Body>
void host_blocks(const char* name, std::int64_t blocks, const Body& body) {
  static_assert(std::is_trivially_copyable_v<Body>, "a kernel holds numbers and Views only");
  if (blocks <= 0) return;
  count_launch(name);
  if (launch_state.deferred) {
    defer([=] { run_blocks(name, blocks, body); });
    return;
  }
  run_blocks(name, blocks, body);
}

/// body(b) for b < blocks on host memory, by the host's threads, now.
template <class Body>
void host_loop(const char* name, std::int64_t blocks, const Body& body) {
  if (blocks <= 0) return;
  const LaunchTimer timer(name);
  blocks_on_threads(name, blocks, body);
}

#if RANKINE_ON_DEVICE
#if defined(RANKINE_EMULATE_DEVICE)
using namespace emulated;
template <class Body>
void device_range(const char* name, std::int64_t n, const Body& body) {
  static_assert(std::is_trivially_copyable_v<Body>, "a kernel holds numbers and Views only");
  if (n <= 0) return;
  count_launch(name);
  in_launch = true;
  run_blocks(name, n, body);
  in_launch = false;
}
template <class Body>
void device_teams(const char* name, std::int64_t league, int size, int vector, std::size_t scratch,
                  const Body& body) {
  if (league <= 0) return;
  count_launch(name);
  const LaunchTimer timer(name);
  in_launch = true;
  emulated::run_teams(league, size, vector, scratch, body, launch_state.order);
  in_launch = false;
}
#else
__device__ inline unsigned lane_index() { return threadIdx.x; }
__device__ inline unsigned warp_index() { return threadIdx.y; }
#ifdef KOKKOS_ENABLE_HIP
// CUDA's names for what the lanes of a warp do together. A wavefront of AMD's runs all its lanes at once, two
// of our warps of 32 where it has 64, and needs no mask.
template <class T>
RANKINE_KERNEL T __shfl_down_sync(unsigned /*mask*/, T value, int by, int width) {
  return __shfl_down(value, by, width);
}
template <class T>
RANKINE_KERNEL T __shfl_xor_sync(unsigned /*mask*/, T value, int by, int width) {
  return __shfl_xor(value, by, width);
}
template <class T>
RANKINE_KERNEL T __shfl_sync(unsigned /*mask*/, T value, int from, int width) {
  return __shfl(value, from, width);
}
RANKINE_KERNEL void __syncwarp() {
  __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
  __builtin_amdgcn_wave_barrier();
}
#endif
/// A thread for each i < n.
template <class Body>
void device_range(const char* name, std::int64_t n, const Body& body) {
  if (n <= 0) return;
  count_launch(name);
  const LaunchTimer timer(name);
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  // The body goes along as the launch's arguments. Kokkos would put one above 512 bytes into constant memory,
  // for which the host waits until the last such launch is done.
  using namespace Kokkos::Experimental;
  const auto policy = require(Policy(0, n), WorkItemProperty::HintLightWeight);
  on_device([&] { Kokkos::parallel_for(name, policy, body); });
}
/// `league` teams of `size` x `vector` threads with `scratch` bytes of shared memory each.
template <class Body>
void device_teams(const char* name, std::int64_t league, int size, int vector, std::size_t scratch,
                  const Body& body) {
  if (league <= 0) return;
  count_launch(name);
  const LaunchTimer timer(name);
  Kokkos::TeamPolicy<ExecutionSpace> policy(static_cast<int>(league), size, vector);
  if (scratch > 0) policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(scratch)));
  on_device([&] { Kokkos::parallel_for(name, policy, body); });
}
#endif
#endif

#if !RANKINE_ON_DEVICE
template <class Body>
struct WorkerLoop {
  Body body;
  std::int64_t n, workers;
  LaunchOrder order;
  inline void operator()(std::int64_t worker) const {
    for (std::int64_t i = worker * n / workers; i < (worker + 1) * n / workers; ++i)
      body(worker, permuted(i, n, order));
  }
};

/// body(worker, u) for u < n: independent pieces of work that need scratch memory, of which worker
/// 0 .. workers-1 has its own. What a piece leaves there the next one must not read.
template <class Body>
void worker_units(const char* name, std::int64_t n, std::int64_t workers, const Body& body) {
  host_blocks(name, workers, WorkerLoop<Body>{body, n, workers, launch_state.order});
}
#else
/// The value of the lane `by` further on, for any type of whole 4-byte words.
template <class T>
RANKINE_KERNEL T shuffle_down(unsigned mask, const T& value, int by, int width) {
  if constexpr (std::is_arithmetic_v<T>) {
    return __shfl_down_sync(mask, value, by, width);
  } else {
    constexpr int words = sizeof(T) / sizeof(int);
    int word[words];
    T received;
    memcpy(word, &value, sizeof(T));
    for (int i = 0; i < words; ++i) word[i] = __shfl_down_sync(mask, word[i], by, width);
    memcpy(&received, word, sizeof(T));
    return received;
  }
}
#endif

/// body(u) for u < n: independent pieces of work of one size; a thread each on a device.
template <class Body>
void units(const char* name, std::int64_t n, const Body& body) {
#if RANKINE_ON_DEVICE
  device_range(name, n, body);
#else
  host_blocks(name, n, body);
#endif
}

}  // namespace rankine::kernels
