#include "src/io/safe_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.hpp"

namespace rankine {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }
  /// Some file systems report a failed write only here.
  bool close() { return ::close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool is_folder(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// fsync, except on files that do not know it (pipes, some network file systems).
bool synced(int descriptor) { return ::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP; }

}  // namespace

SafeFile::SafeFile(std::string path, std::uint64_t bytes_needed) : path_(std::move(path)) {
  if (path_.empty()) throw InputError("the name of the output file is empty; give one");
  const std::string folder = folder_of(path_);
  if (!is_folder(folder)) {
    throw InputError(
        fmt::format("{}: cannot write the output: the folder '{}' does not exist; create it or choose "
                    "another place",
                    path_, folder));
  }
  if (is_folder(path_)) {
    throw InputError(
        fmt::format("{}: cannot write the output: a folder of this name exists; choose another name", path_));
  }
  const std::string temporary = fmt::format("{}.tmp.{}", path_, ::getpid());
  const Descriptor descriptor(::open(temporary.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0666));
  if (descriptor.get() < 0) {
    const std::string reason =
        fmt::format("{}: cannot write the output in '{}': {}", path_, folder, std::strerror(errno));
    if (errno == ENOSPC || errno == EDQUOT || errno == EIO) {
      throw IoError(reason + "; free some space or choose another place");
    }
    throw InputError(reason + "; choose a place that you may write to");
  }
  temporary_ = temporary;
  struct statvfs space {};
  if (bytes_needed > 0 && ::fstatvfs(descriptor.get(), &space) == 0) {
    const std::uint64_t left = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
    if (left < bytes_needed) {
      ::unlink(temporary_.c_str());
      throw IoError(fmt::format(
          "{}: no space for the output: {:.1f} MB needed, {:.1f} MB left in '{}'; free some "
          "space or choose another place",
          path_, 1e-6 * static_cast<double>(bytes_needed), 1e-6 * static_cast<double>(left), folder));
    }
  }
}

SafeFile::SafeFile(SafeFile&& other) noexcept
    : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})) {}

SafeFile& SafeFile::operator=(SafeFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  return *this;
}

SafeFile::~SafeFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void SafeFile::commit() {
  RANKINE_ASSERT(!temporary_.empty(), path_ + " is committed twice");
  const auto fail = [&](const char* doing) {
    throw IoError(fmt::format("{}: cannot {}: {}", path_, doing, std::strerror(errno)));
  };
  {
    Descriptor file(::open(temporary_.c_str(), O_RDWR | O_CLOEXEC));
    if (file.get() < 0) fail("open its temporary file again");
    if (!synced(file.get()) || !file.close()) fail("sync it to the disk");
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename the temporary file to its final name");
  temporary_.clear();
  const Descriptor folder(::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0 && !synced(folder.get())) fail("sync its folder to the disk");
}

FileBytes::FileBytes(const std::string& at, std::string called)
    : called_(std::move(called)), descriptor_(::open(at.c_str(), O_WRONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail("open the file");
}

FileBytes::~FileBytes() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileBytes::fail(const char* doing) const {
  const int error = errno;
  const bool space = error == ENOSPC || error == EDQUOT || error == EFBIG;
  throw IoError(fmt::format("{}: cannot {}: {}{}", called_, doing, std::strerror(error),
                            space ? "; free some space or choose another place" : ""));
}

void FileBytes::resize(std::uint64_t size) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) fail("give the file its length");
  if (size == 0 || ::fallocate(descriptor_, 0, 0, static_cast<off_t>(size)) == 0) return;
  // Some file systems reserve nothing.
  if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR) fail("reserve room for the file");
}

void FileBytes::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count =
        ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail("write the file");
    done += static_cast<std::size_t>(count);
  }
}

void FileBytes::start_syncing(std::uint64_t offset, std::uint64_t size) {
  // A hint: what fails here fails in sync(), too.
  ::sync_file_range(descriptor_, static_cast<off64_t>(offset), static_cast<off64_t>(size),
                    SYNC_FILE_RANGE_WRITE);
}

void FileBytes::sync() {
  if (!synced(descriptor_)) fail("sync the file to the disk");
}

void FileBytes::close() {
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("close the file");
}

void write_file(const std::string& path, std::string_view bytes) {
  SafeFile safe(path);
  {
    FileBytes file(safe.temporary(), path);
    file.write(0, std::as_bytes(std::span(bytes.data(), bytes.size())));
    file.close();
  }
  safe.commit();
}

std::string read_file(const std::string& path) {
  struct stat status {};
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) {
    throw InputError(fmt::format("{}: cannot open the file: {}", path, std::strerror(errno)));
  }
  if (S_ISDIR(status.st_mode)) throw InputError(fmt::format("{}: is a folder; a file is needed", path));
  std::string bytes;
  bytes.reserve(static_cast<std::size_t>(status.st_size));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw IoError(fmt::format("{}: cannot read the file: {}", path, std::strerror(errno)));
    if (count == 0) return bytes;
    bytes.append(buffer, static_cast<std::size_t>(count));
  }
}

}  // namespace rankine
