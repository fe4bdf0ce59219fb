#include "solvers/petsc_session.hpp"

#include <cctype>
#include <sstream>

#include "kernels/error.hpp"
#include "solvers/petsc_check.hpp"

namespace rankine {
namespace petsc {
namespace {

// The first report of the error that is under way; later ones only unwind PETSc's stack.
std::string& pending_message() {
  static std::string message;
  return message;
}

PetscErrorCode remember_error(MPI_Comm, int line, const char* function, const char* file, PetscErrorCode code,
                              PetscErrorType type, const char* message, void*) {
  if (type == PETSC_ERROR_INITIAL) {
    pending_message() = std::string(message ? message : "") + " [" + (function ? function : "?") + ", " +
                        (file ? file : "?") + ":" + std::to_string(line) + "]";
  }
  return code;
}

}  // namespace

void check(PetscErrorCode code, const char* call, std::source_location place) {
  if (code == static_cast<PetscErrorCode>(0)) return;
  const char* text = nullptr;
  static_cast<void>(PetscErrorMessage(code, &text, nullptr));
  std::string message = std::string(place.file_name()) + ":" + std::to_string(place.line()) + ": " + call +
                        ": " + (text ? text : "PETSc error " + std::to_string(static_cast<int>(code)));
  const std::string detail = std::exchange(pending_message(), {});
  if (!detail.empty()) message += ": " + detail;
  throw Error(message);
}

void require_session() {
  PetscBool initialised = PETSC_FALSE;
  PetscBool finalised = PETSC_FALSE;
  static_cast<void>(PetscInitialized(&initialised));
  static_cast<void>(PetscFinalized(&finalised));
  RANKINE_ASSERT(initialised && !finalised, "PETSc is used outside the life of a PetscSession");
}

}  // namespace petsc

namespace {

bool is_option(const std::string& word) {
  return word.size() > 1 && word[0] == '-' &&
         (std::isalpha(static_cast<unsigned char>(word[1])) || word[1] == '-');
}

std::vector<std::string> split_options(const std::vector<std::string>& options) {
  std::vector<std::string> words;
  for (const std::string& text : options) {
    std::istringstream stream(text);
    for (std::string word; stream >> word;) {
      if (!is_option(word) && (words.empty() || !is_option(words.back()))) {
        throw InputError(
            "PETSc options: '" + word +
            "' is neither an option nor the value of one; an option starts with '-' and takes at most one "
            "value, for example '-march_ksp_type gmres'");
      }
      words.push_back(word);
    }
  }
  return words;
}

}  // namespace

PetscSession::PetscSession(int argc, char** argv, const std::vector<std::string>& options) {
  PetscBool initialised = PETSC_FALSE;
  static_cast<void>(PetscInitialized(&initialised));
  RANKINE_ASSERT(!initialised, "there may be one PetscSession at a time");
  std::vector<std::string> words = split_options(options);
  words.insert(words.begin(), {argc > 0 ? argv[0] : "rankine", "-no_signal_handler", "-skip_petscrc"});
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int count = static_cast<int>(words.size());
  char** arguments = pointers.data();
  petsc::check(PetscInitialize(&count, &arguments, nullptr, nullptr), "PetscInitialize");
  RANKINE_PETSC(PetscPushErrorHandler(petsc::remember_error, nullptr));
}

PetscSession::~PetscSession() {
  static_cast<void>(PetscPopErrorHandler());
  static_cast<void>(PetscFinalize());
}

std::vector<std::string> PetscSession::unused_options() const {
  PetscInt count = 0;
  char** names = nullptr;
  char** values = nullptr;
  RANKINE_PETSC(PetscOptionsLeftGet(nullptr, &count, &names, &values));
  std::vector<std::string> unused;
  for (PetscInt i = 0; i < count; ++i) {
    const std::string name = names[i];
    if (name == "no_signal_handler" || name == "skip_petscrc") continue;
    std::string option("-");
    option += name;
    if (values[i]) option += std::string(" ") + values[i];
    unused.push_back(std::move(option));
  }
  RANKINE_PETSC(PetscOptionsLeftRestore(nullptr, &count, &names, &values));
  return unused;
}

void PetscSession::check_options(const std::vector<std::string>& options) {
  static_cast<void>(split_options(options));
}

bool PetscLog::active() {
  petsc::require_session();
  PetscBool is = PETSC_FALSE;
  RANKINE_PETSC(PetscLogIsActive(&is));
  return is == PETSC_TRUE;
}

PetscLog::PetscLog(const std::vector<std::string>& names) {
  PetscClassId group = 0;
  RANKINE_PETSC(PetscClassIdRegister("Rankine", &group));
  for (const std::string& name : names) {
    PetscLogEvent event = 0;
    RANKINE_PETSC(PetscLogEventRegister(name.c_str(), group, &event));
    events_.push_back(event);
  }
}

// Without checks, because a scope's end must not throw, and what fails here is the log alone.
void PetscLog::begin(std::size_t event) { static_cast<void>(PetscLogEventBegin(events_[event], 0, 0, 0, 0)); }
void PetscLog::end(std::size_t event) { static_cast<void>(PetscLogEventEnd(events_[event], 0, 0, 0, 0)); }
void PetscLog::flops(double count) { static_cast<void>(PetscLogFlops(count)); }

std::string PetscSession::version() {
  PetscInt major = 0, minor = 0, patch = 0;
  static_cast<void>(PetscGetVersionNumber(&major, &minor, &patch, nullptr));
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

}  // namespace rankine
