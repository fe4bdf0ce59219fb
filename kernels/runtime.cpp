#include "kernels/runtime.hpp"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#ifdef RANKINE_SEPARATE_MEMORY
#include <csignal>
#include <cstdio>
#include <execinfo.h>
#include <ucontext.h>
#include <unistd.h>
#endif

#include "kernels/error.hpp"
#include "kernels/launch_state.hpp"
#include "kernels/portability.hpp"

namespace rankine {
namespace kernels {

LaunchState launch_state;
thread_local bool in_launch = false;

namespace {

struct Deferred {
  const char* name;
  std::function<void()> work;
};
std::vector<Deferred> queue;
std::vector<void*> freed_late;  // blocks that waiting launches may still use

#ifdef RANKINE_SEPARATE_MEMORY
/// Blocks in use, by their address: what a report of a touch names.
struct Blocks {
  std::mutex mutex;
  std::map<std::uintptr_t, std::size_t> sizes;
};
Blocks& blocks() {
  static auto* const instance = new Blocks;  // never destroyed: static tensors outlive it
  return *instance;
}
#endif

void drain() {
  for (std::size_t i = 0; i < queue.size(); ++i) queue[i].work();
  queue.clear();
  for (void* memory : freed_late) Kokkos::kokkos_free<MemorySpace>(memory);
  freed_late.clear();
}

}  // namespace

void defer(const char* name, std::function<void()> work) { queue.push_back({name, std::move(work)}); }

std::int64_t permuted(std::int64_t i, std::int64_t n, LaunchOrder order) {
  if (order == LaunchOrder::natural) return i;
  if (order == LaunchOrder::reversed) return n - 1 - i;
  std::int64_t step = 7919 % n;
  while (std::gcd(step, n) != 1) ++step;  // such a step visits all
  return (i * step + n / 3) % n;
}

}  // namespace kernels

using kernels::launch_state;

namespace {

#ifdef RANKINE_SEPARATE_MEMORY
void say(const char* text) {
  if (::write(2, text, std::strlen(text)) < 0) return;
}

void on_touch(int signal, siginfo_t* /*info*/, void* context) {
  // The system does not tell a non-canonical address, but a register of the faulting instruction holds it.
  // Through the stack's registers the signal is SIGBUS.
  const auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  bool found = false;
  char text[200];
  for (int i = 0; i < 17 && !found; ++i) {
    const auto value = static_cast<std::uintptr_t>(registers[i]);
    if ((value >> 48U) != (kDeviceTag >> 48U)) continue;
    const std::uintptr_t raw = value ^ kDeviceTag;
    const auto& sizes = kernels::blocks().sizes;
    auto block = sizes.upper_bound(raw);
    if (block == sizes.begin()) continue;
    --block;
    if (raw > block->first + block->second) continue;
    std::snprintf(text, sizeof text, "host code touched device memory: byte %zu of a block of %zu\n",
                  static_cast<std::size_t>(raw - block->first), block->second);
    found = true;
  }
  if (!found)
    std::snprintf(text, sizeof text, "signal %d, with no address of device memory in a register\n", signal);
  say(text);
  void* frames[48];
  const int count = ::backtrace(frames, 48);
  ::backtrace_symbols_fd(frames, count, 2);
  ::_exit(99);
}
#endif

void need_separate_memory(const char* what) {
#ifndef RANKINE_SEPARATE_MEMORY
  throw std::logic_error(std::string(what) + " needs a build with RANKINE_SEPARATE_MEMORY");
#else
  static_cast<void>(what);
#endif
}

// Launch order and deferral as the environment asks.
void read_environment() {
  const char* order = std::getenv("RANKINE_LAUNCH_ORDER");
  const char* deferred = std::getenv("RANKINE_LAUNCH_DEFERRED");
#ifdef RANKINE_SEPARATE_MEMORY
  if (order != nullptr) {
    const std::string_view text(order);
    if (text != "natural" && text != "reversed" && text != "shuffled")
      throw InputError("environment RANKINE_LAUNCH_ORDER: '" + std::string(text) +
                       "' must be natural, reversed or shuffled");
    launch_state.order = text == "natural"    ? LaunchOrder::natural
                         : text == "reversed" ? LaunchOrder::reversed
                                              : LaunchOrder::shuffled;
  }
  if (deferred != nullptr) {
    const std::string_view text(deferred);
    if (text != "0" && text != "1")
      throw InputError("environment RANKINE_LAUNCH_DEFERRED: '" + std::string(text) + "' must be 0 or 1");
    launch_state.deferred = text == "1";
  }
#else
  if (order != nullptr || deferred != nullptr)
    throw InputError(
        "environment RANKINE_LAUNCH_ORDER, RANKINE_LAUNCH_DEFERRED: only a build with RANKINE_SEPARATE_MEMORY "
        "obeys them; unset them");
#endif
}

void start(int& count, char** arguments) {
  read_environment();
  Kokkos::initialize(count, arguments);
  catch_host_touches();
}

void start_without_arguments() {
  char program[] = "rankine";
  char* arguments[] = {program, nullptr};
  int count = 1;
  start(count, arguments);
}

template <class To, class From>
void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  using Target = Kokkos::View<std::byte*, To, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
  using Source = Kokkos::View<const std::byte*, From, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
  Kokkos::deep_copy(Target(to, bytes), Source(from, bytes));
}

}  // namespace

void ensure_kokkos() {
  if (Kokkos::is_initialized()) return;
  start_without_arguments();
  std::atexit([] {
    if (Kokkos::is_initialized()) Kokkos::finalize();
  });
}

KokkosSession::KokkosSession() { start_without_arguments(); }
KokkosSession::~KokkosSession() {
  fence();
  Kokkos::finalize();
}

void at_kokkos_end(std::function<void()> work) { Kokkos::push_finalize_hook(std::move(work)); }

std::string backend_name() { return ExecutionSpace::name(); }
int backend_concurrency() { return static_cast<int>(ExecutionSpace().concurrency()); }

ScopedRegion::ScopedRegion(const std::string& name) { Kokkos::Profiling::pushRegion(name); }
ScopedRegion::~ScopedRegion() { Kokkos::Profiling::popRegion(); }

DevicePtr<std::byte> device_allocate(std::size_t bytes) {
  void* const memory = Kokkos::kokkos_malloc<MemorySpace>(std::string("rankine::tensor"), bytes);
#ifdef RANKINE_SEPARATE_MEMORY
  std::memset(memory, 0xCB, bytes);  // nobody may count on zeros
  const std::scoped_lock lock(kernels::blocks().mutex);
  kernels::blocks().sizes[reinterpret_cast<std::uintptr_t>(memory)] = bytes;
#endif
  return DevicePtr<std::byte>::from_raw(static_cast<std::byte*>(memory));
}

void device_free(DevicePtr<std::byte> memory) {
  if (!memory) return;
#ifdef RANKINE_SEPARATE_MEMORY
  {
    const std::scoped_lock lock(kernels::blocks().mutex);
    kernels::blocks().sizes.erase(reinterpret_cast<std::uintptr_t>(memory.unwrap()));
  }
  if (!kernels::queue.empty()) {
    kernels::freed_late.push_back(memory.unwrap());
    return;
  }
#endif
  Kokkos::kokkos_free<MemorySpace>(memory.unwrap());
}

void fence() {
  kernels::drain();
  if constexpr (!kHostAccess) Kokkos::fence();
}

void copy_bytes_to_device(DevicePtr<std::byte> to, const void* from, std::size_t bytes) {
  fence();
  ++launch_state.counters.host_writes;
  launch_state.counters.bytes_to_device += static_cast<double>(bytes);
  if (bytes == 0) return;
  if constexpr (kHostAccess)
    std::memcpy(to.unwrap(), from, bytes);
  else
    copy_bytes<MemorySpace, Kokkos::HostSpace>(to.unwrap(), static_cast<const std::byte*>(from), bytes);
}

void copy_bytes_to_host(void* to, DevicePtr<const std::byte> from, std::size_t bytes) {
  fence();
  ++launch_state.counters.host_reads;
  launch_state.counters.bytes_to_host += static_cast<double>(bytes);
  if (bytes == 0) return;
  if constexpr (kHostAccess)
    std::memcpy(to, from.unwrap(), bytes);
  else
    copy_bytes<Kokkos::HostSpace, MemorySpace>(static_cast<std::byte*>(to), from.unwrap(), bytes);
}

DeviceCounters device_counters() { return launch_state.counters; }
void count_host_access() { ++launch_state.counters.host_accesses; }

void set_launch_order(LaunchOrder order) {
  need_separate_memory("a launch order");
  fence();
  launch_state.order = order;
}

void set_launch_deferred(bool deferred) {
  need_separate_memory("launches that wait");
  fence();
  launch_state.deferred = deferred;
}

void catch_host_touches() {
#ifdef RANKINE_SEPARATE_MEMORY
  void* first[2];
  ::backtrace(first, 2);  // loads what it needs now, because a handler must not
  struct sigaction action {};
  action.sa_sigaction = on_touch;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigaction(SIGSEGV, &action, nullptr);
  ::sigaction(SIGBUS, &action, nullptr);
#endif
}

}  // namespace rankine
