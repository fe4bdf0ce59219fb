// The syntax tree of a deck, in which every key and value knows its place in the text. Internal to src/deck.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/deck/options.hpp"

namespace rankine::deck {

/// The place of a key or value. Line and column count from 1; they are 0 if `source` alone is the place, such
/// as "--set a.b".
struct Mark {
  std::shared_ptr<const std::string> source;
  int line = 0, column = 0;
  std::string text() const;
};

/// Throws InputError "where: message".
[[noreturn]] void fail(const Mark& mark, const std::string& message);

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
  FileUse file = FileUse::none;  // the kind of file, if an option has read this text as a path
  bool snapshot = false;         // whether an option has read this text as the name of a snapshot
  std::string looked;            // the paths that were tried, if an input was not found
  std::vector<std::shared_ptr<Tree>> items;
  std::vector<Entry> entries;
  std::vector<std::string> asked;  // the keys that readers have asked for, in that order

  Entry* find(std::string_view key);
  const Entry* find(std::string_view key) const;
  void ask(std::string_view key);
  /// Adds or replaces a default. A value that the user gave stays.
  void set_default(std::string_view key, std::shared_ptr<Tree> value);
};

/// The largest number of values in one text, and in a resolved deck with all its variants.
constexpr std::size_t max_values = 100'000;

struct Context {
  std::string variant;       // "" if the deck has no variants
  std::string folder = ".";  // the folder of the deck's file
};

/// Parses one YAML document (src/deck/yaml.cpp). Messages call the text `mark_source`, and give line and
/// column if `positions`. Throws InputError.
std::shared_ptr<Tree> parse_yaml(const std::string& text, const std::string& mark_source,
                                 bool positions = true);

std::shared_ptr<Tree> copy(const Tree& tree);
std::shared_ptr<Tree> empty_mapping(const Mark& mark);

/// Removes the entry of a key from the mapping, and returns it; nothing if there is none.
std::optional<Tree::Entry> take(Tree& mapping, std::string_view key);

/// Overrides `base` by `over`: mappings are merged key by key, all other values are replaced. A mapping with
/// another `name` replaces the whole component, because the options of another component would not fit. The
/// value of a key such as `blocks[lif]` is merged into the items of the list `blocks` that the key selects;
/// InputError if it selects none. Keys are applied in their order.
void merge(Tree& base, const Tree& over);

/// The parts of a key such as `blocks[lif]`. `item` selects items by position from 0 (`2`), by a range of
/// positions (`0..2`), or by their `name`, in which `*` stands for any text and `?` for any character.
struct ListKey {
  std::string list, item;
};
/// Nothing if the key has another form.
std::optional<ListKey> list_key(const std::string& key);
/// The positions of the items that ListKey::item selects.
std::vector<std::size_t> chosen_items(const Tree& list, const std::string& item);

/// Reads a range such as "0..19"; "3" is the range 3..3. False if the text is neither.
bool parse_range(const std::string& text, std::size_t& first, std::size_t& last);

/// The value at a path such as "model.blocks[lif].tau"; null if there is none. If a key selects several
/// items, the first one counts.
const Tree* at_path(const Tree& tree, const std::string& path);

/// Replaces dotted keys ("train.steps": 3) at the top level of `tree` by nested mappings. Dots within
/// brackets do not separate, nor do dots in the names `variants` behind "variants.". Throws InputError if a
/// part of a key is empty, or if a value on the path is no mapping.
void expand_dotted_keys(Tree& tree, const std::vector<std::string>& variants = {});

/// The value of an option as a tree, without a place.
std::shared_ptr<Tree> tree_of(const OptionTarget& target);

/// Whether the text needs no quotes anywhere in a YAML document.
bool is_plain_safe(const std::string& text);

/// Reads the whole text as a number of decimal digits, sign, point and exponent. False if it is no number, or
/// out of range.
bool parse_number(const std::string& text, double& value);

/// The tree as YAML text; each line is indented by `indent` spaces.
std::string write_yaml(const Tree& tree, int indent);

}  // namespace rankine::deck
