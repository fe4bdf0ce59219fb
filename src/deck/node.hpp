// Access to a place in a deck. Keys that no reader asks for are rejected, and every message gives file, line
// and column.
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

/// A handle to a value in a deck; copies refer to the same value. It records which keys were read, so that
/// reject_unread_keys() finds the others. All errors are InputError, and identical on all ranks.
class DeckNode {
 public:
  /// An empty mapping that comes from no file; messages call its place `where`.
  explicit DeckNode(const std::string& where = "defaults");
  DeckNode(std::shared_ptr<deck::Tree> tree, std::shared_ptr<const deck::Context> context, std::string path);

  bool is_mapping() const;
  bool is_sequence() const;
  bool is_scalar() const;
  bool is_null() const;

  /// Whether the user gave this key; a default that was filled in does not count. Records the key as known.
  bool has(std::string_view key) const;
  /// The value of a required key. Throws InputError if it is missing.
  DeckNode child(std::string_view key) const;
  /// The mapping of an optional key. If the key is missing: an empty mapping, so that all options keep their
  /// defaults.
  DeckNode section(std::string_view key) const;
  /// The value of an optional key. If the key is missing: the scalar `fallback`.
  DeckNode child_or(std::string_view key, const std::string& fallback) const;
  /// The keys of this mapping that the user gave, in the order of the text.
  std::vector<std::string> keys() const;
  /// The elements of this sequence.
  std::vector<DeckNode> items() const;

  /// Reads all options of S from this mapping, and rejects keys that are neither among them nor read before.
  /// Then calls `subject.validate(const DeckNode&)` if S has it, which checks options against each other.
  template <class S>
  void read(S& subject) const {
    const std::unique_ptr<OptionVisitor> visitor = reader();
    subject.options(*visitor);
    reject_unread_keys();
    if constexpr (requires { subject.validate(*this); }) subject.validate(*this);
  }

  /// A visitor that reads the options of a struct from this mapping, and leaves other keys alone.
  std::unique_ptr<OptionVisitor> reader() const;

  bool as_bool() const;
  long as_integer(const OptionMeta& meta = {}) const;
  double as_number(const OptionMeta& meta = {}) const;
  std::string as_text(const OptionMeta& meta = {}) const;
  std::vector<long> as_integers(const OptionMeta& meta = {}) const;
  std::vector<double> as_numbers(const OptionMeta& meta = {}) const;
  std::vector<std::string> as_texts(const OptionMeta& meta = {}) const;

  /// Throws InputError for the first key of this mapping that no reader asked for; the message lists the
  /// known keys.
  void reject_unread_keys() const;

  /// The place of this value: "deck.yaml:12:5", or "--set train.steps" if it comes from the command line.
  std::string where() const;
  /// The path of keys to this value: "train.optimizer", or "" for the whole deck.
  const std::string& path() const { return path_; }
  /// Throws InputError "where: message". The message names the variant that this node belongs to, if any.
  [[noreturn]] void error(const std::string& message) const;
  /// Throws the same with the place of the value of `key`, or with that of this mapping if the key is
  /// missing.
  [[noreturn]] void error_at(std::string_view key, const std::string& message) const;

  /// A deep copy.
  DeckNode copy() const;
  /// The integer at a path below this mapping, such as "blocks[7].units"; nothing if there is no integer. If
  /// a key of the path names several items of a list, the first one counts.
  std::optional<long> integer_at(const std::string& path) const;
  /// Sets the integer at a path, in all list items that the path names.
  void set_integer(const std::string& path, long value) const;
  /// Removes a key from this mapping.
  void drop(std::string_view key) const;

  /// Records that this text is a path. The path of an input is replaced by the one under which the file was
  /// found. InputError if the path could mean two different files.
  void take_path(std::string* path, FileUse use) const;

  /// This value as YAML, including the defaults of all options that have been read by now.
  std::string yaml(int indent = 0) const;

  deck::Tree& tree() const { return *tree_; }

 private:
  std::shared_ptr<deck::Tree> tree_;
  std::shared_ptr<const deck::Context> context_;
  std::string path_;
};

/// Parses a deck; messages call it `file`. Throws InputError if `text` is not exactly one YAML mapping, or
/// has anchors, aliases, tags or duplicate keys.
DeckNode parse_deck_text(const std::string& text, const std::string& file);

}  // namespace rankine
