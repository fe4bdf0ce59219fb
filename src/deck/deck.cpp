#include "src/deck/deck.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/deck/tree.hpp"

namespace rankine {

using deck::Tree;

namespace {

// Sections of the deck that are not the experiment's.
constexpr std::array<const char*, 7> own_sections{"about", "run",      "petsc_options", "checkpoint",
                                                  "smoke", "variants", "expect"};

bool is_own(const std::string& key) {
  return std::find(own_sections.begin(), own_sections.end(), key) != own_sections.end();
}

[[noreturn]] void fail(const deck::Mark& mark, const std::string& message) {
  throw InputError(mark.text() + ": " + message);
}

std::shared_ptr<Tree> empty_mapping(const deck::Mark& mark) {
  auto tree = std::make_shared<Tree>();
  tree->kind = Tree::Kind::mapping;
  tree->mark = mark;
  return tree;
}

/// Overrides of a deck: those of its own sections, those of single variants, those of the experiment's
/// sections.
struct Overrides {
  std::shared_ptr<Tree> own, variants, sections;
};

/// Splits `given`, whose keys may be dotted, and checks that the variants exist.
Overrides split(const Tree& given, const std::vector<std::string>& variants, bool may_set_expect) {
  const std::shared_ptr<Tree> nested = deck::copy(given);
  deck::expand_dotted_keys(*nested);
  Overrides result{empty_mapping(given.mark), empty_mapping(given.mark), empty_mapping(given.mark)};
  for (const Tree::Entry& entry : nested->entries) {
    if (entry.key == "smoke" || (entry.key == "expect" && !may_set_expect)) {
      fail(entry.mark, "'" + entry.key + "' cannot be overridden here");
    }
    if (entry.key != "variants") {
      (is_own(entry.key) ? result.own : result.sections)->entries.push_back(entry);
      continue;
    }
    if (entry.value->kind != Tree::Kind::mapping) {
      fail(entry.mark, "'variants' must name a variant here: variants.NAME.path.to.key");
    }
    for (const Tree::Entry& variant : entry.value->entries) {
      if (std::find(variants.begin(), variants.end(), variant.key) == variants.end()) {
        const std::string hint = did_you_mean(variant.key, variants);
        fail(variant.mark,
             "unknown variant '" + printable(variant.key) + "'" + (hint.empty() ? ";" : hint) +
                 (variants.empty() ? " (the deck has none)" : " (variants: " + join(variants) + ")"));
      }
      const bool is_mapping = variant.value->kind == Tree::Kind::mapping;
      if (!is_mapping) fail(variant.mark, "a variant is a mapping of overrides: variants.NAME.path.to.key");
      deck::expand_dotted_keys(*variant.value);
    }
    result.variants = entry.value;
  }
  return result;
}

void check_variant(const Tree::Entry& variant) {
  const std::string& name = variant.key;
  const bool fits =
      !name.empty() && name.size() <= 64 &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+") ==
          std::string::npos;
  if (!fits) {
    fail(variant.mark,
         "variant name '" + printable(name) + "'; allowed: up to 64 letters, digits, '_', '-' and '+'");
  }
  if (variant.value->kind == Tree::Kind::null) return;
  if (variant.value->kind != Tree::Kind::mapping) {
    fail(variant.value->mark, "variant '" + name + "' must be a mapping of overrides, or nothing");
  }
  for (const Tree::Entry& entry : variant.value->entries) {
    const std::string first = entry.key.substr(0, entry.key.find('.'));
    if (is_own(first)) {
      fail(entry.mark,
           "'" + first + "' cannot differ between variants; a variant overrides the experiment's sections");
    }
  }
}

std::shared_ptr<Tree> parse_set(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  const std::string path = assignment.substr(0, equals);
  if (equals == std::string::npos || path.empty()) {
    throw InputError("--set " + printable(assignment) +
                     ": must be path.to.key=value, for example train.steps=50");
  }
  const std::string source = "--set " + printable(path);
  const std::string text = assignment.substr(equals + 1);
  std::shared_ptr<Tree> value;
  const bool says_null = text == "null" || text == "~" || text.find_first_not_of(" \t") == std::string::npos;
  if (says_null) {
    value = std::make_shared<Tree>();
    value->mark.source = std::make_shared<const std::string>(source);
  } else {
    value = deck::parse_yaml(text, source, false);
  }
  auto tree = empty_mapping(value->mark);
  tree->entries.push_back({path, value->mark, value, false});
  return tree;
}

void merge_sections(Tree& variant, const Overrides& overrides, const std::string& name) {
  deck::merge(variant, *overrides.sections);
  if (const Tree::Entry* own = overrides.variants->find(name)) deck::merge(variant, *own->value);
}

std::string section_text(const char* name, const Tree& tree) {
  Tree holder;
  holder.kind = Tree::Kind::mapping;
  holder.entries.push_back({name, {}, deck::copy(tree), false});
  return deck::write_yaml(holder, 0);
}

}  // namespace

void AboutOptions::options(OptionVisitor& o) {
  o("title", title, {.help = "name of the run, stored with the results"});
  o("id", id, {.help = "of a catalogue deck: the method's number in the catalogue, such as \"0.03\""});
  o("name", name, {.help = "of a catalogue deck: the method's full name"});
  o("claim", claim, {.help = "one sentence: what this deck shows"});
  o("minutes", minutes, {.help = "how long it takes on 2 cores", .unit = "min", .min = 0});
}

void RunOptions::options(OptionVisitor& o) {
  o("experiment", experiment, {.help = "what to run; see `rankine list experiment`", .required = true});
  o("ranks", ranks,
    {.help = "number of MPI ranks that the deck is meant for; results do not depend on it", .min = 1});
  o("concurrent", concurrent,
    {.help = "into how many groups the ranks are split, which run different variants and seeds at the same "
             "time (task parallelism; each run has ranks / concurrent ranks). At most one group a rank and a "
             "run is made; results do not depend on it",
     .min = 1});
  o("seeds", seeds, {.help = "every variant is run once for each", .min = 0, .min_size = 1});
  o("output", output, {.help = "results file; missing folders are made", .file = FileUse::results_output});
  o("walltime", walltime,
    {.help =
         "HH:MM:SS or D-HH:MM:SS after the start the job must have stopped, with a checkpoint and exit code "
         "75; empty: as long as it takes, or until SLURM_JOB_END_TIME, whichever is earlier"});
}

std::optional<double> RunOptions::walltime_seconds() const {
  if (walltime.empty()) return std::nullopt;
  int days = 0, hours = 0, minutes = 0, seconds = 0, used = 0;
  const char* text = walltime.c_str();
  const auto whole = [&] { return static_cast<std::size_t>(used) == walltime.size(); };
  bool good =
      std::sscanf(text, "%4d-%2d:%2d:%2d%n", &days, &hours, &minutes, &seconds, &used) == 4 && whole();
  if (!good) {
    days = 0;
    good = std::sscanf(text, "%6d:%2d:%2d%n", &hours, &minutes, &seconds, &used) == 3 && whole();
  }
  good = good && days >= 0 && hours >= 0 && minutes >= 0 && seconds >= 0 && minutes < 60 && seconds < 60;
  if (!good) {
    throw InputError("'run.walltime': '" + printable(walltime) +
                     "' is no time; allowed: HH:MM:SS or D-HH:MM:SS, for example 01:30:00");
  }
  return 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds;
}

void CheckpointOptions::options(OptionVisitor& o) {
  o("directory", directory,
    {.help = "folder for checkpoints, made when the first is written, in which everything else is left "
             "alone; empty: "
             "<results file>.checkpoints"});
  o("every_steps", every_steps,
    {.help = "steps between checkpoints; 0: none for the number of steps", .unit = "steps", .min = 0});
  o("every_minutes", every_minutes,
    {.help =
         "minutes between checkpoints; 0: none for the time. A signal or the end of the wall time writes one "
         "in any case",
     .unit = "min",
     .min = 0});
  o("keep_last", keep_last, {.help = "how many of the newest stay", .min = 1});
  o("keep_every", keep_every, {.help = "every how manieth stays for good; 0: none", .min = 0});
}

void RunOptions::validate(const DeckNode& node) const {
  if (std::set<int>(seeds.begin(), seeds.end()).size() != seeds.size()) {
    node.child("seeds").error("'run.seeds' names a seed twice; each must be different");
  }
  if (output.empty())
    node.child("output").error("'run.output' is empty; allowed: the path of the results file");
  try {
    walltime_seconds();
  } catch (const InputError& error) {
    node.child("walltime").error(error.what());
  }
}

Deck::Deck(const std::string& text, const std::string& file, const DeckRequest& request)
    : text_(text), file_(file), root_(parse_deck_text(text, file)) {
  Tree& root = root_.tree();
  for (const char* key : own_sections) root.ask(key);

  // The variants as the deck gives them.
  std::shared_ptr<Tree> given_variants = empty_mapping(root.mark);
  if (const Tree::Entry* entry = root.find("variants")) {
    if (entry->value->kind != Tree::Kind::mapping) {
      fail(entry->value->mark, "'variants' must be a mapping: name of the variant: what it overrides");
    }
    if (entry->value->entries.empty())
      fail(entry->value->mark, "'variants' is empty; leave it out, or name one");
    given_variants = entry->value;
    for (Tree::Entry& variant : given_variants->entries) {
      check_variant(variant);
      all_variants_.push_back(variant.key);
      if (variant.value->kind == Tree::Kind::mapping) deck::expand_dotted_keys(*variant.value);
    }
  }

  // What is laid over it: the smoke sizes, then --set in the order given.
  std::vector<Overrides> overrides;
  if (const Tree::Entry* smoke = root.find("smoke")) {
    if (smoke->value->kind != Tree::Kind::mapping) {
      fail(smoke->value->mark, "'smoke' must be a mapping of overrides, for example {train.steps: 3}");
    }
    Overrides sizes =
        split(*smoke->value, all_variants_, false);  // a wrong one is an error without --smoke too
    if (request.smoke) overrides.push_back(std::move(sizes));
  } else if (request.smoke) {
    throw InputError(file +
                     ": --smoke was given, but the deck has no 'smoke:' section; add one, for example "
                     "smoke: {train.steps: 3}");
  }
  for (const std::string& assignment : request.set) {
    overrides.push_back(split(*parse_set(assignment), all_variants_, true));
  }

  // The deck's own sections.
  for (const Overrides& over : overrides) deck::merge(root, *over.own);
  root_.section("about").read(about_);
  const DeckNode run = root_.child("run");
  run.read(run_);
  experiment_ = run.child("experiment");
  root_.section("checkpoint").read(checkpoint_);
  if (root_.has("petsc_options")) petsc_options_ = root_.child("petsc_options").as_texts();
  if (root_.has("expect")) {
    const DeckNode list = root_.child("expect");
    if (!list.is_sequence()) list.error("'expect' must be a list of comparisons");
    for (const DeckNode& item : list.items()) {
      expect_.push_back({item.as_text(), item});
    }
  }

  // The experiment's sections, once for each variant.
  Tree sections;
  sections.kind = Tree::Kind::mapping;
  sections.mark = root.mark;
  sections.asked = root.asked;  // for "did you mean 'about'?"
  for (const Tree::Entry& entry : root.entries) {
    if (!is_own(entry.key)) sections.entries.push_back(entry);
  }
  const std::filesystem::path parent = std::filesystem::path(file).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const auto add = [&](const std::string& name, const Tree* own, const std::string& context) {
    const std::shared_ptr<Tree> merged = deck::copy(sections);
    if (own != nullptr && own->kind == Tree::Kind::mapping) deck::merge(*merged, *own);
    for (const Overrides& over : overrides) merge_sections(*merged, over, name);
    variants_.push_back(
        {name, DeckNode(merged, std::make_shared<const deck::Context>(deck::Context{context, folder}), "")});
  };
  for (const std::string& name : request.only) {
    if (std::find(all_variants_.begin(), all_variants_.end(), name) == all_variants_.end()) {
      const std::string hint = did_you_mean(name, all_variants_);
      throw InputError(
          "--only " + printable(name) + ": " + file + " has no such variant" + (hint.empty() ? ";" : hint) +
          (all_variants_.empty() ? " (it has none at all)" : " (variants: " + join(all_variants_) + ")"));
    }
  }
  for (const Tree::Entry& variant : given_variants->entries) {
    const bool wanted = request.only.empty() || std::find(request.only.begin(), request.only.end(),
                                                          variant.key) != request.only.end();
    if (wanted) add(variant.key, variant.value.get(), variant.key);
  }
  if (all_variants_.empty()) {
    all_variants_.emplace_back("default");
    add("default", nullptr, "");
  }
}

namespace {

/// Adds the leaves of `tree` below `path`.
void flatten(const Tree& tree, const std::string& path, std::map<std::string, std::string>& out) {
  switch (tree.kind) {
    case Tree::Kind::mapping:
      for (const Tree::Entry& entry : tree.entries) {
        flatten(*entry.value, path.empty() ? entry.key : path + "." + entry.key, out);
      }
      return;
    case Tree::Kind::sequence:
      for (std::size_t i = 0; i < tree.items.size(); ++i) {
        flatten(*tree.items[i], path + "[" + std::to_string(i) + "]", out);
      }
      out[path + ".size"] = std::to_string(tree.items.size());
      return;
    case Tree::Kind::null:
      out[path] = "null";
      return;
    case Tree::Kind::scalar:
      break;
  }
  double number = 0;
  if (!tree.quoted && deck::parse_number(tree.scalar, number)) {
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", number);
    out[path] = text;
  } else {
    out[path] = tree.scalar;
  }
}

void collect_files(const Tree& tree, const std::string& path, const std::string& variant,
                   std::vector<DeckFile>& out) {
  for (const Tree::Entry& entry : tree.entries)
    collect_files(*entry.value, path.empty() ? entry.key : path + "." + entry.key, variant, out);
  for (std::size_t i = 0; i < tree.items.size(); ++i)
    collect_files(*tree.items[i], path + "[" + std::to_string(i) + "]", variant, out);
  if (tree.file != FileUse::none && !tree.scalar.empty())
    out.push_back({path, tree.scalar, tree.file, variant, tree.mark.text()});
}

void collect_snapshots(const Tree& tree, const std::string& path, std::vector<SnapshotReference>& out) {
  for (const Tree::Entry& entry : tree.entries)
    collect_snapshots(*entry.value, path.empty() ? entry.key : path + "." + entry.key, out);
  for (std::size_t i = 0; i < tree.items.size(); ++i)
    collect_snapshots(*tree.items[i], path + "[" + std::to_string(i) + "]", out);
  const std::size_t at = tree.snapshot ? tree.scalar.find('@') : std::string::npos;
  if (at != std::string::npos)
    out.push_back({tree.scalar.substr(0, at), tree.scalar.substr(at + 1), path, tree.mark.text()});
}

}  // namespace

std::vector<SnapshotReference> Deck::snapshots(const std::string& variant) const {
  std::vector<SnapshotReference> out;
  for (const Variant& each : variants_)
    if (each.name == variant) collect_snapshots(each.node.tree(), "", out);
  return out;
}

std::vector<DeckFile> Deck::files(const std::string& variant) const {
  std::vector<DeckFile> out;
  for (const Variant& each : variants_)
    if (each.name == variant) collect_files(each.node.tree(), "", variant, out);
  return out;
}

std::map<std::string, std::string> Deck::settings(const std::string& variant) const {
  std::map<std::string, std::string> out;
  out["run.experiment"] = run_.experiment;
  for (const std::string& word : petsc_options_) out["petsc_options"] += " " + word;
  for (const Variant& each : variants_) {
    if (each.name == variant) flatten(each.node.tree(), "", out);
  }
  for (const SnapshotReference& snapshot : snapshots(variant)) {
    if (snapshot.variant == variant) continue;
    for (const auto& [key, value] : settings(snapshot.variant))
      out.emplace(snapshot.variant + "@" + key, value);
  }
  return out;
}

std::string Deck::resolved() const {
  std::string out;
  for (const char* key : {"about", "run", "petsc_options", "checkpoint"}) {
    if (const Tree::Entry* entry = root_.tree().find(key)) out += section_text(key, *entry->value);
  }
  const bool plain = root_.tree().find("variants") == nullptr;
  if (plain) {
    out += variants_.front().node.tree().entries.empty() ? "" : variants_.front().node.yaml();
  } else {
    out += "variants:\n";
    for (const Variant& variant : variants_) {
      const bool empty = variant.node.tree().entries.empty();
      out += "  " + variant.name + ":" + (empty ? " {}\n" : "\n" + variant.node.yaml(4));
    }
  }
  if (const Tree::Entry* entry = root_.tree().find("expect")) out += section_text("expect", *entry->value);
  return out;
}

std::string Deck::read_file(const std::string& path) {
  std::error_code code;
  const std::filesystem::file_status status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) throw InputError(printable(path, 400) + ": there is no such file");
  if (std::filesystem::is_directory(status)) {
    throw InputError(printable(path, 400) + ": this is a directory; a deck is a YAML file");
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw InputError(printable(path, 400) + ": cannot be read: " + std::strerror(errno));
  std::string text((std::size_t{1} << 20U) + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) throw InputError(printable(path, 400) + ": cannot be read: " + std::strerror(errno));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

}  // namespace rankine
