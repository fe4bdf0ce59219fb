// Small data files, whole and damaged, for the tests of data sets.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>
#include <zlib.h>

#include "kernels/error.hpp"
#include "src/data/dataset.hpp"
#include "src/deck/node.hpp"

namespace rankine::test {

/// A folder of this process that is gone at the end of the test.
class Folder {
 public:
  Folder() {
    static int number = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("rankine-data-" + std::to_string(::getpid()) + "-" + std::to_string(number++));
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path() const { return path_.string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    const std::string file = (path_ / name).string();
    std::ofstream(file, std::ios::binary) << bytes;
    return file;
  }

 private:
  std::filesystem::path path_;
};

inline std::string gzip(const std::string& bytes) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, bytes.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  return out;
}

inline std::string idx(const std::vector<std::uint32_t>& extents, const std::string& values) {
  std::string bytes{'\0', '\0', '\x08', static_cast<char>(extents.size())};
  for (std::uint32_t extent : extents)
    for (int shift : {24, 16, 8, 0}) bytes += static_cast<char>(extent >> shift & 0xff);
  return bytes + values;
}

/// Pixel p of training image i is (7 i + 3 p) % 256, of test image i (5 i + p) % 256; labels are i % 10.
inline void write_images(const Folder& folder, int train, int test, int side = 4) {
  const auto images = [&](int n, int a, int b) {
    std::string values;
    for (int i = 0; i < n; ++i)
      for (int p = 0; p < side * side; ++p) values += static_cast<char>((a * i + b * p) % 256);
    const auto extent = static_cast<std::uint32_t>(side);
    return gzip(idx({static_cast<std::uint32_t>(n), extent, extent}, values));
  };
  const auto labels = [&](int n) {
    std::string values;
    for (int i = 0; i < n; ++i) values += static_cast<char>(i % 10);
    return gzip(idx({static_cast<std::uint32_t>(n)}, values));
  };
  folder.write("train-images-idx3-ubyte.gz", images(train, 7, 3));
  folder.write("train-labels-idx1-ubyte.gz", labels(train));
  folder.write("t10k-images-idx3-ubyte.gz", images(test, 5, 1));
  folder.write("t10k-labels-idx1-ubyte.gz", labels(test));
}

/// The data set of a deck that says `data: {options}`.
inline std::unique_ptr<Dataset> make_dataset(const std::string& options,
                                             const Communicator& communicator = Communicator::world()) {
  const DeckNode deck = parse_deck_text("data: {" + options + "}\n", "deck.yaml");
  return datasets().make(deck.child("data"), DatasetContext{communicator});
}

/// The message with which this data set is refused.
inline std::string refusal(const std::string& options) {
  try {
    make_dataset(options);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

inline std::vector<std::int64_t> all_of(const Dataset& data, Split split) {
  std::vector<std::int64_t> which(static_cast<std::size_t>(data.size(split)));
  for (std::size_t i = 0; i < which.size(); ++i) which[i] = static_cast<std::int64_t>(i);
  return which;
}

}  // namespace rankine::test
