#include "src/io/inspect.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "src/core/log.hpp"
#include "src/core/strings.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/fault_file.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/provenance.hpp"
#include "src/tensor/fault_probe.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string text_or(const CheckpointContent& content, const std::string& name) {
  const auto found = content.texts.find(name);
  return found == content.texts.end() ? "" : found->second;
}

std::int64_t number_or(const CheckpointContent& content, const std::string& name) {
  return std::atoll(text_or(content, name).c_str());
}

/// "key: value" lines.
std::map<std::string, std::string> settings_in(const std::string& text) {
  std::map<std::string, std::string> settings;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    if (const std::size_t colon = line.find(": "); colon != std::string::npos)
      settings[line.substr(0, colon)] = line.substr(colon + 2);
    begin = end + 1;
  }
  return settings;
}

std::int64_t not_finite_in(const StateValue& value) {
  if (value.bytes.empty() || !is_differentiable(value.type)) return 0;
  return not_finite(Tensor::from_bytes(value.bytes, Shape(value.shape), value.type)).count;
}

std::string shape_of(const StateValue& value) {
  std::string out;
  for (const std::int64_t extent : value.shape) out += fmt::format("{}{}", out.empty() ? "" : " x ", extent);
  return out.empty() ? "scalar" : out;
}

std::uint64_t bytes_of(const StateValue& value) {
  std::uint64_t count = size_of(value.type);
  for (const std::int64_t extent : value.shape) count *= static_cast<std::uint64_t>(extent);
  return count;
}

Json json_of(const std::string& name, const StateValue& value) {
  return {{"name", name},
          {"type", name_of(value.type)},
          {"shape", value.shape},
          {"bytes", bytes_of(value)},
          {"not_finite", not_finite_in(value)}};
}

Json describe_checkpoint(const std::string& path) {
  const CheckpointContent content = read_checkpoint(path);
  const auto settings = settings_in(text_or(content, "settings"));
  Json listed = Json::object(), arrays = Json::array();
  for (const auto& [key, value] : settings) listed[key] = value;
  for (const auto& [name, value] : content.state) arrays.push_back(json_of(name, value));
  const auto steps = settings.find("train.steps");
  return {{"file", path},
          {"kind", "checkpoint"},
          {"intact", true},
          {"variant", text_or(content, "variant")},
          {"seed", number_or(content, "seed")},
          {"step", number_or(content, "step")},
          {"steps", steps == settings.end() ? Json() : Json(std::atoll(steps->second.c_str()))},
          {"finished", text_or(content, "finished") == "yes"},
          {"smoke", text_or(content, "smoke") == "yes"},
          {"parent", text_or(content, "parent")},
          {"version", text_or(content, "version")},
          {"revision", text_or(content, "revision")},
          {"same_build", text_or(content, "revision") == build_info().git_revision},
          {"ranks", number_or(content, "ranks")},
          {"bytes", fs::file_size(path)},
          {"settings", listed},
          {"arrays", arrays}};
}

/// A line "  name   type   shape   bytes" for each array.
std::string array_lines(const Json& arrays) {
  std::size_t width = 0, shapes = 0;
  std::vector<std::string> shape_texts;
  for (const Json& entry : arrays) {
    width = std::max(width, entry["name"].get<std::string>().size());
    std::string shape;
    for (const auto& extent : entry["shape"])
      shape += fmt::format("{}{}", shape.empty() ? "" : " x ", extent.get<std::int64_t>());
    shape_texts.push_back(shape.empty() ? "scalar" : shape);
    shapes = std::max(shapes, shape_texts.back().size());
  }
  std::string text;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const Json& entry = arrays[i];
    text += fmt::format("  {:<{}}  {:<5}  {:<{}}  {}", entry["name"].get<std::string>(), width,
                        entry["type"].get<std::string>(), shape_texts[i], shapes,
                        bytes_text(entry["bytes"].get<double>()));
    if (entry["not_finite"].get<std::int64_t>() > 0)
      text += fmt::format("  {} not finite", entry["not_finite"].get<std::int64_t>());
    text += '\n';
  }
  return text;
}

struct FolderEntry {
  std::string path, damage;
  CheckpointContent content;
};

std::vector<FolderEntry> entries_of(const std::string& path) {
  std::vector<std::string> files;
  for (const CheckpointFolder::Item& item : CheckpointFolder(path).list()) files.push_back(item.path);
  std::vector<std::string> finished;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("finished-") && name.ends_with(".h5")) finished.push_back(it->path().string());
  }
  std::sort(finished.begin(), finished.end());
  files.insert(files.end(), finished.begin(), finished.end());
  std::vector<FolderEntry> out;
  for (const std::string& file : files) {
    FolderEntry entry{file, "", {}};
    try {
      entry.content = read_checkpoint(file);
    } catch (const std::exception& failure) {
      entry.damage = failure.what();
    }
    out.push_back(std::move(entry));
  }
  return out;
}

Json describe_fault(const std::string& path) {
  const FaultFile file = read_fault_file(path);
  Json facts = Json::object(), texts = Json::object(), arrays = Json::array();
  for (const auto& [name, fact] : file.facts) {
    if (const auto* text = std::get_if<std::string>(&fact)) {
      facts[name] = *text;
    } else if (const auto* number = std::get_if<double>(&fact)) {
      if (!std::isfinite(*number))
        facts[name] = std::isnan(*number) ? "nan" : *number > 0 ? "inf" : "-inf";
      else if (*number == std::floor(*number) && std::abs(*number) < 1e15)
        facts[name] = static_cast<std::int64_t>(*number);
      else
        facts[name] = *number;
    }
  }
  for (const auto& [name, text] : file.texts)
    if (name != "deck" && name != "resolved_deck") texts[name] = text;
  for (const auto& [name, value] : file.arrays) arrays.push_back(json_of(name, value));
  return {{"file", path}, {"kind", "fault"}, {"facts", facts}, {"texts", texts}, {"arrays", arrays}};
}

}  // namespace

std::string checkpoint_json(const std::string& path) { return dump(describe_checkpoint(path)); }

std::string checkpoint_text(const std::string& path) {
  const Json info = describe_checkpoint(path);
  const bool finished = info["finished"].get<bool>();
  std::string text =
      fmt::format("{}: checkpoint, intact, {}\n\n", path, bytes_text(info["bytes"].get<double>()));
  const auto line = [&](const char* label, const std::string& value) {
    if (!value.empty()) text += fmt::format("  {:<16} {}\n", label, value);
  };
  line("variant", info["variant"].get<std::string>());
  line("seed", std::to_string(info["seed"].get<std::int64_t>()));
  line("step",
       fmt::format("{}{}{}", info["step"].get<std::int64_t>(),
                   info["steps"].is_null() ? "" : fmt::format(" of {}", info["steps"].get<std::int64_t>()),
                   finished ? ", finished, with results" : ""));
  if (info["smoke"].get<bool>()) line("sizes", "--smoke");
  line("went on from", info["parent"].get<std::string>());
  line("version", info["version"].get<std::string>());
  line("git_revision", fmt::format("{}{}", info["revision"].get<std::string>(),
                                   info["same_build"].get<bool>() ? "" : " (not that of this program)"));
  line("ranks", fmt::format("{} (any number can go on)", info["ranks"].get<std::int64_t>()));
  text += "\nArrays\n" + array_lines(info["arrays"]);
  text += fmt::format(
      "\nSettings: {} keys, with --json; `rankine info {} --deck DECK` shows how a deck differs\n",
      info["settings"].size(), path);
  return text;
}

std::string checkpoint_folder_json(const std::string& path) {
  Json list = Json::array();
  for (const FolderEntry& entry : entries_of(path)) {
    std::error_code error;
    list.push_back({{"file", entry.path},
                    {"variant", text_or(entry.content, "variant")},
                    {"seed", number_or(entry.content, "seed")},
                    {"step", number_or(entry.content, "step")},
                    {"finished", text_or(entry.content, "finished") == "yes"},
                    {"bytes", fs::file_size(entry.path, error)},
                    {"damage", entry.damage}});
  }
  return dump({{"file", path}, {"kind", "checkpoints"}, {"checkpoints", list}});
}

std::string checkpoint_folder_text(const std::string& path) {
  const std::vector<FolderEntry> entries = entries_of(path);
  if (entries.empty()) return path + ": a folder without checkpoints\n";
  std::string text = fmt::format("{}: {} checkpoints, the newest first\n\n", path, entries.size());
  for (const FolderEntry& entry : entries) {
    const std::string name = fs::path(entry.path).filename().string();
    if (!entry.damage.empty()) {
      text += fmt::format("  {}  NOT USABLE: {}\n", name, entry.damage);
      continue;
    }
    text += fmt::format("  {}  variant {}, seed {}, step {}{}\n", name, text_or(entry.content, "variant"),
                        text_or(entry.content, "seed"), text_or(entry.content, "step"),
                        text_or(entry.content, "finished") == "yes" ? ", finished" : "");
  }
  return text;
}

std::string fault_json(const std::string& path) { return dump(describe_fault(path)); }

std::string fault_text(const std::string& path) {
  const Json info = describe_fault(path);
  const Json& facts = info["facts"];
  std::string text = fmt::format("{}: a numerical fault\n\n  {}\n\n", path, facts.value("message", ""));
  for (const auto& [name, value] : facts.items()) {
    if (name == "message") continue;
    const std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    if (!shown.empty() && shown != "-1") text += fmt::format("  {:<16} {}\n", name, shown);
  }
  for (const auto& [name, value] : info["texts"].items())
    text += fmt::format("  {:<16} {}\n", name, value.get<std::string>());
  return text + "\nArrays\n" + array_lines(info["arrays"]);
}

CheckpointSettings checkpoint_settings(const std::string& path) {
  const CheckpointContent content = read_checkpoint(path);
  return {text_or(content, "variant"), number_or(content, "seed"), number_or(content, "step"),
          settings_in(text_or(content, "settings"))};
}

std::vector<Difference> compare_checkpoints(const std::string& a, const std::string& b) {
  for (const std::string& path : {a, b}) {
    if (kind_of_file(path) != FileKind::checkpoint)
      throw InputError(path + ": is no checkpoint, but the other file is; compare files of one kind");
  }
  const CheckpointContent first = read_checkpoint(a), second = read_checkpoint(b);
  std::vector<Difference> found;
  const auto about_machine = [](const std::string& name) {
    constexpr const char* names[] = {"version", "revision", "ranks", "parent", "resolved_deck", "results"};
    return std::any_of(std::begin(names), std::end(names), [&](const char* each) { return name == each; });
  };
  const auto time = [](const std::string& name) { return name.find("timing/") != std::string::npos; };
  const auto both = [&](const auto& left, const auto& right, const std::string& prefix, const auto& left_out,
                        const auto& compare) {
    for (const auto& [name, value] : left) {
      if (left_out(name)) continue;
      const auto other = right.find(name);
      if (other == right.end())
        found.push_back({prefix + name, "only in the first file"});
      else if (!(value == other->second))
        compare(prefix + name, value, other->second);
    }
    for (const auto& [name, value] : right)
      if (!left_out(name) && !left.contains(name))
        found.push_back({prefix + name, "only in the second file"});
  };
  both(first.texts, second.texts, "texts/", about_machine,
       [&](const std::string& name, const std::string& x, const std::string& y) {
         const bool long_text = x.size() > 60 || y.size() > 60;
         found.push_back({name, long_text ? "the texts differ" : fmt::format("'{}' against '{}'", x, y)});
       });
  both(first.state, second.state, "", time,
       [&](const std::string& name, const StateValue& x, const StateValue& y) {
         if (x.type != y.type || x.shape != y.shape) {
           found.push_back({name, fmt::format("{} {} against {} {}", name_of(x.type), shape_of(x),
                                              name_of(y.type), shape_of(y))});
           return;
         }
         const std::size_t each = size_of(x.type), count = x.bytes.size() / std::max<std::size_t>(each, 1);
         std::size_t differing = 0;
         double largest = 0, relative = 0;
         for (std::size_t i = 0; i < count; ++i) {
           if (std::memcmp(&x.bytes[i * each], &y.bytes[i * each], each) == 0) continue;
           ++differing;
           if (!is_real_floating(x.type)) continue;
           const auto value = [&](const StateValue& of) {
             if (of.type == DType::f32) {
               float v;
               std::memcpy(&v, &of.bytes[i * each], each);
               return static_cast<double>(v);
             }
             double v;
             std::memcpy(&v, &of.bytes[i * each], each);
             return v;
           };
           const double p = value(x), q = value(y), difference = std::abs(p - q),
                        scale = std::max(std::abs(p), std::abs(q));
           largest = std::max(largest, std::isfinite(difference) ? difference : INFINITY);
           relative = std::max(relative,
                               std::isfinite(difference) ? (scale > 0 ? difference / scale : 0) : INFINITY);
         }
         found.push_back(
             {name, is_real_floating(x.type)
                        ? fmt::format("{} of {} values differ, by {:.3g} at most (relative {:.3g})",
                                      differing, count, largest, relative)
                        : fmt::format("{} of {} values differ", differing, count)});
       });
  return found;
}

}  // namespace rankine
