#include "src/io/sealed_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <xxhash.h>

namespace rankine {
namespace {

constexpr std::string_view magic = "\nRANKINE CHECKPOINT SEAL";
constexpr std::uint64_t version = 2;  // 1: one hash of the whole file
constexpr std::size_t trailer_bytes = 64, entry_bytes = 16;
static_assert(magic.size() == 24);

void put(std::string& out, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    value |= std::to_integer<std::uint64_t>(bytes[offset + i]) << (8 * i);
  }
  return value;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

std::uint64_t xxh3(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string xxh3_of_file(const std::string& path) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  std::ifstream file(path, std::ios::binary);
  std::vector<char> part(std::size_t{1} << 20U);
  XXH3_64bits_reset(state.get());
  while (file.read(part.data(), static_cast<std::streamsize>(part.size())) || file.gcount() > 0) {
    XXH3_64bits_update(state.get(), part.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof()) throw InputError(path + ": cannot be read: " + std::strerror(errno));
  return fmt::format("{:016x}", XXH3_64bits_digest(state.get()));
}

bool ends_with_seal(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file.seekg(-static_cast<int>(trailer_bytes), std::ios::end)) return false;
  std::array<char, magic.size()> bytes{};
  file.read(bytes.data(), bytes.size());
  return file && std::string_view(bytes.data(), bytes.size()) == magic;
}

std::string make_seal(std::span<const SealedPiece> pieces) {
  std::string table;
  for (const SealedPiece& piece : pieces) {
    put(table, piece.end);
    put(table, piece.hash);
  }
  std::string trailer(magic);
  put(trailer, version);
  put(trailer, pieces.empty() ? 0 : pieces.back().end);
  put(trailer, pieces.size());
  put(trailer, xxh3(bytes_of(table)));
  put(trailer, xxh3(bytes_of(trailer)));
  return table + trailer;
}

SealedFile::SealedFile(std::string path)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
    throw InputError(fmt::format("{}: cannot open the file: {}", path_, std::strerror(errno)));
  }
  try {
    if (!S_ISREG(status.st_mode)) throw InputError(path_ + ": is no file that could be a checkpoint");
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size < trailer_bytes) {
      throw DamagedFile(fmt::format("{}: has {} bytes, too few for a checkpoint", path_, size));
    }
    std::vector<std::byte> trailer(trailer_bytes);
    read_at(size - trailer_bytes, trailer);
    if (std::memcmp(trailer.data(), magic.data(), magic.size()) != 0) {
      throw DamagedFile(path_ + ": does not end as a checkpoint does; it is truncated, or no checkpoint");
    }
    const DamagedFile changed(path_ +
                              ": its bytes are not those that were written (the seal's hash differs)");
    if (number_at(trailer, 56) != xxh3(std::span(trailer).first(56))) throw changed;
    if (const std::uint64_t found = number_at(trailer, 24); found != version) {
      throw OtherFormat(fmt::format(
          "{}: is a checkpoint of format {}, this version of the program reads format {}; go on with the "
          "version that wrote it, or start afresh without --restart",
          path_, found, version));
    }
    const std::uint64_t content = number_at(trailer, 32), count = number_at(trailer, 40);
    if (count > size / entry_bytes || content + count * entry_bytes + trailer_bytes != size) throw changed;
    std::vector<std::byte> table(count * entry_bytes);
    read_at(content, table);
    if (number_at(trailer, 48) != xxh3(table)) throw changed;
    for (std::size_t i = 0; i < count; ++i) {
      pieces_.push_back({number_at(table, i * entry_bytes), number_at(table, i * entry_bytes + 8)});
      if (pieces_[i].end < begin_of(i)) throw changed;
    }
    if (content_size() != content) throw changed;
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

SealedFile::~SealedFile() { ::close(descriptor_); }

void SealedFile::read_at(std::uint64_t offset, std::span<std::byte> to) const {
  std::size_t done = 0;
  while (done < to.size()) {
    const ssize_t count =
        ::pread(descriptor_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw IoError(fmt::format("{}: cannot read the file: {}", path_, std::strerror(errno)));
    if (count == 0) throw DamagedFile(path_ + ": became shorter while it was read");
    done += static_cast<std::size_t>(count);
  }
}

void SealedFile::check(std::size_t piece, std::span<const std::byte> bytes) const {
  if (xxh3(bytes) == pieces_[piece].hash) return;
  throw DamagedFile(fmt::format("{}: its bytes {} to {} are not those that were written (the hash differs)",
                                path_, begin_of(piece), pieces_[piece].end));
}

void SealedFile::verify(std::size_t first, std::size_t last) const {
  std::vector<std::byte> buffer;
  for (std::size_t i = first; i < last; ++i) {
    buffer.resize(std::max<std::size_t>(buffer.size(), pieces_[i].end - begin_of(i)));
    const auto bytes = std::span(buffer).first(pieces_[i].end - begin_of(i));
    read_at(begin_of(i), bytes);
    check(i, bytes);
  }
}

std::unique_ptr<std::byte[]> SealedFile::read() const {
  auto content = std::make_unique_for_overwrite<std::byte[]>(content_size());
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const std::span<std::byte> bytes(content.get() + begin_of(i), pieces_[i].end - begin_of(i));
    read_at(begin_of(i), bytes);
    check(i, bytes);
  }
  return content;
}

void SealedFile::forget_pages() const { ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED); }

}  // namespace rankine
