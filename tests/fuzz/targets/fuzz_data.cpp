// Data files of others: PDEBench (HDF5), weights as .npz, .safetensors and HDF5, IDX and gzip. HDF5 is not
// compiled with the sanitizers and does not withstand such input: it reads in a child process
// (src/io/rehearsal.hpp). What fails there is not counted, but for errors in our own code, which the script
// that runs this finds in the child's report.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>

#include "kernels/error.hpp"
#include "src/data/idx.hpp"
#include "src/io/data_file.hpp"
#include "src/io/pdebench.hpp"
#include "src/io/weights.hpp"
#include "tests/fuzz/targets/guard.hpp"

namespace {

std::string folder;

template <class Work>
void attempt(Work work) {
  rankine::fuzz::watch([&] {
    try {
      work();
    } catch (const rankine::InputError&) {
    }
  });
}

std::string stored(const std::uint8_t* data, std::size_t size, const char* ending) {
  const std::string path = folder + "/input" + ending;
  const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size) || ::close(file) != 0) std::abort();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  rankine::fuzz::install_hooks();
  std::string name = "/dev/shm/rankine_fuzz.XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  folder = name;
  std::atexit([] {
    for (const char* ending : {".h5", ".npz", ".safetensors"}) ::unlink((folder + "/input" + ending).c_str());
    ::rmdir(folder.c_str());
  });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size > 8 && std::memcmp(data, "\x89HDF\r\n\x1a\n", 8) == 0) {
    const std::string path = stored(data, size, ".h5");
    const auto read = [](const rankine::PdebenchFile& file) {
      for (std::int64_t i = 0; i < file.samples() && i < 4; ++i) {
        static_cast<void>(file.read_sample(i));
        static_cast<void>(file.attributes(i));
      }
    };
    attempt([&] { read(rankine::PdebenchFile(path, 4, read)); });  // as loaders do: in a child process first
    attempt([&] { rankine::read_weights(path); });
    return 0;
  }
  if (bytes.starts_with("PK")) {
    attempt([&] { rankine::read_weights(stored(data, size, ".npz")); });
    return 0;
  }
  if (bytes.starts_with("\x1f\x8b")) {
    attempt([&] { static_cast<void>(rankine::gunzip(std::string(bytes), "input", std::size_t{1} << 26)); });
    return 0;
  }
  attempt([&] { static_cast<void>(rankine::parse_idx(std::string(bytes), 3, "input")); });
  attempt([&] { rankine::read_weights(stored(data, size, ".safetensors")); });
  return 0;
}
