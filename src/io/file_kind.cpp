#include <filesystem>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/inspect.hpp"
#include "src/io/sealed_file.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;

bool named_like_checkpoint(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  return (name.starts_with("checkpoint-") || name.starts_with("finished-")) &&
         name.find(".h5") != std::string::npos;
}

}  // namespace

std::optional<FileKind> kind_from_outside(const std::string& path) {
  if (!fs::exists(path)) throw InputError(printable(path, 400) + ": there is no such file or folder");
  if (fs::is_directory(path)) return FileKind::checkpoint_folder;
  if (ends_with_seal(path) || named_like_checkpoint(path)) return FileKind::checkpoint;
  return std::nullopt;
}

FileKind kind_of_file(const std::string& path) {
  if (const std::optional<FileKind> known = kind_from_outside(path)) return *known;
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group& root = file.root();
  const bool fault = root.has_attribute("format") && root.attribute_is_text("format") &&
                     root.text_attribute("format") == "rankine-fault";
  return fault ? FileKind::fault : FileKind::results;
}

}  // namespace rankine
