// Loaded before the C library (LD_PRELOAD): disturbs the calls that change files whose path has a certain
// part.
//   RANKINE_FAULTS = "<part of the path>:<errno>:<chance in percent>"   writing, reserving, syncing or
//                    renaming fails now and then, as on a full or broken disk
//   RANKINE_KILL   = "<part of the path>:<rank>:<n>:<when>:<signal>:<file>"   the process of this rank gets
//                    the signal's number at its n-th such call, whose name goes to the file; when: 0 before
//                    the call, 1 after half of it, 2 after it (1 and 2 for SIGKILL only)
//   RANKINE_CALLS  = "<part of the path>:<file>"   appends a line "<rank> <number of such calls>"
// MPI_Allgatherv counts as such a call with the path "MPI_Allgatherv": the evaluations' progress.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <random>
#include <string>
#include <sys/uio.h>
#include <unistd.h>

#include <mpi.h>

namespace {

/// The parts between colons; `count` of them or none.
bool split(const char* variable, int count, std::string* parts) {
  const char* setting = std::getenv(variable);
  if (setting == nullptr) return false;
  for (int i = 0; i < count; ++i) {
    const char* end = i + 1 < count ? std::strchr(setting, ':') : setting + std::strlen(setting);
    if (end == nullptr) return false;
    parts[i].assign(setting, end);
    setting = end + 1;
  }
  return true;
}

struct Settings {
  std::string fault[3], kill[6], calls[2], rank = "0";
  bool faults = split("RANKINE_FAULTS", 3, fault);
  bool kills = split("RANKINE_KILL", 6, kill);
  bool counts = split("RANKINE_CALLS", 2, calls);
  int fault_code = faults ? std::atoi(fault[1].c_str()) : 0;
  unsigned fault_chance = faults ? static_cast<unsigned>(std::atoi(fault[2].c_str())) : 0;
  long kill_at = kills ? std::atol(kill[2].c_str()) : 0;
  int kill_when = kills ? std::atoi(kill[3].c_str()) : 0;
  int kill_signal = kills ? std::atoi(kill[4].c_str()) : 0;
  long made = 0, made_for_kill = 0;

  Settings() {
    if (const char* given = std::getenv("OMPI_COMM_WORLD_RANK")) rank = given;
    if (kills && kill[1] != rank) kills = false;
  }
  ~Settings() {
    if (!counts) return;
    if (std::FILE* file = std::fopen(calls[1].c_str(), "a")) {
      std::fprintf(file, "%s %ld\n", rank.c_str(), made);
      std::fclose(file);
    }
  }
};

Settings& settings() {
  static Settings the;
  return the;
}

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

/// Runs whole() in the way that the settings want; half() does a part of it.
template <class Whole, class Half>
auto disturb(const char* name, const char* path, Whole whole, Half half) -> decltype(whole()) {
  static thread_local bool inside = false;
  if (inside) return whole();
  inside = true;
  Settings& s = settings();
  const auto has = [&](const std::string& part) { return std::strstr(path, part.c_str()) != nullptr; };
  if (s.counts && has(s.calls[0])) ++s.made;
  if (s.kills && has(s.kill[0]) && ++s.made_for_kill == s.kill_at) {
    if (std::FILE* file = std::fopen(s.kill[5].c_str(), "w")) {
      std::fputs(name, file);
      std::fclose(file);
    }
    if (s.kill_when == 1) half();
    if (s.kill_when == 2) whole();
    ::raise(s.kill_signal);
  }
  static std::minstd_rand random(static_cast<unsigned>(::getpid()));
  if (s.faults && has(s.fault[0]) && random() % 100 < s.fault_chance) {
    if (s.fault_code == ENOSPC) half();  // a full disk takes what still fits
    inside = false;
    errno = s.fault_code;
    return -1;
  }
  inside = false;
  return whole();
}

template <class Whole, class Half>
auto disturb(const char* name, int descriptor, Whole whole, Half half) -> decltype(whole()) {
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  path[std::max<ssize_t>(length, 0)] = '\0';
  return disturb(name, static_cast<const char*>(path), whole, half);
}

constexpr auto nothing = [] {};

}  // namespace

extern "C" {

ssize_t write(int descriptor, const void* data, size_t count) {
  static auto* real = next<ssize_t(int, const void*, size_t)>("write");
  return disturb(
      "write", descriptor, [&] { return real(descriptor, data, count); },
      [&] { real(descriptor, data, count / 2); });
}

ssize_t pwrite(int descriptor, const void* data, size_t count, off_t offset) {
  static auto* real = next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return disturb(
      "pwrite", descriptor, [&] { return real(descriptor, data, count, offset); },
      [&] { real(descriptor, data, count / 2, offset); });
}

ssize_t pwrite64(int descriptor, const void* data, size_t count, off64_t offset) {
  static auto* real = next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return disturb(
      "pwrite", descriptor, [&] { return real(descriptor, data, count, offset); },
      [&] { real(descriptor, data, count / 2, offset); });
}

ssize_t writev(int descriptor, const iovec* parts, int count) {
  static auto* real = next<ssize_t(int, const iovec*, int)>("writev");
  return disturb(
      "writev", descriptor, [&] { return real(descriptor, parts, count); }, nothing);
}

ssize_t pwritev(int descriptor, const iovec* parts, int count, off_t offset) {
  static auto* real = next<ssize_t(int, const iovec*, int, off_t)>("pwritev");
  return disturb(
      "pwritev", descriptor, [&] { return real(descriptor, parts, count, offset); }, nothing);
}

ssize_t pwritev64(int descriptor, const iovec* parts, int count, off64_t offset) {
  static auto* real = next<ssize_t(int, const iovec*, int, off64_t)>("pwritev64");
  return disturb(
      "pwritev", descriptor, [&] { return real(descriptor, parts, count, offset); }, nothing);
}

int fsync(int descriptor) {
  static auto* real = next<int(int)>("fsync");
  return disturb(
      "fsync", descriptor, [&] { return real(descriptor); }, nothing);
}

int ftruncate(int descriptor, off_t length) {
  static auto* real = next<int(int, off_t)>("ftruncate");
  return disturb(
      "ftruncate", descriptor, [&] { return real(descriptor, length); }, nothing);
}

int ftruncate64(int descriptor, off64_t length) {
  static auto* real = next<int(int, off64_t)>("ftruncate64");
  return disturb(
      "ftruncate", descriptor, [&] { return real(descriptor, length); }, nothing);
}

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
  static auto* real = next<int(int, int, off_t, off_t)>("fallocate");
  return disturb(
      "fallocate", descriptor, [&] { return real(descriptor, mode, offset, length); }, nothing);
}

int rename(const char* from, const char* to) {
  static auto* real = next<int(const char*, const char*)>("rename");
  return disturb(
      "rename", from, [&] { return real(from, to); }, nothing);
}

int MPI_Allgatherv(const void* send, int count, MPI_Datatype sent, void* receive, const int* counts,
                   const int* offsets, MPI_Datatype received, MPI_Comm communicator) {
  static auto* real = next<decltype(MPI_Allgatherv)>("MPI_Allgatherv");
  return disturb(
      "MPI_Allgatherv", "MPI_Allgatherv",
      [&] { return real(send, count, sent, receive, counts, offsets, received, communicator); }, nothing);
}
}
