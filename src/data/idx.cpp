#include "src/data/idx.hpp"

#include <utility>

#include <fmt/format.h>

#include "kernels/error.hpp"

namespace rankine {

IdxArray parse_idx(std::string bytes, int rank, const std::string& name) {
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
  };
  constexpr std::uint32_t unsigned_bytes = 0x08;
  const std::size_t header = 4 + 4 * static_cast<std::size_t>(rank);
  if (bytes.size() < header)
    throw InputError(fmt::format(
        "{}: has {} bytes, but the header of an IDX file with {} extents has {}; is it the right file?", name,
        bytes.size(), rank, header));
  const std::uint32_t magic = unsigned_bytes << 8 | static_cast<std::uint32_t>(rank);
  if (number(0) != magic)
    throw InputError(
        fmt::format("{}: begins with {:#010x}, but an IDX file of bytes with {} extent{} begins with "
                    "{:#010x}; is it the right file?",
                    name, number(0), rank, rank == 1 ? "" : "s", magic));
  IdxArray array;
  std::uint64_t count = 1;
  std::string sizes;
  for (int i = 0; i < rank; ++i) {
    const std::uint64_t extent = number(4 + 4 * static_cast<std::size_t>(i));
    sizes += (i > 0 ? " x " : "") + std::to_string(extent);
    array.extents.push_back(static_cast<std::int64_t>(extent));
    // Larger extents than any file holds are refused, because the product of extents must not overflow.
    constexpr std::uint64_t most = std::uint64_t{1} << 40;
    if (extent == 0 || count > most / extent)
      throw InputError(fmt::format(
          "{}: the header says {} elements, which is not a possible size of a data set; is it the right file?",
          name, sizes));
    count *= extent;
  }
  if (bytes.size() - header != count)
    throw InputError(fmt::format(
        "{}: the header says {} = {} bytes, but {} follow; the file is cut short or not what it says", name,
        sizes, count, bytes.size() - header));
  array.bytes = std::move(bytes);
  array.header = header;
  return array;
}

}  // namespace rankine
