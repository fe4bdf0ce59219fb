#include "src/cli/catalogue.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <limits>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/error.hpp"
#include "kernels/runtime.hpp"
#include "src/cli/program.hpp"
#include "src/core/clock.hpp"
#include "src/core/console.hpp"
#include "src/core/strings.hpp"
#include "src/io/data_file.hpp"
#include "src/io/files.hpp"
#include "src/io/info.hpp"
#include "src/io/provenance.hpp"
#include "src/io/safe_file.hpp"
#include "src/run/driver.hpp"
#include "src/run/settings.hpp"

namespace rankine::cli {
namespace {

namespace fs = std::filesystem;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr const char* result_ending = ".result";

double number_or_nan(const nlohmann::json& value) { return value.is_number() ? value.get<double>() : nan; }

/// The text in a cell of a Markdown table.
std::string cell(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') text[i] = ' ';
    if (text[i] == '|') text.insert(i++, 1, '\\');
  }
  return text;
}

std::string state_of(const CatalogueDeck& deck) {
  if (!deck.result) return "not run";
  if (deck.stale) return "stale";
  return deck.result->verdict == "pass"   ? "passes"
         : deck.result->verdict == "fail" ? "fails"
                                          : deck.result->verdict;
}

/// Names what a deck asks for: the settings that checkpoints compare, seeds and expectations, with all
/// fragments. Titles, comments and the number of ranks change nothing.
std::string hash_of(const Deck& deck) {
  std::string text = fmt::format("{}\n", fmt::join(deck.run().seeds, " "));
  for (const Deck::Variant& variant : deck.variants())
    text += variant.name + "\n" + settings_text(deck.settings(variant.name));
  for (const ExpectLine& line : deck.expect()) text += line.text + "\n";
  return xxh3_text(text);
}

std::string hash_of_file(const std::string& path) {
  return hash_of(Deck(Deck::read_file(path), path, {}, Deck::read_fragment));
}

/// Of the deck that a results file was made from.
std::string hash_of_run(const nlohmann::json& provenance) {
  return hash_of(Deck(provenance.value("deck", ""), provenance.value("deck_path", "deck"), {},
                      stored_fragments(provenance.value("fragments", ""))));
}

/// Whether the file holds all runs of the deck as it is now, at these sizes, made by this revision.
bool complete_results(const std::string& path, const std::string& deck, bool smoke) {
  if (!fs::is_regular_file(path)) return false;
  try {
    const auto info = nlohmann::json::parse(info_json(path));
    const auto& provenance = info["provenance"];
    return info["missing"].get<std::string>().empty() &&
           provenance.value("git_revision", "") == build_info().git_revision &&
           provenance.value("smoke", "") == (smoke ? "true" : "false") &&
           hash_of_run(provenance) == hash_of_file(deck);
  } catch (const InputError&) {
    return false;  // damaged, or no results: the run says so
  }
}

std::string today() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

}  // namespace

CatalogueResult CatalogueResult::of_results(const std::string& results_path) {
  const auto info = nlohmann::json::parse(info_json(results_path));
  CatalogueResult out;
  const auto any = [&](const char* verdict) {
    return std::any_of(out.lines.begin(), out.lines.end(),
                       [&](const Line& l) { return l.verdict == verdict; });
  };
  for (const auto& e : info["expectations"]) {
    Line line{e["expression"].get<std::string>(), e["outcome"].get<std::string>(),
              number_or_nan(e["value_left"]), number_or_nan(e["value_right"]),
              number_or_nan(e["standard_error"])};
    out.lines.push_back(std::move(line));
  }
  out.verdict = out.lines.empty()  ? "no bar"
                : any("fail")      ? "fail"
                : any("void")      ? "void"
                : any("undecided") ? "undecided"
                                   : "pass";
  out.date = today();
  const auto& provenance = info["provenance"];
  out.revision = provenance.value("git_revision", "");
  const std::string ranks = provenance.value("ranks", "?"), cores = provenance.value("cores", "?");
  out.machine = fmt::format("{}{} cores, {}", ranks == cores ? "" : ranks + " ranks on ", cores,
                            provenance.value("processor", "?"));
  out.deck = hash_of_run(provenance);
  return out;
}

CatalogueResult CatalogueResult::read(const std::string& path) {
  CatalogueResult out;
  const DeckNode node = parse_deck_text(read_file(path), path);
  const auto number = [](const DeckNode& in, const char* key) {
    return in.has(key) ? in.child(key).as_number({.allow_not_finite = true}) : nan;
  };
  out.verdict = node.child("verdict").as_text();
  out.minutes = node.has("minutes") ? number(node, "minutes") : 0;
  out.date = node.child("date").as_text();
  out.revision = node.child("revision").as_text();
  out.machine = node.child("machine").as_text();
  if (node.has("deck")) out.deck = node.child("deck").as_text();
  if (node.has("expectations")) {
    for (const DeckNode& item : node.child("expectations").items()) {
      out.lines.push_back({item.child("expression").as_text(), item.child("verdict").as_text(),
                           number(item, "left"), number(item, "right"), number(item, "standard_error")});
      item.reject_unread_keys();
    }
  }
  node.reject_unread_keys();
  return out;
}

std::string CatalogueResult::yaml() const {
  std::string out(catalogue_result_start);
  out += fmt::format("verdict: {}\n", yaml_scalar(verdict));
  if (minutes > 0) out += fmt::format("minutes: {:.1f}\n", minutes);
  out += fmt::format("date: \"{}\"\nrevision: \"{}\"\nmachine: {}\n", date, revision, yaml_scalar(machine));
  if (!deck.empty()) out += fmt::format("deck: \"{}\"\n", deck);
  if (!lines.empty()) out += "expectations:\n";
  for (const Line& line : lines) {
    out += fmt::format("  - expression: {}\n    verdict: {}\n", yaml_scalar(line.expression), line.verdict);
    const std::pair<const char*, double> numbers[] = {
        {"left", line.left}, {"right", line.right}, {"standard_error", line.standard_error}};
    for (const auto& [key, value] : numbers)
      if (std::isfinite(value)) out += fmt::format("    {}: {:.6g}\n", key, value);
  }
  return out;
}

std::string CatalogueResult::measured(const Line& line) {
  if (std::isnan(line.left))
    return line.verdict == "pass" ? "holds" : line.verdict == "fail" ? "false" : line.verdict;
  std::string out = fmt::format("{:.4g} against {:.4g}", line.left, line.right);
  if (!std::isnan(line.standard_error)) out += fmt::format(" (s.e. {:.2g})", line.standard_error);
  return out;
}

Catalogue::Catalogue(const std::string& folder) : folder_(folder) {
  if (!fs::is_directory(folder))
    throw InputError(
        "catalogue: there is no folder '" + folder +
        "'; call it from the folder that holds inputs/, or name that of the decks with --folder");
  const std::string table = folder + "/catalogue/systems.tsv";
  if (fs::is_regular_file(table)) {
    std::istringstream lines(read_file(table));
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
      ++number;
      if (line.empty() || line[0] == '#') continue;
      std::vector<std::string> cells{""};
      for (const char c : line) {
        if (c == '\t')
          cells.emplace_back();
        else
          cells.back() += c;
      }
      if (cells.size() != 4)
        throw InputError(
            fmt::format("{}:{}: {} cells; allowed: id, family, name and title, with tabs between", table,
                        number, cells.size()));
      systems_.push_back({cells[0], cells[1], cells[2], cells[3]});
    }
  }
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().string();
    if (entry.path().extension() != ".yaml") continue;
    const DeckNode deck = parse_deck_text(Deck::read_file(path), path);
    AboutOptions about;
    about.options(*deck.section("about").reader());
    if (about.id.empty()) continue;  // a deck that stands for no published system
    std::string name = fs::relative(entry.path(), folder).replace_extension().string();
    if (name.starts_with("catalogue/")) name.erase(0, 10);
    CatalogueDeck found{about.id,     name, about.name.empty() ? about.title : about.name,
                        about.claim,  path, about.minutes,
                        std::nullopt, false};
    const std::string result = path.substr(0, path.size() - 5) + result_ending;
    if (fs::is_regular_file(result)) found.result = CatalogueResult::read(result);
    if (found.result && !found.result->deck.empty()) found.stale = found.result->deck != hash_of_file(path);
    decks_.push_back(std::move(found));
  }
  std::sort(decks_.begin(), decks_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

std::string Catalogue::text() const {
  struct Row {
    std::string id, name, state, measured, minutes, title;
  };
  std::vector<Row> rows;
  std::size_t width = 0, measured = 0;
  const auto add = [&](Row row) {
    width = std::max(width, row.name.size());
    measured = std::max(measured, row.measured.size());
    rows.push_back(std::move(row));
  };
  const auto add_deck = [&](const CatalogueDeck& deck) {
    Row row{deck.id, deck.name, state_of(deck), "", "", deck.title};
    if (deck.result && !deck.result->lines.empty())
      row.measured = CatalogueResult::measured(deck.result->lines.front());
    if (deck.result && deck.result->minutes > 0)
      row.minutes = fmt::format("{:.1f} min", deck.result->minutes);
    add(std::move(row));
  };
  std::map<std::string, int> known;
  for (const CatalogueSystem& system : systems_) {
    known[system.id] = 1;
    bool built = false;
    for (const CatalogueDeck& deck : decks_) {
      if (deck.id != system.id) continue;
      built = true;
      add_deck(deck);
    }
    if (!built) add({system.id, system.family + "/" + system.name, "not built", "", "", system.title});
  }
  for (const CatalogueDeck& deck : decks_)
    if (!known.contains(deck.id)) add_deck(deck);
  std::string out;
  std::map<std::string, int> counts;
  for (const Row& row : rows) {
    ++counts[row.state];
    out += fmt::format("{:<5} {:<{}}  {:<9}  {:<{}}  {:>9}  {}\n", row.id, row.name, width, row.state,
                       row.measured, measured, row.minutes, row.title);
  }
  if (rows.empty()) return "no decks below " + folder_ + "\n";
  std::vector<std::string> sums;
  for (const auto& [state, count] : counts) sums.push_back(fmt::format("{} {}", count, state));
  return out + join(sums) + "\n";
}

std::string Catalogue::status_path() const { return folder_ + "/catalogue/STATUS.md"; }

std::string Catalogue::status() const {
  std::string out(catalogue_status_start);
  out +=
      "\nWritten by `rankine catalogue run`, from the results beside the decks, which come from runs that "
      "trained from scratch.\n"
      "`undecided`: the two sides of an expectation are less than one standard error over the seeds apart, or "
      "a test shows neither the claim nor its opposite.\n"
      "`void`: a condition without which the run says nothing is not met. Neither is a pass.\n"
      "`stale`: the deck has changed since.\n\n"
      "| id | deck | name | claim | bar | measured | verdict | minutes | date | revision | machine |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|\n";
  std::vector<std::string> unknown;
  for (const CatalogueDeck& deck : decks_) {
    if (!deck.result) continue;
    const CatalogueResult& r = *deck.result;
    if (r.deck.empty()) unknown.push_back(deck.name);
    std::vector<std::string> bars, measured;
    for (const CatalogueResult::Line& line : r.lines) {
      bars.push_back("`" + cell(line.expression) + "`");
      measured.push_back(CatalogueResult::measured(line));
    }
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", deck.id, deck.name,
                       cell(deck.title), cell(deck.claim), join(bars, "<br>"), join(measured, "<br>"),
                       r.verdict + (deck.stale ? ", stale" : ""),
                       r.minutes > 0 ? fmt::format("{:.1f}", r.minutes) : "-", r.date,
                       r.revision.substr(0, 9), cell(r.machine));
  }
  if (!unknown.empty())
    out += "\nUnknown deck (measured before results held its hash; it may have changed since): " +
           join(unknown) + ".\n";
  return out;
}

std::vector<CatalogueDeck> Catalogue::chosen(const std::vector<std::string>& words) const {
  std::vector<bool> take(decks_.size(), false);
  for (const std::string& word : words) {
    bool any = false;
    for (std::size_t i = 0; i < decks_.size(); ++i) {
      const CatalogueDeck& deck = decks_[i];
      const std::size_t slash = deck.name.find('/');
      const auto system = std::find_if(systems_.begin(), systems_.end(), [&](const CatalogueSystem& s) {
        return s.id == deck.id && (s.name == word || s.family + "/" + s.name == word);
      });
      if (word != "all" && word != deck.name && word != deck.id && word != deck.name.substr(0, slash) &&
          word != deck.name.substr(slash + 1) && system == systems_.end())
        continue;
      any = take[i] = true;
    }
    if (any) continue;
    std::vector<std::string> names;
    for (const CatalogueDeck& deck : decks_) names.push_back(deck.name);
    for (const CatalogueSystem& system : systems_)
      if (system.name == word || system.id == word || system.family + "/" + system.name == word)
        throw InputError(fmt::format("catalogue: {} ({}) has no deck yet; there are: {}", printable(word),
                                     system.title, join(names)));
    throw InputError(
        fmt::format("catalogue: no deck, family or system is called '{}'{} there are: {}", printable(word),
                    did_you_mean(word, names).empty() ? ";" : did_you_mean(word, names), join(names)));
  }
  std::vector<CatalogueDeck> out;
  for (std::size_t i = 0; i < decks_.size(); ++i)
    if (take[i]) out.push_back(decks_[i]);
  return out;
}

int run_catalogue(const Communicator& world, const Rendezvous& rendezvous, const ProgramTables& tables,
                  const CatalogueRun& arguments) {
  Log log(std::cout, Log::style_of_stdout(world.is_root()), Log::colors_wanted());
  ensure_kokkos();  // for all decks: it starts once in a process
  std::vector<CatalogueDeck> decks;
  world.together([&] { decks = Catalogue(arguments.folder).chosen(arguments.what); });
  const DeckRequest& request = arguments.run.request;
  int worst = ExitCode::done;
  for (std::size_t i = 0; i < decks.size(); ++i) {
    if (request.tasks > 0 && static_cast<int>(i) % request.tasks != request.task - 1) continue;
    const CatalogueDeck& deck = decks[i];
    RunArguments run = arguments.run;
    run.deck = deck.path;
    run.request = {.smoke = request.smoke};
    run.output = arguments.work + "/" + deck.name + ".h5";
    run.restart = arguments.again ? "never" : "auto";
    bool complete = false;
    if (!arguments.again) {
      world.on_root([&] { complete = complete_results(run.output, deck.path, request.smoke); });
      world.broadcast(complete);
    }
    const Stopwatch watch;
    if (!complete) {
      log.line("== " + deck.name);
      int code = ExitCode::done;
      try {
        code = run_deck(world, rendezvous, tables, run);
      } catch (const std::exception& failure) {  // on all ranks
        if (world.is_root()) std::cerr << fmt::format("rankine: error: {}\n", failure.what()) << std::flush;
        code = exit_code_of(failure);
      }
      if (code == ExitCode::requeue) return code;
      if (code != ExitCode::done && code != ExitCode::expectation_false) {
        log.line(fmt::format("== {}: ended with exit code {}; its result is unchanged", deck.name, code));
        if (worst == ExitCode::done || worst == ExitCode::expectation_false) worst = code;
        continue;
      }
    }
    std::string verdict;
    world.on_root([&] {
      CatalogueResult result = CatalogueResult::of_results(run.output);
      result.minutes = complete ? (deck.result ? deck.result->minutes : 0) : watch.seconds() / 60;
      verdict = result.verdict;
      if (request.smoke) return;  // no measurement
      if (complete && deck.result && deck.result->revision == result.revision) return;
      write_file(deck.path.substr(0, deck.path.size() - 5) + result_ending, FileContent::catalogue_result,
                 result.yaml());
      const Catalogue now(arguments.folder);
      write_file(now.status_path(), FileContent::catalogue_status, now.status());
    });
    world.broadcast(verdict);
    log.line(fmt::format("== {}: {}{}", deck.name, verdict, complete ? " (was run before)" : ""));
    if (verdict != "pass" && worst == ExitCode::done) worst = ExitCode::expectation_false;
  }
  return worst;
}

}  // namespace rankine::cli
