#include "src/cli/program.hpp"

int main(int argc, char** argv) { return rankine::run_program(argc, argv, rankine::program_tables()); }
