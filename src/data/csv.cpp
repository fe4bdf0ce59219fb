#include "src/data/csv.hpp"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.hpp"
#include "src/core/strings.hpp"

namespace rankine {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// The fields of one line; `separator` ' ' stands for any number of blanks.
std::vector<std::string> split(std::string_view line, char separator, const std::string& where) {
  std::vector<std::string> fields;
  std::size_t at = 0;
  for (;;) {
    while (at < line.size() && is_blank(line[at]) && line[at] != separator) ++at;
    if (separator == ' ')
      while (at < line.size() && is_blank(line[at])) ++at;
    std::string field;
    if (at < line.size() && line[at] == '"') {
      for (++at;; ++at) {
        if (at >= line.size())
          throw InputError(
              where +
              ": a field's opening quote has no closing quote in its line; fields hold no line breaks");
        if (line[at] != '"') {
          field += line[at];
        } else if (at + 1 < line.size() && line[at + 1] == '"') {
          field += line[++at];
        } else {
          break;
        }
      }
      ++at;
      while (at < line.size() && is_blank(line[at]) && line[at] != separator) ++at;
      if (at < line.size() && line[at] != separator)
        throw InputError(where +
                         ": text follows a field's closing quote; write a quote within a field twice");
    } else {
      const std::size_t end = std::min(line.find(separator, at), line.size());
      field = trimmed(line.substr(at, end - at));
      at = end;
    }
    fields.push_back(std::move(field));
    if (separator == ' ')
      while (at < line.size() && is_blank(line[at])) ++at;
    if (at >= line.size()) return fields;
    if (separator != ' ') ++at;  // an empty field may follow, at the end of the line too
  }
}

}  // namespace

std::string Csv::where(const CsvRow& row, std::size_t column) const {
  return fmt::format("{}:{}: column {}", name, row.line, column + 1);
}

double Csv::number(const CsvRow& row, std::size_t column) const {
  const std::string& field = row.fields[column];
  const char* begin = field.data() + (field.size() > 1 && field[0] == '+' ? 1 : 0);
  double value = 0;
  const auto [end, status] = std::from_chars(begin, field.data() + field.size(), value);
  if (status == std::errc::result_out_of_range && end == field.data() + field.size())
    throw InputError(
        fmt::format("{} is {}, beyond what a double holds", where(row, column), printable(field)));
  if (status != std::errc() || end != field.data() + field.size())
    throw InputError(fmt::format("{} is '{}', which is no number; give one, or leave the row out",
                                 where(row, column), printable(field)));
  if (!std::isfinite(value))
    throw InputError(fmt::format("{} is {}; every value must be finite: fill it, or leave the row out",
                                 where(row, column), printable(field)));
  return value;
}

Csv parse_csv(std::string_view text, const std::string& name) {
  Csv csv{name, {}};
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  char separator = 0;
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (trimmed(line).empty()) continue;
    const std::string where = fmt::format("{}:{}", name, number);
    if (line.find('\0') != std::string_view::npos)
      throw InputError(where + ": holds a zero byte; this is no table of text");
    if (separator == 0) {
      separator = ' ';
      for (char candidate : {'\t', ';', ','})
        if (line.find(candidate) != std::string_view::npos) {
          separator = candidate;
          break;
        }
    }
    csv.rows.push_back({number, split(line, separator, where)});
  }
  if (csv.rows.empty()) throw InputError(name + ": holds no rows; is the file cut short?");
  return csv;
}

}  // namespace rankine
