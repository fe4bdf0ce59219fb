// Work memory of the tuned loops on the host: one buffer a thread, which grows and stays. kernels/ only.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace rankine::kernels {

struct AlignedFree {
  void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};

/// `count` elements, aligned to 64 bytes, until the thread's next call; their values are arbitrary.
template <class T>
T* host_scratch(std::int64_t count) {
  thread_local std::unique_ptr<std::byte[], AlignedFree> memory;
  thread_local std::size_t size = 0;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  if (bytes > size) {
    memory.reset(new (std::align_val_t(64)) std::byte[bytes]);
    size = bytes;
  }
  return reinterpret_cast<T*>(memory.get());
}

}  // namespace rankine::kernels
