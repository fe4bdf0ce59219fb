#include "src/deck/deck.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/deck/fragments.hpp"
#include "src/deck/overrides.hpp"
#include "src/deck/tree.hpp"
#include "src/deck/variants.hpp"

namespace rankine {

using deck::Tree;

namespace {

std::size_t count_values(const Tree& tree) {
  std::size_t count = 1;
  for (const auto& item : tree.items) count += count_values(*item);
  for (const auto& entry : tree.entries) count += count_values(*entry.value);
  return count;
}

void check_only(const std::vector<std::string>& only, const deck::Plan& plan, const std::string& file) {
  const std::vector<std::string> known = plan.names();
  for (const std::string& name : only) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::vector<std::string> variants;
    for (const deck::VariantPlan& variant : plan.variants) variants.push_back(variant.name);
    const std::string hint = did_you_mean(name, known);
    throw InputError("--only " + printable(name) + ": " + file + " has no such variant" +
                     (hint.empty() ? ";" : hint) +
                     (variants.empty() ? " (it has none at all)" : " (variants: " + join(variants) + ")"));
  }
}

void check_size(const deck::Plan& plan, const Tree& sections) {
  const std::size_t shared = count_values(sections);
  std::size_t values = 0;
  for (const deck::VariantPlan& variant : plan.variants) {
    values += shared;
    for (const auto& layer : variant.layers) values += count_values(*layer);
    if (values > deck::max_values) {
      deck::fail(variant.mark, "the variants have more than " + std::to_string(deck::max_values) +
                                   " values in all; make fewer of them, or spread them over several decks");
    }
  }
}

/// `swept`: texts of the sections of variants that a sweep has made, and the variant that has them.
void check_that_sweeps_differ(const deck::VariantPlan& variant, const Tree& sections,
                              std::map<std::string, std::string>& swept) {
  if (variant.names.size() < 2) return;
  const std::string& base = variant.names.back();
  const auto [same, is_new] = swept.emplace(base + "\n" + deck::write_yaml(sections, 0), variant.name);
  if (is_new) return;
  deck::fail(variant.mark, "the sweep makes '" + same->second + "' and '" + variant.name +
                               "' equal, because the variant '" + base +
                               "' sets what the deck sweeps; give it a sweep of its own, or `sweep: {}`");
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
                     "' is not a time; allowed: HH:MM:SS or D-HH:MM:SS, for example 01:30:00");
  }
  return 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds;
}

void CheckpointOptions::options(OptionVisitor& o) {
  o("directory", directory,
    {.help = "folder for checkpoints, made when the first is written, in which everything else is left "
             "alone; empty: <results file>.checkpoints"});
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

Deck::Deck(const std::string& text, const std::string& file, const DeckRequest& request,
           const FragmentReader& read)
    : text_(text), file_(file), root_(parse_deck_text(text, file)) {
  const std::shared_ptr<Tree> own = deck::copy(root_.tree());
  Tree& root = root_.tree();
  for (const char* key : deck::own_sections) root.ask(key);

  // Merge the deck with its fragments first. Smoke sizes and variants override the result.
  deck::Fragments fragments(read);
  std::vector<std::shared_ptr<Tree>> layers = fragments.take(*own, file);
  layers.push_back(own);
  const deck::Plan plan = deck::plan_of(layers, fragments);
  root.entries.clear();
  for (const auto& layer : layers) deck::merge(root, *layer);
  fragments_ = fragments.read();
  has_variants_ = !plan.variants.empty();
  for (const deck::VariantPlan& variant : plan.variants) all_variants_.push_back(variant.name);
  check_only(request.only, plan, file);

  const deck::LaidOver over = deck::laid_over(plan, request, file);
  for (const deck::Overrides& each : over.laid) deck::merge(root, *each.own);
  read_own_sections();
  make_variants(plan, over, request);
}

void Deck::read_own_sections() {
  root_.section("about").read(about_);
  const DeckNode run = root_.child("run");
  run.read(run_);
  experiment_ = run.child("experiment");
  root_.section("checkpoint").read(checkpoint_);
  if (root_.has("petsc_options")) petsc_options_ = root_.child("petsc_options").as_texts();
  if (root_.has("expect")) {
    const DeckNode list = root_.child("expect");
    if (!list.is_sequence())
      list.error("'expect' must be a list of comparisons, for example [mean(test_accuracy) >= 0.9]");
    for (const DeckNode& item : list.items()) {
      expect_.push_back({item.as_text(), item});
    }
  }
}

/// The experiment's sections, once for each variant.
void Deck::make_variants(const deck::Plan& plan, const deck::LaidOver& over, const DeckRequest& request) {
  const Tree& root = root_.tree();
  Tree sections;
  sections.kind = Tree::Kind::mapping;
  sections.mark = root.mark;
  sections.asked = root.asked;  // so that "did you mean" can suggest a section such as 'about'
  for (const Tree::Entry& entry : root.entries) {
    if (!deck::is_own_section(entry.key)) sections.entries.push_back(entry);
  }
  check_size(plan, sections);
  const std::filesystem::path parent = std::filesystem::path(file_).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  std::map<std::string, std::string> swept;
  const auto add = [&](const deck::VariantPlan& variant) {
    const std::shared_ptr<Tree> merged = deck::copy(sections);
    for (const auto& layer : variant.layers) deck::merge_into_variant(*merged, *layer, variant.name);
    check_that_sweeps_differ(variant, *merged, swept);
    if (!request.smoke) {  // a trial merge finds smoke sizes that name list items which do not exist
      const std::shared_ptr<Tree> small = deck::copy(*merged);
      deck::lay(*small, variant, over.sizes, true);
    }
    deck::lay(*merged, variant, over.laid, request.smoke);
    const auto context = std::make_shared<const deck::Context>(deck::Context{variant.name, folder});
    variants_.push_back({variant.name, DeckNode(merged, context, "")});
  };
  for (const deck::VariantPlan& variant : plan.variants) {
    const auto wanted = [&](const std::string& name) {
      return std::find(request.only.begin(), request.only.end(), name) != request.only.end();
    };
    if (request.only.empty() || std::any_of(variant.names.begin(), variant.names.end(), wanted)) add(variant);
  }
  if (plan.variants.empty()) {
    add({"", {""}, root.mark, {}, {}});
    variants_.front().name = "default";
    all_variants_.emplace_back("default");
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

std::optional<double> Deck::number_at(const std::string& variant, const std::string& path) const {
  const auto found = std::find_if(variants_.begin(), variants_.end(),
                                  [&](const Variant& each) { return each.name == variant; });
  if (found == variants_.end()) return std::numeric_limits<double>::quiet_NaN();
  const Tree* at = deck::at_path(found->node.tree(), path);
  double value = 0;
  const bool is_number =
      at != nullptr && at->kind == Tree::Kind::scalar && !at->quoted && deck::parse_number(at->scalar, value);
  return is_number ? std::optional(value) : std::nullopt;
}

std::string Deck::resolved() const {
  std::string out;
  for (const char* key : {"about", "run", "petsc_options", "checkpoint"}) {
    if (const Tree::Entry* entry = root_.tree().find(key)) out += section_text(key, *entry->value);
  }
  if (!has_variants_) {
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
