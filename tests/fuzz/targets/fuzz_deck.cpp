// Decks: YAML, fragments, patches of lists, sweeps, variants, smoke sizes, sections of the program's own,
// expectations, and what --set may bring. Fragments come from memory: no deck makes the target read a file.
// The options of experiments are read by the same code.
#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>

#include "kernels/error.hpp"
#include "src/deck/deck.hpp"
#include "src/deck/expect.hpp"
#include "tests/fuzz/targets/guard.hpp"

namespace {

/// A section with one option of each kind.
struct Sample {
  bool flag = false;
  long count = 3;
  double rate = 1e-3;
  std::string name = "a";
  std::vector<int> sizes{1};
  std::vector<double> values;
  struct Inner {
    double depth = 0;
    void options(rankine::OptionVisitor& o) { o("depth", depth, {.help = "depth", .min = 0}); }
  } inner;
  void options(rankine::OptionVisitor& o) {
    o("flag", flag, {.help = "flag"});
    o("count", count, {.help = "count", .min = 1, .max = 100});
    o("rate", rate, {.help = "rate", .min = 0, .exclusive_min = true});
    o("name", name, {.help = "name", .choices = {"a", "b", "constant"}});
    o("sizes", sizes, {.help = "sizes"});
    o("values", values, {.help = "values"});
    o.group("inner", inner, "inner");
  }
};

/// Whether a line begins with a key that has a dot in it. A plain key ends at a colon that ends the line or
/// has a space behind it; quotes may hold both.
bool has_dotted_key(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t begin = line.find_first_not_of(" -");
    if (begin == std::string::npos) continue;
    std::size_t end = begin;
    if (line[begin] == '"') {
      do end += line[end] == '\\' ? 2 : 1;
      while (end < line.size() && line[end] != '"');
      if (line.compare(std::min(end, line.size()), 2, "\":") != 0) continue;
    } else {
      end = std::min(line.find(": "), line.back() == ':' ? line.size() - 1 : std::string::npos);
      if (end == std::string::npos) continue;
    }
    if (line.find('.', begin) < end) return true;
  }
  return false;
}

/// "base" and "more" are there, and a fragment named "self" is the deck.
rankine::FragmentReader fragments(const std::string& text) {
  return [text](const std::string& name, const std::string& from) {
    if (name == "base")
      return rankine::DeckFragment{from, name, name,
                                   "train: {rate: 2, sizes: [3], sizes[0]: 4}\nsmoke: {train.count: 2}\n"};
    if (name == "more")
      return rankine::DeckFragment{from, name, name, "use: base\nvariants: {a: {train.count: 6}}\n"};
    if (name == "self") return rankine::DeckFragment{from, name, name, text};
    throw rankine::InputError("there is no fragment '" + name + "'");
  };
}

void read(const std::string& text, const rankine::DeckRequest& request) {
  try {
    const rankine::Deck deck(text, "deck.yaml", request, fragments(text));
    for (const rankine::Deck::Variant& variant : deck.variants()) {
      try {
        Sample sample;
        variant.node.section("train").read(sample);
      } catch (const rankine::InputError&) {
      }
      static_cast<void>(deck.settings(variant.name));
    }
    for (const rankine::ExpectLine& line : deck.expect()) {  // the first that is wrong ends it
      const rankine::Expectation expectation(
          line.text, "expect", deck.all_variants(), {},
          [&](const std::string& variant, const std::string& path) { return deck.number_at(variant, path); });
      static_cast<void>(expectation.evaluate([](const std::string& metric, const std::string& variant) {
        const auto shift = static_cast<double>((metric.size() + 3 * variant.size()) % 7);
        return std::vector<double>{1 + shift, 2, 3 - shift};
      }));
    }
    // What the program writes of a deck is a deck; but names of sections with dots, which no experiment has,
    // are read as paths.
    const std::string resolved = deck.resolved();
    if (resolved.size() > 10'000 || has_dotted_key(resolved)) return;
    try {
      static_cast<void>(rankine::Deck(resolved, "resolved.yaml"));
    } catch (const rankine::InputError& error) {
      std::fprintf(stderr, "ERROR: the resolved deck is no deck: %s\n%s\n", error.what(), resolved.c_str());
      std::abort();
    }
  } catch (const rankine::InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  rankine::fuzz::install_hooks();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  rankine::fuzz::watch([&] { read(text, {}); });
  if (size == 0 || size > 4000) return 0;
  // The same with smoke sizes, and with its last line as an override.
  const std::size_t line = text.rfind('\n', size - 2);
  rankine::fuzz::watch([&] {
    read(text, {.smoke = true, .set = {line == std::string::npos ? text : text.substr(line + 1)}});
  });
  return 0;
}
