// Tables as text: comma, semicolon, tab or blanks between the fields.
#pragma once

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

  /// The field as a number. Throws InputError, with line and column, where it is none, or not finite.
  double number(const CsvRow& row, std::size_t column) const;
  /// "file:3: column 2": columns count from 1.
  std::string where(const CsvRow& row, std::size_t column) const;
};

/// Blank lines are passed over. The first line tells what separates: a tab, semicolon or comma if it has
/// one, otherwise blanks. Fields may stand in double quotes. Throws InputError for a table without rows, for
/// a quote that does not end in its line, and for a zero byte.
Csv parse_csv(std::string_view text, const std::string& name);

}  // namespace rankine
