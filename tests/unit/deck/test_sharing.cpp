// Decks that share: patches of lists, fragments, sweeps; the wording of messages is pinned.
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/deck/deck.hpp"

namespace rankine {
namespace {

using Files = std::map<std::string, std::string>;

/// Reads fragments from memory, by their names.
FragmentReader from(const Files& files) {
  return [files](const std::string& name, const std::string& user) {
    const auto found = files.find(name);
    if (found == files.end()) throw InputError("there is no fragment '" + name + "'");
    return DeckFragment{user, name, name, found->second};
  };
}

template <class F>
std::string message_from(F&& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::string message_of(const std::string& text, const DeckRequest& request = {}, const Files& files = {}) {
  return message_from([&] { Deck("run: {experiment: toy}\n" + text, "d.yaml", request, from(files)); });
}

Deck resolve(const std::string& text, const DeckRequest& request = {}, const Files& files = {}) {
  return {"run: {experiment: toy}\n" + text, "d.yaml", request, from(files)};
}

std::string text_of(const Deck& deck, const std::string& variant = "default") {
  for (const auto& v : deck.variants())
    if (v.name == variant) return v.node.yaml();
  return "no variant " + variant;
}

std::vector<std::string> names(const Deck& deck) {
  std::vector<std::string> result;
  for (const auto& v : deck.variants()) result.push_back(v.name);
  return result;
}

using Names = std::vector<std::string>;

const std::string blocks =
    "model:\n  blocks:\n    - flatten\n"
    "    - {name: conv2d, channels: 8}\n"
    "    - {name: lif, tau: 1.1}\n"
    "    - {name: conv3d, channels: 8}\n"
    "    - {name: lif, tau: 1.1}\n";

std::string listed(const std::string& change) {
  return text_of(resolve(blocks + "variants:\n  a: " + change + "\n"), "a");
}

std::string with(const std::string& one, const std::string& two, const std::string& three,
                 const std::string& four, const std::string& first = "flatten") {
  return "model:\n  blocks:\n    - " + first + "\n    - " + one + "    - " + two + "    - " + three +
         "    - " + four;
}

const std::string conv2 = "name: conv2d\n      channels: 8\n", conv3 = "name: conv3d\n      channels: 8\n",
                  lif = "name: lif\n      tau: 1.1\n", lif2 = "name: lif\n      tau: 2\n";

TEST(Sweep, APointHasSmokeSizesOfItsOwn) {
  const std::string deck =
      "model: {width: 8, depth: 3}\nsmoke: {model.depth: 1}\n"
      "sweep: [{label: a, model.width: 16, smoke: {model.width: 2}}, {label: b, model.width: 32}]\n";
  const auto model = [&](const char* variant, bool smoke) {
    return text_of(resolve(deck, {.smoke = smoke}), variant);
  };
  EXPECT_THAT(model("a", false), ::testing::HasSubstr("width: 16"));
  EXPECT_THAT(model("a", true), ::testing::HasSubstr("width: 2"));
  EXPECT_THAT(model("a", true), ::testing::HasSubstr("depth: 1"));
  EXPECT_THAT(model("b", true), ::testing::HasSubstr("width: 32"));
  EXPECT_EQ(
      message_of("sweep: [{label: a, smoke: {run.seeds: [1]}}]\n"),
      "d.yaml:2:28: 'run' cannot differ between variants; a variant overrides the experiment's sections");
}

TEST(DeckPatches, ChangeItemsByNameByPatternAndByPosition) {
  EXPECT_EQ(listed("{model: {blocks[lif]: {tau: 2}}}"), with(conv2, lif2, conv3, lif2));
  EXPECT_EQ(listed("{model.blocks[lif].tau: 2}"), with(conv2, lif2, conv3, lif2));
  EXPECT_EQ(listed("{model: {blocks[4]: {tau: 2}}}"), with(conv2, lif, conv3, lif2));
  EXPECT_EQ(listed("{model: {blocks[2..2]: {tau: 2}}}"), with(conv2, lif2, conv3, lif));
  EXPECT_EQ(listed("{model: {blocks[conv*]: {channels: 4}}}"),
            with("name: conv2d\n      channels: 4\n", lif, "name: conv3d\n      channels: 4\n", lif));
  EXPECT_EQ(listed("{model: {blocks[conv?d]: {name: relu}, blocks[1..3]: {name: relu}}}"),
            with("name: relu\n", "name: relu\n", "name: relu\n", lif))
      << "another component takes the whole place; keys are taken in their order";
  EXPECT_EQ(listed("{model: {blocks[flatten]: {from: 2}}}"),
            with(conv2, lif, conv3, lif, "name: flatten\n      from: 2"))
      << "an item that is a name alone gets options";
  EXPECT_EQ(listed("{model: {blocks: [{name: lif, tau: 1}], blocks[lif]: {tau: 2}}}"),
            "model:\n  blocks:\n    - name: lif\n      tau: 2\n");
}

TEST(DeckPatches, WorkInTheDeckInSmokeSizesAndOnTheCommandLine) {
  EXPECT_EQ(text_of(resolve(blocks + "  blocks[lif]: {tau: 2}\n")), with(conv2, lif2, conv3, lif2));
  EXPECT_EQ(text_of(resolve(blocks + "smoke: {model.blocks[lif].tau: 2}\n", {.smoke = true})),
            with(conv2, lif2, conv3, lif2));
  EXPECT_EQ(text_of(resolve(blocks, {.set = {"model.blocks[2].tau=2"}})), with(conv2, lif2, conv3, lif));
  EXPECT_EQ(text_of(resolve("model:\n  inner:\n    - {list: [a, b], list[b]: {size: 1}}\n")),
            "model:\n  inner:\n    - list:\n        - a\n        - name: b\n          size: 1\n");
}

TEST(DeckPatches, MessagesNameWhatThereIs) {
  EXPECT_EQ(
      message_of(blocks + "variants:\n  a: {model: {blocks[lyf]: {tau: 2}}}\n"),
      "d.yaml:10:15: key 'blocks[lyf]': the list has no such item; did you mean 'lif'? (items: 0 flatten, 1 "
      "conv2d, 2 lif, 3 conv3d, 4 lif) (in variant 'a')");
  EXPECT_EQ(
      message_of(blocks + "variants:\n  a: {model: {blocks[3..5]: {tau: 2}}}\n"),
      "d.yaml:10:15: key 'blocks[3..5]': the list has no such item; (items: 0 flatten, 1 conv2d, 2 lif, 3 "
      "conv3d, 4 lif) (in variant 'a')");
  EXPECT_EQ(message_of("model: {blocks[lif]: {tau: 2}}\n"),
            "d.yaml:2:9: key 'blocks[lif]': it changes items of the list 'blocks', and there is none here; "
            "give the "
            "list before it, or in what this is laid over");
  EXPECT_EQ(
      message_of("model: {width: 1, width[0]: 2}\n"),
      "d.yaml:2:19: key 'width[0]': it changes items of the list 'width', and there is no list of this name "
      "here, but another value at d.yaml:2:9; give the list before it, or in what this is laid over");
  EXPECT_EQ(message_of(blocks, {.set = {"model.blocks[lyf].tau=1"}}),
            "--set model.blocks[lyf].tau: key 'blocks[lyf]': the list has no such item; did you mean 'lif'? "
            "(items: 0 "
            "flatten, 1 conv2d, 2 lif, 3 conv3d, 4 lif)");
  EXPECT_EQ(
      message_of(blocks + "smoke: {model.blocks[lyf].tau: 1}\n"),
      "d.yaml:9:9: key 'blocks[lyf]': the list has no such item; did you mean 'lif'? (items: 0 flatten, 1 "
      "conv2d, 2 lif, 3 conv3d, 4 lif)")
      << "a wrong smoke size is found without --smoke";
}

TEST(DeckPatches, PatternsAreMatchedInShortTime) {
  std::string items = "a", pattern;
  for (int i = 0; i < 999; ++i) items += ", " + std::string(20, 'a') + "b";
  for (int i = 0; i < 30; ++i) pattern += "*a";
  const std::clock_t start = std::clock();
  EXPECT_NE(message_of("list: [" + items.substr(0, 8000) + "]\nvariants: {v: {list[" + pattern + "*c]: 1}}\n")
                .find("no such item"),
            std::string::npos);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 1);
  EXPECT_EQ(message_of("list: [a]\nlist[" + std::string(65, 'a') + "]: 1\n"),
            "d.yaml:3:1: key 'list[" + std::string(55, 'a') +
                "...': it is for lists of up to 1000 items, and has up to 64 characters in its brackets");
}

TEST(DeckPatches, BracketsElsewhereAreWhatTheyWere) {
  const Deck deck =
      resolve("note: \"blocks[lif]: x\"\nlist: [a, \"b[0]: 1\"]\nexpect:\n  - mean(a[default]) < 1\n");
  EXPECT_EQ(deck.expect()[0].text, "mean(a[default]) < 1");
  EXPECT_NE(text_of(deck).find("\"blocks[lif]: x\""), std::string::npos) << text_of(deck);
}

const Files files{
    {"models/net.yaml", "model: {width: 8, blocks: [{name: lif, tau: 1}]}\nsmoke: {model.width: 2}\n"},
    {"models/deep.yaml", "use: models/net.yaml\nmodel: {depth: 4, blocks[lif]: {tau: 3}}\n"},
    {"protocols/fast.yaml", "run: {seeds: [5]}\ntrain: {steps: 10, rate: 0.1}\nsmoke: {train.steps: 1}\n"},
};

TEST(DeckFragments, AreLaidUnderTheDeckLaterOnesOverEarlierOnes) {
  const Deck deck = resolve(
      "use: [models/deep.yaml, protocols/fast.yaml]\nmodel: {width: 16}\ntrain: {steps: 20}\n", {}, files);
  EXPECT_EQ(text_of(deck),
            "model:\n  width: 16\n  blocks:\n    - name: lif\n      tau: 3\n  depth: 4\n"
            "train:\n  steps: 20\n  rate: 0.1\n");
  EXPECT_EQ(deck.run().seeds, (std::vector<int>{5}));
  EXPECT_EQ(deck.fragments().size(), 3U);
  EXPECT_EQ(deck.resolved().find("use"), std::string::npos);
  Files more = files;
  more["a.yaml"] = "train: {steps: 7}\n";
  const Deck twice = resolve("use: [protocols/fast.yaml, a.yaml]\n", {}, more);
  EXPECT_EQ(text_of(twice), "train:\n  steps: 7\n  rate: 0.1\n");
}

TEST(DeckFragments, BringSmokeSizesUnderThoseOfTheDeck) {
  const std::string text = "use: [models/net.yaml, protocols/fast.yaml]\nsmoke: {model.width: 3}\n";
  const Deck deck = resolve(text, {.smoke = true}, files);
  EXPECT_EQ(
      text_of(deck),
      "model:\n  width: 3\n  blocks:\n    - name: lif\n      tau: 1\ntrain:\n  steps: 1\n  rate: 0.1\n");
}

TEST(DeckFragments, MayBeUsedByOneVariant) {
  const std::string text =
      "train: {steps: 5}\nvariants:\n  a: {use: models/net.yaml, model: {width: 9}}\n  b: {model: {width: "
      "1}}\nsmoke: {train.steps: 2}\n";
  EXPECT_EQ(text_of(resolve(text, {}, files), "a"),
            "train:\n  steps: 5\nmodel:\n  width: 9\n  blocks:\n    - name: lif\n      tau: 1\n");
  EXPECT_EQ(text_of(resolve(text, {}, files), "b"), "train:\n  steps: 5\nmodel:\n  width: 1\n");
  EXPECT_EQ(text_of(resolve(text, {.smoke = true}, files), "a"),
            "train:\n  steps: 2\nmodel:\n  width: 2\n  blocks:\n    - name: lif\n      tau: 1\n");
  EXPECT_EQ(message_of("variants:\n  a: {use: protocols/fast.yaml}\n", {}, files),
            "protocols/fast.yaml:1:1: 'run' cannot differ between variants; a variant overrides the "
            "experiment's sections");
}

TEST(DeckFragments, MessagesNameFragmentAndPlace) {
  EXPECT_EQ(message_of("use: nowhere.yaml\n"), "d.yaml:2:6: 'use': there is no fragment 'nowhere.yaml'");
  EXPECT_EQ(message_of("use: [[a]]\n"),
            "d.yaml:2:7: 'use' must be a path, or a list of paths, of fragments such as models/resnet.yaml");
  EXPECT_EQ(message_of("use: a\n", {}, {{"a", "use: b\n"}, {"b", "x: 1\nuse: [a]\n"}}),
            "b:2:7: 'use' goes round in a circle: d.yaml -> a -> b -> a");
  EXPECT_EQ(message_of("use: a\n", {}, {{"a", "- 1\n"}}),
            "a:1:1: a fragment must be a mapping: sections of a deck (key: value)");
  EXPECT_EQ(names(resolve("use: a\nvariants: {y: {s.u: 2}, z: }\n", {},
                          {{"a", "variants: {x: {s.t: 1}, y: {s: {t: 1, u: 1}}}\n"}})),
            (Names{"x", "y", "z"}));
  EXPECT_EQ(text_of(resolve("use: a\nvariants: {y: {s.u: 2}, z: }\n", {},
                            {{"a", "variants: {x: {s.t: 1}, y: {s: {t: 1, u: 1}}}\n"}}),
                    "y"),
            "s:\n  t: 1\n  u: 2\n");
  EXPECT_EQ(message_of("use: a\n", {}, {{"a", "x: 1\nexpect: []\n"}}),
            "a:2:1: 'expect' has no place in a fragment; write it in the deck");
  EXPECT_EQ(message_of("use: a\n", {}, {{"a", "x: [\n"}}),
            "a: not valid YAML: the text ends inside a list, a mapping or a quote; is a bracket or a quote "
            "left open?");
  EXPECT_EQ(message_of("use: a\n", {}, {{"a", "run: {seeds: [x]}\n"}}),
            "a:1:15: 'run.seeds[0]' is 'x'; allowed: a list of at least 1 whole numbers, each at least 0");
  EXPECT_EQ(message_of("smoke: {use: a}\n"), "d.yaml:2:9: 'use' cannot be overridden here");
  EXPECT_EQ(message_from([] { Deck("run: {experiment: toy}\nuse: a\n", "d.yaml"); }),
            "d.yaml:2:6: 'use': fragments cannot be read here");
  Files chain;
  for (int i = 0; i < 100; ++i) chain["f" + std::to_string(i)] = "use: f" + std::to_string(i + 1) + "\n";
  EXPECT_EQ(message_of("use: f0\n", {}, chain), "f63:1:6: fragments are used more than 64 times");
}

TEST(DeckFragments, AreFoundBesideTheDeckAndInTheInputsAboveIt) {
  namespace fs = std::filesystem;
  const fs::path top = fs::path(std::getenv("TMPDIR") ? std::getenv("TMPDIR") : "/tmp") /
                       ("rankine_fragments_" + std::to_string(::getpid()));
  fs::create_directories(top / "inputs" / "models");
  fs::create_directories(top / "inputs" / "family");
  std::ofstream(top / "inputs" / "models" / "net.yaml") << "model: {width: 8}\n";
  std::ofstream(top / "inputs" / "family" / "own.yaml") << "train: {steps: 1}\n";
  const std::string deck = (top / "inputs" / "family" / "d.yaml").string();

  const DeckFragment shared = Deck::read_fragment("models/net.yaml", deck);
  EXPECT_EQ(shared.text, "model: {width: 8}\n");
  EXPECT_EQ(shared.path, (top / "inputs" / "models" / "net.yaml").string());
  EXPECT_EQ(Deck::read_fragment("own.yaml", deck).text, "train: {steps: 1}\n");
  EXPECT_EQ(message_from([&] { Deck::read_fragment("no.yaml", deck); }),
            "there is no fragment 'no.yaml'; looked for " + (top / "inputs" / "family" / "no.yaml").string() +
                " and " + (top / "inputs" / "no.yaml").string());
  EXPECT_EQ(message_from([&] { Deck::read_fragment("models", deck); }),
            (top / "inputs" / "models").string() + ": this is not a regular file; a fragment is a YAML file");
  fs::remove_all(top);
}

TEST(DeckFragments, AreStoredAndFoundAgain) {
  const std::string text = "run: {experiment: toy}\nuse: models/deep.yaml\n";
  const Deck deck(text, "d.yaml", {}, from(files));
  const Deck again(text, "d.yaml", {}, stored_fragments(fragments_text(deck.fragments())));
  EXPECT_EQ(again.resolved(), deck.resolved());
  EXPECT_EQ(
      message_from([&] { Deck(text, "d.yaml", {}, stored_fragments("[]")); }),
      "d.yaml:2:6: 'use': the fragment 'models/deep.yaml' was not stored with the deck; run the deck again");
  EXPECT_EQ(message_from([&] { Deck(text, "d.yaml", {}, stored_fragments("[{")); }),
            "d.yaml:2:6: 'use': the fragments stored with the deck are damaged; run the deck again");
}

TEST(DeckSweep, AProductOfKeysMakesVariants) {
  const Deck deck = resolve("sweep: {model.width: [16, 32], train.rate: [1e-3, 0.10]}\nmodel: {depth: 1}\n");
  EXPECT_EQ(names(deck), (Names{"16-1e-3", "16-0.10", "32-1e-3", "32-0.10"}));
  EXPECT_EQ(text_of(deck, "32-0.10"), "model:\n  depth: 1\n  width: 32\ntrain:\n  rate: 0.10\n");
  EXPECT_EQ(deck.number_at("32-0.10", "train.rate"), 0.1);
  const Deck again(deck.resolved(), "again.yaml");
  EXPECT_EQ(again.resolved(), deck.resolved());
  EXPECT_EQ(names(again), names(deck));
}

TEST(DeckSweep, AListOfOverridesMakesOneVariantEach) {
  const Deck deck = resolve(
      "sweep:\n  - {model.width: 16, train.steps: 3}\n  - {label: large, model: {width: 32}, train: {steps: "
      "9}}\n");
  EXPECT_EQ(names(deck), (Names{"16-3", "large"}));
  EXPECT_EQ(text_of(deck, "large"), "model:\n  width: 32\ntrain:\n  steps: 9\n");
}

TEST(DeckSweep, ValuesMayBeTextsListsComponentsAndRanges) {
  EXPECT_EQ(names(resolve("sweep: {a: [\"1:16\", [2, 3], {name: sgd, x: 1}, null]}\n")),
            (Names{"1_16", "2x3", "sgd", "none"}));
  EXPECT_EQ(names(resolve("sweep: {a: 8..10}\n")), (Names{"8", "9", "10"}));
  EXPECT_EQ(text_of(resolve(blocks + "sweep: {model.blocks[lif].tau: [2, 3]}\n"), "2"),
            with(conv2, lif2, conv3, lif2));
}

const std::string swept =
    "train: {rate: 0.1, steps: 9}\n"
    "sweep: {train.rate: [0.2, 0.3]}\nvariants:\n"
    "  a: {model: {width: 1}}\n"
    "  b: {sweep: {model.width: [7, 8]}, model: {width: 5, depth: 6}}\n"
    "  c: {sweep: {}, model: {width: 2}}\n";

TEST(DeckSweep, AVariantTakesTheDecksOrHasItsOwn) {
  const Deck deck = resolve(swept);
  EXPECT_EQ(names(deck), (Names{"a-0.2", "a-0.3", "b-7", "b-8", "c"}));
  EXPECT_EQ(text_of(deck, "a-0.3"), "train:\n  rate: 0.3\n  steps: 9\nmodel:\n  width: 1\n");
  EXPECT_EQ(text_of(deck, "b-8"), "train:\n  rate: 0.1\n  steps: 9\nmodel:\n  width: 8\n  depth: 6\n");
  EXPECT_EQ(text_of(deck, "c"), "train:\n  rate: 0.1\n  steps: 9\nmodel:\n  width: 2\n");
}

TEST(DeckSweep, OverridesAndOnlyMayNameOneVariantOrAllThatASweepMakes) {
  const Deck deck = resolve(swept + "smoke: {variants: {a: {train.steps: 1}, a-0.3: {train.steps: 2}}}\n",
                            {.smoke = true, .set = {"variants.a-0.2.train.rate=4"}, .only = {"a", "c"}});
  EXPECT_EQ(names(deck), (Names{"a-0.2", "a-0.3", "c"}));
  EXPECT_EQ(text_of(deck, "a-0.2"), "train:\n  rate: 4\n  steps: 1\nmodel:\n  width: 1\n");
  EXPECT_EQ(text_of(deck, "a-0.3"), "train:\n  rate: 0.3\n  steps: 2\nmodel:\n  width: 1\n");
}

TEST(DeckSweep, Messages) {
  EXPECT_EQ(message_of("sweep: {a: 3}\n"),
            "d.yaml:2:9: 'sweep': the values of 'a' must be a list, such as [0.1, 0.2], or whole numbers "
            "from a first to a last: 0..19");
  EXPECT_EQ(message_of("sweep: {a: []}\n"),
            "d.yaml:2:9: 'sweep': the values of 'a' must be a list, such as [0.1, 0.2], or whole numbers "
            "from a first to a last: 0..19");
  EXPECT_EQ(message_of("sweep: {a: 0..1000}\n"),
            "d.yaml:2:9: 'sweep': 'a': 0..1000 is empty or has more than 1000 numbers");
  EXPECT_EQ(message_of("sweep: {a: 0..99, b: 0..99}\n"),
            "d.yaml:2:19: 'sweep' makes more than 1000 variants");
  EXPECT_EQ(message_of("sweep: {a: 0..499}\nvariants: {x: , y: , z: }\n"),
            "d.yaml:3:22: the deck has more than 1000 variants");
  EXPECT_EQ(message_of("sweep: 3\n"),
            "d.yaml:2:8: 'sweep' must be a mapping of keys to lists of values, {train.learning_rate: [0.1, "
            "0.2]}, or a "
            "list of overrides, [{train.steps: 10}]");
  EXPECT_EQ(
      message_of("sweep: [3]\n"),
      "d.yaml:2:9: 'sweep': a point of the list must be a mapping of overrides, such as {train.steps: 10}");
  EXPECT_EQ(message_of("sweep: {a: [{x: 1}]}\n"),
            "d.yaml:2:13: no name of a variant follows from this value; write the sweep as a list of "
            "overrides with "
            "`label`: [{label: small, train: {...}}]");
  EXPECT_EQ(message_of("sweep: {a: [1, 1]}\n"),
            "d.yaml:2:1: two variants would have the name '1'; write the sweep as a list of overrides with "
            "`label`: "
            "[{label: small, train: {...}}]");
  EXPECT_EQ(
      message_of("sweep: {run.seeds: [1, 2]}\n"),
      "d.yaml:2:21: 'run' cannot differ between variants; a variant overrides the experiment's sections");
  EXPECT_EQ(message_of("sweep: {a: [.5]}\n"),
            "d.yaml:2:1: variant name '.5'; allowed: up to 64 letters, digits, '_', '-', '+' and '.', which "
            "is not the first");
  EXPECT_EQ(message_of("sweep: {a.b: [1, 2]}\nvariants:\n  x: {a: none}\n"),
            "d.yaml:4:3: the sweep makes 'x-1' and 'x-2' equal, because the variant 'x' sets what the deck "
            "sweeps; give "
            "it a sweep of its own, or `sweep: {}`");
  EXPECT_EQ(message_of(swept, {.only = {"a-0.4"}}),
            "--only a-0.4: d.yaml has no such variant; did you mean 'a-0.2'? (variants: a-0.2, a-0.3, b-7, "
            "b-8, c)");
  std::string wide = "model: {";
  for (int i = 0; i < 900; ++i) wide += "k" + std::to_string(i) + ": [1, 2, 3],\n ";
  EXPECT_EQ(message_of(wide + "last: 1}\nsweep: {a: 0..999}\n"),
            "d.yaml:903:1: the variants have more than 100000 values in all; make fewer of them, or spread "
            "them over several decks");
}

}  // namespace
}  // namespace rankine
