// The three kinds of failure a run can end with (exit codes 1, 2 and 3), and the assertion for broken
// invariants.
#pragma once

#include <stdexcept>
#include <string>

namespace rankine {

/// Something the user gave is wrong: deck, data file, flag, environment. The message holds place, value, rule
/// and remedy. Exit code 1.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A computation failed: a NaN, a singular matrix, a solve that a deck key declares fatal. Exit code 2.
struct NumericalError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The file system failed: no space, no permission, a file that vanished. Exit code 3.
struct IoError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The device failed, or its memory is out. Ends the run like a failure of the file system.
struct DeviceError : IoError {
  using IoError::IoError;
};

/// Throws std::logic_error naming `file:line`, the broken expression and `what`. Not for user input.
[[noreturn]] void invariant_failed(const char* file, int line, const char* expression,
                                   const std::string& what);

}  // namespace rankine

/// A broken invariant is a defect in Rankine: it always throws, in release builds too.
#define RANKINE_ASSERT(condition, what) \
  ((condition) ? static_cast<void>(0) : ::rankine::invariant_failed(__FILE__, __LINE__, #condition, (what)))
