// A place in a text that a parser moves along: what the languages of decks have in common.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rankine {

class TextCursor {
 public:
  /// `text` must outlive the cursor.
  explicit TextCursor(std::string_view text) : text_(text) {}

  std::size_t at() const { return at_; }
  void move_to(std::size_t at) { at_ = at; }
  void advance(std::size_t count) { at_ += count; }
  bool at_end() const { return at_ >= text_.size(); }
  /// The character here; 0 at the end.
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  std::string_view text() const { return text_; }
  std::string_view rest() const { return text_.substr(at_ < text_.size() ? at_ : text_.size()); }

  static bool in_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
  }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  void skip_spaces() {
    while (!at_end() && std::string_view(" \t\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  /// The letters, digits and underscores that follow; moves to their beginning.
  std::string peek_word() {
    skip_spaces();
    std::size_t end = at_;
    while (end < text_.size() && in_word(text_[end])) ++end;
    return std::string(text_.substr(at_, end - at_));
  }
  /// Moves past the word if it is the next one.
  bool take_word(std::string_view word) {
    if (peek_word() != word) return false;
    at_ += word.size();
    return true;
  }
  /// Moves past the symbol if it comes next.
  bool take(std::string_view symbol) {
    skip_spaces();
    if (text_.substr(at_, symbol.size()) != symbol) return false;
    at_ += symbol.size();
    return true;
  }
  /// Moves past everything that could be part of a number: "1e-3", but also "1.2.3" and "2u".
  std::string take_number() {
    const std::size_t start = at_;
    while (at_ < text_.size()) {
      const char before = at_ > start ? text_[at_ - 1] : ' ';
      const bool sign_of_exponent =
          (text_[at_] == '-' || text_[at_] == '+') && (before == 'e' || before == 'E');
      if (!in_word(text_[at_]) && text_[at_] != '.' && !sign_of_exponent) break;
      ++at_;
    }
    return std::string(text_.substr(start, at_ - start));
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace rankine
