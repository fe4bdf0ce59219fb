// The machine below the kernels: its start, its memory, copies between host and device, and what is counted.
// No Kokkos here: src/ and solvers/ include this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "kernels/device.hpp"

namespace rankine {

/// Starts Kokkos if nobody has done so; it then ends when the process exits. A program that starts Kokkos
/// itself (KokkosSession) keeps its own order.
void ensure_kokkos();

/// Kokkos from its start to its end. Of the program's flags Kokkos sees none; KOKKOS_* and OMP_* of the
/// environment count. On a build for GPUs `device` is the number of the GPU among those that this process
/// sees; -1 leaves the choice to Kokkos.
class KokkosSession {
 public:
  explicit KokkosSession(int device = -1);
  ~KokkosSession();
  KokkosSession(const KokkosSession&) = delete;
  KokkosSession& operator=(const KokkosSession&) = delete;
};

/// Called when Kokkos ends, where device memory is Kokkos' and must go back before.
void at_kokkos_end(std::function<void()> work);

/// Kokkos' default execution space ("Serial", "OpenMP", "Cuda"), and what it has at once.
std::string backend_name();
int backend_concurrency();

/// Whether a tool listens to Kokkos, and named intervals for it.
bool tools_are_loaded();
void push_tool_region(const std::string& name);
void pop_tool_region();

/// What RANKINE_KERNELS says: "tuned" or "portable". A device has portable bodies only.
std::string kernel_choice();

/// Device memory, aligned to 64 bytes. Throws std::bad_alloc or what Kokkos throws where there is none.
DevicePtr<std::byte> device_allocate(std::size_t bytes);
void device_free(DevicePtr<std::byte> memory);

/// Copies of `bytes` bytes. They wait for all launches before them.
void copy_bytes_to_device(DevicePtr<std::byte> to, const void* from, std::size_t bytes);
void copy_bytes_to_host(void* to, DevicePtr<const std::byte> from, std::size_t bytes);
template <class T>
void copy_to_device(DevicePtr<T> to, const T* from, std::int64_t count) {
  copy_bytes_to_device(to.template as<std::byte>(), from, static_cast<std::size_t>(count) * sizeof(T));
}
template <class T>
void copy_to_host(std::remove_const_t<T>* to, DevicePtr<T> from, std::int64_t count) {
  copy_bytes_to_host(to, from.template as<const std::byte>(), static_cast<std::size_t>(count) * sizeof(T));
}

/// Waits until every launch has run.
void fence();

struct PinnedDelete {
  std::size_t block = 0;
  void operator()(std::byte* memory) const;
};
/// Host memory that copies to and from the device are fast with: a GPU reaches page-locked memory by itself.
/// Locking pages takes long, so freed blocks wait for who needs one next. Plain memory where the device is
/// the host.
using Pinned = std::unique_ptr<std::byte[], PinnedDelete>;
Pinned pinned(std::size_t bytes);

/// What the program has done so far: launches of kernels, copies to the host and from it, their bytes, and
/// the HostAccess objects made (on builds where host and device share memory too, where they cost nothing).
struct DeviceCounters {
  std::int64_t launches = 0, host_reads = 0, host_writes = 0, host_accesses = 0;
  double bytes_to_host = 0, bytes_to_device = 0;
};
DeviceCounters device_counters();

/// What a piece of work costs: multiply-adds count as two flops, bytes are those read and written once.
struct Cost {
  double flops = 0, bytes = 0;
  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    bytes += other.bytes;
    return *this;
  }
};
struct CountedCost : Cost {
  std::int64_t calls = 0;
};
struct TimedCost : CountedCost {
  double seconds = 0;
};
using CostTable = std::map<std::string, TimedCost, std::less<>>;

/// While on, every launch is waited for, timed, and counted with what it reads, writes and computes.
void time_launches(bool on);
/// By the names of kernels; calls are launches.
const CostTable& launch_costs();
/// Of all of them together, since the program's start.
const Cost& launched_cost();
void forget_launch_costs();
void count_host_access();

/// How launches run where the device is the host, for proofs. The environment sets it when Kokkos starts, and
/// what it says there is checked (InputError):
///   RANKINE_MEMORY=separate         the host faults on device memory: the process ends with exit code 99, a
///                                   message with the block and the byte, and a stack
///   RANKINE_LAUNCH_ORDER=reversed   or `shuffled`: independent blocks run in another order
///   RANKINE_LAUNCH_DEFERRED=1       launches wait for the next fence or copy
///   RANKINE_FAIL_LAUNCH=N           the N-th launch fails as on a broken device, on any build: DeviceError;
///                       abort:N     the same in the way of errors with which Kokkos ends the process: exit
///                                   code 3 with the message of a DeviceError
///   RANKINE_KERNELS=portable        every operation of dispatch.hpp takes its portable body
enum class LaunchOrder { natural, reversed, shuffled };

}  // namespace rankine
