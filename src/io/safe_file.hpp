// Files that are there completely or not at all: written beside their final name, synced, then renamed over
// it. A part of the module of files (files.hpp), which says what may be replaced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "src/io/files.hpp"

namespace rankine {

/// Reserves a temporary file beside `path`, or beside the file that a link of this name leads to, so that an
/// output that cannot be written is found before the work starts and not after it. Destroying it without
/// commit() removes the temporary and leaves an older file under the final name untouched.
class SafeFile {
 public:
  /// Creates the temporary, and the folder where it is missing. InputError where the folder cannot be made or
  /// written to, where `path` is no plain file, or where it is one that an output with this content must not
  /// replace; IoError where the file system has fewer than `bytes_needed` bytes left.
  SafeFile(std::string path, FileContent content, std::uint64_t bytes_needed = 0);
  SafeFile(SafeFile&& other) noexcept;
  SafeFile& operator=(SafeFile&& other) noexcept;
  ~SafeFile();

  const std::string& path() const { return path_; }
  const std::string& temporary() const { return temporary_; }

  /// Syncs the temporary to the disk, renames it over the final name and syncs the folder. Whoever wrote it
  /// must have closed it. IoError on failure; where somebody else's file has come to stand in its place, that
  /// one stays, and the message says under which name the output is.
  void commit();

 private:
  /// Which file stood in the place of the output at the start.
  struct Seen {
    bool exists = false;
    std::uint64_t device = 0, inode = 0;
    std::int64_t size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Seen&) const = default;
  };
  Seen look() const;
  [[noreturn]] void keep_beside();

  std::string path_, target_, temporary_;
  FileContent content_ = FileContent::scratch;
  Seen seen_;
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
void write_file(const std::string& path, FileContent content, std::string_view bytes);
/// The whole file. InputError where it is missing or not readable.
std::string read_file(const std::string& path);

}  // namespace rankine
