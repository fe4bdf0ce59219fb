// What a run says while it works: on a terminal one line that is updated in place, in a batch log plain lines
// with a time stamp. Rank 0 speaks, the others are silent.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>

namespace rankine {

class Log {
 public:
  enum class Style { terminal, plain, silent };

  /// Seconds between progress lines: long in a file, where each stays; short where they are overwritten.
  static constexpr double plain_interval = 10;
  static constexpr double terminal_interval = 0.1;

  Log(std::ostream& out, Style style, bool colors = false);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Terminal or plain after what standard output is, silent if this is not the rank that speaks. Colours
  /// unless NO_COLOR is set or TERM is "dumb".
  static Style style_of_stdout(bool speaks);
  static bool colors_wanted();

  /// A line of text, with the time in front of it where the style is plain.
  void line(const std::string& text);
  /// The same, marked as a warning.
  void warning(const std::string& text);
  /// Text of several lines (a table), as it is.
  void text(const std::string& block);

  /// Shows `text` until the next line or status. In the plain style this is a line.
  void status(const std::string& text);
  /// Removes the status, for what another writes to the terminal.
  void clear_status();

  Style style() const { return style_; }
  double progress_interval() const { return style_ == Style::terminal ? terminal_interval : plain_interval; }

 private:
  void put(const std::string& text);

  std::ostream& out_;
  Style style_;
  bool colors_;
  bool status_shown_ = false;
};

/// Progress of one variant and seed.
class Progress {
 public:
  Progress(Log& log, std::string variant, std::int64_t seed, std::int64_t steps);

  /// Says "variant, seed, step/steps, loss, error, step time, time left" if the interval has passed, and
  /// always at the first and the last step. `error` is the latest evaluation; NaN: none yet.
  /// `seconds_per_step` is a recent mean.
  void update(std::int64_t step, double loss, double error, double seconds_per_step);

  /// The line that update() shows.
  std::string text(std::int64_t step, double loss, double error, double seconds_per_step) const;

 private:
  using Clock = std::chrono::steady_clock;
  Log& log_;
  std::string variant_;
  std::int64_t seed_, steps_;
  bool said_something_ = false;
  Clock::time_point last_;
};

/// "850 ms", "12.3 s", "4 min 05 s", "2 h 10 min".
std::string duration_text(double seconds);
/// "512 B", "1.5 KiB", "2.3 GiB".
std::string bytes_text(double bytes);

}  // namespace rankine
