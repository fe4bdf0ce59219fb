#include "src/core/stop_signals.hpp"

namespace rankine {
namespace {

volatile std::sig_atomic_t latest = 0;

sigset_t mask_before;

void note(int signal) { latest = signal; }

}  // namespace

StopSignals::StopSignals() {
  latest = 0;
  sigset_t mine;
  sigemptyset(&mine);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGALRM, SIGHUP, SIGXCPU}) {
    struct sigaction present {};
    // nohup starts a program so that it outlives its terminal.
    if (signal == SIGHUP && sigaction(signal, nullptr, &present) == 0 && present.sa_handler == SIG_IGN)
      continue;
    sigaddset(&mine, signal);
    struct sigaction action {};
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;  // no call of MPI or of a file system is to see it
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, &before_[signal]);
  }
  // Job scripts block SIGTERM for mpirun, and not every MPI unblocks it for its ranks.
  pthread_sigmask(SIG_UNBLOCK, &mine, &mask_before);
}

StopSignals::~StopSignals() {
  pthread_sigmask(SIG_SETMASK, &mask_before, nullptr);
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
    case SIGHUP:
      return "SIGHUP";
    case SIGXCPU:
      return "SIGXCPU";
    default:
      return "a signal";
  }
}

}  // namespace rankine
