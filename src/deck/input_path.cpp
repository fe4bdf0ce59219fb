#include "src/deck/input_path.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <glob.h>
#include <vector>

namespace rankine::deck {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view seed_mark = "{seed}";

/// The files that a path stands for: one, or one for each seed.
std::vector<fs::path> files_like(const fs::path& path) {
  const std::string text = path.string();
  std::error_code error;
  if (text.find(seed_mark) == std::string::npos) {
    return fs::exists(path, error) ? std::vector<fs::path>{path} : std::vector<fs::path>{};
  }
  std::string pattern;
  for (std::size_t i = 0; i < text.size();) {
    if (text.compare(i, seed_mark.size(), seed_mark) == 0) {
      pattern += '*';
      i += seed_mark.size();
    } else {
      if (std::string_view("*?[]\\").find(text[i]) != std::string_view::npos) pattern += '\\';
      pattern += text[i++];
    }
  }
  std::vector<fs::path> found;
  glob_t matches{};
  if (::glob(pattern.c_str(), 0, nullptr, &matches) == 0)
    found.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  ::globfree(&matches);
  return found;
}

bool same_bytes(const fs::path& a, const fs::path& b) {
  std::error_code error;
  if (!fs::is_regular_file(a, error) || !fs::is_regular_file(b, error)) return false;
  if (fs::file_size(a, error) != fs::file_size(b, error) || error) return false;
  std::ifstream first(a, std::ios::binary), second(b, std::ios::binary);
  std::array<char, 1 << 16> one{}, other{};
  while (first && second) {
    first.read(one.data(), one.size());
    second.read(other.data(), other.size());
    if (first.gcount() != second.gcount() ||
        !std::equal(one.begin(), one.begin() + first.gcount(), other.begin()))
      return false;
  }
  return first.eof() && second.eof();
}

bool same(const std::vector<fs::path>& a, const std::vector<fs::path>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::error_code error;
    if (!fs::equivalent(a[i], b[i], error) && !same_bytes(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace

InputPath find_input(const std::string& path, const std::string& deck_folder) {
  if (fs::path(path).is_absolute()) return {path, "", ""};
  const fs::path here = fs::absolute(path).lexically_normal();
  const fs::path there = fs::absolute(fs::path(deck_folder) / path).lexically_normal();
  if (here == there) return {path, files_like(here).empty() ? here.string() : "", ""};
  const std::vector<fs::path> in_here = files_like(here), in_there = files_like(there);
  if (in_here.empty() && in_there.empty()) return {path, here.string() + " and " + there.string(), ""};
  if (in_here.empty()) return {there.string(), "", ""};
  if (!in_there.empty() && !same(in_here, in_there)) {
    return {path, "",
            "could be " + here.string() + " (from the working folder) or " + there.string() +
                " (from the folder of the deck), and these differ; give an absolute path, or remove one"};
  }
  return {path, "", ""};
}

}  // namespace rankine::deck
