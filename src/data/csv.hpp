// Tables as text: comma, semicolon, tab or blanks between the fields.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rankine {

struct CsvRow {
  int line = 0;  ///< from 1
  std::vector<std::string> fields;
};

struct Csv {
  std::string name;  ///< of the file, for messages
  std::vector<CsvRow> rows;
  char separator = ' ';  ///< ' ': any number of blanks

  /// The field as a number. Throws InputError, with line and column, where it is none, or not finite.
  double number(const CsvRow& row, std::size_t column) const;
  /// "file:3: column 2": columns count from 1.
  std::string where(const CsvRow& row, std::size_t column) const;
  /// Whether the first row holds names: none of its fields is a number, nan or ?.
  bool has_header() const;
  /// Removes the empty field behind a separator at the end of every row (of the header, of the others, or of
  /// all), and throws InputError for a row that does not have as many fields as the first: with its line, and
  /// what separates it if that is something else.
  void make_rectangular();
};

/// The field as a number, where it is a finite one.
std::optional<double> finite_number(std::string_view field);
/// Whether people write so that they have no value: nothing, nan, NA, ?, null.
bool is_missing(std::string_view field);

/// Blank lines and comments (whose first character, blanks apart, is #) are passed over; \n, \r\n and \r end
/// a line. One separator holds for the table: of tab, semicolon and comma that the first line has outside
/// quotes, the one that splits most of the next lines into as many fields, in case of doubt the first named;
/// blanks where it has none. Fields may stand in double quotes. Throws InputError for a table without rows,
/// for a quote that does not end in its line, and for a zero byte.
Csv parse_csv(std::string_view text, const std::string& name);

}  // namespace rankine
