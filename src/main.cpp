#include "src/cli/program.hpp"
#include "src/core/memory.hpp"

int main(int argc, char** argv) {
  rankine::keep_freed_memory();
  return rankine::run_program(argc, argv, rankine::program_tables());
}
