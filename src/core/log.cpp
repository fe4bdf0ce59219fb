#include "src/core/log.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <ostream>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "src/core/console.hpp"

namespace rankine {
namespace {

bool stdout_is_terminal() {
  if (isatty(STDOUT_FILENO) == 0) return false;
  // Open MPI gives its processes a terminal of their own even where mpirun writes to a file; ask what mpirun
  // has.
  if (std::getenv("OMPI_COMM_WORLD_RANK") == nullptr) return true;
  std::error_code failed;
  const std::string parent = "/proc/" + std::to_string(getppid()) + "/fd/1";
  const std::string target = std::filesystem::read_symlink(parent, failed).string();
  return !failed && (target.starts_with("/dev/pts/") || target.starts_with("/dev/tty"));
}

std::string utc_time() {
  const std::time_t now = std::time(nullptr);
  std::tm fields{};
  gmtime_r(&now, &fields);
  std::array<char, 32> buffer{};
  std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%SZ", &fields);
  return buffer.data();
}

std::size_t terminal_width() {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

}  // namespace

Log::Log(std::ostream& out, Style style, bool colors) : out_(out), style_(style), colors_(colors) {}
Log::~Log() { clear_status(); }

Log::Style Log::style_of_stdout(bool speaks) {
  if (!speaks) return Style::silent;
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal == nullptr || std::string(terminal) == "dumb";
  return stdout_is_terminal() && !dumb ? Style::terminal : Style::plain;
}

bool Log::colors_wanted() {
  const char* off = std::getenv("NO_COLOR");  // no-color.org: any value but an empty one
  return off == nullptr || *off == '\0';
}

void Log::put(const std::string& text) { Console::write(out_, text); }

void Log::line(const std::string& text) {
  if (style_ == Style::silent) return;
  clear_status();
  // At once, since a job that is killed should have written what it said.
  put((style_ == Style::plain ? utc_time() + ' ' : "") + text + '\n');
}

void Log::warning(const std::string& text) {
  const bool colored = colors_ && style_ == Style::terminal;
  line(std::string(colored ? "\033[33m" : "") + "warning: " + text + (colored ? "\033[0m" : ""));
}

void Log::text(const std::string& block) {
  if (style_ == Style::silent) return;
  clear_status();
  put(block);
}

void Log::status(const std::string& text) {
  if (style_ == Style::silent) return;
  if (style_ == Style::plain) {
    line(text);
    return;
  }
  // A line that wraps could not be taken back.
  put("\r\033[K" + text.substr(0, terminal_width() - 1));
  status_shown_ = true;
}

void Log::clear_status() {
  if (!status_shown_) return;
  put("\r\033[K");
  status_shown_ = false;
}

Progress::Progress(Log& log, std::string variant, std::int64_t seed, std::int64_t steps)
    : log_(log), variant_(std::move(variant)), seed_(seed), steps_(steps) {}

void Progress::update(std::int64_t step, double loss, double error, double seconds_per_step) {
  if (log_.style() == Log::Style::silent) return;
  const Clock::time_point now = Clock::now();
  const double waited = std::chrono::duration<double>(now - last_).count();
  const bool due = !said_something_ || waited >= log_.progress_interval() || step >= steps_;
  if (!due) return;
  said_something_ = true;
  last_ = now;
  log_.status(text(step, loss, error, seconds_per_step));
}

std::string Progress::text(std::int64_t step, double loss, double error, double seconds_per_step) const {
  const double left = static_cast<double>(std::max<std::int64_t>(steps_ - step, 0)) * seconds_per_step;
  std::string result =
      fmt::format("{} seed {}: step {}/{}, loss {:.3e}", variant_, seed_, step, steps_, loss);
  if (!std::isnan(error)) result += fmt::format(", error {:.3e}", error);
  return result + fmt::format(", {} a step, {} left", duration_text(seconds_per_step), duration_text(left));
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "unknown";
  if (seconds < 1e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3g} ms", seconds * 1e3);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string bytes_text(double bytes) {
  static constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

}  // namespace rankine
