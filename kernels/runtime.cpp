#include "kernels/runtime.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <execinfo.h>
#include <map>
#include <mutex>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string_view>
#include <ucontext.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "kernels/device_info.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/error.hpp"
#include "kernels/launch_state.hpp"
#include "kernels/portability.hpp"

namespace rankine {
namespace kernels {

LaunchState launch_state;
bool in_launch = false;
DispatchTable dispatch_table{{
#define RANKINE_NAME(name) {#name},
    RANKINE_TUNED_OPERATIONS(RANKINE_NAME)
#undef RANKINE_NAME
}};
std::uintptr_t device_tag = 0;

namespace {

std::vector<std::function<void()>> queue;
std::vector<void*> freed_late;  // blocks that waiting launches may still use

/// Blocks in use, by their address: what a report of a touch names.
struct Blocks {
  std::mutex mutex;
  std::map<std::uintptr_t, std::size_t> sizes;
};
Blocks& blocks() {
  static auto* const instance = new Blocks;  // never destroyed: static tensors outlive it
  return *instance;
}

// Memory of the host needs no Kokkos, which would take longer to start than a deck takes to be checked.
void give_memory(void* memory) {
  if constexpr (kHostAccess)
    std::free(static_cast<void**>(memory)[-1]);  // see take_memory()
  else if (!launch_state.lost)
    Kokkos::kokkos_free<MemorySpace>(memory);
}

/// Page-locked blocks that nobody uses now.
struct PinnedBlocks {
  std::mutex mutex;
  std::multimap<std::size_t, std::byte*> free;
  bool hooked = false, finalized = false;
};
PinnedBlocks& pinned_blocks() {
  static auto* const instance = new PinnedBlocks;  // never destroyed, like the blocks in use
  return *instance;
}

void drain() {
  for (std::size_t i = 0; i < queue.size(); ++i) queue[i]();
  queue.clear();
  for (void* memory : freed_late) give_memory(memory);
  freed_late.clear();
}

CostTable timed_launches;
Cost timed_work;
TimedCost& entry_of(const char* name) {
  const auto found = timed_launches.find(std::string_view(name));
  return found != timed_launches.end() ? found->second
                                       : timed_launches.emplace(name, TimedCost()).first->second;
}
bool planted_abort = false;

}  // namespace

void LaunchTimer::finish() const {
  if constexpr (!kHostAccess) Kokkos::fence();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
  TimedCost& entry = entry_of(name_);
  ++entry.calls;
  entry.seconds += passed.count();
}
void add_work(const char* name, const Cost& cost) {
  entry_of(name) += cost;
  timed_work += cost;
}

void device_failed(const char* launch, const std::string& cause) {
  launch_state.lost = true;
  std::string name;
  try {
    name = device_info().name;
  } catch (const DeviceError&) {  // it may not answer any more
  }
  throw DeviceError(device_failure(name, "launch '" + std::string(launch) + "'", cause));
}

void fail_as_planted() {
  if (planted_abort) std::abort();
  on_device([] { throw std::runtime_error("RANKINE_FAIL_LAUNCH is set"); });
}

void defer(std::function<void()> work) { queue.push_back(std::move(work)); }

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

#if defined(__x86_64__)
constexpr bool can_tag = true;
// Bit 60 makes an address non-canonical, also with five levels of pages.
constexpr std::uintptr_t tag = std::uintptr_t(1) << 60U;
#else
constexpr bool can_tag = false;
constexpr std::uintptr_t tag = 0;
#endif

void on_touch(int signal, siginfo_t* /*info*/, void* context) {
  char text[200];
  std::snprintf(text, sizeof text, "signal %d, with no address of device memory in a register\n", signal);
#if defined(__x86_64__)
  // The system does not tell a non-canonical address, but a register of the faulting instruction holds it.
  // Through the stack's registers the signal is SIGBUS.
  const auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  for (const auto content : registers) {
    const auto value = static_cast<std::uintptr_t>(content);
    if ((value >> 48U) != (tag >> 48U)) continue;
    const std::uintptr_t raw = value ^ tag;
    const auto& sizes = kernels::blocks().sizes;
    auto block = sizes.upper_bound(raw);
    if (block == sizes.begin()) continue;
    --block;
    if (raw > block->first + block->second) continue;
    std::snprintf(text, sizeof text, "host code touched device memory: near byte %zu of a block of %zu\n",
                  static_cast<std::size_t>(raw - block->first), block->second);
    break;
  }
#else
  static_cast<void>(context);
#endif
  if (::write(2, text, std::strlen(text)) < 0) ::_exit(99);
  void* frames[48];
  const int count = ::backtrace(frames, 48);
  ::backtrace_symbols_fd(frames, count, 2);
  ::_exit(99);
}

void catch_touches() {
  void* first[2];
  ::backtrace(first, 2);  // loads what it needs now, because a handler must not
  struct sigaction action {};
  action.sa_sigaction = on_touch;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigaction(SIGSEGV, &action, nullptr);
  ::sigaction(SIGBUS, &action, nullptr);
}

// One of `choices` that the environment variable names; the first where it is not set.
std::size_t chosen(const char* variable, std::initializer_list<std::string_view> choices) {
  const char* const set = std::getenv(variable);
  if (set == nullptr) return 0;
  std::string all;
  std::size_t i = 0;
  for (const std::string_view choice : choices) {
    if (choice == set) return i;
    all += (i++ == 0 ? "" : ", ") + std::string(choice);
  }
  throw InputError(std::string("environment variable ") + variable + ": '" + set + "' is none of: " + all);
}

// Errors after which a process can do nothing more with a GPU make Kokkos abort. Ends like a DeviceError.
void on_abort(int /*signal*/) {
  std::string cause = kernels::lasting_device_error();
  if (kernels::planted_abort) cause = "RANKINE_FAIL_LAUNCH is set";
  if (cause.empty()) return;  // it has another reason: abort() goes on
  const std::string text =
      "rankine: error: " + device_failure("", "launch '" + std::string(launch_state.last) + "'", cause) +
      "\n";
  if (::write(2, text.data(), text.size()) >= 0) ::_exit(3);
}

// "7", "abort:7"
void plant_failure() {
  const char* const set = std::getenv("RANKINE_FAIL_LAUNCH");
  if (set == nullptr) return;
  std::string_view number = set;
  constexpr std::string_view abort = "abort:";
  kernels::planted_abort = number.starts_with(abort);
  if (kernels::planted_abort) number.remove_prefix(abort.size());
  const auto [end, error] =
      std::from_chars(number.data(), number.data() + number.size(), launch_state.failing);
  if (error != std::errc() || end != number.data() + number.size() || launch_state.failing < 1)
    throw InputError(std::string("environment variable RANKINE_FAIL_LAUNCH: '") + set +
                     "' is no number of a launch, such as 100 or abort:100; unset it");
}

void read_environment() {
  static bool done = false;
  if (done) return;
  done = true;
  const bool separate = chosen("RANKINE_MEMORY", {"shared", "separate"}) == 1;
  launch_state.order =
      static_cast<LaunchOrder>(chosen("RANKINE_LAUNCH_ORDER", {"natural", "reversed", "shuffled"}));
  launch_state.deferred = chosen("RANKINE_LAUNCH_DEFERRED", {"0", "1"}) == 1;
  if (chosen("RANKINE_KERNELS", {"tuned", "portable"}) == 1)
    for (kernels::DispatchEntry& entry : kernels::dispatch_table) entry.portable = true;
  if (!kHostAccess && (separate || launch_state.deferred || launch_state.order != LaunchOrder::natural))
    throw InputError(
        "environment variables RANKINE_MEMORY, RANKINE_LAUNCH_ORDER, RANKINE_LAUNCH_DEFERRED: they are for "
        "builds whose device is the host; unset them");
  plant_failure();
  if (!kHostAccess || kernels::planted_abort) std::signal(SIGABRT, on_abort);
  if (!separate) return;
  if (!can_tag) throw InputError("environment variable RANKINE_MEMORY: 'separate' needs an x86-64 processor");
  kernels::device_tag = tag;
  catch_touches();
}

void start(int device) {
  read_environment();
  initialize_kokkos(device);
}

// Whether there is nothing to be done because the device has failed and the stack unwinds.
bool unwinding() {
  if (!launch_state.lost) return false;
  if (std::uncaught_exceptions() > 0) return true;
  kernels::device_failed(launch_state.last, "it has failed before");
}

template <class To, class From>
void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  using Target = Kokkos::View<std::byte*, To, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
  using Source = Kokkos::View<const std::byte*, From, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;
  Kokkos::deep_copy(Target(to, bytes), Source(from, bytes));
}

}  // namespace

void ensure_kokkos() {
  read_environment();
  if (Kokkos::is_initialized()) return;
  start(-1);
  std::atexit([] {
    if (Kokkos::is_initialized()) Kokkos::finalize();
  });
}

KokkosSession::KokkosSession(int device) { start(device); }
KokkosSession::~KokkosSession() {
  if (launch_state.lost) return;  // it would not answer
  fence();
  Kokkos::finalize();
}

void at_kokkos_end(std::function<void()> work) {
  if constexpr (kHostAccess) return;
  ensure_kokkos();
  Kokkos::push_finalize_hook(std::move(work));
}

std::string backend_name() { return ExecutionSpace::name(); }
int backend_concurrency() {
#ifdef KOKKOS_ENABLE_SERIAL
  if constexpr (std::is_same_v<ExecutionSpace, Kokkos::Serial>) return 1;  // known before Kokkos starts
#endif
  ensure_kokkos();
  return static_cast<int>(ExecutionSpace().concurrency());
}

bool tools_are_loaded() { return Kokkos::Profiling::profileLibraryLoaded(); }
void push_tool_region(const std::string& name) { Kokkos::Profiling::pushRegion(name); }
void pop_tool_region() { Kokkos::Profiling::popRegion(); }

namespace {

void* take_memory(std::size_t bytes) {
  if constexpr (kHostAccess) {
    // Begins at a line of the cache, before which it says where its block does. (What aligned_alloc() of glibc
    // cuts off a block keeps freed neighbours apart: their memory serves no larger block.)
    constexpr std::size_t line = 64;
    auto* const block = static_cast<std::byte*>(std::malloc(bytes + line));
    if (block == nullptr) throw std::bad_alloc();
    static_assert(alignof(std::max_align_t) >= sizeof(void*));
    std::byte* const memory = block + (line - reinterpret_cast<std::uintptr_t>(block) % line);
    reinterpret_cast<void**>(memory)[-1] = block;
    return memory;
  } else {
    ensure_kokkos();
    try {
      return Kokkos::kokkos_malloc<MemorySpace>(std::string("rankine::tensor"), bytes);
    } catch (const std::exception&) {
      const DeviceInfo device = device_info();
      throw DeviceError(
          "the memory of the device (" + device.name + ") is out: " + std::to_string(bytes) +
          " bytes are wanted, and " + std::to_string(static_cast<std::int64_t>(device.free_bytes)) +
          " are free; --dry-run estimates what a deck needs, more ranks with a device each need "
          "less");
    }
  }
}

}  // namespace

DevicePtr<std::byte> device_allocate(std::size_t bytes) {
  read_environment();
  void* const memory = take_memory(bytes);
  if (kernels::device_tag != 0) {
    std::memset(memory, 0xCB, bytes);  // nobody may count on zeros
    const std::scoped_lock lock(kernels::blocks().mutex);
    kernels::blocks().sizes[reinterpret_cast<std::uintptr_t>(memory)] = bytes;
  }
  return DevicePtr<std::byte>::from_raw(static_cast<std::byte*>(memory));
}

void device_free(DevicePtr<std::byte> memory) {
  if (!memory) return;
  if (kernels::device_tag != 0) {
    const std::scoped_lock lock(kernels::blocks().mutex);
    kernels::blocks().sizes.erase(reinterpret_cast<std::uintptr_t>(memory.unwrap()));
  }
  if (!kernels::queue.empty()) {
    kernels::freed_late.push_back(memory.unwrap());
    return;
  }
  kernels::give_memory(memory.unwrap());
}

void fence() {
  if (unwinding()) return;
  kernels::drain();
  if constexpr (!kHostAccess) kernels::on_device([] { Kokkos::fence(); });
}

Pinned pinned(std::size_t bytes) {
  if constexpr (kHostAccess) {
    auto* const memory = static_cast<std::byte*>(std::malloc(std::max<std::size_t>(bytes, 1)));
    if (memory == nullptr) throw std::bad_alloc();
    return Pinned(memory, PinnedDelete{bytes});
  } else {
    ensure_kokkos();
    auto& blocks = kernels::pinned_blocks();
    const std::scoped_lock lock(blocks.mutex);
    const std::size_t block = std::bit_ceil(std::max<std::size_t>(bytes, 256));
    if (const auto found = blocks.free.find(block); found != blocks.free.end()) {
      std::byte* const memory = found->second;
      blocks.free.erase(found);
      return Pinned(memory, PinnedDelete{block});
    }
    if (!std::exchange(blocks.hooked, true)) {
      at_kokkos_end([&blocks] {
        for (const auto& [size, memory] : blocks.free) Kokkos::kokkos_free<PinnedSpace>(memory);
        blocks.free.clear();
        blocks.finalized = true;
      });
    }
    std::byte* memory = nullptr;
    kernels::on_device([&] {
      memory =
          static_cast<std::byte*>(Kokkos::kokkos_malloc<PinnedSpace>(std::string("rankine::pinned"), block));
    });
    return Pinned(memory, PinnedDelete{block});
  }
}

void PinnedDelete::operator()(std::byte* memory) const {
  if constexpr (kHostAccess) {
    std::free(memory);
  } else {
    auto& blocks = kernels::pinned_blocks();
    const std::scoped_lock lock(blocks.mutex);
    if (!blocks.finalized) blocks.free.emplace(block, memory);
  }
}

void copy_bytes_to_device(DevicePtr<std::byte> to, const void* from, std::size_t bytes) {
  if (unwinding()) return;
  fence();
  ++launch_state.counters.host_writes;
  launch_state.counters.bytes_to_device += static_cast<double>(bytes);
  if (bytes == 0) return;
  if constexpr (kHostAccess)
    std::memcpy(to.unwrap(), from, bytes);
  else
    kernels::on_device([&] {
      copy_bytes<MemorySpace, Kokkos::HostSpace>(to.unwrap(), static_cast<const std::byte*>(from), bytes);
    });
}

void copy_bytes_to_host(void* to, DevicePtr<const std::byte> from, std::size_t bytes) {
  fence();
  ++launch_state.counters.host_reads;
  launch_state.counters.bytes_to_host += static_cast<double>(bytes);
  if (bytes == 0) return;
  if constexpr (kHostAccess)
    std::memcpy(to, from.unwrap(), bytes);
  else
    kernels::on_device([&] {
      copy_bytes<Kokkos::HostSpace, MemorySpace>(static_cast<std::byte*>(to), from.unwrap(), bytes);
    });
}

std::string kernel_choice() {
  read_environment();
  const auto& table = kernels::dispatch_table;
  return !kHostAccess ||
                 std::all_of(table.begin(), table.end(), [](const auto& entry) { return entry.portable; })
             ? "portable"
             : "tuned";
}

DeviceCounters device_counters() { return launch_state.counters; }

void time_launches(bool on) {
  fence();
  launch_state.timed = on;
}
const CostTable& launch_costs() { return kernels::timed_launches; }
const Cost& launched_cost() { return kernels::timed_work; }
void forget_launch_costs() { kernels::timed_launches.clear(); }
void count_host_access() { ++launch_state.counters.host_accesses; }

}  // namespace rankine
