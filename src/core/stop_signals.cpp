#include "src/core/stop_signals.hpp"

namespace rankine {
namespace {

volatile std::sig_atomic_t latest = 0;

void note(int signal) { latest = signal; }

}  // namespace

StopSignals::StopSignals() {
  latest = 0;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGALRM}) {
    struct sigaction action {};
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;  // no call of MPI or of a file system is to see it
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, &before_[signal]);
  }
}

StopSignals::~StopSignals() {
  for (const auto& [signal, action] : before_) sigaction(signal, &action, nullptr);
}

int StopSignals::received() { return latest; }

const char* StopSignals::name(int signal) {
  switch (signal) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGUSR2:
      return "SIGUSR2";
    case SIGALRM:
      return "SIGALRM";
    default:
      return "a signal";
  }
}

}  // namespace rankine
