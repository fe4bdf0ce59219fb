// What every target asks of every input, besides what the sanitizers see: an end within a second of processor
// time, and at most 256 MB of memory at once. What a target may throw is its own affair; whatever gets out of
// it ends the fuzzing.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <sanitizer/allocator_interface.h>

namespace rankine::fuzz {

constexpr double most_seconds = 1;
constexpr std::size_t most_bytes = 256'000'000;

inline thread_local std::size_t live = 0, peak = 0;
inline thread_local bool counting = false;

inline void install_hooks() {
  __sanitizer_install_malloc_and_free_hooks(
      [](const volatile void*, std::size_t size) {
        if (!counting) return;
        live += size;
        if (live > peak) peak = live;
      },
      [](const volatile void* pointer) {
        if (!counting || pointer == nullptr) return;
        const std::size_t size = __sanitizer_get_allocated_size(pointer);
        live -= size < live ? size : live;
      });
}

template <class Work>
void watch(Work work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  live = peak = 0;
  counting = true;
  const double start = now();
  work();
  const double seconds = now() - start;
  counting = false;
  static double slowest = 0;
  static std::size_t largest = 0;
  if (seconds > slowest || peak > largest) {
    slowest = seconds > slowest ? seconds : slowest;
    largest = peak > largest ? peak : largest;
    std::fprintf(stderr, "slowest input %.3f s, largest %.1f MB\n", slowest,
                 1e-6 * static_cast<double>(largest));
  }
  if (seconds > most_seconds || peak > most_bytes) {
    std::fprintf(stderr, "ERROR: this input takes %.3f s and %.1f MB; allowed are %.0f s and %.0f MB\n",
                 seconds, 1e-6 * static_cast<double>(peak), most_seconds,
                 1e-6 * static_cast<double>(most_bytes));
    std::abort();
  }
}

}  // namespace rankine::fuzz
