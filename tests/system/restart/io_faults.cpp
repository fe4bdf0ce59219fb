// Loaded before the C library (LD_PRELOAD): disturbs the calls on files whose path has a certain part. Calls
// that change files: writing, reserving, syncing, renaming, removing, opening to write, making folders.
//   RANKINE_FAULTS = "<part of the path>:<rank or all>:<errno>:<chance in percent>"   calls that change files
//                    fail now and then, as on a full or broken disk
//   RANKINE_FAULT_AT = "<part of the path>:<rank>:<n>:<errno>:<file>"   the n-th call of this rank fails,
//                    whether it reads or changes files; its name goes to the file
//   RANKINE_KILL   = "<part of the path>:<rank>:<n>:<when>:<signal>:<file>"   the process of this rank gets
//                    the signal's number at its n-th call that changes files, whose name goes to the file;
//                    when: 0 before the call, 1 after half of it, 2 after it (1 and 2 for SIGKILL only)
//   RANKINE_CALLS  = "<part of the path>:<file>"   appends a line "<rank> <calls that change files> <calls>"
// MPI_Allgatherv counts as such a call with the path "MPI_Allgatherv": the evaluations' progress.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdarg>
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
  std::string fault[4], at[5], kill[6], calls[2], rank = "0";
  bool faults = split("RANKINE_FAULTS", 4, fault);
  bool faults_at = split("RANKINE_FAULT_AT", 5, at);
  bool kills = split("RANKINE_KILL", 6, kill);
  bool counts = split("RANKINE_CALLS", 2, calls);
  int fault_code = faults ? std::atoi(fault[2].c_str()) : 0;
  unsigned fault_chance = faults ? static_cast<unsigned>(std::atoi(fault[3].c_str())) : 0;
  long fail_at = faults_at ? std::atol(at[2].c_str()) : 0;
  long kill_at = kills ? std::atol(kill[2].c_str()) : 0;
  int kill_when = kills ? std::atoi(kill[3].c_str()) : 0;
  int kill_signal = kills ? std::atoi(kill[4].c_str()) : 0;
  long made = 0, made_in_all = 0, made_for_fault = 0, made_for_kill = 0;

  Settings() {
    if (const char* given = std::getenv("OMPI_COMM_WORLD_RANK")) rank = given;
    if (faults && fault[1] != "all" && fault[1] != rank) faults = false;
    if (kills && kill[1] != rank) kills = false;
    if (faults_at && at[1] != rank) faults_at = false;
  }
  ~Settings() {
    if (!counts) return;
    if (std::FILE* file = std::fopen(calls[1].c_str(), "a")) {
      std::fprintf(file, "%s %ld %ld\n", rank.c_str(), made, made_in_all);
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

void note(const std::string& path, const char* name) {
  if (std::FILE* file = std::fopen(path.c_str(), "w")) {
    std::fputs(name, file);
    std::fclose(file);
  }
}

/// Runs whole() in the way that the settings want; half() does a part of it.
template <class Path, class Whole, class Half>
auto disturb(const char* name, Path path_of, Whole whole, Half half, bool changes = true)
    -> decltype(whole()) {
  static thread_local bool inside = false;
  if (inside) return whole();
  inside = true;
  struct Outside {
    ~Outside() { inside = false; }
  } outside;
  Settings& s = settings();
  if (!s.faults && !s.faults_at && !s.kills && !s.counts) return whole();
  const int error_before = errno;
  const std::string path = path_of();
  errno = error_before;
  const auto has = [&](const std::string& part) { return path.find(part) != std::string::npos; };
  if (s.counts && has(s.calls[0])) {
    ++s.made_in_all;
    s.made += changes ? 1 : 0;
  }
  if (s.faults_at && has(s.at[0]) && ++s.made_for_fault == s.fail_at) {
    note(s.at[4], name);
    errno = std::atoi(s.at[3].c_str());
    return decltype(whole())(-1);
  }
  if (!changes) return whole();
  if (s.kills && has(s.kill[0]) && ++s.made_for_kill == s.kill_at) {
    note(s.kill[5], name);
    if (s.kill_when == 1) half();
    if (s.kill_when == 2) whole();
    ::raise(s.kill_signal);
  }
  static std::minstd_rand random(static_cast<unsigned>(::getpid()));
  if (s.faults && has(s.fault[0]) && random() % 100 < s.fault_chance) {
    if (s.fault_code == ENOSPC) half();  // a full disk takes what still fits
    errno = s.fault_code;
    return decltype(whole())(-1);
  }
  return whole();
}

auto of_descriptor(int descriptor) {
  return [descriptor] {
    char link[64], path[4096];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = ::readlink(link, path, sizeof path - 1);
    return std::string(path, static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  };
}

auto named(const char* path) {
  return [path] { return std::string(path); };
}

constexpr auto nothing = [] {};

}  // namespace

extern "C" {

ssize_t write(int descriptor, const void* data, size_t count) {
  static auto* real = next<ssize_t(int, const void*, size_t)>("write");
  return disturb(
      "write", of_descriptor(descriptor), [&] { return real(descriptor, data, count); },
      [&] { real(descriptor, data, count / 2); });
}

ssize_t pwrite(int descriptor, const void* data, size_t count, off_t offset) {
  static auto* real = next<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return disturb(
      "pwrite", of_descriptor(descriptor), [&] { return real(descriptor, data, count, offset); },
      [&] { real(descriptor, data, count / 2, offset); });
}

ssize_t pwrite64(int descriptor, const void* data, size_t count, off64_t offset) {
  static auto* real = next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return disturb(
      "pwrite", of_descriptor(descriptor), [&] { return real(descriptor, data, count, offset); },
      [&] { real(descriptor, data, count / 2, offset); });
}

ssize_t writev(int descriptor, const iovec* parts, int count) {
  static auto* real = next<ssize_t(int, const iovec*, int)>("writev");
  return disturb(
      "writev", of_descriptor(descriptor), [&] { return real(descriptor, parts, count); }, nothing);
}

ssize_t pwritev(int descriptor, const iovec* parts, int count, off_t offset) {
  static auto* real = next<ssize_t(int, const iovec*, int, off_t)>("pwritev");
  return disturb(
      "pwritev", of_descriptor(descriptor), [&] { return real(descriptor, parts, count, offset); }, nothing);
}

ssize_t pwritev64(int descriptor, const iovec* parts, int count, off64_t offset) {
  static auto* real = next<ssize_t(int, const iovec*, int, off64_t)>("pwritev64");
  return disturb(
      "pwritev", of_descriptor(descriptor), [&] { return real(descriptor, parts, count, offset); }, nothing);
}

int fsync(int descriptor) {
  static auto* real = next<int(int)>("fsync");
  return disturb(
      "fsync", of_descriptor(descriptor), [&] { return real(descriptor); }, nothing);
}

int ftruncate(int descriptor, off_t length) {
  static auto* real = next<int(int, off_t)>("ftruncate");
  return disturb(
      "ftruncate", of_descriptor(descriptor), [&] { return real(descriptor, length); }, nothing);
}

int ftruncate64(int descriptor, off64_t length) {
  static auto* real = next<int(int, off64_t)>("ftruncate64");
  return disturb(
      "ftruncate", of_descriptor(descriptor), [&] { return real(descriptor, length); }, nothing);
}

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
  static auto* real = next<int(int, int, off_t, off_t)>("fallocate");
  return disturb(
      "fallocate", of_descriptor(descriptor), [&] { return real(descriptor, mode, offset, length); },
      nothing);
}

int rename(const char* from, const char* to) {
  static auto* real = next<int(const char*, const char*)>("rename");
  return disturb(
      "rename", named(from), [&] { return real(from, to); }, nothing);
}

ssize_t read(int descriptor, void* data, size_t count) {
  static auto* real = next<ssize_t(int, void*, size_t)>("read");
  return disturb(
      "read", of_descriptor(descriptor), [&] { return real(descriptor, data, count); }, nothing, false);
}

ssize_t pread(int descriptor, void* data, size_t count, off_t offset) {
  static auto* real = next<ssize_t(int, void*, size_t, off_t)>("pread");
  return disturb(
      "pread", of_descriptor(descriptor), [&] { return real(descriptor, data, count, offset); }, nothing,
      false);
}

ssize_t pread64(int descriptor, void* data, size_t count, off64_t offset) {
  static auto* real = next<ssize_t(int, void*, size_t, off64_t)>("pread64");
  return disturb(
      "pread", of_descriptor(descriptor), [&] { return real(descriptor, data, count, offset); }, nothing,
      false);
}

int open(const char* path, int flags, ...) {
  static auto* real = next<int(const char*, int, ...)>("open");
  std::va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return disturb(
      "open", named(path), [&] { return real(path, flags, mode); }, nothing, (flags & O_ACCMODE) != O_RDONLY);
}

int open64(const char* path, int flags, ...) {
  static auto* real = next<int(const char*, int, ...)>("open64");
  std::va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return disturb(
      "open", named(path), [&] { return real(path, flags, mode); }, nothing, (flags & O_ACCMODE) != O_RDONLY);
}

int unlink(const char* path) {
  static auto* real = next<int(const char*)>("unlink");
  return disturb(
      "unlink", named(path), [&] { return real(path); }, nothing);
}

int remove(const char* path) {
  static auto* real = next<int(const char*)>("remove");
  return disturb(
      "remove", named(path), [&] { return real(path); }, nothing);
}

int mkdir(const char* path, mode_t mode) {
  static auto* real = next<int(const char*, mode_t)>("mkdir");
  return disturb(
      "mkdir", named(path), [&] { return real(path, mode); }, nothing);
}

int MPI_Allgatherv(const void* send, int count, MPI_Datatype sent, void* receive, const int* counts,
                   const int* offsets, MPI_Datatype received, MPI_Comm communicator) {
  static auto* real = next<decltype(MPI_Allgatherv)>("MPI_Allgatherv");
  return disturb(
      "MPI_Allgatherv", named("MPI_Allgatherv"),
      [&] { return real(send, count, sent, receive, counts, offsets, received, communicator); }, nothing);
}
}
