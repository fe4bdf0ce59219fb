// Reading, describing and dumping options; the wording of messages is pinned.
#include <gtest/gtest.h>

#include "kernels/error.hpp"
#include "src/deck/node.hpp"
#include "src/deck/registry.hpp"

namespace rankine {
namespace {

struct Schedule {
  int warm_up = 30;
  std::string shape = "cosine";
  void options(OptionVisitor& o) {
    o("warm_up", warm_up, {.help = "steps of linear increase", .min = 0});
    o("shape", shape, {.help = "decay after it", .choices = {"cosine", "constant"}});
  }
};

struct Layer {
  int width = 0;
  void options(OptionVisitor& o) { o("width", width, {.help = "channels", .min = 1, .required = true}); }
};

struct Train {
  bool shuffle = true;
  int steps = 1000;
  long samples = 64;
  double learning_rate = 4e-3;
  std::string name_of_run = "a run";
  std::vector<int> modes{8, 8};
  std::vector<double> weights{1.0, 0.5};
  std::vector<std::string> losses{"residual"};
  std::optional<double> clip;
  std::optional<int> limit = 3;
  Schedule schedule;
  std::vector<Layer> layers;
  void options(OptionVisitor& o) {
    o("shuffle", shuffle, {.help = "new order in each epoch"});
    o("steps", steps, {.help = "training steps", .min = 1, .max = 100000});
    o("samples", samples, {.help = "training samples", .min = 1});
    o("learning_rate", learning_rate, {.help = "step size", .unit = "1", .min = 0, .exclusive_min = true});
    o("name_of_run", name_of_run, {.help = "free text"});
    o("modes", modes, {.help = "kept modes", .min = 1, .min_size = 2, .max_size = 2});
    o("weights", weights, {.help = "loss weights", .min = 0});
    o("losses", losses, {.help = "terms", .choices = {"residual", "data"}});
    o("clip", clip, {.help = "gradient norm limit", .min = 0, .exclusive_min = true});
    o("limit", limit, {.help = "something with a default"});
    o.group("schedule", schedule, "learning rate over the steps");
    o.list("layers", layers, "hidden layers");
  }
};

std::string message_of(const std::string& text) {
  try {
    Train train;
    parse_deck_text(text, "d.yaml").read(train);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Options, ReadsEveryType) {
  Train train;
  const DeckNode deck = parse_deck_text(
      "shuffle: false\nsteps: 12\nsamples: 3000000000\nlearning_rate: 1e-4\nname_of_run: \"5\"\nmodes: [4, "
      "6]\n"
      "weights: [1, .5, 2.]\nlosses: [data, residual]\nclip: 1\nlimit: null\nschedule: {warm_up: 0}\n"
      "layers:\n  - width: 3\n  - {width: 4}\n",
      "d.yaml");

  deck.read(train);

  EXPECT_FALSE(train.shuffle);
  EXPECT_EQ(train.steps, 12);
  EXPECT_EQ(train.samples, 3000000000L);
  EXPECT_EQ(train.learning_rate, 1e-4);
  EXPECT_EQ(train.name_of_run, "5");
  EXPECT_EQ(train.modes, (std::vector<int>{4, 6}));
  EXPECT_EQ(train.weights, (std::vector<double>{1, 0.5, 2}));
  EXPECT_EQ(train.losses, (std::vector<std::string>{"data", "residual"}));
  EXPECT_EQ(train.clip, 1.0);
  EXPECT_FALSE(train.limit.has_value());
  EXPECT_EQ(train.schedule.warm_up, 0);
  EXPECT_EQ(train.schedule.shape, "cosine");
  ASSERT_EQ(train.layers.size(), 2U);
  EXPECT_EQ(train.layers[1].width, 4);
}

TEST(Options, WhatIsLeftOutKeepsItsDefaultAndShowsInTheResolvedDeck) {
  Train train;
  const DeckNode deck = parse_deck_text("steps: 5\n", "d.yaml");

  deck.read(train);

  EXPECT_EQ(train.learning_rate, 4e-3);
  EXPECT_EQ(deck.yaml(),
            "steps: 5\nshuffle: true\nsamples: 64\nlearning_rate: 0.004\nname_of_run: a run\nmodes: [8, 8]\n"
            "weights: [1, 0.5]\nlosses: [residual]\nclip: null\nlimit: 3\nschedule:\n  warm_up: 30\n  shape: "
            "cosine\n");
  EXPECT_EQ(deck.keys(), (std::vector<std::string>{"steps"}));
}

TEST(Options, TheResolvedDeckReadsBackTheSame) {
  Train first, second;
  const DeckNode deck =
      parse_deck_text("name_of_run: \"true\"\nlearning_rate: 0.1\nlayers: [{width: 2}]\n", "d.yaml");
  deck.read(first);

  parse_deck_text(deck.yaml(), "again.yaml").read(second);

  EXPECT_EQ(dump_options(first), dump_options(second));
  EXPECT_EQ(second.name_of_run, "true");
}

TEST(Options, ReadingTwiceIsTheSameAsOnce) {
  Train first, second;
  const DeckNode deck = parse_deck_text("steps: 5\n", "d.yaml");
  deck.read(first);
  second.learning_rate = 1;  // a default set by the program between the readings still counts

  deck.read(second);

  EXPECT_EQ(second.learning_rate, 1);
}

TEST(Options, MessagesNamePlaceValueRuleAndRemedy) {
  EXPECT_EQ(
      message_of("stesp: 3\n"),
      "d.yaml:1:1: unknown key 'stesp' in the deck; did you mean 'steps'? (keys: shuffle, steps, samples, "
      "learning_rate, name_of_run, modes, weights, losses, clip, limit, schedule, layers)");
  EXPECT_EQ(
      message_of("steps: 3\nschedule: {warmup: 3}\n"),
      "d.yaml:2:12: unknown key 'warmup' in 'schedule'; did you mean 'warm_up'? (keys: warm_up, shape)");
  EXPECT_EQ(
      message_of("steps: 0\n"),
      "d.yaml:1:8: 'steps': '0' is out of range; allowed: a whole number at least 1 and at most 100000");
  EXPECT_EQ(message_of("steps: 1x\n"),
            "d.yaml:1:8: 'steps' is '1x'; allowed: a whole number at least 1 and at most 100000");
  EXPECT_EQ(
      message_of("steps: \"7\"\n"),
      "d.yaml:1:8: 'steps' is the quoted text '7'; allowed: a whole number at least 1 and at most 100000");
  EXPECT_EQ(
      message_of("samples: 010\n"),
      "d.yaml:1:10: 'samples': '010' has leading zeros, which some readers take as octal; allowed: a whole "
      "number at least 1");
  EXPECT_EQ(message_of("samples: 1e4\n"),
            "d.yaml:1:10: 'samples' is '1e4'; allowed: a whole number at least 1");
  EXPECT_EQ(message_of("samples: 99999999999999999999\n"),
            "d.yaml:1:10: 'samples': '99999999999999999999' is too large for an integer; allowed: a whole "
            "number at "
            "least 1");
  EXPECT_EQ(message_of("learning_rate: 0\n"),
            "d.yaml:1:16: 'learning_rate': '0' is out of range; allowed: a number greater than 0");
  EXPECT_EQ(message_of("learning_rate: .nan\n"),
            "d.yaml:1:16: 'learning_rate' is '.nan'; allowed: a number greater than 0");
  EXPECT_EQ(message_of("learning_rate: 1e999\n"),
            "d.yaml:1:16: 'learning_rate' is '1e999'; allowed: a number greater than 0");
  EXPECT_EQ(message_of("learning_rate: 0x10\n"),
            "d.yaml:1:16: 'learning_rate' is '0x10'; allowed: a number greater than 0");
  EXPECT_EQ(message_of("shuffle: yes\n"), "d.yaml:1:10: 'shuffle' is 'yes'; allowed: true or false");
  EXPECT_EQ(
      message_of("schedule: {shape: cosin}\n"),
      "d.yaml:1:19: 'schedule.shape': 'cosin' is unknown; allowed: one of cosine, constant; did you mean "
      "'cosine'?");
  EXPECT_EQ(message_of("modes: 8\n"),
            "d.yaml:1:8: 'modes' is '8'; allowed: a list of 2 whole numbers, each at least 1");
  EXPECT_EQ(message_of("modes: [8]\n"),
            "d.yaml:1:8: 'modes' has 1 entry; allowed: a list of 2 whole numbers, each at least 1");
  EXPECT_EQ(
      message_of("modes: [8, 0]\n"),
      "d.yaml:1:12: 'modes[1]': '0' is out of range; allowed: a list of 2 whole numbers, each at least 1");
  EXPECT_EQ(
      message_of("losses: [residual, dat]\n"),
      "d.yaml:1:20: 'losses[1]': 'dat' is unknown; allowed: a list of texts, each one of residual, data; did "
      "you mean 'data'?");
  EXPECT_EQ(message_of("steps: {a: 1}\n").substr(0, 33), "d.yaml:1:8: 'steps' is a mapping;");
  EXPECT_EQ(message_of("a: 1\nsteps:\n").substr(0, 31), "d.yaml:2:1: 'steps' is nothing;");
  EXPECT_EQ(message_of("schedule: [1]\n"), "d.yaml:1:11: 'schedule' is a list; allowed: a mapping");
  EXPECT_EQ(message_of("layers: [{}]\n"), "d.yaml:1:10: key 'width' is missing in 'layers[0]'");
  EXPECT_EQ(message_of("layers: [{widht: 3}]\n"),
            "d.yaml:1:10: key 'width' is missing in 'layers[0]'; 'widht' stands at d.yaml:1:11: was 'width' "
            "meant?");
  EXPECT_EQ(message_of("layers: 4\n"), "d.yaml:1:9: 'layers' is '4'; allowed: a list of mappings");
}

TEST(Options, DescribesItself) {
  Schedule schedule;

  EXPECT_EQ(describe_options(schedule),
            "  key      type     default  allowed            meaning\n"
            "  warm_up  integer  30       at least 0         steps of linear increase\n"
            "  shape    text     cosine   cosine | constant  decay after it\n");
  EXPECT_EQ(describe_options(schedule, OptionDescriber::Style::markdown),
            "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n"
            "| `warm_up` | integer | `30` | at least 0 | steps of linear increase |\n"
            "| `shape` | text | `cosine` | cosine \\| constant | decay after it |\n");
}

TEST(Options, DescribesGroupsListsAndRequiredKeys) {
  Train train;

  const std::string table = describe_options(train);

  EXPECT_NE(table.find("schedule.warm_up "), std::string::npos) << table;
  EXPECT_NE(table.find("layers[].width"), std::string::npos) << table;
  EXPECT_NE(table.find("required"), std::string::npos) << table;
}

class Pde {
 public:
  virtual ~Pde() = default;
  virtual double speed() const = 0;
};
class Advection : public Pde {
 public:
  struct Options {
    double speed = 1;
    void options(OptionVisitor& o) { o("speed", speed, {.help = "velocity", .unit = "m/s"}); }
  };
  Advection(Options options, double factor) : speed_(options.speed * factor) {}
  double speed() const override { return speed_; }

 private:
  double speed_;
};
class Still : public Pde {
 public:
  void options(OptionVisitor&) {}
  double speed() const override { return 0; }
};

const Registry<Pde, double>& pdes() {
  static const Registry<Pde, double> table("pde", {
                                                      entry<Advection>("advection", "things move"),
                                                      entry<Still>("still", "nothing moves"),
                                                  });
  return table;
}

TEST(RegistryOf, MakesWhatTheDeckNames) {
  const DeckNode deck =
      parse_deck_text("a: {name: advection, speed: 3}\nb: still\nc: {speed: 4}\n", "d.yaml");

  EXPECT_EQ(pdes().make(deck.child("a"), 2.0)->speed(), 6);
  EXPECT_EQ(pdes().make(deck.child("b"), 2.0)->speed(), 0);
  EXPECT_EQ(pdes().make_or("advection", deck.section("c"), 1.0)->speed(), 4);
  EXPECT_EQ(pdes().make_or("advection", deck.section("d"), 1.0)->speed(), 1);
  EXPECT_EQ(pdes().names(), (std::vector<std::string>{"advection", "still"}));
  EXPECT_EQ(deck.yaml(),
            "a:\n  name: advection\n  speed: 3\nb:\n  name: still\nc:\n  speed: 4\n  name: advection\n"
            "d:\n  name: advection\n  speed: 1\n");
}

TEST(RegistryOf, UnknownNamesAndKeysAreErrors) {
  const auto message = [](const std::string& text) -> std::string {
    try {
      pdes().make(parse_deck_text(text, "d.yaml").child("pde"), 1.0);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };

  EXPECT_EQ(message("pde: {name: advektion}\n"),
            "d.yaml:1:13: unknown pde 'advektion'; did you mean 'advection'? (pdes: advection, still)");
  EXPECT_EQ(message("pde: {name: advection, sped: 1}\n"),
            "d.yaml:1:24: unknown key 'sped' in 'pde'; did you mean 'speed'? (keys: name, speed)");
  EXPECT_EQ(message("pde: {speed: 1}\n"), "d.yaml:1:6: key 'name' is missing in 'pde'");
  EXPECT_EQ(message("pde: {name: still, speed: 1}\n"),
            "d.yaml:1:20: unknown key 'speed' in 'pde'; (keys: name)");
}

}  // namespace
}  // namespace rankine
