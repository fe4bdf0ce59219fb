#include "src/tensor/storage.hpp"

#include <algorithm>
#include <map>
#include <mutex>

#include "kernels/error.hpp"
#include "kernels/runtime.hpp"

namespace rankine {
namespace {

thread_local int uncounted_scopes = 0;

// Freed blocks wait here: a training step asks for the same sizes again and again, and fresh pages cost more
// to fault in than most kernels take to fill them.
class Pool {
 public:
  DevicePtr<std::byte> take(std::size_t bytes, std::size_t& block, std::size_t& counted) {
    block = round_up(bytes);
    // What is asked for counts, not the cached block that serves it: so the account repeats.
    counted = uncounted_scopes > 0 ? 0 : block;
    const std::scoped_lock lock(mutex_);
    account_.live += counted;
    account_.peak = std::max(account_.peak, account_.live);
    // Up to twice as large: of the widths of a network most are powers of two, and a block that lies idle beside a
    // fresh one of half its size is what the peak is made of.
    if (auto found = free_.lower_bound(block); found != free_.end() && found->first <= 2 * block) {
      const DevicePtr<std::byte> data = found->second;
      block = found->first;
      free_.erase(found);
      return data;
    }
    if (!hooked_) {
      at_kokkos_end([this] {
        release();
        finalized_ = true;
      });
      hooked_ = true;
    }
    const DevicePtr<std::byte> data = allocate(block);
    account_.reserved += block;
    return data;
  }

  void give(DevicePtr<std::byte> data, std::size_t block, std::size_t counted) {
    const std::scoped_lock lock(mutex_);
    account_.live -= counted;
    if (finalized_) return;  // a static tensor that outlives Kokkos: the process is ending
    free_.emplace(block, data);
  }

  void release() {
    const std::scoped_lock lock(mutex_);
    for (auto& [block, data] : free_) {
      device_free(data);
      account_.reserved -= block;
    }
    free_.clear();
  }

  MemoryAccount account() {
    const std::scoped_lock lock(mutex_);
    return account_;
  }

  void reset_peak() {
    const std::scoped_lock lock(mutex_);
    account_.peak = account_.live;
  }

 private:
  static std::size_t round_up(std::size_t bytes) {
    const std::size_t grain = bytes >= (std::size_t(1) << 20) ? std::size_t(1) << 16 : 256;
    return (std::max<std::size_t>(bytes, 1) + grain - 1) / grain * grain;
  }

  DevicePtr<std::byte> allocate(std::size_t block) {
    try {
      return device_allocate(block);
    } catch (const std::exception&) {
      // Out of memory with blocks of other sizes cached: give those back and try once more.
      for (auto& [size, data] : free_) {
        device_free(data);
        account_.reserved -= size;
      }
      free_.clear();
      return device_allocate(block);
    }
  }

  std::mutex mutex_;
  std::multimap<std::size_t, DevicePtr<std::byte>> free_;
  MemoryAccount account_;
  bool hooked_ = false, finalized_ = false;
};

Pool& pool() {
  static Pool* const instance =
      new Pool;  // never destroyed: tensors with static lifetime may be freed after it
  return *instance;
}

}  // namespace

MemoryAccount memory_account() { return pool().account(); }
void reset_memory_peak() { pool().reset_peak(); }
void release_cached_memory() { pool().release(); }

Storage::Storage(std::size_t bytes) : bytes_(bytes) { data_ = pool().take(bytes, block_, counted_); }

Storage::~Storage() { pool().give(data_, block_, counted_); }

Uncounted::Uncounted() { ++uncounted_scopes; }
Uncounted::~Uncounted() { --uncounted_scopes; }

}  // namespace rankine
