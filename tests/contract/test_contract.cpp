// The contract of everything that a deck can name: each entry of each table describes itself, gives its
// options back as it read them, refuses what it does not know, and, where it takes part in training, gives
// the same bits on 1, 2 and 3 ranks and after a restart, and leaves nothing behind of a step that fails.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "src/cli/program.hpp"
#include "src/core/random.hpp"
#include "src/core/strings.hpp"
#include "src/io/info.hpp"
#include "src/rules/learning_rule.hpp"
#include "src/run/driver.hpp"
#include "tests/contract/fragments.hpp"
#include "tests/unit/solvers/petsc_environment.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;
using contract::Fragment;
using contract::Settings;
using contract::operator+;
using ::testing::HasSubstr;

struct Entry {
  std::string kind;
  const RegistryBase* table;
  const RegistryItem* item;
  int number;
  std::string key() const { return kind + " " + item->name; }
};
void PrintTo(const Entry& entry, std::ostream* out) { *out << entry.key(); }

std::vector<Entry> all_entries() {
  static const ProgramTables tables = program_tables();
  std::vector<const RegistryBase*> all{&tables.experiments};
  all.insert(all.end(), tables.others.begin(), tables.others.end());
  std::vector<Entry> out;
  for (const RegistryBase* table : all)
    for (const RegistryItem& item : table->items())
      out.push_back({table->kind(), table, &item, static_cast<int>(out.size())});
  return out;
}

/// Every option it visits has a help, and a default that a deck could give and that is read as what it is.
class OptionChecker final : public OptionVisitor {
 public:
  std::vector<std::string> names;  ///< at the top

 protected:
  void value(const char* name, OptionTarget target, const OptionMeta& meta) override {
    note(name, meta.help);
    if (meta.required) return;
    const std::string before = deck_text(target);
    const DeckNode node = parse_deck_text(std::string(name) + ": " + before + "\n", "defaults");
    try {
      std::visit([&](auto* v) { (*node.reader())(name, *v, meta); }, target);
    } catch (const InputError& error) {
      ADD_FAILURE() << "the default is refused: " << error.what();
    }
    EXPECT_EQ(deck_text(target), before) << name;
  }
  bool optional_value(const char* name, OptionTarget target, bool has_value,
                      const OptionMeta& meta) override {
    note(name, meta.help);
    if (has_value) value(name, target, meta);
    return has_value;
  }
  bool begin_group(const char* name, const char* help, bool) override {
    note(name, help);
    ++depth_;
    return true;
  }
  void end_group() override { --depth_; }
  std::optional<std::size_t> begin_list(const char* name, std::size_t, const char* help) override {
    note(name, help);
    ++depth_;
    return 1;
  }
  void begin_item(std::size_t) override {}
  void end_item() override {}
  void end_list() override { --depth_; }

 private:
  void note(const char* name, const char* help) {
    EXPECT_STRNE(help, "") << "option " << name << " has no help";
    if (depth_ == 0) names.emplace_back(name);
  }
  int depth_ = 0;
};

/// Data files for the decks, and room for what they write; the same folder on all ranks.
class Folder : public ::testing::Environment {
 public:
  void SetUp() override {
    // In memory where that can be, because every file is synced to its device.
    const fs::path memory = "/dev/shm";
    path = ((fs::exists(memory) ? memory : fs::temp_directory_path()) /
            ("rankine_contract_" + std::to_string(::getpid())))
               .string();
    const Communicator world = Communicator::world();
    world.broadcast(path);
    world.on_root([&] {
      fs::create_directories(path + "/texts");
      std::ofstream text(path + "/texts/a");
      for (int i = 0; i < 40; ++i) text << "abacabad";
      std::ofstream rows(path + "/rows.csv");
      const RandomStream random(1, "rows");
      for (int row = 0; row <= 36; ++row) {
        for (int i = 0; i < 36; ++i)
          rows << (row == 0 ? fmt::format("x{},", i) : fmt::format("{:.3f},", random.normal(0, row, i)));
        rows << (row == 0 ? "y" : std::to_string(row % 3)) << "\n";
      }
    });
  }
  void TearDown() override {
    const Communicator world = Communicator::world();
    world.barrier();
    std::error_code ignored;
    if (world.is_root()) fs::remove_all(path, ignored);
  }
  std::string path;
};
Folder* const folder = static_cast<Folder*>(::testing::AddGlobalTestEnvironment(new Folder));

std::string with(std::string text, const std::string& what, const std::string& instead) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += instead.size())
    text.replace(at, what.size(), instead);
  return text;
}

std::string text_of(const std::string& base, const std::string& block = "{name: relu}") {
  const contract::Base& of = contract::bases.at(base);
  std::string text = with(of.text, "@FOLDER@", folder->path);
  if (!of.blocks.empty())
    text += "model: {blocks: " + (block.starts_with("[") ? block : with(of.blocks, "@", block)) + "}\n";
  return text;
}

std::string text_of(const Fragment& fragment) {
  return fragment.block.empty() ? text_of(fragment.base) : text_of(fragment.base, fragment.block);
}

struct Ran {
  std::string error;     ///< "" where there was none
  bool started = false;  ///< the deck was in order, and work began
  std::string resolved;
};

/// Checks the deck, and runs it if it is to write to `output`.
Ran run(const Communicator& communicator, const std::string& text, const Settings& set,
        const std::string& output = "", const std::string& restart = "never") {
  std::ostringstream said;
  Log log(said, Log::Style::silent);
  Ran out;
  try {
    const DeckRequest request{.set = set};
    DeckRun deck(communicator, program_tables().experiments, Deck(text, "deck.yaml", request), request);
    out.resolved = deck.deck().resolved();
    out.started = !output.empty();
    // What an earlier test has left would be read with care before it is replaced, which takes as long as the run.
    if (out.started) communicator.on_root([&] { fs::remove(folder->path + "/" + output); });
    if (out.started) deck.run({{}, folder->path + "/" + output, restart}, log);
  } catch (const InputError& error) {
    out.error = error.what();
  } catch (const NumericalError& error) {
    out.error = std::string("numerical failure: ") + error.what();
  }
  return out;
}

/// Rank 0 alone, and the two others together, at the same time.
struct Groups {
  Communicator world = Communicator::world();
  bool first = world.is_root();
  Communicator group = world.split(first ? 0 : 1, world.rank());
  /// Waits for all, asleep: a rank that looks all the time would take the others' processors.
  static void meet() {
    MPI_Request all;
    MPI_Ibarrier(MPI_COMM_WORLD, &all);
    for (int here = 0; here == 0;) {
      MPI_Test(&all, &here, MPI_STATUS_IGNORE);
      if (here == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  /// Whether it holds on all ranks; none goes on before.
  bool all(bool here) const {
    meet();
    return world.min(here ? 1 : 0) == 1;
  }
  /// Does each piece of work on one rank.
  void deal(const std::vector<std::function<void()>>& work) const {
    for (int i = 0; i < static_cast<int>(work.size()); ++i)
      if ((i + 1) % world.size() == world.rank()) work[static_cast<std::size_t>(i)]();
    meet();
  }
};

/// Expects that the deck runs.
bool runs(const Communicator& communicator, const std::string& text, const Settings& set,
          const std::string& output, const std::string& restart = "never") {
  const Ran ran = run(communicator, text, set, output, restart);
  EXPECT_EQ(ran.error, "") << text << join(set);
  return ran.error.empty();
}

std::string differences(
    const std::string& a, const std::string& b,
    const std::function<bool(const Difference&)>& counts = [](const Difference&) { return true; }) {
  std::string out;
  for (const Difference& d : compare_results(folder->path + "/" + a, folder->path + "/" + b))
    if (counts(d)) out += "\n  " + d.path + ": " + d.what;
  return out;
}

bool has_place(const std::string& message) {
  return message.find("deck.yaml:") != std::string::npos || message.find("--set ") != std::string::npos;
}

class Contract : public ::testing::TestWithParam<Entry> {
 protected:
  /// The entry's fragment; null where there is none, which IsInFragments reports.
  const Fragment* fragment() const {
    const auto found = contract::fragments().find(GetParam().key());
    return found == contract::fragments().end() ? nullptr : &found->second;
  }
  /// What needs one rank is done by one, each entry by another.
  bool mine() const {
    const Communicator world = Communicator::world();
    return GetParam().number % world.size() == world.rank();
  }
};

TEST_P(Contract, IsInFragments) {
  EXPECT_NE(fragment(), nullptr)
      << "add to fragments() in tests/contract/fragments.hpp a small deck that uses it:\n"
      << fmt::format("      {{\"{}\", {{.base = \"vectors\", .set = {{\"...\"}}}}}},", GetParam().key());
}

TEST_P(Contract, DescribesItself) {
  EXPECT_NE(GetParam().item->help, "");
  OptionChecker checker;
  GetParam().item->describe(checker);
}

TEST_P(Contract, ResolvedDeckIsTheDeck) {
  const Fragment* f = fragment();
  if (f == nullptr || !mine()) return;
  const Communicator self = Communicator::self();
  const Ran first = run(self, text_of(*f), f->set);
  EXPECT_EQ(first.error, "");
  if (!first.error.empty()) return;
  const Ran second = run(self, first.resolved, {});
  EXPECT_EQ(second.error, "");
  EXPECT_EQ(second.resolved, first.resolved);
}

TEST_P(Contract, RefusesWhatItDoesNotKnow) {
  const Fragment* f = fragment();
  if (f == nullptr || !mine()) return;
  const Communicator self = Communicator::self();
  const std::string deck = run(self, text_of(*f), f->set).resolved, name = GetParam().item->name;
  const bool experiment = GetParam().kind == "experiment";
  const char* key = experiment ? "experiment: " : GetParam().kind == "parametrisation" ? "as: " : "name: ";
  const std::string line = key + name + "\n";
  const std::size_t at = deck.find(line);
  EXPECT_NE(at, std::string::npos) << deck;
  if (at == std::string::npos) return;
  const std::size_t column = at - (deck.rfind('\n', at) + 1);
  std::string unknown = deck, other = deck;
  unknown.insert(experiment ? deck.size() : at + line.size(),
                 (experiment ? "" : std::string(column, ' ')) + "no_such_option: 1\n");
  other.replace(at, line.size(), with(line, name, "no_such_name"));

  OptionChecker known;
  GetParam().item->describe(known);
  const std::string of_option = run(self, unknown, {}).error, of_name = run(self, other, {}).error;
  EXPECT_THAT(of_option, HasSubstr("unknown key 'no_such_option'"));
  EXPECT_THAT(of_option, HasSubstr("deck.yaml:"));
  for (const std::string& option : known.names) EXPECT_THAT(of_option, HasSubstr(option));
  EXPECT_THAT(of_name, HasSubstr("unknown " + GetParam().kind + " 'no_such_name'"));
  EXPECT_THAT(of_name, HasSubstr("deck.yaml:"));
  EXPECT_THAT(of_name, HasSubstr(join(GetParam().table->names())));
}

TEST_P(Contract, SameBitsOnAnyRanksAndAfterARestart) {
  const Fragment* f = fragment();
  if (f == nullptr) return;
  const Groups g;
  const std::string text = text_of(*f);
  bool ran = runs(g.group, text, f->set, g.first ? "one.h5" : "two.h5");
  ran = g.all(ran) && runs(g.world, text, f->set, "three.h5");
  // The checkpoint that two ranks wrote, taken up by one; and the other way round.
  const std::string from = g.first ? "two.h5" : "one.h5";
  ran = ran && runs(g.group, text, f->set, g.first ? "one_on.h5" : "two_on.h5",
                    folder->path + "/" + from + ".checkpoints/checkpoint-00000001.h5");
  if (!g.all(ran)) return;
  std::vector<std::function<void()>> comparisons;
  for (const char* other : {"two.h5", "three.h5", "one_on.h5", "two_on.h5"})
    comparisons.emplace_back([other] { EXPECT_EQ(differences("one.h5", other), "") << other; });
  g.deal(comparisons);
}

TEST_P(Contract, AFailedStepLeavesNothingBehind) {
  const Fragment* f = fragment();
  if (f == nullptr || f->fault.empty()) return;
  const Groups g;
  const std::string text = text_of(*f);
  Settings none{"train.steps=0"};
  if (text.find("experiment: training") != std::string::npos) none.emplace_back("train.epochs=0");
  // Both steps fail on two ranks; one rank makes none.
  const Settings fault = f->set + f->fault + Settings{"train.steps=2", "checkpoint.every_steps=0"};
  if (!g.all(runs(g.group, text, g.first ? fault + none : fault, g.first ? "none.h5" : "fault.h5"))) return;
  g.deal({[&] {
    const auto weights = [](const Difference& d) { return d.path.find("/weights") != std::string::npos; };
    EXPECT_EQ(differences("none.h5", "fault.h5", weights), "");
    EXPECT_THAT(differences("none.h5", "fault.h5"), HasSubstr("summary/steps_skipped")) << "no step failed";
  }});
}

TEST_P(Contract, SwitchedOffItIsNotThere) {
  const Fragment* f = fragment();
  if (f == nullptr || f->off.empty()) return;
  const Groups g;
  if (!g.all(runs(g.group, text_of(*f), g.first ? f->off : f->plain, g.first ? "off.h5" : "plain.h5")))
    return;
  g.deal({[&] {
    const auto bits = [](const Difference& d) {
      return !d.what.starts_with("only in") && !d.path.ends_with("/multiply_adds");
    };
    EXPECT_EQ(differences("off.h5", "plain.h5", bits), "");
  }});
}

INSTANTIATE_TEST_SUITE_P(Every, Contract, ::testing::ValuesIn(all_entries()),
                         [](const auto& info) { return with(info.param.key(), " ", "_"); });

TEST(Fragments, AreOfEntriesThatExist) {
  std::vector<std::string> keys;
  for (const Entry& entry : all_entries()) keys.push_back(entry.key());
  for (const auto& [key, fragment] : contract::fragments())
    EXPECT_THAT(keys, ::testing::Contains(key)) << "remove it from tests/contract/fragments.hpp";
}

/// A step on one rank, and on two: trains with the same bits, or is refused before work starts.
class Combinations {
 public:
  int trained = 0, refused = 0;

  void try_one(const std::string& text, const Settings& set) {
    const Ran ran = run(g_.group, text, set, g_.first ? "one.h5" : "two.h5");
    EXPECT_TRUE(ran.error.empty() || !ran.started) << ran.error << "\n" << text << join(set);
    EXPECT_TRUE(ran.error.empty() || has_place(ran.error)) << ran.error;
    const bool both = g_.all(ran.error.empty());
    ++(both ? trained : refused);
    if (both) g_.deal({[&] { EXPECT_EQ(differences("one.h5", "two.h5"), "") << text << join(set); }});
  }

 private:
  Groups g_;
};

Settings rule_of(const std::string& name) { return contract::fragments().at("rule " + name).set; }

TEST(Combinations, EveryRuleWithEveryNetwork) {
  Combinations all;
  const Settings step{"train.steps=1", "train.epochs=0", "checkpoint.every_steps=0"};
  for (const auto& [key, f] : contract::fragments()) {
    if (!key.starts_with("block ") && !key.starts_with("dataset ")) continue;
    for (const std::string& rule : rules().names()) {
      SCOPED_TRACE(key + ", rule " + rule);
      all.try_one(text_of(f), f.set + rule_of(rule) + step);
    }
  }
  EXPECT_GE(all.trained, 150);
  if (Communicator::world().is_root())
    std::cout << all.trained << " trained, " << all.refused << " refused\n";
}

TEST(Combinations, EveryRuleWithEveryOtherExperiment) {
  Combinations all;
  for (const std::string& rule : rules().names()) {
    for (const char* formulation : {"{method: soft}", "{basis: 4, experts: [1, 2]}",
                                    "{preset: target, basis: 4, time: uniform, experts: [1, 2]}"}) {
      SCOPED_TRACE(rule + ", pde_training, " + formulation);
      all.try_one(text_of("pde"),
                  rule_of(rule) + Settings{std::string("formulation=") + formulation, "train.steps=1"});
    }
    for (const Entry& entry : all_entries()) {
      if (entry.kind != "experiment" || entry.item->name == "training" || entry.item->name == "pde_training")
        continue;
      SCOPED_TRACE(rule + ", " + entry.key());
      const Fragment& f = contract::fragments().at(entry.key());
      EXPECT_THAT(run(Communicator::self(), text_of(f), f.set + rule_of(rule)).error,
                  ::testing::AllOf(HasSubstr("unknown key"), HasSubstr("--set train.rule")));
    }
  }
  EXPECT_EQ(all.trained, 6);
  EXPECT_EQ(all.refused, 3 * static_cast<int>(rules().names().size()) - 6);
}

}  // namespace
}  // namespace rankine
