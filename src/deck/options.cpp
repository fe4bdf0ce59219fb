#include "src/deck/options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "src/core/strings.hpp"
#include "src/deck/tree.hpp"

namespace rankine {

namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string number_text(double value) {
  const bool whole = std::abs(value) < 1e6 && value == std::floor(value);
  return whole ? std::to_string(static_cast<long>(value)) : shortest(value);
}

std::string range_text(const OptionMeta& meta) {
  const bool low = std::isfinite(meta.min), high = std::isfinite(meta.max);
  const std::string above = (meta.exclusive_min ? "greater than " : "at least ") + number_text(meta.min);
  const std::string below = (meta.exclusive_max ? "less than " : "at most ") + number_text(meta.max);
  if (low && high) return above + " and " + below;
  return low ? above : high ? below : "";
}

std::string of_range(const std::string& what, const OptionMeta& meta) {
  const std::string range = range_text(meta);
  return range.empty() ? what : what + " " + range;
}

std::string size_text(const OptionMeta& meta) {
  const bool low = meta.min_size > 0, high = meta.max_size != std::numeric_limits<std::size_t>::max();
  if (low && high && meta.min_size == meta.max_size) return std::to_string(meta.min_size) + " ";
  if (low && high) return std::to_string(meta.min_size) + " to " + std::to_string(meta.max_size) + " ";
  if (low) return "at least " + std::to_string(meta.min_size) + " ";
  return high ? "at most " + std::to_string(meta.max_size) + " " : "";
}

std::string list_text(const std::string& what, const OptionMeta& meta) {
  const std::string range = range_text(meta);
  return (meta.or_one ? "one or " : "") + ("a list of " + size_text(meta)) + what +
         (range.empty() ? "" : ", each " + range);
}

std::string type_text(const OptionTarget& target) {
  return std::visit(Overloaded{[](const bool*) { return "true/false"; }, [](const int*) { return "integer"; },
                               [](const long*) { return "integer"; }, [](const double*) { return "number"; },
                               [](const std::string*) { return "text"; },
                               [](const std::vector<int>*) { return "list of integers"; },
                               [](const std::vector<double>*) { return "list of numbers"; },
                               [](const std::vector<std::string>*) { return "list of texts"; }},
                    target);
}

std::string double_quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      constexpr std::array<char, 17> digits{"0123456789abcdef"};
      const auto byte = static_cast<unsigned char>(c);
      result += "\\x";
      result += digits[byte >> 4U];
      result += digits[byte & 15U];
    } else {
      result += c;
    }
  }
  return result + '"';
}

}  // namespace

namespace deck {

bool parse_number(const std::string& text, double& value) {
  std::size_t at = text.starts_with('+') || text.starts_with('-') ? 1 : 0;
  bool digits = false, exponent_digits = true;
  const auto skip_digits = [&] {
    const std::size_t start = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at > start;
  };
  digits = skip_digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    digits = skip_digits() || digits;
  }
  if (digits && at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    exponent_digits = skip_digits();
  }
  if (!digits || !exponent_digits || at != text.size()) return false;
  const char* begin = text.data() + (text[0] == '+' ? 1 : 0);
  const auto [end, code] = std::from_chars(begin, text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size();
}

bool is_plain_safe(const std::string& text) {
  if (text.empty() || text.front() == ' ' || text.back() == ' ' || text.back() == ':') return false;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@`~<=").find(text.front()) != std::string_view::npos) {
    double number = 0;
    return parse_number(text, number);
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // Inside a list, yaml-cpp takes any question mark for the indicator of a complex key.
    if (c < 0x20 || c >= 0x7F || std::string_view(",[]{}?").find(text[i]) != std::string_view::npos)
      return false;
    if (c == '#' && text[i - 1] == ' ') return false;
    if (c == ':' && text[i + 1] == ' ') return false;
  }
  return true;
}

}  // namespace deck

std::string yaml_scalar(const std::string& text) {
  if (!deck::is_plain_safe(text)) return double_quoted(text);
  std::string lower = text;
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  static const std::array<std::string_view, 11> misread{"true", "false", "null", "yes",  "no",  "on",
                                                        "off",  "y",     "n",    ".nan", ".inf"};
  const bool special = std::find(misread.begin(), misread.end(), lower) != misread.end();
  const bool like_number = text.find_first_not_of("0123456789+-.eExXoO_:") == std::string::npos;
  return special || like_number ? double_quoted(text) : text;
}

std::string deck_text(const OptionTarget& target) {
  std::string text = deck::write_yaml(*deck::tree_of(target), 0);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string allowed_text(const OptionTarget& target, const OptionMeta& meta) {
  const std::string choices = meta.choices.empty() ? "" : "one of " + join(meta.choices);
  const std::string number = meta.allow_not_finite ? "a number (or .inf, .nan)" : "a number";
  return std::visit(
      Overloaded{[&](const bool*) { return std::string("true or false"); },
                 [&](const int*) { return of_range("a whole number", meta); },
                 [&](const long*) { return of_range("a whole number", meta); },
                 [&](const double*) { return of_range(number, meta); },
                 [&](const std::string*) { return choices.empty() ? std::string("a text") : choices; },
                 [&](const std::vector<int>*) { return list_text("whole numbers", meta); },
                 [&](const std::vector<double>*) { return list_text("numbers", meta); },
                 [&](const std::vector<std::string>*) {
                   return "a list of " + size_text(meta) + "texts" +
                          (choices.empty() ? "" : ", each " + choices);
                 }},
      target);
}

// ---- describer

OptionDescriber::OptionDescriber(Style style) : style_(style) {}
OptionDescriber::~OptionDescriber() = default;

void OptionDescriber::add(const char* name, const OptionTarget& target, const std::string& initial,
                          const OptionMeta& meta) {
  std::string allowed = meta.choices.empty() ? range_text(meta) : join(meta.choices, " | ");
  const std::string size = size_text(meta);
  if (!size.empty()) allowed += (allowed.empty() ? "" : "; ") + size + "entries";
  std::string help = meta.help;
  if (*meta.unit != '\0') help += std::string(" [") + meta.unit + "]";
  rows_.push_back({prefix_ + name, type_text(target), meta.required ? "required" : initial, allowed, help});
}

void OptionDescriber::value(const char* name, OptionTarget target, const OptionMeta& meta) {
  add(name, target, deck_text(target), meta);
}

bool OptionDescriber::optional_value(const char* name, OptionTarget target, bool has_value,
                                     const OptionMeta& meta) {
  add(name, target, has_value ? deck_text(target) : "none", meta);
  return has_value;
}

bool OptionDescriber::begin_group(const char* name, const char* help, bool present) {
  rows_.push_back({prefix_ + name, "mapping", present ? "" : "none", "", help});
  outer_.push_back(prefix_);
  prefix_ += std::string(name) + ".";
  return true;
}

void OptionDescriber::end_group() {
  prefix_ = outer_.back();
  outer_.pop_back();
}

std::optional<std::size_t> OptionDescriber::begin_list(const char* name, std::size_t size, const char* help) {
  rows_.push_back(
      {prefix_ + name, "list of mappings", size == 0 ? "[]" : std::to_string(size) + " entries", "", help});
  outer_.push_back(prefix_);
  prefix_ += std::string(name) + "[].";
  return 1;
}

void OptionDescriber::begin_item(std::size_t /*index*/) {}
void OptionDescriber::end_item() {}
void OptionDescriber::end_list() { end_group(); }

std::string OptionDescriber::table() const {
  if (rows_.empty()) return style_ == Style::markdown ? "No options.\n" : "  no options\n";
  using Column = std::string Row::*;
  const std::array<Column, 5> columns{&Row::key, &Row::type, &Row::initial, &Row::allowed, &Row::help};
  std::string out;
  if (style_ == Style::markdown) {
    const auto escape = [](std::string text) {  // a bar would end the table cell
      for (std::size_t i = 0; (i = text.find('|', i)) != std::string::npos; i += 2) text.insert(i, "\\");
      return text;
    };
    out = "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
    for (const Row& row : rows_) {
      out += "| `" + row.key + "` | " + row.type + " | " +
             (row.initial.empty() ? "" : "`" + row.initial + "`") + " | " + escape(row.allowed) + " | " +
             escape(row.help) + " |\n";
    }
    return out;
  }
  const Row header{"key", "type", "default", "allowed", "meaning"};
  std::array<std::size_t, 5> widths{};
  for (std::size_t c = 0; c < columns.size(); ++c) {
    widths[c] = (header.*columns[c]).size();
    // A long list of choices must not move the help text out of sight.
    for (const Row& row : rows_)
      widths[c] = std::max(widths[c], std::min<std::size_t>((row.*columns[c]).size(), 44));
  }
  const auto line = [&](const Row& row) {
    std::string text = "  ";
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const std::string& cell = row.*columns[c];
      text += cell;
      if (c + 1 < columns.size())
        text += std::string(std::max(widths[c], cell.size()) - cell.size() + 2, ' ');
    }
    while (text.back() == ' ') text.pop_back();
    return text + "\n";
  };
  out = line(header);
  for (const Row& row : rows_) out += line(row);
  return out;
}

// ---- dumper

OptionDumper::OptionDumper(int indent) : indent_(indent) {}
OptionDumper::~OptionDumper() = default;

void OptionDumper::line(const std::string& text) {
  if (first_of_item_) {
    text_ += std::string(static_cast<std::size_t>(indent_ - 2), ' ') + "- " + text + "\n";
    first_of_item_ = false;
  } else {
    text_ += std::string(static_cast<std::size_t>(indent_), ' ') + text + "\n";
  }
}

void OptionDumper::value(const char* name, OptionTarget target, const OptionMeta& /*meta*/) {
  line(std::string(name) + ": " + deck_text(target));
}

bool OptionDumper::optional_value(const char* name, OptionTarget target, bool has_value,
                                  const OptionMeta& /*meta*/) {
  line(std::string(name) + ": " + (has_value ? deck_text(target) : "null"));
  return has_value;
}

bool OptionDumper::begin_group(const char* name, const char* /*help*/, bool present) {
  if (!present) return false;
  line(std::string(name) + ":");
  indent_ += 2;
  return true;
}

void OptionDumper::end_group() { indent_ -= 2; }

std::optional<std::size_t> OptionDumper::begin_list(const char* name, std::size_t size,
                                                    const char* /*help*/) {
  line(std::string(name) + (size == 0 ? ": []" : ":"));
  if (size == 0) return std::nullopt;
  return size;
}

void OptionDumper::begin_item(std::size_t /*index*/) {
  indent_ += 4;
  first_of_item_ = true;
}

void OptionDumper::end_item() {
  if (first_of_item_) line("{}");
  indent_ -= 4;
}

void OptionDumper::end_list() {}

}  // namespace rankine
