// Signals that ask a run to stop in good order: TERM, INT, USR1, USR2, ALRM, XCPU (the soft limit of
// processor time) and HUP (a closed terminal; unless it is ignored, as under nohup). The handler sets a flag
// and does nothing else; whoever is at a place where the run can stop asks for it.
#pragma once

#include <csignal>
#include <map>

namespace rankine {

/// Handles the signals from its start to its end; then what handled them before does again. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The latest signal that came to this process, or 0.
  static int received();
  /// "SIGTERM".
  static const char* name(int signal);

 private:
  std::map<int, struct sigaction> before_;
};

}  // namespace rankine
