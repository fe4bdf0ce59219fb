#include "src/cli/program.hpp"

namespace rankine {

ProgramTables program_tables() { return {experiments(), {}}; }

}  // namespace rankine
