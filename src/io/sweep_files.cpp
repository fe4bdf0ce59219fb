#include "src/io/sweep_files.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/rehearsal.hpp"
#include "src/io/safe_file.hpp"
#include "src/io/stored_runs.hpp"

namespace rankine {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::string run_path(const std::string& variant, std::int64_t seed) {
  return fmt::format("{}/seed_{}", variant, seed);
}

SweepFile::Run read_run(const hdf5::Group& root, const StoredRun& stored) {
  const auto& [variant, seed, group] = stored;
  SweepFile::Run run{.variant = variant, .seed = seed, .metrics = {}, .values = {}};
  const auto add = [&](const hdf5::Group& from, bool rows) {
    for (const std::string& name : from.names()) {
      if (!from.has_dataset(name) || from.info(name).type != hdf5::Type::f64 ||
          !from.info(name).shape.empty())
        continue;
      const hdf5::Dataset dataset = from.open_dataset(name);
      if (rows)
        run.metrics.push_back({name, dataset.has_attribute("units") && dataset.attribute_is_text("units")
                                         ? dataset.text_attribute("units")
                                         : "1"});
      run.values.emplace(name, from.read_scalar<double>(name));
    }
  };
  if (group.has_group("summary")) add(group.open_group("summary"), true);
  const std::string timing = "timing/" + run_path(variant, run.seed);
  if (root.has_group(timing)) add(root.open_group(timing), false);
  return run;
}

SweepFile read_runs(const std::string& path) {
  const hdf5::File file = open_results(path);
  const hdf5::Group& root = file.root();
  SweepFile out;
  out.path = path;
  out.title =
      root.has_attribute("title") && root.attribute_is_text("title") ? root.text_attribute("title") : "";
  const auto text = [&](const char* name) {
    const std::string at = std::string("provenance/") + name;
    if (!root.has_dataset(at)) {
      throw InputError(
          fmt::format("{}: has no /{}, which says what it is a part of; it was written by an older "
                      "version of the program: run it again",
                      path, at));
    }
    return root.read_text(at);
  };
  out.deck_path = text("deck_path");
  out.deck = text("deck");
  if (root.has_dataset("provenance/fragments")) out.fragments = text("fragments");
  out.revision = text("git_revision") + (text("git_dirty") == "true" ? " (with changes)" : "");
  out.overrides = lines_of(text("overrides"));
  out.only = lines_of(text("only"));
  out.smoke = text("smoke") == "true";
  if (const std::string task = text("task"); !task.empty())
    std::sscanf(task.c_str(), "%6d/%6d", &out.task, &out.tasks);
  for (const StoredRun& run : stored_runs(root)) out.runs.push_back(read_run(root, run));
  return out;
}

}  // namespace

SweepFile read_sweep_file(const std::string& path) {
  rehearse(path, [&] { read_runs(path); });
  return read_runs(path);
}

void write_merged_results(const std::string& output, const std::string& title,
                          const std::vector<SweepMember>& members,
                          const std::vector<ExpectationResult>& expectations,
                          const std::vector<std::pair<std::string, std::string>>& provenance) {
  std::map<std::string, std::unique_ptr<hdf5::File>> files;
  std::uint64_t bytes = 0;
  for (const SweepMember& member : members) {
    auto& file = files[member.path];
    if (file) continue;
    file = std::make_unique<hdf5::File>(open_results(member.path));
    bytes += std::filesystem::file_size(member.path);
  }
  ResultsWriter results(output, title, true, bytes);
  for (const SweepMember& member : members) {
    results.copy_run(member.variant, member.seed, files.at(member.path)->root());
  }
  results.expectations(expectations);
  results.provenance(provenance);
  int number = 0;
  std::set<std::string> noted;
  for (const SweepMember& member : members) {
    if (!noted.insert(member.path).second) continue;
    results.copy_provenance(fmt::format("parts/{}", ++number), files.at(member.path)->root());
    results.provenance(fmt::format("parts/{}/file", number), member.path);
  }
  results.finish();
}

}  // namespace rankine
