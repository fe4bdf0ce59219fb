#include "src/io/folder_lock.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>

#include "kernels/error.hpp"

namespace rankine {
namespace {

std::string own_host() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// When a process started, in the kernel's ticks: tells it from a later one of the same number. "" if it
/// does not run.
std::string start_of(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return "";
  std::istringstream fields(text.substr(end + 1));
  std::string field;
  for (int i = 3; i <= 22 && fields >> field; ++i) {
    if (i == 3 && (field == "Z" || field == "X")) return "";
  }
  return field;
}

std::map<std::string, std::string> parse(const std::string& text) {
  std::map<std::string, std::string> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    if (equals != std::string::npos) values[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return values;
}

std::string read_all(int descriptor) {
  std::array<char, 4096> text{};
  const ssize_t size = ::pread(descriptor, text.data(), text.size(), 0);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

/// The file as a new reader sees it, also where file systems keep what an open file held.
std::string read_afresh(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return "";
  const std::string text = read_all(descriptor);
  ::close(descriptor);
  return text;
}

/// Where the file system knows no locks, one alone may follow a holder that is dead: whoever makes the file
/// that is named after it. Gone at the end.
class Succession {
 public:
  Succession(const std::string& lock, const std::map<std::string, std::string>& dead)
      : path_(lock + ".after") {
    for (const char* key : {"pid", "start"}) {
      const auto found = dead.find(key);
      path_ += ".";
      if (found == dead.end()) continue;
      std::copy_if(found->second.begin(), found->second.end(), std::back_inserter(path_),
                   [](unsigned char c) { return std::isdigit(c) != 0; });
    }
    const int descriptor = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0666);
    first_ = descriptor >= 0;
    if (!first_ && errno != EEXIST) throw IoError(path_ + ": cannot be made: " + std::strerror(errno));
    if (first_) ::close(descriptor);
  }
  Succession(const Succession&) = delete;
  Succession& operator=(const Succession&) = delete;
  ~Succession() {
    if (first_) ::unlink(path_.c_str());
  }
  bool first() const { return first_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool first_;
};

/// Changes with each beat, whatever the clocks of the machines say.
std::pair<long, long> beat_of(int descriptor) {
  struct stat status {};
  ::fstat(descriptor, &status);
  return {status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

/// Whether the descriptor's file still stands at `path`: its holder removes it at the end.
bool stands_at(int descriptor, const std::string& path) {
  struct stat open {
  }, there{};
  return ::fstat(descriptor, &open) == 0 && ::lstat(path.c_str(), &there) == 0 &&
         open.st_dev == there.st_dev && open.st_ino == there.st_ino;
}

/// "host/pid/start" of jobs that were waited for in vain; the same one may have left several locks.
std::set<std::string>& found_dead() {
  static std::set<std::string> jobs;
  return jobs;
}

}  // namespace

/// The descriptor, and the thread that keeps the file young.
class JobLock::Holder {
 public:
  Holder(int descriptor, std::string path, std::chrono::milliseconds beat)
      : descriptor_(descriptor), path_(std::move(path)) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the main thread
    thread_ = std::thread([this, beat] {
      std::unique_lock<std::mutex> lock(mutex_);
      while (!wake_.wait_for(lock, beat, [this] { return done_; })) ::futimens(descriptor_, nullptr);
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Holder() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      done_ = true;
    }
    wake_.notify_one();
    thread_.join();
    // Whoever has opened it meanwhile sees an empty file, and that it is gone.
    static_cast<void>(!::ftruncate(descriptor_, 0));
    if (stands_at(descriptor_, path_)) ::unlink(path_.c_str());
    ::close(descriptor_);
  }

 private:
  int descriptor_;
  std::string path_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;
};

JobLock::JobLock(JobLock&&) noexcept = default;
JobLock& JobLock::operator=(JobLock&&) noexcept = default;
JobLock::~JobLock() = default;

JobLock::JobLock(const std::string& path, const Words& words, const Say& say, const Settings& settings) {
  using Holding = std::map<std::string, std::string>;
  int descriptor = -1;
  bool locked = false;
  std::string text;
  constexpr int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  const auto refuse = [&](const Holding& holder, const std::string& why) {
    const auto value = [&](const char* key) {
      const auto found = holder.find(key);
      return found == holder.end() ? std::string("?") : found->second;
    };
    ::close(descriptor);
    throw InputError(fmt::format("{}: process {} on {}{}{}; {}", words.what, value("pid"), value("host"),
                                 value("job") == "?" ? "" : ", Slurm job " + value("job"), why,
                                 words.remedy));
  };
  for (;;) {
    // If several jobs start at once, one of them makes the file, also where the file system knows no locks.
    descriptor = ::open(path.c_str(), flags | O_CREAT | O_EXCL, 0666);
    const bool made = descriptor >= 0;
    if (!made && errno == EEXIST) {
      descriptor = ::open(path.c_str(), flags);
      if (descriptor < 0 && errno == ENOENT) continue;
    }
    if (descriptor < 0) {
      throw IoError(fmt::format("{}: cannot be made: {}; {}", path, std::strerror(errno), words.remedy));
    }
    locked = settings.use_flock && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
    const bool held = settings.use_flock && !locked && errno == EWOULDBLOCK;
    text = read_all(descriptor);
    if (held || (!made && !locked)) {
      // It may not have written yet who it is.
      for (int i = 0; i < 50 && text.empty() && stands_at(descriptor, path); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        text = read_all(descriptor);
      }
    }
    if (held && stands_at(descriptor, path)) refuse(parse(text), "");
    if (stands_at(descriptor, path)) break;
    ::close(descriptor);  // its holder has ended between opening and locking
  }
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode) ||
      (!text.empty() && !text.starts_with("host="))) {
    ::close(descriptor);
    throw InputError(
        fmt::format("{}: stands where a lock of Rankine belongs, and is none; move it away", path));
  }

  const std::string host = settings.host.empty() ? own_host() : settings.host;
  const char* job = std::getenv("SLURM_JOB_ID");
  const Holding holder = parse(text);
  if (!holder.empty()) {
    const auto is = [&](const char* key, const std::string& expected) {
      const auto found = holder.find(key);
      return found != holder.end() && found->second == expected;
    };
    const bool same_job = job != nullptr && is("job", job);
    if (is("host", host)) {
      const auto pid = holder.find("pid");
      const std::string start = pid == holder.end() ? "" : start_of(pid->second);
      // With flock, a holder on this machine would have been seen.
      if (!locked && !start.empty() && is("start", start)) refuse(holder, "");
    } else if (!same_job && !found_dead().contains(text)) {
      const auto patience = settings.heartbeat * settings.missed_beats;
      if (say) {
        say(fmt::format("{} belongs to a job on another machine; looking for {} s whether it still runs",
                        path, std::chrono::duration_cast<std::chrono::seconds>(patience).count()));
      }
      const auto before = beat_of(descriptor);
      const auto end = std::chrono::steady_clock::now() + patience;
      while (std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(settings.heartbeat / 4);
        if (beat_of(descriptor) != before) refuse(holder, ", which is alive");
      }
      found_dead().insert(text);
    }
  }
  std::optional<Succession> succession;
  if (!locked && !holder.empty()) {
    succession.emplace(path, holder);
    std::string now = read_afresh(path);
    for (int i = 0; i < 50 && ((now == text && !succession->first()) || now.empty()); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      now = read_afresh(path);
    }
    if (now != text) refuse(parse(now), "");
    if (!succession->first()) {
      ::close(descriptor);
      throw InputError(fmt::format("{}: was left by a job that ended while it took the lock {}; remove it",
                                   succession->path(), path));
    }
  }
  const std::string own =
      fmt::format("host={}\npid={}\nstart={}\n{}", host, ::getpid(), start_of(std::to_string(::getpid())),
                  job == nullptr ? "" : fmt::format("job={}\n", job));
  if (::ftruncate(descriptor, 0) != 0 ||
      ::pwrite(descriptor, own.data(), own.size(), 0) != static_cast<ssize_t>(own.size())) {
    const std::string why = std::strerror(errno);
    ::close(descriptor);
    throw IoError(path + ": cannot be written: " + why);
  }
  if (!locked) {
    // Another may have found it empty at once: the one whose name stays has it.
    std::this_thread::sleep_for(std::min(settings.heartbeat / 4, std::chrono::milliseconds(100)));
    if (const std::string now = read_all(descriptor); now != own) refuse(parse(now), "");
  }
  holder_ = std::make_unique<Holder>(descriptor, path, settings.heartbeat);
}

FolderLock::FolderLock(const std::string& folder, const Say& say, const Settings& settings)
    : JobLock(folder + "/" + name,
              {folder + ": another job works with this folder",
               "wait until it ends, or give this run another --output or checkpoint.directory"},
              say, settings) {}

OutputLock::OutputLock(const std::string& target, const std::string& called, const std::string& key,
                       const Say& say, const Settings& settings)
    : JobLock(path_for(target),
              {fmt::format("{}: another job writes this file ({})", called, key),
               "wait until it ends, or choose another name"},
              say, settings) {}

std::string OutputLock::path_for(const std::string& target) {
  const std::filesystem::path path(target);
  return (path.parent_path() / ("." + path.filename().string() + ".rankine.lock")).string();
}

std::string flock_error(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return std::strerror(errno);
  const std::string error = ::flock(file, LOCK_EX | LOCK_NB) == 0 ? "" : std::strerror(errno);
  ::close(file);
  return error;
}

}  // namespace rankine
