// Files, on disks and in memory.
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <hdf5_hl.h>

#include "src/io/files.hpp"
#include "src/io/hdf5_calls.hpp"

namespace rankine::hdf5 {

File::File(std::shared_ptr<const std::string> path, Handle handle, Group root)
    : path_(std::move(path)), handle_(std::move(handle)), root_(std::move(root)) {}

namespace {
bool unusable_now = false;

Handle access_properties(const std::string& path) {
  Handle plist = owned(H5Pcreate(H5P_FILE_ACCESS), path, "", "make a property list");
  checked(H5Pset_fclose_degree(plist.get(), H5F_CLOSE_STRONG), path, "", "set how the file is closed");
  // Else values of small datasets are written when these are closed, by destructors, which can tell nobody
  // that it failed.
  checked(H5Pset_sieve_buf_size(plist.get(), 0), path, "", "write values at once");
  return plist;
}
}  // namespace

bool unusable() { return unusable_now; }

File File::create(const std::string& at, const std::string& called) {
  const std::string& path = called.empty() ? at : called;
  prepare_library();
  return create_with(access_properties(path), at, path);
}

struct File::Memory {
  int bytes = -1;
  std::optional<EmptyFile> named;
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    if (bytes >= 0) ::close(bytes);
  }
};

File File::create_in_memory(const std::string& called) {
  prepare_library();
  // The limit holds for files in memory, too, and HDF5 crashes at the end of MPI when it could not write one.
  // So reserve() asks before each array, and the first needs some room.
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < 2 * memory_margin) {
    const std::string cause = std::strerror(EFBIG);
    throw IoError(fmt::format("{}: cannot make a file, of which {} bytes are allowed (ulimit -f): {}{}",
                              called, limit.rlim_cur, cause, remedy(cause)));
  }
  const auto fail_with = [&](const char* doing) {
    throw IoError(fmt::format("{}: cannot {} a file in memory: {}", called, doing, std::strerror(errno)));
  };
  // HDF5's own files in memory take memory for all that is reserved, and it opens no file without a name. So
  // it makes an empty file that has one, and then gets one in memory, with holes, behind its descriptor.
  const auto memory = std::make_shared<Memory>();
  memory->named.emplace(called);
  const Handle access = access_properties(called);
  constexpr hsize_t page = 4096;
  checked(H5Pset_alignment(access.get(), page, page), called, "", "align datasets");
  std::optional<File> file(create_with(access, memory->named->name(), called));
  memory->named->remove_name();
  // HDF5 tells files apart by their numbers, and this one's stays taken for as long as `named` is open.
  void* descriptor = nullptr;
  std::array<char, 1 << 12> begun{};
  memory->bytes = ::memfd_create("rankine", MFD_CLOEXEC);
  if (memory->bytes < 0) fail_with("make");
  checked(H5Fget_vfd_handle(file->handle_.get(), H5P_DEFAULT, &descriptor), called, "", "find the file");
  const ssize_t size = ::pread(memory->named->descriptor(), begun.data(), begun.size(), 0);
  if (size < 0 || ::pwrite(memory->bytes, begun.data(), static_cast<std::size_t>(size), 0) != size ||
      ::dup2(memory->bytes, *static_cast<int*>(descriptor)) < 0) {
    fail_with("make");
  }
  file->memory_ = memory;
  return *std::move(file);
}

std::uint64_t File::memory_size() const {
  RANKINE_ASSERT(memory_ != nullptr, *path_);
  struct stat status {};
  RANKINE_ASSERT(::fstat(memory_->bytes, &status) == 0, *path_);
  return static_cast<std::uint64_t>(status.st_size);
}

void File::read_memory(std::uint64_t offset, std::span<std::byte> to) const {
  RANKINE_ASSERT(memory_ != nullptr, *path_);
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t count =
        ::pread(memory_->bytes, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    RANKINE_ASSERT(count > 0, *path_);
    done += static_cast<std::size_t>(count);
  }
}

File File::create_with(const Handle& access, const std::string& at, const std::string& path) {
  const Handle creation = owned(H5Pcreate(H5P_FILE_CREATE), path, "", "make a property list");
  checked(H5Pset_obj_track_times(creation.get(), false), path, "", "leave out time stamps");
  checked(H5Pset_link_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), path, "",
          "track creation order");
  checked(H5Pset_attr_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED), path, "",
          "track creation order");
  Handle file =
      owned(H5Fcreate(at.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), path, "", "create the file");
  Handle root = owned(H5Gopen2(file.get(), "/", H5P_DEFAULT), path, "/", "open the group");
  auto shared_path = std::make_shared<const std::string>(path);
  return File(shared_path, std::move(file), Group(shared_path, "/", std::move(root)));
}

File File::open_image(std::span<const std::byte> bytes, const std::string& called) {
  prepare_library();
  // HDF5 only reads here, so that it may have the bytes themselves.
  Handle file(H5LTopen_file_image(const_cast<std::byte*>(bytes.data()), bytes.size(),
                                  H5LT_FILE_IMAGE_DONT_COPY | H5LT_FILE_IMAGE_DONT_RELEASE));
  if (file.get() < 0)
    throw InputError(fmt::format("{}: is not an HDF5 file: HDF5: {}", called, last_error()));
  return adopt(std::move(file), called);
}

File File::open(const std::string& path) {
  prepare_library();
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw InputError(fmt::format("{}: cannot open the file: {}", path, std::strerror(errno)));
  }
  if (S_ISDIR(status.st_mode)) throw InputError(fmt::format("{}: is a folder; an HDF5 file is needed", path));
  const Handle access = access_properties(path);
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()));
  if (file.get() >= 0) return adopt(std::move(file), path);
  const std::string cause = last_error();
  if (cause.find("file signature not found") != std::string::npos) {
    throw InputError(fmt::format("{}: is not an HDF5 file ({} bytes without its signature)", path,
                                 static_cast<long long>(status.st_size)));
  }
  throw InputError(fmt::format("{}: cannot open the file, which may be truncated or damaged: HDF5: {}{}",
                               path, cause, remedy(cause)));
}

File File::adopt(Handle file, const std::string& path) {
  Handle root(H5Gopen2(file.get(), "/", H5P_DEFAULT));
  if (root.get() < 0) throw InputError(fmt::format("{}: damaged HDF5 file: HDF5: {}", path, last_error()));
  auto shared_path = std::make_shared<const std::string>(path);
  return File(shared_path, std::move(file), Group(shared_path, "/", std::move(root)));
}

File::~File() { discard(); }

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(handle_, other.handle_);
  std::swap(root_, other.root_);
  std::swap(memory_, other.memory_);
  return *this;
}

void File::flush() {
  reserve(handle_.get(), 0, *path_, "");
  checked(H5Fflush(handle_.get(), H5F_SCOPE_GLOBAL), *path_, "", "write the file");
}

bool File::close_once() noexcept {
  // Whether or not it succeeds, HDF5 has freed the file now; its identifiers must not be used again.
  const hid_t file = handle_.release();
  root_.handle_.release();
  if (file < 0 || H5Fclose(file) >= 0) return true;
  unusable_now = true;
  return false;
}

void File::discard() noexcept {
  unsigned intent = 0;
  if (handle_.get() < 0) return;
  if (H5Fget_intent(handle_.get(), &intent) >= 0 && intent == H5F_ACC_RDONLY) {
    close_once();
    return;
  }
  // HDF5 crashes at the end of MPI when a file could not be closed, and on a full disk it cannot write what
  // it still has in mind. So let it write into memory: put another file behind its descriptor.
  void* descriptor = nullptr;
  const int sink = ::memfd_create("rankine-discarded", MFD_CLOEXEC);
  if (sink >= 0 && H5Fget_vfd_handle(handle_.get(), H5P_DEFAULT, &descriptor) >= 0 && descriptor) {
    ::dup2(sink, *static_cast<int*>(descriptor));
  }
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);  // holds for files in memory too
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &raised);
  close_once();
  ::setrlimit(RLIMIT_FSIZE, &limit);
  if (sink >= 0) ::close(sink);
  H5Eclear2(H5E_DEFAULT);
}

void File::close() {
  if (handle_.get() < 0) return;
  flush();
  if (!close_once()) fail(*path_, "", "close the file");
}

}  // namespace rankine::hdf5
