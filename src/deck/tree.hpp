// The deck as our own tree: every key and value knows where it was written. Internal to src/deck.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/deck/options.hpp"

namespace rankine::deck {

/// Where something was written. Line and column count from 1; 0 means that `source` alone says it ("--set
/// a.b").
struct Mark {
  std::shared_ptr<const std::string> source;
  int line = 0, column = 0;
  std::string text() const;
};

struct Tree {
  enum class Kind { null, scalar, sequence, mapping };
  struct Entry {
    std::string key;
    Mark mark;
    std::shared_ptr<Tree> value;
    bool is_default = false;  // filled in by a reader, not given by the user
  };

  Kind kind = Kind::null;
  Mark mark;
  std::string scalar;
  bool quoted = false;
  FileUse file = FileUse::none;  // of a text that an option has read as a path
  bool snapshot = false;         // of a text that an option has read as the name of a snapshot
  std::string looked;            // where an input was looked for in vain
  std::vector<std::shared_ptr<Tree>> items;
  std::vector<Entry> entries;
  std::vector<std::string> asked;  // keys that readers know, in the order of asking

  Entry* find(std::string_view key);
  const Entry* find(std::string_view key) const;
  void ask(std::string_view key);
  /// Adds or replaces a default; never touches what the user gave.
  void set_default(std::string_view key, std::shared_ptr<Tree> value);
};

struct Context {
  std::string variant;       // "" if the deck has no variants
  std::string folder = ".";  // of the deck's file
};

/// Parses one YAML document (src/deck/yaml.cpp). `mark_source`: what messages call the text; without
/// positions if `positions` is false. Throws InputError.
std::shared_ptr<Tree> parse_yaml(const std::string& text, const std::string& mark_source,
                                 bool positions = true);

std::shared_ptr<Tree> copy(const Tree& tree);

/// Lays `over` onto `base`: mappings are merged key by key, everything else is replaced. A mapping whose
/// `name` differs replaces the whole component, because the options of another component would not fit it.
void merge(Tree& base, const Tree& over);

/// Replaces keys with dots ("train.steps": 3) by nested mappings, at the top level of `tree`. Throws
/// InputError for an empty part or a path through something that is no mapping.
void expand_dotted_keys(Tree& tree);

/// The value of an option as a tree without position.
std::shared_ptr<Tree> tree_of(const OptionTarget& target);

/// Whether the text can stand without quotes in any place of a YAML document.
bool is_plain_safe(const std::string& text);

/// Whole text as a number: decimal digits, sign, point and exponent only. False if it is no number or out of
/// range.
bool parse_number(const std::string& text, double& value);

/// The tree as YAML text; each line is indented by `indent` spaces.
std::string write_yaml(const Tree& tree, int indent);

}  // namespace rankine::deck
