// The whole deck: strict YAML, variants, smoke sizes, --set; the wording of messages is pinned.
#include <ctime>
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/deck/deck.hpp"

namespace rankine {
namespace {

const char* const base =
    "about:\n"
    "  title: A test\n"
    "  claim: It works.\n"
    "run: {experiment: toy, ranks: 2, seeds: [1, 2], output: toy.h5}\n"
    "train:\n"
    "  steps: 100\n"
    "  optimizer: {name: adam, beta: 0.9}\n"
    "model: {modes: [8, 8]}\n"
    "variants:\n"
    "  soft: {model.modes: [4, 4]}\n"
    "  hard:\n"
    "    train: {steps: 50, optimizer: {name: sgd}}\n"
    "  plain:\n"
    "smoke: {train.steps: 3, run.seeds: [1], variants.hard.train.steps: 2}\n"
    "expect:\n"
    "  - mean(error[soft]) < 1\n";

template <class F>
std::string message_from(F&& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::string message_of(const std::string& text, const DeckRequest& request = {}) {
  return message_from([&] { Deck(text, "d.yaml", request); });
}

const DeckNode& variant(const Deck& deck, const std::string& name) {
  for (const auto& v : deck.variants()) {
    if (v.name == name) return v.node;
  }
  throw std::logic_error("no variant " + name);
}

long steps(const Deck& deck, const std::string& name) {
  return variant(deck, name).child("train").child("steps").as_integer();
}

TEST(DeckSections, AreRead) {
  const Deck deck(base, "d.yaml");

  EXPECT_EQ(deck.about().claim, "It works.");
  EXPECT_EQ(deck.run().experiment, "toy");
  EXPECT_EQ(deck.run().seeds, (std::vector<int>{1, 2}));
  EXPECT_EQ(deck.run().output, "toy.h5");
  ASSERT_EQ(deck.expect().size(), 1U);
  EXPECT_EQ(deck.expect()[0].text, "mean(error[soft]) < 1");
  EXPECT_EQ(deck.all_variants(), (std::vector<std::string>{"soft", "hard", "plain"}));
}

TEST(DeckVariants, AreMergedOverTheDeck) {
  const Deck deck(base, "d.yaml");

  EXPECT_EQ(variant(deck, "soft").child("model").child("modes").as_integers(), (std::vector<long>{4, 4}));
  EXPECT_EQ(variant(deck, "plain").child("model").child("modes").as_integers(), (std::vector<long>{8, 8}));
  EXPECT_EQ(steps(deck, "soft"), 100);
  EXPECT_EQ(steps(deck, "hard"), 50);
  const DeckNode optimizer = variant(deck, "hard").child("train").child("optimizer");
  EXPECT_EQ(optimizer.keys(), (std::vector<std::string>{"name"}))
      << "the options of another component are dropped";
}

TEST(DeckVariants, SmokeSizesWinOverVariantsAndSetWinsOverSmoke) {
  EXPECT_EQ(steps(Deck(base, "d.yaml", {.smoke = true}), "soft"), 3);
  EXPECT_EQ(steps(Deck(base, "d.yaml", {.smoke = true}), "hard"), 2);
  EXPECT_EQ(Deck(base, "d.yaml", {.smoke = true}).run().seeds, (std::vector<int>{1}));
  const Deck set(base, "d.yaml",
                 {.smoke = true, .set = {"train.steps=7", "variants.soft.train.steps=9", "run.seeds=[4]"}});
  EXPECT_EQ(steps(set, "hard"), 7);
  EXPECT_EQ(steps(set, "soft"), 9);
  EXPECT_EQ(set.run().seeds, (std::vector<int>{4}));
}

TEST(DeckVariants, OnlySelects) {
  const Deck deck(base, "d.yaml", {.only = {"hard"}});

  ASSERT_EQ(deck.variants().size(), 1U);
  EXPECT_EQ(deck.variants()[0].name, "hard");
  EXPECT_EQ(deck.all_variants().size(), 3U);
  EXPECT_EQ(message_of(base, {.only = {"hrad"}}),
            "--only hrad: d.yaml has no such variant; did you mean 'hard'? (variants: soft, hard, plain)");
}

TEST(DeckVariants, ADeckWithoutThemHasOneNamedDefault) {
  const Deck deck("run: {experiment: toy}\ntrain: {steps: 1}\n", "d.yaml");

  ASSERT_EQ(deck.variants().size(), 1U);
  EXPECT_EQ(deck.variants()[0].name, "default");
  EXPECT_EQ(message_from([&] { deck.variants()[0].node.child("train").child("steps").error("x"); }),
            "d.yaml:2:16: x");
}

TEST(DeckMessages, PointAtTheLineThatIsWrongAndNameTheVariant) {
  const Deck deck(base, "d.yaml", {.set = {"model.width=wide"}});

  EXPECT_EQ(message_from([&] { variant(deck, "soft").child("model").child("modes").as_number(); }),
            "d.yaml:10:23: 'model.modes' is a list; allowed: a number (in variant 'soft')");
  EXPECT_EQ(
      message_from([&] { variant(deck, "hard").child("train").child("steps").as_text({.choices = {"a"}}); }),
      "d.yaml:12:20: 'train.steps': '50' is unknown; allowed: one of a (in variant 'hard')");
  EXPECT_EQ(message_from([&] { variant(deck, "plain").child("model").child("width").as_number(); }),
            "--set model.width: 'model.width' is 'wide'; allowed: a number (in variant 'plain')");
  EXPECT_EQ(message_from([&] { variant(deck, "plain").child("model").reject_unread_keys(); }).substr(0, 57),
            "d.yaml:8:9: unknown key 'modes' in 'model'; (keys: width)");
}

TEST(DeckMessages, OwnSections) {
  EXPECT_EQ(message_of("run: {experiment: toy, sedes: [1]}\n"),
            "d.yaml:1:24: unknown key 'sedes' in 'run'; did you mean 'seeds'? (keys: experiment, ranks, "
            "concurrent, seeds, output, walltime)");
  EXPECT_EQ(message_of("run: {ranks: 2}\n"), "d.yaml:1:6: key 'experiment' is missing in 'run'");
  EXPECT_EQ(message_of("rnu: {experiment: toy}\n"),
            "d.yaml:1:1: key 'run' is missing in the deck; 'rnu' stands at d.yaml:1:1: was 'run' meant?");
  EXPECT_EQ(message_of("run: {experiment: toy, seeds: [1, 1]}\n"),
            "d.yaml:1:31: 'run.seeds' names a seed twice; each must be different");
  EXPECT_EQ(message_of("run: {experiment: toy}\nvariants: {a b: }\n"),
            "d.yaml:2:12: variant name 'a b'; allowed: up to 64 letters, digits, '_', '-', '+' and '.', "
            "which is not the first");
  EXPECT_EQ(
      message_of("run: {experiment: toy}\nvariants: {a: {run.seeds: [2]}}\n"),
      "d.yaml:2:16: 'run' cannot differ between variants; a variant overrides the experiment's sections");
  EXPECT_EQ(message_of("run: {experiment: toy}\nvariants: [a]\n"),
            "d.yaml:2:11: 'variants' must be a mapping: name of the variant: what it overrides");
  EXPECT_EQ(message_of("run: {experiment: toy}\nvariants: {a: 3}\n"),
            "d.yaml:2:15: variant 'a' must be a mapping of overrides, or nothing");
  EXPECT_EQ(message_of("run: {experiment: toy}\nsmoke: {variants.a.x: 3}\n"),
            "d.yaml:2:9: unknown variant 'a'; (the deck has none)");
  EXPECT_EQ(message_of("run: {experiment: toy}\nsmoke: {a..b: 3}\n"),
            "d.yaml:2:9: key 'a..b': a part of this path is empty; write it as section.key");
  EXPECT_EQ(message_of("run: {experiment: toy}\nsmoke: {a: 1, a.b: 3}\n"),
            "d.yaml:2:15: key 'a.b': 'a' is given at d.yaml:2:9 as a value, so it has no keys");
  EXPECT_EQ(message_of("run: {experiment: toy}\n", {.smoke = true}),
            "d.yaml: --smoke was given, but the deck has no 'smoke:' section; add one, for example smoke: "
            "{train.steps: 3}");
  EXPECT_EQ(message_of("run: {experiment: toy}\nexpect: {a: b}\n"),
            "d.yaml:2:9: 'expect' must be a list of comparisons, for example [mean(test_accuracy) >= 0.9]");
}

TEST(DeckMessages, Set) {
  EXPECT_EQ(message_of(base, {.set = {"train.steps"}}),
            "--set train.steps: must be path.to.key=value, for example train.steps=50");
  EXPECT_EQ(message_of(base, {.set = {"run.ranks=0"}}),
            "--set run.ranks: 'run.ranks': '0' is out of range; allowed: a whole number at least 1");
  EXPECT_EQ(message_of(base, {.set = {"run.rnaks=0"}}),
            "--set run.rnaks: unknown key 'rnaks' in 'run'; did you mean 'ranks'? (keys: experiment, ranks, "
            "concurrent, seeds, "
            "output, walltime)");
  EXPECT_EQ(
      message_of(base, {.set = {"variants.sotf.train.steps=0"}}),
      "--set variants.sotf.train.steps: unknown variant 'sotf'; did you mean 'soft'? (variants: soft, hard, "
      "plain)");
  EXPECT_EQ(message_of(base, {.set = {"train.steps=\"1"}}),
            "--set train.steps: not valid YAML: the text ends inside a list, a mapping or a quote; is a "
            "bracket or a "
            "quote left open?");
  EXPECT_EQ(message_of(base, {.set = {"smoke.train.steps=1"}}),
            "--set smoke.train.steps: 'smoke' cannot be overridden here");
}

TEST(DeckYaml, StrictnessOfTheText) {
  const std::string open =
      "d.yaml: not valid YAML: the text ends inside a list, a mapping or a quote; is a bracket or a quote "
      "left open?";
  EXPECT_EQ(message_of("a: 'x"), open);
  EXPECT_EQ(message_of("# nothing\n"), "d.yaml: the file is empty; a deck is a YAML mapping (key: value)");
  EXPECT_EQ(message_of("a: 1\n...\n"), "d.yaml:1:1: key 'run' is missing in the deck");
  EXPECT_EQ(message_of(""), "d.yaml: the file is empty; a deck is a YAML mapping (key: value)");
  EXPECT_EQ(message_of("- 1\n"), "d.yaml:1:1: the deck is a list; allowed: a mapping (key: value)");
  EXPECT_EQ(message_of("a: 1\nb: 2\na: 3\n"),
            "d.yaml:3:1: key 'a' is given twice; it stands already at d.yaml:1:1");
  EXPECT_EQ(message_of("a: {b: 1, b: 1}\n"),
            "d.yaml:1:11: key 'b' is given twice; it stands already at d.yaml:1:5");
  EXPECT_EQ(message_of("a: &x 1\nb: *x\n"),
            "d.yaml:1:4: anchors (&) and aliases (*) are not allowed; write the value out, or use variants");
  EXPECT_EQ(message_of("a: !!int 1\n"),
            "d.yaml:1:4: the tag 'tag:yaml.org,2002:int' is not allowed; decks need no tags");
  EXPECT_EQ(message_of("a: 1\n---\nb: 2\n"),
            "d.yaml:3:1: a second document (---) is not allowed; one file is one deck");
  EXPECT_EQ(message_of("[a]: 1\n"),
            "d.yaml:1:1: a key must be a plain word, not a list or a mapping; is a bracket left open?");
  EXPECT_EQ(message_of("a: [1, 2\n"), open);
  EXPECT_EQ(message_of("a: \"x\n"), open);
  EXPECT_EQ(message_of("a:\n\t b: 1\n"), "d.yaml:2:1: tabs cannot indent YAML; use spaces");
  EXPECT_EQ(message_of("a: \xff\n"), "d.yaml:1:4: this byte is not UTF-8 text; a deck is a YAML text file");
  EXPECT_EQ(message_of(std::string("a: \0b\n", 6)),
            "d.yaml:1:4: control characters are not allowed; a deck is a YAML text file");
  EXPECT_EQ(message_of(std::string(2000000, ' ')),
            "d.yaml: the deck has 2000000 bytes; at most 1048576 are allowed");
  EXPECT_EQ(message_of(std::string(100, '[')), "d.yaml:1:49: nested more than 48 levels deep");
  EXPECT_EQ(message_of("a: " + std::string(9000, 'x')),
            "d.yaml:1:1: this line is longer than 8192 bytes; break it");
}

TEST(DeckYaml, TheResolvedDeckIsADeckAndResolvesToItself) {
  const Deck deck(base, "d.yaml", {.smoke = true, .set = {"train.note=\"a: b\""}});
  const Deck again(deck.resolved(), "again.yaml");

  EXPECT_EQ(again.resolved(), deck.resolved());
  EXPECT_EQ(steps(again, "hard"), 2);
  EXPECT_EQ(variant(again, "soft").child("train").child("note").as_text(), "a: b");
  EXPECT_EQ(again.expect().size(), 1U);
}

TEST(DeckYaml, TextsInListsOfTheResolvedDeckAreReadAsTheyWere) {
  for (const std::string text :
       {"what?", "me?n(loss", "a?b", "a ? b", "a: b", "a, b", "a]", "- a", "a #b", "x:", ""}) {
    const Deck deck("run: {experiment: x}\ntrain:\n  - \"" + text + "\"\n  - plain\n", "d.yaml");
    const Deck again(deck.resolved(), "again.yaml");
    const std::vector<std::string> expected{text, "plain"};
    EXPECT_EQ(again.variants().front().node.child("train").as_texts(), expected) << deck.resolved();
    // And where they need no quotes in the deck.
    if (text.find_first_of(":,]#") != std::string::npos || text.empty() || text.front() == '-') continue;
    const Deck bare("run: {experiment: x}\ntrain:\n  - " + text + "\n", "d.yaml");
    EXPECT_EQ(Deck(bare.resolved(), "again.yaml").variants().front().node.child("train").as_texts(),
              std::vector<std::string>{text});
  }
}

TEST(DeckFile, UnreadableFilesAreInputErrors) {
  EXPECT_EQ(message_from([] { Deck::read_file("no/such.yaml"); }), "no/such.yaml: there is no such file");
  EXPECT_EQ(message_from([] { Deck::read_file("/"); }), "/: this is a directory; a deck is a YAML file");
}

/// Reads everything that a text gives, as an experiment would, and expects nothing but success or InputError.
void survive(const std::string& text) {
  const std::clock_t start = std::clock();  // processor time: other programs may hold the machine
  try {
    const Deck deck(text, "fuzz.yaml", {.smoke = text.find("smoke") != std::string::npos});
    for (const auto& v : deck.variants()) static_cast<void>(v.node.yaml());
    static_cast<void>(Deck(deck.resolved(), "again.yaml"));
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()), "");
  }
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
#ifndef __SANITIZE_ADDRESS__  // with which every allocation is slow; the fuzzing limits the time there
  EXPECT_LT(seconds, 1.0) << text.substr(0, 200);
#else
  static_cast<void>(seconds);
#endif
}

TEST(DeckFuzz, AnyBytesEndInSuccessOrOneMessage) {
  std::mt19937 random(7);
  const std::string alphabet = "[]{}:,-?&*!|>'\"%@`#~<= \n\t\r\\abz019._\xc3\xa9\xff";
  for (int trial = 0; trial < 1000; ++trial) {
    std::string text;
    const std::size_t length = random() % 200;
    for (std::size_t i = 0; i < length; ++i) text += alphabet[random() % alphabet.size()];
    survive(text);
  }
}

TEST(DeckFuzz, MutatedDecksEndInSuccessOrOneMessage) {
  std::mt19937 random(8);
  for (int trial = 0; trial < 1000; ++trial) {
    std::string text = base;
    const unsigned changes = 1 + random() % 6;
    for (unsigned i = 0; i < changes; ++i) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random() % 256);
          break;
        case 1:
          text.erase(at, random() % 9);
          break;
        case 2:
          text.insert(at, text.substr(random() % text.size(), random() % 40));
          break;
        default:
          text.insert(at, std::string(1 + random() % 3, "[]{}:-\"'&*#\n "[random() % 13]));
      }
    }
    survive(text);
  }
}

TEST(DeckFuzz, TextsKnownToHurtParsers) {
  const auto repeat = [](const std::string& what, int times) {
    std::string text;
    for (int i = 0; i < times; ++i) text += what;
    return text;
  };
  for (const std::string& text : {repeat("[", 500000),
                                  repeat("{", 500000),
                                  repeat("- ", 500000),
                                  repeat("a: ", 300000),
                                  repeat("? ", 500000),
                                  repeat("[[:", 300000),
                                  repeat("[a,\n", 200000),
                                  repeat("- - - -\n", 100000),
                                  repeat("a:\n ", 200000),
                                  repeat("!", 8000),
                                  repeat("&", 8000),
                                  repeat("%", 8000),
                                  repeat("\"", 8001),
                                  repeat("'", 8001),
                                  "a: [" + repeat("1,\n", 300000) + "]",
                                  repeat("-\n", 500000),
                                  repeat(":\n", 500000),
                                  repeat("---\n", 200000),
                                  "a: |\n" + repeat(" x\n", 300000),
                                  "a: >\n" + repeat(" x\n", 300000),
                                  repeat("#\n", 500000),
                                  "a: \"" + repeat("x\n", 400000) + "\"",
                                  "? " + repeat("a\n", 400000),
                                  repeat("{a: ", 8000 / 4),
                                  repeat("a", 8000) + ": 1",
                                  repeat(" ", 8000) + "a: 1"}) {
    survive(text);
  }
  std::string deep;  // one level more on every line
  for (int i = 0; i < 1400; ++i) deep += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  survive(deep);
  std::string wide = "run: {experiment: toy}\n";
  for (int i = 0; i < 60000; ++i) wide += "k" + std::to_string(i) + ": 1\n";
  survive(wide);
}

}  // namespace
}  // namespace rankine
