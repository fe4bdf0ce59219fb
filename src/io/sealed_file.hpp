// Files that tell whether they are what was once written, before anybody interprets their bytes:
//
//   content                  any bytes, in pieces without gaps
//   table                    for each piece: its end and the xxh3 hash of its bytes (2 x 8 bytes)
//   trailer                  64 bytes: magic, version, length of the content, number of pieces, hash of the
//                            table, hash of the trailer so far
//
// Numbers are little-endian. The pieces are hashed while they are written, by whichever rank writes them, so
// nothing has to be read back for the seal; equal contents in equal pieces give equal bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/error.hpp"

namespace rankine {

/// A file that is not what was once written: truncated, changed, or not sealed at all.
struct DamagedFile : InputError {
  using InputError::InputError;
};

/// A file that is as it was written, but by a version whose format this one does not read.
struct OtherFormat : InputError {
  using InputError::InputError;
};

std::uint64_t xxh3(std::span<const std::byte> bytes);
/// The hash of a file's content, 16 hexadecimal digits. InputError where it cannot be read.
std::string xxh3_of_file(const std::string& path);

struct SealedPiece {
  std::uint64_t end;  ///< in the file; it begins where the one before ends
  std::uint64_t hash;
  bool operator==(const SealedPiece&) const = default;
};

/// Whether the file ends like a sealed one, whole or not. False where it cannot be read.
bool ends_with_seal(const std::string& path);

/// Table and trailer, to stand behind the content.
std::string make_seal(std::span<const SealedPiece> pieces);

/// An open sealed file.
class SealedFile {
 public:
  /// Reads and checks the seal. InputError where there is no such file, DamagedFile where it is not whole,
  /// OtherFormat where its seal is of another version, IoError where it cannot be read.
  explicit SealedFile(std::string path);
  SealedFile(const SealedFile&) = delete;
  SealedFile& operator=(const SealedFile&) = delete;
  ~SealedFile();

  const std::vector<SealedPiece>& pieces() const { return pieces_; }
  std::uint64_t content_size() const { return pieces_.empty() ? 0 : pieces_.back().end; }
  /// Reads the pieces [first, last) and compares their hashes. DamagedFile.
  void verify(std::size_t first, std::size_t last) const;
  /// The content, content_size() bytes, of which every one is checked. DamagedFile.
  std::unique_ptr<std::byte[]> read() const;
  /// Asks the system to forget the file's pages that are in memory, so that the next reading is from the
  /// disk.
  void forget_pages() const;

 private:
  std::uint64_t begin_of(std::size_t piece) const { return piece == 0 ? 0 : pieces_[piece - 1].end; }
  void read_at(std::uint64_t offset, std::span<std::byte> to) const;
  void check(std::size_t piece, std::span<const std::byte> bytes) const;

  std::string path_;
  int descriptor_ = -1;
  std::vector<SealedPiece> pieces_;
};

}  // namespace rankine
