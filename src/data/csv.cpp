#include "src/data/csv.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <system_error>

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

/// Splits one line into fields. The separator ' ' stands for any number of blanks.
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
    if (separator != ' ') ++at;  // an empty field may follow, also at the end of the line
  }
}

/// The name of a separator in messages.
std::string separator_name(char separator) {
  if (separator == ' ') return "blanks";
  return separator == '\t' ? "tabs" : fmt::format("'{}'", separator);
}

constexpr char separators[] = {'\t', ';', ','};

/// The number of fields that a separator makes of a line; 0 if a quote does not end.
std::size_t count_fields(std::string_view line, char separator) {
  try {
    return split(line, separator, "").size();
  } catch (const InputError&) {
    return 0;
  }
}

struct Line {
  int number;
  std::string_view text;
};

/// The separator of these lines, by the rule of parse_csv().
char find_separator(const std::vector<Line>& lines) {
  constexpr std::size_t most = 100;  // lines that are looked at
  char best = ' ';
  std::size_t votes = 0;
  for (char candidate : separators) {
    const std::size_t fields = count_fields(lines.front().text, candidate);
    if (fields < 2) continue;
    std::size_t agree = 1;
    for (std::size_t i = 1; i < std::min(most, lines.size()); ++i)
      agree += count_fields(lines[i].text, candidate) == fields ? 1 : 0;
    if (agree > votes) {
      best = candidate;
      votes = agree;
    }
  }
  // If a quote does not end, the error message comes from splitting the line by a separator that it has.
  for (char candidate : separators)
    if (votes == 0 && lines.front().text.find(candidate) != std::string_view::npos &&
        count_fields(lines.front().text, candidate) == 0)
      return candidate;
  return best;
}

/// Whether the text is a number with a decimal comma, such as 1,5 or -2,25e3.
bool has_decimal_comma(const std::string& field) {
  const std::size_t comma = field.find(',');
  if (comma == std::string::npos) return false;
  std::string other = field;
  other[comma] = '.';
  return finite_number(other).has_value();
}

/// Reads the field as a number, which need not be finite. False if it is no number.
bool parse(std::string_view field, double& value, std::errc& status) {
  if (field.size() > 1 && field[0] == '+' && field[1] != '-') field.remove_prefix(1);
  const auto result = std::from_chars(field.data(), field.data() + field.size(), value);
  status = result.ec;
  return !field.empty() && result.ptr == field.data() + field.size() &&
         result.ec != std::errc::invalid_argument;
}

}  // namespace

std::optional<double> finite_number(std::string_view field) {
  double value = 0;
  std::errc status{};
  if (!parse(field, value, status) || status != std::errc() || !std::isfinite(value)) return std::nullopt;
  return value;
}

bool is_missing(std::string_view field) {
  std::string lower(field);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower.empty() || lower == "nan" || lower == "na" || lower == "?" || lower == "null";
}

std::string Csv::where(const CsvRow& row, std::size_t column) const {
  return fmt::format("{}:{}: column {}", name, row.line, column + 1);
}

double Csv::number(const CsvRow& row, std::size_t column) const {
  const std::string& field = row.fields[column];
  double value = 0;
  std::errc status{};
  const bool whole = parse(field, value, status);
  if (whole && status == std::errc::result_out_of_range)
    throw InputError(fmt::format("{} is {}, outside the range of double precision; write it in another unit",
                                 where(row, column), printable(field)));
  if (!whole && has_decimal_comma(field))
    throw InputError(fmt::format("{} is '{}', a number with a decimal comma; write a point in its place",
                                 where(row, column), printable(field)));
  if (!whole)
    throw InputError(fmt::format("{} is '{}', which is not a number; give a number, or leave the row out",
                                 where(row, column), printable(field)));
  if (!std::isfinite(value))
    throw InputError(fmt::format("{} is {}; every value must be finite: fill it, or leave the row out",
                                 where(row, column), printable(field)));
  return value;
}

bool Csv::has_header() const {
  const std::vector<std::string>& first = rows.front().fields;
  return std::none_of(first.begin(), first.end(), [](const std::string& field) {
    double value = 0;
    std::errc status{};
    return parse(field, value, status) || field == "?";
  });
}

void Csv::make_rectangular() {
  const auto ends_empty = [](const CsvRow& row) {
    return row.fields.size() > 1 && row.fields.back().empty();
  };
  CsvRow& first = rows.front();
  const std::size_t header = has_header() ? 1 : 0;
  const bool all =
      rows.size() > header && std::all_of(rows.begin() + static_cast<long>(header), rows.end(), ends_empty);
  const std::size_t width = rows.size() > header ? rows[header].fields.size() : 0;
  const bool header_too = header == 1 && ends_empty(first);
  // If only the rows end in a separator, the header has one field less than they have.
  if (all && (header == 0 || header_too || first.fields.size() + 1 == width)) {
    for (std::size_t i = header; i < rows.size(); ++i) rows[i].fields.pop_back();
    if (header_too) first.fields.pop_back();
  } else if (header_too && first.fields.size() == width + 1) {
    first.fields.pop_back();
  }
  const std::size_t columns = first.fields.size();
  for (const CsvRow& row : rows) {
    if (row.fields.size() == columns) continue;
    const std::string what =
        fmt::format("the {} in line {}", header == 1 ? "header" : "first row", first.line);
    const std::string text = join(row.fields, std::string(1, separator));
    std::string others;
    for (char candidate : {'\t', ';', ',', ' '})
      if (candidate != separator && count_fields(text, candidate) == columns && columns > 1)
        others = separator_name(candidate);
    if (others.empty() && separator == ' ')
      for (char candidate : separators)
        if (count_fields(text, candidate) > 1) others = separator_name(candidate);
    if (!others.empty())
      throw InputError(
          fmt::format("{}:{}: is separated by {}, but {} by {}; one separator must hold for the whole table",
                      name, row.line, others, what, separator_name(separator)));
    throw InputError(
        fmt::format("{}:{}: has {} fields, but the rows before have {}; every row needs as many as {}, "
                    "between {}",
                    name, row.line, row.fields.size(), columns, what, separator_name(separator)));
  }
}

Csv parse_csv(std::string_view text, const std::string& name) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  std::vector<Line> lines;
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + (text.substr(end).starts_with("\r\n") ? 2 : 1), text.size()));
    ++number;
    const std::string_view content = trimmed(line);
    if (content.empty() || content.front() == '#') continue;
    if (line.find('\0') != std::string_view::npos)
      throw InputError(fmt::format("{}:{}: contains a zero byte; the file must be a table of text in UTF-8",
                                   name, number));
    lines.push_back({number, line});
  }
  if (lines.empty()) throw InputError(name + ": contains no rows; is the file cut short?");
  Csv csv{name, {}, find_separator(lines)};
  for (const Line& line : lines)
    csv.rows.push_back(
        {line.number, split(line.text, csv.separator, fmt::format("{}:{}", name, line.number))});
  return csv;
}

}  // namespace rankine
