// One job at a time in a folder of checkpoints: the file `lock` in it says which. Two means, because neither
// is enough everywhere:
// - flock(2) on the file, which the system gives up with the process, however that ends. It works on local
//   file systems, on NFS 4, and on Lustre where it is mounted with `flock`; elsewhere it fails or holds on
//   one machine only.
// - a heartbeat: the holder touches the file every few seconds. A lock of another machine that flock() does
//   not guard counts as left by a dead job once it has not been touched for some time, or at once if that was
//   an earlier run of this Slurm job (requeued).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace rankine {

class FolderLock {
 public:
  struct Settings {
    std::chrono::milliseconds heartbeat{5000};
    int missed_beats = 6;  ///< after so many the holder counts as dead
    std::string host;      ///< empty: this machine's name
    bool use_flock = true;
  };

  /// InputError, naming the holder and the remedy, if another job has the folder. May wait for missed beats;
  /// `say` is told so. Where the folder cannot be written to, IoError.
  FolderLock(const std::string& folder, const std::function<void(const std::string&)>& say,
             const Settings& settings);
  explicit FolderLock(const std::string& folder, const std::function<void(const std::string&)>& say = {})
      : FolderLock(folder, say, Settings()) {}
  FolderLock(FolderLock&&) noexcept;
  FolderLock& operator=(FolderLock&&) noexcept;
  ~FolderLock();

 private:
  class Holder;
  std::unique_ptr<Holder> holder_;
};

}  // namespace rankine
