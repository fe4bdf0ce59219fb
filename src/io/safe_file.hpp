// Files that are there completely or not at all: written beside their final name, synced, then renamed over
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace rankine {

/// Reserves a temporary file `<path>.tmp.<pid>` beside `path`, so that an output that cannot be written is
/// found before the work starts and not after it. Destroying it without commit() removes the temporary and
/// leaves an older file under the final name untouched.
class SafeFile {
 public:
  /// Creates the temporary. InputError where the folder is missing or not writable, or where `path` is a
  /// folder; IoError where the file system has fewer than `bytes_needed` bytes left.
  explicit SafeFile(std::string path, std::uint64_t bytes_needed = 0);
  SafeFile(SafeFile&& other) noexcept;
  SafeFile& operator=(SafeFile&& other) noexcept;
  ~SafeFile();

  const std::string& path() const { return path_; }
  const std::string& temporary() const { return temporary_; }

  /// Syncs the temporary to the disk, renames it over the final name and syncs the folder. Whoever wrote it
  /// must have closed it. IoError on failure.
  void commit();

 private:
  std::string path_, temporary_;
};

/// A file that exists, for writing at any place of it. All failures are IoError.
class FileBytes {
 public:
  /// `at`: the file; messages call it `called`.
  FileBytes(const std::string& at, std::string called);
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;
  ~FileBytes();

  /// Gives the file this length and, where the file system can, room on the disk for all of it.
  void resize(std::uint64_t size);
  void write(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Lets the system begin to bring these bytes to the disk while the program goes on.
  void start_syncing(std::uint64_t offset, std::uint64_t size);
  /// Waits until everything is on the disk.
  void sync();
  /// Some file systems report a failed write only here.
  void close();

 private:
  [[noreturn]] void fail(const char* doing) const;
  std::string called_;
  int descriptor_;
};

/// Writes `bytes` to `path` by way of a SafeFile.
void write_file(const std::string& path, std::string_view bytes);
/// The whole file. InputError where it is missing or not readable.
std::string read_file(const std::string& path);

}  // namespace rankine
