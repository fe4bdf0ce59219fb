#include "src/io/files.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <signal.h>
#include <string_view>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/io/folder_lock.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/rehearsal.hpp"
#include "src/io/safe_file.hpp"
#include "src/io/sealed_file.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view hdf5_signature = "\x89HDF\r\n\x1a\n";
constexpr std::string_view npz_start("PK\x03\x04", 4);  // of the zip's first member
constexpr std::string_view mark_start = "rankine-run=";
// HDF5 writes the root group's attributes, which hold the marks, right behind its own header.
constexpr std::size_t head_bytes = std::size_t{1} << 16U;

struct Words {
  FileContent content;
  const char* name;
  const char* format;  // the root's attribute in HDF5 files
};
constexpr std::array<Words, 10> words{
    {{FileContent::results, "results file", "rankine-results"},
     {FileContent::side_file, "XDMF side file", ""},
     {FileContent::fault, "file about a fault", "rankine-fault"},
     {FileContent::weights, "file of weights", "rankine-weights"},
     {FileContent::observations, "file of observations", "rankine-observations"},
     {FileContent::samples, "file of samples", "rankine-samples"},
     {FileContent::checkpoint, "checkpoint", ""},
     {FileContent::catalogue_result, "result of a deck of the catalogue", ""},
     {FileContent::catalogue_status, "table of the catalogue's results", ""},
     {FileContent::scratch, "file", ""}}};

const Words& words_of(FileContent content) {
  return *std::find_if(words.begin(), words.end(), [&](const Words& w) { return w.content == content; });
}

bool is_plain_file(const std::string& path) {  // and no link
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

std::string parent_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

/// The first and the last bytes of a file, at most `count` of each; empty where it cannot be read.
struct Ends {
  std::string head, tail;
};

Ends ends_of(const std::string& path, std::size_t count) {
  Ends ends;
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return ends;
  struct stat status {};
  if (::fstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
    const std::size_t size = std::min(count, static_cast<std::size_t>(status.st_size));
    const auto read = [&](off_t at) {
      std::string bytes(size, '\0');
      std::size_t done = 0;
      while (done < size) {
        const ssize_t got = ::pread(file, bytes.data() + done, size - done, at + static_cast<off_t>(done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done += static_cast<std::size_t>(got);
      }
      bytes.resize(done);
      return bytes;
    };
    ends.head = read(0);
    ends.tail = read(status.st_size - static_cast<off_t>(size));
  }
  ::close(file);
  return ends;
}

bool looks_like_checkpoint(const std::string& path) {
  if (ends_with_seal(path)) return true;
  const std::string head = ends_of(path, head_bytes).head;
  return head.starts_with(hdf5_signature) && head.find("rankine-checkpoint") != std::string::npos;
}

/// The attribute `format` of an HDF5 file's root; "" where it has none or is no HDF5 file.
std::string hdf5_format(const std::string& path) {
  const auto format = [&] {
    const hdf5::File file = hdf5::File::open(path);
    const hdf5::Group& root = file.root();
    const bool text = root.has_attribute("format") && root.attribute_is_text("format");
    return text ? root.text_attribute("format") : std::string();
  };
  try {
    rehearse(path, [&] { format(); });  // it may be anybody's file, and damaged
    return format();
  } catch (const InputError&) {
    return "";
  }
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.size() <= 18 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool take_off(std::string_view& text, std::string_view ending) {
  if (!text.ends_with(ending)) return false;
  text.remove_suffix(ending.size());
  return true;
}

bool take_off_front(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

/// The parts of "<output>.tmp.<host>.<pid>", as temporary_of() writes it.
struct Temporary {
  std::string_view output, host;
  pid_t pid;
};

bool is_label_char(unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; }

std::optional<Temporary> process_of(std::string_view name) {
  // From the end, since the output's own name may hold ".tmp." too. Host and number hold no dots.
  const auto take_last = [&]() -> std::string_view {
    const std::size_t dot = name.rfind('.');
    if (dot == std::string_view::npos) return "";
    const std::string_view last = name.substr(dot + 1);
    name.remove_suffix(last.size() + 1);
    return last;
  };
  const std::string_view pid = take_last(), host = take_last();
  if (!all_digits(pid) || pid.size() > 9 || pid.front() == '0') return std::nullopt;
  if (host.empty() || !std::all_of(host.begin(), host.end(), is_label_char)) return std::nullopt;
  if (!take_off(name, ".tmp") || name.empty()) return std::nullopt;
  return Temporary{name, host, static_cast<pid_t>(std::atol(std::string(pid).c_str()))};
}

/// Whether no process writes it any more, as far as can be told here: nothing is known of other machines.
bool writes_no_more(const Temporary& temporary) {
  return temporary.host == host_label() && temporary.pid != ::getpid() && ::kill(temporary.pid, 0) != 0 &&
         errno == ESRCH;
}

/// Whether a half-written file may be one of Rankine's by its bytes: none, the start of one of its formats,
/// or zeros where HDF5 and checkpoints write their head last.
bool may_be_half_written(const std::string& path) {
  constexpr std::size_t superblock = 48;  // HDF5's smallest
  const std::string start = ends_of(path, 2 * superblock).head;
  const std::string_view head = start;
  const auto begins = [](std::string_view bytes, std::string_view format) {
    const std::size_t both = std::min(bytes.size(), format.size());
    return bytes.substr(0, both) == format.substr(0, both);
  };
  const std::string_view first = head.substr(0, superblock);
  return begins(head, hdf5_signature) || begins(head, xdmf_start) || begins(head, npz_start) ||
         begins(head, catalogue_result_start) || begins(head, catalogue_status_start) ||
         (head.size() > 8 && begins(head.substr(8), safetensors_start)) ||
         std::all_of(first.begin(), first.end(), [](char c) { return c == '\0'; });
}

/// What a process of this machine that has ended left half-written.
bool is_stale(const std::string& path, const Temporary& temporary) {
  struct stat status {};
  if (!writes_no_more(temporary) || ::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
    return false;
  // A file that cannot be read shows no bytes either.
  return status.st_size == 0 || (::access(path.c_str(), R_OK) == 0 && may_be_half_written(path));
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  return names;
}

// --------------------------------------------------------------------------------------------- outputs

/// Tells files apart: device and inode of what exists, and the rest of the path of what does not.
std::string identity_of(const std::string& path) {
  fs::path existing = fs::absolute(path).lexically_normal(), rest;
  struct stat status {};
  while (::stat(existing.c_str(), &status) != 0) {
    if (!existing.has_relative_path()) return existing.string();
    rest = rest.empty() ? existing.filename() : existing.filename() / rest;
    existing = existing.parent_path();
  }
  return fmt::format("{}:{}:{}", status.st_dev, status.st_ino, rest.string());
}

[[noreturn]] void refuse(const OutputFile& output, const std::string& why) {
  throw InputError(fmt::format("{}: cannot write the output ({}): {}", output.path, output.key, why));
}

/// The folder of `path`, or the nearest above it that exists.
std::string existing_folder(const std::string& path) {
  fs::path folder = fs::absolute(path).parent_path();
  std::error_code error;
  while (folder.has_relative_path() && !fs::exists(fs::symlink_status(folder, error)))
    folder = folder.parent_path();
  return folder.string();
}

void check_place(const OutputFile& output) {
  std::string target;
  try {
    target = output_target(output.path);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{} ({})", error.what(), output.key));
  }
  const std::string folder = existing_folder(target);
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))
    refuse(output, fmt::format("'{}' is no folder; choose another place", folder));
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    refuse(output,
           fmt::format("in '{}': {}; choose a place that you may write to", folder, std::strerror(errno)));
  }
  struct statvfs space {};
  if (output.bytes == 0 || ::statvfs(folder.c_str(), &space) != 0) return;
  check_space(output.path, folder, output.bytes, static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize);
}

}  // namespace

void check_space(const std::string& path, const std::string& folder, std::uint64_t needed,
                 std::uint64_t left) {
  if (left >= needed) return;
  throw IoError(
      fmt::format("{}: no space for the output: {:.1f} MB needed, {:.1f} MB left in '{}'; free some space or "
                  "choose another place",
                  path, 1e-6 * static_cast<double>(needed), 1e-6 * static_cast<double>(left), folder));
}

std::string file_stamp(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "missing";
  return fmt::format("{} {}.{:09}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

std::optional<FileContent> written_content(const std::string& path) {
  const Ends ends = ends_of(path, head_bytes);
  const std::string_view head = ends.head;
  if (head.starts_with(hdf5_signature)) {
    if (looks_like_checkpoint(path)) return FileContent::checkpoint;
    const std::string format = hdf5_format(path);
    for (const Words& each : words)
      if (!format.empty() && format == each.format) return each.content;
    return std::nullopt;
  }
  if (head.starts_with(xdmf_start) &&
      (head.size() == xdmf_start.size() || head.find(":/runs/") != std::string_view::npos))
    return FileContent::side_file;
  if (head.starts_with(catalogue_result_start)) return FileContent::catalogue_result;
  if (head.starts_with(catalogue_status_start)) return FileContent::catalogue_status;
  const bool npz = head.starts_with("PK") && ends.tail.ends_with(npz_comment);
  const bool safetensors = head.size() > 8 && head.substr(8).starts_with(safetensors_start);
  if (npz || safetensors) return FileContent::weights;
  return std::nullopt;
}

bool is_rankine_file(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  return (process_of(name) && may_be_half_written(path)) ||
         (name.starts_with('.') && name.ends_with(FolderLock::name)) || written_content(path);
}

std::string output_target(const std::string& path) {
  if (path.empty()) throw InputError("the name of the output file is empty; give one");
  const auto fail = [&](const std::string& why) {
    throw InputError(fmt::format("{}: cannot write the output: {}; choose another name", path, why));
  };
  fs::path at(path);
  for (int links = 0;; ++links) {
    std::error_code error;
    const fs::file_status status = fs::symlink_status(at, error);
    switch (status.type()) {
      case fs::file_type::regular:
      case fs::file_type::not_found:
        if (at.filename().empty()) fail("this is the name of a folder");
        return at.string();
      case fs::file_type::symlink: {
        if (links == 40) fail("its links lead in a circle");
        const fs::path to = fs::read_symlink(at, error);
        if (error) fail("the link cannot be read: " + error.message());
        at = to.is_absolute() ? to : at.parent_path() / to;
        continue;
      }
      case fs::file_type::directory:
        fail("a folder of this name exists");
        break;
      case fs::file_type::block:
      case fs::file_type::character:
        fail("it is a device");
        break;
      case fs::file_type::fifo:
        fail("it is a pipe");
        break;
      case fs::file_type::socket:
        fail("it is a socket");
        break;
      default:
        if (error == std::errc::not_a_directory) fail("a part of its path is no folder");
        fail(error ? error.message() : "it is no plain file");
    }
  }
}

void check_replaceable(const std::string& path, const std::string& target, FileContent content) {
  struct stat status {};
  if (content == FileContent::scratch || ::stat(target.c_str(), &status) != 0 || status.st_size == 0) return;
  const std::optional<FileContent> found = written_content(target);
  if (found == content) return;
  throw InputError(fmt::format(
      "{}: cannot write the output: a file of this name exists, and it is {}no {} that Rankine wrote; choose "
      "another name, or remove it",
      path, found ? fmt::format("a {} and ", words_of(*found).name) : "", words_of(content).name));
}

void check_outputs(std::span<const OutputFile> outputs, std::span<const InputFile> inputs) {
  struct Read {
    const InputFile* input;
    std::string path, identity;
    bool in_folder = false;
  };
  std::vector<Read> reads;
  for (const InputFile& input : inputs) {
    std::error_code error;
    if (!fs::is_directory(input.path, error)) {
      reads.push_back({&input, input.path, identity_of(input.path)});
      continue;
    }
    for (const std::string& name : names_in(input.path)) {
      const std::string file = (fs::path(input.path) / name).string();
      if (fs::is_regular_file(file, error)) reads.push_back({&input, file, identity_of(file), true});
    }
  }
  std::vector<std::string> identities;
  for (const OutputFile& output : outputs) {
    check_place(output);
    const std::string identity = identity_of(output_target(output.path));
    for (const Read& read : reads) {
      if (identity != read.identity) continue;
      // An output that an earlier run left in a folder of data is none of these.
      if (read.in_folder && written_content(read.path) == output.content) continue;
      refuse(output,
             fmt::format("it is the file that {} reads{}; an output replaces no input: choose another name",
                         read.input->key, read.path == output.path ? "" : " as " + read.path));
    }
    for (std::size_t i = 0; i < identities.size(); ++i) {
      if (identity != identities[i]) continue;
      refuse(output,
             fmt::format("{} names the same file{}; give each output a file of its own", outputs[i].key,
                         outputs[i].path == output.path ? "" : " as " + outputs[i].path));
    }
    identities.push_back(identity);
    try {
      check_replaceable(output.path, output_target(output.path), output.content);
    } catch (const InputError& error) {
      throw InputError(fmt::format("{} ({})", error.what(), output.key));
    }
  }
}

OutputClaim::OutputClaim() = default;
OutputClaim::OutputClaim(OutputClaim&&) noexcept = default;
OutputClaim& OutputClaim::operator=(OutputClaim&&) noexcept = default;
OutputClaim::~OutputClaim() = default;

OutputClaim::OutputClaim(std::span<const OutputFile> outputs, std::span<const InputFile> inputs,
                         const std::function<void(const std::string&)>& say) {
  check_outputs(outputs, inputs);
  // In one order everywhere, so that of two jobs with the same outputs one gets them all.
  std::vector<std::pair<std::string, const OutputFile*>> targets;
  for (const OutputFile& output : outputs) {
    // A side file goes with its results.
    if (output.content == FileContent::side_file) continue;
    const std::string target = output_target(output.path);
    make_folders(parent_of(target));
    targets.emplace_back(fs::canonical(parent_of(target)) / fs::path(target).filename(), &output);
  }
  std::sort(targets.begin(), targets.end());
  for (const auto& [target, output] : targets) locks_.emplace_back(target, output->path, output->key, say);
  for (const OutputFile& output : outputs) remove_stale_temporaries(output_target(output.path));
}

std::string host_label() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  std::string label = name.data();
  for (char& c : label)
    if (!is_label_char(static_cast<unsigned char>(c))) c = '-';
  return label.empty() ? "host" : label;
}

std::string temporary_of(const std::string& target) {
  return fmt::format("{}.tmp.{}.{}", target, host_label(), ::getpid());
}

void remove_stale_temporaries(const std::string& target) {
  const std::string folder = parent_of(target), output = fs::path(target).filename().string();
  for (const std::string& name : names_in(folder)) {
    const std::optional<Temporary> temporary = process_of(name);
    if (!temporary) continue;
    const bool fault =
        temporary->output.starts_with(output + ".fault-") && temporary->output.ends_with(".h5");
    const std::string path = folder + "/" + name;
    if ((fault || temporary->output == output) && is_stale(path, *temporary)) ::unlink(path.c_str());
  }
}

void make_folders(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return;
  fs::create_directories(path, error);
  if (error)
    throw IoError(fmt::format("{}: cannot make the folder: {}; choose another place", path, error.message()));
}

void remove_empty_folder(const std::string& path) { ::rmdir(path.c_str()); }

// ------------------------------------------------------------------------------------------- checkpoints

std::string run_mark(const std::string& run) { return fmt::format("{}{}\n", mark_start, run); }

bool named_like_checkpoint(std::string_view name) {
  take_off(name, ".damaged");
  if (!take_off(name, ".h5")) return false;
  if (take_off_front(name, "checkpoint-")) return name.size() >= 8 && all_digits(name);
  if (!take_off_front(name, "finished-")) return false;
  const std::size_t seed = name.rfind("-seed_");
  return seed != std::string_view::npos && seed > 0 && all_digits(name.substr(seed + 6));
}

bool is_own_checkpoint(const std::string& path) {
  return named_like_checkpoint(fs::path(path).filename().string()) && is_plain_file(path) &&
         looks_like_checkpoint(path);
}

std::string run_of_checkpoint(const std::string& path) {
  const std::string head = ends_of(path, head_bytes).head;
  const std::size_t mark = head.find(mark_start);
  if (mark == std::string::npos) return "";
  const std::size_t begin = mark + mark_start.size(), end = head.find('\n', begin);
  return end == std::string::npos ? "" : head.substr(begin, end - begin);
}

bool remove_checkpoint(const std::string& path) {
  return is_own_checkpoint(path) && ::unlink(path.c_str()) == 0;
}

void move_checkpoint(const std::string& from, const std::string& to) {
  const auto fail = [&](const std::string& why) {
    throw IoError(fmt::format("{}: cannot be moved to {}: {}", from, to, why));
  };
  if (!is_own_checkpoint(from)) fail("it is no checkpoint that Rankine wrote");
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return;
  // Not every file system can do it in one step.
  if (errno != EINVAL && errno != ENOSYS) fail(std::strerror(errno));
  struct stat status {};
  if (::lstat(to.c_str(), &status) == 0) fail(std::strerror(EEXIST));
  if (::rename(from.c_str(), to.c_str()) != 0) fail(std::strerror(errno));
}

void copy_checkpoint(const std::string& from, const std::string& to) {
  try {
    SafeFile safe(to, FileContent::checkpoint);
    FileBytes file(safe.temporary(), to);
    const int source = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
    if (source < 0) throw IoError(fmt::format("{}: cannot open the file: {}", from, std::strerror(errno)));
    std::vector<std::byte> part(std::size_t{1} << 20U);
    std::uint64_t done = 0;
    ssize_t count = 0;
    while ((count = ::read(source, part.data(), part.size())) > 0 || (count < 0 && errno == EINTR)) {
      if (count < 0) continue;
      file.write(done, std::span(part).first(static_cast<std::size_t>(count)));
      done += static_cast<std::uint64_t>(count);
    }
    const int error = errno;
    ::close(source);
    if (count < 0) throw IoError(fmt::format("{}: cannot read the file: {}", from, std::strerror(error)));
    file.close();
    safe.commit();
  } catch (const std::exception& error) {
    throw IoError(fmt::format("{}: cannot be copied to {}: {}", from, to, error.what()));
  }
}

bool names_half_written_checkpoint(const std::string& name) {
  const auto parts = process_of(name);
  return parts && named_like_checkpoint(parts->output);
}

void remove_checkpoint_temporaries(const std::string& folder) {
  for (const std::string& name : names_in(folder)) {
    const std::string path = folder + "/" + name;
    if (names_half_written_checkpoint(name) && is_stale(path, *process_of(name))) ::unlink(path.c_str());
  }
}

// ------------------------------------------------------------------------------------- for a short time

ScratchFolder::ScratchFolder(const std::string& start) : path_(start + ".XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr)
    throw IoError(fmt::format("{}: cannot make the folder: {}", path_, std::strerror(errno)));
}

ScratchFolder::~ScratchFolder() {
  for (const std::string& file : files_) ::unlink(file.c_str());
  ::rmdir(path_.c_str());
}

std::string ScratchFolder::file(const std::string& name) {
  const std::string path = path_ + "/" + name;
  if (std::find(files_.begin(), files_.end(), path) == files_.end()) files_.push_back(path);
  return path;
}

EmptyFile::EmptyFile(const std::string& called) {
  for (const char* folder : {"/dev/shm", "/tmp", "."}) {
    name_ = fmt::format("{}/rankine.XXXXXX", folder);
    descriptor_ = ::mkostemp(name_.data(), O_CLOEXEC);
    if (descriptor_ >= 0) return;
  }
  throw IoError(fmt::format("{}: cannot name a file in memory: {}", called, std::strerror(errno)));
}

void EmptyFile::remove_name() {
  if (!name_.empty()) ::unlink(name_.c_str());
  name_.clear();
}

EmptyFile::~EmptyFile() {
  remove_name();
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace rankine
