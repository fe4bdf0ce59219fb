// Loaded before the C library (LD_PRELOAD): lets writing and syncing fail now and then, as on a full or
// broken disk. RANKINE_FAULTS = "<part of the path>:<errno>:<chance in percent>".
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <random>
#include <unistd.h>

namespace {

bool fails(int descriptor) {
  static thread_local bool inside = false;
  const char* setting = std::getenv("RANKINE_FAULTS");
  if (setting == nullptr || inside) return false;
  inside = true;
  char part[128] = "";
  int code = 0, chance = 0;
  bool hit = false;
  if (std::sscanf(setting, "%127[^:]:%d:%d", part, &code, &chance) == 3) {
    char link[64], path[4096];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = ::readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    static std::minstd_rand random(static_cast<unsigned>(::getpid()));
    hit = std::strstr(path, part) != nullptr && static_cast<int>(random() % 100) < chance;
  }
  inside = false;
  if (hit) errno = code;
  return hit;
}

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t write(int descriptor, const void* data, size_t count) {
  static auto* real = next<ssize_t(int, const void*, size_t)>("write");
  if (fails(descriptor)) {
    const int code = errno;
    // A full disk takes what still fits first.
    if (code == ENOSPC && count > 1 && real(descriptor, data, count / 2) < 0) return -1;
    errno = code;
    return -1;
  }
  return real(descriptor, data, count);
}

int fsync(int descriptor) {
  static auto* real = next<int(int)>("fsync");
  return fails(descriptor) ? -1 : real(descriptor);
}
}
