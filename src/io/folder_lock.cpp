#include "src/io/folder_lock.hpp"

#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
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

/// Changes with each beat, whatever the clocks of the machines say.
std::pair<long, long> beat_of(int descriptor) {
  struct stat status {};
  ::fstat(descriptor, &status);
  return {status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

}  // namespace

/// The descriptor, and the thread that keeps the file young.
class FolderLock::Holder {
 public:
  Holder(int descriptor, std::chrono::milliseconds beat) : descriptor_(descriptor) {
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
    static_cast<void>(!::ftruncate(descriptor_, 0));  // an empty file: nobody has the folder
    ::close(descriptor_);
  }

 private:
  int descriptor_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;
};

FolderLock::FolderLock(FolderLock&&) noexcept = default;
FolderLock& FolderLock::operator=(FolderLock&&) noexcept = default;
FolderLock::~FolderLock() = default;

FolderLock::FolderLock(const std::string& folder, const std::function<void(const std::string&)>& say,
                       const Settings& settings) {
  const std::string path = folder + "/lock";
  const int descriptor = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    throw IoError(fmt::format("{}: cannot be made: {}; choose another checkpoint.directory", path,
                              std::strerror(errno)));
  }
  const auto refuse = [&](const std::map<std::string, std::string>& holder, const std::string& why) {
    const auto value = [&](const char* key) {
      const auto found = holder.find(key);
      return found == holder.end() ? std::string("?") : found->second;
    };
    ::close(descriptor);
    throw InputError(fmt::format(
        "{}: another job works with this folder: process {} on {}{}{}; wait until it ends, or give this run "
        "another --output or checkpoint.directory",
        folder, value("pid"), value("host"), value("job") == "?" ? "" : ", Slurm job " + value("job"), why));
  };
  const std::string host = settings.host.empty() ? own_host() : settings.host;
  const char* job = std::getenv("SLURM_JOB_ID");

  const bool locked = settings.use_flock && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
  if (settings.use_flock && !locked && errno == EWOULDBLOCK) refuse(parse(read_all(descriptor)), "");
  const std::map<std::string, std::string> holder = parse(read_all(descriptor));
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
    } else if (!same_job) {
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
  holder_ = std::make_unique<Holder>(descriptor, settings.heartbeat);
}

}  // namespace rankine
