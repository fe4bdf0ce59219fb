#include "src/core/console.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <sys/stat.h>
#include <unistd.h>

namespace rankine {
namespace {

int first_error = 0;
bool works = false, ended = false;

/// Open MPI's launcher reads what its processes print, and ends the job when it cannot pass that on. Whether
/// it has nobody to pass it on to; false where that cannot be seen, as from another machine. A line that is
/// on its way when the reader goes still ends the job.
bool launcher_has_no_reader() {
  static const bool launched = std::getenv("OMPI_COMM_WORLD_RANK") != nullptr;
  if (!launched) return false;
  const std::string output = "/proc/" + std::to_string(::getppid()) + "/fd/1";
  struct stat status {};
  if (::stat(output.c_str(), &status) != 0 || !S_ISFIFO(status.st_mode)) return false;
  const int descriptor = ::open(output.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor >= 0) ::close(descriptor);
  return descriptor < 0 && errno == ENXIO;  // a pipe without a reader
}

}  // namespace

void Console::open() {
  first_error = 0;
  works = ended = false;
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free number is this one. Nothing can be written to a descriptor for reading, so that
    // printing finds out as it would have.
    static_cast<void>(::open("/dev/null", O_RDONLY));
  }
  std::signal(SIGPIPE, SIG_IGN);
}

void Console::print(const std::string& text) { write(std::cout, text); }

void Console::write(std::ostream& out, const std::string& text) {
  if (&out == &std::cout && !ended && launcher_has_no_reader()) {
    ended = true;
    if (first_error == 0) first_error = EPIPE;
  }
  if (&out == &std::cout && ended) return;
  errno = 0;
  out << text << std::flush;
  if (out) return;
  const int error = errno == 0 ? EIO : errno;
  if (first_error == 0) first_error = error;
  // A full disk may be given room again; a reader that has gone does not come back.
  ended = error == EPIPE || error == EBADF;
  if (!ended) out.clear();
}

void Console::work_begins() { works = true; }

int Console::exit_code(int exit_code) {
  if (first_error == 0 || first_error == EPIPE) return exit_code;
  const std::string what = std::string("standard output could not be written: ") + std::strerror(first_error);
  constexpr int input_or_output_failed = 3, expectation_false = 4;
  if (works) {
    std::cerr << "rankine: warning: " + what + "; the work itself was done, exit code " +
                     std::to_string(exit_code) + "\n"
              << std::flush;
    return exit_code;
  }
  std::cerr << "rankine: error: " + what + "; print to another place\n" << std::flush;
  return exit_code == 0 || exit_code == expectation_false ? input_or_output_failed : exit_code;
}

}  // namespace rankine
