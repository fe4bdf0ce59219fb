#include "src/run/settings.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "src/core/strings.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/files.hpp"
#include "src/io/provenance.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;

/// Settings that a restart may change, and when. All others are refused. Sections that are not part of a
/// variant's settings (about, checkpoint, expect, run but for the experiment) are harmless anyway.
struct Harmless {
  const char* key;
  enum class When {
    while_running,  ///< what it decides comes after the last step
    steps_ahead,    ///< not below what is done, and only where the schedule does not know the total
  } when;
};
constexpr std::array<Harmless, 6> harmless{{
    {"train.save_fields", Harmless::When::while_running},
    {"train.on_fault", Harmless::When::while_running},
    {"train.faults.skip_limit", Harmless::When::while_running},
    {"train.faults.rewind_limit", Harmless::When::while_running},
    {"train.faults.rewind_rate", Harmless::When::while_running},
    {"train.steps", Harmless::When::steps_ahead},
}};
/// Schedules whose factor depends on the step alone.
constexpr std::array<const char*, 2> schedules_without_total{"constant", "step"};

/// In the settings, "data.path (content of t.csv)" has the hash of a file that data.path names.
constexpr std::string_view content_mark = " (content of ";

/// The hashes of the contents by key, each with the name of its file.
std::map<std::string, std::map<std::string, std::string>> contents_of(
    const std::map<std::string, std::string>& settings) {
  std::map<std::string, std::map<std::string, std::string>> contents;
  for (const auto& [key, hash] : settings) {
    const std::size_t mark = key.find(content_mark);
    if (mark != std::string::npos)
      contents[key.substr(0, mark)][key.substr(mark + content_mark.size())] = hash;
  }
  return contents;
}

/// Files are compared by content and not by place: takes the paths whose contents both sides know out of
/// both, and the file's name where a path leads to one file only.
void leave_out_places(std::map<std::string, std::string>& then, std::map<std::string, std::string>& now) {
  const auto before = contents_of(then), after = contents_of(now);
  const auto erase_contents = [](std::map<std::string, std::string>& settings, const std::string& key) {
    std::erase_if(settings, [&](const auto& entry) {
      return entry.first.starts_with(key + std::string(content_mark));
    });
  };
  for (const auto& [key, files] : before) {
    const auto other = after.find(key);
    if (other == after.end()) continue;
    then.erase(key);
    now.erase(key);
    if (files.size() != 1 || other->second.size() != 1) continue;
    if (files.begin()->second != other->second.begin()->second) continue;
    erase_contents(then, key);
    erase_contents(now, key);
  }
  // Before, not all paths had the hashes of their contents.
  for (const auto& [key, files] : after)
    if (!before.contains(key)) erase_contents(now, key);
}

/// PETSc's options by name: "-ksp_rtol 1e-8" has the value "1e-8", a flag an empty one. Later ones win.
std::map<std::string, std::string> petsc_options_of(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> options;
  std::string last;
  for (const std::string& text : texts) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      const bool is_name = word.size() > 1 && word[0] == '-' &&
                           (std::isalpha(static_cast<unsigned char>(word[1])) || word[1] == '-');
      if (is_name)
        options[last = word] = "";
      else if (!last.empty())
        options[last] = word;
    }
  }
  return options;
}

/// Whether an option of PETSc makes it print, and no more.
bool only_prints(const std::string& option) {
  constexpr std::array<const char*, 4> starts{"-log_", "-info", "-options_", "-malloc"};
  constexpr std::array<const char*, 3> parts{"_monitor", "_view", "converged_reason"};
  return std::any_of(starts.begin(), starts.end(), [&](const char* s) { return option.starts_with(s); }) ||
         std::any_of(parts.begin(), parts.end(),
                     [&](const char* s) { return option.find(s) != std::string::npos; });
}

}  // namespace

std::string settings_text(const std::map<std::string, std::string>& settings) {
  std::string text;
  for (const auto& [key, value] : settings) {
    text += key + ": ";
    for (const char c : value) text += c == '\n' ? std::string("\\n") : std::string(1, c);
    text += '\n';
  }
  return text;
}

std::map<std::string, std::string> settings_from(const std::string& text) {
  std::map<std::string, std::string> settings;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) settings[line.substr(0, colon)] = line.substr(colon + 2);
    begin = end + 1;
  }
  return settings;
}

std::map<std::string, std::string> run_settings(const Deck& deck, const std::string& variant,
                                                const std::vector<std::string>& petsc_options) {
  std::map<std::string, std::string> all = deck.settings(variant);
  for (const DeckFile& file : deck.files(variant)) {
    if (file.use != FileUse::input) continue;
    std::set<std::string> paths;  // {seed} may stand for several
    for (const int seed : deck.run().seeds) paths.insert(with_seed(file.path, seed));
    std::vector<fs::path> files;
    std::error_code error;
    for (const std::string& path : paths) {
      if (fs::is_regular_file(path, error)) files.emplace_back(path);
      for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
        if (it->is_regular_file(error) && !is_rankine_file(it->path().string())) files.push_back(it->path());
      }
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& each : files) {
      all.emplace(fmt::format("{}{}{})", file.key, content_mark, each.filename().string()),
                  xxh3_of_file(each.string()));
    }
  }
  all.erase("petsc_options");
  std::vector<std::string> texts = deck.petsc_options();
  if (const char* environment = std::getenv("PETSC_OPTIONS")) texts.emplace(texts.begin(), environment);
  texts.insert(texts.end(), petsc_options.begin(), petsc_options.end());
  for (const auto& [option, value] : petsc_options_of(texts))
    if (!only_prints(option)) all["PETSc option " + option] = value.empty() ? "(given)" : value;
  return all;
}

SettingsChange compare_settings(std::map<std::string, std::string> then,
                                std::map<std::string, std::string> now, std::int64_t step) {
  leave_out_places(then, now);
  SettingsChange change;
  const auto value = [](const auto& settings, const std::string& key) {
    const auto found = settings.find(key);
    return found == settings.end() ? std::string("(not there)") : found->second;
  };
  std::map<std::string, std::string> keys = then;
  keys.insert(now.begin(), now.end());
  const std::string total = value(then, "train.steps");
  const bool was_running = step < std::atol(total.c_str());
  for (const auto& [key, ignored] : keys) {
    const std::string before = value(then, key), after = value(now, key);
    if (before == after) continue;
    const auto rule = std::find_if(harmless.begin(), harmless.end(),
                                   [&key = key](const Harmless& h) { return key == h.key; });
    std::string why;
    if (rule != harmless.end() && rule->when == Harmless::When::while_running) {
      if (was_running) continue;
      why = "; this variant is done";
    }
    if (rule != harmless.end() && rule->when == Harmless::When::steps_ahead) {
      const std::string schedule = value(now, "train.schedule.name");
      const bool free = std::find(schedules_without_total.begin(), schedules_without_total.end(), schedule) !=
                        schedules_without_total.end();
      if (free && std::atol(after.c_str()) >= step && (was_running || std::atol(after.c_str()) > step)) {
        change.more_steps = true;
        continue;
      }
      why = free ? fmt::format("; {} steps are done", step)
                 : fmt::format("; the schedule '{}' depends on it", schedule);
    }
    change.refused.push_back(fmt::format("{}: {} then, {} now{}", key, before, after, why));
  }
  return change;
}

}  // namespace rankine
