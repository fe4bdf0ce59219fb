// The only file that uses yaml-cpp. Version 0.7 accepts duplicate keys, follows aliases without limit, and is
// known to exhaust memory on some inputs. Therefore the text is checked before yaml-cpp parses it, and its
// events are checked as they arrive.
#include <algorithm>
#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"
#include "src/core/text_cursor.hpp"
#include "src/deck/tree.hpp"

namespace rankine::deck {
namespace {

constexpr std::size_t max_bytes = std::size_t{1} << 20U;
constexpr std::size_t max_line = 8192;
constexpr std::size_t max_keys = 1000;  // of one mapping
constexpr int max_depth = 48;

class Guard {
 public:
  Guard(const std::string& text, const std::string& source) : text_(text), source_(source) {}

  void check() {
    if (text_.size() > max_bytes) {
      throw InputError(source_ + ": the deck has " + std::to_string(text_.size()) + " bytes; at most " +
                       std::to_string(max_bytes) + " are allowed");
    }
    check_bytes();
    check_nesting();
  }

 private:
  [[noreturn]] void fail(std::size_t line, std::size_t column, const std::string& what) const {
    throw InputError(source_ + ":" + std::to_string(line) + ":" + std::to_string(column) + ": " + what);
  }

  /// Length of the UTF-8 sequence at `i`, or 0 if there is none.
  std::size_t sequence_length(std::size_t i) const {
    const auto byte = [this](std::size_t k) {
      return k < text_.size() ? static_cast<unsigned char>(text_[k]) : 0U;
    };
    const unsigned first = byte(i);
    const std::size_t length = first < 0x80                    ? 1
                               : first >= 0xC2 && first < 0xE0 ? 2
                               : (first & 0xF0U) == 0xE0       ? 3
                               : first >= 0xF0 && first < 0xF5 ? 4
                                                               : 0;
    for (std::size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xC0U) != 0x80U) return 0;
    }
    if (first == 0xE0 && byte(i + 1) < 0xA0) return 0;   // over-long
    if (first == 0xED && byte(i + 1) >= 0xA0) return 0;  // a surrogate
    if (first == 0xF0 && byte(i + 1) < 0x90) return 0;   // over-long
    if (first == 0xF4 && byte(i + 1) >= 0x90) return 0;  // beyond Unicode
    return length;
  }

  /// Whether the blanks up to and including position `i` are followed by something on their line.
  bool indents(std::size_t start, std::size_t i) const {
    if (text_.find_first_not_of(' ', start) != i) return false;
    const std::size_t next = text_.find_first_not_of(" \t", i);
    return next != std::string::npos && text_[next] != '\n' && text_[next] != '\r';
  }

  void check_bytes() const {
    std::size_t line = 1, start = 0;
    for (std::size_t i = 0; i < text_.size();) {
      const unsigned char c = static_cast<unsigned char>(text_[i]);
      const std::size_t column = i - start + 1;
      if (c == '\n') {
        ++line;
        start = ++i;
        continue;
      }
      const std::size_t length = sequence_length(i);
      if (length == 0) fail(line, column, "this byte is not UTF-8 text; a deck is a YAML text file");
      const bool control = (c < 0x20 && c != '\t' && c != '\r') || c == 0x7F;
      if (control) fail(line, column, "control characters are not allowed; a deck is a YAML text file");
      if (c == '\t' && indents(start, i)) {
        fail(line, column, "tabs cannot indent YAML; use spaces");
      }
      if (column > max_line) {
        fail(line, 1, "this line is longer than " + std::to_string(max_line) + " bytes; break it");
      }
      i += length;
    }
  }

  // An estimate of the depth from brackets and indicators alone. It may count a bracket within a text; the
  // limit is therefore far above what a deck needs.
  void check_nesting() const {
    std::size_t line = 1, start = 0;
    int open = 0, on_this_line = 0;
    bool leading = true, in_double = false, in_single = false;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      const char c = text_[i];
      if (c == '\n') {
        ++line;
        start = i + 1;
        on_this_line = 0;
        leading = true;
        in_double = in_single = false;
        continue;
      }
      if (in_double) {
        if (c == '\\') ++i;
        if (c == '"') in_double = false;
        continue;
      }
      if (in_single) {
        if (c == '\'') in_single = false;
        continue;
      }
      if (c == '#' && (i == start || text_[i - 1] == ' ' || text_[i - 1] == '\t')) {
        while (i + 1 < text_.size() && text_[i + 1] != '\n') ++i;
        continue;
      }
      const bool starts_value =
          i == start || std::string_view(" \t,[{:").find(text_[i - 1]) != std::string_view::npos;
      if (c == '"' && starts_value) in_double = true;
      if (c == '\'' && starts_value) in_single = true;
      if (c == '[' || c == '{') ++open;
      if ((c == ']' || c == '}') && open > 0) --open;
      if (leading && (c == '-' || c == '?')) ++on_this_line;
      if (c == ':') ++on_this_line;
      if (c != '-' && c != '?' && c != ' ' && c != '\t') leading = false;
      if (open > max_depth || (leading && on_this_line > max_depth)) {
        fail(line, i - start + 1, "nested more than " + std::to_string(max_depth) + " levels deep");
      }
    }
  }

  const std::string& text_;
  const std::string& source_;
};

// Within braces, YAML does not allow a plain key such as `blocks[lif]`: a word with a bracket right behind it
// that closes before ':' or '.'. The brackets of such keys are replaced by control characters, which no deck
// contains, before yaml-cpp sees the text.
constexpr std::string_view key_signs = "[]?", hidden_signs = "\x01\x02\x03";

void exchange(std::string& text, std::string_view these, std::string_view those) {
  for (char& c : text) {
    if (const std::size_t i = these.find(c); i != std::string_view::npos) c = those[i];
  }
}

std::string hide_brackets_of_keys(std::string text) {
  for (std::size_t open = text.find('['); open != std::string::npos; open = text.find('[', open + 1)) {
    if (open == 0 || !TextCursor::in_word(text[open - 1])) continue;
    std::size_t close = open + 1;
    while (close < text.size() && (TextCursor::in_word(text[close]) ||
                                   std::string_view("*?.+-").find(text[close]) != std::string_view::npos))
      ++close;
    const bool is_key = close > open + 1 && close + 1 < text.size() && text[close] == ']' &&
                        (text[close + 1] == ':' || text[close + 1] == '.');
    if (!is_key) continue;
    std::string key = text.substr(open, close + 1 - open);
    exchange(key, key_signs, hidden_signs);
    text.replace(open, key.size(), key);
  }
  return text;
}

class Builder : public YAML::EventHandler {
 public:
  Builder(std::shared_ptr<const std::string> source, bool positions)
      : source_(std::move(source)), positions_(positions) {}

  std::shared_ptr<Tree> root;

  Mark mark_at(const YAML::Mark& mark) const {
    if (!positions_ || mark.is_null()) return {source_, 0, 0};
    return {source_, mark.line + 1, mark.column + 1};
  }
  [[noreturn]] void fail(const Mark& mark, const std::string& what) const {
    throw InputError(mark.text() + ": " + what);
  }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto value = make(mark, Tree::Kind::null, "?", anchor);
    add(std::move(value));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override { reject_anchor(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    auto value = make(mark, Tree::Kind::scalar, tag, anchor);
    value->scalar = text;
    exchange(value->scalar, hidden_signs, key_signs);
    value->quoted = tag == "!";
    const bool says_null =
        !value->quoted && (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL");
    if (says_null) value->kind = Tree::Kind::null;
    add(std::move(value));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(make(mark, Tree::Kind::sequence, tag, anchor));
  }
  void OnSequenceEnd() override { stack_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(make(mark, Tree::Kind::mapping, tag, anchor));
  }
  void OnMapEnd() override { stack_.pop_back(); }

 private:
  struct Level {
    std::shared_ptr<Tree> tree;
    bool has_key = false;
    std::string key;
    Mark key_mark;
  };

  [[noreturn]] void reject_anchor(const YAML::Mark& mark) const {
    fail(mark_at(mark), "anchors (&) and aliases (*) are not allowed; write the value out, or use variants");
  }

  std::shared_ptr<Tree> make(const YAML::Mark& mark, Tree::Kind kind, const std::string& tag,
                             YAML::anchor_t anchor) {
    if (anchor != 0) reject_anchor(mark);
    const bool plain = tag.empty() || tag == "?" || tag == "!";
    if (!plain) fail(mark_at(mark), "the tag '" + printable(tag) + "' is not allowed; decks need no tags");
    if (++values_ > max_values) {
      fail(mark_at(mark), "the deck has more than " + std::to_string(max_values) + " values");
    }
    auto tree = std::make_shared<Tree>();
    tree->kind = kind;
    tree->mark = mark_at(mark);
    return tree;
  }

  void open(std::shared_ptr<Tree> tree) {
    Tree* raw = tree.get();
    if (!stack_.empty() && stack_.back().tree->kind == Tree::Kind::mapping && !stack_.back().has_key) {
      fail(raw->mark, "a key must be a plain word, not a list or a mapping; is a bracket left open?");
    }
    if (static_cast<int>(stack_.size()) >= max_depth) {
      fail(raw->mark, "nested more than " + std::to_string(max_depth) + " levels deep");
    }
    add(tree);
    stack_.push_back({std::move(tree), false, "", {}});
  }

  void add(std::shared_ptr<Tree> value) {
    if (stack_.empty()) {
      root = std::move(value);
      return;
    }
    Level& level = stack_.back();
    if (level.tree->kind == Tree::Kind::sequence) {
      level.tree->items.push_back(std::move(value));
      return;
    }
    if (!level.has_key) {
      take_key(level, *value);
      return;
    }
    if (value->kind == Tree::Kind::null)
      value->mark = level.key_mark;  // yaml-cpp gives the place of the next token instead
    level.tree->entries.push_back({level.key, level.key_mark, std::move(value)});
    level.has_key = false;
  }

  void take_key(Level& level, const Tree& key) const {
    if (key.kind != Tree::Kind::scalar) fail(key.mark, "a key must be a plain word; this one is empty");
    if (key.scalar == "<<" && !key.quoted) fail(key.mark, "merge keys (<<) are not allowed; use variants");
    if (const Tree::Entry* first = level.tree->find(key.scalar)) {
      fail(key.mark,
           "key '" + printable(key.scalar) + "' is given twice; it stands already at " + first->mark.text());
    }
    if (level.tree->entries.size() >= max_keys) {
      fail(key.mark, "a mapping of more than " + std::to_string(max_keys) + " keys");
    }
    level.has_key = true;
    level.key = key.scalar;
    level.key_mark = key.mark;
  }

  std::shared_ptr<const std::string> source_;
  bool positions_;
  std::vector<Level> stack_;
  std::size_t values_ = 0;
};

}  // namespace

std::shared_ptr<Tree> parse_yaml(const std::string& text, const std::string& mark_source, bool positions) {
  Guard(text, mark_source).check();
  const auto source = std::make_shared<const std::string>(mark_source);
  Builder builder(source, positions);
  try {
    // With the end marker, yaml-cpp reports a quote that is still open at the end of the text.
    std::istringstream stream(hide_brackets_of_keys(text) + "\n...\n");
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    if (!builder.root || builder.root->kind == Tree::Kind::null) {
      throw InputError(mark_source + ": the file is empty; a deck is a YAML mapping (key: value)");
    }
    Builder second(source, positions);
    if (parser.HandleNextDocument(second) && second.root) {
      throw InputError(second.root->mark.text() +
                       ": a second document (---) is not allowed; one file is one deck");
    }
  } catch (const YAML::Exception& error) {
    const int lines = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    if (error.mark.line > lines) {
      throw InputError(mark_source +
                       ": not valid YAML: the text ends inside a list, a mapping or a quote; is a "
                       "bracket or a quote left open?");
    }
    throw InputError(builder.mark_at(error.mark).text() + ": not valid YAML: " + error.msg);
  }
  return builder.root;
}

}  // namespace rankine::deck
