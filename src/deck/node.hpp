// A place in a deck. What was not read is rejected; every message says file, line and column.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/deck/options.hpp"

namespace rankine {

namespace deck {
struct Tree;     // src/deck/tree.hpp
struct Context;  // what all nodes of one deck share
}  // namespace deck

/// Handle to a value in a deck; copies refer to the same value. Keys that are read are noted, so that
/// reject_unread_keys() finds the others. All errors are InputError, identical on all ranks.
class DeckNode {
 public:
  /// An empty mapping that stands in no file; `where` names it in messages.
  explicit DeckNode(const std::string& where = "defaults");
  DeckNode(std::shared_ptr<deck::Tree> tree, std::shared_ptr<const deck::Context> context, std::string path);

  bool is_mapping() const;
  bool is_sequence() const;
  bool is_scalar() const;
  bool is_null() const;

  /// Whether this mapping gives the key (a default that was filled in does not count). Notes the key as
  /// known.
  bool has(std::string_view key) const;
  /// The value of a key that must be given.
  DeckNode child(std::string_view key) const;
  /// The mapping of a key; an empty one, so that all its options keep their defaults, if it is left out.
  DeckNode section(std::string_view key) const;
  /// Like section(), with the fallback written as a scalar: the value of a key that may be left out.
  DeckNode child_or(std::string_view key, const std::string& fallback) const;
  /// Keys given in this mapping, in the order of the text.
  std::vector<std::string> keys() const;
  /// Elements of this sequence.
  std::vector<DeckNode> items() const;

  /// Reads all options of S from this mapping and rejects keys that are not among them (nor read before).
  /// Then calls `subject.validate(const DeckNode&)` if there is one: the place for rules between options.
  template <class S>
  void read(S& subject) const {
    const std::unique_ptr<OptionVisitor> visitor = reader();
    subject.options(*visitor);
    reject_unread_keys();
    if constexpr (requires { subject.validate(*this); }) subject.validate(*this);
  }

  /// Reads options into the struct passed to `options()`; does not look at other keys.
  std::unique_ptr<OptionVisitor> reader() const;

  bool as_bool() const;
  long as_integer(const OptionMeta& meta = {}) const;
  double as_number(const OptionMeta& meta = {}) const;
  std::string as_text(const OptionMeta& meta = {}) const;
  std::vector<long> as_integers(const OptionMeta& meta = {}) const;
  std::vector<double> as_numbers(const OptionMeta& meta = {}) const;
  std::vector<std::string> as_texts(const OptionMeta& meta = {}) const;

  /// Throws InputError for the first key of this mapping that nobody asked for; lists the keys that exist.
  void reject_unread_keys() const;

  /// "deck.yaml:12:5", or "--set train.steps" for a value from the command line.
  std::string where() const;
  /// "train.optimizer", or "" for the whole deck.
  const std::string& path() const { return path_; }
  /// Throws InputError "where: message", naming the variant if the node is part of one.
  [[noreturn]] void error(const std::string& message) const;
  /// The same at the value of `key`, if given, else at this mapping.
  [[noreturn]] void error_at(std::string_view key, const std::string& message) const;

  /// A copy that shares nothing with this.
  DeckNode copy() const;
  /// The whole number that stands at a path below this mapping, such as "blocks[7].units"; none if there is
  /// none. A key that names several items of a list means the first.
  std::optional<long> integer_at(const std::string& path) const;
  /// Puts a number there, in all items that the path names, as an override would.
  void set_integer(const std::string& path, long value) const;
  /// Takes a key out of this mapping.
  void drop(std::string_view key) const;

  /// Notes that this text is a path. An input becomes the path under which it was found; InputError where two
  /// different files could be meant.
  void take_path(std::string* path, FileUse use) const;

  /// This value as YAML, including the defaults of all options read so far.
  std::string yaml(int indent = 0) const;

  deck::Tree& tree() const { return *tree_; }

 private:
  std::shared_ptr<deck::Tree> tree_;
  std::shared_ptr<const deck::Context> context_;
  std::string path_;
};

/// The deck in `text`, which messages call `file`. Throws InputError for anything that is not one YAML
/// mapping without anchors, aliases, tags and duplicate keys.
DeckNode parse_deck_text(const std::string& text, const std::string& file);

}  // namespace rankine
