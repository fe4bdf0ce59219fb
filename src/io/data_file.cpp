#include "src/io/data_file.hpp"

#include <algorithm>
#include <limits>
#include <zlib.h>

#include <fmt/format.h>
#include <xxhash.h>

#include "kernels/error.hpp"
#include "src/io/safe_file.hpp"

namespace rankine {
namespace {

/// zlib's state, which is freed whatever happens.
class Inflation {
 public:
  Inflation() {
    constexpr int gzip_only = 16 + MAX_WBITS;
    RANKINE_ASSERT(inflateInit2(&stream_, gzip_only) == Z_OK, "zlib does not start");
  }
  ~Inflation() { inflateEnd(&stream_); }
  Inflation(const Inflation&) = delete;
  Inflation& operator=(const Inflation&) = delete;
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_{};
};

[[noreturn]] void corrupt(const std::string& name, const std::string& what) {
  throw InputError(
      fmt::format("{}: {}; a whole gzip file is needed: copy it or install its package again", name, what));
}

/// The length in the trailer and one more byte, but a corrupt one must not reserve gigabytes.
std::size_t first_guess(std::string_view compressed) {
  std::size_t length = 0;
  for (std::size_t i = 0; compressed.size() > 4 && i < 4; ++i)
    length = length << 8 | static_cast<unsigned char>(compressed[compressed.size() - 1 - i]);
  return std::min(length, 8 * compressed.size()) + 1;
}

}  // namespace

std::string gunzip(std::string_view compressed, const std::string& name, std::size_t limit) {
  Inflation inflation;
  z_stream& z = inflation.stream();
  constexpr std::size_t longest = std::numeric_limits<uInt>::max();
  std::size_t length = 0, read = 0;
  std::string out(first_guess(compressed), '\0');
  for (;;) {
    const std::size_t given = std::min(compressed.size() - read, longest);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data() + read));
    z.avail_in = static_cast<uInt>(given);
    if (length == out.size()) out.resize(std::min(2 * out.size(), limit + 1));
    const std::size_t room = std::min(out.size() - length, longest);
    z.next_out = reinterpret_cast<Bytef*>(out.data() + length);
    z.avail_out = static_cast<uInt>(room);
    const int status = inflate(&z, Z_NO_FLUSH);
    read += given - z.avail_in;
    length += room - z.avail_out;
    if (length > limit)
      corrupt(name,
              fmt::format("it decompresses to more than {} bytes, which no data file here does", limit));
    if (status == Z_STREAM_END) {
      if (read == compressed.size()) break;
      if (inflateReset(&z) != Z_OK) corrupt(name, "the file does not decompress");
    } else if (status == Z_BUF_ERROR || (status == Z_OK && read == compressed.size() && z.avail_out != 0)) {
      corrupt(name,
              fmt::format("the file ends too early, after {} bytes that give {}", compressed.size(), length));
    } else if (status != Z_OK) {
      corrupt(name, fmt::format("the file is corrupt at byte {} ({})", read, z.msg ? z.msg : zError(status)));
    }
  }
  out.resize(length);
  return out;
}

std::string xxh3_text(std::string_view bytes) {
  return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()));
}

DataFile read_data_file(const std::string& path, std::size_t limit) {
  std::string raw = read_file(path);
  DataFile file;
  file.hash = xxh3_text(raw);
  const bool compressed = raw.size() >= 2 && raw[0] == '\x1f' && raw[1] == '\x8b';
  file.bytes = compressed ? gunzip(raw, path, limit) : std::move(raw);
  return file;
}

}  // namespace rankine
