// Standard output. Where nobody reads it any more, or its disk is full, the output ends and not the program:
// a training must not be lost for that. Who does nothing but print says so at the end.
#pragma once

#include <iosfwd>
#include <string>

namespace rankine {

class Console {
 public:
  /// To be called before anything opens a file: descriptors 0 to 2 that are closed are taken, so that no
  /// output meets what is printed, and SIGPIPE is ignored. Only what printing itself finds out counts from
  /// here on.
  static void open();

  /// Prints and flushes.
  static void print(const std::string& text);
  /// The same on any stream, of which standard output counts.
  static void write(std::ostream& out, const std::string& text);

  /// From here on the program does more than to print: its exit code does not depend on what is printed.
  static void work_begins();

  /// The exit code of a program that would end with `exit_code`: 3, with a message on standard error, where
  /// its output was not written and it did nothing else. A reader that has gone is no error.
  static int exit_code(int exit_code);
};

}  // namespace rankine
