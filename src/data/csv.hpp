// Text tables whose fields are separated by commas, semicolons, tabs or blanks.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rankine {

struct CsvRow {
  int line = 0;  ///< in the file, from 1
  std::vector<std::string> fields;
};

struct Csv {
  std::string name;  ///< of the file, as messages call it
  std::vector<CsvRow> rows;
  char separator = ' ';  ///< ' ' stands for any number of blanks

  /// The field as a number. Throws InputError, with line and column, if it is no finite number.
  double number(const CsvRow& row, std::size_t column) const;
  /// The place of a field: "file:3: column 2". Columns count from 1.
  std::string where(const CsvRow& row, std::size_t column) const;
  /// Whether the first row holds names, that is, none of its fields is a number, nan or ?.
  bool has_header() const;
  /// Removes the empty field that a separator at the end of a line makes, if the header, all other rows, or
  /// all rows have it. Throws InputError for a row that has another number of fields than the first. The
  /// message has the line, and the separator that the row seems to use, if that is another one.
  void make_rectangular();
};

/// The field as a number; nothing if it is no finite number.
std::optional<double> finite_number(std::string_view field);
/// Whether the field means a missing value: an empty field, nan, NA, ? or null.
bool is_missing(std::string_view field);

/// Parses a table. Blank lines are skipped, and so are comments, whose first character apart from blanks is
/// #. Lines end in \n, \r\n or \r. The table has one separator. Candidates are tab, semicolon and comma, as
/// far as the first line has them outside of quotes. The one that splits most of the next lines into as many
/// fields is taken; of equals, the first in this list; without candidates, blanks separate. Fields may be in
/// double quotes. Throws InputError for a table without rows, for a quote that does not end in its line, and
/// for a zero byte.
Csv parse_csv(std::string_view text, const std::string& name);

}  // namespace rankine
