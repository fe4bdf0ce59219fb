// The log, its two styles, and the texts in messages.
#include <algorithm>
#include <limits>
#include <sstream>

#include <gtest/gtest.h>

#include "src/core/log.hpp"
#include "src/core/strings.hpp"

namespace rankine {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(LogStyles, PlainLinesCarryTheTime) {
  std::ostringstream out;
  Log log(out, Log::Style::plain);

  log.line("one");
  log.status("two");

  EXPECT_EQ(out.str().size(), 2 * (std::string("2026-01-31T23:59:59Z one\n").size()));
  EXPECT_EQ(out.str().substr(20, 5), " one\n");
}

TEST(LogStyles, ATerminalLineIsReplaced) {
  std::ostringstream out;
  Log log(out, Log::Style::terminal);

  log.status("step 1");
  log.status("step 2");
  log.line("done");

  EXPECT_EQ(out.str(), "\r\033[Kstep 1\r\033[Kstep 2\r\033[Kdone\n");
}

TEST(LogStyles, ColoursOnlyWhereWanted) {
  std::ostringstream plain, colored, silent;
  Log(plain, Log::Style::terminal, false).warning("w");
  Log(colored, Log::Style::terminal, true).warning("w");
  Log(silent, Log::Style::silent, true).warning("w");

  EXPECT_EQ(plain.str(), "warning: w\n");
  EXPECT_EQ(colored.str(), "\033[33mwarning: w\033[0m\n");
  EXPECT_EQ(silent.str(), "");
}

TEST(ProgressLine, NamesStepLossErrorStepTimeAndTimeLeft) {
  std::ostringstream out;
  Log log(out, Log::Style::plain);
  Progress progress(log, "pi-hc", 3, 1000);

  EXPECT_EQ(progress.text(10, 0.25, 0.01, 0.085),
            "pi-hc seed 3: step 10/1000, loss 2.500e-01, error 1.000e-02, 85 ms a step, 1 min 24 s left");
  EXPECT_EQ(progress.text(1000, 0.25, nan, 0.085),
            "pi-hc seed 3: step 1000/1000, loss 2.500e-01, 85 ms a step, 0 us left");

  for (int step = 1; step <= 1000; ++step) progress.update(step, 1, nan, 1e-3);
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2)
      << "the first and the last step, for it took no time";
}

TEST(Texts, DurationsAndBytes) {
  EXPECT_EQ(duration_text(0.0851), "85.1 ms");
  EXPECT_EQ(duration_text(12.34), "12.3 s");
  EXPECT_EQ(duration_text(59.96), "1 min 00 s");
  EXPECT_EQ(duration_text(3600 * 2 + 605), "2 h 10 min");
  EXPECT_EQ(duration_text(nan), "unknown");
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
}

TEST(Texts, TheNearestWordIsMeantIfItIsNear) {
  const std::vector<std::string> names{"learning_rate", "steps", "seed"};

  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("ab", "ba"), 1);
  EXPECT_EQ(nearest("stpes", names), "steps");
  EXPECT_EQ(nearest("Learning-Rate", names), "learning_rate");
  EXPECT_EQ(nearest("momentum", names), "");
  EXPECT_EQ(nearest("", names), "");
  EXPECT_EQ(did_you_mean("sed", names), "; did you mean 'seed'?");
}

TEST(Texts, PrintableCutsAndEscapes) {
  EXPECT_EQ(printable("a\nb\x01"), "a\\nb\\x01");
  EXPECT_EQ(printable("\xc3\xa9\xc3\xa9\xc3\xa9", 3), "\xc3\xa9\xc3\xa9...");
}

}  // namespace
}  // namespace rankine
