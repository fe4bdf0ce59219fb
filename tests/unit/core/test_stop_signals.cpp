#include <gtest/gtest.h>

#include "src/core/stop_signals.hpp"

namespace rankine {
namespace {

bool is_blocked(int signal) {
  sigset_t mask;
  sigemptyset(&mask);
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

TEST(StopSignals, NoteTheLatest) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGALRM, SIGHUP, SIGXCPU}) {
    const StopSignals signals;
    EXPECT_EQ(StopSignals::received(), 0);
    std::raise(signal);
    EXPECT_EQ(StopSignals::received(), signal);
  }
}

TEST(StopSignals, AHangUpThatIsIgnoredStaysSo) {
  std::signal(SIGHUP, SIG_IGN);  // as nohup leaves it
  {
    const StopSignals signals;
    std::raise(SIGHUP);
    EXPECT_EQ(StopSignals::received(), 0);
  }
  EXPECT_EQ(std::signal(SIGHUP, SIG_DFL), SIG_IGN);
}

TEST(StopSignals, AreHeardWhereTheParentBlockedThem) {
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  {
    const StopSignals signals;
    std::raise(SIGTERM);
    EXPECT_EQ(StopSignals::received(), SIGTERM);
  }
  EXPECT_TRUE(is_blocked(SIGTERM));
  EXPECT_FALSE(is_blocked(SIGUSR1));
  pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
}

}  // namespace
}  // namespace rankine
