#include "src/cli/program.hpp"
#include "src/nn/model.hpp"
#include "src/optim/optimizer.hpp"
#include "src/optim/schedule.hpp"
#include "src/pde/pdes.hpp"
#include "src/rules/learning_rule.hpp"

namespace rankine {

ProgramTables program_tables() {
  return {experiments(), {&pdes(), &models(), &rules(), &optimizers(), &schedules()}};
}

}  // namespace rankine
