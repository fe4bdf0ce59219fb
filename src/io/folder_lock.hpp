// One job at a time writes a file, or works in a folder of checkpoints: a hidden lock file beside or in it
// says which. Two means, because neither is enough everywhere:
// - flock(2) on the file, which the system gives up with the process, however that ends. It works on local
//   file systems, on NFS 4, and on Lustre where it is mounted with `flock`; elsewhere it fails or holds on
//   one machine only.
// - a heartbeat: the holder touches the file every few seconds. A lock of another machine that flock() does
//   not guard counts as left by a dead job once it has not been touched for some time, or at once if that was
//   an earlier run of this Slurm job (requeued).
// The lock file goes with its holder; one that was killed leaves it behind, and the next one takes it over. A
// part of the module of files (files.hpp).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace rankine {

class JobLock {
 public:
  struct Settings {
    std::chrono::milliseconds heartbeat{5000};
    int missed_beats = 6;  ///< after so many the holder counts as dead
    std::string host;      ///< empty: this machine's name
    bool use_flock = true;
  };
  using Say = std::function<void(const std::string&)>;

  JobLock(JobLock&&) noexcept;
  JobLock& operator=(JobLock&&) noexcept;
  ~JobLock();

 protected:
  /// What the messages say: "<what>: process 7 on node3; <remedy>".
  struct Words {
    std::string what, remedy;
  };
  /// InputError, naming the holder and the remedy, if another job has the lock, or if something else stands
  /// at `path`. May wait for missed beats; `say` is told so. IoError where the file cannot be made.
  JobLock(const std::string& path, const Words& words, const Say& say, const Settings& settings);

 private:
  class Holder;
  std::unique_ptr<Holder> holder_;
};

/// The lock of a folder of checkpoints.
class FolderLock : public JobLock {
 public:
  FolderLock(const std::string& folder, const Say& say, const Settings& settings);
  explicit FolderLock(const std::string& folder, const Say& say = {}) : FolderLock(folder, say, Settings()) {}
  static constexpr const char* name = ".rankine.lock";
};

/// The lock of an output that goes to `target`; messages call it `called` and name the key that gives it.
class OutputLock : public JobLock {
 public:
  OutputLock(const std::string& target, const std::string& called, const std::string& key, const Say& say,
             const Settings& settings);
  OutputLock(const std::string& target, const std::string& called, const std::string& key,
             const Say& say = {})
      : OutputLock(target, called, key, say, Settings()) {}
  /// "folder/.results.h5.rankine.lock"
  static std::string path_for(const std::string& target);
};

/// Whether a file, which is there, can be locked by flock(2); an error text where not.
std::string flock_error(const std::string& path);

}  // namespace rankine
