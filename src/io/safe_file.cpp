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

/// fsync, except on files that do not know it (pipes, some network file systems).
bool synced(int descriptor) { return ::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP; }

}  // namespace

SafeFile::SafeFile(std::string path, FileContent content, std::uint64_t bytes_needed)
    : path_(std::move(path)), target_(output_target(path_)), content_(content) {
  const std::string folder = folder_of(target_);
  try {
    make_folders(folder);
  } catch (const IoError& error) {
    throw InputError(fmt::format("{}: cannot write the output: {}", path_, error.what()));
  }
  check_replaceable(path_, target_, content_);
  seen_ = look();
  const std::string temporary = temporary_of(target_);
  const Descriptor descriptor(
      ::open(temporary.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666));
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
  if (bytes_needed == 0 || ::fstatvfs(descriptor.get(), &space) != 0) return;
  try {
    check_space(path_, folder, bytes_needed, static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize);
  } catch (const IoError&) {
    ::unlink(temporary_.c_str());
    throw;
  }
}

SafeFile::Seen SafeFile::look() const {
  struct stat status {};
  if (::stat(target_.c_str(), &status) != 0) return {};
  return {true,
          static_cast<std::uint64_t>(status.st_dev),
          static_cast<std::uint64_t>(status.st_ino),
          static_cast<std::int64_t>(status.st_size),
          status.st_mtim.tv_sec,
          status.st_mtim.tv_nsec};
}

SafeFile::SafeFile(SafeFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      content_(other.content_),
      seen_(other.seen_) {}

SafeFile& SafeFile::operator=(SafeFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(target_, other.target_);
  std::swap(temporary_, other.temporary_);
  std::swap(content_, other.content_);
  std::swap(seen_, other.seen_);
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
  if (look() != seen_) {
    try {
      check_replaceable(path_, output_target(target_), content_);
    } catch (const InputError&) {
      keep_beside();
    }
  }
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("rename the temporary file to its final name");
  temporary_.clear();
  const Descriptor folder(::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0 && !synced(folder.get())) fail("sync its folder to the disk");
}

void SafeFile::keep_beside() {
  std::string name = target_ + ".kept";
  for (int i = 2; ::link(temporary_.c_str(), name.c_str()) != 0; ++i) {
    if (errno != EEXIST) {
      name = std::exchange(temporary_, {});  // no hard links here: it stays where it is
      break;
    }
    name = fmt::format("{}.kept-{}", target_, i);
  }
  if (!temporary_.empty()) ::unlink(std::exchange(temporary_, {}).c_str());
  throw IoError(fmt::format(
      "{}: another file, which Rankine did not write, came to stand here while the program ran; it "
      "is left alone, and the output is in '{}'",
      path_, name));
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

void write_file(const std::string& path, FileContent content, std::string_view bytes) {
  SafeFile safe(path, content);
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
