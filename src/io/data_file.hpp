// Data files that may be compressed: the bytes, and a hash of the file that the provenance keeps.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rankine {

struct DataFile {
  std::string bytes;  ///< decompressed
  std::string hash;   ///< xxh3, 64 bits, hexadecimal, of the file as it lies on the disk
};

/// The whole file, decompressed where it starts like a gzip file. InputError where it is missing, not
/// readable, cut short, corrupt, or longer than `limit` bytes.
DataFile read_data_file(const std::string& path, std::size_t limit = std::size_t{1} << 32);

/// What the gzip members in `compressed` hold, end to end. `name` names the file in messages.
std::string gunzip(std::string_view compressed, const std::string& name,
                   std::size_t limit = std::size_t{1} << 32);

/// 16 hexadecimal digits.
std::string xxh3_text(std::string_view bytes);

}  // namespace rankine
