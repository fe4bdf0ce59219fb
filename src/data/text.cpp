#include "src/data/text.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "src/core/strings.hpp"
#include "src/io/data_file.hpp"
#include "src/io/files.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {

namespace fs = std::filesystem;

void TextOptions::options(OptionVisitor& o) {
  o("path", path, {.help = "folder with the texts", .file = FileUse::input});
  o("files", files,
    {.help = "names in that folder; []: all regular files there but for outputs of Rankine, in alphabetical "
             "order, links followed and each text once"});
  o("length", length, {.help = "bytes of a window", .min = 1});
  o("stride", stride,
    {.help = "distance of the training windows' starts (0: length); those of the other splits do not overlap",
     .min = 0});
  o("validation", validation,
    {.help = "fraction of each file, before its test region, to choose hyper-parameters on",
     .min = 0,
     .max = 1,
     .exclusive_max = true});
  o("test", test,
    {.help = "fraction of each file, at its end, to measure on", .min = 0, .max = 1, .exclusive_max = true});
  o("alphabet", alphabet,
    {.help = "bytes: 256 classes; occurring: the bytes that occur in the files, in their order",
     .choices = {"bytes", "occurring"}});
}

void TextOptions::validate(const DeckNode& node) const {
  if (validation + test >= 1)
    node.error_at(
        "validation",
        fmt::format(
            "validation + test = {} of each file, which leaves nothing for training; make them smaller",
            validation + test));
}

std::vector<std::string> Text::files_of(const DeckNode& node) const {
  const char* remedy =
      "give data.path, a folder with texts (the licences of Debian's package base-files lie in "
      "/usr/share/common-licenses)";
  std::error_code error;
  if (!fs::is_directory(options_.path, error))
    node.error_at("path", fmt::format("{} is not a folder; {}", options_.path, remedy));
  std::vector<std::string> found;
  if (!options_.files.empty()) {
    for (const std::string& name : options_.files) {
      const fs::path file = fs::path(options_.path) / name;
      if (!fs::is_regular_file(file, error))
        node.error_at("files",
                      fmt::format("{} is missing, or no file; the texts of {} differ between systems",
                                  file.string(), options_.path));
      found.push_back(fs::canonical(file).string());
    }
    return found;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(options_.path))
    if (fs::is_regular_file(entry.path(), error) && !is_rankine_file(entry.path().string()))
      found.push_back(fs::canonical(entry.path()).string());
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  if (found.empty()) node.error_at("path", fmt::format("{} holds no files; {}", options_.path, remedy));
  return found;
}

std::vector<std::uint8_t> Text::read(const DeckNode& node, std::vector<std::int64_t>& lengths) {
  std::vector<std::uint8_t> all;
  std::map<std::string, std::string> by_hash;
  for (const std::string& file : files_of(node)) {
    const DataFile data = read_data_file(file);
    const auto [before, is_new] = by_hash.emplace(data.hash, file);
    if (!is_new && options_.files.empty()) continue;
    if (!is_new)
      node.error_at("files",
                    fmt::format("{} and {} hold the same text, so that splits would share it; leave one out",
                                before->second, file));
    sources_.emplace_back(file, data.hash);
    lengths.push_back(static_cast<std::int64_t>(data.bytes.size()));
    all.insert(all.end(), data.bytes.begin(), data.bytes.end());
  }
  constexpr std::size_t most = std::size_t{1} << 31;
  if (all.size() > most)
    node.error_at("path",
                  fmt::format("the texts have {} bytes, more than the limit of {}; name fewer in data.files",
                              all.size(), most));
  return all;
}

Text::Text(const DeckNode& node, const DatasetContext& context) {
  node.read(options_);
  const Communicator& communicator = context.communicator;
  std::vector<std::uint8_t> all;
  std::vector<std::int64_t> lengths;
  communicator.on_root([&] { all = read(node, lengths); });
  communicator.broadcast(all);
  communicator.broadcast(lengths);
  sources_.resize(lengths.size());
  for (auto& [name, hash] : sources_) {
    communicator.broadcast(name);
    communicator.broadcast(hash);
  }

  if (options_.alphabet == "occurring") {
    std::array<int, 256> token{};
    for (const std::uint8_t byte : all) token[byte] = 1;
    classes_ = 0;
    for (int& t : token)
      if (t == 1) t = static_cast<int>(classes_++);
    for (std::uint8_t& byte : all) byte = static_cast<std::uint8_t>(token[byte]);
  }

  std::int64_t place = 0;
  for (const std::int64_t length : lengths) {
    const auto part = [&](double fraction) {
      return static_cast<std::int64_t>(fraction * static_cast<double>(length));
    };
    const std::int64_t test = part(options_.test), validation = part(options_.validation);
    const std::int64_t ends[] = {length - test - validation, length - test, length};
    std::int64_t begin = 0;
    for (Split split : all_splits) {
      const std::int64_t end = ends[static_cast<std::size_t>(split)];
      Regions& regions = regions_[split];
      if (end > begin) {
        regions.begin.push_back(static_cast<std::int64_t>(regions.tokens.size()));
        regions.place.push_back(place + begin);
        regions.tokens.insert(regions.tokens.end(), all.begin() + place + begin, all.begin() + place + end);
      }
      begin = end;
    }
    place += length;
  }
  const double wanted[] = {1, options_.validation, options_.test};
  for (Split split : all_splits) {
    Regions& regions = regions_[split];
    const auto bytes = static_cast<std::int64_t>(regions.tokens.size());
    regions.stride = split == Split::training && options_.stride > 0 ? options_.stride : options_.length;
    // The last byte of a split is a target only.
    regions.windows = bytes > options_.length ? (bytes - 1 - options_.length) / regions.stride + 1 : 0;
    if (regions.windows == 0 && wanted[static_cast<std::size_t>(split)] > 0)
      node.error_at("length",
                    fmt::format("the {} split has {} bytes, and a window with what it predicts has {}; "
                                "make length smaller, or give more text",
                                name_of(split), bytes, options_.length + 1));
  }
}

Examples Text::examples(Split split, std::span<const std::int64_t> which, DType, std::uint64_t,
                        std::int64_t) const {
  const Regions& regions = regions_[split];
  const auto n = static_cast<std::int64_t>(which.size()), length = static_cast<std::int64_t>(options_.length);
  Examples out;
  HostArray<std::int32_t> inputs({n, length}), targets({n, length});
  std::int32_t* input = inputs.data();
  std::int32_t* target = targets.data();
  for (const std::int64_t number : which) {
    RANKINE_ASSERT(0 <= number && number < regions.windows, "window " + std::to_string(number));
    const std::int64_t begin = number * regions.stride;
    for (std::int64_t i = 0; i < length; ++i) {
      *input++ = regions.tokens[static_cast<std::size_t>(begin + i)];
      *target++ = regions.tokens[static_cast<std::size_t>(begin + i + 1)];
    }
    const auto after = std::upper_bound(regions.begin.begin(), regions.begin.end(), begin);
    const auto region = static_cast<std::size_t>(after - regions.begin.begin() - 1);
    out.ids.push_back(regions.place[region] + begin - regions.begin[region]);
  }
  out.inputs = inputs.to_device();
  out.targets = targets.to_device();
  return out;
}

}  // namespace rankine
