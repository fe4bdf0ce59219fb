#include "src/io/rehearsal.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <new>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/io/hdf5.hpp"

namespace rankine {
namespace {

#ifdef __SANITIZE_ADDRESS__  // AddressSanitizer maps terabytes and takes its time
constexpr bool limits_memory = false;
constexpr int slower = 10;
#else
constexpr bool limits_memory = true;
constexpr int slower = 1;
#endif

/// Bytes of address space that this process has; 0 where the system does not tell.
std::uint64_t address_space() {
  std::array<char, 64> text{};
  const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const ssize_t size = ::read(file, text.data(), text.size() - 1);
  ::close(file);
  return size <= 0
             ? 0
             : std::strtoull(text.data(), nullptr, 10) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void send(int to, char kind, const std::string& message) {
  std::string all = kind + message;
  for (std::size_t done = 0; done < all.size();) {
    const ssize_t count = ::write(to, all.data() + done, all.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    done += static_cast<std::size_t>(count);
  }
}

[[noreturn]] void child(int answer, const std::function<void()>& work, const RehearsalLimits& limits) {
  // The parent's handlers print stacks and end the whole job.
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGTERM, SIGINT, SIGALRM}) {
    std::signal(signal, SIG_DFL);
  }
  const auto limit = [](int what, std::uint64_t most) {
    const rlimit both{most, most};
    ::setrlimit(static_cast<__rlimit_resource>(what), &both);
  };
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, static_cast<std::uint64_t>(limits.seconds));
  if (const std::uint64_t now = limits_memory ? address_space() : 0; now > 0)
    limit(RLIMIT_AS, now + limits.memory);
  ::alarm(static_cast<unsigned>(10 * limits.seconds));  // waiting, not computing
  try {
    work();
    send(answer, 'y', "");
  } catch (const std::bad_alloc&) {
    send(answer, 'm', "");
  } catch (const std::exception& error) {
    send(answer, 'n', error.what());
  }
  ::_exit(0);
}

}  // namespace

void rehearse(const std::string& path, const std::function<void()>& work, RehearsalLimits limits) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    work();  // which says what is wrong
    return;
  }
  const auto size = static_cast<std::uint64_t>(std::max<off_t>(status.st_size, 0));
  // HDF5 itself takes some 10 MB; what is read exists three times at most: in its cache, in a buffer, in an
  // array.
  if (limits.memory == 0) limits.memory = (std::uint64_t{192} << 20U) + 8 * size;
  if (limits.seconds == 0) limits.seconds = slower * (1 + static_cast<int>(size >> 23U));  // 8 MB a second
  int ends[2];
  if (::pipe(ends) != 0)
    throw IoError(path + ": cannot make a pipe to read it carefully: " + std::strerror(errno));
  const pid_t process = ::fork();
  if (process == 0) {
    ::close(ends[0]);
    child(ends[1], work, limits);
  }
  const int error = errno;
  ::close(ends[1]);
  if (process < 0) {
    ::close(ends[0]);
    throw IoError(path + ": cannot make a process to read it carefully: " + std::strerror(error));
  }
  std::string answer;
  std::array<char, 4096> part{};
  for (;;) {
    const ssize_t count = ::read(ends[0], part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    answer.append(part.data(), static_cast<std::size_t>(count));
  }
  ::close(ends[0]);
  int state = 0;
  while (::waitpid(process, &state, 0) < 0 && errno == EINTR) {
  }
  if (answer == "y") return;
  if (!answer.empty() && answer.front() == 'n') throw InputError(answer.substr(1));
  const int signal = WIFSIGNALED(state) ? WTERMSIG(state) : 0;
  if (signal == SIGALRM)
    throw InputError(
        fmt::format("{}: not read within {} s; where the file system is slow, try again, otherwise "
                    "the file is damaged: get or make it again",
                    path, 10 * limits.seconds));
  const std::string what =
      answer == "m"
          ? fmt::format("asks for more than {:.0f} MB of memory", 1e-6 * static_cast<double>(limits.memory))
      : signal == SIGXCPU || signal == SIGKILL
          ? fmt::format("keeps HDF5 {} busy for more than {} s", hdf5::library_version(), limits.seconds)
          : fmt::format("makes HDF5 {} crash ({})", hdf5::library_version(),
                        signal == 0 ? "it ended" : ::strsignal(signal));
  throw InputError(fmt::format("{}: {}; the file is damaged: get or make it again", path, what));
}

}  // namespace rankine
